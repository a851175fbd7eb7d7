//! A wire that somebody listens on: everything that goes to and from a port passes here.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// All bytes of TCP connections, both directions of each in one row.
#[derive(Clone, Default)]
pub(crate) struct Wire(Arc<Mutex<Vec<Vec<u8>>>>);

impl Wire {
    /// Connects what comes to `listener` with `to`, from now on.
    pub(crate) fn tap(listener: TcpListener, to: SocketAddr) -> Self {
        let wire = Self::default();
        let taps = wire.clone();
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                // One that cannot be passed on ends.
                let _ = taps.connect(near, to);
            }
        });
        wire
    }

    fn connect(&self, near: TcpStream, to: SocketAddr) -> io::Result<()> {
        let far = TcpStream::connect(to)?;
        for (from, to) in
            [(near.try_clone()?, far.try_clone()?), (far.try_clone()?, near.try_clone()?)]
        {
            let wire = self.clone();
            let place = {
                let mut all = wire.0.lock().unwrap_or_else(PoisonError::into_inner);
                all.push(Vec::new());
                all.len() - 1
            };
            thread::spawn(move || wire.carry(place, from, to));
        }
        Ok(())
    }

    fn carry(&self, place: usize, mut from: TcpStream, mut to: TcpStream) {
        let mut piece = vec![0; 65_536];
        while let Ok(length @ 1..) = from.read(&mut piece) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)[place]
                .extend_from_slice(&piece[..length]);
            if to.write_all(&piece[..length]).is_err() {
                break;
            }
        }
        // The other end may have gone already.
        let _ = to.shutdown(Shutdown::Write);
    }

    /// Everything that has passed.
    pub(crate) fn heard(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).concat()
    }
}
