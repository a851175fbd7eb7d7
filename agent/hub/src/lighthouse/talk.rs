//! What is said over one connection to a hub.

use std::convert::Infallible;
use std::time::Duration;

use mpyc_party_core::candidate::{self, Vantage};
use mpyc_party_core::lighthouse::{Answer, LONGEST, Over, Request};
use mpyc_party_core::name::PartyName;
use mpyc_party_core::sni::Tag;
use mpyc_party_transport::frame;
use tokio::io::{AsyncRead, AsyncWrite, split};
use tokio::sync::watch;
use tokio::time::{Instant, interval_at, sleep_until, timeout};

use super::Presence;
use super::known::Report;
use super::meet::Met;
use super::visit::Visit;
use crate::beacon::{KEEPALIVE, Pace};

/// How long a hub may take to answer: it may just be busy with thousands that come back.
const ANSWER: Duration = Duration::from_secs(5);

impl Visit {
    /// One conversation, until the connection fails or the hub does not answer.
    pub(super) async fn talk(&self, met: Met) -> Result<Infallible, String> {
        let (over, vantage) = (met.over(), Vantage::of(met.secure.address.ip()));
        let (reader, writer) = split(met.secure.stream);
        let (pongs, answered) = watch::channel(0);
        let lost = async {
            match &met.quic {
                Some(connection) => connection.closed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            end = self.listen(reader, vantage, over, &pongs) => end,
            end = self.speak(writer, answered) => end,
            why = lost => Err(why),
        }
    }

    fn wished(&self, tag: Tag, party: &PartyName) -> bool {
        let wishes = self.wishes.borrow();
        wishes.tag == tag && wishes.watch.contains(party)
    }

    fn allowed(&self, tag: Tag, party: &PartyName) -> bool {
        let wishes = self.wishes.borrow();
        wishes.tag == tag && wishes.allow.contains(party)
    }

    async fn listen(
        &self,
        mut reader: impl AsyncRead + Unpin,
        vantage: Vantage,
        over: Over,
        pongs: &watch::Sender<u64>,
    ) -> Result<Infallible, String> {
        let mut pace = Pace::default();
        let mut up = false;
        loop {
            let answer = frame::read::<Answer>(&mut reader, LONGEST).await;
            match answer.map_err(|error| error.to_string())?.ok_or("it hung up")? {
                Answer::Welcome { observed } if up => {
                    self.report(Report::Moved(observed, over)).await
                }
                Answer::Welcome { observed } => {
                    up = true;
                    self.report(Report::Up(observed, over)).await;
                }
                // A hub is not believed: it could send a party to its own machine, invent any
                // number of parties, or make a party join the calls of strangers.
                Answer::Present { party, tag, candidates } => {
                    if self.wished(tag, &party) {
                        let candidates = candidate::admit(&candidates, vantage);
                        self.report(Report::Present(party, candidates)).await;
                    }
                }
                Answer::Gone { party, tag } => {
                    if self.wished(tag, &party) {
                        self.report(Report::Gone(party)).await;
                    }
                }
                Answer::Call { from, tag, call } => {
                    if self.allowed(tag, &from) {
                        self.report(Report::Call(from, call)).await;
                    }
                }
                Answer::Pong => {
                    if *pongs.borrow() == 0 {
                        self.report(Report::Settled).await;
                    }
                    pongs.send_modify(|count| *count += 1);
                }
                Answer::Goodbye(reason) => return Err(reason.to_string()),
            }
            pace.keep().await;
        }
    }

    /// Says what is wished, again whenever it changes, and that one is still there.
    async fn speak(
        &self,
        mut writer: impl AsyncWrite + Unpin,
        mut pongs: watch::Receiver<u64>,
    ) -> Result<Infallible, String> {
        let mut wishes = self.wishes.clone();
        wishes.mark_changed();
        let mut ticks = interval_at(Instant::now() + KEEPALIVE, KEEPALIVE);
        let (mut asked, mut due) = (0, None);
        loop {
            tokio::select! {
                biased;
                changed = wishes.changed() => {
                    changed.map_err(|_| "the party ends its presence".to_owned())?;
                    let presence = wishes.borrow_and_update().clone();
                    self.announce(&mut writer, presence).await?;
                }
                Ok(()) = pongs.changed() => {
                    let all = *pongs.borrow_and_update() >= asked;
                    due = (!all).then(|| Instant::now() + ANSWER);
                    continue;
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    return Err("it does not answer".to_owned());
                }
                _ = ticks.tick() => {}
            }
            say(&mut writer, &Request::Ping).await?;
            asked += 1;
            due.get_or_insert_with(|| Instant::now() + ANSWER);
        }
    }

    async fn announce(
        &self,
        writer: &mut (impl AsyncWrite + Unpin),
        presence: Presence,
    ) -> Result<(), String> {
        let Presence { tag, candidates, allow, watch } = presence;
        let instance = self.instance;
        say(writer, &Request::Announce { tag, instance, candidates, allow }).await?;
        say(writer, &Request::Watch { tag, parties: watch }).await
    }
}

async fn say(writer: &mut (impl AsyncWrite + Unpin), request: &Request) -> Result<(), String> {
    let written = timeout(ANSWER, frame::write(writer, request, LONGEST)).await;
    written.map_err(|_| "it does not read".to_owned())?.map_err(|error| error.to_string())
}
