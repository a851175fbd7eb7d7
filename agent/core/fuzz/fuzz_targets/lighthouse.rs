//! Whatever parties send to a lighthouse: it is no message, or the lighthouse takes it; and whatever
//! a lighthouse answers: it is no message, or what is left of it may be dialled.
//!
//! The input is cut into frames of up to 255 bytes, each with its length and its sender in front.
//! Run it with `cargo +nightly fuzz run lighthouse` in `agent/core`.

#![no_main]

use std::net::SocketAddr;

use libfuzzer_sys::fuzz_target;
use mpyc_party_core::addr::{MAX_ADDRESSES, Vantage, admit, check_socket};
use mpyc_party_core::lighthouse::{Action, Answer, Lighthouse, Limits, Member, Request, Transport};
use mpyc_party_core::name::PartyName;

fuzz_target!(|data: &[u8]| {
    let limits = Limits { connections: 6, per_party: 2, per_address: 4, tags: 2, parties: 8 };
    let mut lighthouse = Lighthouse::new(limits);
    let mut here = Vec::new();
    let mut rest = data;
    while let [length, who, more @ ..] = rest {
        let (frame, following) = more.split_at(more.len().min(usize::from(*length)));
        rest = following;
        if let Ok(Answer::Present { addresses, .. }) = postcard::from_bytes(frame) {
            let admitted = admit(&addresses, Vantage::Elsewhere);
            assert!(admitted.len() <= MAX_ADDRESSES);
            let mut sockets = admitted.iter().filter_map(|address| address.socket());
            assert!(sockets.all(|at| check_socket(at, Vantage::Elsewhere).is_ok()));
        }
        let from = SocketAddr::from(([203, 0, 113, who % 3], 9));
        let Ok(party) = ["alice", "bob", "eve"][usize::from(who % 3)].parse::<PartyName>() else {
            return;
        };
        let party = Member { party, groups: vec![["ops", "lab"][usize::from(who & 1)].into()] };
        let transport = if who & 4 == 0 { Transport::Tcp } else { Transport::Udp };
        let mut actions = match (who >> 4, here.get(usize::from(who >> 4))) {
            (0, _) => match lighthouse.connect(party, from, transport, 0) {
                Ok((id, actions)) => {
                    here.push(id);
                    actions
                }
                Err(_) => Vec::new(),
            },
            (_, None) => Vec::new(),
            (1, Some(id)) => lighthouse.disconnect(*id),
            (2, Some(id)) => lighthouse.moved(*id, SocketAddr::from(([198, 51, 100, 1], 7)), 0),
            (_, Some(id)) => match postcard::from_bytes::<Request>(frame) {
                Ok(request) => lighthouse.hear(*id, request),
                Err(_) => Vec::new(),
            },
        };
        while let Some(action) = actions.pop() {
            if let Action::Close(id, _) = action {
                actions.extend(lighthouse.disconnect(id));
            }
        }
    }
    for id in here {
        lighthouse.disconnect(id);
    }
});
