//! What a run takes from this machine before anything can happen in it.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use mpyc_party_core::agreement::EncodedEntry;
use mpyc_party_net::accept::Entrance;
use mpyc_party_net::address_book::AddressBook;
use mpyc_party_net::dial::{LocalEnd, public_port};
use mpyc_party_net::links::{LinkEvent, Links};
use mpyc_party_net::peers::SessionPeers;
use mpyc_party_sandbox::{Process, Sandboxed};
use mpyc_party_transport::quic;
use tokio::sync::{mpsc, watch};

use crate::runner::engine::{Conversation, Launcher};
use crate::runner::output::{self, Recorded};
use crate::runner::view::{Notice, View};

/// The ends that a run holds.
pub(super) struct Resources {
    /// Where the peers reach this process.
    pub(super) local: LocalEnd,
    pub(super) links: Links,
    pub(super) link_events: mpsc::Receiver<LinkEvent>,
    /// What an inquiring peer is shown.
    pub(super) entry: watch::Sender<Option<EncodedEntry>>,
    /// What the program reads, once it runs.
    pub(super) input: Option<OwnedFd>,
    /// What the program writes.
    pub(super) output: mpsc::Receiver<Recorded>,
    pub(super) launcher: Launcher,
    pub(super) process: Process,
    pub(super) nonce: [u8; 32],
}

impl Resources {
    /// Opens the doors for `session_peers`, and connects with the sandboxed process, whose
    /// output, up to `limit` bytes of it, goes into `directory`.
    ///
    /// # Errors
    /// Where the machine refuses one of them: descriptors, randomness, files.
    pub(super) fn take(
        session_peers: &SessionPeers,
        (entrance, book): (Entrance, &mut AddressBook),
        (sandboxed, conversation): (Sandboxed, Box<dyn Conversation>),
        (directory, limit): (&Path, u64),
        view: &mut dyn View,
    ) -> io::Result<Self> {
        let port = entrance.port()?;
        let (entry, shown_entry) = watch::channel(None);
        let quic = quic::Endpoint::bind(port);
        if let Err(error) = &quic {
            view.show(Notice::Warning(&format!("no UDP, so no QUIC to anybody: {error}")));
        }
        let local = LocalEnd { tcp: Some(port), udp: quic.ok() };
        let stack = Arc::clone(book.stack());
        let mut listeners = stack.listen(&local)?;
        listeners.push(public_port(entrance));
        if let Some(calls) = book.calls() {
            listeners.push(Box::new(calls));
        }
        let output = output::record(directory, (sandboxed.stdout, sandboxed.stderr), limit)?;
        let launcher = Launcher::new(sandboxed.control, conversation)?;
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce).map_err(io::Error::other)?;
        let (links, link_events) =
            Links::open(session_peers.clone(), stack, local.clone(), listeners, shown_entry)?;
        let Sandboxed { stdin: input, process, .. } = sandboxed;
        let input = Some(input);
        Ok(Self { local, links, link_events, entry, input, output, launcher, process, nonce })
    }
}
