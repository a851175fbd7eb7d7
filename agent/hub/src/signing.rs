//! The queue in front of the authority's signer, which may take seconds: admission control for what
//! needs a signature.
//!
//! Each signature takes a thread, so there is a bound on how many are under way; looking up members
//! takes none of these. One requester has one of them at most: whoever asks again while its
//! certificate is being signed waits for the same one. A signature goes on when its requester has
//! gone; it is recorded, and there when the requester comes again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use mpyc_party_authority::AuthorityError;
use mpyc_party_core::claims::PublicKey;
use mpyc_party_transport::task;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The most signatures under way at once; tokio has 512 threads for work that blocks.
const MAX_SIGNATURES: usize = 64;
/// How long a requester waits here; it waits for its reply for five seconds.
const SIGNING_WAIT: Duration = Duration::from_secs(4);

/// Who needs a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Requester {
    /// The holder of the token with this id.
    Token([u8; 16]),
    /// The member with this key.
    Member(PublicKey),
}

/// Why a requester gets no certificate, in words for it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IssueError {
    /// The authority says why.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// It takes longer than the requester waits.
    #[error("the certificate is not signed yet: ask again in a few seconds")]
    NotYet,
    /// A bug.
    #[error("an internal error; see the authority's log")]
    Internal,
}

type Job = Box<dyn FnOnce() + Send>;
type FairQueue = HashMap<Requester, Weak<AsyncMutex<()>>>;

/// Takes what needs a signature. Cloning shares the queue.
#[derive(Clone, Debug)]
pub(crate) struct SigningQueue {
    jobs: mpsc::Sender<Job>,
    turns: Arc<Mutex<FairQueue>>,
}

/// Works off the queue.
#[derive(Debug)]
pub(crate) struct SigningService {
    jobs: mpsc::Receiver<Job>,
}

/// A queue, and what has to run for it.
pub(crate) fn queue() -> (SigningQueue, SigningService) {
    let (sender, jobs) = mpsc::channel(1);
    (SigningQueue { jobs: sender, turns: Arc::default() }, SigningService { jobs })
}

impl SigningQueue {
    /// What `work` of the authority yields for `requester`.
    pub(crate) async fn issue<T: Send + 'static>(
        &self,
        requester: Requester,
        work: impl FnOnce() -> Result<T, AuthorityError> + Send + 'static,
    ) -> Result<T, IssueError> {
        let issued = async {
            let turn = self.turn(requester).await;
            let (done, outcome) = oneshot::channel();
            let job = move || {
                let outcome = work();
                drop(turn);
                // A requester that has gone comes again, and finds it in the records.
                let _ = done.send(outcome);
            };
            // The service outlives every connection. Its log says what it has failed at.
            self.jobs.send(Box::new(job)).await.map_err(|_| IssueError::Internal)?;
            Ok(outcome.await.map_err(|_| IssueError::Internal)??)
        };
        timeout(SIGNING_WAIT, issued).await.unwrap_or(Err(IssueError::NotYet))
    }

    async fn turn(&self, requester: Requester) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| turn.strong_count() > 0);
            let turn = turns.get(&requester).and_then(Weak::upgrade).unwrap_or_default();
            turns.insert(requester, Arc::downgrade(&turn));
            turn
        };
        turn.lock_owned().await
    }
}

impl SigningService {
    /// Has everything signed that comes, for ever.
    pub(crate) async fn run(mut self) {
        let mut running = JoinSet::new();
        loop {
            tokio::select! {
                Some(job) = self.jobs.recv(), if running.len() < MAX_SIGNATURES => {
                    running.spawn_blocking(job);
                }
                Some(ended) = running.join_next() => task::ended("a signature", ended),
                else => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_panics_costs_its_requester_alone_and_is_counted() {
        let before = task::panics();
        let (queue, service) = queue();
        let bug = || -> Result<(), AuthorityError> { panic!("a bug in the signer") };
        let (one, other) = (Requester::Token([1; 16]), Requester::Member(PublicKey([2; 32])));
        let requests = async {
            assert!(matches!(queue.issue(one, bug).await, Err(IssueError::Internal)));
            for requester in [one, other] {
                assert_eq!(queue.issue(requester, || Ok(7)).await.unwrap(), 7);
            }
            let counted = async {
                while task::panics() == before {
                    tokio::task::yield_now().await;
                }
            };
            timeout(SIGNING_WAIT, counted).await.unwrap();
            drop(queue.turn(one).await);
            assert_eq!(queue.turns.lock().unwrap().len(), 1, "those who have gone are forgotten");
        };
        tokio::select! {
            () = service.run() => panic!("it has ended"),
            () = requests => {}
        }
    }
}
