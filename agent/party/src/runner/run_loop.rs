//! Feeds the run's machine with what happens, and does what it says, until there is a verdict and
//! the others know of it.

mod attention;
mod peers;
mod program;
mod resources;

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use mpyc_party_core::agreement::EncodedEntry;
use mpyc_party_core::roster::PeerIndex;
use mpyc_party_core::run::{Action, Event, Run, Timeouts};
use mpyc_party_core::verdict::{Reason, Stage, Verdict};
use mpyc_party_core::waits::Waits;
use mpyc_party_net::accept::Entrance;
use mpyc_party_net::address_book::AddressBook;
use mpyc_party_net::links::report::PeerReport;
use mpyc_party_net::links::{LinkEvent, Links};
use mpyc_party_net::monitor::NetworkMonitor;
use mpyc_party_net::peers::SessionPeers;
use mpyc_party_sandbox as sandbox;
use tokio::sync::{mpsc, watch};

use attention::{Attention, LISTEN_INTERVAL};
use program::LAST_WORDS;
use resources::Resources;

use super::engine::{self, Launcher, Order};
use super::inspect::{Inspector, Snapshot};
use super::launch::{Launch, abandon};
use super::outages::Outages;
use super::output::{self, Recorded};
use super::streams::{StreamEvent, StreamId, Streams};
use super::view::{Countdown, Notice, View};
use crate::session::record::{RunDirectory, timestamp};
use crate::session::words::with_limit;
use crate::session::{Copied, Definition};

/// How a run ended here.
#[derive(Debug)]
pub struct Outcome {
    /// The verdict.
    pub verdict: Verdict,
    /// The run's record and directory.
    pub run: RunDirectory,
}

/// Everything of one run in progress.
struct RunLoop<'a> {
    me: PeerIndex,
    definition: Definition,
    copied: Copied,
    directory: RunDirectory,
    session_peers: SessionPeers,
    machine: Run,
    began: Instant,
    attention: Attention,
    launcher: Launcher,
    /// What the program will read; taken when it starts.
    input: Option<OwnedFd>,
    process: sandbox::Process,
    links: Links,
    streams: Streams,
    entry: watch::Sender<Option<EncodedEntry>>,
    nonce: [u8; 32],
    /// Why this party cannot run what all agree on, once that is known.
    unmet: Option<Reason>,
    /// Whether this run is in the session's tally.
    counted: bool,
    exited: bool,
    mute: bool,
    verdict: Option<Verdict>,
    /// Nobody has to be told any more.
    left: bool,
    outages: Outages,
    /// Those to whom the way is known to change bytes.
    tampered: BTreeSet<PeerIndex>,
    /// Those to whom the way is known to lose packets of full size.
    stalled: BTreeSet<PeerIndex>,
    view: &'a mut dyn View,
}

/// Runs what was prepared, with `session_peers`, to a verdict. `stop` is told when
/// somebody wants the run to end. Peers come in at `entrance`.
///
/// # Errors
/// Where this machine cannot do its part at all: no port, no randomness, a full disk.
pub async fn run_to_verdict(
    launch: Launch,
    session_peers: SessionPeers,
    entrance: Entrance,
    mut book: AddressBook,
    stop: mpsc::Receiver<()>,
    view: &mut dyn View,
) -> io::Result<Outcome> {
    let Launch { definition, copied, run: mut directory, sandboxed } = launch;
    let (engine, me) = (engine::of(&definition), session_peers.me);
    let program = (sandboxed, engine.converse(&definition, &copied, me));
    let kept = (directory.path.as_path(), definition.settings.output << 20);
    let resources =
        match Resources::take(&session_peers, (entrance, &mut book), program, kept, view) {
            Ok(resources) => resources,
            Err(error) => {
                let abandoned =
                    abandon(&mut directory, session_peers.own_name(), Some(&error), view);
                let verdict = abandoned.map_err(io::Error::other)?;
                return Ok(Outcome { verdict, run: directory });
            }
        };
    let Resources { local, links, link_events, entry, input, output, launcher, process, nonce } =
        resources;
    let (stream_sender, stream_events) = mpsc::unbounded_channel();
    let settings = &definition.settings;
    let timeouts = Timeouts { deadline: settings.deadline, grace: settings.grace };
    let roster = session_peers.roster.clone();
    let streams = Streams::new(engine, me, roster.len(), stream_sender);
    let outages = Outages::new(roster.len());
    let mut run_loop = RunLoop {
        me,
        machine: Run::new(me, roster, session_peers.root(), timeouts),
        launcher,
        input,
        process,
        began: Instant::now(),
        attention: Attention::new(),
        definition,
        copied,
        directory,
        session_peers,
        links,
        streams,
        entry,
        nonce,
        unmet: None,
        counted: false,
        exited: false,
        mute: false,
        verdict: None,
        left: false,
        outages,
        tampered: BTreeSet::new(),
        stalled: BTreeSet::new(),
        view,
    };
    let port = local.tcp.unwrap_or_default();
    book.start(local);
    run_loop.view.show(Notice::Waiting(port, &run_loop.machine.missing()));
    let inspector = Inspector::open(&run_loop.directory.path);
    let streams = stream_events;
    let monitor = NetworkMonitor::watch();
    let mut sources =
        EventSources { links: link_events, streams, output, stop, book, inspector, monitor };
    if let Err(error) = run_loop.drive(&mut sources).await {
        run_loop.happen(Event::Failed(Reason::Local(with_limit(error.to_string()).into()))).await?;
    }
    run_loop.finish(sources).await
}

/// Where events come from, beside the process and its launcher.
struct EventSources {
    links: mpsc::Receiver<LinkEvent>,
    streams: mpsc::UnboundedReceiver<StreamEvent>,
    output: mpsc::Receiver<Recorded>,
    stop: mpsc::Receiver<()>,
    book: AddressBook,
    inspector: Inspector,
    monitor: NetworkMonitor,
}

impl RunLoop<'_> {
    /// Takes events until there is a verdict.
    async fn drive(&mut self, sources: &mut EventSources) -> io::Result<()> {
        let EventSources { links, streams, output, stop, book, inspector, monitor } = sources;
        self.begin().await?;
        while self.verdict.is_none() {
            self.listen();
            self.count_down();
            let tick = self.tick();
            let running = !self.exited;
            tokio::select! {
                event = self.process.next_event(), if running => {
                    self.process(event?, output).await?;
                }
                report = self.launcher.next(), if running && !self.mute => {
                    self.report(report).await?;
                }
                Some(event) = links.recv() => {
                    if event.is_loss() {
                        book.refresh();
                    }
                    self.link(event).await?;
                }
                Some(event) = streams.recv() => self.stream(event).await?,
                Some(recorded) = output.recv() => self.recorded(recorded).await?,
                found = book.next() => self.found(found),
                error = self.links.failed() => return Err(error),
                gone = monitor.next() => {
                    book.moved();
                    self.links.moved(&gone);
                }
                asked = inspector.next() => {
                    // Whoever asked may have gone.
                    let _ = asked.send(self.snapshot(book));
                }
                Some(()) = stop.recv() => self.happen(Event::Failed(Reason::Stopped)).await?,
                () = tokio::time::sleep_until(tick) => {
                    self.happen(Event::Isolated(self.isolated_by(book))).await?;
                }
            }
        }
        Ok(())
    }

    /// Tells the machine where this loop was held up, by whatever it was, and could not listen.
    fn listen(&mut self) {
        if let Some(deaf) = self.attention.renew() {
            self.machine.listen_anew(self.began.elapsed(), deaf);
        }
    }

    /// When the machine wants to look at the clock, and this loop to go round.
    fn tick(&self) -> tokio::time::Instant {
        let now = self.began.elapsed();
        let round = now + LISTEN_INTERVAL;
        let next = self.machine.next_tick().map_or(round, |next| next.min(round));
        // The countdown has whole seconds.
        let second = Duration::from_secs(now.as_secs() + 1);
        let next = if self.is_waiting() { next.min(second) } else { next };
        (self.began + next).into()
    }

    /// Whether somebody or something is waited for before the program can start.
    fn is_waiting(&self) -> bool {
        self.verdict.is_none() && self.machine.stage() < Stage::Run
    }

    /// Shows who is waited for.
    fn count_down(&mut self) {
        if !self.is_waiting() {
            return self.view.count_down(None);
        }
        let name = |peer| self.session_peers.roster.get(peer);
        let preparing = self.machine.waits() == Waits::Preparing;
        // Who has told what it waits for has a link to this party, and once that is ready has all of it.
        let own = (!preparing).then(|| self.session_peers.own_name());
        let waits = |peer| {
            let waits = self.machine.waits_of(peer);
            Some((name(peer)?, own.map_or_else(|| waits.clone(), |own| waits.without(own))))
        };
        let countdown = Countdown {
            left: self.machine.time_left(self.began.elapsed()),
            missing: &self.machine.missing(),
            preparing,
            waits: self.session_peers.peers().filter_map(waits).collect(),
        };
        self.view.count_down(Some(countdown));
    }

    /// The run as it is now, for those who look on.
    fn snapshot(&self, book: &AddressBook) -> Snapshot {
        let (record, settings) = (&self.directory.record, &self.definition.settings);
        let (now, stage) = (self.began.elapsed(), self.machine.stage());
        let entered = record.stages.last().map_or(0.0, |(_, at)| *at);
        let left = self.machine.time_left(now).as_secs_f64();
        Snapshot {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            process: std::process::id(),
            session: self.definition.name.clone(),
            party: self.session_peers.own_name().clone(),
            run: record.run.clone(),
            started: record.started.clone(),
            stage,
            in_stage_s: now.as_secs_f64() - entered,
            deadline_s: (stage < Stage::Run).then_some(left),
            grace_s: settings.grace.as_secs_f64(),
            roster: self.session_peers.roster.clone(),
            peers: self.peers(book),
            waits: self.machine.waits(),
            hubs: book.hubs(),
            nat: book.nat(),
            candidates: book.own().iter().map(ToString::to_string).collect(),
            versions: record.versions.clone(),
        }
    }

    /// Each peer's link, by what the peer was found, and what it waits for.
    fn peers(&self, book: &AddressBook) -> Vec<PeerReport> {
        let found_by = |peer| book.addresses(peer).found_by().into_iter().map(str::to_owned);
        let reports = self.session_peers.peers().zip(self.links.reports());
        reports
            .map(|(peer, report)| PeerReport {
                found_by: found_by(peer).collect(),
                waits: self.machine.waits_of(peer).clone(),
                ..report
            })
            .collect()
    }

    async fn begin(&mut self) -> io::Result<()> {
        self.launcher.send(Order::Prepare, None).await?;
        self.directory.record.party = Some(self.session_peers.own_name().clone());
        self.directory.ready();
        self.directory.record.enter(Stage::Find, Duration::ZERO);
        Ok(())
    }

    /// Gives the machine an event and does what it says.
    async fn happen(&mut self, event: Event) -> io::Result<()> {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            self.listen();
            let now = self.began.elapsed();
            let actions = self.machine.handle(now, event);
            self.directory.record.enter(self.machine.stage(), now);
            for action in actions {
                events.extend(self.act(action).await?);
            }
        }
        Ok(())
    }

    /// Does one thing; what it leads to at once is returned.
    async fn act(&mut self, action: Action) -> io::Result<Option<Event>> {
        match action {
            Action::Send(peer, message) => self.links.send(peer, message),
            Action::Unlink(peer) => self.links.unlink(peer),
            Action::Recognised(peer) => {
                self.streams.recognised(&self.links, peer);
                let reports = self.session_peers.peers().zip(self.links.reports());
                let path = reports.into_iter().find_map(|(of, r)| r.path.filter(|_| of == peer));
                self.back(peer, path.as_ref());
            }
            Action::Agreed(run) => {
                self.streams.agreed(run);
                for peer in self.session_peers.peers() {
                    if let Some(key) = self.machine.key(peer) {
                        self.links.pin(peer, key);
                    }
                }
                self.directory.record.run = Some(run.to_string());
                self.view.show(Notice::Agreed(&run));
                return Ok(self.unmet.take().map(Event::Failed));
            }
            Action::Start => {
                if let Some(input) = self.input.take() {
                    output::feed(input);
                }
                self.launcher.send(Order::Go, None).await?;
                self.view.count_down(None);
                self.view.show(Notice::Running(self.began.elapsed()));
            }
            Action::Dial { peer, cycle, newest } => {
                let stream = StreamId { peer, cycle };
                let outcome = self.streams.asked(&self.links, stream, newest);
                return Ok(outcome.err().map(|reason| Event::Faulty(peer, reason)));
            }
            Action::Waits { party, before, now } => {
                if let Some(name) = self.session_peers.roster.get(party) {
                    self.view.show(Notice::Waits(name, &before, &now));
                }
            }
            Action::FailedLate(reason) => {
                self.view
                    .show(Notice::Warning(&format!("the program had completed, then: {reason}")));
            }
            Action::End(verdict) => self.verdict = Some(verdict),
            Action::Leave => self.left = true,
        }
        Ok(None)
    }

    /// Ends what is still there, writes the record, and stays until the others know.
    async fn finish(mut self, mut sources: EventSources) -> io::Result<Outcome> {
        let verdict = self.verdict.clone().ok_or_else(|| io::Error::other("no verdict"))?;
        self.directory.record.took_s = Some(self.began.elapsed().as_secs_f64());
        self.view.count_down(None);
        self.process.kill();
        while !self.exited {
            if let sandbox::Event::Exited(_) = self.process.next_event().await? {
                self.exited = true;
            }
        }
        // The verdict comes in time, however long the disk takes.
        let recorded = self.drain(&mut sources.output, LAST_WORDS).await?;
        self.view.show(Notice::Ended(&verdict));
        if !recorded {
            self.count_output(&mut sources.output).await;
        }
        let peers = self.peers(&sources.book);
        let record = &mut self.directory.record;
        record.peers = peers;
        (record.verdict, record.ended) = (Some(verdict.clone()), Some(timestamp()));
        record.outages = self.outages.record(&self.session_peers.roster);
        // The others hear of the end however long the disk takes.
        let written = self.directory.keep();
        let (written, parted) = tokio::join!(written, self.part(&mut sources));
        parted?;
        // Before its socket goes, or it would be at the hub once more, and a proposal.
        drop(sources.book);
        // Last, for a peer that does not hang up may hold this up for a moment.
        self.links.close().await;
        match written {
            Err(why) if why.is_for_lack_of_room() => {
                // What the copies took may be enough.
                self.directory.clear_copies();
                self.directory.keep().await.map_err(io::Error::other)?;
            }
            written => written.map_err(io::Error::other)?,
        }
        self.directory.clear_copies();
        Ok(Outcome { verdict, run: self.directory })
    }
}
