//! User data of a cloud's machine: one GET by HTTP/1.0 (RFC 1945) from an address on the link.
//! Nothing of what it says is believed but a token, which proves itself.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::session::words::visible;

/// How long the answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// Largest answer in bytes; DigitalOcean takes 64 KiB of user data.
const MAX_ANSWER_BYTES: u64 = 128 * 1024;
/// The port of HTTP.
const HTTP_PORT: u16 = 80;

/// Why user data cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum UserDataError {
    /// Another protocol.
    #[error("the address does not begin with http://")]
    Address,
    /// It takes too long.
    #[error("it does not answer")]
    Timeout,
    /// What the system says.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Another protocol at the other end.
    #[error("it speaks no HTTP")]
    NotHttp,
    /// The server does not give it; its status line, made visible.
    #[error("it answers «{0}»")]
    Status(String),
}

/// The text at `url`, «http://host[:port]/path»; empty where there is none.
///
/// # Errors
/// Why it cannot be had.
pub(super) async fn get(url: &str) -> Result<Zeroizing<String>, UserDataError> {
    let rest = url.strip_prefix("http://").ok_or(UserDataError::Address)?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let ported = if host.contains(':') { host.to_owned() } else { format!("{host}:{HTTP_PORT}") };
    let answer = timeout(ANSWER_TIMEOUT, ask(&ported, host, path)).await;
    let answer = answer.map_err(|_| UserDataError::Timeout)??;
    content(&String::from_utf8_lossy(&answer))
}

/// What the `answer` of a server holds; nothing where it has nothing.
///
/// # Errors
/// What it says instead.
pub fn content(answer: &str) -> Result<Zeroizing<String>, UserDataError> {
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(UserDataError::NotHttp)?;
    match head.split(' ').nth(1) {
        Some("200") => Ok(Zeroizing::new(body.to_owned())),
        Some("404") => Ok(Zeroizing::default()),
        _ => Err(UserDataError::Status(visible(head.lines().next().unwrap_or_default()))),
    }
}

async fn ask(ported: &str, host: &str, path: &str) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut tcp = TcpStream::connect(ported).await?;
    let request = format!("GET /{path} HTTP/1.0\r\nHost: {host}\r\n\r\n");
    tcp.write_all(request.as_bytes()).await?;
    let mut answer = Zeroizing::new(Vec::new());
    tcp.take(MAX_ANSWER_BYTES).read_to_end(&mut answer).await?;
    Ok(answer)
}
