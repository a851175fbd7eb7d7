//! Carriers that stand still without an end.

use tokio::time::Instant;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_carrier_on_which_nothing_is_heard_is_given_up() {
    let mut side = side();
    let mut peer = first_carrier(&side).await;
    let begun = Instant::now();
    side.process.write_all(b"said").await.unwrap();
    assert_eq!(next(&mut peer, 16).await, frame(1, 0, b"said"));
    for _ in 0..3 {
        assert_eq!(next(&mut peer, 12).await, frame(2, 0, b""), "it asks");
    }
    assert!(matches!(event(&mut side).await, Event::Cut { .. }));
    assert_eq!(begun.elapsed().as_secs(), 20);
}

#[tokio::test(start_paused = true)]
async fn who_answers_is_asked_no_more_and_who_says_anything_is_waited_for() {
    let mut side = side();
    let mut peer = first_carrier(&side).await;
    side.process.write_all(b"said").await.unwrap();
    next(&mut peer, 16).await;
    for _ in 0..20 {
        assert_eq!(next(&mut peer, 12).await, frame(2, 0, b""));
        // It has not taken anything, and is there.
        peer.write_all(&frame(2, 0, b"")).await.unwrap();
    }
    peer.write_all(&frame(2, 4, b"")).await.unwrap();
    let more = tokio::time::timeout(Duration::from_secs(100), peer.read_u8()).await;
    assert!(more.is_err(), "it asks although all is acknowledged");
    side.process.write_all(b"more").await.unwrap();
    assert_eq!(next(&mut peer, 16).await, frame(1, 4, b"more"));
    assert!(side.events.try_recv().is_err(), "the carrier was given up");
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_says_that_it_is_there() {
    let side = side();
    let mut peer = first_carrier(&side).await;
    // More than the process has room for; it reads nothing of it.
    let data = [7; 40_000];
    for position in [0, 40_000] {
        soon(peer.write_all(&frame(1, position, &data))).await.unwrap();
    }
    let mut last = 0;
    for _ in 0..10 {
        let told = next(&mut peer, 12).await;
        assert_eq!(told[0], 2);
        last = u64::from_be_bytes(told[4..].try_into().unwrap());
    }
    assert_eq!(last, 1 << 16);
}
