//! What a run takes from this machine before anything can happen in it.

use std::io;
use std::path::Path;

use mpyc_party_core::agreement::EncodedEntry;
use mpyc_party_net::link::entrance::Entrance;
use mpyc_party_net::link::{Circle, LinkEvent, Links};
use mpyc_party_sandbox::{Process, Sandboxed};
use mpyc_party_transport::quic;
use tokio::sync::{mpsc, watch};

use crate::runner::engine::{Conversation, Launcher};
use crate::runner::output::{self, Kept, Line};
use crate::runner::view::{Channel, Notice, View};

/// The ends that a run holds.
pub(super) struct Means {
    pub(super) port: u16,
    pub(super) quic: Option<quic::Endpoint>,
    pub(super) links: Links,
    pub(super) link_events: mpsc::Receiver<LinkEvent>,
    /// What an inquiring peer is shown.
    pub(super) entry: watch::Sender<Option<EncodedEntry>>,
    pub(super) lines: mpsc::Receiver<Line>,
    pub(super) kept: Kept,
    pub(super) launcher: Launcher,
    pub(super) process: Process,
    pub(super) nonce: [u8; 32],
}

impl Means {
    /// Opens the doors for the peers of `circle`, and connects with the sandboxed process, whose
    /// output goes into `directory`.
    ///
    /// # Errors
    /// Where the machine refuses one of them: descriptors, randomness, files.
    pub(super) fn take(
        circle: &Circle,
        entrance: Entrance,
        sandboxed: Sandboxed,
        conversation: Box<dyn Conversation>,
        directory: &Path,
        view: &mut dyn View,
    ) -> io::Result<Self> {
        let port = entrance.port()?;
        let (entry, shown_entry) = watch::channel(None);
        let quic = quic::Endpoint::bind(port);
        if let Err(error) = &quic {
            view.show(Notice::Warning(&format!("no UDP, so no QUIC to anybody: {error}")));
        }
        let quic = quic.ok();
        let kept = Kept::create(directory).map_err(io::Error::other)?;
        let launcher = Launcher::new(sandboxed.control, conversation)?;
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce).map_err(io::Error::other)?;
        let (links, link_events) =
            Links::open(circle.clone(), entrance, quic.clone(), shown_entry)?;
        let (line_sender, lines) = mpsc::channel(256);
        tokio::spawn(output::pump(Channel::Output, sandboxed.stdout, line_sender.clone()));
        tokio::spawn(output::pump(Channel::Log, sandboxed.stderr, line_sender));
        output::feed(sandboxed.stdin);
        let process = sandboxed.process;
        Ok(Self { port, quic, links, link_events, entry, lines, kept, launcher, process, nonce })
    }
}
