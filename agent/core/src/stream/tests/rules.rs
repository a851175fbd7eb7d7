//! Each rule of the protocol by itself.

use super::super::frame::{ACK, DATA, END, HEAD_BYTES, Head};
use super::super::{Fenced, MAX_DATA_BYTES, Refused, Violation, WINDOW_BYTES};
use super::{Epoch, Stream, attached, drain, epoch, feed, write};

fn head(kind: u8, length: usize, position: u64) -> [u8; HEAD_BYTES] {
    Head { kind, length, position }.encode()
}

/// What comes of `wire` at a stream that sent ten bytes and received five.
fn after(wire: &[u8]) -> Result<(Vec<u8>, bool), Violation> {
    let mut stream = attached(1024);
    write(&mut stream, b"ten bytes.");
    drain(&mut stream, epoch(1));
    let five = [&head(DATA, 5, 0)[..], b"first"].concat();
    assert_eq!(feed(&mut stream, epoch(1), &five), Ok((b"first".to_vec(), false)));
    let outcome = feed(&mut stream, epoch(1), wire);
    if outcome.is_err() {
        let more = [&head(DATA, 5, 5)[..], b"other"].concat();
        assert_eq!(feed(&mut stream, epoch(1), &more), Ok((Vec::new(), false)), "goes on");
    }
    outcome
}

#[test]
fn frames_look_as_documented() {
    let bytes = [DATA, 1, 2, 3, 0, 0, 0, 0, 0, 0, 1, 0];
    let head = Head { kind: DATA, length: 0x01_0203, position: 256 };
    assert_eq!((head.encode(), Head::decode(&bytes)), (bytes, Some(head)));
    assert_eq!(Head::decode(&bytes[..HEAD_BYTES - 1]), None);
}

#[test]
fn who_is_asked_tells_what_is_new_and_asks_nothing_back() {
    let (mut ours, mut theirs) = (attached(1024), attached(1024));
    assert!(ours.is_settled());
    write(&mut ours, b"ten bytes.");
    let data = drain(&mut ours, epoch(1));
    feed(&mut theirs, epoch(1), &data).unwrap();
    assert!(!ours.is_settled());
    assert_eq!(drain(&mut theirs, epoch(1)), b"", "acknowledgements are sparse");
    ours.speak();
    let question = drain(&mut ours, epoch(1));
    assert_eq!(question, head(ACK, 0, 0));
    feed(&mut theirs, epoch(1), &question).unwrap();
    let answer = drain(&mut theirs, epoch(1));
    assert_eq!(answer, head(ACK, 0, 10));
    feed(&mut ours, epoch(1), &answer).unwrap();
    assert!(ours.is_settled());
    feed(&mut theirs, epoch(1), &question).unwrap();
    assert_eq!(drain(&mut theirs, epoch(1)), b"", "there is nothing new");
    ours.finish();
    drain(&mut ours, epoch(1));
    assert!(!ours.is_settled(), "the end may be lost, too");
}

#[test]
fn every_violation_has_a_name() {
    use Violation::{AckBeyond, AfterEnd, DataElsewhere, EndElsewhere, Length, UnknownKind};
    for (wire, violation) in [
        (head(ACK, 0, 11), AckBeyond { told: 11, sent: 10 }),
        (head(ACK, 0, u64::MAX), AckBeyond { told: u64::MAX, sent: 10 }),
        (head(DATA, 1, 4), DataElsewhere { position: 4, received: 5 }),
        (head(DATA, 1, 6), DataElsewhere { position: 6, received: 5 }),
        (head(DATA, 1, u64::MAX), DataElsewhere { position: u64::MAX, received: 5 }),
        (head(END, 0, 4), EndElsewhere { position: 4, received: 5 }),
        (head(END, 0, 6), EndElsewhere { position: 6, received: 5 }),
        (head(DATA, MAX_DATA_BYTES + 1, 5), Length { kind: DATA, length: MAX_DATA_BYTES + 1 }),
        (head(DATA, 0, 5), Length { kind: DATA, length: 0 }),
        (head(ACK, 1, 10), Length { kind: ACK, length: 1 }),
        (head(END, 1, 5), Length { kind: END, length: 1 }),
        (head(0, 0, 5), UnknownKind(0)),
        (head(4, 0, 5), UnknownKind(4)),
    ] {
        assert_eq!(after(&wire), Err(violation), "{violation}");
    }
    let back = [head(ACK, 0, 7), head(ACK, 0, 6)].concat();
    assert_eq!(after(&back), Err(Violation::AckBack { told: 6, before: 7 }));
    for kind in [DATA, END] {
        let more = [head(END, 0, 5), head(kind, usize::from(kind == DATA), 5)].concat();
        assert_eq!(after(&more), Err(AfterEnd));
    }
    let fine = [&head(ACK, 0, 10)[..], &head(DATA, 1, 5), b"x", &head(END, 0, 6)].concat();
    assert_eq!(after(&fine), Ok((b"x".to_vec(), true)));
}

#[test]
fn an_end_is_acknowledged_only_where_it_was_sent() {
    let mut stream = attached(1024);
    write(&mut stream, b"x");
    stream.finish();
    stream.transmitted(epoch(1), 0);
    let length = stream.transmit(epoch(1)).len();
    stream.transmitted(epoch(1), length);
    let beyond = Violation::AckBeyond { told: 2, sent: 1 };
    assert_eq!(feed(&mut stream, epoch(1), &head(ACK, 0, 2)), Err(beyond));
}

#[test]
fn what_a_peer_tells_at_a_new_carrier_is_checked() {
    let tell = |received| {
        let mut stream = attached(1024);
        write(&mut stream, b"ten bytes.");
        drain(&mut stream, epoch(1));
        feed(&mut stream, epoch(1), &head(ACK, 0, 4)).unwrap();
        stream.fence(epoch(2)).unwrap();
        stream.attach(epoch(2), received).map(|()| drain(&mut stream, epoch(2)))
    };
    let rest = |from: usize| [&head(DATA, 10 - from, from as u64), &b"ten bytes."[from..]].concat();
    assert_eq!(tell(4), Ok(rest(4)));
    assert_eq!(tell(9), Ok(rest(9)));
    assert_eq!(tell(10), Ok(Vec::new()));
    let beyond = Violation::AckBeyond { told: 11, sent: 10 };
    assert_eq!(tell(11), Err(Refused::Violation(beyond)));
    assert_eq!(tell(3), Err(Refused::Violation(Violation::AckBack { told: 3, before: 4 })));
    assert_eq!(beyond.to_string(), "the peer says that it has received 11 where only 10 was sent");
}

#[test]
fn an_older_or_equal_epoch_is_fenced() {
    let mut stream = Stream::new(1024);
    let attempt = |attempt| Epoch { link: 3, attempt };
    assert!(stream.attach(attempt(0), 0).is_err(), "not fenced first");
    assert_eq!(stream.fence(attempt(1)), Ok(0));
    stream.attach(attempt(1), 0).unwrap();
    let newest = attempt(1);
    for offered in [attempt(1), attempt(0), Epoch { link: 2, attempt: 9 }] {
        let fenced = Fenced { offered, newest };
        assert_eq!(stream.fence(offered), Err(fenced));
        assert_eq!(stream.attach(offered, 0), Err(Refused::Fenced(fenced)));
    }
    stream.detach(attempt(1));
    assert!(stream.fence(attempt(1)).is_err(), "an epoch has one carrier");
    assert!(stream.attach(attempt(1), 0).is_err(), "an epoch has one carrier");
    stream.fence(attempt(3)).unwrap();
    assert!(stream.attach(attempt(2), 0).is_err(), "overtaken");
    stream.attach(attempt(3), 0).unwrap();
}

#[test]
fn a_fenced_carrier_neither_delivers_nor_takes() {
    let mut stream = attached(1024);
    write(&mut stream, b"unheard");
    let data = [&head(DATA, 4, 0)[..], b"data"].concat();
    let half = feed(&mut stream, epoch(1), &data[..HEAD_BYTES + 2]);
    assert_eq!(half, Ok((b"da".to_vec(), false)));
    assert_eq!(stream.fence(epoch(2)), Ok(2));
    assert_eq!(feed(&mut stream, epoch(1), b"ta"), Ok((Vec::new(), false)));
    assert_eq!(stream.transmit(epoch(1)), b"");
    stream.attach(epoch(2), 0).unwrap();
    assert_eq!(feed(&mut stream, epoch(1), b"ta"), Ok((Vec::new(), false)));
    assert_eq!(stream.transmit(epoch(1)), b"");
    stream.detach(epoch(1));
    assert!(stream.is_attached(epoch(2)));
    let rest = [&head(DATA, 2, 2)[..], b"ta"].concat();
    assert_eq!(feed(&mut stream, epoch(2), &rest), Ok((b"ta".to_vec(), false)));
    assert_eq!(stream.transmit(epoch(2)), [&head(DATA, 7, 0)[..], b"unheard"].concat());
}

#[test]
fn small_messages_cost_no_message_more() {
    let [mut alice, mut bob] = [attached(WINDOW_BYTES), attached(WINDOW_BYTES)];
    let message = [7; 100];
    let (mut writes, mut rounds) = (0, 0);
    while rounds < 10_000 {
        write(&mut alice, &message);
        while let length @ 1.. = alice.transmit(epoch(1)).len() {
            let wire = alice.transmit(epoch(1)).to_vec();
            alice.transmitted(epoch(1), length);
            feed(&mut bob, epoch(1), &wire).unwrap();
            writes += 1;
        }
        rounds += 1;
        std::mem::swap(&mut alice, &mut bob);
    }
    let (bytes, acks) = (rounds * (HEAD_BYTES + message.len()), writes - rounds);
    assert_eq!(
        acks,
        bytes / 2 / (WINDOW_BYTES / 16) * 2,
        "one in a sixteenth of the window each way"
    );
}

#[test]
fn a_full_window_stops_the_local_side_until_the_peer_acknowledges() {
    let [mut alice, mut bob] = [attached(WINDOW_BYTES), attached(WINDOW_BYTES)];
    let (piece, mut taken) = (vec![1; MAX_DATA_BYTES], 0);
    while let length @ 1.. = write(&mut alice, &piece) {
        taken += length;
    }
    assert_eq!((taken, alice.room().len()), (WINDOW_BYTES / (64 * 1024) * MAX_DATA_BYTES, 0));
    assert!(alice.replay.allocated() <= WINDOW_BYTES);
    let wire = drain(&mut alice, epoch(1));
    assert_eq!(feed(&mut bob, epoch(1), &wire).unwrap().0.len(), taken);
    feed(&mut alice, epoch(1), &drain(&mut bob, epoch(1))).unwrap();
    assert!(write(&mut alice, &piece) > 0);
    assert!(alice.replay.allocated() <= WINDOW_BYTES / 4, "memory is given back");
}
