//! A semaphore whose permits come back when their holder dies.
//!
//! Each permit is a word of its own that says who has it, so that a kill at any instruction leaves no doubt:
//!
//! ```text
//! permit = 0: free, else peer + 1          free ──acquire: CAS──▶ peer + 1 ──release: store──▶ free
//!                                                                    └──sweep of a dead peer: CAS──▶ free
//! ```
//!
//! (A counter would have to be changed together with a note of who changed it, and there is no such instruction. A note written before
//! the change says after a kill that it *may* have happened, which is worse than nothing.)
//!
//! Release is a release store and acquire an acquire exchange of the same word, so what one holder of a permit wrote before giving it
//! back is seen by the next holder of that permit. With one permit this is a lock.
//!
//! Not fair: whoever comes at the right moment gets the permit. A waiter can be overtaken for ever in theory.

use crate::{Deadline, Error, EventCount};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use shmkit_segment::primitive::{AtomicU16, Ordering};
use shmkit_segment::{
    At, AtSlice, Configuration, Line, Mapped, MappedSlice, Memory, Object, Options, PeerId, Plan, Role, kind,
};
use std::alloc::Layout;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

const FREE: u16 = 0;

/// What a holder writes into its permit.
fn mark(peer: PeerId) -> u16 {
    peer.number() + 1
}

/// The semaphore in the segment.
struct Permits {
    words: MappedSlice<AtomicU16>,
    released: Mapped<Line<EventCount>>,
}

fn configuration(permits: usize) -> Configuration {
    [permits as u64, 0, 0, 0, 0, 0, 0, 0]
}

impl Object for Permits {
    const KIND: u32 = kind(b"SEMA");
    const HARDENED: bool = true;
    type Parts = (At<Line<EventCount>>, AtSlice<AtomicU16>);

    fn payload() -> Layout {
        Layout::new::<()>()
    }

    fn plan(configuration: &Configuration, plan: &mut Plan) -> Result<Self::Parts, Error> {
        match configuration[0] {
            permits @ 1..=65_536 => Ok((plan.one()?, plan.slice(permits as usize)?)),
            _ => Err(Error::Geometry("a semaphore has 1 to 65,536 permits")),
        }
    }

    fn attach(memory: &Memory, parts: &Self::Parts) -> Self {
        Self { words: memory.slice(parts.1), released: memory.one(parts.0) }
    }

    fn sweep(&self, dead: PeerId, _reaper: PeerId) {
        for word in &*self.words {
            if word.load(Ordering::Relaxed) == mark(dead) {
                // Nobody else changes the permit of a dead peer; release, as its holder would have done.
                word.store(FREE, Ordering::Release);
            }
        }
    }

    fn wake_all(&self) {
        self.released.rouse();
    }
}

/// Limits how many may do something at a time, across processes. Clones, and handles passed to other processes, share its
/// permits.
///
/// # When a holder dies
///
/// Its permits come back as soon as somebody notices: a waiter does within about 50 ms. Nothing is known about the state of what the
/// semaphore guarded.
pub struct Semaphore {
    member: Role<Permits>,
    /// Where the last permit was found, so that uncontended use touches one word.
    cursor: AtomicUsize,
}

/// No permit was free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TryAcquireError {
    /// All permits are held; wait with `acquire`, or come again.
    #[error("all permits are held")]
    Unavailable,
    /// This process is a fork of the one that has the handle.
    #[error("this process was forked from the one that has the handle: open it anew")]
    Forked,
}

/// No permit became free in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AcquireTimeoutError {
    /// The time is up.
    #[error("no permit came free in time")]
    Timeout,
    /// This process is a fork of the one that has the handle.
    #[error("this process was forked from the one that has the handle: open it anew")]
    Forked,
}

/// There will never be a permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AcquireError {
    /// This process is a fork of the one that has the handle.
    #[error("this process was forked from the one that has the handle: open it anew")]
    Forked,
}

impl Semaphore {
    /// A semaphore of `permits` permits (1 to 65,536, two bytes each) that can be passed to child processes.
    ///
    /// # Errors
    /// [`Error::Geometry`] for another number of permits; [`Error::NoSpace`] and [`Error::System`] if shared memory cannot be had.
    pub fn new(permits: usize) -> Result<Self, Error> {
        Options::new().anonymous(configuration(permits)).map(|segment| Self::of(segment.role(0)))
    }

    /// A semaphore for the threads of this process alone.
    ///
    /// # Errors
    /// [`Error::Geometry`] for another number than 1 to 65,536.
    pub fn private(permits: usize) -> Result<Self, Error> {
        Options::new().private(configuration(permits)).map(|segment| Self::of(segment.role(0)))
    }

    fn of(member: Role<Permits>) -> Self {
        Self { member, cursor: AtomicUsize::new(0) }
    }

    fn permits(&self) -> &Permits {
        self.member.segment().object()
    }

    /// The number of permits there are.
    #[must_use]
    pub fn permits_total(&self) -> usize {
        self.permits().words.len()
    }

    /// The number of permits that are free at this moment: a hint, as it may be wrong by the time it is returned.
    #[must_use]
    pub fn available(&self) -> usize {
        self.permits().words.iter().filter(|word| word.load(Ordering::Relaxed) == FREE).count()
    }

    /// Takes a permit if one is free. Never blocks. One compare-exchange if the permit last used is free.
    ///
    /// # Errors
    /// [`TryAcquireError::Unavailable`] if none is; [`TryAcquireError::Forked`].
    pub fn try_acquire(&self) -> Result<Permit<'_>, TryAcquireError> {
        use std::sync::atomic::Ordering::Relaxed;
        // In a fork, the memory is a copy in which all permits are free.
        if self.member.segment().is_defunct() {
            return Err(TryAcquireError::Forked);
        }
        let words = &self.permits().words;
        let me = mark(self.member.segment().me());
        let start = self.cursor.load(Relaxed);
        for index in (start..words.len()).chain(0..start) {
            let word = &words[index];
            // Acquire pairs with the release in `Permit::drop`: what the last holder of this permit did is seen.
            if word.load(Ordering::Relaxed) == FREE
                && word.compare_exchange(FREE, me, Ordering::Acquire, Ordering::Relaxed).is_ok()
            {
                self.cursor.store(index, Relaxed);
                return Ok(Permit { semaphore: self, index });
            }
        }
        Err(TryAcquireError::Unavailable)
    }

    /// Takes a permit, and blocks until there is one.
    ///
    /// # Errors
    /// [`AcquireError::Forked`].
    pub fn acquire(&self) -> Result<Permit<'_>, AcquireError> {
        loop {
            match self.acquire_until(Deadline::NEVER) {
                Ok(permit) => return Ok(permit),
                Err(AcquireTimeoutError::Timeout) => {}
                Err(AcquireTimeoutError::Forked) => return Err(AcquireError::Forked),
            }
        }
    }

    /// Takes a permit, and blocks for at most `timeout`.
    ///
    /// # Errors
    /// [`AcquireTimeoutError::Timeout`] if none came free in time.
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Permit<'_>, AcquireTimeoutError> {
        self.acquire_until(Deadline::after(timeout))
    }

    /// Takes a permit, and blocks until `deadline` at the latest.
    ///
    /// # Errors
    /// [`AcquireTimeoutError::Timeout`] if none came free in time.
    pub fn acquire_deadline(&self, deadline: Instant) -> Result<Permit<'_>, AcquireTimeoutError> {
        self.acquire_until(deadline.into())
    }

    fn acquire_until(&self, deadline: Deadline) -> Result<Permit<'_>, AcquireTimeoutError> {
        let attempt = || match self.try_acquire() {
            Ok(permit) => Some(Ok(permit)),
            Err(TryAcquireError::Unavailable) => None,
            Err(TryAcquireError::Forked) => Some(Err(AcquireTimeoutError::Forked)),
        };
        if let Some(outcome) = attempt() {
            return outcome;
        }
        let more = || self.available() > 0;
        let idle = || {
            self.member.segment().look_after_peers();
        };
        let outcome = self.permits().released.wait_until(deadline, attempt, more, idle);
        outcome.unwrap_or(Err(AcquireTimeoutError::Timeout))
    }
}

impl Clone for Semaphore {
    fn clone(&self) -> Self {
        Self::of(self.member.clone())
    }
}

impl Serialize for Semaphore {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.member.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Semaphore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Role::deserialize(deserializer).map(Self::of)
    }
}

/// One permit of a [`Semaphore`], given back on drop: a store and a load, and a system call if somebody waits.
#[must_use = "the permit goes back at once if it is not kept"]
pub struct Permit<'a> {
    semaphore: &'a Semaphore,
    index: usize,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let permits = self.semaphore.permits();
        // Release pairs with the acquire in `try_acquire`.
        permits.words[self.index].store(FREE, Ordering::Release);
        permits.released.notify_one();
    }
}
