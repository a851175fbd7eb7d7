//! A party of the roster that means ill: it has a real identity and speaks the real protocol, as
//! far as the test wants it to.

#![allow(dead_code, reason = "each test file uses its part of it")]

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, ensure};
use mpyc_party::config::{Config, Directories};
use mpyc_party::identity::Store;
use mpyc_party::runner::engine;
use mpyc_party::runner::engine::mpyc::Versions;
use mpyc_party::session;
use mpyc_party_core::agreement::{Agreement, EncodedEntry, Entry, RunId};
use mpyc_party_core::component::Components;
use mpyc_party_core::control::{Control, MAX_CONTROL_BYTES, Purpose, StreamAnswer, StreamOpening};
use mpyc_party_core::name::SessionName;
use mpyc_party_core::roster::{PeerIndex, Roster};
use mpyc_party_core::sni::Tag;
use mpyc_party_lab::party::{Party, Run};
use mpyc_party_transport::{Expect, Identity, Protocol, Secure, frame};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::common::LIMIT;

/// The number of the format that the launcher writes.
fn message_format() -> Result<u32> {
    let launcher = include_str!("../../src/runner/engine/mpyc/launcher/values.py");
    let number = launcher.lines().find_map(|line| line.strip_prefix("FORMAT = "));
    Ok(number.context("the launcher has no format")?.parse()?)
}

/// The version of MPyC that the launcher knows, and the digest of its files.
fn known_release() -> Result<(String, String)> {
    let launcher = include_str!("../../src/runner/engine/mpyc/launcher/releases.py");
    let line = launcher.lines().find(|line| line.starts_with("    '") && line.ends_with("',"));
    let mut words = line.context("the launcher knows no release")?.split('\'');
    let (digest, version) = (words.nth(1), words.nth(1));
    Ok((version.context("no version")?.to_owned(), digest.context("no digest")?.to_owned()))
}

/// Somebody with the identity of a party of the roster.
pub(crate) struct Rogue {
    pub(crate) identity: Identity,
    pub(crate) roster: Roster,
    session: SessionName,
    me: PeerIndex,
    components: Components,
}

/// Where the runner of `run` accepts connections.
pub(crate) fn address(run: &Run) -> Result<SocketAddr> {
    let port = run.wait_for("waiting", LIMIT)?["port"].as_u64().context("a port")?;
    Ok((Ipv4Addr::LOCALHOST, u16::try_from(port)?).into())
}

impl Rogue {
    /// One that knows what `party` knows of its session «demo», and would run the same.
    pub(crate) fn new(party: &Party) -> Result<Self> {
        let dirs = Directories {
            config: None,
            named: false,
            state: party.state(),
            cache: party.directory().join("cache"),
        };
        let config = Config::load(&party.config())?;
        let (identity, name) = Store::new(&dirs.state).load_party()?;
        let definition = session::find(&config, &dirs, &"demo".parse()?)?;
        let copies = tempfile::tempdir()?;
        let copied = session::copy(&definition, &copies.path().join("program"))?;
        let (mpyc, mpyc_digest) = known_release()?;
        let versions = Versions {
            implementation: "CPython".into(),
            python: "3.0.0".into(),
            pointer_bits: usize::BITS,
            mpyc,
            mpyc_digest,
            mpyc_known: true,
            numpy: None,
            gmpy2: None,
            message_format: message_format()?,
            event_loop: "none".into(),
        };
        let profile = versions.profile(&definition.settings);
        let roster = definition.settings.parties.clone();
        Ok(Self {
            session: definition.name.clone(),
            me: roster.index_of(&name).context("in the roster")?,
            components: engine::components(&definition, &copied, Some(&profile)),
            identity,
            roster,
        })
    }

    /// What the party of this index is asked for.
    pub(crate) fn server_name(&self, peer: usize) -> Result<String> {
        let (root, own) = (self.identity.root().fingerprint, self.identity.claims().party());
        let peer = self.roster.get(PeerIndex::new(peer)).context("a peer")?;
        Ok(Tag::pair(&root, &self.session, own.context("a party")?, peer).server_name())
    }

    /// Connects to the party of this index.
    pub(crate) async fn connect(
        &self,
        peer: usize,
        at: SocketAddr,
        protocol: Protocol,
    ) -> Result<Secure> {
        let name = self.roster.get(PeerIndex::new(peer)).context("a peer")?.clone();
        let (expect, tcp) = (Expect::Parties(vec![(name, None)]), TcpStream::connect(at).await?);
        let name = self.server_name(peer)?;
        Ok(mpyc_party_transport::connect(tcp, &self.identity, protocol, &expect, &name).await?)
    }

    /// A control link that the peer, whose name must sort before this one's, has chosen.
    pub(crate) async fn link(&self, peer: usize, at: SocketAddr) -> Result<Secure> {
        let mut link = self.connect(peer, at, Protocol::Control).await?;
        frame::write(&mut link.stream, &Purpose::Run { lost: 0 }, MAX_CONTROL_BYTES).await?;
        let chosen = hear(&mut link).await?;
        ensure!(matches!(chosen, Some(Control::Use { .. })), "the link is not chosen: {chosen:?}");
        Ok(link)
    }

    /// What this party says that it would run.
    pub(crate) fn entry(&self, nonce: [u8; 32]) -> Result<EncodedEntry> {
        let entry = Entry {
            party: self.roster.get(self.me).context("a name")?.clone(),
            key: self.identity.claims().key,
            nonce,
            digests: self.components.salted(&nonce),
            versions: "rogue".into(),
        };
        Ok(entry.encode()?)
    }

    /// Says its entry on all `links` and hears the others'; the agreement then lacks the lists.
    pub(crate) async fn introduce(&self, links: &mut [(usize, Secure)]) -> Result<Agreement> {
        let nonce = std::array::from_fn(|at| u8::try_from(at).unwrap_or_default());
        let own = self.entry(nonce)?;
        let root = self.identity.root().fingerprint;
        let (roster, components) = (self.roster.clone(), self.components.clone());
        let mut agreement = Agreement::new(self.me, roster, root, components, own.clone())?;
        for (_, link) in &mut *links {
            say(link, &Control::Entry(own.clone())).await?;
        }
        for (peer, link) in links {
            let Control::Entry(entry) = next(link).await? else { anyhow::bail!("no entry") };
            let (key, peer) = (entry.decode()?.key, PeerIndex::new(*peer));
            agreement.on_entry(peer, &key, entry).map_err(|f| anyhow::anyhow!("{f:?}"))?;
        }
        Ok(agreement)
    }

    /// Agrees honestly; returns the run's id before it says that it is ready.
    pub(crate) async fn agree(&self, links: &mut [(usize, Secure)]) -> Result<RunId> {
        let mut agreement = self.introduce(links).await?;
        let list = agreement.list().context("a whole list")?;
        for (peer, link) in links {
            say(link, &Control::List(list.clone())).await?;
            let Control::List(theirs) = next(link).await? else { anyhow::bail!("no list") };
            agreement
                .on_list(PeerIndex::new(*peer), &theirs)
                .map_err(|fault| anyhow::anyhow!("{fault:?}"))?;
        }
        agreement.run_id().context("an agreement")
    }

    /// Agrees, is ready, and waits until all are.
    pub(crate) async fn start(&self, links: &mut [(usize, Secure)]) -> Result<RunId> {
        let run = self.agree(links).await?;
        for (_, link) in &mut *links {
            say(link, &Control::Ready(run)).await?;
        }
        for (_, link) in links {
            ensure!(next(link).await? == Control::Ready(run), "another run");
        }
        Ok(run)
    }

    /// Another control link, for those up to the epoch `lost` are of no use; returns its epoch.
    pub(crate) async fn relink(
        &self,
        peer: usize,
        at: SocketAddr,
        lost: u64,
    ) -> Result<(Secure, u64)> {
        let mut link = self.connect(peer, at, Protocol::Control).await?;
        frame::write(&mut link.stream, &Purpose::Run { lost }, MAX_CONTROL_BYTES).await?;
        match hear(&mut link).await? {
            Some(Control::Use { epoch, .. }) => Ok((link, epoch)),
            other => anyhow::bail!("the link is not chosen: {other:?}"),
        }
    }

    /// Opens a stream and hears what the peer has received of it.
    pub(crate) async fn carrier(
        &self,
        peer: usize,
        at: SocketAddr,
        opening: StreamOpening,
    ) -> Result<(Secure, u64)> {
        let mut stream = self.stream(peer, at, opening).await?;
        let answer = frame::read::<StreamAnswer>(&mut stream.stream, MAX_CONTROL_BYTES);
        let answer = tokio::time::timeout(LIMIT, answer).await??;
        Ok((stream, answer.context("the carrier is not taken")?.received))
    }

    /// Opens a stream, and says no more than what it is.
    pub(crate) async fn stream(
        &self,
        peer: usize,
        at: SocketAddr,
        opening: StreamOpening,
    ) -> Result<Secure> {
        let mut stream = self.connect(peer, at, Protocol::Stream).await?;
        frame::write(&mut stream.stream, &opening, MAX_CONTROL_BYTES).await?;
        Ok(stream)
    }
}

/// Sends these bytes of a stream, whose first is at `position`, in one frame.
pub(crate) async fn send(stream: &mut Secure, position: u64, bytes: &[u8]) -> Result<()> {
    let [.., a, b, c] = u32::try_from(bytes.len())?.to_be_bytes();
    let frame = [&[1, a, b, c], &position.to_be_bytes()[..], bytes].concat();
    stream.stream.write_all(&frame).await?;
    Ok(stream.stream.flush().await?)
}

/// Sends a message.
pub(crate) async fn say(link: &mut Secure, message: &Control) -> Result<()> {
    Ok(frame::write(&mut link.stream, message, MAX_CONTROL_BYTES).await?)
}

/// The next message; who says its last word is told that it came.
async fn hear(link: &mut Secure) -> Result<Option<Control>> {
    let message = frame::read(&mut link.stream, MAX_CONTROL_BYTES);
    let message = tokio::time::timeout(LIMIT, message).await??;
    if matches!(message, Some(Control::Abort(_) | Control::Done)) {
        // It may have gone already.
        let _ = say(link, &Control::Noted).await;
    }
    Ok(message)
}

/// The next message of which something comes: neither a heartbeat, nor a roster, nor what the peer waits for.
pub(crate) async fn next(link: &mut Secure) -> Result<Control> {
    loop {
        match hear(link).await?.context("the peer has gone")? {
            Control::Beat(number) => say(link, &Control::Echo(number)).await?,
            Control::Echo(_) | Control::Noted | Control::Roster(_) | Control::Waits(_) => {}
            message => return Ok(message),
        }
    }
}

/// Waits until the peer hangs up.
pub(crate) async fn hung_up(link: &mut Secure) -> Result<()> {
    let gone = async { while let Ok(Some(_)) = hear(link).await {} };
    tokio::time::timeout(LIMIT, gone).await.context("the link is still up")
}
