//! What runner and launcher say to each other: a JSON object a packet.

use std::io;

use mpyc_party_core::roster::{PeerIndex, PerParty};
use serde::{Deserialize, Serialize};

use super::{Mpyc, Versions};
use crate::config::Session;
use crate::runner::engine::{Conversation, Engine, Order, PROGRAM, Report};
use crate::session::Copied;
use crate::session::record::RuntimeStatistics;

/// What the launcher is told.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum Command<'a> {
    /// Import MPyC as this party and report.
    Start {
        program: String,
        arguments: &'a [String],
        options: &'a [String],
        parties: usize,
        index: usize,
        threshold: usize,
        allow_unknown_mpyc: bool,
        allow_list: bool,
    },
    /// Run the program.
    Go,
    /// Here is the connection that was dialled.
    Connected { peer: usize },
    /// Here is a connection from a peer.
    Accepted { peer: usize },
}

/// What the launcher says.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Packet {
    /// MPyC is imported.
    Ready(Versions),
    /// It could not be.
    Failed {
        /// Why, for people.
        message: String,
    },
    /// MPyC opens a connection to a peer.
    Dial {
        /// Its roster index.
        peer: usize,
    },
    /// MPyC waits for connections.
    Listen,
    /// MPyC no longer does.
    Unlisten,
    /// The program awaits a message on a connection that this peer has ended.
    Awaiting {
        /// Its roster index.
        peer: usize,
    },
    /// It no longer does.
    AwaitingNoMore {
        /// Whose messages.
        peer: usize,
    },
    /// The program reads standard input, and nothing is there.
    Asking,
    /// It has read something, or the end.
    Answered,
    /// A peer sent something that may not be unpickled.
    Refused {
        /// Its roster index, where that is known.
        peer: Option<usize>,
        /// What it would have been.
        what: String,
    },
    /// A peer sent bytes that MPyC cannot take, or too many.
    Violated {
        /// Its roster index.
        peer: usize,
        /// What is wrong with them.
        what: String,
    },
    /// The MPyC runtime starts.
    Started,
    /// It is connected to all peers.
    Connected,
    /// It has stopped.
    Stopped {
        /// Seconds since it started.
        elapsed_s: f64,
        /// Bytes sent to all peers.
        bytes_sent: u64,
    },
}

/// The conversation with one launcher, and how often its MPyC has connected.
#[derive(Debug)]
pub(super) struct MpycConversation {
    settings: Session,
    /// The program's name among its files.
    program: String,
    me: PeerIndex,
    /// How often it has dialled each peer.
    dials: PerParty<u32>,
    /// How often it has listened.
    listens: u32,
}

impl MpycConversation {
    pub(super) fn new(settings: &Session, copied: &Copied, me: PeerIndex) -> Self {
        Self {
            dials: PerParty::of(settings.parties.len(), 0),
            settings: settings.clone(),
            program: copied.name.clone(),
            me,
            listens: 0,
        }
    }

    /// MPyC opens its next connection to this peer.
    fn dialled(&mut self, peer: PeerIndex) -> Report {
        if self.dials.get(peer).is_none() || !Mpyc.opens(self.me, peer) {
            let text = format!("the program dialled MPyC party {peer}, which it never has to");
            return Report::Failed(text);
        }
        let cycle = self.dials[peer];
        self.dials[peer] += 1;
        Report::Connect { peer, cycle }
    }
}

impl Conversation for MpycConversation {
    fn order(&self, order: Order) -> io::Result<Vec<u8>> {
        let Self { settings, me, .. } = self;
        let command = match order {
            Order::Prepare => Command::Start {
                program: format!("{PROGRAM}/{}", self.program),
                arguments: &settings.arguments,
                options: &settings.options,
                parties: settings.parties.len(),
                index: me.get(),
                threshold: settings.threshold(),
                allow_unknown_mpyc: settings.allow_unknown_mpyc,
                allow_list: true,
            },
            Order::Go => Command::Go,
            Order::Connection(peer) if Mpyc.opens(*me, peer) => {
                Command::Connected { peer: peer.get() }
            }
            Order::Connection(peer) => Command::Accepted { peer: peer.get() },
        };
        Ok(serde_json::to_vec(&command)?)
    }

    fn report(&mut self, packet: &[u8]) -> io::Result<Option<Report>> {
        Ok(Some(match serde_json::from_slice(packet)? {
            Packet::Ready(versions) => Report::Ready(versions.profile(&self.settings)),
            Packet::Failed { message } => Report::Failed(message),
            Packet::Dial { peer } => self.dialled(PeerIndex::new(peer)),
            Packet::Listen => {
                self.listens += 1;
                Report::Accept { cycle: Some(self.listens - 1) }
            }
            Packet::Unlisten => Report::Accept { cycle: None },
            Packet::Refused { peer, what } => {
                Report::Refused { peer: peer.map(PeerIndex::new), what }
            }
            Packet::Violated { peer, what } => {
                Report::Violated { peer: PeerIndex::new(peer), what }
            }
            Packet::Awaiting { peer } => Report::Awaits(PeerIndex::new(peer)),
            Packet::AwaitingNoMore { peer } => Report::AwaitsNoMore(PeerIndex::new(peer)),
            Packet::Asking => Report::Asks,
            Packet::Answered => Report::Answered,
            Packet::Started => Report::Connecting,
            Packet::Connected => Report::Connected,
            Packet::Stopped { elapsed_s, bytes_sent } => {
                Report::Computed(RuntimeStatistics { elapsed_s, bytes_sent })
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The conversation of bob, the second of three.
    fn bob() -> MpycConversation {
        let parties = ["alice", "bob", "carol"].map(|name| name.parse().unwrap()).to_vec();
        let settings = Session::new("program.py".into(), parties.try_into().unwrap());
        let copied = Copied {
            directory: "/nowhere".into(),
            name: "program.py".into(),
            program: Vec::new(),
            files: Vec::new(),
        };
        MpycConversation::new(&settings, &copied, PeerIndex::new(1))
    }

    fn hears(conversation: &mut MpycConversation, packet: &str) -> Option<Report> {
        conversation.report(packet.as_bytes()).unwrap()
    }

    #[test]
    fn each_connection_has_its_cycle() {
        let (mut bob, carol) = (bob(), PeerIndex::new(2));
        for cycle in 0..3 {
            let listening = hears(&mut bob, r#"{"type": "listen"}"#);
            assert_eq!(listening, Some(Report::Accept { cycle: Some(cycle) }));
            let dialled = hears(&mut bob, r#"{"type": "dial", "peer": 2}"#);
            assert_eq!(dialled, Some(Report::Connect { peer: carol, cycle }));
            let closed = hears(&mut bob, r#"{"type": "unlisten"}"#);
            assert_eq!(closed, Some(Report::Accept { cycle: None }));
        }
    }

    #[test]
    fn who_never_has_to_be_dialled_is_not() {
        for peer in [0, 1, 3, usize::MAX] {
            let said = hears(&mut bob(), &format!(r#"{{"type": "dial", "peer": {peer}}}"#));
            let Some(Report::Failed(why)) = said else { panic!("{said:?}") };
            assert!(why.contains(&format!("MPyC party {peer}")), "{why}");
        }
    }

    #[test]
    fn a_connection_is_one_that_was_dialled_or_accepted() {
        let told = |peer| bob().order(Order::Connection(PeerIndex::new(peer))).unwrap();
        assert_eq!(told(0), br#"{"type":"accepted","peer":0}"#);
        assert_eq!(told(2), br#"{"type":"connected","peer":2}"#);
    }

    #[test]
    fn what_the_program_waits_for_is_passed_on() {
        let alice = PeerIndex::new(0);
        for (packet, report) in [
            (r#"{"type": "started"}"#, Report::Connecting),
            (r#"{"type": "connected"}"#, Report::Connected),
            (r#"{"type": "awaiting", "peer": 0}"#, Report::Awaits(alice)),
            (r#"{"type": "awaiting-no-more", "peer": 0}"#, Report::AwaitsNoMore(alice)),
            (r#"{"type": "asking"}"#, Report::Asks),
            (r#"{"type": "answered"}"#, Report::Answered),
        ] {
            assert_eq!(hears(&mut bob(), packet), Some(report));
        }
    }

    #[test]
    fn what_is_no_packet_is_an_error() {
        for bad in ["", "{}", r#"{"type": "dial"}"#, r#"{"type": "dial", "peer": -1}"#, "\u{1b}"] {
            assert!(bob().report(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
