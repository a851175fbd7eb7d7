//! Whatever a party of the roster signs and hands round as a session's bundle: it is none, or it can
//! be looked at, and no file of it lies elsewhere than below its session.
//!
//! The input is a bundle's text, or changes to a valid one, which is signed anew. Run it with
//! `cargo +nightly fuzz run bundle` in `agent/party`.

#![no_main]

use std::path::{Component, Path};
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mpyc_party::config::Session;
use mpyc_party::session::bundle::{open, seal};
use mpyc_party::session::proposal::Proposal;
use mpyc_party_core::roster::Roster;
use mpyc_party_fuzz::{NETWORK, changed};
use mpyc_party_transport::now;

const SEAM: &str = "-----BEGIN CERTIFICATE-----";

static VALID: LazyLock<String> = LazyLock::new(|| sealed().expect("a bundle"));

fn sealed() -> Result<String, Box<dyn std::error::Error>> {
    let names: Result<Vec<_>, _> = ["alice", "bob", "carol"].map(str::parse).into_iter().collect();
    let session = Session::new("/program.py".into(), Roster::try_from(names?)?);
    let key = NETWORK.alice.claims().key;
    let proposal = Proposal::of(&session, [("alice".parse()?, key)].into());
    let files = [("program.py".to_owned(), b"print(1)\n".to_vec())];
    Ok(seal(&NETWORK.alice, "demo".parse()?, proposal, &files, now())?)
}

/// The content, signed by alice.
fn signed(content: &[u8]) -> Vec<u8> {
    let message = [b"mpyc-party session bundle 1\n", content].concat();
    let signature = NETWORK.alice.sign(&message);
    let blocks = [("CERTIFICATE", NETWORK.alice.certificate()), ("SIGNATURE", &signature)];
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    let block = |(label, bytes)| pem::encode_config(&pem::Pem::new(label, bytes), config);
    [content, blocks.map(block).concat().as_bytes()].concat()
}

fuzz_target!(|data: &[u8]| {
    let (now, root) = (now(), &NETWORK.root);
    let _ = open(&changed(VALID.as_bytes(), data), root, now);
    let content = VALID.split(SEAM).next().unwrap_or_default();
    let mut content = changed(content.as_bytes(), data);
    content.push(b'\n');
    if let Ok(opened) = open(&signed(&content), root, now) {
        for (name, _) in &opened.files {
            let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
            assert!(Path::new(name).components().all(plain), "{name}");
        }
        let _ = opened.bundle.proposal.clone();
    }
});
