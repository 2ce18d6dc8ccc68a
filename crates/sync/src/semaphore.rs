//! A semaphore whose permits come back when their holder dies.
//!
//! Each permit is a word of its own that says who has it, so that a kill at any instruction leaves no doubt:
//!
//! ```text
//! at   0  one, many: the event counts of those who wait (see waiters)
//!    128  permits[], 16 bits each:
//!
//! permit = 0: free, else peer + 1          free ──acquire: CAS──▶ peer + 1 ──release: store──▶ free
//!                                                                    └──sweep of a dead peer: store──▶ free
//! ```
//!
//! (A counter would have to be changed together with a note of who changed it, and there is no such instruction. A note written before
//! the change says after a kill that it *may* have happened, which is worse than nothing.)
//!
//! Release is a release store and acquire an acquire exchange of the same word, so what one holder of a permit wrote before giving it
//! back is seen by the next holder of that permit. With one permit this is a lock.
//!
//! # Several at once
//!
//! Whoever wants several looks whether enough are free, takes them one by one, and gives all back if there were too few in the end: nobody keeps some while it waits for more. (If it did not
//! look first, it would never sleep: what it takes and gives back moves the very event count that it is going to sleep on.) Two that want several can turn each other away, and try again; in between a single
//! permit can seem to be taken that is about to come back, and comes with a wake-up.
//!
//! Those who want one and those who want several sleep on event counts of their own (see waiters). `models/semaphore.py` explores it.
//!
//! Not fair: whoever comes at the right moment gets the permit. A waiter can be overtaken for ever in theory, and one that wants many by those that want few.

use crate::error::{AcquireError, AcquireTimeoutError, TryAcquireError};
use crate::handle::handle;
use crate::owner::mark;
#[cfg(all(feature = "async", not(loom)))]
use crate::waiters::Many;
use crate::waiters::{HasPermits, One, Waiters, acquire_forms, or_wait, wait_for_many, wait_for_one};
use crate::{Deadline, Error, Watch};
use shmkit_segment::primitive::{AtomicU16, Ordering};
use shmkit_segment::{
    At, AtSlice, Configuration, Line, Mapped, MappedSlice, Memory, Object, Options, PeerId, Plan, Role, kind,
};
use std::alloc::Layout;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

const FREE: u16 = 0;

/// What is in the segment of a [`Semaphore`].
pub struct SemaphoreObject {
    words: MappedSlice<AtomicU16>,
    waiters: Mapped<Line<Waiters>>,
}

impl Object for SemaphoreObject {
    const KIND: u32 = kind(b"SEMA");
    const HARDENED: bool = true;
    type Parts = (At<Line<Waiters>>, AtSlice<AtomicU16>);

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
        Self { words: memory.slice(parts.1), waiters: memory.one(parts.0) }
    }

    fn sweep(&self, dead: PeerId, _reaper: PeerId) {
        for word in &*self.words {
            if u32::from(word.load(Ordering::Relaxed)) == mark(dead) {
                // Nobody else changes the permit of a dead peer; release, as its holder would have done.
                word.store(FREE, Ordering::Release);
            }
        }
    }

    fn wake_all(&self) {
        self.waiters.rouse();
    }
}

impl HasPermits for SemaphoreObject {
    fn waiters(&self) -> &Waiters {
        &self.waiters
    }

    fn is_any_free(&self) -> bool {
        self.words.iter().any(|word| word.load(Ordering::Relaxed) == FREE)
    }
}

impl SemaphoreObject {
    /// The configuration of one with so many permits.
    #[must_use]
    pub fn configuration(permits: usize) -> Configuration {
        [permits as u64, 0, 0, 0, 0, 0, 0, 0]
    }

    fn available(&self) -> usize {
        self.words.iter().filter(|word| word.load(Ordering::Relaxed) == FREE).count()
    }

    /// Whether so many are free. Ends as soon as it knows.
    fn are_free(&self, count: usize) -> bool {
        let mut free = self.words.iter().filter(|word| word.load(Ordering::Relaxed) == FREE);
        count == 0 || free.nth(count - 1).is_some()
    }
}

/// Limits how many may do something at a time, across processes. Clones, and handles passed to other processes, share its
/// permits.
///
/// # When a holder dies
///
/// Its permits come back as soon as somebody notices: a waiter does within about 50 ms. Nothing is known about the state of what the
/// semaphore guarded.
///
/// # Signal handlers
///
/// Must not wait for a permit: they may have interrupted its holder. To give one back is all right.
pub struct Semaphore {
    member: Role<SemaphoreObject>,
    /// Where the last permit was found, so that uncontended use touches one word.
    cursor: AtomicUsize,
}

handle!(Semaphore, SemaphoreObject);

impl Semaphore {
    /// A semaphore of `permits` permits (1 to 65,536, two bytes each) that can be passed to child processes.
    ///
    /// # Errors
    /// [`Error::Geometry`] for another number of permits; [`Error::NoSpace`] and [`Error::System`] if shared memory cannot be had.
    pub fn new(permits: usize) -> Result<Self, Error> {
        Options::new().anonymous(SemaphoreObject::configuration(permits)).map(|segment| Self::with(segment.role(0)))
    }

    /// A semaphore for the threads of this process alone.
    ///
    /// # Errors
    /// [`Error::Geometry`] for another number than 1 to 65,536.
    pub fn private(permits: usize) -> Result<Self, Error> {
        Options::new().private(SemaphoreObject::configuration(permits)).map(|segment| Self::with(segment.role(0)))
    }

    fn with(member: Role<SemaphoreObject>) -> Self {
        Self { member, cursor: AtomicUsize::new(0) }
    }

    /// The number of permits there are.
    #[must_use]
    pub fn permits_total(&self) -> usize {
        self.object().words.len()
    }

    /// The number of permits that are free at this moment: a hint, as it may be wrong by the time it is returned. A look at each.
    #[must_use]
    pub fn available(&self) -> usize {
        self.object().available()
    }

    acquire_forms! {
        () -> Permit<'_>, attempt, wait_for_one, One;
        try_acquire, acquire, acquire_timeout, acquire_deadline, acquire_async;
        "a permit", "If the permit last used is free: one compare-exchange."
    }

    acquire_forms! {
        (count: usize) -> Permits<'_>, attempt_many, wait_for_many, Many;
        try_acquire_many, acquire_many, acquire_many_timeout, acquire_many_deadline, acquire_many_async;
        "`count` permits, all or none", "A look at each permit until enough are free, and one compare-exchange for each."
    }

    /// A permit to be had, as something to wait for beside others: see [`Select`](crate::Select).
    #[must_use]
    pub fn watch(&self) -> Watch {
        Arc::new(One(Arc::clone(self.segment())))
    }

    #[inline]
    fn attempt(&self) -> Result<Permit<'_>, TryAcquireError> {
        let last = self.cursor.load(std::sync::atomic::Ordering::Relaxed);
        let index = if take(&self.object().words[last], self.mark()) { last } else { self.search(last)? };
        Ok(Permit { semaphore: self, index })
    }

    /// Takes a permit elsewhere than at `last`: its number.
    fn search(&self, last: usize) -> Result<usize, TryAcquireError> {
        let (words, me) = (&self.object().words, self.mark());
        let mut others = (last + 1..words.len()).chain(0..last);
        let index = others.find(|index| take(&words[*index], me)).ok_or(TryAcquireError::Unavailable)?;
        self.cursor.store(index, std::sync::atomic::Ordering::Relaxed);
        Ok(index)
    }

    fn attempt_many(&self, count: usize) -> Result<Permits<'_>, TryAcquireError> {
        let object = self.object();
        if count > object.words.len() {
            return Err(TryAcquireError::TooMany { limit: object.words.len() });
        }
        if !object.are_free(count) {
            return Err(TryAcquireError::Unavailable);
        }
        let me = self.mark();
        let free = (0..object.words.len()).filter(|index| take(&object.words[*index], me));
        // Dropped, and with it all that it has, if there are too few.
        let permits = Permits { semaphore: self, indices: free.take(count).map(|index| index as u16).collect() };
        if permits.count() == count { Ok(permits) } else { Err(TryAcquireError::Unavailable) }
    }

    /// What a holder writes into its permit. It fits, as there are 4,096 peers at most.
    #[inline]
    fn mark(&self) -> u16 {
        mark(self.segment().me()) as u16
    }

    /// Whether what this process has is its own, and not a fork's copy.
    #[inline]
    fn is_own(&self) -> bool {
        !self.segment().is_defunct()
    }

    #[inline]
    fn release(&self, index: usize) {
        // Release pairs with the acquire in `take`.
        self.object().words[index].store(FREE, Ordering::Release);
    }
}

/// Takes a permit if it is free.
#[inline]
fn take(word: &AtomicU16, me: u16) -> bool {
    // Acquire pairs with the release in `Semaphore::release`: what the last holder of this permit did is seen.
    word.load(Ordering::Relaxed) == FREE
        && word.compare_exchange(FREE, me, Ordering::Acquire, Ordering::Relaxed).is_ok()
}

/// One permit of a [`Semaphore`], given back on drop: a store and two loads, and a system call if somebody waits.
#[must_use = "the permit goes back at once if it is not kept"]
#[derive(Debug)]
pub struct Permit<'a> {
    semaphore: &'a Semaphore,
    index: usize,
}

impl Drop for Permit<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.semaphore.is_own() {
            self.semaphore.release(self.index);
            self.semaphore.object().waiters.notify_of_one();
        }
    }
}

/// Several permits of a [`Semaphore`], given back together on drop: a store for each, and a system call if somebody waits.
#[must_use = "the permits go back at once if they are not kept"]
#[derive(Debug)]
pub struct Permits<'a> {
    semaphore: &'a Semaphore,
    indices: Vec<u16>,
}

impl Permits<'_> {
    /// How many they are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.indices.len()
    }
}

impl Drop for Permits<'_> {
    fn drop(&mut self) {
        if !self.indices.is_empty() && self.semaphore.is_own() {
            self.indices.iter().for_each(|index| self.semaphore.release(usize::from(*index)));
            self.semaphore.object().waiters.notify_of_several();
        }
    }
}
