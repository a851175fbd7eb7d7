//! Why an attempt brought no connection.

use std::io;

use mpyc_party_transport::TransportError;
use mpyc_party_transport::frame::FrameError;

use crate::client::RequestError;
use crate::segment_memory::Stalled;

/// Why an attempt brought no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Nobody answers.
    #[error("no answer")]
    Timeout,
    /// Nobody says where the peer is.
    #[error("none of its addresses can be found")]
    NoAddress,
    /// The address is none of its kind.
    #[error("it is no address of its kind")]
    Unreadable,
    /// The system refused this process a UDP socket.
    #[error("there is no UDP socket")]
    NoUdp,
    /// Below the handshake.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// In the handshake.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// It opened, and then nothing got through.
    #[error(transparent)]
    Stalled(#[from] Stalled),
    /// By a hub.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// In what was said afterwards.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl DialError {
    /// What opened, where nothing got through then.
    #[must_use]
    pub fn stalled(&self) -> Option<&Stalled> {
        match self {
            Self::Stalled(stalled) | Self::Request(RequestError::Stalled(stalled)) => Some(stalled),
            _ => None,
        }
    }
}
