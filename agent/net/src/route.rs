//! Routes: a way to one peer, whatever found it, on which connections are opened.

mod error;

use std::fmt;
use std::pin::Pin;

use mpyc_party_core::claims::Claims;
use mpyc_party_transport::{Expect, Protocol, Secure};

pub use error::DialError;

/// What an object of a trait promises.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A way to one peer. Dropping the last handle ends what it holds open.
pub trait Route: fmt::Debug + Send + Sync {
    /// Opens a connection to one whom `expect` admits.
    fn open(&self, protocol: Protocol, expect: Expect) -> BoxFuture<'_, Result<Secure, DialError>>;

    /// The next connection that the other end opens on this route; none ever where a route carries no
    /// more than what this end opens. May be cancelled.
    fn accept(&self) -> BoxFuture<'_, Result<Secure, DialError>> {
        Box::pin(std::future::pending())
    }

    /// Who is at the other end, where the route itself has shown it.
    fn peer(&self) -> Option<&Claims> {
        None
    }

    /// The hub that relays, «host:port».
    fn via(&self) -> Option<&str> {
        None
    }
}
