//! A hub of the network that means ill: it has a hub's certificate, speaks the real protocol, and
//! says and relays what the test wants.

#![allow(dead_code, unused_imports, reason = "each test file uses its part of it")]

mod behaviours;
mod strangers;
pub(crate) mod wire;

use std::collections::HashMap;
use std::net::TcpListener;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use mpyc_party_authority::Authority;
use mpyc_party_core::lighthouse::{
    Action, Answer, ConnectionId, Lighthouse, Limits, MAX_MESSAGE_BYTES, Request, Transport,
};
use mpyc_party_core::name::PartyName;
use mpyc_party_core::relay::{self, CallId, Refusal, Reply};
use mpyc_party_core::role::Role;
use mpyc_party_core::sni::Tag;
use mpyc_party_lab::party::Network;
use mpyc_party_transport::{Expect, Identity, Incoming, Protocol, Secure, frame, now};
use tokio::io::{AsyncReadExt, AsyncWriteExt, split};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

pub(crate) use behaviours::{Behaviour, Behaviours};
use strangers::Strangers;

/// What it says in place of an honest answer to this party.
type Tongue = Box<dyn Fn(&PartyName, Answer) -> Vec<Answer> + Send + Sync>;

/// A false hub; it ends when this is dropped.
pub(crate) struct FalseHub {
    pub(crate) behaviours: Arc<Behaviours>,
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

struct Shared {
    identity: Identity,
    tongue: Tongue,
    behaviours: Arc<Behaviours>,
    strangers: Arc<Strangers>,
    impostor: Mutex<Option<Identity>>,
    state: Mutex<State>,
}

struct State {
    lighthouse: Lighthouse,
    present: HashMap<ConnectionId, mpsc::UnboundedSender<Answer>>,
    calls: HashMap<CallId, oneshot::Sender<Box<Secure>>>,
    next: u64,
}

/// An honest tongue.
pub(crate) fn honest(_: &PartyName, answer: Answer) -> Vec<Answer> {
    vec![answer]
}

impl FalseHub {
    /// Takes the place of the hub of `network`, which has hosts.
    pub(crate) fn instead(
        network: &mut Network,
        tongue: impl Fn(&PartyName, Answer) -> Vec<Answer> + Send + Sync + 'static,
        behaviours: Behaviours,
    ) -> Result<Self> {
        network.kill_hub();
        let port = network.hub_address().port();
        let listener = match network.hub_host() {
            Some(host) => host.tcp_listener(port)?,
            None => TcpListener::bind(network.hub_address())?,
        };
        let authority = Authority::open(&network.hub_state().join("ca"))?;
        let identity = Identity::try_from(authority.own_credentials(&Role::Hub(1), now())?)?;
        let state = State {
            lighthouse: Lighthouse::new(Limits::default()),
            present: HashMap::new(),
            calls: HashMap::new(),
            next: 0,
        };
        let (tongue, behaviours) = (Box::new(tongue), Arc::new(behaviours));
        let (state, told) = (Mutex::new(state), Arc::clone(&behaviours));
        let (strangers, impostor) = Default::default();
        let shared = Shared { identity, tongue, behaviours: told, strangers, impostor, state };
        let shared = Arc::new(shared);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        listener.set_nonblocking(true)?;
        runtime.spawn(Arc::clone(&shared).serve(listener));
        Ok(Self { behaviours, shared, runtime: Some(runtime) })
    }
}

impl FalseHub {
    /// Lets somebody with this identity, who would have anybody, serve at `listener`.
    pub(crate) fn stranger(&self, listener: TcpListener, identity: Identity) {
        let (strangers, _) = (Arc::clone(&self.shared.strangers), listener.set_nonblocking(true));
        if let Some(runtime) = &self.runtime {
            runtime.spawn(strangers.serve(listener, identity));
        }
    }

    /// Has everybody who calls or is called over the relay talk with somebody of this identity.
    pub(crate) fn stranger_on_the_relay(&self, identity: Identity) {
        *self.shared.impostor.lock().unwrap_or_else(PoisonError::into_inner) = Some(identity);
    }

    /// How many have come to strangers at their address.
    pub(crate) fn visits(&self) -> u32 {
        self.shared.strangers.visits.load(Ordering::SeqCst)
    }

    /// How many have met one on the relay.
    pub(crate) fn calls(&self) -> u32 {
        self.shared.strangers.calls.load(Ordering::SeqCst)
    }

    /// How many of them took the stranger for whom they looked for.
    pub(crate) fn let_in(&self) -> u32 {
        self.shared.strangers.let_in.load(Ordering::SeqCst)
    }
}

impl Drop for FalseHub {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl State {
    fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send(id, answer) => {
                    // It may be about to go.
                    let _ = self.present.get(&id).map(|answers| answers.send(answer));
                }
                Action::Close(id, _) => drop(self.present.remove(&id)),
            }
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(self: Arc<Self>, listener: TcpListener) {
        let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
        while let Ok((tcp, _)) = listener.accept().await {
            let shared = Arc::clone(&self);
            // Whoever breaks off is not there any more; the test sees what comes of it.
            tokio::spawn(async move { shared.welcome(tcp).await });
        }
    }

    async fn welcome(self: Arc<Self>, tcp: TcpStream) -> Result<()> {
        let incoming = Incoming::read(tcp).await?;
        let protocol = incoming.protocol().context("no protocol")?;
        let secure = incoming.accept(&self.identity, protocol, &Expect::AnyParty).await?;
        match protocol {
            Protocol::Hub => self.tell(secure).await,
            Protocol::Relay => self.relay(secure).await,
            _ => anyhow::bail!("nothing else is served here"),
        }
    }

    /// The lighthouse, with a tongue of its own.
    async fn tell(&self, secure: Secure) -> Result<()> {
        let party = secure.peer.party().cloned().context("a party")?;
        let (mut reader, mut writer) = split(secure.stream);
        let (sender, mut answers) = mpsc::unbounded_channel();
        let entered = {
            let mut state = self.state();
            let entered =
                state.lighthouse.connect(party.clone(), secure.address, Transport::Tcp, now());
            let (id, actions) = entered?;
            state.present.insert(id, sender);
            state.perform(actions);
            id
        };
        let write = async {
            while let Some(answer) = answers.recv().await {
                for answer in (self.tongue)(&party, answer) {
                    frame::write(&mut writer, &answer, MAX_MESSAGE_BYTES).await?;
                }
            }
            anyhow::Ok(())
        };
        let read = async {
            while let Some(request) = frame::read::<Request>(&mut reader, MAX_MESSAGE_BYTES).await?
            {
                let mut state = self.state();
                let actions = state.lighthouse.hear(entered, request);
                state.perform(actions);
            }
            anyhow::Ok(())
        };
        let ended = tokio::select! { ended = read => ended, ended = write => ended };
        let mut state = self.state();
        state.present.remove(&entered);
        let actions = state.lighthouse.disconnect(entered);
        state.perform(actions);
        ended
    }

    /// The relay, with hands of its own.
    async fn relay(&self, mut secure: Secure) -> Result<()> {
        let from = secure.peer.party().cloned().context("a party")?;
        let request = frame::read(&mut secure.stream, relay::MAX_MESSAGE_BYTES).await?;
        let (tag, to) = match request.context("a request")? {
            relay::Request::Join { call } => {
                // A caller that has gone needs none.
                let _ =
                    self.state().calls.remove(&call).map(|caller| caller.send(Box::new(secure)));
                return Ok(());
            }
            relay::Request::Call { tag, party } => (tag, party),
        };
        let impostor = self.impostor.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(impostor) = impostor {
            frame::write(&mut secure.stream, &Reply::Connected, relay::MAX_MESSAGE_BYTES).await?;
            let called = self.call(&from, tag, &to).await;
            let answer = self.strangers.answer(secure, &impostor);
            let Ok(mut other) = called else { return answer.await };
            frame::write(&mut other.stream, &Reply::Connected, relay::MAX_MESSAGE_BYTES).await?;
            let pair = Tag::pair(&impostor.root().fingerprint, &"demo".parse()?, &from, &to);
            let call = self.strangers.call(*other, &impostor, pair);
            let (answered, called) = tokio::join!(answer, call);
            return answered.and(called);
        }
        let Ok(mut other) = self.call(&from, tag, &to).await else {
            let refused = Reply::Refused(Refusal::Absent);
            return Ok(frame::write(&mut secure.stream, &refused, relay::MAX_MESSAGE_BYTES).await?);
        };
        for end in [&mut secure, &mut other] {
            frame::write(&mut end.stream, &Reply::Connected, relay::MAX_MESSAGE_BYTES).await?;
        }
        let (mut from_one, mut to_one) = split(secure.stream);
        let (mut from_other, mut to_other) = split(other.stream);
        let (mut there, mut back) = (self.behaviours.hand(), self.behaviours.hand());
        // One that breaks takes the other with it, and both ends see a cut.
        let _ = tokio::try_join!(
            there.pass(&mut from_one, &mut to_other),
            back.pass(&mut from_other, &mut to_one)
        );
        drop((from_one, to_one, from_other, to_other));
        if let Some(said) = there.take_said() {
            let mut other = self.call(&from, tag, &to).await?;
            frame::write(&mut other.stream, &Reply::Connected, relay::MAX_MESSAGE_BYTES).await?;
            other.stream.write_all(&said).await?;
            other.stream.flush().await?;
            let _ = timeout(crate::common::LIMIT, other.stream.read_to_end(&mut Vec::new())).await;
        }
        Ok(())
    }

    /// Tells `to` that `from` calls, and waits for it to join.
    async fn call(&self, from: &PartyName, tag: Tag, to: &PartyName) -> Result<Box<Secure>> {
        let (caller, joined) = oneshot::channel();
        {
            let mut state = self.state();
            let callee = state.lighthouse.callee(from, &[], tag, to).context("it is not here")?;
            state.next += 1;
            let mut call = CallId([0; 16]);
            call.0[..8].copy_from_slice(&state.next.to_be_bytes());
            state.calls.insert(call, caller);
            let answer = Answer::Call { from: from.clone(), tag, call };
            state.present.get(&callee).context("it has gone")?.send(answer)?;
        }
        Ok(timeout(relay::JOIN_TIMEOUT, joined).await??)
    }
}
