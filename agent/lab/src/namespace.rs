//! One network namespace, kept alive by an open descriptor.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType,
    recvmsg, socketpair,
};
use rustix::thread::CapabilitySet;

use crate::LabError;
use crate::child::{self, Namespaces, Rights};
use crate::sockets::ListeningSockets;

/// A network namespace that lives as long as this value and the programs in it.
pub(crate) struct Namespace {
    namespaces: Namespaces,
    sockets: ListeningSockets,
}

impl Namespace {
    /// The first namespace of a lab. An ordinary user gets a user namespace to own it.
    pub(crate) fn first() -> Result<Self, LabError> {
        let needed = CapabilitySet::SYS_ADMIN | CapabilitySet::NET_ADMIN;
        let held = rustix::thread::capabilities(None)
            .map_err(|e| LabError::io("cannot read own capabilities")(e.into()))?;
        let fresh_user = !held.effective.contains(needed);
        Self::make(None, fresh_user).map_err(LabError::Namespace)
    }

    /// Another namespace with the same owner, so that the two can be wired together.
    pub(crate) fn sibling(&self) -> Result<Self, LabError> {
        Self::make(self.namespaces.user.clone(), false).map_err(LabError::Namespace)
    }

    /// Takes hold of the namespaces of a short-lived child, the only safe way to make them from a
    /// process with threads.
    fn make(user: Option<Arc<OwnedFd>>, fresh_user: bool) -> io::Result<Self> {
        let mut holder = Command::new("cat");
        holder.stdin(Stdio::piped()).stdout(Stdio::null());
        child::isolate(&mut holder, user.clone(), fresh_user);
        let mut holder = holder.spawn()?;
        let taken = Self::take(holder.id(), user, fresh_user);
        drop(holder.stdin.take());
        holder.wait()?;
        taken
    }

    fn take(pid: u32, user: Option<Arc<OwnedFd>>, fresh_user: bool) -> io::Result<Self> {
        let open = |kind: &str| File::open(format!("/proc/{pid}/ns/{kind}")).map(OwnedFd::from);
        let user = if fresh_user { Some(Arc::new(open("user")?)) } else { user };
        let namespaces = Namespaces { user, net: Arc::new(open("net")?) };
        Ok(Self { namespaces, sockets: ListeningSockets::open(pid)? })
    }

    /// A program under test in this namespace.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        child::join(&mut command, self.namespaces.clone(), Rights::AsUser);
        command
    }

    /// A program that sets this namespace up.
    pub(crate) fn tool(&self, program: &str, passed: Option<Arc<OwnedFd>>) -> Command {
        let mut command = Command::new(program);
        child::join(&mut command, self.namespaces.clone(), Rights::SetUp(passed));
        command
    }

    /// A new TAP device of this name: whoever holds the descriptor is the other end of its cable.
    /// Reads and writes of it do not wait.
    pub(crate) fn tap(&self, name: &str) -> Result<OwnedFd, LabError> {
        let cannot = LabError::io("cannot make a TAP device (/dev/net/tun has to be accessible)");
        self.open(child::tap(name)).map_err(cannot)
    }

    /// A UDP socket there, bound to `port` for both families.
    pub(crate) fn udp(&self, port: u16) -> io::Result<UdpSocket> {
        self.open(child::udp(port)).map(UdpSocket::from)
    }

    /// A TCP socket that listens there on `port`, for both families.
    pub(crate) fn tcp(&self, port: u16) -> io::Result<TcpListener> {
        self.open(child::tcp(port)).map(TcpListener::from)
    }

    /// What a short-lived child opens there.
    fn open(
        &self,
        open: impl Fn() -> io::Result<OwnedFd> + Send + Sync + 'static,
    ) -> io::Result<OwnedFd> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
        let mut opener = Command::new("true");
        child::open_there(&mut opener, self.namespaces.clone(), theirs, open);
        opener.spawn()?.wait()?;
        receive_descriptor(&ours)
    }

    /// The descriptor that stands for this namespace.
    pub(crate) fn descriptor(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.namespaces.net)
    }

    /// The command that takes a person there while this process lives.
    pub(crate) fn enter_with(&self) -> String {
        let path = |fd: &OwnedFd| format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd());
        let owner = |user| format!(" --preserve-credentials --user={}", path(user));
        let user = self.namespaces.user.as_deref().map(owner);
        format!("nsenter{} --net={}", user.unwrap_or_default(), path(&self.namespaces.net))
    }

    /// The TCP sockets that listen in it.
    pub(crate) fn sockets(&self) -> &ListeningSockets {
        &self.sockets
    }
}

/// The descriptor that has come through `socket`.
fn receive_descriptor(socket: &OwnedFd) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut messages = RecvAncillaryBuffer::new(&mut space);
    let (mut byte, flags) = ([0], RecvFlags::CMSG_CLOEXEC);
    recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut messages, flags)?;
    let mut descriptors = messages.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect::<Vec<_>>(),
        _ => Vec::new(),
    });
    descriptors.next().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}
