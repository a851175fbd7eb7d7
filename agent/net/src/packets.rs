//! Which packets get through to somebody: measured over a connection that is there.

use std::time::Duration;

use mpyc_party_transport::frame::{self, FrameError};
use mpyc_party_transport::pipe::filler;
use mpyc_party_transport::{Secure, SecureStream};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::segment_memory;

/// A packet of Ethernet, and one of the largest that there are, in bytes.
pub(crate) const FULL_SIZE_BYTES: std::ops::RangeInclusive<u32> = 1500..=9000;
/// Timestamps of TCP in bytes (RFC 7323), in each packet.
const TIMESTAMP_BYTES: u32 = 12;
/// How long a packet of full size may take to be answered.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Which packets of TCP get through, in bytes with their headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packets {
    /// The largest that this machine sends there.
    pub full: u32,
    /// Whether these get through.
    pub through: bool,
    /// Whether larger ones were found not to, so that smaller ones are sent.
    pub reduced: bool,
}

/// How much has to be said at once over `stream` for its packets to be of full size, in bytes.
pub(crate) fn full_size(stream: &SecureStream) -> usize {
    let (least, most) = (*FULL_SIZE_BYTES.start(), *FULL_SIZE_BYTES.end());
    stream.segment_bytes().unwrap_or(least).clamp(least, most) as usize
}

/// What goes behind a message that is followed by a pipe, so that packets of full size carry both; nothing
/// where `stream` does not run over TCP.
pub(crate) fn pipe_filler(stream: &SecureStream) -> Vec<u8> {
    stream.segment_bytes().map(|_| filler(full_size(stream))).unwrap_or_default()
}

/// Says `question` in packets of full size over `secure`, and waits until the other end has heard all of
/// it: as often as it is said, an answer comes. None where the connection does not run over TCP.
///
/// # Errors
/// When the connection breaks.
pub(crate) async fn measure<Q: Serialize, A: DeserializeOwned>(
    secure: &mut Secure,
    question: &Q,
    limit: usize,
) -> Result<Option<Packets>, FrameError> {
    let Some(segment) = secure.stream.segment_bytes() else { return Ok(None) };
    let ip = secure.address.ip().to_canonical();
    let full = segment_memory::packet_bytes(segment + TIMESTAMP_BYTES, ip);
    let reduced = segment_memory::segment_for(ip).is_some();
    let least = full_size(&secure.stream);
    let conversation = async {
        let times = frame::write_filling(&mut secure.stream, question, limit, least).await?;
        for _ in 0..times {
            frame::read::<A>(&mut secure.stream, limit).await?.ok_or(FrameError::Truncated)?;
        }
        Ok::<(), FrameError>(())
    };
    let through = match timeout(ANSWER_TIMEOUT, conversation).await {
        Ok(done) => done.map(|()| true)?,
        Err(_) => false,
    };
    if !through {
        segment_memory::stalled(ip, segment);
    }
    Ok(Some(Packets { full, through, reduced }))
}
