//! The conversation with the launcher over the control socket: JSON packets, one descriptor at
//! most with each.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::net::UnixDatagram;
use tokio::time::timeout;

use crate::session::{Copied, Definition, Versions};

/// Largest packet in bytes.
const LARGEST: usize = 64 * 1024;

/// How long a launcher may leave its orders unread once there is no room for more: hundreds wait by
/// then, and the run must not wait with them.
const STUCK: Duration = Duration::from_secs(5);

/// What the launcher is told.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(super) enum Order<'a> {
    /// Import MPyC as this party and report.
    Start {
        program: String,
        arguments: &'a [String],
        options: &'a [String],
        parties: usize,
        index: usize,
        threshold: usize,
        allow_list: bool,
    },
    /// Run the program.
    Go,
    /// Here is the connection that was dialled.
    Connected { peer: usize },
    /// Here is a connection from a peer.
    Accepted { peer: usize },
}

impl<'a> Order<'a> {
    /// The order to import MPyC as the party at roster index `index`.
    pub(super) fn start(definition: &'a Definition, copied: &Copied, index: usize) -> Self {
        let settings = &definition.settings;
        Self::Start {
            program: format!("/session/{}", copied.name),
            arguments: &settings.arguments,
            options: &settings.options,
            parties: settings.parties.len(),
            index,
            threshold: settings.threshold(),
            allow_list: true,
        }
    }
}

/// What the launcher says. It runs beside the program, in its sandbox: nothing of it is believed.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Report {
    /// MPyC is imported.
    Ready(Versions),
    /// It could not be.
    Failed {
        /// Why, for people.
        message: String,
    },
    /// MPyC opens a connection to a peer.
    Dial {
        /// Its roster index.
        peer: usize,
    },
    /// MPyC waits for connections.
    Listen,
    /// MPyC no longer does.
    Unlisten,
    /// A peer sent something that may not be unpickled.
    Refused {
        /// Its roster index, where that is known.
        peer: Option<usize>,
        /// What it would have been.
        what: String,
    },
    /// The MPyC runtime starts.
    Started,
    /// It is connected to all peers.
    Connected,
    /// It has stopped.
    Stopped {
        /// Seconds since it started.
        elapsed_s: f64,
        /// Bytes sent to all peers.
        bytes_sent: u64,
    },
}

/// The runner's end of the control socket. Packets keep their boundaries, which is all that this
/// type of tokio's needs of it.
#[derive(Debug)]
pub(super) struct Launcher(UnixDatagram);

impl Launcher {
    /// Takes the socket over; inside a tokio runtime.
    pub(super) fn new(socket: OwnedFd) -> io::Result<Self> {
        let socket = std::os::unix::net::UnixDatagram::from(socket);
        socket.set_nonblocking(true)?;
        UnixDatagram::from_std(socket).map(Self)
    }

    /// The next packet; none when the launcher has closed its end. May be cancelled.
    pub(super) async fn next(&self) -> io::Result<Option<Report>> {
        let mut packet = vec![0; LARGEST];
        loop {
            match self.0.recv(&mut packet).await {
                Ok(0) => return Ok(None),
                Ok(length) => return Ok(Some(serde_json::from_slice(&packet[..length])?)),
                // The launcher ended with orders unread. What it said last is still to come.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends a packet, with a descriptor where one belongs to it. An end of the launcher is no
    /// error here: its process reports it. One that does not read is.
    pub(super) async fn send(&self, order: &Order<'_>, given: Option<OwnedFd>) -> io::Result<()> {
        let packet = serde_json::to_vec(order)?;
        let given: Option<BorrowedFd<'_>> = given.as_ref().map(AsFd::as_fd);
        let send = || send_packet(self.0.as_fd(), &packet, given.as_slice());
        match timeout(STUCK, self.0.async_io(Interest::WRITABLE, send)).await {
            Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Ok(sent) => sent,
            Err(_) => Err(io::Error::other("the launcher takes no orders any more")),
        }
    }
}

fn send_packet(
    socket: BorrowedFd<'_>,
    packet: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    sendmsg(socket, &[IoSlice::new(packet)], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_launcher_that_reads_nothing_holds_nothing_up() {
        let flags = SocketFlags::CLOEXEC;
        let (ours, _theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        let launcher = Launcher::new(ours).unwrap();
        let refused = loop {
            if let Err(error) = launcher.send(&Order::Go, None).await {
                break error;
            }
        };
        assert_eq!(refused.to_string(), "the launcher takes no orders any more");
    }
}
