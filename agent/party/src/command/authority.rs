//! `mpyc-party ca`: the authority, on the machine that holds its key.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use mpyc_party_authority::{Authority, Member, Revoked, TOKEN_LIFETIME, TrailEntry, date};
use mpyc_party_core::name::{NetworkName, PartyName};
use mpyc_party_core::role::Role;
use mpyc_party_transport::now;
use serde_json::json;

use super::{Common, Outcome, no_dumps, output};
use crate::config::{bounded, files};
use crate::session::words::visible;

#[derive(Debug, Subcommand)]
pub(super) enum Ca {
    /// Make an authority, and with it a network
    #[command(after_help = "Example: mpyc-party ca init --network example")]
    Init {
        /// The network's name
        #[arg(long, value_name = "NAME")]
        network: NetworkName,
        /// Overlay addresses to give out [default: a random /64 of fd00::/8]
        #[arg(long, value_name = "CIDR")]
        pool: Option<ipnet::IpNet>,
    },
    /// Make a single-use token with which one party (or hub) enrols
    Token(Token),
    /// List who is enrolled
    List,
    /// List what the authority did
    Trail,
    /// Revoke a party or hub: its certificate is no longer renewed
    #[command(after_help = "\
Others still accept the old certificate until it expires, within a day. The name is free at once: a
lost or reinstalled machine can enrol under it again, with a new token, key and overlay address. An
unused token becomes invalid at once.

Examples:
  mpyc-party ca revoke alice
  mpyc-party ca revoke hub-2")]
    Revoke {
        /// The party's name, or hub-N
        name: PartyName,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "\
The token is printed on standard output. Whoever has it can enrol under that name: hand it over as
you would a password, and keep it in a file that only you can read (umask 077).

Examples:
  (umask 077; mpyc-party ca token --name alice --hub hub.example.org:4747 > alice.token)
  mpyc-party ca token --name bob --hub hub.example.org:4747 --valid-for 1h --group finance")]
pub(super) struct Token {
    /// The party's name
    #[arg(long, value_name = "NAME", required_unless_present = "for_hub")]
    name: Option<PartyName>,
    /// Make a token for hub number N instead of a party
    #[arg(long, value_name = "N", conflicts_with = "name")]
    for_hub: Option<u16>,
    /// Address of the hub beside the authority; may be repeated
    #[arg(long = "hub", value_name = "HOST:PORT", required = true)]
    hubs: Vec<String>,
    /// How long the token can be used [default: 1day]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    valid_for: Option<Duration>,
    /// A group to put into the certificate; may be repeated
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
}

impl Ca {
    pub(super) fn run(self, common: &Common) -> Outcome {
        let dir = common.dirs()?.state.join("ca");
        no_dumps()?;
        match self {
            Self::Init { network, pool } => {
                let authority = Authority::init(&dir, &network, pool, now())?;
                let root = authority.root();
                output::good(format!(
                    "network {network} is made: root {}, overlay addresses {}. Its key is in {}: keep a copy of it safe",
                    root.fingerprint,
                    root.pool,
                    dir.display()
                ));
            }
            Self::Token(token) => output::line(&*token.make(&open(&dir)?)?),
            Self::List => list(&open(&dir)?.list()?, common.json)?,
            Self::Trail => trail(&open(&dir)?.trail()?, common.json)?,
            Self::Revoke { name } => {
                output::good(match open(&dir)?.revoke(name.as_str(), now())? {
                    Revoked::Member => format!(
                        "{name} is revoked: its certificate is not renewed, and ends within a day. The name is free: a new token enrols a new machine under it"
                    ),
                    Revoked::Tokens => format!(
                        "nobody has enrolled as {name}; the token for it is of no use any more"
                    ),
                })
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Opens the authority in `dir`.
pub(super) fn open(dir: &Path) -> anyhow::Result<Authority> {
    if !files::is_dir(dir)? {
        bail!(
            "there is no authority in {}: make one with mpyc-party ca init --network NAME, or name its state directory with --state",
            dir.display()
        );
    }
    let own = dir.to_owned();
    let opened = bounded::within(files::FILE_TIMEOUT, move || Authority::open(&own));
    Ok(opened.with_context(|| dir.display().to_string())??)
}

impl Token {
    fn make(self, authority: &Authority) -> anyhow::Result<zeroize::Zeroizing<String>> {
        let role = match (self.name, self.for_hub) {
            (Some(name), _) => Role::party(name)?,
            (None, Some(number)) => Role::Hub(number),
            (None, None) => bail!("name the party with --name"),
        };
        let lifetime = self.valid_for.map_or(TOKEN_LIFETIME, |time| time.as_secs());
        let token = authority.new_token(&role, &self.groups, lifetime, self.hubs, now())?;
        Ok(token.to_text()?)
    }
}

fn list(members: &[Member], as_json: bool) -> anyhow::Result<()> {
    if as_json {
        let value = |member: &Member| {
            json!({
                "name": member.name, "address": member.address, "groups": member.groups,
                "key": member.key, "enrolled": date(member.enrolled),
                "expires": member.expires.map(date), "revoked": member.revoked.map(date),
            })
        };
        return Ok(output::json(&members.iter().map(value).collect::<Vec<_>>())?);
    }
    if members.is_empty() {
        output::step(
            "nobody is enrolled yet: make a token with mpyc-party ca token --name NAME --hub HOST:PORT",
        );
    }
    for member in members {
        let state = match (member.revoked, member.expires) {
            (Some(at), _) => format!("revoked {}", date(at)),
            (None, Some(at)) => format!("until {}", date(at)),
            (None, None) => "no certificate".to_owned(),
        };
        let Member { name, address, key, groups, .. } = member;
        output::line(format!("{name:20} {address:28} {state} {key} {}", groups.join(",")));
    }
    Ok(())
}

fn trail(entries: &[TrailEntry], as_json: bool) -> anyhow::Result<()> {
    if as_json {
        let value = |entry: &TrailEntry| {
            json!({
                "time": date(entry.time), "event": entry.event, "subject": entry.subject,
                "detail": entry.detail,
            })
        };
        return Ok(output::json(&entries.iter().map(value).collect::<Vec<_>>())?);
    }
    for TrailEntry { time, event, subject, detail } in entries {
        output::entry(0, visible(&format!("{} {event:10} {subject} {detail}", date(*time))));
    }
    Ok(())
}
