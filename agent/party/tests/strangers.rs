//! Who is not of the session gets nowhere at a party's port, whatever certificate it shows, and
//! keeps nobody else from getting there.

mod common;
mod rogue;
#[path = "../../transport/tests/trusting/mod.rs"]
mod trusting;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use common::{LIMIT, NAMES, SUM, demo};
use mpyc_party_core::claims::Claims;
use mpyc_party_lab::party::Network;
use mpyc_party_transport::Protocol;
use rcgen::{
    CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ED25519, SanType,
};
use rogue::{Rogue, address};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, ClientConnection, Stream};
use time::{Duration, OffsetDateTime};
use trusting::Trusting;

/// A certificate and its key, both DER.
struct Papers {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// Whether the runner at `at` lets one with these papers in: it says so in one byte.
fn is_let_in(at: SocketAddr, name: &str, protocol: Protocol, papers: &Papers) -> Result<bool> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(papers.key.clone()));
    let chain = vec![CertificateDer::from(papers.certificate.clone())];
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting::default()))
        .with_client_auth_cert(chain, key)?;
    config.alpn_protocols = vec![protocol.alpn().to_vec()];
    let mut tls = ClientConnection::new(Arc::new(config), name.to_owned().try_into()?)?;
    let mut tcp = TcpStream::connect(at)?;
    tcp.set_read_timeout(Some(LIMIT))?;
    let mut answer = [0];
    match Stream::new(&mut tls, &mut tcp).read(&mut answer) {
        Ok(1) => Ok(answer == [1]),
        Ok(_) => Ok(false),
        Err(error) => {
            ensure!(error.kind() != std::io::ErrorKind::WouldBlock, "the runner does not answer");
            Ok(false)
        }
    }
}

/// The authority of the network, in the hands of whoever forges.
struct Forge {
    issuer: Issuer<'static, KeyPair>,
    /// Carol's, to be imitated.
    claims: Claims,
}

impl Forge {
    fn of(network: &Network, claims: Claims) -> Result<Self> {
        let ca = network.hub_state().join("ca");
        let key = PrivatePkcs8KeyDer::from(fs::read(ca.join("root.key"))?);
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_ED25519)?;
        let root = CertificateDer::from(fs::read(ca.join("root.der"))?);
        Ok(Self { issuer: Issuer::from_ca_cert_der(&root, key)?, claims })
    }

    /// The parameters of a proper certificate of carol, but in this network.
    fn carol(&self, network: &str) -> Result<CertificateParams> {
        let (mut params, now) = (CertificateParams::default(), OffsetDateTime::now_utc());
        params.not_before = now - Duration::hours(1);
        params.not_after = now + Duration::hours(1);
        params.is_ca = IsCa::ExplicitNoCa;
        params.subject_alt_names = vec![
            SanType::DnsName(format!("carol.{network}.mpyc.internal").try_into()?),
            SanType::IpAddress(self.claims.address),
            SanType::URI(format!("spiffe://{network}/party/carol").try_into()?),
        ];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        Ok(params)
    }

    fn sign(&self, params: &CertificateParams) -> Result<Papers> {
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        let certificate = params.signed_by(&key, &self.issuer)?.der().to_vec();
        Ok(Papers { certificate, key: key.serialize_der() })
    }
}

/// The papers in a party's state directory.
fn papers_of(network: &Network, name: &str) -> Result<Papers> {
    let read = |file: &str| {
        let path = network.party(name).state().join("identity").join(file);
        Ok::<_, anyhow::Error>(pem::parse(fs::read(path)?)?.into_contents())
    };
    Ok(Papers { certificate: read("certificate.pem")?, key: read("key.pem")? })
}

#[test]
fn only_a_valid_certificate_of_the_roster_is_let_in() -> Result<()> {
    let network = Network::on_loopback(&["alice", "bob", "carol", "dave"])?;
    network.declare(&demo(SUM))?;
    let rogue = Rogue::new(network.party("carol"))?;
    let forge = Forge::of(&network, rogue.identity.claims().clone())?;
    let (now, proper) = (OffsetDateTime::now_utc(), forge.carol("example")?);
    let with = |change: &dyn Fn(&mut CertificateParams)| {
        let mut params = proper.clone();
        change(&mut params);
        forge.sign(&params)
    };
    let mut self_signed = proper.clone();
    self_signed.is_ca = IsCa::NoCa;
    let own = KeyPair::generate_for(&PKCS_ED25519)?;
    let other_authority = Papers {
        certificate: self_signed.self_signed(&own)?.der().to_vec(),
        key: own.serialize_der(),
    };
    let hub_names = vec![
        SanType::DnsName("hub-2.example.mpyc.internal".try_into()?),
        SanType::IpAddress(forge.claims.address),
        SanType::URI("spiffe://example/hub/2".try_into()?),
    ];
    let refused = [
        ("a party outside the roster", papers_of(&network, "dave")?),
        ("an expired one", with(&|params| params.not_after = now - Duration::minutes(1))?),
        ("one not yet valid", with(&|params| params.not_before = now + Duration::minutes(30))?),
        ("another authority's", other_authority),
        ("another network's", forge.sign(&forge.carol("other")?)?),
        ("a hub's", with(&|params| params.subject_alt_names = hub_names.clone())?),
        (
            "one not for clients",
            with(&|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth])?,
        ),
        (
            "an authority's own",
            with(&|params| params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Constrained(0)))?,
        ),
    ];
    let mut runs = vec![network.party("alice").run("demo")?, network.party("bob").run("demo")?];
    let (at, name) = (address(&runs[0])?, rogue.server_name(0)?);
    for protocol in [Protocol::Control, Protocol::Stream] {
        for (what, papers) in &refused {
            ensure!(!is_let_in(at, &name, protocol, papers)?, "{what} is let in");
        }
        // What else is wrong with them would show here.
        ensure!(is_let_in(at, &name, protocol, &forge.sign(&proper)?)?, "a proper one is refused");
        ensure!(
            is_let_in(at, &name, protocol, &papers_of(&network, "carol")?)?,
            "carol is refused"
        );
    }
    // The session does not mind: it completes with the carol that there is.
    runs.push(network.party("carol").run("demo")?);
    runs.into_iter().try_for_each(common::completes)?;
    Ok(network.end()?)
}

#[test]
fn a_pinned_key_holds_against_the_authority() -> Result<()> {
    let network = common::three()?;
    network.declare(&demo(SUM))?;
    let rogue = Rogue::new(network.party("carol"))?;
    let forge = Forge::of(&network, rogue.identity.claims().clone())?;
    let pinned = format!("[peers.carol]\nkey = \"{}\"\n", rogue.identity.claims().key);
    network
        .party("alice")
        .configure(&format!("network.local-discovery = false\n[listen]\nport = 0\n{pinned}"))?;
    let run = network.party("alice").run("demo")?;
    let (at, name) = (address(&run)?, rogue.server_name(0)?);
    let forged = forge.sign(&forge.carol("example")?)?;
    ensure!(!is_let_in(at, &name, Protocol::Control, &forged)?, "another key is let in");
    ensure!(is_let_in(at, &name, Protocol::Control, &papers_of(&network, "carol")?)?);
    drop(run);
    Ok(network.end()?)
}

#[test]
fn who_comes_back_must_have_the_key_that_was_agreed_on() -> Result<()> {
    let network = common::three()?;
    let runs = common::running(&network, &demo(common::ENDLESS))?;
    let rogue = Rogue::new(network.party("carol"))?;
    let forge = Forge::of(&network, rogue.identity.claims().clone())?;
    // Nobody pinned it, and the authority itself signed the other one.
    let (forged, own) = (forge.sign(&forge.carol("example")?)?, papers_of(&network, "carol")?);
    let (at, name) = (address(&runs[0])?, rogue.server_name(0)?);
    for protocol in [Protocol::Control, Protocol::Stream] {
        ensure!(!is_let_in(at, &name, protocol, &forged)?, "another key is let in");
        ensure!(is_let_in(at, &name, protocol, &own)?, "carol is refused");
    }
    drop(runs);
    Ok(network.end()?)
}

#[test]
fn noise_and_half_open_handshakes_keep_nobody_out() -> Result<()> {
    let network = common::three()?;
    network.declare(&demo(SUM))?;
    let alice = network.party("alice").run("demo")?;
    let at = address(&alice)?;
    let mut held = Vec::new();
    // Half of a first message (RFC 8446, 5.1): a handshake record that announces more.
    for _ in 0..100 {
        let mut half = TcpStream::connect(at)?;
        half.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3])?;
        held.push(half);
    }
    for noise in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 4096], &[22, 3, 1, 0xff, 0xff], &[]] {
        let mut stranger = TcpStream::connect(at)?;
        // The runner may hang up at the first byte.
        let _ = stranger.write_all(noise);
        held.push(stranger);
    }
    let others = [network.party("bob").run("demo")?, network.party("carol").run("demo")?];
    others.into_iter().chain([alice]).try_for_each(common::completes)?;
    Ok(network.end()?)
}

#[tokio::test]
async fn a_first_frame_that_is_too_long_is_not_waited_for() -> Result<()> {
    use tokio::io::AsyncWriteExt;
    let network = common::three()?;
    network.declare(&demo(SUM))?;
    let rogue = Rogue::new(network.party("carol"))?;
    let alice = network.party("alice").run("demo")?;
    let me = NAMES.iter().position(|name| *name == "alice").context("alice")?;
    for protocol in [Protocol::Control, Protocol::Stream] {
        let mut link = rogue.connect(me, address(&alice)?, protocol).await?;
        link.stream.write_all(&[0xff; 64]).await?;
        link.stream.flush().await?;
        rogue::hung_up(&mut link).await?;
    }
    let others = [network.party("bob").run("demo")?, network.party("carol").run("demo")?];
    others.into_iter().chain([alice]).try_for_each(common::completes)?;
    Ok(network.end()?)
}
