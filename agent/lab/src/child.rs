//! What a child does between fork and exec to get into a namespace.
//!
//! The child itself moves, not a helper in between, so the process that was spawned is the program
//! that was asked for. This is the only unsafe module: code after a fork may not allocate or lock.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::{Ipv6Addr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use rustix::ioctl::{Opcode, Setter};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{Pid, Signal, getgid, getpid, getppid, getuid};
use rustix::thread::{CapabilitySet, LinkNameSpaceType, UnshareFlags};

/// Namespaces to move to.
#[derive(Clone)]
pub(crate) struct Namespaces {
    /// The user namespace that owns the other; `None` where this process has the rights itself.
    pub(crate) user: Option<Arc<OwnedFd>>,
    /// The network namespace.
    pub(crate) net: Arc<OwnedFd>,
}

/// What the program may do once it runs.
pub(crate) enum Rights {
    /// What this user may: a program under test.
    AsUser,
    /// Set up interfaces and rules; the program also gets this descriptor, under the same number.
    SetUp(Option<Arc<OwnedFd>>),
}

/// Makes `command` run in `namespaces`, to be killed when the thread that spawns it ends.
pub(crate) fn join(command: &mut Command, namespaces: Namespaces, rights: Rights) {
    let owner = getpid();
    before_exec(command, move || {
        enter(&namespaces)?;
        if let Rights::SetUp(passed) = &rights {
            keep_net_admin()?;
            if let Some(passed) = passed {
                rustix::io::fcntl_setfd(passed, rustix::io::FdFlags::empty())?;
            }
        }
        die_with(owner)
    });
}

/// Makes `command` run in a new network namespace, owned by `user` if given, by a new user
/// namespace of its own if `fresh_user`.
pub(crate) fn isolate(command: &mut Command, user: Option<Arc<OwnedFd>>, fresh_user: bool) {
    let owner = getpid();
    let (uid, gid) = (getuid().as_raw(), getgid().as_raw());
    let uid_map = format!("{uid} {uid} 1");
    let gid_map = format!("{gid} {gid} 1");
    before_exec(command, move || {
        if let Some(user) = &user {
            rustix::thread::move_into_link_name_space(user.as_fd(), Some(LinkNameSpaceType::User))?;
        }
        if fresh_user {
            unshare(UnshareFlags::NEWUSER)?;
            write(c"/proc/self/setgroups", b"deny")?;
            write(c"/proc/self/uid_map", uid_map.as_bytes())?;
            write(c"/proc/self/gid_map", gid_map.as_bytes())?;
        }
        unshare(UnshareFlags::NEWNET)?;
        die_with(owner)
    });
}

/// Makes `command` open something in `namespaces` and send its descriptor through `socket`: devices and
/// sockets belong to the namespace in which they are opened.
pub(crate) fn open_there(
    command: &mut Command,
    namespaces: Namespaces,
    socket: OwnedFd,
    open: impl Fn() -> io::Result<OwnedFd> + Send + Sync + 'static,
) {
    before_exec(command, move || {
        enter(&namespaces)?;
        let opened = open()?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut messages = SendAncillaryBuffer::new(&mut space);
        let descriptors = [opened.as_fd()];
        messages.push(SendAncillaryMessage::ScmRights(&descriptors));
        sendmsg(&socket, &[IoSlice::new(&[0])], &mut messages, SendFlags::empty())?;
        Ok(())
    });
}

/// Opens a TAP device of this name, whose reads and writes do not wait.
pub(crate) fn tap(name: &str) -> impl Fn() -> io::Result<OwnedFd> + Send + Sync + 'static {
    let mut wanted = TapRequest { name: [0; 16], flags: IFF_TAP | IFF_NO_PI, unused: [0; 22] };
    // The last byte stays the zero that ends the name.
    wanted.name[..15].iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
    move || {
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let tap = rustix::fs::open(c"/dev/net/tun", flags, Mode::empty())?;
        name_tap(&tap, &wanted)?;
        Ok(tap)
    }
}

/// Opens a UDP socket on this port, for both families.
pub(crate) fn udp(port: u16) -> impl Fn() -> io::Result<OwnedFd> + Send + Sync + 'static {
    move || Ok(UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port))?.into())
}

/// Listens on this TCP port, for both families.
pub(crate) fn tcp(port: u16) -> impl Fn() -> io::Result<OwnedFd> + Send + Sync + 'static {
    move || Ok(TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))?.into())
}

/// `struct ifreq` as `TUNSETIFF` reads it (linux/if_tun.h).
#[repr(C)]
#[derive(Clone, Copy)]
struct TapRequest {
    name: [u8; 16],
    flags: u16,
    unused: [u8; 22],
}

const IFF_TAP: u16 = 0x0002;
const IFF_NO_PI: u16 = 0x1000;
const TUNSETIFF: Opcode = rustix::ioctl::opcode::write::<std::ffi::c_int>(b'T', 202);

#[expect(unsafe_code, reason = "there is no safe way to name a TAP device")]
fn name_tap(tap: &OwnedFd, wanted: &TapRequest) -> io::Result<()> {
    // SAFETY: TUNSETIFF reads a `struct ifreq`, which `TapRequest` is laid out like.
    let request = unsafe { Setter::<TUNSETIFF, TapRequest>::new(*wanted) };
    // SAFETY: as above; the descriptor is that of /dev/net/tun.
    Ok(unsafe { rustix::ioctl::ioctl(tap, request) }?)
}

fn enter(namespaces: &Namespaces) -> io::Result<()> {
    if let Some(user) = &namespaces.user {
        rustix::thread::move_into_link_name_space(user.as_fd(), Some(LinkNameSpaceType::User))?;
    }
    let network = Some(LinkNameSpaceType::Network);
    Ok(rustix::thread::move_into_link_name_space(namespaces.net.as_fd(), network)?)
}

/// Lets the program keep `CAP_NET_ADMIN` through exec although it is not root in its namespace.
fn keep_net_admin() -> io::Result<()> {
    let mut sets = rustix::thread::capabilities(None)?;
    sets.inheritable |= CapabilitySet::NET_ADMIN;
    rustix::thread::set_capabilities(None, sets)?;
    Ok(rustix::thread::configure_capability_in_ambient_set(CapabilitySet::NET_ADMIN, true)?)
}

/// Comes last: a change of credentials clears the signal.
fn die_with(owner: Pid) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    match getppid() {
        Some(parent) if parent == owner => Ok(()),
        _ => Err(io::ErrorKind::BrokenPipe.into()),
    }
}

fn write(path: &std::ffi::CStr, text: &[u8]) -> io::Result<()> {
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(file, text)?;
    Ok(())
}

#[expect(unsafe_code, reason = "unshare could pull open descriptors from under other threads")]
fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: only namespaces are unshared, never the descriptor table, and the caller is a fresh
    // fork with a single thread.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
}

#[expect(unsafe_code, reason = "the standard library has no safe way into a namespace")]
fn before_exec(
    command: &mut Command,
    steps: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
) {
    // SAFETY: the callers above make plain system calls on data prepared before the fork; they
    // neither allocate nor take locks.
    unsafe { command.pre_exec(steps) };
}
