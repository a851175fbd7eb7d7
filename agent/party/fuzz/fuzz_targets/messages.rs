//! Whatever comes in frames, and what processes of this machine say to each other: it is a message, or
//! it is refused, and a frame never brings more than its reader allows.
//!
//! Run it with `cargo +nightly fuzz run messages` in `agent/party`.

#![no_main]

use std::future::Future;
use std::task::{Context, Poll, Waker};

use libfuzzer_sys::fuzz_target;
use mpyc_party::runner::engine::mpyc::Packet;
use mpyc_party::runner::handover::{FromAgent, FromRunner};
use mpyc_party::runner::inspect::Snapshot;
use mpyc_party_core::control::{Control, MAX_CONTROL_BYTES, MAX_OPENING_BYTES, StreamAnswer};
use mpyc_party_core::lighthouse::{self, Answer, Request};
use mpyc_party_core::relay;
use mpyc_party_transport::frame;
use serde::de::DeserializeOwned;

/// All messages that the frames in `bytes` hold, until one is refused.
fn read<T: DeserializeOwned>(bytes: &[u8], limit: usize) {
    let mut rest = bytes;
    loop {
        let before = rest.len();
        // What is there is read without waiting.
        let read = {
            let reading = std::pin::pin!(frame::read::<T>(&mut rest, limit));
            match reading.poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(read) => read,
                Poll::Pending => unreachable!("a slice never waits"),
            }
        };
        match read {
            Ok(Some(_)) => assert!((1..=limit + 4).contains(&(before - rest.len()))),
            Ok(None) | Err(_) => return,
        }
    }
}

fuzz_target!(|data: &[u8]| {
    read::<Control>(data, MAX_CONTROL_BYTES);
    read::<StreamAnswer>(data, MAX_OPENING_BYTES);
    read::<Request>(data, lighthouse::MAX_MESSAGE_BYTES);
    read::<Answer>(data, lighthouse::MAX_MESSAGE_BYTES);
    read::<relay::Request>(data, relay::MAX_MESSAGE_BYTES);
    read::<relay::Reply>(data, relay::MAX_MESSAGE_BYTES);
    let _ = postcard::from_bytes::<FromRunner>(data);
    let _ = postcard::from_bytes::<FromAgent>(data);
    let _ = serde_json::from_slice::<Snapshot>(data);
    let _ = serde_json::from_slice::<Packet>(data);
});
