//! Why a QUIC connection did not come about or is over, in words for people.

use std::net::SocketAddr;

use quinn::{ConnectError, ConnectionError, TransportErrorCode};
use rustls::AlertDescription;

use crate::error::{TransportError, refusal};
use crate::quic_stream::close_reason;
use crate::verify::Verifier;

/// Which end of a handshake this is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Dialling,
    Accepting,
}

/// The alert of TLS in an error code (RFC 9001, section 4.8).
fn alert(code: TransportErrorCode) -> Option<AlertDescription> {
    let code = u64::from(code).checked_sub(0x100)?;
    u8::try_from(code).ok().map(AlertDescription::from)
}

/// Finds the reason behind a failed handshake; the verifier knows better than its alert.
pub(super) fn handshake(
    address: SocketAddr,
    error: &ConnectionError,
    verifier: &Verifier,
    side: Side,
) -> TransportError {
    let found = verifier.found();
    if let Some(Err(reason)) = found {
        return TransportError::Peer { address, reason };
    }
    match error {
        ConnectionError::TransportError(ours) => match (alert(ours.code), side) {
            (Some(AlertDescription::NoApplicationProtocol), _) => {
                TransportError::Protocol { address }
            }
            // What rustls says when no certificate is to be shown.
            (Some(AlertDescription::AccessDenied), Side::Accepting) => {
                TransportError::Name { address }
            }
            _ => {
                let source = rustls::Error::General(ours.reason.clone());
                TransportError::Tls { address, source }
            }
        },
        ConnectionError::ConnectionClosed(theirs) => match (alert(theirs.error_code), side) {
            // Before it has shown a certificate, that is a refusal to show one.
            (Some(AlertDescription::AccessDenied), Side::Dialling) if found.is_none() => {
                let reason = refusal(AlertDescription::UnrecognisedName);
                TransportError::Refused { address, reason }
            }
            (Some(alert), _) => TransportError::Refused { address, reason: refusal(alert) },
            (None, _) => TransportError::HungUp { address },
        },
        ConnectionError::TimedOut => TransportError::Timeout { address },
        ConnectionError::ApplicationClosed(_) | ConnectionError::Reset => {
            TransportError::HungUp { address }
        }
        other => over(address, other),
    }
}

/// Why no connection can even be tried.
pub(super) fn dial(address: SocketAddr, error: &ConnectError) -> TransportError {
    let reason = match error {
        ConnectError::InvalidRemoteAddress(_) => "this machine cannot reach such addresses".into(),
        ConnectError::EndpointStopping => "this endpoint is closed".into(),
        other => other.to_string(),
    };
    TransportError::Over { address, reason }
}

/// The end of a connection.
pub(super) fn over(address: SocketAddr, error: &ConnectionError) -> TransportError {
    TransportError::Over { address, reason: close_reason(error) }
}
