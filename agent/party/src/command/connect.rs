//! `mpyc-party connect`.

use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use mpyc_party_core::name::PartyName;
use mpyc_party_net::Stack;
use mpyc_party_net::address_book::AddressBook;
use mpyc_party_net::connect::{Reached, reach};
use mpyc_party_net::dial::LocalEnd;
use mpyc_party_net::links::report::Attempt;
use mpyc_party_net::peers::SessionPeers;
use mpyc_party_transport::pipe::carry;
use mpyc_party_transport::task::{Heartbeat, alongside};
use mpyc_party_transport::{Secure, Traffic, quic};

use super::locate::{Present, problems};
use super::{Common, Outcome, completing, no_dumps, output, runtime, stop, terminal, times};
use crate::config::Config;
use crate::identity::Store;
use crate::session::words::visible;

/// How long the other end of what is closed may take to hear of it.
const GOODBYE_TIMEOUT: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
#[command(after_help = "\
mpyc-party reaches the other party wherever it is, as in a session: directly, through its NAT, or
over a hub's relay, encrypted end to end. The section [expose] of the other party's configuration
says what it exposes, and to whom.

Exit status: 0 when both sides have ended, 1 when there is no connection or it breaks, 2 for wrong
usage.

For SSH, in ~/.ssh/config:
  Host alice pi-kitchen
    User root
    ProxyCommand mpyc-party connect %h %p

Examples:
  ssh -o ProxyCommand='mpyc-party connect %h %p' root@pi-kitchen
  mpyc-party connect pi-kitchen 22 --verbose")]
pub(super) struct Connect {
    /// The party
    #[arg(add = completing::parties())]
    party: PartyName,
    /// The port that it exposes
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// How long to look for it
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = times::wait)]
    wait: Duration,
}

impl Connect {
    pub(super) fn run(self, common: &Common) -> Outcome {
        let (_, config, store, _) = common.other(&self.party)?;
        terminal::start();
        no_dumps()?;
        let runtime = runtime()?;
        let outcome = runtime.block_on(self.connect(common, config, store));
        // A thread may still wait for standard input; it ends with the process.
        runtime.shutdown_background();
        outcome
    }

    async fn connect(self, common: &Common, mut config: Config, store: Store) -> Outcome {
        let (Present { me, identity, hubs }, renewal) = Present::of(&config, store).await?;
        let pin = config.peers.get(&self.party).and_then(|peer| peer.key);
        let session_peers = SessionPeers::exposed(identity, me, self.party.clone(), pin)?;
        // Who exposes ports does not show itself in the local network.
        config.network.local_discovery = false;
        let stack = &common.stack;
        let mut book = AddressBook::new(stack.clone(), config.sources(hubs), session_peers.clone());
        // Without one it goes over TCP alone.
        let quic = quic::Endpoint::bind(0).ok();
        let local = LocalEnd { tcp: None, udp: quic.clone() };
        let carried = async {
            let reached = match reach(stack, &session_peers, &mut book, &local, self.wait).await {
                Ok(reached) => reached,
                Err(tried) => bail!("{} is not reached: {}", self.party, why(&tried, &book)),
            };
            drop((book, local));
            if std::io::stderr().is_terminal() || common.verbose > 0 {
                output::step(self.path(stack, &reached));
            }
            let asked = reached.ask(self.port).await;
            let secure = asked.with_context(|| {
                format!("no connection with port {} of {}", self.port, self.party)
            })?;
            self.carry(secure).await
        };
        let outcome = tokio::select! {
            outcome = alongside(carried, renewal.run(Heartbeat::default())) => outcome,
            // SSH says so when it has ended.
            () = stop::asked() => Ok(ExitCode::FAILURE),
        };
        if let Some(quic) = quic {
            quic.close("it has ended");
            // Who does not hear of it notices the silence.
            let _ = tokio::time::timeout(GOODBYE_TIMEOUT, quic.wait_idle()).await;
        }
        outcome
    }

    /// Carries standard input and output until both sides have ended.
    async fn carry(&self, secure: Secure) -> Outcome {
        // The one descriptor of standard output, so that closing it is an end for whoever reads.
        let taken = || {
            let output = std::io::stdout().as_fd().try_clone_to_owned()?;
            rustix::stdio::dup2_stdout(File::options().write(true).open("/dev/null")?)?;
            std::io::Result::Ok(output)
        };
        let output = taken().context("cannot take over standard output")?;
        let output = tokio::fs::File::from_std(output.into());
        let traffic = Traffic::default();
        let carried = carry(secure.stream, tokio::io::stdin(), output, &traffic).await;
        carried.with_context(|| format!("the connection with {} has ended", self.party))?;
        Ok(ExitCode::SUCCESS)
    }

    fn path(&self, stack: &Stack, reached: &Reached) -> String {
        let (party, port, address) = (&self.party, self.port, reached.address());
        match reached.via() {
            Some(hub) => format!("{party}, port {port}: relayed by {} ({address})", visible(hub)),
            None => format!("{party}, port {port}: {} to {address}", stack.label(reached.kind())),
        }
    }
}

/// Why a party was not reached, for people.
fn why(tried: &[Attempt], book: &AddressBook) -> String {
    let told = tried.iter().map(|tried| format!("{}: {}", tried.candidate, tried.outcome));
    let told = match told.collect::<Vec<_>>().join("; ") {
        nothing if nothing.is_empty() => {
            format!("no hub says where it is{}", problems(&book.hubs()))
        }
        told => visible(&told),
    };
    format!("{told}. It exposes nothing to this party, or is not there")
}
