//! Frames: one message each, a length of four bytes (big-endian) and a body.
//!
//! The body is the message, in postcard, and behind it a list of [extensions](MAX_EXTENSIONS): pairs
//! of a tag and bytes. What a later version has to say beside a message of this version goes there,
//! under a tag of its own, and a reader skips the tags that it does not know. This version knows one, and
//! skips it as well: tag 1 is [padding](write_filling).
//! A change that a reader may not skip raises the number in the protocol's ALPN instead (see
//! [`Protocol::alpn`](crate::Protocol::alpn)).
//!
//! Every reader states its limit, so that nobody can make it reserve more than one message and its
//! extensions may take.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The most extensions of one message.
pub const MAX_EXTENSIONS: usize = 16;
/// The most bytes that they may have together, beside the limit of the message.
pub const MAX_EXTENSION_BYTES: usize = 1024;

/// The tag of bytes that only make a frame longer, whatever its message.
const PADDING_TAG: u32 = 1;
/// So many of them in a frame: with their tag and length less than [`MAX_EXTENSION_BYTES`].
const PADDING_BYTES: usize = 1000;

/// Tags and bytes behind a message.
type Extensions = Vec<(u32, Vec<u8>)>;

/// Why a frame could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// A frame without a body.
    #[error("an empty frame")]
    Empty,
    /// Longer than this kind of message may be.
    #[error("a frame of {length} bytes, where at most {limit} are allowed")]
    TooLong {
        /// The announced length.
        length: usize,
        /// The reader's limit.
        limit: usize,
    },
    /// The connection ended in the middle of a frame.
    #[error("the connection ended in the middle of a frame")]
    Truncated,
    /// The body is no such message.
    #[error("a frame that holds no message of this protocol")]
    Malformed,
    /// What stands behind the message is no list of extensions, or too long a one.
    #[error("a frame with something else than a few extensions behind its message")]
    Extensions,
    /// The connection failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads one frame whose message has at most `limit` bytes; `None` is a proper end between two
/// frames. Extensions are skipped.
///
/// Not cancel-safe: a frame that was read in part is lost with the future.
///
/// # Errors
/// When the frame is too long, cut short or not a `T`.
pub async fn read<T: DeserializeOwned>(
    reader: &mut (impl AsyncRead + Unpin),
    limit: usize,
) -> Result<Option<T>, FrameError> {
    let mut head = [0; 4];
    if reader.read(&mut head[..1]).await? == 0 {
        return Ok(None);
    }
    reader.read_exact(&mut head[1..]).await.map_err(cut)?;
    let length = usize::try_from(u32::from_be_bytes(head)).unwrap_or(usize::MAX);
    if length == 0 {
        return Err(FrameError::Empty);
    }
    if length > limit.saturating_add(MAX_EXTENSION_BYTES) {
        return Err(FrameError::TooLong { length, limit });
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await.map_err(cut)?;
    decode(&body, limit).map(Some)
}

fn cut(error: io::Error) -> FrameError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => FrameError::Truncated,
        _ => FrameError::Io(error),
    }
}

/// The message of a frame's body, which has at most `limit` bytes without its extensions.
///
/// # Errors
/// When it is too long, or not a `T` with a few extensions.
pub fn decode<T: DeserializeOwned>(body: &[u8], limit: usize) -> Result<T, FrameError> {
    let (message, rest) = postcard::take_from_bytes(body).map_err(|_| FrameError::Malformed)?;
    let length = body.len() - rest.len();
    if length > limit {
        return Err(FrameError::TooLong { length, limit });
    }
    match postcard::take_from_bytes::<Extensions>(rest) {
        Ok((list, [])) if list.len() <= MAX_EXTENSIONS && rest.len() <= MAX_EXTENSION_BYTES => {
            Ok(message)
        }
        _ => Err(FrameError::Extensions),
    }
}

/// The body of a frame with this message, behind `head`, which is kept.
///
/// # Errors
/// When the message is longer than `limit` bytes, or empty.
pub fn encode<T: Serialize>(
    head: Vec<u8>,
    message: &T,
    limit: usize,
) -> Result<Vec<u8>, FrameError> {
    encode_extended(head, message, &Extensions::new(), limit)
}

fn encode_extended<T: Serialize>(
    head: Vec<u8>,
    message: &T,
    extensions: &Extensions,
    limit: usize,
) -> Result<Vec<u8>, FrameError> {
    let before = head.len();
    let body = postcard::to_extend(message, head).map_err(|_| FrameError::Malformed)?;
    match body.len() - before {
        0 => Err(FrameError::Empty),
        length if length > limit => Err(FrameError::TooLong { length, limit }),
        _ => postcard::to_extend(extensions, body).map_err(|_| FrameError::Malformed),
    }
}

/// A whole frame.
fn frame<T: Serialize>(
    message: &T,
    extensions: &Extensions,
    limit: usize,
) -> Result<Vec<u8>, FrameError> {
    let mut frame = encode_extended(vec![0; 4], message, extensions, limit)?;
    let length = frame.len() - 4;
    let head = u32::try_from(length).map_err(|_| FrameError::TooLong { length, limit })?;
    frame[..4].copy_from_slice(&head.to_be_bytes());
    Ok(frame)
}

/// Writes one frame whose message has at most `limit` bytes, and flushes it.
///
/// # Errors
/// When the message is longer than `limit` or the connection fails.
pub async fn write<T: Serialize>(
    writer: &mut (impl AsyncWrite + Unpin),
    message: &T,
    limit: usize,
) -> Result<(), FrameError> {
    writer.write_all(&frame(message, &Extensions::new(), limit)?).await?;
    writer.flush().await?;
    Ok(())
}

/// Writes one frame with `more` bytes behind it, all at once.
///
/// # Errors
/// As for [`write()`].
pub async fn write_before<T: Serialize>(
    writer: &mut (impl AsyncWrite + Unpin),
    message: &T,
    limit: usize,
    more: &[u8],
) -> Result<(), FrameError> {
    let mut bytes = frame(message, &Extensions::new(), limit)?;
    bytes.extend_from_slice(more);
    writer.write_all(&bytes).await?;
    writer.flush().await?;
    Ok(())
}

/// Writes one message as padded frames, as often as it takes to make `least` bytes, all at once: the
/// packets that carry them are of full size. Every reader takes them for that message, said so often as
/// is returned.
///
/// # Errors
/// When the message is longer than `limit` or the connection fails.
pub async fn write_filling<T: Serialize>(
    writer: &mut (impl AsyncWrite + Unpin),
    message: &T,
    limit: usize,
    least: usize,
) -> Result<usize, FrameError> {
    let padded = frame(message, &vec![(PADDING_TAG, vec![0; PADDING_BYTES])], limit)?;
    let times = least.div_ceil(padded.len());
    writer.write_all(&padded.repeat(times)).await?;
    writer.flush().await?;
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn now<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
    }

    fn parse(mut bytes: &[u8], limit: usize) -> Result<Option<String>, FrameError> {
        now(read(&mut bytes, limit))
    }

    #[test]
    fn messages_come_back_until_the_end() {
        let mut wire = Vec::new();
        for text in ["one", "two"] {
            now(write(&mut wire, &text, 16)).unwrap();
        }
        let mut reader = wire.as_slice();
        for text in ["one", "two"] {
            assert_eq!(now(read::<String>(&mut reader, 16)).unwrap().unwrap(), text);
        }
        assert!(now(read::<String>(&mut reader, 16)).unwrap().is_none());
    }

    #[test]
    fn padding_fills_a_packet_and_changes_no_message() {
        let mut wire = Vec::new();
        assert_eq!(now(write_filling(&mut wire, &"full", 16, 2500)).unwrap(), 3);
        now(write(&mut wire, &"next", 16)).unwrap();
        assert!((2500..4000).contains(&wire.len()), "{} bytes", wire.len());
        let mut reader = wire.as_slice();
        for text in ["full", "full", "full", "next"] {
            assert_eq!(now(read::<String>(&mut reader, 16)).unwrap().unwrap(), text);
        }
        assert!(now(read::<String>(&mut reader, 16)).unwrap().is_none());
    }

    /// A frame with «a» and these extensions.
    fn with(extensions: &Extensions) -> Vec<u8> {
        let body = postcard::to_extend(extensions, vec![1, b'a']).unwrap();
        [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], &body].concat()
    }

    #[test]
    fn what_a_version_says_beside_a_message_may_be_skipped_and_is_bounded() {
        let few: Extensions = vec![(7, b"seven".to_vec()), (1 << 30, Vec::new())];
        assert_eq!(parse(&with(&few), 2).unwrap().unwrap(), "a");
        let full: Extensions = vec![(1, vec![7; 60]); MAX_EXTENSIONS];
        assert_eq!(parse(&with(&full), 16).unwrap().unwrap(), "a");
        let many: Extensions = vec![(1, Vec::new()); MAX_EXTENSIONS + 1];
        let long: Extensions = vec![(1, vec![7; MAX_EXTENSION_BYTES])];
        for bad in [many, long] {
            assert!(matches!(parse(&with(&bad), 64), Err(FrameError::Extensions)));
        }
    }

    #[test]
    fn every_defect_has_a_name() {
        use FrameError::{Empty, Malformed, TooLong, Truncated};
        assert!(matches!(parse(&[0, 0, 0, 0], 16), Err(Empty)));
        let many = u32::try_from(17 + MAX_EXTENSION_BYTES).unwrap().to_be_bytes();
        assert!(matches!(parse(&many, 16), Err(TooLong { limit: 16, .. })));
        let behind = [&[0, 0, 0, 19, 17][..], &[b'x'; 17], &[0]].concat();
        assert!(matches!(parse(&behind, 16), Err(TooLong { length: 18, limit: 16 })));
        assert!(matches!(parse(&[255; 4], 16), Err(TooLong { .. })));
        assert!(matches!(parse(&[0, 0], 16), Err(Truncated)));
        assert!(matches!(parse(&[0, 0, 0, 3, 2, b'a'], 16), Err(Truncated)));
        assert!(matches!(parse(&[0, 0, 0, 2, 9, b'a'], 16), Err(Malformed)));
        for behind in [&[][..], &[1], &[0, 0], &[1, 7, 9, 9], &[200]] {
            let length = u8::try_from(2 + behind.len()).unwrap();
            let frame = [&[0, 0, 0, length, 1, b'a'][..], behind].concat();
            assert!(matches!(parse(&frame, 16), Err(FrameError::Extensions)), "{behind:?}");
        }
        let long = "x".repeat(17);
        assert!(matches!(now(write(&mut Vec::new(), &long, 16)), Err(TooLong { .. })));
        assert!(matches!(now(write(&mut Vec::new(), &(), 16)), Err(Empty)));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes, 64);
            let _ = decode::<Vec<(String, u32)>>(&bytes, 64);
        }

        #[test]
        fn any_message_comes_back(message: Vec<(String, u32)>) {
            let mut wire = Vec::new();
            now(write(&mut wire, &message, 1 << 20)).unwrap();
            let back = now(read::<Vec<(String, u32)>>(&mut wire.as_slice(), 1 << 20)).unwrap();
            prop_assert_eq!(back, Some(message));
        }
    }
}
