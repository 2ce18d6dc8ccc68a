//! A semaphore that some post to and others acquire from: its permits belong to nobody.
//!
//! ```text
//! at 0  permits:32
//!    4  one, many: the event counts of those who wait (see waiters)
//! ```
//!
//! The number of permits is one word. Each operation is one compare-exchange of it, so a kill comes before or after: there is nothing to sweep. A permit that was acquired is gone, and so it is if its
//! acquirer dies. (Where permits are to come back, a [`Semaphore`](crate::Semaphore) knows whose they are.)
//!
//! Posting is a release and acquiring an acquire of the same word, and exchanges in between keep the chain: whoever acquires a permit sees what all those did who posted before.
//!
//! Who waits, and who is woken, as for the other semaphore: see waiters. Not fair.
//!
//! After Dijkstra; POSIX calls the operations `sem_post` and `sem_wait`.

use crate::error::{AcquireError, AcquireTimeoutError, PostError, TryAcquireError};
use crate::handle::handle;
#[cfg(all(feature = "async", not(loom)))]
use crate::waiters::Many;
use crate::waiters::{HasPermits, One, Waiters, acquire_forms, or_wait, wait_for_many, wait_for_one};
use crate::{Deadline, Error, Watch};
use shmkit_segment::primitive::{AtomicU32, Ordering};
use shmkit_segment::{At, Configuration, Line, Mapped, Memory, Object, Options, PeerId, Plan, Role, kind, shared};
use std::alloc::Layout;
use std::sync::Arc;
use std::time::{Duration, Instant};

shared! {
    /// A number of permits, as it lies in memory.
    pub struct Count {
        permits: AtomicU32,
        waiters: Waiters,
    }
}

#[cfg(not(any(loom, feature = "portable")))]
const _: () = assert!(size_of::<Count>() == 12 && std::mem::offset_of!(Count, waiters) == 4);

/// What is in the segment of a [`CountingSemaphore`].
pub struct CountingSemaphoreObject {
    count: Mapped<Line<Count>>,
    limit: u32,
}

impl Object for CountingSemaphoreObject {
    const KIND: u32 = kind(b"CSEM");
    const HARDENED: bool = true;
    type Parts = (At<Line<Count>>, u32);

    fn payload() -> Layout {
        Layout::new::<()>()
    }

    fn plan(configuration: &Configuration, plan: &mut Plan) -> Result<Self::Parts, Error> {
        match u32::try_from(configuration[0]) {
            Ok(limit @ 1..) => Ok((plan.one()?, limit)),
            _ => Err(Error::Geometry("a counting semaphore is bounded to 1 to 4,294,967,295 permits")),
        }
    }

    fn attach(memory: &Memory, parts: &Self::Parts) -> Self {
        Self { count: memory.one(parts.0), limit: parts.1 }
    }

    fn sweep(&self, _dead: PeerId, _reaper: PeerId) {}

    fn wake_all(&self) {
        self.count.waiters.rouse();
    }
}

impl HasPermits for CountingSemaphoreObject {
    fn waiters(&self) -> &Waiters {
        &self.count.waiters
    }

    fn is_any_free(&self) -> bool {
        self.available() > 0
    }
}

impl CountingSemaphoreObject {
    /// The configuration of one that is bounded to `limit` permits.
    #[must_use]
    pub fn configuration(limit: usize) -> Configuration {
        [limit as u64, 0, 0, 0, 0, 0, 0, 0]
    }

    fn available(&self) -> u32 {
        self.count.permits.load(Ordering::Relaxed)
    }

    /// Changes the number of permits by `change`, unless that gives nothing.
    #[inline]
    fn change(&self, change: impl Fn(u32) -> Option<u32>) -> bool {
        let mut found = self.available();
        while let Some(next) = change(found) {
            // Release and acquire pair with each other, between those who post and those who acquire.
            match self.count.permits.compare_exchange(found, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => found = now,
            }
        }
        false
    }
}

/// Counts permits that some processes post and others acquire. Clones, and handles passed to other processes, are the same semaphore.
///
/// ```
/// use shmkit_sync::{CountingSemaphore, PostError};
///
/// let jobs = CountingSemaphore::new(2)?; // of 2 at most; pass clones of it to child processes
/// jobs.post()?;
/// jobs.post()?;
/// assert_eq!(jobs.post(), Err(PostError::Overflow { limit: 2 }));
/// jobs.acquire_many(2)?;
/// assert!(jobs.try_acquire().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # When a process dies
///
/// What it has posted stays, and what it has acquired is gone: nothing comes back by itself. For permits that do, see [`Semaphore`](crate::Semaphore).
///
/// # Signal handlers
///
/// May post: that neither locks nor allocates.
pub struct CountingSemaphore {
    member: Role<CountingSemaphoreObject>,
}

handle!(CountingSemaphore, CountingSemaphoreObject);

impl CountingSemaphore {
    /// One without permits, bounded to `limit` of them (1 to 4,294,967,295), that can be passed to child processes.
    ///
    /// # Errors
    /// [`Error::Geometry`] for another limit; [`Error::NoSpace`] and [`Error::System`] if shared memory cannot be had.
    pub fn new(limit: usize) -> Result<Self, Error> {
        let configuration = CountingSemaphoreObject::configuration(limit);
        Options::new().anonymous(configuration).map(|segment| Self::with(segment.role(0)))
    }

    /// One without permits, bounded to `limit` of them, for the threads of this process alone.
    ///
    /// # Errors
    /// [`Error::Geometry`] for another limit than 1 to 4,294,967,295.
    pub fn private(limit: usize) -> Result<Self, Error> {
        let configuration = CountingSemaphoreObject::configuration(limit);
        Options::new().private(configuration).map(|segment| Self::with(segment.role(0)))
    }

    fn with(member: Role<CountingSemaphoreObject>) -> Self {
        Self { member }
    }

    /// How many permits there can be.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.object().limit as usize
    }

    /// The number of permits at this moment: a hint.
    #[must_use]
    pub fn available(&self) -> usize {
        self.object().available() as usize
    }

    /// Adds a permit. Never blocks. A read-modify-write, and a system call if somebody waits.
    ///
    /// # Errors
    /// [`PostError::Overflow`] if there are as many as there can be; [`PostError::Forked`].
    #[inline]
    pub fn post(&self) -> Result<(), PostError> {
        self.add(1)?;
        self.object().count.waiters.notify_of_one();
        Ok(())
    }

    /// Adds `count` permits, or none. Never blocks.
    ///
    /// # Errors
    /// [`PostError::Overflow`] if that would be more than there can be; [`PostError::Forked`].
    pub fn post_many(&self, count: usize) -> Result<(), PostError> {
        self.add(count)?;
        self.object().count.waiters.notify_of_several();
        Ok(())
    }

    #[inline]
    fn add(&self, count: usize) -> Result<(), PostError> {
        if self.segment().is_defunct() {
            return Err(PostError::Forked);
        }
        let object = self.object();
        let more = |permits: u32| {
            let sum = usize::try_from(permits).ok()?.checked_add(count)?;
            u32::try_from(sum).ok().filter(|sum| *sum <= object.limit)
        };
        if object.change(more) { Ok(()) } else { Err(PostError::Overflow { limit: self.limit() }) }
    }

    acquire_forms! {
        () -> (), attempt, wait_for_one, One;
        try_acquire, acquire, acquire_timeout, acquire_deadline, acquire_async;
        "a permit", "One read-modify-write."
    }

    acquire_forms! {
        (count: usize) -> (), attempt_many, wait_for_many, Many;
        try_acquire_many, acquire_many, acquire_many_timeout, acquire_many_deadline, acquire_many_async;
        "`count` permits, all or none", "One read-modify-write."
    }

    /// A permit to be had, as something to wait for beside others: see [`Select`](crate::Select).
    #[must_use]
    pub fn watch(&self) -> Watch {
        Arc::new(One(Arc::clone(self.segment())))
    }

    #[inline]
    fn attempt(&self) -> Result<(), TryAcquireError> {
        self.attempt_many(1)
    }

    #[inline]
    fn attempt_many(&self, count: usize) -> Result<(), TryAcquireError> {
        let object = self.object();
        let Some(count) = u32::try_from(count).ok().filter(|count| *count <= object.limit) else {
            return Err(TryAcquireError::TooMany { limit: self.limit() });
        };
        if object.change(|permits| permits.checked_sub(count)) { Ok(()) } else { Err(TryAcquireError::Unavailable) }
    }
}
