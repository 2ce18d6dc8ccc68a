//! A lock and the value that it guards.
//!
//! ```text
//! at 0   word (see owner)   free ──lock: compare-exchange──▶ owner ──unlock: a store──▶ free, the other copy current if it was changed
//!                                                              └──its death: sweep──▶ free, DIED
//!    4   released           the event count of those who wait
//!    8   copies[2]          the value, and room for the next one; each a multiple of 8 bytes
//! ```
//!
//! # Why it is a lock
//!
//! Of all who find the word free, one wins the exchange; nobody changes it then but the owner, or the reaper of the owner. The owner
//! can be named at every instant, as it is the exchange itself that names it.
//!
//! # Why nobody sleeps beside a free lock
//!
//! Whoever gives the lock back notifies one waiter afterwards, with the guarantees that the event count gives to a condition that one waiter makes false again.
//! A waiter that slept has set W again before its next attempt. So if it gets the lock, its own release wakes the next, and no baton is needed: as
//! long as the lock is held, there is nothing to pass on. A holder that is killed between the store and the wake leaves the wake to its reaper, which rouses everybody whether
//! or not the dead one had the lock.
//!
//! After the futex-based mutexes of Ulrich Drepper ("Futexes are tricky", 2011), with the waiters' flag in a word of its own: so unlocking is a store and a load, not a
//! read-modify-write. `models/mutex.py` explores it with kills at every step, `tests/loom` this code.
//!
//! Not fair: whoever comes at the right moment gets the lock. A waiter can be overtaken for ever in theory. There is no inheritance of priorities: a holder of low priority
//! that is not scheduled keeps one of high priority waiting.

use crate::error::{LockError, LockTimeoutError, TryLockError};
use crate::handle::{handle, lock_forms};
use crate::owner::{Copies, DIED, Draft, drafting, mark, sweep, take};
use crate::sole::{Part, Sole};
use crate::{Deadline, Error, EventCount};
use shmkit_segment::primitive::AtomicU32;
use shmkit_segment::{Configuration, Options, PeerId, Plain, Role, kind, shared};
#[cfg(not(any(loom, feature = "portable")))]
use std::mem::offset_of;

shared! {
    /// A lock, as it lies in memory: `word`, `released`, and two copies of the value.
    pub struct Guarded<T: Plain> {
        word: AtomicU32,
        released: EventCount,
        copies: Copies<T>,
    }
}

#[cfg(not(any(loom, feature = "portable")))]
const _: () = {
    assert!(offset_of!(Guarded<u8>, released) == 4 && offset_of!(Guarded<u8>, copies) == 8);
    assert!(size_of::<Guarded<u8>>() == 24);
};

/// What is in the segment of a [`Mutex`]. Its configuration is `Configuration::default()`.
pub type MutexObject<T> = Sole<Guarded<T>>;

impl<T: Plain> Part for Guarded<T> {
    const KIND: u32 = kind(b"MUTX");
    type Payload = T;

    fn sweep(&self, dead: PeerId) {
        sweep(&self.word, dead);
    }

    fn wake_all(&self) {
        self.released.rouse();
    }
}

/// A value that one at a time can read and change, across processes. Clones, and handles passed to other processes, are the same lock.
///
/// ```
/// use shmkit_sync::Mutex;
///
/// let count = Mutex::new(0_u64)?; // pass clones of it to child processes
/// *count.lock().unwrap() += 1;
/// assert_eq!(*count.lock().unwrap(), 1);
/// # Ok::<(), shmkit_sync::Error>(())
/// ```
///
/// Guards work on a copy of the value, which is written back when they are dropped: all of it or nothing, wherever their process is killed. So it is meant for values of
/// up to some hundred bytes; for more, there are [`Array`](crate::Array)s.
///
/// It is not recursive: a thread that locks it twice waits for itself for ever. (A lock that lets its holder in again would have to count, per thread, in
/// shared memory; and a guard that changes the value could not be given out a second time.)
///
/// # When a holder dies
///
/// The next one to lock it gets the value as it was before the dead holder's changes, in a [`LockError::OwnerDied`]. A waiter notices within
/// about 50 ms. A holder that is stopped keeps the lock: it is not dead.
///
/// # Signal handlers
///
/// Must not lock it: they may have interrupted its holder.
pub struct Mutex<T: Plain> {
    member: Role<MutexObject<T>>,
}

handle!(Mutex<T: Plain>, MutexObject<T>);

impl<T: Plain> Mutex<T> {
    /// A lock on `value` that can be passed to child processes.
    ///
    /// # Errors
    /// [`Error::NoSpace`] and [`Error::System`] if shared memory cannot be had.
    pub fn new(value: T) -> Result<Self, Error> {
        Options::new().anonymous(Configuration::default()).map(|segment| Self::with(segment.role(0)).holding(value))
    }

    /// A lock on `value` for the threads of this process alone.
    ///
    /// # Errors
    /// What the kernel says about memory.
    pub fn private(value: T) -> Result<Self, Error> {
        Options::new().private(Configuration::default()).map(|segment| Self::with(segment.role(0)).holding(value))
    }

    fn with(member: Role<MutexObject<T>>) -> Self {
        Self { member }
    }

    fn holding(self, value: T) -> Self {
        // Nobody else is there yet: the copy that is current in a word of zero.
        self.guarded().copies[0].write(value);
        self
    }

    #[inline]
    pub(crate) fn guarded(&self) -> &Guarded<T> {
        self.object()
    }

    lock_forms! {
        MutexGuard<T>, take, wait_until, hold; try_lock, lock, lock_timeout, lock_deadline;
        "If nobody holds it: a compare-exchange, and the value is copied."
    }

    #[inline]
    fn take(&self) -> Option<u32> {
        take(&self.guarded().word, mark(self.segment().me()))
    }

    #[cold]
    fn wait_until(&self, deadline: Deadline) -> Option<u32> {
        let idle = || self.segment().look_after_peers();
        self.guarded().released.wait_until(deadline, || self.take(), || false, idle)
    }

    #[inline]
    fn hold(&self, word: u32) -> MutexGuard<'_, T> {
        MutexGuard { mutex: self, draft: Draft::new(&self.guarded().copies, word) }
    }
}

/// The lock of a [`Mutex`], held: dereferences to a copy of the value, which is written back, if it was borrowed mutably, when the lock is given back on drop.
///
/// Dropping it costs a store and a load, and a system call if somebody waits. If that happens because the thread panics, the changes are dropped as well.
#[must_use = "the lock is given back at once if the guard is not kept"]
pub struct MutexGuard<'a, T: Plain> {
    mutex: &'a Mutex<T>,
    draft: Draft<T>,
}

impl<'a, T: Plain> MutexGuard<'a, T> {
    /// The mutex that it locks.
    pub(crate) fn mutex(&self) -> &'a Mutex<T> {
        self.mutex
    }
}

drafting!(MutexGuard);

impl<T: Plain> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // A fork's copy of a guard is not the holder's.
        if self.mutex.segment().is_defunct() {
            return;
        }
        let guarded = self.mutex.guarded();
        self.draft.commit(&guarded.copies, &guarded.word);
        guarded.released.notify_one();
    }
}
