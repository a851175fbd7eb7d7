//! Supervision: every task of a hub is in a set whose results are looked at.
//!
//! A task that serves one connection may panic: that connection ends, the others go on, and it is
//! logged and counted. A service is there for all of them, so when one ends or panics the hub ends
//! with an error, and whatever watches over the process starts it again.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::{Id, JoinError, JoinSet, spawn_blocking};

use crate::error::{HubError, Service};

/// Counts the panics that a hub outlives. Cloning shares the count.
#[derive(Clone, Debug, Default)]
pub(crate) struct Panics(Arc<AtomicU64>);

impl Panics {
    /// Logs and counts the end of a task, if it was a panic.
    pub(crate) fn note(&self, task: impl fmt::Display, ended: &JoinError) {
        if ended.is_panic() {
            let count = self.0.fetch_add(1, Ordering::Relaxed) + 1;
            log::error!("{task} failed: {ended}; {count} such failures since the hub started");
        }
    }

    #[cfg(test)]
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The tasks that serve one connection each. Dropped, it ends them.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    tasks: JoinSet<()>,
    addresses: HashMap<Id, SocketAddr>,
    panics: Panics,
}

impl Connections {
    pub(crate) fn new(panics: Panics) -> Self {
        Self { panics, ..Self::default() }
    }

    /// Serves the connection from `address` in a task of its own.
    pub(crate) fn spawn(
        &mut self,
        address: SocketAddr,
        serve: impl Future<Output = ()> + Send + 'static,
    ) {
        let task = self.tasks.spawn(serve);
        self.addresses.insert(task.id(), address);
    }

    /// Looks at the results of those that have ended; never completes. Cancel-safe.
    pub(crate) async fn reap(&mut self) {
        while let Some(ended) = self.tasks.join_next_with_id().await {
            let id = match &ended {
                Ok((id, ())) => *id,
                Err(error) => error.id(),
            };
            if let Some(address) = self.addresses.remove(&id)
                && let Err(error) = ended
            {
                self.panics.note(format_args!("the connection from {address}"), &error);
            }
        }
        std::future::pending().await
    }

    /// Ends them all.
    pub(crate) async fn shutdown(&mut self) {
        self.tasks.abort_all();
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                self.panics.note("a connection", &error);
            }
        }
        self.addresses.clear();
    }
}

/// The tasks that live as long as the hub. Dropped, it ends them.
#[derive(Debug, Default)]
pub(crate) struct Services {
    tasks: JoinSet<()>,
    names: HashMap<Id, Service>,
}

impl Services {
    pub(crate) fn spawn(
        &mut self,
        service: Service,
        run: impl Future<Output = ()> + Send + 'static,
    ) {
        let task = self.tasks.spawn(run);
        self.names.insert(task.id(), service);
    }

    /// Completes when one of them has ended, which is an error. Cancel-safe.
    pub(crate) async fn failed(&mut self) -> HubError {
        let (id, panicked) = match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => (id, None),
            Some(Err(error)) => (error.id(), Some(error)),
            None => std::future::pending().await,
        };
        match (self.names.get(&id), panicked) {
            (Some(service), Some(source)) => HubError::Panicked { service: *service, source },
            (Some(service), None) => HubError::Ended(*service),
            (None, _) => std::future::pending().await,
        }
    }
}

/// Does work that blocks, on a file or a database, where it holds nobody up. When it panics, so does
/// the task that waits for it.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime ends, and with it whoever waits.
        Err(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use std::time::Duration;
    use tokio::sync::oneshot;
    use tokio::time::{sleep, timeout};

    const FROM: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

    #[tokio::test]
    async fn a_connection_that_panics_ends_alone_and_is_counted() {
        let mut connections = Connections::default();
        let (go_on, served) = oneshot::channel::<()>();
        let (tell, told) = oneshot::channel();
        connections.spawn(FROM, async move {
            let _ = served.await;
            let _ = tell.send(());
        });
        connections.spawn(FROM, async { panic!("a bug in what serves it") });
        connections.spawn(FROM, async { blocking(|| panic!("a bug in what it waits for")).await });
        connections.spawn(FROM, async {});
        assert!(timeout(Duration::from_millis(200), connections.reap()).await.is_err());
        assert_eq!((connections.panics.count(), connections.addresses.len()), (2, 1));
        go_on.send(()).unwrap();
        told.await.unwrap();
        connections.spawn(FROM, pending());
        connections.shutdown().await;
        assert_eq!((connections.panics.count(), connections.addresses.len()), (2, 0));
    }

    #[tokio::test]
    async fn a_service_that_ends_or_panics_ends_the_hub() {
        let mut services = Services::default();
        services.spawn(Service::LoadMonitor, pending());
        assert!(timeout(Duration::from_millis(50), services.failed()).await.is_err());
        services.spawn(Service::RelayScheduler, sleep(Duration::from_millis(1)));
        let ended = timeout(Duration::from_secs(5), services.failed()).await.unwrap();
        assert!(matches!(ended, HubError::Ended(Service::RelayScheduler)), "{ended}");
        services.spawn(Service::RevocationWatch, async { panic!("a bug") });
        let ended = timeout(Duration::from_secs(5), services.failed()).await.unwrap();
        let HubError::Panicked { service: Service::RevocationWatch, .. } = ended else {
            panic!("{ended}")
        };
        assert!(ended.to_string().contains("a bug"), "{ended}");
    }
}
