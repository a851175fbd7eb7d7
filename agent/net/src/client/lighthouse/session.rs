//! What is said over one connection to a hub.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use mpyc_party_core::addr::{self, Vantage};
use mpyc_party_core::lighthouse::{
    Answer, Instance, KEEPALIVE, MAX_MESSAGE_BYTES, Reason, Request, Transport,
};
use mpyc_party_core::name::PartyName;
use mpyc_party_core::sni::Tag;
use mpyc_party_transport::frame::FrameError;
use mpyc_party_transport::rate_limit::MessageRateLimit;
use mpyc_party_transport::{TransportError, frame};
use tokio::io::{AsyncRead, AsyncWrite, split};
use tokio::sync::watch;
use tokio::time::{Instant, interval_at, sleep_until, timeout};

use super::super::RequestError;
use super::Presence;
use super::connect::HubConnection;
use super::merge::Report;
use super::reconnect::HubTask;
use crate::addr::OwnAddresses;
use crate::packets;
use crate::segment_memory::{self, Stalled};

/// How long a hub may take to answer: it may just be busy with thousands that come back.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The same when there is reason to doubt that it is there.
const PROMPT_ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a hub cannot be used, or not any longer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HubError {
    /// It is not reached, or is no hub.
    #[error("{0}")]
    Unreachable(String),
    /// Connections to it open, and then nothing gets through.
    #[error(transparent)]
    Stalled(Stalled),
    /// Its name has no address.
    #[error("it has no address")]
    NoAddress,
    /// What it says cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// It ended the connection without a word.
    #[error("it hung up")]
    HungUp,
    /// It ended the connection and said why.
    #[error("{0}")]
    Dismissed(Reason),
    /// It does not answer any more.
    #[error("it does not answer")]
    Silent,
    /// It takes nothing in any more.
    #[error("it does not read")]
    Stuck,
    /// The QUIC connection has been lost.
    #[error("{0}")]
    Lost(String),
    /// Nobody wants to be present any more.
    #[error("the party ends its presence")]
    Ended,
    /// The system gives no randomness.
    #[error("the system gives no randomness to tell this instance from others")]
    NoRandomness,
}

impl From<RequestError> for HubError {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Stalled(stalled) => Self::Stalled(stalled),
            other => Self::Unreachable(other.to_string()),
        }
    }
}

impl From<TransportError> for HubError {
    fn from(error: TransportError) -> Self {
        Self::Unreachable(error.to_string())
    }
}

impl From<FrameError> for HubError {
    fn from(error: FrameError) -> Self {
        Self::Unreadable(error.to_string())
    }
}

impl HubTask {
    /// One conversation, until the connection fails or the hub does not answer.
    pub(super) async fn session(
        &self,
        connection: HubConnection,
        instance: Instance,
    ) -> Result<Infallible, HubError> {
        let HubConnection { secure, quic } = connection;
        let transport = if quic.is_some() { Transport::Udp } else { Transport::Tcp };
        let vantage = Vantage::of(secure.address.ip());
        let over_tcp = secure.stream.segment_bytes().map(|bytes| (secure.address.ip(), bytes));
        let full = over_tcp.map(|_| packets::full_size(&secure.stream));
        let (reader, writer) = split(secure.stream);
        let (pongs, answered) = watch::channel(0);
        let lost = async {
            match &quic {
                Some(connection) => connection.closed().await,
                None => std::future::pending().await,
            }
        };
        let end = tokio::select! {
            biased;
            end = self.listen(reader, vantage, transport, &pongs) => end,
            end = self.speak(writer, answered, instance, full) => end,
            why = lost => Err(HubError::Lost(why)),
        };
        // Not even its first ping was answered, which is of full size.
        if let (Err(HubError::Silent), 0, Some((ip, bytes))) = (&end, *pongs.borrow(), over_tcp) {
            segment_memory::stalled(ip, bytes);
        }
        end
    }

    fn is_watched(&self, tag: Tag, party: &PartyName) -> bool {
        let desired = self.desired.borrow();
        desired.tag == tag && desired.watch.contains(party)
    }

    /// Who is in a group, only a certificate tells: the one inside the call does.
    fn allowed(&self, tag: Tag, party: &PartyName) -> bool {
        let desired = self.desired.borrow();
        desired.tag == tag && (desired.allow.contains(party) || !desired.groups.is_empty())
    }

    async fn listen(
        &self,
        mut reader: impl AsyncRead + Unpin,
        vantage: Vantage,
        transport: Transport,
        pongs: &watch::Sender<u64>,
    ) -> Result<Infallible, HubError> {
        let mut rate = MessageRateLimit::default();
        let mut up = false;
        loop {
            let answer = frame::read::<Answer>(&mut reader, MAX_MESSAGE_BYTES).await;
            match answer?.ok_or(HubError::HungUp)? {
                Answer::Welcome { observed, .. } if up => {
                    self.report(Report::Moved(observed, transport)).await
                }
                Answer::Welcome { observed, .. } => {
                    up = true;
                    self.report(Report::Up(observed, transport)).await;
                }
                // A hub is not believed: it could send a party to its own machine, invent any
                // number of parties, or make a party join the calls of strangers.
                Answer::Present { party, tag, addresses } => {
                    if self.is_watched(tag, &party) {
                        let addresses = addr::admit(&addresses, vantage).into_iter();
                        let told = addresses.map(|address| (address, vantage)).collect();
                        self.report(Report::Present(party, told)).await;
                    }
                }
                Answer::Gone { party, tag } => {
                    if self.is_watched(tag, &party) {
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
                Answer::Goodbye(reason) => return Err(HubError::Dismissed(reason)),
            }
            rate.until_allowed().await;
        }
    }

    /// Says what is to be known, again whenever it changes, and that one is still there: at first in
    /// packets of full size, which have `full` bytes.
    async fn speak(
        &self,
        mut writer: impl AsyncWrite + Unpin,
        mut pongs: watch::Receiver<u64>,
        instance: Instance,
        full: Option<usize>,
    ) -> Result<Infallible, HubError> {
        let mut desired = self.desired.clone();
        desired.mark_changed();
        let mut ticks = interval_at(Instant::now() + KEEPALIVE, KEEPALIVE);
        // Until when each ping that was not answered so far has to be.
        let mut open: VecDeque<Instant> = VecDeque::new();
        let (mut answered, mut admits, mut full) = (0, false, full);
        loop {
            let (mut patience, due) = (ANSWER_TIMEOUT, open.iter().min().copied());
            tokio::select! {
                biased;
                changed = desired.changed() => {
                    changed.map_err(|_| HubError::Ended)?;
                    let presence = desired.borrow_and_update().clone();
                    // A hub that knows no groups is not asked for any without need.
                    admits |= !presence.groups.is_empty();
                    self.announce(&mut writer, (instance, presence), admits).await?;
                    patience = PROMPT_ANSWER_TIMEOUT;
                }
                Ok(()) = pongs.changed() => {
                    let count = *pongs.borrow_and_update();
                    while answered < count {
                        open.pop_front();
                        answered += 1;
                    }
                    continue;
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    return Err(HubError::Silent);
                }
                _ = ticks.tick() => {}
            }
            // It is said several times for that, and answered as often.
            let times = match std::mem::take(&mut full) {
                None => say(&mut writer, &Request::Ping).await.map(|()| 1)?,
                Some(full) => fill(&mut writer, &Request::Ping, full).await?,
            };
            open.extend(std::iter::repeat_n(Instant::now() + patience, times));
        }
    }

    async fn announce(
        &self,
        writer: &mut (impl AsyncWrite + Unpin),
        (instance, presence): (Instance, Presence),
        admits: bool,
    ) -> Result<(), HubError> {
        let Presence { tag, own: OwnAddresses { addresses, reflexive }, allow, groups, watch } =
            presence;
        let announce = Request::Announce { tag, instance, addresses, reflexive, allow };
        say(writer, &announce).await?;
        if admits {
            say(writer, &Request::Admit { tag, groups }).await?;
        }
        say(writer, &Request::Watch { tag, parties: watch }).await
    }
}

async fn say(writer: &mut (impl AsyncWrite + Unpin), request: &Request) -> Result<(), HubError> {
    let written = timeout(ANSWER_TIMEOUT, frame::write(writer, request, MAX_MESSAGE_BYTES)).await;
    Ok(written.map_err(|_| HubError::Stuck)??)
}

/// Says it in packets of full size, which have so many bytes; how often it takes for that.
async fn fill(
    writer: &mut (impl AsyncWrite + Unpin),
    request: &Request,
    full: usize,
) -> Result<usize, HubError> {
    let written = frame::write_filling(writer, request, MAX_MESSAGE_BYTES, full);
    Ok(timeout(ANSWER_TIMEOUT, written).await.map_err(|_| HubError::Stuck)??)
}

#[cfg(test)]
mod tests {
    use super::super::merge::Reports;
    use super::*;
    use mpyc_party_authority::Authority;
    use mpyc_party_core::addr::{Address, MAX_ADDRESSES};
    use mpyc_party_core::claims::Fingerprint;
    use mpyc_party_core::relay::CallId;
    use mpyc_party_core::role::Role;
    use mpyc_party_transport::{Identity, now};
    use tokio::io::{AsyncWriteExt, duplex};
    use tokio::sync::mpsc;

    fn name(text: &str) -> PartyName {
        text.parse().unwrap()
    }

    fn tag(session: &str) -> Tag {
        Tag::session(&Fingerprint([1; 32]), &session.parse().unwrap())
    }

    /// Watches bob and allows bob, under «demo».
    fn hub_task(reports: Reports) -> (HubTask, watch::Sender<Presence>) {
        let dir = tempfile::TempDir::new().unwrap();
        let authority = Authority::init(dir.path(), &"example".parse().unwrap(), None, now());
        let role = Role::party(name("alice")).unwrap();
        let own = authority.unwrap().own_credentials(&role, now()).unwrap();
        let identity = Identity::try_from(own).unwrap();
        let bob = vec![name("bob")];
        let (tag, own) = (tag("demo"), OwnAddresses::default());
        let (allow, groups) = (bob.clone(), Vec::new());
        let presence = Presence { tag, own, allow, groups, watch: bob };
        let (sender, desired) = watch::channel(presence);
        let (instance, hub) = (std::sync::Arc::default(), "hub.example:1".to_owned());
        let identity = watch::channel(identity).1;
        (HubTask { hub, instance, identity, desired, quic: None, reports }, sender)
    }

    fn present(party: &str, session: &str, addresses: &[&str]) -> Answer {
        let both = |text: &&str| ["tcp", "quic"].map(|kind| Address::new(kind, text));
        let addresses = addresses.iter().flat_map(both).collect();
        Answer::Present { party: name(party), tag: tag(session), addresses }
    }

    /// What gets through of what a hub elsewhere says.
    async fn heard(said: Vec<Answer>) -> (Vec<Report>, HubError) {
        let (reports, mut inbox) = mpsc::channel(1024);
        let (task, _presence) = hub_task(reports);
        let (mut hub, party) = duplex(1 << 20);
        for answer in said {
            frame::write(&mut hub, &answer, MAX_MESSAGE_BYTES).await.unwrap();
        }
        hub.shutdown().await.unwrap();
        let pongs = watch::Sender::new(0);
        let Err(why) = task.listen(party, Vantage::Elsewhere, Transport::Udp, &pongs).await;
        drop(task);
        let mut heard = Vec::new();
        while let Some((_, report)) = inbox.recv().await {
            heard.push(report);
        }
        (heard, why)
    }

    #[tokio::test(start_paused = true)]
    async fn a_hostile_hub_makes_nobody_probe_what_it_likes() {
        let forbidden = [
            "127.0.0.1:22",
            "[::1]:22",
            "[::ffff:127.0.0.1]:22",
            "[64:ff9b::7f00:1]:22",
            "169.254.169.254:80",
            "[fe80::1]:80",
            "100.100.100.200:80",
            "224.0.0.251:5353",
            "255.255.255.255:9",
            "0.0.0.0:22",
            "203.0.113.7:0",
        ];
        let (reports, _) = heard(vec![present("bob", "demo", &forbidden)]).await;
        let [Report::Present(_, told)] = &reports[..] else { panic!("{}", reports.len()) };
        assert_eq!(told, &[]);
        let many: Vec<String> = (1..200).map(|port| format!("203.0.113.7:{port}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let (reports, _) = heard(vec![present("bob", "demo", &many)]).await;
        let [Report::Present(_, told)] = &reports[..] else { panic!("{}", reports.len()) };
        assert_eq!(told.len(), MAX_ADDRESSES);
    }

    #[tokio::test(start_paused = true)]
    async fn parties_nobody_asked_for_and_calls_of_strangers_are_not_heard() {
        let call = |from, session| {
            let (from, tag) = (name(from), tag(session));
            Answer::Call { from, tag, call: CallId([3; 16]) }
        };
        let somewhere = ["203.0.113.7:1"];
        let mut said = vec![
            present("mallory", "demo", &somewhere),
            present("bob", "other", &somewhere),
            Answer::Gone { party: name("mallory"), tag: tag("demo") },
            Answer::Gone { party: name("bob"), tag: tag("other") },
            call("mallory", "demo"),
            call("bob", "other"),
        ];
        said.extend((0..500).map(|n| present(&format!("p{n}"), "demo", &somewhere)));
        said.push(call("bob", "demo"));
        let (reports, _) = heard(said).await;
        let [Report::Call(from, CallId([3, ..]))] = &reports[..] else {
            panic!("{}", reports.len())
        };
        assert_eq!(*from, name("bob"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hub_that_talks_without_end_is_heard_slowly() {
        let begun = Instant::now();
        let (reports, _) = heard(vec![present("bob", "demo", &["203.0.113.7:1"]); 60]).await;
        assert_eq!(reports.len(), 60);
        assert!(begun.elapsed() > Duration::from_millis(250), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn why_a_hub_says_goodbye_is_told() {
        let (_, why) = heard(vec![Answer::Goodbye(Reason::Full)]).await;
        assert_eq!(why.to_string(), "the hub is full");
        assert_eq!(heard(Vec::new()).await.1, HubError::HungUp);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hub_that_does_not_answer_is_left() {
        let (reports, _inbox) = mpsc::channel(64);
        let (task, presence) = hub_task(reports);
        let (mut hub, party) = duplex(1 << 20);
        let pongs = watch::Sender::new(0u64);
        let answered = pongs.subscribe();
        let begun = Instant::now();
        let serve = async {
            // It answers for a while, then is only there.
            for count in 1..=4 {
                while frame::read::<Request>(&mut hub, MAX_MESSAGE_BYTES).await.unwrap()
                    != Some(Request::Ping)
                {}
                pongs.send_replace(count);
            }
            presence.send_modify(|_| {});
            std::future::pending::<()>().await;
        };
        let end = tokio::select! {
            Err(why) = task.speak(party, answered, Instance([1; 16]), None) => Some(why),
            () = serve => None,
        };
        assert_eq!(end, Some(HubError::Silent));
        assert_eq!(begun.elapsed().as_secs(), (3 * KEEPALIVE + PROMPT_ANSWER_TIMEOUT).as_secs());
    }
}
