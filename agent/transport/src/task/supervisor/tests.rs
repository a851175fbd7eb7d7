use std::future::pending;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::time::{sleep, timeout};

use super::*;

async fn live(mut heartbeat: Heartbeat) {
    loop {
        heartbeat.tick().await;
    }
}

#[tokio::test]
async fn a_task_that_ends_is_named() {
    let mut supervisor = Supervisor::default();
    supervisor.spawn("good", live);
    supervisor.spawn("bad", |_| async { panic!("on {}", "purpose") });
    let (task, message) = ("bad".to_owned(), "on purpose".to_owned());
    assert_eq!(supervisor.failure().await, TaskFailure::Panicked { task, message });
    supervisor.spawn("brief", |_| async {});
    assert_eq!(supervisor.failure().await, TaskFailure::Ended { task: "brief".to_owned() });
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_not_wanted_any_more_may_end() {
    let mut supervisor = Supervisor::default();
    drop(supervisor.spawn_abortable("replaced", |_| pending()));
    let failed = timeout(Duration::from_secs(1), supervisor.failure()).await;
    assert!(failed.is_err() && supervisor.known.is_empty(), "{failed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_watchdog_is_fed_while_all_tasks_live_and_by_no_timer_alone() {
    static MEALS: AtomicU32 = AtomicU32::new(0);
    fn feed() {
        MEALS.fetch_add(1, Ordering::Relaxed);
    }
    let eaten = || MEALS.swap(0, Ordering::Relaxed);
    let wait = |seconds| Duration::from_secs(seconds);
    let watchdog = Watchdog { timeout: wait(8), feed };
    let mut supervisor = Supervisor::new(Some(watchdog));
    supervisor.spawn("live", live);
    supervisor.spawn("busy", |mut heartbeat| async move {
        heartbeat.during(sleep(wait(100))).await;
        sleep(wait(100)).await;
    });
    assert!(timeout(wait(99), supervisor.failure()).await.is_err());
    assert!((45..=55).contains(&eaten()), "it is fed every 2 s, however long something takes");
    assert!(timeout(wait(8), supervisor.failure()).await.is_err());
    eaten();
    assert!(timeout(wait(50), supervisor.failure()).await.is_err());
    assert_eq!(eaten(), 0, "one task does not go round");
    // Nor is it fed where nobody looks after the tasks.
    let mut supervisor = Supervisor::new(Some(watchdog));
    supervisor.spawn("live", live);
    sleep(wait(50)).await;
    assert_eq!(eaten(), 0);
    assert!(timeout(wait(1), supervisor.failure()).await.is_err());
    assert!(eaten() > 0);
}
