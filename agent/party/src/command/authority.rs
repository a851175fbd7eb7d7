//! `mpyc-party ca`: the authority, on the machine that holds its key.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use clap::{Args, Subcommand};
use mpyc_party_authority::{
    Authority, Member, Revoked, TOKEN_LIFETIME, TOKEN_LIFETIMES, TrailEntry, UnusedToken, date,
};
use mpyc_party_core::addr::is_host_port;
use mpyc_party_core::claims::MAX_GROUPS;
use mpyc_party_core::name::{GroupName, NetworkName, PartyName};
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
    /// List who is enrolled, and the tokens that nobody has used
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
Whoever has the token can enrol under that name: hand it over as you would a password. It is printed
on standard output, or written to a new file that only you can read.

Examples:
  mpyc-party ca token --name alice --hub hub.example.org:4747 --output alice.token
  mpyc-party ca token --name bob --hub hub.example.org:4747 --valid-for 1h --group finance")]
pub(super) struct Token {
    /// The party's name
    #[arg(long, value_name = "NAME", required_unless_present = "for_hub")]
    name: Option<PartyName>,
    /// Make a token for hub number N instead of a party
    #[arg(long, value_name = "N", conflicts_with = "name")]
    for_hub: Option<u16>,
    /// Address of the hub beside the authority; may be repeated
    #[arg(long = "hub", value_name = "HOST:PORT", required = true, value_parser = host_port)]
    hubs: Vec<String>,
    /// How long the token can be used [default: 1day]
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    valid_for: Option<u64>,
    /// A group to put into the certificate; may be repeated
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<GroupName>,
    /// Write the token to this new file, which only its owner can read
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Where a hub is, as a person writes it.
fn host_port(text: &str) -> Result<String, String> {
    if is_host_port(text) {
        return Ok(text.to_owned());
    }
    Err("write it as host:port, for example hub.example.org:4747 or [2001:db8::1]:4747".to_owned())
}

/// How long a token is good for, in whole seconds.
fn lifetime(text: &str) -> Result<u64, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?.as_secs();
    if TOKEN_LIFETIMES.contains(&time) {
        return Ok(time);
    }
    Err("a token is good for 1s to 366days".to_owned())
}

impl Ca {
    pub(super) fn run(self, common: &Common) -> Outcome {
        let dir = common.dirs()?.state.join("ca");
        no_dumps()?;
        match self {
            Self::Init { network, pool } => init(&dir, &network, pool, common.json)?,
            Self::Token(token) => token.make(&open(&dir)?, common.json)?,
            Self::List => {
                let authority = open(&dir)?;
                list(&authority.list()?, &authority.unused_tokens(now())?, common.json)?;
            }
            Self::Trail => trail(&open(&dir)?.trail()?, common.json)?,
            Self::Revoke { name } => revoke(&open(&dir)?, &name, common.json)?,
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

fn init(
    dir: &Path,
    network: &NetworkName,
    pool: Option<ipnet::IpNet>,
    as_json: bool,
) -> anyhow::Result<()> {
    let authority = Authority::init(dir, network, pool, now())?;
    let root = authority.root();
    if as_json {
        return Ok(output::json(&json!({
            "network": network, "root": root.fingerprint, "pool": root.pool, "directory": dir,
        }))?);
    }
    output::good(format!(
        "network {network} is made: root {}, overlay addresses {}. Its key is in {}: keep a copy of it safe",
        root.fingerprint,
        root.pool,
        dir.display()
    ));
    Ok(())
}

fn revoke(authority: &Authority, name: &PartyName, as_json: bool) -> anyhow::Result<()> {
    let revoked = authority.revoke(name.as_str(), now())?;
    if as_json {
        let what = match revoked {
            Revoked::Member => "member",
            Revoked::Tokens => "tokens",
        };
        return Ok(output::json(&json!({"name": name, "revoked": what}))?);
    }
    output::good(match revoked {
        Revoked::Member => format!(
            "{name} is revoked: its certificate is not renewed, and ends within a day. The name is free: a new token enrols a new machine under it"
        ),
        Revoked::Tokens => {
            format!("nobody has enrolled as {name}; the token for it is of no use any more")
        }
    });
    Ok(())
}

/// Makes the file for a token.
fn new_file(path: &Path) -> anyhow::Result<File> {
    files::create_private(path).map_err(|error| match error.source.kind() {
        ErrorKind::AlreadyExists => anyhow!(
            "there is a file {} already, which may be a token: remove it, or choose another name",
            path.display()
        ),
        _ => error.into(),
    })
}

impl Token {
    fn make(self, authority: &Authority, as_json: bool) -> anyhow::Result<()> {
        let role = match (self.name, self.for_hub) {
            (Some(name), _) => Role::party(name)?,
            (None, Some(number)) => Role::Hub(number),
            (None, None) => bail!("name the party with --name"),
        };
        if self.groups.len() > MAX_GROUPS {
            bail!("a party is in at most {MAX_GROUPS} groups: give --group less often");
        }
        let groups: Vec<_> = self.groups.iter().map(ToString::to_string).collect();
        // A token that cannot be written anywhere is not to be made.
        let path = self.output.filter(|path| path != Path::new("-"));
        let file = path.as_deref().map(new_file).transpose()?;
        let lifetime = self.valid_for.unwrap_or(TOKEN_LIFETIME);
        let token = authority.new_token(&role, &groups, lifetime, self.hubs, now());
        let (Some(path), Some(file)) = (path, file) else {
            let text = token?.to_text()?;
            if as_json {
                return Ok(output::json(&json!({"for": role.to_string(), "token": *text}))?);
            }
            output::line(&*text);
            return Ok(());
        };
        let written = token.map_err(anyhow::Error::from).and_then(|token| {
            let written = write(&file, &token);
            if written.is_err() {
                authority.withdraw(&token, now())?;
            }
            written
        });
        if let Err(error) = written {
            // An empty file is of no use.
            let _ = std::fs::remove_file(&path);
            return Err(error.context(format!("{}: no token", path.display())));
        }
        match as_json {
            true => output::json(&json!({"for": role.to_string(), "file": path}))?,
            false => output::good(format!("{} has the token for {role}", path.display())),
        }
        Ok(())
    }
}

/// Writes the token into the file, and the file to the disk.
fn write(mut file: &File, token: &mpyc_party_core::token::Token) -> anyhow::Result<()> {
    file.write_all(token.to_text()?.as_bytes())?;
    file.write_all(b"\n")?;
    Ok(file.sync_all()?)
}

fn list(members: &[Member], unused: &[UnusedToken], as_json: bool) -> anyhow::Result<()> {
    if as_json {
        let member = |member: &Member| {
            json!({
                "name": member.name, "address": member.address, "groups": member.groups,
                "key": member.key, "enrolled": date(member.enrolled),
                "expires": member.expires.map(date), "revoked": member.revoked.map(date),
            })
        };
        let token = |token: &UnusedToken| {
            json!({
                "name": token.name, "groups": token.groups, "token-until": date(token.expires),
            })
        };
        let all = members.iter().map(member).chain(unused.iter().map(token));
        return Ok(output::json(&all.collect::<Vec<_>>())?);
    }
    if members.is_empty() && unused.is_empty() {
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
    for UnusedToken { name, groups, expires } in unused {
        let until = format!("unused token, until {}", date(*expires));
        output::line(format!("{name:20} {until} {}", groups.join(",")).trim_end());
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
