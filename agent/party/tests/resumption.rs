//! Guarantee 5 at a runner: what is older than the newest link counts no more, what cannot be is a
//! fault, and a cut is no end. Alice is honest and controls the link; carol speaks the protocol by hand.

mod common;
mod rogue;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use common::{LIMIT, all_blame, completes, demo, running, three};
use mpyc_party_core::agreement::RunId;
use mpyc_party_core::control::{Control, StreamOpening};
use mpyc_party_core::stream::Epoch;
use mpyc_party_lab::party::{Network, Run};
use mpyc_party_transport::Secure;
use rogue::{Rogue, address, say, send};
use rustix::process::Signal;
use serde_json::Value;

/// Says what reaches MPyC, piece by piece.
const LISTENING: &str = "
import mpyc.asyncoro
from mpyc.runtime import mpc
heard = bytearray()
def data_received(self, data):
    heard.extend(data)
    print('heard', heard.hex(), flush=True)
mpyc.asyncoro.MessageExchanger.data_received = data_received
mpc.run(mpc.start())
";

/// Carol, the rogue, is party 0: her MPyC dials the others.
const ROSTER: [&str; 3] = ["carol", "alice", "bob"];

/// Alice and bob in the middle of a run with carol.
struct Scene {
    network: Network,
    runs: Vec<Run>,
    rogue: Rogue,
    links: Vec<(usize, Secure)>,
    run: RunId,
}

impl Scene {
    async fn new() -> Result<Self> {
        let network = three()?;
        let session = demo(LISTENING).parties(&ROSTER).grace(Duration::from_secs(20));
        network.declare(&session)?;
        let rogue = Rogue::new(network.party("carol"))?;
        let runs = vec![network.party("alice").run("demo")?, network.party("bob").run("demo")?];
        let mut links = Vec::new();
        for (run, peer) in runs.iter().zip([1, 2]) {
            links.push((peer, rogue.link(peer, address(run)?).await?));
        }
        let run = rogue.start(&mut links).await?;
        Ok(Self { network, runs, rogue, links, run })
    }

    fn opening(&self, link: u64, attempt: u32, received: u64) -> StreamOpening {
        StreamOpening { run: self.run, cycle: 0, epoch: Epoch { link, attempt }, received }
    }

    async fn carrier(&self, link: u64, attempt: u32) -> Result<(Secure, u64)> {
        let at = address(&self.runs[0])?;
        self.rogue.carrier(1, at, self.opening(link, attempt, 0)).await
    }

    /// The carrier is closed without an answer.
    async fn is_dropped(&self, opening: StreamOpening) -> Result<()> {
        let mut carrier = self.rogue.stream(1, address(&self.runs[0])?, opening).await?;
        rogue::hung_up(&mut carrier).await
    }

    fn alice_hears(&self, hex: &str) -> Result<()> {
        Ok(self.runs[0].wait_for_line(&format!("heard {hex}"), LIMIT)?)
    }
}

#[tokio::test]
async fn a_cut_is_no_end_and_the_next_carrier_goes_on_where_it_was() -> Result<()> {
    let scene = Scene::new().await?;
    let (mut first, received) = scene.carrier(1, 0).await?;
    ensure!(received == 0);
    send(&mut first, 0, &[0, 0, 7, 8]).await?;
    scene.alice_hears("00000708")?;
    drop(first);
    let (mut second, received) = scene.carrier(1, 1).await?;
    ensure!(received == 4, "alice has received {received}");
    send(&mut second, 4, &[9]).await?;
    scene.alice_hears("0000070809")?;
    Ok(())
}

#[tokio::test]
async fn an_older_carrier_delivers_nothing_once_a_newer_one_is_there() -> Result<()> {
    let scene = Scene::new().await?;
    let (mut old, _) = scene.carrier(1, 0).await?;
    send(&mut old, 0, &[0, 0, 1]).await?;
    scene.alice_hears("000001")?;
    let (mut new, received) = scene.carrier(1, 1).await?;
    // Alice may have hung up already.
    let _ = send(&mut old, received, &[66]).await;
    send(&mut new, received, &[2]).await?;
    scene.alice_hears("00000102")?;
    // Neither does one that comes late, and it is nobody's fault.
    scene.is_dropped(scene.opening(1, 0, 0)).await?;
    send(&mut new, received + 1, &[3]).await?;
    scene.alice_hears("0000010203")?;
    Ok(())
}

#[tokio::test]
async fn with_a_new_link_the_old_one_counts_no_more() -> Result<()> {
    let mut scene = Scene::new().await?;
    // Alice has to find, too, that nobody answers on the old link.
    let (mut link, epoch) = scene.rogue.relink(1, address(&scene.runs[0])?, 1).await?;
    ensure!(epoch > 1, "epoch {epoch}");
    // On a link that counts this would be a fault.
    let _ = say(&mut scene.links[0].1, &Control::Use { instance: 0, epoch: 0 }).await;
    let _ = say(&mut scene.links[0].1, &Control::List(Vec::new())).await;
    scene.is_dropped(scene.opening(1, 5, 0)).await?;
    let (mut carrier, _) = scene.carrier(epoch, 0).await?;
    send(&mut carrier, 0, &[0, 0, 5]).await?;
    scene.alice_hears("000005")?;
    // The new one does count.
    say(&mut link, &Control::Entry(scene.rogue.entry([3; 32])?)).await?;
    for outcome in all_blame(&mut scene.runs, Instant::now(), &["carol"], "lost")? {
        ensure!(outcome.text.contains("it was started anew"), "{}", outcome.text);
    }
    Ok(scene.network.end()?)
}

#[tokio::test]
async fn an_impossible_acknowledgement_is_a_fault() -> Result<()> {
    let mut scene = Scene::new().await?;
    let (opening, at) = (scene.opening(1, 0, 1 << 40), address(&scene.runs[0])?);
    let _carrier = scene.rogue.stream(1, at, opening).await?;
    for outcome in all_blame(&mut scene.runs, Instant::now(), &["carol"], "protocol")? {
        ensure!(outcome.text.contains("has received"), "{}", outcome.text);
    }
    Ok(scene.network.end()?)
}

#[tokio::test]
async fn a_position_that_skips_bytes_is_a_fault() -> Result<()> {
    let mut scene = Scene::new().await?;
    let (mut carrier, _) = scene.carrier(1, 0).await?;
    send(&mut carrier, 0, &[0, 0, 1]).await?;
    scene.alice_hears("000001")?;
    send(&mut carrier, 4, &[9]).await?;
    for outcome in all_blame(&mut scene.runs, Instant::now(), &["carol"], "protocol")? {
        ensure!(outcome.text.contains("position 4 where 3 is next"), "{}", outcome.text);
    }
    ensure!(!scene.runs[0].said().contains("00000109"), "what was out of place was delivered");
    Ok(scene.network.end()?)
}

#[test]
fn a_runner_that_stood_still_for_less_than_the_grace_time_goes_on() -> Result<()> {
    let network = three()?;
    let session = demo(common::PATIENT).grace(Duration::from_secs(20));
    let mut runs = running(&network, &session)?;
    let bob = runs[1].runner()?;
    bob.signal(Signal::STOP)?;
    for run in [&runs[0], &runs[2]] {
        run.wait_until("an outage", LIMIT, |event| {
            event["event"] == "away" && event["party"] == "bob"
        })?;
    }
    bob.signal(Signal::CONT)?;
    for run in [&runs[0], &runs[2]] {
        run.wait_until("its end", LIMIT, |event| {
            event["event"] == "back" && event["party"] == "bob"
        })?;
    }
    for (index, run) in runs.iter_mut().enumerate() {
        run.feed(&format!("{index}\n"))?;
    }
    runs.into_iter().try_for_each(completes)?;
    Ok(network.end()?)
}

#[tokio::test]
async fn a_link_that_is_open_and_silent_is_suspect_until_it_speaks() -> Result<()> {
    let mut scene = Scene::new().await?;
    let alice = &scene.runs[0];
    let of_carol = |event: &Value, what: &str| event["event"] == what && event["party"] == "carol";
    // Nothing is closed and nothing is refused: what alice says is just not answered.
    alice.wait_until("suspicion", LIMIT, |event| of_carol(event, "away"))?;
    let link = &mut scene.links[0].1;
    let answers = async { while rogue::next(link).await.is_ok() {} };
    let back = async {
        while !alice.events().iter().any(|(_, event)| of_carol(event, "back")) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = answers => anyhow::bail!("the link is closed: {}", alice.said()),
        back = tokio::time::timeout(LIMIT, back) => back?,
    }
    let links = alice.events().into_iter().filter(|(_, event)| of_carol(event, "link")).count();
    ensure!(links == 1, "there were {links} links: {}", alice.said());
    Ok(())
}
