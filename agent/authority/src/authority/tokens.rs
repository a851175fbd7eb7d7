//! Tokens: who may enrol.

use std::ops::RangeInclusive;

use mpyc_party_core::claims::groups_to_der;
use mpyc_party_core::role::Role;
use mpyc_party_core::token::{Secret, Token};

use super::Authority;
use crate::date::{date, sql_seconds};
use crate::error::AuthorityError;
use crate::policy;
use crate::profile::ProfileError;
use crate::records::tokens::UnusedToken;
use crate::records::{members, tokens, trail};

/// How long a token is good for when nothing else is said, in seconds: a day, because people are
/// in other time zones.
pub const TOKEN_LIFETIME: u64 = 86_400;
/// How long a token may be good for, in seconds: up to a year.
pub const TOKEN_LIFETIMES: RangeInclusive<u64> = 1..=366 * 86_400;

impl Authority {
    /// Makes a token that enrols one member as `role`, a party or a hub, within `lifetime` seconds;
    /// `hubs` are the places where this authority answers.
    ///
    /// # Errors
    /// When the role is taken, or groups, hubs or the lifetime are not acceptable.
    pub fn new_token(
        &self,
        role: &Role,
        groups: &[String],
        lifetime: u64,
        hubs: Vec<String>,
        now: u64,
    ) -> Result<Token, AuthorityError> {
        if *role == Role::Authority {
            return Err(AuthorityError::Taken(Role::Authority));
        }
        if !TOKEN_LIFETIMES.contains(&lifetime) {
            return Err(AuthorityError::TokenLifetime);
        }
        groups_to_der(groups)?;
        let mut secret = Secret([0; 32]);
        getrandom::fill(&mut secret.0).map_err(|_| ProfileError::Random)?;
        let hash = secret.hash();
        let (network, fingerprint) = (self.root.network.clone(), self.root.fingerprint);
        let token = Token { network, hubs, root: fingerprint, secret };
        token.to_text()?;
        let label = policy::label(role, &self.root.network);
        let expires = sql_seconds(now.saturating_add(lifetime));
        self.records.change(|c| {
            if members::by_label(c, &label)?.is_some() {
                return Err(AuthorityError::Taken(role.clone()));
            }
            tokens::add(c, &hash.id(), &hash.0, &label, groups, expires)?;
            let detail = format!("until {}", date(expires));
            Ok(trail::note(c, sql_seconds(now), "token", &label, &detail)?)
        })?;
        Ok(token)
    }

    /// Makes a token of no use that could not be handed to anybody.
    ///
    /// # Errors
    /// When the records fail.
    pub fn withdraw(&self, token: &Token, now: u64) -> Result<(), AuthorityError> {
        let now = sql_seconds(now);
        self.records.change(|c| Ok(tokens::expire(c, &token.secret.hash().id(), now)?))
    }

    /// The tokens that can still be used and that nobody has used, those first that end first.
    ///
    /// # Errors
    /// When the records fail.
    pub fn unused_tokens(&self, now: u64) -> Result<Vec<UnusedToken>, AuthorityError> {
        self.records.read(|c| Ok(tokens::unused(c, sql_seconds(now))?))
    }
}
