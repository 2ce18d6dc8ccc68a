//! The one thread of a pool: it sleeps until a worker ends, recovers what the worker held, and starts another.
//!
//! Recovery does not depend on it, as whoever waits in a queue reaps as well. It only comes at once instead of after some milliseconds.

use crate::ledger::Ledger;
use crate::queues::Queues;
use crate::worker::{self, Roles};
use parking_lot::Mutex;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use shmkit_process::{Builder, JoinError, JoinHandle, SpawnError, StartFailure};
use shmkit_segment::Segment;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// So many workers in a row that do not even come up, and the pool gives up. One that was killed from outside before it came up says nothing
/// about the next.
const PATIENCE: u32 = 3;

/// After so long, starting a worker that could not be started is tried again.
const RETRY: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// A worker that has not come up by then is not waited for any longer (`shmkit_process` kills it when it is looked at).
const START_UP: Duration = Duration::from_secs(10);

/// How often to look at workers that may not have come up yet.
const LOOK: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

const SIGKILL: i32 = 9;

/// What the supervisor shares with the pool.
pub(crate) struct Crew {
    workers: Mutex<Vec<JoinHandle<()>>>,
    /// When a worker was started last.
    last_hired: Mutex<Instant>,
    /// How many workers there should be.
    size: usize,
    /// A worker's roles, to be cloned for each. They also keep both queues open while there is no worker.
    roles: Mutex<Option<Roles>>,
    ledger: Arc<Ledger>,
    segment: Arc<Segment<Queues>>,
    closing: AtomicBool,
    /// Readable when the supervisor should look up.
    bell: OwnedFd,
}

impl Crew {
    pub(crate) fn new(
        size: usize,
        segment: Arc<Segment<Queues>>,
        roles: Roles,
        ledger: Arc<Ledger>,
    ) -> io::Result<Self> {
        Ok(Self {
            workers: Mutex::default(),
            last_hired: Mutex::new(Instant::now()),
            size,
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
        let worker = Builder::new()
            .name("shmkit-worker")
            .die_with_parent(true)
            .startup_timeout(START_UP)
            .spawn(worker::work, roles)?;
        *self.last_hired.lock() = Instant::now();
        self.ledger.forget_end(worker.pid());
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
        let mut reason = String::new();
        loop {
            if failures < PATIENCE
                && let Err(error) = self.fill_up()
            {
                reason = error.to_string();
            }
            if self.workers.lock().is_empty() {
                if self.closing.load(Ordering::Acquire) {
                    return;
                }
                // As long as there are workers, the tasks get done and there is time to try again; now, nobody would ever be told.
                failures = PATIENCE;
                self.ledger.note_broken(&reason);
            }
            self.sleep(failures < PATIENCE);
            for outcome in self.bury() {
                match outcome {
                    Some(JoinError::NeverStarted(StartFailure::Ended { status: Some(status) }))
                        if status.signal() == Some(SIGKILL) => {}
                    Some(JoinError::NeverStarted(failure)) => {
                        failures += 1;
                        reason = failure.to_string();
                    }
                    _ => failures = 0,
                }
            }
        }
    }

    /// Starts as many workers as are missing.
    fn fill_up(&self) -> Result<(), SpawnError> {
        while !self.closing.load(Ordering::Acquire) && self.workers.lock().len() < self.size {
            self.hire()?;
        }
        Ok(())
    }

    /// Sleeps until a worker has ended or the bell rings, and not for long if workers are missing.
    fn sleep(&self, try_again: bool) {
        let pidfds: Vec<OwnedFd> = {
            let workers = self.workers.lock();
            workers.iter().filter_map(|worker| worker.as_fd().try_clone_to_owned().ok()).collect()
        };
        // A pidfd that could not be duplicated, for want of descriptors, is looked after in the same way.
        let missing = pidfds.len() < self.size && !self.closing.load(Ordering::Acquire) && try_again;
        let mut events: Vec<PollFd<'_>> =
            pidfds.iter().chain([&self.bell]).map(|descriptor| PollFd::new(descriptor, PollFlags::IN)).collect();
        let starting = self.last_hired.lock().elapsed() < START_UP + Duration::from_secs(1);
        let limit = if missing { Some(&RETRY) } else { starting.then_some(&LOOK) };
        // An error is an interruption: look up.
        let _ = poll(&mut events, limit);
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
