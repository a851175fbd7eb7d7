//! The runner's end of the control socket: packets, one descriptor at most with each. What they say
//! is the engine's.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::Interest;
use tokio::net::UnixDatagram;
use tokio::time::timeout;

use super::{Conversation, Order, Report};

/// Largest packet in bytes.
const MAX_PACKET_BYTES: usize = 64 * 1024;

/// How long a launcher may leave its orders unread once there is no room for more: hundreds wait by
/// then, and the run must not wait with them.
const ORDER_TIMEOUT: Duration = Duration::from_secs(5);

/// The launcher of an engine in its sandbox. Packets keep their boundaries, which is all that this
/// type of tokio's needs of the socket.
#[derive(Debug)]
pub(in crate::runner) struct Launcher {
    socket: UnixDatagram,
    conversation: Box<dyn Conversation>,
}

impl Launcher {
    /// Takes the socket over; inside a tokio runtime.
    pub(in crate::runner) fn new(
        socket: OwnedFd,
        conversation: Box<dyn Conversation>,
    ) -> io::Result<Self> {
        let socket = std::os::unix::net::UnixDatagram::from(socket);
        socket.set_nonblocking(true)?;
        Ok(Self { socket: UnixDatagram::from_std(socket)?, conversation })
    }

    /// The next report; none when the launcher has closed its end. May be cancelled.
    pub(in crate::runner) async fn next(&mut self) -> io::Result<Option<Report>> {
        let mut packet = vec![0; MAX_PACKET_BYTES];
        loop {
            match self.socket.recv(&mut packet).await {
                Ok(0) => return Ok(None),
                Ok(length) => {
                    if let Some(report) = self.conversation.report(&packet[..length])? {
                        return Ok(Some(report));
                    }
                }
                // The launcher ended with orders unread. What it said last is still to come.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Gives an order, with a descriptor where one belongs to it. An end of the launcher is no error
    /// here: its process reports it. One that does not read is.
    pub(in crate::runner) async fn send(
        &self,
        order: Order,
        given: Option<OwnedFd>,
    ) -> io::Result<()> {
        let packet = self.conversation.order(order)?;
        let given: Option<BorrowedFd<'_>> = given.as_ref().map(AsFd::as_fd);
        let send = || send_packet(self.socket.as_fd(), &packet, given.as_slice());
        match timeout(ORDER_TIMEOUT, self.socket.async_io(Interest::WRITABLE, send)).await {
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

    /// Says one word.
    #[derive(Debug)]
    struct Terse;

    impl Conversation for Terse {
        fn order(&self, _: Order) -> io::Result<Vec<u8>> {
            Ok(b"go".to_vec())
        }

        fn report(&mut self, _: &[u8]) -> io::Result<Option<Report>> {
            Ok(None)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_launcher_that_reads_nothing_holds_nothing_up() {
        let flags = SocketFlags::CLOEXEC;
        let (ours, _theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        let launcher = Launcher::new(ours, Box::new(Terse)).unwrap();
        let refused = loop {
            if let Err(error) = launcher.send(Order::Go, None).await {
                break error;
            }
        };
        assert_eq!(refused.to_string(), "the launcher takes no orders any more");
    }
}
