//! Starting peers as processes, and what they are given.

use crate::leftovers;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use shmkit::process::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// Longer than any round; a peer that is still there then waits for something that will not come.
const PATIENCE: Duration = Duration::from_secs(120);
/// How soon a failure is noticed.
const LOOK: Duration = Duration::from_millis(100);

/// What travels to a process so that it can open its end of a queue there.
///
/// Some ends can travel themselves and others are a name to connect to; opening happens before the clock starts either way.
pub trait Ticket: Serialize + DeserializeOwned + 'static {
    type End;

    fn open(self) -> Result<Self::End>;
}

/// A ticket that is the end itself.
#[derive(Serialize, Deserialize)]
pub struct Ready<T>(pub T);

impl<T: Serialize + DeserializeOwned + 'static> Ticket for Ready<T> {
    type End = T;

    fn open(self) -> Result<T> {
        Ok(self.0)
    }
}

/// Starts a peer, which is killed with this program if that ends early.
pub fn start<A, R>(work: fn(A) -> R, argument: A) -> Result<JoinHandle<R>>
where
    A: Serialize + DeserializeOwned + 'static,
    R: Serialize + DeserializeOwned + 'static,
{
    let builder = Builder::new().name("compare peer").die_with_parent(true).env("TMPDIR", leftovers::directory());
    builder.spawn(work, argument).context("a peer cannot be started")
}

/// Waits for all peers. If one fails, or they are not done in time, the others are killed: they may wait for it.
pub fn finish<R: DeserializeOwned>(peers: Vec<JoinHandle<R>>) -> Result<Vec<R>> {
    let start = Instant::now();
    let mut results: Vec<Option<R>> = peers.iter().map(|_| None).collect();
    let mut peers: Vec<_> = peers.into_iter().enumerate().collect();
    while let Some((_, first)) = peers.first_mut() {
        // Sleeps until that one is done, and looks at the others now and then.
        let mut done = first.join_timeout(LOOK).map(|result| (0, result));
        if done.is_none() {
            done = peers.iter_mut().enumerate().find_map(|(at, (_, peer))| Some((at, peer.try_join()?)));
        }
        match done {
            Some((at, Ok(result))) => {
                let (index, _) = peers.swap_remove(at);
                results[index] = Some(result);
            }
            Some((at, Err(error))) => {
                drop(peers.swap_remove(at));
                kill(peers);
                return Err(error.into());
            }
            None if start.elapsed() > PATIENCE => {
                kill(peers);
                bail!("the peers were not done after {PATIENCE:?}");
            }
            None => {}
        }
    }
    Ok(results.into_iter().flatten().collect())
}

fn kill<R: DeserializeOwned>(peers: Vec<(usize, JoinHandle<R>)>) {
    for (_, peer) in peers {
        // It may just have ended, and how is of no interest any more.
        let _ = peer.kill();
        let _ = peer.join();
    }
}
