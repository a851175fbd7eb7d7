//! What is not taken: late carriers, false beginnings, peers that break the protocol.

use super::*;

#[tokio::test]
async fn a_newer_carrier_fences_one_that_is_stuck() {
    let mut side = side_of(1 << 20, None);
    let (mut older, ours) = duplex(16);
    side.handle.fence(epoch(1)).await.unwrap();
    side.handle.attach(epoch(1), 0, ours).await.unwrap();
    let said = vec![3; 200_000];
    let (mut hear, mut say) = split(side.process);
    let saying = {
        let said = said.clone();
        tokio::spawn(async move {
            say.write_all(&said).await.unwrap();
            say.shutdown().await.unwrap();
        })
    };
    // It is in the middle of a write: sixteen bytes are there, and nobody reads them.
    older.write_all(&frame(1, 0, b"older")).await.unwrap();
    assert_eq!(next(&mut hear, 5).await, b"older");
    assert_eq!(side.handle.fence(epoch(2)).await, Ok(5));
    // Nothing that the older carrier still holds arrives, and its end is nobody's business.
    let _ = older.write_all(&frame(1, 5, b"too late")[..16]).await;
    let (mut newer, ours) = duplex(1 << 20);
    side.handle.attach(epoch(2), 0, ours).await.unwrap();
    let left = rest(&mut older).await;
    assert!(left.len() <= 16, "{} bytes after the fence", left.len());
    newer.write_all(&frame(1, 5, b"newer")).await.unwrap();
    assert_eq!(next(&mut hear, 5).await, b"newer");
    let (mut heard, mut end) = (Vec::new(), false);
    while !end {
        let head = next(&mut newer, 12).await;
        let length = u32::from_be_bytes([0, head[1], head[2], head[3]]) as usize;
        heard.extend(next(&mut newer, length).await);
        end = head[0] == 3;
    }
    assert!(heard == said);
    saying.await.unwrap();
    assert!(side.events.try_recv().is_err());
}

#[tokio::test]
async fn late_carriers_are_declined() {
    let side = side();
    let mut peer = first_carrier(&side).await;
    for late in [epoch(0), epoch(1)] {
        let fenced = Declined::Fenced(Fenced { offered: late, newest: epoch(1) });
        assert_eq!(side.handle.fence(late).await, Err(fenced));
        let (mut late_peer, ours) = duplex(16);
        assert_eq!(side.handle.attach(late, 0, ours).await, Err(fenced));
        assert_eq!(rest(&mut late_peer).await, b"", "closed");
    }
    side.handle.fence(epoch(2)).await.unwrap();
    side.handle.fence(epoch(3)).await.unwrap();
    let overtaken = Declined::Fenced(Fenced { offered: epoch(2), newest: epoch(3) });
    assert_eq!(side.handle.attach(epoch(2), 0, duplex(16).1).await, Err(overtaken));
    side.handle.attach(epoch(3), 0, duplex(16).1).await.unwrap();
    assert_eq!(rest(&mut peer).await, b"", "the one before is let go");
}

#[tokio::test]
async fn a_violation_ends_the_stream_and_says_what_it_was() {
    let mut side = side();
    let mut peer = first_carrier(&side).await;
    peer.write_all(&[frame(1, 0, b"fine"), frame(1, 3, b"again")].concat()).await.unwrap();
    let violation = Violation::DataElsewhere { position: 3, received: 4 };
    assert_eq!(side.carried.await.unwrap(), Err(Fault::Violation(violation)));
    assert_eq!(rest(&mut side.process).await, b"fine");
    assert_eq!(side.handle.fence(epoch(2)).await, Err(Declined::Over));
    assert_eq!(rest(&mut peer).await, b"");
}

#[tokio::test]
async fn what_a_peer_cannot_have_received_ends_the_stream() {
    let side = side();
    side.handle.fence(epoch(1)).await.unwrap();
    assert_eq!(side.handle.attach(epoch(1), 1, duplex(16).1).await, Err(Declined::Over));
    let violation = Violation::AckBeyond { told: 1, sent: 0 };
    assert_eq!(side.carried.await.unwrap(), Err(Fault::Violation(violation)));
}

/// What a process hears of a peer that must begin with «ab», and how that ends.
async fn begin(carriers: &[&[u8]]) -> (Vec<u8>, Option<Fault>) {
    let mut side = side_of(1 << 16, Some(*b"ab"));
    for (link, wire) in (1..).zip(carriers) {
        let (mut peer, ours) = duplex(1 << 16);
        side.handle.fence(epoch(link)).await.unwrap();
        side.handle.attach(epoch(link), 0, ours).await.unwrap();
        peer.write_all(wire).await.unwrap();
        drop(peer);
        if !matches!(side.events.recv().await, Some(Event::Cut { .. } | Event::PeerEnded)) {
            break;
        }
    }
    if side.carried.is_finished() {
        let fault = side.carried.await.unwrap().unwrap_err();
        return (rest(&mut side.process).await, Some(fault));
    }
    drop(side.handle);
    assert_eq!(side.carried.await.unwrap(), Ok(()));
    (rest(&mut side.process).await, None)
}

#[tokio::test]
async fn not_a_byte_is_passed_on_before_the_beginning_was_checked() {
    let one_by_one = [frame(1, 0, b"a"), frame(1, 1, b"b"), frame(1, 2, b"c")].concat();
    for right in [frame(1, 0, b"abc"), one_by_one] {
        assert_eq!(begin(&[&right]).await, (b"abc".to_vec(), None));
    }
    let over_two = [&frame(1, 0, b"a")[..], &frame(1, 1, b"bc")];
    assert_eq!(begin(&over_two).await, (b"abc".to_vec(), None));
    let just = [frame(1, 0, b"ab"), frame(3, 2, b"")].concat();
    assert_eq!(begin(&[&just]).await, (b"ab".to_vec(), None));
    let wrong = Fault::Beginning { heard: *b"ac", expected: *b"ab" };
    assert_eq!(begin(&[&frame(1, 0, b"acd")]).await, (Vec::new(), Some(wrong)));
    let one = [frame(1, 0, b"a"), frame(3, 1, b"")].concat();
    assert_eq!(begin(&[&one]).await, (Vec::new(), Some(Fault::NoBeginning)));
    assert_eq!(begin(&[&frame(1, 0, b"a")]).await, (Vec::new(), None));
}
