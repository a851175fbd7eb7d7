//! A machine becomes a party at its first boot, with a token that was left for it.

use std::collections::HashMap;
use std::time::Duration;

use mpyc_party_core::token::Token;
use mpyc_party_transport::task::blocking;
use mpyc_party_transport::{Identity, now};
use tokio::time::sleep;

use super::token::{self, Found, Source, SourceError};
use super::{clock, notify};
use crate::identity::{IdentityError, Store};

/// Backoff between two attempts to find a token or to enrol with it: the first pause, and the longest.
const RETRY_BACKOFF: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(30)];

/// The identity in `store`; where there is none, a token in one of `sources` is waited for and used.
///
/// # Errors
/// Where there is an identity that cannot be used.
pub(super) async fn identity(store: &Store, sources: &[Source]) -> Result<Identity, IdentityError> {
    let there = store.clone();
    if blocking(move || there.is_there()).await {
        let (identity, ..) = store.load_all().await?;
        let (sources, own) = (sources.to_vec(), identity.clone());
        blocking(move || sources.iter().for_each(|source| clear_leftover(source, &own))).await;
        let certified = identity.claims().not_before;
        clock::wait(certified, now, waiting_for_the_time).await;
        return Ok(identity);
    }
    clock::wait(0, now, waiting_for_the_time).await;
    let (mut pause, mut told) = (RETRY_BACKOFF[0], HashMap::new());
    let given = token::from_pipe(sources, |source, why| complain(&mut told, source, &why)).await;
    loop {
        match attempt(store, (sources, given.as_ref()), &mut told).await {
            Ok(Some(identity)) => return Ok(identity),
            Ok(None) => {}
            Err(error) => {
                log::warn!("not enrolled yet: {error}. Trying again in {} s", pause.as_secs_f32());
                notify::status(&format!("not enrolled yet: {error}"));
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(RETRY_BACKOFF[1]);
    }
}

fn waiting_for_the_time(earliest: u64) {
    log::warn!("the clock is wrong (it is before {earliest} in Unix time): waiting for the time");
    notify::status("waiting for the time: the clock is wrong");
}

/// Says once why there is no token in `source`.
fn complain(told: &mut HashMap<String, String>, source: &Source, why: &SourceError) {
    let (source, why) = (source.to_string(), why.to_string());
    if told.get(&source) != Some(&why) {
        log::warn!("no token from {source}: {why}");
        told.insert(source, why);
    }
}

/// Enrols with the token that was `given`, else with one that it looks for; none where there is no token.
async fn attempt(
    store: &Store,
    (sources, given): (&[Source], Option<&Found>),
    told: &mut HashMap<String, String>,
) -> Result<Option<Identity>, IdentityError> {
    let found = match given {
        Some(given) => Some(given.clone()),
        None => token::find(sources, |source, why| complain(told, source, &why)).await,
    };
    let Some(found) = found else {
        let places = sources.iter().map(Source::to_string).collect::<Vec<_>>().join(", ");
        let text = format!("waiting for an enrolment token in {places}");
        if told.insert(String::new(), text.clone()).as_ref() != Some(&text) {
            log::info!("{text}");
        }
        notify::status(&text);
        return Ok(None);
    };
    log::info!("enrolling with the token from {}", found.source);
    notify::status("enrolling");
    let identity = store.enrol(&found.text).await?;
    log::info!("enrolled as {}", identity.claims().role);
    let source = found.source;
    let clear = move || match source.clear() {
        Ok(()) => log::info!("the token in {source} is removed"),
        Err(why) => log::warn!("the token stays in {source}: {why}"),
    };
    blocking(clear).await;
    Ok(Some(identity))
}

/// Removes a token of this party's own network from a file where one is left for this machine: the
/// agent was ended between its use and its removal.
fn clear_leftover(source: &Source, identity: &Identity) {
    let (Source::Named(path) | Source::File(path)) = source else { return };
    if token::is_managed(path) {
        return;
    }
    let Ok(Some(text)) = token::read(path) else { return };
    if Token::from_text(&text).is_ok_and(|token| token.root == identity.root().fingerprint) {
        match source.clear() {
            Ok(()) => log::info!("a token left in {source} is removed: this party is enrolled"),
            Err(why) => log::warn!("a token is left in {source}: {why}"),
        }
    }
}
