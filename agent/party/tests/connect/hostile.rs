//! A party that is allowed, and does not keep to the protocol or wants too much.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mpyc_party::identity::Store;
use mpyc_party_core::addr::Address;
use mpyc_party_core::expose::{Answer, Ask, MAX_MESSAGE_BYTES, Refusal};
use mpyc_party_core::sni::Tag;
use mpyc_party_lab::party::{Network, Party};
use mpyc_party_net::client::relay;
use mpyc_party_transport::{Expect, Protocol, Secure, connect, frame};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::machine::{Machine, free_port};
use crate::service::{echo, expose, exposing};

/// Bob, who exposes a service to alice, and where he is.
fn exposing_bob() -> Result<(Network, Machine, SocketAddr, u16)> {
    let network = Network::on_loopback(&["bob", "alice"])?;
    let (port, public) = (echo()?, free_port()?);
    let exposing = exposing(port, "parties = [\"alice\"]");
    let bob = network.party("bob");
    bob.configure(&exposing.replace("listen.port = 0", &format!("listen.port = {public}")))?;
    let machine = expose(bob)?;
    Ok((network, machine, (Ipv4Addr::LOCALHOST, public).into(), port))
}

/// A connection of `party` that has been let in.
async fn enter(party: &Party, at: SocketAddr) -> Result<Secure> {
    let identity = Store::new(&party.state()).load()?;
    let bob = "bob".parse()?;
    let name = Tag::exposed(&identity.root().fingerprint, &bob).server_name();
    let expect = Expect::Parties(vec![(bob, None)]);
    let tcp = TcpStream::connect(at).await?;
    Ok(connect(tcp, &identity, Protocol::Expose, &expect, &name).await?)
}

async fn say(secure: &mut Secure, ask: &Ask) -> Result<()> {
    Ok(frame::write(&mut secure.stream, ask, MAX_MESSAGE_BYTES).await?)
}

async fn hear(secure: &mut Secure) -> Result<Answer> {
    frame::read(&mut secure.stream, MAX_MESSAGE_BYTES).await?.context("no answer")
}

#[tokio::test]
async fn who_says_nothing_or_nonsense_is_put_out() -> Result<()> {
    let (network, machine, bob, port) = exposing_bob()?;
    let alice = network.party("alice");
    let begun = Instant::now();
    let mut silent = enter(alice, bob).await?;
    let mut rambling = enter(alice, bob).await?;
    rambling.stream.write_all(&[0xff; 64]).await?;
    // Nobody is told to dial over a connection that is direct already.
    let mut meeting = enter(alice, bob).await?;
    let somebody = Address::new("quic", SocketAddr::from(([203, 0, 113, 1], 9)));
    say(&mut meeting, &Ask::Meet(vec![somebody])).await?;
    for one in [&mut rambling, &mut meeting, &mut silent] {
        ensure!(hear(one).await.is_err());
    }
    ensure!(begun.elapsed().as_secs() < 10, "only after {:?}", begun.elapsed());
    let mut proper = enter(alice, bob).await?;
    say(&mut proper, &Ask::Port(port)).await?;
    ensure!(hear(&mut proper).await? == Answer::Connected);
    drop((proper, machine));
    Ok(network.end()?)
}

#[tokio::test]
async fn nobody_has_this_machine_dial_itself() -> Result<()> {
    let (network, machine, _, port) = exposing_bob()?;
    let (identity, bob) = (Store::new(&network.party("alice").state()).load()?, "bob".parse()?);
    let tag = Tag::exposed(&identity.root().fingerprint, &bob);
    let hub = network.hub_address().to_string();
    let pipe = relay::call(&hub, &identity, tag, &bob).await?;
    let (expect, name) = (Expect::Parties(vec![(bob, None)]), tag.server_name());
    let mut secure = connect(pipe, &identity, Protocol::Expose, &expect, &name).await?;
    let dialled = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let somebody = Address::new("quic", dialled.local_addr()?);
    say(&mut secure, &Ask::Meet(vec![somebody])).await?;
    say(&mut secure, &Ask::Port(port)).await?;
    ensure!(hear(&mut secure).await? == Answer::Connected);
    let packet = timeout(Duration::from_secs(1), dialled.recv(&mut [0; 2048])).await;
    ensure!(packet.is_err(), "bob dials his own machine");
    drop((secure, machine));
    Ok(network.end()?)
}

#[tokio::test]
async fn one_party_has_so_many_connections_and_no_more() -> Result<()> {
    let (network, machine, bob, port) = exposing_bob()?;
    let alice = network.party("alice");
    let mut held = Vec::new();
    let refused = loop {
        let mut secure = enter(alice, bob).await?;
        say(&mut secure, &Ask::Port(port)).await?;
        match hear(&mut secure).await? {
            Answer::Connected => held.push(secure),
            Answer::Refused(refused) => break refused,
        }
        ensure!(held.len() < 100, "there is no bound");
    };
    ensure!(refused == Refusal::PartyFull && held.len() == 32, "{refused} after {}", held.len());
    held.pop();
    machine.tells("alice disconnected from echo")?;
    let mut secure = enter(alice, bob).await?;
    say(&mut secure, &Ask::Port(port)).await?;
    ensure!(hear(&mut secure).await? == Answer::Connected);
    drop((held, secure, machine));
    Ok(network.end()?)
}
