//! Which TCP ports listen in a namespace, read from the kernel's socket tables.
//!
//! A probing connection would be seen by the program under test; the tables are not. A table opened
//! once shows its namespace for ever, wherever the reader is.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// State of a listening socket in `/proc/net/tcp` (`TCP_LISTEN` of the kernel).
const LISTEN: &str = "0A";

/// The socket tables of one namespace.
pub(crate) struct ListeningSockets {
    tables: [File; 2],
}

impl ListeningSockets {
    /// The tables of the namespace that process `pid` is in.
    pub(crate) fn open(pid: u32) -> io::Result<Self> {
        let open = |table| File::open(format!("/proc/{pid}/net/{table}"));
        Ok(Self { tables: [open("tcp")?, open("tcp6")?] })
    }

    /// Whether a socket listens on `port`, over IPv4 or IPv6.
    pub(crate) fn contain(&self, port: u16) -> io::Result<bool> {
        for table in &self.tables {
            if read(table)?.lines().filter_map(listening).any(|found| found == port) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn read(table: &File) -> io::Result<String> {
    let mut text = Vec::new();
    let mut piece = [0; 8192];
    loop {
        match table.read_at(&mut piece, text.len() as u64)? {
            0 => return Ok(String::from_utf8_lossy(&text).into_owned()),
            n => text.extend_from_slice(&piece[..n]),
        }
    }
}

/// The port of a line of the table if its socket listens: `0: 0100007F:1F90 00000000:0000 0A …`.
fn listening(line: &str) -> Option<u16> {
    let mut fields = line.split_whitespace();
    let (_, port) = fields.nth(1)?.rsplit_once(':')?;
    let state = fields.nth(1)?;
    (state == LISTEN).then(|| u16::from_str_radix(port, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn only_listening_sockets_count() {
        let sockets = ListeningSockets::open(std::process::id()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let dialled = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(sockets.contain(listener.local_addr().unwrap().port()).unwrap());
        assert!(!sockets.contain(dialled.local_addr().unwrap().port()).unwrap());
        let v6 = TcpListener::bind("[::1]:0").unwrap();
        assert!(sockets.contain(v6.local_addr().unwrap().port()).unwrap());
    }
}
