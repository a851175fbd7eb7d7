//! Looking at a connection without taking anything from it: which TLS server name it asks for.
//!
//! Who reads the name hands the socket on, and whoever gets it does the whole handshake. The kernel
//! keeps the bytes.

use std::io;
use std::net::SocketAddr;

use rustix::net::{RecvFlags, recv};
use rustls::server::Acceptor;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::error::TransportError;
use crate::secure::{FIRST_MESSAGE_TIMEOUT, bounded, wrong};

/// Largest first message in bytes; one with post-quantum key shares has some two thousand.
const MAX_HELLO_BYTES: usize = 16 * 1024;

/// The TLS server name that the other end at `address` asks for; none where it names nobody.
///
/// # Errors
/// When what comes is not TLS, too long, or does not come in time.
pub async fn server_name(
    tcp: &TcpStream,
    address: SocketAddr,
) -> Result<Option<String>, TransportError> {
    bounded(address, FIRST_MESSAGE_TIMEOUT, look(tcp, address)).await
}

async fn look(tcp: &TcpStream, address: SocketAddr) -> Result<Option<String>, TransportError> {
    let mut seen = vec![0; MAX_HELLO_BYTES];
    loop {
        let ready = tcp.ready(Interest::READABLE).await;
        let closed =
            ready.map_err(|source| TransportError::Io { address, source })?.is_read_closed();
        let attempt = tcp.try_io(Interest::READABLE, || {
            let (_, length) = recv(tcp, &mut seen[..], RecvFlags::PEEK | RecvFlags::DONTWAIT)?;
            // Peeked bytes stay readable. Called «not ready», the socket is looked at again when
            // more has come, and not before.
            in_first_message(&seen[..length]).ok_or(io::ErrorKind::WouldBlock.into())
        });
        match attempt {
            Ok(parsed) => return parsed.map_err(wrong(address)),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                return Err(TransportError::Io { address, source: error });
            }
            Err(_) if closed => return Err(TransportError::HungUp { address }),
            Err(_) => {}
        }
    }
}

/// The server name in the beginning of a connection; none while some of the first message is missing.
///
/// # Errors
/// Where it is no first message of TLS, or too long for one.
#[must_use]
pub fn in_first_message(seen: &[u8]) -> Option<Result<Option<String>, rustls::Error>> {
    let mut acceptor = Acceptor::default();
    let mut rest = seen;
    while !rest.is_empty() {
        if let Err(error) = acceptor.read_tls(&mut rest) {
            return Some(Err(rustls::Error::General(error.to_string())));
        }
    }
    match acceptor.accept() {
        Ok(Some(accepted)) => Some(Ok(accepted.client_hello().server_name().map(str::to_owned))),
        Ok(None) if seen.len() >= MAX_HELLO_BYTES => {
            Some(Err(rustls::Error::General("its first message is too long".to_owned())))
        }
        Ok(None) => None,
        Err((error, _)) => Some(Err(error)),
    }
}
