//! A kind of path for tests: Unix sockets in a directory that all processes share. The best kind
//! there is, but for a file «closed», while which is there nothing gets through.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use mpyc_party_core::addr::{Address, Refusal, Vantage};
use mpyc_party_core::path::Kind;
use mpyc_party_net::accept::{
    AcceptError, Accepted, Admission, Arrival, Listener, Origin, handshake,
};
use mpyc_party_net::dial::{BoxFuture, DialContext, DialError, LocalEnd, PathKind, Route};
use mpyc_party_transport::handshake_limiter::{HandshakeLimiter, HandshakeLimits, accept_next};
use mpyc_party_transport::{Expect, Protocol, RawStream, Secure};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};

const KIND: Kind = Kind {
    preference: 5,
    name: "unix",
    head_start: Duration::ZERO,
    opens_nats: false,
    relayed: false,
};

/// Why no address of this kind is taken from elsewhere.
const ELSEWHERE: Refusal = Refusal::Policy("a socket of this machine means none on another one");
/// From where all connections of this kind come.
const THIS_MACHINE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The file that closes every path of this kind.
pub(crate) const CLOSED: &str = "closed";

/// The kind.
#[derive(Debug)]
pub(crate) struct Unix {
    directory: PathBuf,
}

impl Unix {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    fn own_path(&self) -> PathBuf {
        self.directory.join(format!("{}.sock", std::process::id()))
    }
}

impl PathKind for Unix {
    fn kind(&self) -> Kind {
        KIND
    }

    fn label(&self) -> &'static str {
        "on this machine"
    }

    /// Only what somebody on this machine tells, and nothing but a socket of the directory.
    fn check(&self, address: &Address, vantage: Vantage) -> Result<(), Refusal> {
        let path = address.text().map(Path::new).ok_or(Refusal::Unreadable)?;
        match vantage {
            Vantage::Elsewhere => Err(ELSEWHERE),
            _ if path.parent() == Some(&self.directory) => Ok(()),
            _ => Err(Refusal::Unreadable),
        }
    }

    fn own(&self, local: &LocalEnd) -> Vec<Address> {
        let address = |_| Address::new(KIND.name, self.own_path().display());
        local.tcp.map(address).into_iter().collect()
    }

    fn listen(&self, local: &LocalEnd) -> io::Result<Option<Box<dyn Listener>>> {
        if local.tcp.is_none() {
            return Ok(None);
        }
        let listener = UnixListener::bind(self.own_path())?;
        let limiter = HandshakeLimiter::new(HandshakeLimits::default());
        Ok(Some(Box::new(Sockets { listener, limiter, directory: self.directory.clone() })))
    }

    fn route(
        &self,
        address: Address,
        context: DialContext,
        _: Protocol,
    ) -> BoxFuture<'static, Result<Arc<dyn Route>, DialError>> {
        let directory = self.directory.clone();
        Box::pin(async move {
            let path = address.text().ok_or(DialError::Unreadable)?.into();
            Ok(Arc::new(UnixRoute { path, directory, context }) as Arc<dyn Route>)
        })
    }
}

#[derive(Debug)]
struct UnixRoute {
    path: PathBuf,
    directory: PathBuf,
    context: DialContext,
}

impl Route for UnixRoute {
    fn open(&self, protocol: Protocol, expect: Expect) -> BoxFuture<'_, Result<Secure, DialError>> {
        Box::pin(async move {
            let stream = UnixStream::connect(&self.path).await?;
            let raw = Cuttable::raw(stream, &self.directory)?;
            self.context.handshake(raw, protocol, &expect).await
        })
    }
}

struct Sockets {
    listener: UnixListener,
    limiter: HandshakeLimiter,
    directory: PathBuf,
}

impl Listener for Sockets {
    fn next(&mut self) -> BoxFuture<'_, Box<dyn Arrival>> {
        Box::pin(async move {
            let (stream, _) = accept_next(|| self.listener.accept()).await;
            let (limiter, directory) = (self.limiter.clone(), self.directory.clone());
            Box::new(Caller { stream, limiter, directory }) as Box<dyn Arrival>
        })
    }
}

struct Caller {
    stream: UnixStream,
    limiter: HandshakeLimiter,
    directory: PathBuf,
}

impl Arrival for Caller {
    fn origin(&self) -> Origin {
        Origin { kind: KIND, address: "a socket of this machine".to_owned(), via: None }
    }

    fn accept(
        self: Box<Self>,
        admission: Admission,
    ) -> BoxFuture<'static, Result<Accepted, AcceptError>> {
        Box::pin(async move {
            let raw = Cuttable::raw(self.stream, &self.directory).map_err(DialError::Io)?;
            let secure = self.limiter.decide(THIS_MACHINE, handshake(raw, &admission)).await?;
            Ok(Accepted::Connection(Box::new(secure)))
        })
    }
}

/// A stream that breaks as soon as its kind is closed.
#[derive(Debug)]
struct Cuttable {
    stream: UnixStream,
    closed: PathBuf,
}

impl Cuttable {
    fn raw(stream: UnixStream, directory: &Path) -> io::Result<RawStream> {
        let cuttable = Self { stream, closed: directory.join(CLOSED) };
        cuttable.check()?;
        Ok(RawStream::Other(Box::new(cuttable)))
    }

    fn check(&self) -> io::Result<()> {
        if self.closed.exists() { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }
}

impl AsyncRead for Cuttable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Cuttable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
