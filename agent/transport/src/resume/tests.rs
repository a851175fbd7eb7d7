//! Two pumps, or one and a peer that the test plays, joined by pipes that break.

mod deaths;
mod pressure;
mod refusals;
mod rules;
mod standstill;

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::task::JoinHandle;

use super::*;

/// One end of a stream: its pump, its owner's view, and the local process.
struct Side<C = DuplexStream> {
    handle: Handle<C>,
    process: DuplexStream,
    events: mpsc::UnboundedReceiver<Event>,
    traffic: Arc<Traffic>,
    carried: JoinHandle<Result<(), Fault>>,
}

type Process = Local<ReadHalf<DuplexStream>, WriteHalf<DuplexStream>>;

/// A local process, and the pump's side of it.
fn process(beginning: Option<[u8; 2]>) -> (DuplexStream, Process) {
    let (process, ours) = duplex(1 << 16);
    let (reader, writer) = split(ours);
    (process, Local { reader, writer, beginning, traffic: Arc::default() })
}

fn side_of<C>(window: usize, beginning: Option<[u8; 2]>) -> Side<C>
where
    C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (process, local) = process(beginning);
    let (traffic, (handle, carriers)) = (local.traffic.clone(), channel());
    let (tell, events) = mpsc::unbounded_channel();
    let tell = move |event| tell.send(event).unwrap();
    let carried = tokio::spawn(carry(Stream::new(window), local, carriers, tell));
    Side { handle, process, events, traffic, carried }
}

fn side() -> Side {
    side_of(1 << 16, None)
}

fn epoch(link: u64) -> Epoch {
    Epoch { link, attempt: 0 }
}

/// Gives both sides a carrier, as an opening and its answer do.
async fn join<C>(link: u64, sides: [&Handle<C>; 2], carriers: [C; 2]) {
    let [a, b] = sides;
    let [to_a, to_b] = carriers;
    let told_by_a = a.fence(epoch(link)).await.unwrap();
    let told_by_b = b.fence(epoch(link)).await.unwrap();
    b.attach(epoch(link), told_by_a, to_b).await.unwrap();
    a.attach(epoch(link), told_by_b, to_a).await.unwrap();
}

/// Gives one side its first carrier; returns the peer's end.
async fn first_carrier(side: &Side) -> DuplexStream {
    let (peer, ours) = duplex(1 << 16);
    assert_eq!(side.handle.fence(epoch(1)).await, Ok(0));
    side.handle.attach(epoch(1), 0, ours).await.unwrap();
    peer
}

/// What a pump that is polled by hand needs.
fn timers() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

/// A frame as the peer sends it: kinds are 1 data, 2 acknowledgement, 3 end.
fn frame(kind: u8, position: u64, data: &[u8]) -> Vec<u8> {
    let [.., a, b, c] = data.len().to_be_bytes();
    [&[kind, a, b, c][..], &position.to_be_bytes(), data].concat()
}

/// Fails where nothing happens any more.
async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), work).await.expect("nothing happens any more")
}

/// What the owner of a side is told next.
async fn event<C>(side: &mut Side<C>) -> Event {
    soon(side.events.recv()).await.unwrap()
}

/// Reads exactly the next `length` bytes.
async fn next(reader: &mut (impl AsyncRead + Unpin), length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    soon(reader.read_exact(&mut bytes)).await.unwrap();
    bytes
}

/// The whole rest.
async fn rest(reader: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    soon(reader.read_to_end(&mut bytes)).await.unwrap();
    bytes
}
