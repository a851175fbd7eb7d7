//! What a party of the roster that means ill gets for it: a verdict with its name. It cannot be
//! another index, cannot make honest parties run different things, and cannot bring a runner down.

mod common;
mod rogue;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use common::{SUM, all_blame, blames, demo, fails};
use mpyc_party_core::agreement::{EncodedEntry, RunId};
use mpyc_party_core::control::{Control, MAX_CONTROL_BYTES, StreamOpening};
use mpyc_party_core::stream::Epoch;
use mpyc_party_core::verdict::{Failure, Reason, Stage};
use mpyc_party_lab::party::{Network, Run, Session};
use mpyc_party_transport::Secure;
use rogue::{Rogue, address, say};
use tokio::io::AsyncWriteExt;

/// Says what reaches MPyC.
const LISTENING: &str = "
import mpyc.asyncoro
from mpyc.runtime import mpc
original = mpyc.asyncoro.MessageExchanger.data_received
def data_received(self, data):
    print('received something from', self.peer_pid)
    original(self, data)
mpyc.asyncoro.MessageExchanger.data_received = data_received
print('running')
mpc.run(mpc.start())
";

/// Carol, the rogue, is party 0: her MPyC dials the others.
const ROSTER: [&str; 3] = ["carol", "alice", "bob"];
const OTHERS: [usize; 2] = [1, 2];

fn session() -> Session {
    demo(LISTENING).parties(&ROSTER)
}

/// Alice and bob run the session, honestly; carol does not.
async fn among_honest(
    network: &Network,
    session: &Session,
) -> Result<(Vec<Run>, Rogue, Vec<(usize, Secure)>)> {
    network.declare(session)?;
    let rogue = Rogue::new(network.party("carol"))?;
    let runs = vec![network.party("alice").run("demo")?, network.party("bob").run("demo")?];
    let mut links = Vec::new();
    for (run, peer) in runs.iter().zip(OTHERS) {
        links.push((peer, rogue.link(peer, address(run)?).await?));
    }
    Ok((runs, rogue, links))
}

fn first(run: RunId) -> StreamOpening {
    StreamOpening { run, cycle: 0, epoch: Epoch { link: 1, attempt: 0 }, received: 0 }
}

#[tokio::test]
async fn an_mpyc_that_claims_another_index_reaches_nobody() -> Result<()> {
    let network = common::three()?;
    for (claim, reaches) in [([2, 0], false), ([0, 1], false), ([0, 0], true)] {
        let (mut runs, rogue, mut links) = among_honest(&network, &session()).await?;
        let run = rogue.start(&mut links).await?;
        let (mut stream, _) = rogue.carrier(1, address(&runs[0])?, first(run)).await?;
        let mut hello = claim.to_vec();
        hello.extend([7; 16]);
        rogue::send(&mut stream, 0, &hello).await?;
        if reaches {
            // The true index does reach it: the test would notice the others.
            runs[0].wait_for_line("received something from None", common::LIMIT)?;
            continue;
        }
        let claimed = u16::from_le_bytes(claim);
        for outcome in all_blame(&mut runs, Instant::now(), &["carol"], "claimed-index")? {
            let index = &outcome.failure()["reason"]["claimed-index"];
            ensure!(*index == claimed, "{}", outcome.text);
        }
        ensure!(!runs[0].said().contains("received"), "{}", runs[0].said());
    }
    Ok(network.end()?)
}

/// An entry that is the same for nobody.
fn another_nonce(rogue: &Rogue, peer: u8) -> Result<EncodedEntry> {
    rogue.entry([peer; 32])
}

/// One that is not the same only in what this version does not know.
fn another_end(rogue: &Rogue, peer: u8) -> Result<EncodedEntry> {
    let entry = rogue.entry([7; 32])?;
    Ok([entry.as_bytes(), &[peer]].concat().into())
}

#[tokio::test]
async fn two_stories_for_two_parties_are_noticed_by_both() -> Result<()> {
    let network = common::three()?;
    for told in [another_nonce, another_end] {
        let (mut runs, rogue, mut links) = among_honest(&network, &session()).await?;
        for (peer, link) in &mut links {
            say(link, &Control::Entry(told(&rogue, u8::try_from(*peer)?)?)).await?;
        }
        let due = Instant::now();
        for run in &mut runs {
            let outcome = fails(run, due)?;
            ensure!(outcome.reason() == "inconsistent", "{}", outcome.text);
            ensure!(outcome.who().contains(&"carol"), "{}", outcome.text);
            ensure!(!run.said().contains("running"), "{}", run.said());
        }
    }
    Ok(network.end()?)
}

#[tokio::test]
async fn what_is_said_out_of_turn_is_a_fault() -> Result<()> {
    let network = common::three()?;
    network.declare(&session())?;
    let rogue = Rogue::new(network.party("carol"))?;
    let entry = rogue.entry([1; 32])?;
    let changed = rogue.entry([2; 32])?;
    let (list, another_list) = (Control::List(vec![entry.clone()]), Control::List(Vec::new()));
    let another = Rogue::new(network.party("bob"))?.entry([1; 32])?;
    let cut = entry.as_bytes()[..100].to_vec();
    let wrongs: [&[Control]; 7] = [
        &[Control::Done],
        &[Control::Dial { cycle: 0, newest: Epoch::default() }],
        &[list, another_list],
        &[Control::Use { instance: 1, epoch: 9 }],
        &[Control::Entry(another)],
        &[Control::Entry(cut.into())],
        &[Control::Entry(entry), Control::Entry(changed)],
    ];
    for wrong in wrongs {
        let mut run = network.party("alice").run("demo")?;
        let mut link = rogue.link(1, address(&run)?).await?;
        // Alice is ready to compare when her own entry comes.
        ensure!(matches!(rogue::next(&mut link).await?, Control::Entry(_)));
        for message in wrong {
            say(&mut link, message).await?;
        }
        rogue::hung_up(&mut link).await?;
        drop(link);
        blames(&mut run, Instant::now(), &["carol"], "protocol")?;
    }
    Ok(network.end()?)
}

/// A run that carol takes part in and then ends; returns its id.
async fn former_run(network: &Network) -> Result<RunId> {
    let (mut runs, rogue, mut links) =
        among_honest(network, &session().grace(Duration::from_secs(1))).await?;
    let run = rogue.start(&mut links).await?;
    drop(links);
    all_blame(&mut runs, Instant::now() + Duration::from_secs(1), &["carol"], "lost")?;
    Ok(run)
}

#[tokio::test]
async fn a_second_stream_of_a_cycle_is_a_fault() -> Result<()> {
    let network = common::three()?;
    let (mut runs, rogue, mut links) = among_honest(&network, &session()).await?;
    let (run, alice) = (rogue.start(&mut links).await?, address(&runs[0])?);
    let _held = rogue.stream(1, alice, first(run)).await?;
    let _second = rogue.stream(1, alice, first(run)).await?;
    all_blame(&mut runs, Instant::now(), &["carol"], "protocol")?;
    Ok(network.end()?)
}

#[tokio::test]
async fn a_stream_of_a_former_run_is_a_fault() -> Result<()> {
    let network = common::three()?;
    let former = former_run(&network).await?;
    let (mut runs, rogue, mut links) = among_honest(&network, &session()).await?;
    ensure!(rogue.start(&mut links).await? != former, "a run's id was used twice");
    let _held = rogue.stream(1, address(&runs[0])?, first(former)).await?;
    for outcome in all_blame(&mut runs, Instant::now(), &["carol"], "protocol")? {
        ensure!(outcome.text.contains("a stream of another run"), "{}", outcome.text);
    }
    Ok(network.end()?)
}

#[tokio::test]
async fn who_is_ready_for_a_former_run_is_not_ready() -> Result<()> {
    let network = common::three()?;
    let former = former_run(&network).await?;
    let (mut runs, rogue, mut links) = among_honest(&network, &session()).await?;
    rogue.agree(&mut links).await?;
    for (_, link) in &mut links {
        say(link, &Control::Ready(former)).await?;
    }
    for outcome in all_blame(&mut runs, Instant::now(), &["carol"], "protocol")? {
        ensure!(outcome.text.contains("ready for another run"), "{}", outcome.text);
    }
    Ok(network.end()?)
}

#[tokio::test]
async fn who_passes_a_story_on_is_named_with_it() -> Result<()> {
    let network = common::three()?;
    let (mut runs, rogue, mut links) = among_honest(&network, &session()).await?;
    rogue.start(&mut links).await?;
    let lie = Failure {
        who: vec!["bob".parse()?],
        stage: Stage::Run,
        reason: Reason::Stopped,
        observer: "bob".parse()?,
        via: None,
    };
    say(&mut links[0].1, &Control::Abort(lie)).await?;
    let outcome = blames(&mut runs[0], Instant::now(), &["bob"], "stopped")?;
    ensure!(outcome.failure()["via"] == "carol", "{}", outcome.text);
    ensure!(outcome.text.contains("as carol reports"), "{}", outcome.text);
    Ok(network.end()?)
}

#[tokio::test]
async fn one_who_says_nothing_is_late_at_the_deadline() -> Result<()> {
    let (network, deadline) = (common::three()?, Duration::from_secs(3));
    // As long as it keeps silent altogether, it is an outage; so this one keeps up its heartbeat.
    let patient = session().deadline(deadline).grace(Duration::from_secs(2));
    let (mut runs, _, mut links) = among_honest(&network, &patient).await?;
    let due = Instant::now() + deadline;
    let beating = async {
        loop {
            for (_, link) in &mut links {
                say(link, &Control::Beat(0)).await?;
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    let verdicts =
        tokio::task::spawn_blocking(move || all_blame(&mut runs, due, &["carol"], "late"));
    let ended: Result<()> = tokio::select! {
        verdicts = verdicts => verdicts?.map(drop),
        // The runners hang up when they have their verdicts, maybe before these are read.
        _ = async { let _: Result<()> = beating.await; std::future::pending::<()>().await } => Ok(()),
    };
    ended?;
    Ok(network.end()?)
}

/// Pseudo-random numbers (Marsaglia's xorshift), the same in each run of the test.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, most: u64) -> Vec<u8> {
        (0..=self.next() % most).map(|_| self.next().to_le_bytes()[0]).collect()
    }

    /// The frame of a message: a proper one, or bytes that look like the beginning of one.
    fn frame(&mut self, entry: &Control) -> Result<Vec<u8>> {
        let body = match self.next() % 64 {
            0 => self.bytes(200),
            1 => [vec![u8::try_from(self.next() % 8)?], self.bytes(64)].concat(),
            2 => postcard::to_stdvec(entry)?,
            3 => postcard::to_stdvec(&Control::Dial {
                cycle: u32::try_from(self.next() >> 32)?,
                newest: Epoch::default(),
            })?,
            _ => postcard::to_stdvec(&Control::Beat(0))?,
        };
        Ok([&u32::try_from(body.len())?.to_be_bytes()[..], &body].concat())
    }
}

#[tokio::test]
async fn ten_thousand_random_messages_bring_no_runner_down() -> Result<()> {
    let network = common::three()?;
    // A broken frame only costs the link, so that carol then is missing.
    let deadline = Duration::from_millis(1500);
    network.declare(&session().deadline(deadline))?;
    let rogue = Rogue::new(network.party("carol"))?;
    let entry = Control::Entry(rogue.entry([1; 32])?);
    for seed in 1..=10 {
        let mut numbers = Numbers(seed);
        let mut run = network.party("alice").run("demo")?;
        let mut link = rogue.link(1, address(&run)?).await?;
        for _ in 0..1000 {
            // Once it has a verdict the runner hangs up.
            if link.stream.write_all(&numbers.frame(&entry)?).await.is_err() {
                break;
            }
        }
        let _ = link.stream.flush().await;
        rogue::hung_up(&mut link).await?;
        drop(link);
        let outcome = fails(&mut run, Instant::now() + deadline)?;
        ensure!(outcome.who().contains(&"carol"), "seed {seed}: {}", outcome.text);
        ensure!(!run.said().contains("panicked"), "seed {seed}: {}", run.said());
    }
    Ok(network.end()?)
}

#[tokio::test]
async fn a_message_that_is_too_long_ends_its_link_and_nothing_else() -> Result<()> {
    let network = common::three()?;
    network.declare(&demo(SUM).parties(&ROSTER))?;
    let rogue = Rogue::new(network.party("carol"))?;
    let runs = vec![network.party("alice").run("demo")?, network.party("bob").run("demo")?];
    let mut link = rogue.link(1, address(&runs[0])?).await?;
    let length = u32::try_from(MAX_CONTROL_BYTES + 1)?;
    link.stream.write_all(&length.to_be_bytes()).await?;
    link.stream.flush().await?;
    rogue::hung_up(&mut link).await?;
    // The honest carol still can take part.
    let carol = network.party("carol").run("demo")?;
    runs.into_iter().chain([carol]).try_for_each(common::completes)?;
    Ok(network.end()?)
}

/// Says to its runner, in the launcher's name, what the launcher never said.
const INVENTIVE: &str = "
import json, os, select
report = json.dumps({'type': 'stopped', 'elapsed_s': 0.5, 'bytes_sent': 2**63}).encode()
for _ in range(20000):
    select.select([], [3], [])
    os.write(3, report)
";

#[test]
fn a_program_that_invents_reports_fills_no_record() -> Result<()> {
    let network = common::three()?;
    network.declare(&demo(&(SUM.to_owned() + INVENTIVE)))?;
    network.run("demo")?.into_iter().try_for_each(common::completes)?;
    let bob = network.party("bob");
    let shown = bob.command().args(["session", "show", "demo"]).output()?;
    let shown = String::from_utf8(shown.stdout)?;
    ensure!(shown.contains("MPyC ran 1000 times"), "{shown}");
    Ok(network.end()?)
}
