//! Whatever is given as a name, a key, a token or anything else that is written as text: it is none,
//! or it is written again in a way that means the same.
//!
//! Run it with `cargo +nightly fuzz run names` in `agent/core`.

#![no_main]

use std::fmt::Display;
use std::str::FromStr;

use libfuzzer_sys::fuzz_target;
use mpyc_party_core::alias::Salt;
use mpyc_party_core::claims::{Fingerprint, PublicKey};
use mpyc_party_core::name::{NetworkName, PartyName, SessionName};
use mpyc_party_core::role::Role;
use mpyc_party_core::sni::Tag;
use mpyc_party_core::token::Token;

fn comes_back<T: FromStr + Display + PartialEq>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert!(value.to_string().parse::<T>().is_ok_and(|again| again == value));
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    comes_back::<PartyName>(text);
    comes_back::<SessionName>(text);
    comes_back::<NetworkName>(text);
    comes_back::<PublicKey>(text);
    comes_back::<Fingerprint>(text);
    comes_back::<Salt>(text);
    if let Ok(tag) = Tag::from_server_name(text) {
        assert!(Tag::from_server_name(&tag.server_name()).is_ok_and(|again| again == tag));
    }
    for (network, role) in
        [Role::from_dns_name(text), Role::from_spiffe_id(text)].into_iter().flatten()
    {
        let again = [
            Role::from_dns_name(&role.dns_name(&network)),
            Role::from_spiffe_id(&role.spiffe_id(&network)),
        ];
        assert!(
            again
                .into_iter()
                .all(|again| again.is_ok_and(|again| again == (network.clone(), role.clone())))
        );
    }
    if let Ok(token) = Token::from_text(text) {
        let written = token.to_text().expect("what was read can be written");
        let again = Token::from_text(&written).expect("what was written can be read");
        assert!(
            again.root == token.root
                && again.hubs == token.hubs
                && again.secret.hash() == token.secret.hash()
        );
    }
});
