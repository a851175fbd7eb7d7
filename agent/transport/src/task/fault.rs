//! Faults on demand, so that tests can break one task of the real binary. Not in release builds.
//!
//! With `MPYC_PARTY_FAULT="panic NAME"` in the environment, the task of that name panics as soon as the
//! process gets SIGUSR1; with `end NAME` it ends, and with `hang NAME` it is never polled again. For a
//! task of a [`Supervisor`](super::Supervisor) the name is that under which it was spawned, for one of
//! [`Connections`](super::Connections) it is what they serve.

/// `task`, the one called `name`, with the fault that is asked for. Inside a tokio runtime.
#[cfg(debug_assertions)]
pub(super) fn injected(
    name: impl AsRef<str>,
    task: impl Future<Output = ()>,
) -> impl Future<Output = ()> {
    let demand = demand::Demand::of(name.as_ref());
    async {
        let mut task = std::pin::pin!(task);
        let kind = tokio::select! {
            () = &mut task => return,
            kind = demand::due(demand) => kind,
        };
        demand::happens(&kind).await;
    }
}

#[cfg(not(debug_assertions))]
pub(super) async fn injected(_: impl AsRef<str>, task: impl Future<Output = ()>) {
    task.await;
}

#[cfg(debug_assertions)]
mod demand {
    use std::future::pending;

    use tokio::signal::unix::{Signal, SignalKind, signal};

    /// The environment variable that names the fault.
    const VARIABLE: &str = "MPYC_PARTY_FAULT";

    /// A fault, and when it is to happen.
    pub(super) struct Demand {
        kind: String,
        signal: Signal,
    }

    impl Demand {
        /// The one of the task `name`. From here on the signal does not end the process.
        pub(super) fn of(name: &str) -> Option<Self> {
            let asked = std::env::var(VARIABLE).ok()?;
            let (kind, _) = asked.split_once(' ').filter(|(_, wanted)| *wanted == name)?;
            let signal = signal(SignalKind::user_defined1()).ok()?;
            Some(Self { kind: kind.to_owned(), signal })
        }
    }

    /// Completes when it is to happen; says what.
    pub(super) async fn due(demand: Option<Demand>) -> String {
        let Some(Demand { kind, mut signal }) = demand else { return pending().await };
        signal.recv().await;
        kind
    }

    /// Lets it happen; an end is when this completes.
    #[expect(clippy::panic, reason = "this is what it is for")]
    pub(super) async fn happens(kind: &str) {
        match kind {
            "panic" => panic!("injected by {VARIABLE}"),
            "hang" => pending().await,
            _ => {}
        }
    }
}
