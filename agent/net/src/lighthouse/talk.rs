//! What is said over one connection to a hub.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use mpyc_party_core::candidate::{self, Vantage};
use mpyc_party_core::lighthouse::{Answer, KEEPALIVE, LONGEST, Over, Request};
use mpyc_party_core::name::PartyName;
use mpyc_party_core::sni::Tag;
use mpyc_party_transport::frame;
use mpyc_party_transport::pace::Pace;
use tokio::io::{AsyncRead, AsyncWrite, split};
use tokio::sync::watch;
use tokio::time::{Instant, interval_at, sleep_until, timeout};

use super::Presence;
use super::known::Report;
use super::meet::Met;
use super::visit::Visit;

/// How long a hub may take to answer: it may just be busy with thousands that come back.
const ANSWER: Duration = Duration::from_secs(5);
/// The same when there is reason to doubt that it is there.
const PROMPT_ANSWER: Duration = Duration::from_secs(2);

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

    /// Who is in a group, only a certificate tells: the one inside the call does.
    fn allowed(&self, tag: Tag, party: &PartyName) -> bool {
        let wishes = self.wishes.borrow();
        wishes.tag == tag && (wishes.allow.contains(party) || !wishes.groups.is_empty())
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
                Answer::Welcome { observed, .. } if up => {
                    self.report(Report::Moved(observed, over)).await
                }
                Answer::Welcome { observed, .. } => {
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
        // Until when each ping that was not answered so far has to be.
        let mut open: VecDeque<Instant> = VecDeque::new();
        let (mut answered, mut admits) = (0, false);
        loop {
            let (mut patience, due) = (ANSWER, open.iter().min().copied());
            tokio::select! {
                biased;
                changed = wishes.changed() => {
                    changed.map_err(|_| "the party ends its presence".to_owned())?;
                    let presence = wishes.borrow_and_update().clone();
                    // A hub that knows no groups is not asked for any without need.
                    admits |= !presence.groups.is_empty();
                    self.announce(&mut writer, presence, admits).await?;
                    patience = PROMPT_ANSWER;
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
                    return Err("it does not answer".to_owned());
                }
                _ = ticks.tick() => {}
            }
            say(&mut writer, &Request::Ping).await?;
            open.push_back(Instant::now() + patience);
        }
    }

    async fn announce(
        &self,
        writer: &mut (impl AsyncWrite + Unpin),
        presence: Presence,
        admits: bool,
    ) -> Result<(), String> {
        let Presence { tag, candidates, allow, groups, watch } = presence;
        let instance = self.instance;
        say(writer, &Request::Announce { tag, instance, candidates, allow }).await?;
        if admits {
            say(writer, &Request::Admit { tag, groups }).await?;
        }
        say(writer, &Request::Watch { tag, parties: watch }).await
    }
}

async fn say(writer: &mut (impl AsyncWrite + Unpin), request: &Request) -> Result<(), String> {
    let written = timeout(ANSWER, frame::write(writer, request, LONGEST)).await;
    written.map_err(|_| "it does not read".to_owned())?.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lighthouse::known::Reports;
    use mpyc_party_authority::Authority;
    use mpyc_party_core::candidate::Candidate;
    use mpyc_party_core::claims::Fingerprint;
    use mpyc_party_core::lighthouse::{Instance, Reason};
    use mpyc_party_core::relay::CallId;
    use mpyc_party_core::role::Role;
    use mpyc_party_transport::{Identity, now};
    use std::net::SocketAddr;
    use tokio::io::{AsyncWriteExt, duplex};
    use tokio::sync::mpsc;

    fn name(text: &str) -> PartyName {
        text.parse().unwrap()
    }

    fn tag(session: &str) -> Tag {
        Tag::new(&Fingerprint([1; 32]), &session.parse().unwrap(), &[])
    }

    /// Watches bob and allows bob, under «demo».
    fn visit(reports: Reports) -> (Visit, watch::Sender<Presence>) {
        let dir = tempfile::TempDir::new().unwrap();
        let authority = Authority::init(dir.path(), &"example".parse().unwrap(), None, now());
        let role = Role::party(name("alice")).unwrap();
        let own = authority.unwrap().own_credentials(&role, now()).unwrap();
        let identity = Identity::try_from(own).unwrap();
        let bob = vec![name("bob")];
        let (tag, candidates) = (tag("demo"), Vec::new());
        let (allow, groups) = (bob.clone(), Vec::new());
        let presence = Presence { tag, candidates, allow, groups, watch: bob };
        let (sender, wishes) = watch::channel(presence);
        let (instance, hub) = (Instance([1; 16]), "hub.example:1".to_owned());
        let identity = watch::channel(identity).1;
        (Visit { hub, instance, identity, wishes, quic: None, reports }, sender)
    }

    fn present(party: &str, session: &str, addresses: &[&str]) -> Answer {
        let both = |text: &&str| {
            let address: SocketAddr = text.parse().unwrap();
            [Candidate::Tcp(address), Candidate::Udp(address)]
        };
        let candidates = addresses.iter().flat_map(both).collect();
        Answer::Present { party: name(party), tag: tag(session), candidates }
    }

    /// What gets through of what a hub elsewhere says.
    async fn heard(said: Vec<Answer>) -> (Vec<Report>, String) {
        let (reports, mut inbox) = mpsc::channel(1024);
        let (visit, _presence) = visit(reports);
        let (mut hub, party) = duplex(1 << 20);
        for answer in said {
            frame::write(&mut hub, &answer, LONGEST).await.unwrap();
        }
        hub.shutdown().await.unwrap();
        let pongs = watch::Sender::new(0);
        let Err(why) = visit.listen(party, Vantage::Elsewhere, Over::Udp, &pongs).await;
        drop(visit);
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
        let [Report::Present(_, candidates)] = &reports[..] else { panic!("{}", reports.len()) };
        assert_eq!(candidates, &[]);
        let many: Vec<String> = (1..200).map(|port| format!("203.0.113.7:{port}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let (reports, _) = heard(vec![present("bob", "demo", &many)]).await;
        let [Report::Present(_, candidates)] = &reports[..] else { panic!("{}", reports.len()) };
        assert_eq!(candidates.len(), candidate::MOST);
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
        assert_eq!(why, "the hub is full");
        assert_eq!(heard(Vec::new()).await.1, "it hung up");
    }

    #[tokio::test(start_paused = true)]
    async fn a_hub_that_does_not_answer_is_left() {
        let (reports, _inbox) = mpsc::channel(64);
        let (visit, presence) = visit(reports);
        let (mut hub, party) = duplex(1 << 20);
        let pongs = watch::Sender::new(0u64);
        let answered = pongs.subscribe();
        let begun = Instant::now();
        let serve = async {
            // It answers for a while, then is only there.
            for count in 1..=4 {
                while frame::read::<Request>(&mut hub, LONGEST).await.unwrap()
                    != Some(Request::Ping)
                {}
                pongs.send_replace(count);
            }
            presence.send_modify(|_| {});
            std::future::pending::<()>().await;
        };
        let end = tokio::select! {
            Err(why) = visit.speak(party, answered) => why,
            () = serve => String::new(),
        };
        assert_eq!(end, "it does not answer");
        assert_eq!(begun.elapsed().as_secs(), (3 * KEEPALIVE + PROMPT_ANSWER).as_secs());
    }
}
