//! What comes from the peers: where they are, links, messages, streams; and the farewell.

use std::io;

use mpyc_party_core::roster::PeerIndex;
use mpyc_party_core::run::Event;
use mpyc_party_core::verdict::{Reason, Remark, Stage};
use mpyc_party_net::address_book::{AddressBook, PeerAddresses};
use mpyc_party_net::links::report::PathReport;
use mpyc_party_net::links::{LinkEvent, Linked};

use super::super::engine::Order;
use super::super::streams::{Delivery, StreamEvent};
use super::super::view::Notice;
use super::{EventSources, RunLoop};
use crate::config::Start;
use crate::session::words::names;

impl RunLoop<'_> {
    /// Something new is known about where a peer is.
    pub(super) fn found(&mut self, (peer, addresses): (PeerIndex, PeerAddresses)) {
        self.links.targets(peer, addresses.targets().cloned().collect());
    }

    /// What keeps this party from all hubs, for a verdict where others are not found.
    pub(super) fn isolated_by(&self, book: &AddressBook) -> Option<Reason> {
        if let Some(why) = book.isolated_by() {
            return Some(Reason::Lost(why.into()));
        }
        let (why, missing) = (book.never_reached()?, names(&self.machine.missing()));
        let text = format!("no hub could be reached: {why}; not there: {missing}");
        Some(Reason::Local(text.into()))
    }

    pub(super) async fn link(&mut self, event: LinkEvent) -> io::Result<()> {
        match event {
            LinkEvent::Linked(peer, linked) => self.linked(peer, &linked).await,
            LinkEvent::Unlinked(peer, why) => {
                self.notice_tampering(peer);
                self.streams.unlinked(peer);
                self.away(peer, true);
                self.happen(Event::Unlinked(peer, why)).await
            }
            LinkEvent::Suspect(peer) => {
                self.away(peer, false);
                Ok(())
            }
            LinkEvent::Well(peer) => {
                self.back(peer, None);
                Ok(())
            }
            LinkEvent::Stalled(peer, why) => {
                self.notice_stall(peer, &why);
                self.happen(Event::Stalled(peer, why)).await
            }
            LinkEvent::Received(peer, message) => self.happen(Event::Received(peer, message)).await,
            LinkEvent::Stream(peer, opening, secure) => {
                match self.streams.opened(&self.links, peer, opening, *secure) {
                    Ok(()) => Ok(()),
                    Err(reason) => self.happen(Event::Faulty(peer, reason)).await,
                }
            }
        }
    }

    async fn linked(&mut self, peer: PeerIndex, linked: &Linked) -> io::Result<()> {
        let before = self.machine.missing();
        self.links.saw(peer, linked);
        self.streams.linked(peer, linked);
        self.happen(Event::Linked(peer, linked.key)).await?;
        let missing = self.machine.missing();
        if self.verdict.is_none()
            && let Some(name) = self.session_peers.roster.get(peer)
        {
            let well = self.outages.is_well(peer);
            let found = before.contains(name) && well;
            let time = self.began.elapsed();
            self.view.show(Notice::Link(name, &linked.path, time, found || !well));
            if found {
                self.view.show(Notice::Linked(name, &linked.path, &missing));
            }
        }
        // From the agreement on it may be another instance of the peer, until it has said its entry.
        if self.machine.stage() == Stage::Find {
            self.back(peer, Some(&linked.path));
        }
        Ok(())
    }

    /// The link to `peer` does not work; before the agreement only one that has ended counts.
    fn away(&mut self, peer: PeerIndex, ended: bool) {
        let Some(name) = self.session_peers.roster.get(peer) else { return };
        if self.verdict.is_some() {
            return;
        }
        if self.machine.stage() == Stage::Find {
            if ended {
                self.view.show(Notice::Unlinked(name));
            }
        } else if self.outages.begin(peer) {
            self.view.show(Notice::Away(name));
        }
    }

    /// Warns, once for each peer, where something on the way changes what it carries.
    fn notice_tampering(&mut self, peer: PeerIndex) {
        let Some(name) = self.session_peers.roster.get(peer) else { return };
        if self.verdict.is_some() || self.links.traffic(peer).tampered() == 0 {
            return;
        }
        if !self.tampered.insert(peer) {
            return;
        }
        let text = format!(
            "bytes between this party and {name} were changed on the way: they are dropped and sent \
             again, but something in the network or a relay is broken or hostile"
        );
        self.view.show(Notice::Warning(&text));
        self.directory.record.warnings.push(text);
    }

    /// Warns, once for each peer, where packets do not get through.
    fn notice_stall(&mut self, peer: PeerIndex, why: &Remark) {
        let Some(name) = self.session_peers.roster.get(peer) else { return };
        if self.verdict.is_none() && self.stalled.insert(peer) {
            let text = format!("{name}: {why}; mpyc-party doctor tells which packets pass");
            self.view.show(Notice::Warning(&text));
            self.directory.record.warnings.push(text);
        }
    }

    pub(super) fn back(&mut self, peer: PeerIndex, path: Option<&PathReport>) {
        if let Some(time) = self.outages.end(peer)
            && self.verdict.is_none()
            && let Some(name) = self.session_peers.roster.get(peer)
        {
            self.view.show(Notice::Back(name, time, path));
        }
    }

    pub(super) async fn stream(&mut self, event: StreamEvent) -> io::Result<()> {
        match event {
            StreamEvent::Attached(stream) => {
                if self.streams.begins(stream) {
                    self.happen(Event::StreamBegan(stream.peer)).await?;
                }
                let deliveries = self.streams.attached(stream);
                self.deliver(deliveries).await
            }
            StreamEvent::Cut { stream, epoch, stalled } => {
                self.notice_tampering(stream.peer);
                if stalled {
                    self.links.stalled(stream.peer, epoch.link);
                }
                self.streams.cut(stream, epoch);
                Ok(())
            }
            StreamEvent::Due { stream, epoch } => {
                self.streams.due(&self.links, stream, epoch);
                Ok(())
            }
            StreamEvent::Finished(stream) => {
                self.streams.finished(stream);
                Ok(())
            }
            StreamEvent::Ended(peer) => self.happen(Event::StreamEnded(peer)).await,
            StreamEvent::Faulty(peer, reason) => self.happen(Event::Faulty(peer, reason)).await,
        }
    }

    /// Hands connections to the launcher. With the first one the run counts, if it is of a session
    /// that others may start.
    pub(super) async fn deliver(&mut self, deliveries: Vec<Delivery>) -> io::Result<()> {
        // One that has ended needs none.
        if self.exited || deliveries.is_empty() {
            return Ok(());
        }
        if self.definition.settings.start == Start::OnProposal && !self.counted {
            self.directory.count().await.map_err(io::Error::other)?;
            self.counted = true;
        }
        for Delivery { peer, descriptor } in deliveries {
            self.launcher.send(Order::Connection(peer), Some(descriptor)).await?;
        }
        Ok(())
    }

    /// Stays until the peers have heard how it ended here, as long as the machine finds right.
    pub(super) async fn part(&mut self, sources: &mut EventSources) -> io::Result<()> {
        let EventSources { links, streams, stop, book, monitor, .. } = sources;
        while !self.left {
            self.listen();
            let tick = self.tick();
            tokio::select! {
                Some(event) = links.recv() => self.link(event).await?,
                Some(event) = streams.recv() => self.stream(event).await?,
                found = book.next() => self.found(found),
                gone = monitor.next() => {
                    book.moved();
                    self.links.moved(&gone);
                }
                Some(()) = stop.recv() => self.happen(Event::Failed(Reason::Stopped)).await?,
                () = tokio::time::sleep_until(tick) => self.happen(Event::Tick).await?,
            }
        }
        Ok(())
    }
}
