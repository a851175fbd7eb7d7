//! Whatever parties send to a relay: it is no request, or the exchange takes it, and in the end
//! nothing is held; and whatever a relay replies.
//!
//! The input is cut into frames of up to 255 bytes, each with its length and its sender in front.
//! Run it with `cargo +nightly fuzz run relay` in `agent/core`.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use mpyc_party_core::relay::{CallId, Calls, Limits, Reply, Request};

fuzz_target!(|data: &[u8]| {
    let mut exchange = Calls::new(Limits { pipes: 6, per_party: 3 });
    let mut pipes = Vec::new();
    let mut now = Duration::ZERO;
    let mut rest = data;
    while let [length, who, more @ ..] = rest {
        let (frame, following) = more.split_at(more.len().min(usize::from(*length)));
        rest = following;
        now += Duration::from_secs(u64::from(who & 3));
        let _ = postcard::from_bytes::<Reply>(frame);
        let Ok(party) = ["alice", "bob", "eve"][usize::from(who % 3)].parse() else { return };
        match (who >> 4, pipes.get(usize::from(who >> 4))) {
            (0, _) => pipes.extend(exchange.enter(party)),
            (_, None) => {}
            (1, Some(pipe)) => {
                exchange.leave(*pipe);
            }
            (_, Some(pipe)) => match postcard::from_bytes(frame) {
                Ok(Request::Call { party, .. }) => {
                    // The hub draws the ids; here two of them may be the same.
                    let _ = exchange.call(*pipe, party, CallId([who % 4; 16]), now);
                }
                Ok(Request::Join { call }) => {
                    if let Ok(caller) = exchange.join(*pipe, call, now) {
                        assert_ne!(caller, *pipe);
                    }
                }
                Err(_) => {}
            },
        }
    }
    for pipe in pipes {
        exchange.leave(pipe);
    }
    assert!(exchange.is_empty());
});
