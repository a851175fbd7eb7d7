//! Whatever a machine is given at its first boot, and whatever a metadata service answers: a token is
//! found where there is one, and what is no token is none.
//!
//! The input is an answer, what stands around a token, and changes to a token. Run it with
//! `cargo +nightly fuzz run first_boot` in `agent/party`.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mpyc_party::agent::{token_in, user_data_in};
use mpyc_party_core::role::Role;
use mpyc_party_core::token::Token;
use mpyc_party_fuzz::{NETWORK, changed};
use mpyc_party_transport::now;

/// A valid token.
static VALID: LazyLock<String> = LazyLock::new(|| valid().expect("a token"));

fn valid() -> Result<String, Box<dyn std::error::Error>> {
    let role = Role::party("newcomer".parse()?)?;
    let token = NETWORK.authority.new_token(&role, &[], 3600, vec!["hub:1".into()], now())?;
    Ok(token.to_text()?.to_string())
}

fn look(text: &str) {
    if let Some(token) = token_in(text) {
        assert!(text.contains(&*token) && Token::from_text(&token).is_ok());
    }
}

fuzz_target!(|data: &[u8]| {
    let answer = String::from_utf8_lossy(data);
    look(&answer);
    if let Ok(content) = user_data_in(&answer) {
        assert!(answer.ends_with(&*content));
        look(&content);
    }
    let (before, behind) = data.split_at(data.len() / 2);
    let [before, behind] = [before, behind].map(String::from_utf8_lossy);
    assert!(token_in(&format!("{before}\n{}\n{behind}", *VALID)).is_some());
    // A token that reads is worth as much as the one that it is written as.
    if let Ok(token) = Token::from_text(&String::from_utf8_lossy(&changed(VALID.as_bytes(), data)))
        && let Ok(text) = token.to_text()
    {
        assert_eq!(Token::from_text(&text), Ok(token));
    }
});
