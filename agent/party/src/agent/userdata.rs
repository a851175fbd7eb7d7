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
const PATIENCE: Duration = Duration::from_secs(3);
/// Largest answer in bytes; DigitalOcean takes 64 KiB of user data.
const LARGEST: u64 = 128 * 1024;
/// The port of HTTP.
const PORT: u16 = 80;

/// The text at `url`, «http://host[:port]/path»; empty where there is none.
///
/// # Errors
/// Why it cannot be had, for people.
pub(super) async fn get(url: &str) -> Result<Zeroizing<String>, String> {
    let rest = url.strip_prefix("http://").ok_or("the address does not begin with http://")?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let ported = if host.contains(':') { host.to_owned() } else { format!("{host}:{PORT}") };
    let answer = timeout(PATIENCE, ask(&ported, host, path)).await;
    let answer = answer.map_err(|_| "it does not answer")?.map_err(|error| error.to_string())?;
    content(&String::from_utf8_lossy(&answer))
}

/// What the `answer` of a server holds; nothing where it has nothing.
///
/// # Errors
/// What it says instead, for people.
pub fn content(answer: &str) -> Result<Zeroizing<String>, String> {
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("it speaks no HTTP")?;
    match head.split(' ').nth(1) {
        Some("200") => Ok(Zeroizing::new(body.to_owned())),
        Some("404") => Ok(Zeroizing::default()),
        _ => Err(format!("it answers «{}»", visible(head.lines().next().unwrap_or_default()))),
    }
}

async fn ask(ported: &str, host: &str, path: &str) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut tcp = TcpStream::connect(ported).await?;
    let request = format!("GET /{path} HTTP/1.0\r\nHost: {host}\r\n\r\n");
    tcp.write_all(request.as_bytes()).await?;
    let mut answer = Zeroizing::new(Vec::new());
    tcp.take(LARGEST).read_to_end(&mut answer).await?;
    Ok(answer)
}
