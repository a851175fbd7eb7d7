use super::*;
use tokio::io::{DuplexStream, duplex};

/// A pipe over a connection of `room` bytes: its two local ends, and what became of both its ends.
fn pipe(
    room: usize,
) -> (DuplexStream, DuplexStream, impl Future<Output = [Result<(), Broken>; 2]>) {
    let (near, far) = duplex(room);
    let (one, local_one) = duplex(64);
    let (other, local_other) = duplex(64);
    let end = async move |peer, local| {
        let (reader, writer) = split(local);
        carry(peer, reader, writer, &Traffic::default()).await
    };
    let both = async move {
        let (one, other) = tokio::join!(end(near, local_one), end(far, local_other));
        [one, other]
    };
    (one, other, both)
}

#[tokio::test(start_paused = true)]
async fn one_direction_ends_and_the_other_goes_on() {
    let (mut near, mut far, ends) = pipe(1000);
    let talk = async {
        near.write_all(&[7; 200_000]).await.unwrap();
        near.shutdown().await.unwrap();
        let mut heard = Vec::new();
        near.read_to_end(&mut heard).await.unwrap();
        heard
    };
    let answer = async {
        let mut asked = Vec::new();
        far.read_to_end(&mut asked).await.unwrap();
        // Longer than silence may be: each end says that it is there.
        tokio::time::sleep(3 * SILENCE_TIMEOUT).await;
        far.write_all(b"answer").await.unwrap();
        drop(far);
        asked
    };
    let (ends, heard, asked) = tokio::join!(ends, talk, answer);
    assert!(ends.iter().all(Result::is_ok), "{ends:?}");
    assert_eq!((asked, &heard[..]), (vec![7; 200_000], &b"answer"[..]));
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_pauses_stops_the_sender_and_nothing_else() {
    let (mut near, mut far, ends) = pipe(1000);
    let talk = async {
        near.write_all(&[7; 200_000]).await.unwrap();
        near.shutdown().await.unwrap();
        near.read_to_end(&mut Vec::new()).await.unwrap();
    };
    let slow = async {
        tokio::time::sleep(10 * SILENCE_TIMEOUT).await;
        let mut asked = Vec::new();
        far.read_to_end(&mut asked).await.unwrap();
        far.shutdown().await.unwrap();
        asked.len()
    };
    let (ends, (), length) = tokio::join!(ends, talk, slow);
    assert!(ends.iter().all(Result::is_ok), "{ends:?}");
    assert_eq!(length, 200_000);
}

/// What one end makes of a peer that says `said`, and hangs up or goes silent.
async fn of(said: &[u8], hangs_up: bool) -> (Result<(), Broken>, Vec<u8>) {
    let (mut far, near) = duplex(1000);
    let (mut local, ours) = duplex(1000);
    far.write_all(said).await.unwrap();
    let far = if hangs_up {
        drop(far);
        None
    } else {
        Some(far)
    };
    let (reader, writer) = split(ours);
    let broken = carry(near, reader, writer, &Traffic::default()).await;
    drop(far);
    let mut heard = Vec::new();
    local.read_to_end(&mut heard).await.unwrap();
    (broken, heard)
}

#[tokio::test(start_paused = true)]
async fn an_end_that_was_not_said_is_a_break() {
    assert!(matches!(of(b"", true).await.0, Err(Broken::Cut)));
    let (cut, heard) = of(&[0, 0, 0, 2, b'h', b'i', 0, 0, 0, 9, b'x'], true).await;
    assert!(matches!(cut, Err(Broken::Cut)), "{cut:?}");
    assert_eq!(heard, b"hi");
    // It says its end, and hangs up before it has heard ours.
    assert!(matches!(of(&END.to_be_bytes(), true).await.0, Err(Broken::Cut | Broken::Peer(_))));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_vanished_is_noticed() {
    let begun = Instant::now();
    assert!(matches!(of(b"", false).await.0, Err(Broken::Silent)));
    assert_eq!(begun.elapsed(), SILENCE_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_piece_that_is_none_ends_it() {
    let too_long = u32::try_from(MAX_PIECE_BYTES).unwrap().to_be_bytes();
    assert!(matches!(of(&too_long, false).await.0, Err(Broken::Malformed)));
    let after_the_end = [END.to_be_bytes(), 1u32.to_be_bytes()].concat();
    assert!(matches!(of(&after_the_end, false).await.0, Err(Broken::Malformed)));
}

#[tokio::test(start_paused = true)]
async fn what_a_local_side_said_last_arrives_although_it_has_gone() {
    let (mut near, far, ends) = pipe(100_000);
    let talk = async {
        near.write_all(&[7; 50_000]).await.unwrap();
        let mut heard = Vec::new();
        near.read_to_end(&mut heard).await.unwrap();
        heard
    };
    let leave = async {
        let mut far = far;
        far.write_all(b"goodbye").await.unwrap();
        drop(far);
    };
    let (ends, heard, ()) = tokio::join!(ends, talk, leave);
    assert_eq!(heard, b"goodbye");
    drop(ends);
}

/// Takes nothing any more, and says why.
struct Full;

impl AsyncWrite for Full {
    fn poll_write(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        _: &[u8],
    ) -> std::task::Poll<io::Result<usize>> {
        std::task::Poll::Ready(Err(io::ErrorKind::StorageFull.into()))
    }

    fn poll_flush(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn poll_shutdown(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_that_found_no_room_are_an_error() {
    let (mut far, near) = duplex(1000);
    let said = [&[0, 0, 0, 2, b'h', b'i'][..], &END.to_be_bytes()].concat();
    far.write_all(&said).await.unwrap();
    let broken = carry(near, tokio::io::empty(), Full, &Traffic::default()).await;
    assert!(matches!(broken, Err(Broken::Local(_))), "{broken:?}");
}
