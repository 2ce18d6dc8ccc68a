//! The one thread of a pool: it sleeps until a worker ends, recovers what the worker held, and starts another.
//!
//! Recovery does not depend on it, as whoever waits in a queue reaps as well. It only comes at once instead of after some milliseconds.

use crate::ledger::Ledger;
use crate::queues::Queues;
use crate::worker::{self, Roles};
use parking_lot::Mutex;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use shmkit_process::{Builder, JoinError, JoinHandle, SpawnError};
use shmkit_segment::Segment;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// So many workers in a row that do not even come up, and the pool gives up.
const PATIENCE: u32 = 3;

/// What the supervisor shares with the pool.
pub(crate) struct Crew {
    workers: Mutex<Vec<JoinHandle<()>>>,
    /// A worker's roles, to be cloned for each. They also keep both queues open while there is no worker.
    roles: Mutex<Option<Roles>>,
    ledger: Arc<Ledger>,
    segment: Arc<Segment<Queues>>,
    closing: AtomicBool,
    /// Readable when the supervisor should look up.
    bell: OwnedFd,
}

impl Crew {
    pub(crate) fn new(segment: Arc<Segment<Queues>>, roles: Roles, ledger: Arc<Ledger>) -> io::Result<Self> {
        Ok(Self {
            workers: Mutex::default(),
            roles: Mutex::new(Some(roles)),
            ledger,
            segment,
            closing: AtomicBool::new(false),
            bell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    /// Starts one more worker. Takes about a millisecond.
    pub(crate) fn hire(&self) -> Result<(), SpawnError> {
        // The roles that are serialised for the worker are counted for it; the clones that this takes are dropped right after.
        let Some(roles) = self.roles.lock().clone() else { return Ok(()) };
        let worker = Builder::new().name("shmkit-worker").die_with_parent(true).spawn(worker::work, roles)?;
        self.workers.lock().push(worker);
        Ok(())
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        self.workers.lock().iter().map(JoinHandle::pid).collect()
    }

    /// Lets the workers go: once the pool has dropped its own roles, they end when they have finished what they are doing.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.roles.lock().take();
        // Fails if the counter is full, that is, if it was rung already.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }

    /// The supervisor's life.
    pub(crate) fn supervise(&self) {
        let mut failures = 0;
        loop {
            let closing = self.closing.load(Ordering::Acquire);
            if closing && self.workers.lock().is_empty() {
                return;
            }
            self.sleep();
            for outcome in self.bury() {
                match outcome {
                    Some(JoinError::NeverStarted(reason)) => {
                        failures += 1;
                        if failures >= PATIENCE {
                            self.ledger.note_broken(&reason.to_string());
                        }
                    }
                    _ => failures = 0,
                }
                if !self.closing.load(Ordering::Acquire)
                    && failures < PATIENCE
                    && let Err(error) = self.hire()
                    && self.workers.lock().is_empty()
                {
                    self.ledger.note_broken(&error.to_string());
                }
            }
        }
    }

    /// Sleeps until a worker has ended or the bell rings.
    fn sleep(&self) {
        let pidfds: Vec<OwnedFd> = {
            let workers = self.workers.lock();
            workers.iter().filter_map(|worker| worker.as_fd().try_clone_to_owned().ok()).collect()
        };
        let mut events: Vec<PollFd<'_>> =
            pidfds.iter().chain([&self.bell]).map(|descriptor| PollFd::new(descriptor, PollFlags::IN)).collect();
        // An error is an interruption: look up.
        let _ = poll(&mut events, None);
        let _ = rustix::io::read(&self.bell, &mut [0_u8; 8]);
    }

    /// Takes the dead workers off the list, recovers what they held, and says how each ended; `None` for one that just returned.
    fn bury(&self) -> Vec<Option<JoinError>> {
        let mut ends = Vec::new();
        self.workers.lock().retain_mut(|worker| match worker.try_join() {
            None => true,
            Some(outcome) => {
                ends.push((worker.pid(), outcome.err()));
                false
            }
        });
        if !ends.is_empty() {
            self.segment.reap_dead();
        }
        for (pid, end) in &ends {
            if let Some(status) = end.as_ref().and_then(status) {
                self.ledger.note_end(*pid, status);
            }
        }
        ends.into_iter().map(|(_, end)| end).collect()
    }
}

fn status(error: &JoinError) -> Option<ExitStatus> {
    match error {
        JoinError::Exited { status } => Some(*status),
        _ => None,
    }
}
