//! Ports of this machine that some other parties may connect to. None unless they are listed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mpyc_party_core::addr::{Refusal, Vantage, check_socket};
use mpyc_party_core::expose::{Rule, Rules};
use mpyc_party_core::lighthouse::Limits;
use mpyc_party_core::name::{GroupName, PartyName, PortName};
use serde::{Deserialize, Serialize};

/// Why a port cannot be exposed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExposeError {
    /// Nobody is to be led to this address.
    #[error("{to} cannot be exposed: {why}")]
    Address {
        /// The address it would lead to.
        to: SocketAddr,
        /// Why not there.
        why: Refusal,
    },
    /// It does not say to whom.
    #[error("say who may connect: list parties, groups, or both")]
    Nobody,
    /// Two have the same port.
    #[error("port {port} is exposed as «{other}» already: list all there")]
    Taken {
        /// The port.
        port: u16,
        /// The name of the other one.
        other: PortName,
    },
    /// Hubs take no more.
    #[error("more than {max} parties or groups in all: make a group of them")]
    TooMany {
        /// How many they take.
        max: usize,
    },
}

/// One port, and who may connect to it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Expose {
    /// The port that is asked for, and to which it leads.
    pub port: u16,
    /// The address it leads to; this machine itself where none is given.
    #[serde(default = "this_machine")]
    pub address: IpAddr,
    /// Whoever is in one of these groups may.
    #[serde(default)]
    pub groups: BTreeSet<GroupName>,
    /// These parties may.
    #[serde(default)]
    pub parties: BTreeSet<PartyName>,
}

fn this_machine() -> IpAddr {
    Ipv4Addr::LOCALHOST.into()
}

impl Expose {
    fn to(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }

    fn check(&self) -> Result<(), ExposeError> {
        let to = self.to();
        if let Err(why) = check_socket(to, Vantage::SameHost) {
            return Err(ExposeError::Address { to, why });
        }
        if self.groups.is_empty() && self.parties.is_empty() {
            return Err(ExposeError::Nobody);
        }
        Ok(())
    }
}

/// Checks that each of `exposed` can be used, and all of them together.
///
/// # Errors
/// Says which cannot, and what to do.
pub(super) fn check_all(
    exposed: &BTreeMap<PortName, Expose>,
) -> Result<(), (PortName, ExposeError)> {
    let mut ports: BTreeMap<u16, &PortName> = BTreeMap::new();
    for (name, expose) in exposed {
        let wrong = |why| Err((name.clone(), why));
        if let Err(why) = expose.check() {
            return wrong(why);
        }
        if let Some(other) = ports.insert(expose.port, name) {
            return wrong(ExposeError::Taken { port: expose.port, other: other.clone() });
        }
        let (rules, max) = (rules(exposed), Limits::default().parties);
        if rules.parties().len() > max || rules.groups().len() > max {
            return wrong(ExposeError::TooMany { max });
        }
    }
    Ok(())
}

/// What `exposed` allows.
#[must_use]
pub fn rules(exposed: &BTreeMap<PortName, Expose>) -> Rules {
    let rule = |(name, expose): (&PortName, &Expose)| Rule {
        name: name.clone(),
        port: expose.port,
        to: expose.to(),
        parties: expose.parties.clone(),
        groups: expose.groups.clone(),
    };
    Rules(exposed.iter().map(rule).collect())
}
