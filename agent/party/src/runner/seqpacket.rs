//! Packets between processes of this machine: a Unix socket that keeps their boundaries and takes
//! one descriptor along with each. A packet is the body of a [`frame`], so it has room for extensions:
//! an agent that was upgraded speaks with the runners of before.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use mpyc_party_transport::frame::{self, FrameError, MAX_EXTENSION_BYTES};
use rustix::net::sockopt::socket_peercred;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, UCred,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::net::{UnixDatagram, UnixListener};

use crate::config::files;

/// The most bytes of a message, without its extensions.
const MAX_MESSAGE_BYTES: usize = 16 * 1024;
/// How many runners may wait to be accepted.
const ACCEPT_BACKLOG: i32 = 64;

/// Why a packet is not sent, or not understood.
#[derive(Debug, thiserror::Error)]
pub enum PacketError {
    /// What the system says.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is too large, or no such message.
    #[error("a message cannot be passed on: {0}")]
    Frame(#[from] FrameError),
}

fn socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

/// A path to a socket that is short enough for a socket's address (108 bytes, unix(7)), however deep
/// its directory lies.
struct ShortPath<'a>(File, &'a OsStr);

impl<'a> ShortPath<'a> {
    fn of(path: &'a Path) -> io::Result<Self> {
        let (directory, name) =
            path.parent().zip(path.file_name()).ok_or(io::ErrorKind::NotFound)?;
        let here = directory.as_os_str().is_empty();
        Ok(Self(files::open_dir(if here { Path::new(".") } else { directory })?, name))
    }

    fn address(&self) -> io::Result<SocketAddrUnix> {
        let directory = PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()));
        Ok(SocketAddrUnix::new(directory.join(self.1))?)
    }
}

/// One end of a connection. Packets keep their boundaries, which is all that this type of tokio's
/// needs of a socket.
#[derive(Debug)]
pub struct PacketSocket(UnixDatagram);

impl PacketSocket {
    /// Connects to the socket at `path`; inside a tokio runtime.
    ///
    /// # Errors
    /// What the system says.
    pub fn connect(path: &Path) -> io::Result<Self> {
        let socket = socket()?;
        // On Unix sockets this never waits: where nobody can accept now, it fails.
        rustix::net::connect(&socket, &ShortPath::of(path)?.address()?)?;
        Self::new(socket)
    }

    fn new(socket: OwnedFd) -> io::Result<Self> {
        let socket = std::os::unix::net::UnixDatagram::from(socket);
        socket.set_nonblocking(true)?;
        UnixDatagram::from_std(socket).map(Self)
    }

    /// The process at the other end, as it was when the connection was made.
    ///
    /// # Errors
    /// What the system says.
    pub fn peer(&self) -> io::Result<UCred> {
        Ok(socket_peercred(&self.0)?)
    }

    /// Sends `message`, with a descriptor where one belongs to it.
    ///
    /// # Errors
    /// Where the other end is gone, or the message is too large.
    pub async fn send(
        &self,
        message: &impl Serialize,
        given: Option<BorrowedFd<'_>>,
    ) -> Result<(), PacketError> {
        let packet = frame::encode(Vec::new(), message, MAX_MESSAGE_BYTES)?;
        Ok(self.0.async_io(Interest::WRITABLE, || put(self.0.as_fd(), &packet, given)).await?)
    }

    /// The next message, and the descriptor that came with it; none when the other end has closed.
    /// May be cancelled.
    ///
    /// # Errors
    /// Where the connection fails, or something unreadable comes.
    pub async fn next<T: DeserializeOwned>(
        &self,
    ) -> Result<Option<(T, Option<OwnedFd>)>, PacketError> {
        let mut packet = vec![0; MAX_MESSAGE_BYTES + MAX_EXTENSION_BYTES];
        let take = || take(self.0.as_fd(), &mut packet);
        let (length, given) = match self.0.async_io(Interest::READABLE, take).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
            taken => taken?,
        };
        if length == 0 {
            return Ok(None);
        }
        let message = frame::decode(&packet[..length], MAX_MESSAGE_BYTES)?;
        Ok(Some((message, given)))
    }
}

fn put(socket: BorrowedFd<'_>, packet: &[u8], given: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if let Some(given) = &given {
        ancillary.push(SendAncillaryMessage::ScmRights(std::slice::from_ref(given)));
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(packet)], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn take(socket: BorrowedFd<'_>, packet: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let buffers = &mut [IoSliceMut::new(packet)];
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = rustix::net::recvmsg(socket, buffers, &mut ancillary, flags)?;
    let given = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok((received.bytes, given))
}

/// A socket at which others connect.
#[derive(Debug)]
pub struct PacketListener(UnixListener);

impl PacketListener {
    /// Listens at `path`, in place of whoever listened there before; inside a tokio runtime. Who
    /// may connect is for the caller to decide by [`PacketSocket::peer`].
    ///
    /// # Errors
    /// What the system says.
    pub fn bind(path: &Path) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = socket()?;
        rustix::net::bind(&socket, &ShortPath::of(path)?.address()?)?;
        rustix::net::listen(&socket, ACCEPT_BACKLOG)?;
        UnixListener::from_std(socket.into()).map(Self)
    }

    /// Listens at a socket that somebody else has bound; inside a tokio runtime.
    ///
    /// # Errors
    /// What the system says.
    pub fn from_held(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        UnixListener::from_std(socket.into()).map(Self)
    }

    /// Where this is, if it has a name.
    ///
    /// # Errors
    /// What the system says.
    pub fn path(&self) -> io::Result<Option<PathBuf>> {
        Ok(self.0.local_addr()?.as_pathname().map(Path::to_owned))
    }

    /// The next connection.
    ///
    /// # Errors
    /// What the system says.
    pub async fn accept(&self) -> io::Result<PacketSocket> {
        let (accepted, _) = self.0.accept().await?;
        PacketSocket::new(accepted.into_std()?.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::socketpair;

    fn pair() -> (PacketSocket, OwnedFd) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        (PacketSocket::new(ours).unwrap(), theirs)
    }

    #[tokio::test]
    async fn extensions_of_a_later_version_are_skipped() {
        let (packets, later) = pair();
        let message = postcard::to_stdvec("reload").unwrap();
        let extensions = postcard::to_stdvec(&[(7u32, b"unheard of".as_slice())].to_vec()).unwrap();
        put(later.as_fd(), &[message, extensions].concat(), None).unwrap();
        put(later.as_fd(), b"\xff\xff", None).unwrap();
        let (text, given) = packets.next::<String>().await.unwrap().unwrap();
        assert!(text == "reload" && given.is_none());
        let unreadable = packets.next::<String>().await;
        assert!(matches!(unreadable, Err(PacketError::Frame(FrameError::Malformed))));
    }

    #[tokio::test]
    async fn a_message_that_is_too_large_is_not_sent() {
        let (packets, _) = pair();
        let refused = packets.send(&"x".repeat(MAX_MESSAGE_BYTES), None).await;
        assert!(matches!(refused, Err(PacketError::Frame(FrameError::TooLong { .. }))));
    }
}
