//! Whatever a peer sends over a control link: it is no message, or the run's machine takes it.
//!
//! The input is cut into frames of up to 255 bytes, each with its length in front. Run it with
//! `cargo +nightly fuzz run control` in `agent/core`.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use mpyc_party_core::agreement::Entry;
use mpyc_party_core::claims::{Fingerprint, PublicKey};
use mpyc_party_core::component::Components;
use mpyc_party_core::control::{Control, Purpose, StreamAnswer, StreamOpening};
use mpyc_party_core::label::Label;
use mpyc_party_core::name::PartyName;
use mpyc_party_core::roster::{PeerIndex, Roster};
use mpyc_party_core::run::{Event, Run, Timeouts};

/// Bob's run, to which alice is linked and for which everything is ready.
fn run() -> Option<Run> {
    let names: Result<Vec<PartyName>, _> = ["alice", "bob"].map(str::parse).into_iter().collect();
    let roster = Roster::try_from(names.ok()?).ok()?;
    let (alice, me) = (PeerIndex::new(0), PeerIndex::new(1));
    let bob = roster.get(me)?.clone();
    let components = Components::new([(Label::PROGRAM, Vec::new())]);
    let (key, nonce) = (PublicKey([2; 32]), [2; 32]);
    let digests = components.salted(&nonce);
    let entry = Entry { party: bob, key, nonce, digests, versions: "fuzzed".into() };
    let own = entry.encode().ok()?;
    let timeouts = Timeouts { deadline: Duration::from_secs(60), grace: Duration::from_secs(30) };
    let mut run = Run::new(me, roster, Fingerprint([0; 32]), timeouts);
    run.handle(Duration::ZERO, Event::Prepared { components: Box::new(components), own });
    run.handle(Duration::ZERO, Event::Linked(alice, PublicKey([1; 32])));
    Some(run)
}

fuzz_target!(|data: &[u8]| {
    let Some(mut run) = run() else { return };
    let mut rest = data;
    while let [length, more @ ..] = rest {
        let (frame, following) = more.split_at(more.len().min(usize::from(*length)));
        rest = following;
        let _ = postcard::from_bytes::<Purpose>(frame);
        let _ = postcard::from_bytes::<StreamOpening>(frame);
        let _ = postcard::from_bytes::<StreamAnswer>(frame);
        if let Ok(message) = postcard::from_bytes::<Control>(frame) {
            run.handle(Duration::from_secs(1), Event::Received(PeerIndex::new(0), message));
        }
    }
    run.handle(Duration::from_secs(120), Event::Tick);
});
