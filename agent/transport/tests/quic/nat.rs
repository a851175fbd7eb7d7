//! A NAT between one client and one server, as far as it matters here.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::UdpSocket;
use tokio::sync::watch;

/// Forwards datagrams between whoever spoke last inside and `server`.
pub(crate) struct Nat {
    /// Where the client finds it.
    pub(crate) inside: SocketAddr,
    outside: watch::Sender<Option<Arc<UdpSocket>>>,
}

impl Nat {
    pub(crate) async fn before(server: SocketAddr) -> Self {
        let inside = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = inside.local_addr().unwrap();
        let (outside, mut current) = watch::channel(None);
        tokio::spawn(async move {
            let (mut out, mut back) = ([0; 2048], [0; 2048]);
            let mut client = address;
            loop {
                let socket: Option<Arc<UdpSocket>> = current.borrow_and_update().clone();
                tokio::select! {
                    received = inside.recv_from(&mut out) => {
                        let (length, from) = received.unwrap();
                        client = from;
                        if let Some(socket) = socket {
                            socket.send_to(&out[..length], server).await.unwrap();
                        }
                    }
                    Ok(length) = async {
                        match &socket {
                            Some(socket) => socket.recv(&mut back).await,
                            None => std::future::pending().await,
                        }
                    } => {
                        inside.send_to(&back[..length], client).await.unwrap();
                    }
                    changed = current.changed() => if changed.is_err() { return },
                }
            }
        });
        let nat = Self { inside: address, outside };
        nat.rebind().await;
        nat
    }

    /// Forgets the mapping and makes another, as a NAT does after a silence; returns its address.
    pub(crate) async fn rebind(&self) -> SocketAddr {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        self.outside.send_replace(Some(Arc::new(socket)));
        address
    }

    /// Lets nothing through any more.
    pub(crate) fn cut(&self) {
        self.outside.send_replace(None);
    }
}
