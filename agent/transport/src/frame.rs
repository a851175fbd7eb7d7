//! Frames: one message each, a length of four bytes (big-endian) and a postcard body.
//!
//! Every reader states its limit, so that nobody can make it reserve more than one message may
//! take.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

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
    /// The body is longer than its message.
    #[error("a frame with {0} bytes behind its message")]
    Trailing(usize),
    /// The connection failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads one frame of at most `limit` bytes; `None` is a proper end between two frames.
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
    if length > limit {
        return Err(FrameError::TooLong { length, limit });
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await.map_err(cut)?;
    decode(&body).map(Some)
}

fn cut(error: io::Error) -> FrameError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => FrameError::Truncated,
        _ => FrameError::Io(error),
    }
}

fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, FrameError> {
    match postcard::take_from_bytes(body) {
        Ok((message, [])) => Ok(message),
        Ok((_, rest)) => Err(FrameError::Trailing(rest.len())),
        Err(_) => Err(FrameError::Malformed),
    }
}

/// Writes one frame of at most `limit` bytes and flushes it.
///
/// # Errors
/// When the message is longer than `limit` or the connection fails.
pub async fn write<T: Serialize>(
    writer: &mut (impl AsyncWrite + Unpin),
    message: &T,
    limit: usize,
) -> Result<(), FrameError> {
    let mut frame = postcard::to_extend(message, vec![0; 4]).map_err(|_| FrameError::Malformed)?;
    let length = frame.len() - 4;
    if length == 0 {
        return Err(FrameError::Empty);
    }
    match u32::try_from(length) {
        Ok(head) if length <= limit => frame[..4].copy_from_slice(&head.to_be_bytes()),
        _ => return Err(FrameError::TooLong { length, limit }),
    }
    writer.write_all(&frame).await?;
    writer.flush().await?;
    Ok(())
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
    fn every_defect_has_a_name() {
        use FrameError::{Empty, Malformed, TooLong, Trailing, Truncated};
        assert!(matches!(parse(&[0, 0, 0, 0], 16), Err(Empty)));
        assert!(matches!(parse(&[0, 0, 0, 17], 16), Err(TooLong { length: 17, limit: 16 })));
        assert!(matches!(parse(&[255; 4], 16), Err(TooLong { .. })));
        assert!(matches!(parse(&[0, 0], 16), Err(Truncated)));
        assert!(matches!(parse(&[0, 0, 0, 3, 2, b'a'], 16), Err(Truncated)));
        assert!(matches!(parse(&[0, 0, 0, 2, 9, b'a'], 16), Err(Malformed)));
        assert!(matches!(parse(&[0, 0, 0, 3, 1, b'a', 0], 16), Err(Trailing(1))));
        let long = "x".repeat(17);
        assert!(matches!(now(write(&mut Vec::new(), &long, 16)), Err(TooLong { .. })));
        assert!(matches!(now(write(&mut Vec::new(), &(), 16)), Err(Empty)));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes, 64);
            let _ = decode::<Vec<(String, u32)>>(&bytes);
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
