//! Why a connection did not come about, in words for people.

use std::io;
use std::net::SocketAddr;

use rustls::{AlertDescription, InvalidMessage};

use crate::verify::{PeerError, Verifier};

/// Why a connection did not come about.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The other end's certificate was refused here.
    #[error("{address}: {reason}")]
    Peer {
        /// The other end.
        address: SocketAddr,
        /// Why.
        reason: PeerError,
    },
    /// The other end refused this one.
    #[error("{address} refused this machine: {reason}")]
    Refused {
        /// The other end.
        address: SocketAddr,
        /// What its alert means.
        reason: &'static str,
    },
    /// The other end speaks no protocol that is served here, or another version.
    #[error("{address} asked for a protocol that is not served here: another version?")]
    Protocol {
        /// The other end.
        address: SocketAddr,
    },
    /// The other end asked for a name that is not served here.
    #[error("{address} asked for a network or session that is not served here")]
    Name {
        /// The other end.
        address: SocketAddr,
    },
    /// The handshake took too long.
    #[error("{address} did not complete the handshake in time")]
    Timeout {
        /// The other end.
        address: SocketAddr,
    },
    /// Dropped in favour of others while many were undecided.
    #[error("{address} was dropped: too many undecided connections")]
    Evicted {
        /// The other end.
        address: SocketAddr,
    },
    /// The other end hung up in the handshake.
    #[error("{address} hung up during the handshake: nothing is served there under that name")]
    HungUp {
        /// The other end.
        address: SocketAddr,
    },
    /// What answers is no TLS at all.
    #[error(
        "{address} does not speak TLS, so it is not mpyc-party that answers there, but a web server, or the login page of \
         a network: log in to that network with a browser, or check the address and the port"
    )]
    NotTls {
        /// The other end.
        address: SocketAddr,
    },
    /// The handshake failed for another reason.
    #[error("{address}: the TLS handshake failed: {source}")]
    Tls {
        /// The other end.
        address: SocketAddr,
        /// What rustls says.
        source: rustls::Error,
    },
    /// The connection is over, or the other end takes no more on it.
    #[error("{address}: {reason}")]
    Over {
        /// The other end.
        address: SocketAddr,
        /// Why, in words.
        reason: String,
    },
    /// The connection failed below TLS.
    #[error("{address}: {source}")]
    Io {
        /// The other end.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
}

/// What an alert in answer to our certificate means.
pub(crate) fn refusal(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::CertificateExpired => {
            "it finds this certificate expired or not yet valid; check the clocks, or renew"
        }
        AlertDescription::UnknownCA => "it belongs to another network or another authority",
        AlertDescription::AccessDenied => {
            "it does not expect this member there, or pins another key"
        }
        AlertDescription::NoApplicationProtocol => {
            "it does not serve this protocol; perhaps another version of mpyc-party runs there"
        }
        AlertDescription::UnrecognisedName => {
            "it serves another network, or has no part in this session"
        }
        AlertDescription::CertificateRequired => "it demands a certificate",
        AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure => {
            "no version and cipher suits both; is it mpyc-party that runs there?"
        }
        _ => "it does not accept this certificate",
    }
}

/// What an error of a connection means to people, where its own text is for programmers: rustls
/// explains a connection that ended without a farewell by the address of its manual. Its text is all
/// that tells it from other ends, which have a reason of their own.
pub(crate) fn in_plain_words(error: io::Error) -> io::Error {
    let rustls = |text: String| text.contains("close_notify");
    if error.kind() == io::ErrorKind::UnexpectedEof && rustls(error.to_string()) {
        io::Error::new(error.kind(), "the connection was closed without a farewell")
    } else {
        error
    }
}

/// Whether an established connection failed because what came is not what the other end had sent,
/// or, as its alert says, the other way round. Where no checksum of the network below caught it,
/// somebody changed it.
#[must_use]
pub fn is_tampering(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
}

impl TransportError {
    /// Finds the reason behind a failed handshake; the verifier knows better than its alert.
    pub(crate) fn handshake(
        address: SocketAddr,
        source: io::Error,
        verifier: Option<&Verifier>,
    ) -> Self {
        if let Some(Err(reason)) = verifier.and_then(Verifier::found) {
            return Self::Peer { address, reason };
        }
        let hung_up =
            matches!(source.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset);
        let tls = source.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls.cloned() {
            Some(rustls::Error::AlertReceived(alert)) => {
                Self::Refused { address, reason: refusal(alert) }
            }
            // Nothing of what it sent could be read as a message: it answers in plain text.
            Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
                Self::NotTls { address }
            }
            Some(source) => Self::Tls { address, source },
            None if hung_up => Self::HungUp { address },
            None => Self::Io { address, source },
        }
    }
}
