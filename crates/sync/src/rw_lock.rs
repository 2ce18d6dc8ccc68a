//! A value that many can hold for reading, or one for writing: a [gate](crate::gate), and two copies of the value (see [owner](crate::owner)).

use crate::error::{LockError, LockTimeoutError, TryLockError};
use crate::gate::Gate;
use crate::handle::{handle, lock_forms};
use crate::owner::{Copies, DIED, Draft, drafting, read};
use crate::sole::{Part, Sole};
use crate::{Deadline, Error};
use shmkit_segment::{Configuration, Options, PeerId, Plain, Role, kind, shared};
use std::ops::Deref;

shared! {
    /// A lock for readers and writers, as it lies in memory: the gate, and two copies of the value.
    pub struct Gated<T: Plain> {
        gate: Gate,
        copies: Copies<T>,
    }
}

#[cfg(not(any(loom, feature = "portable")))]
const _: () = assert!(std::mem::offset_of!(Gated<u8>, copies) == size_of::<Gate>());

/// What is in the segment of an [`RwLock`]. Its configuration is `Configuration::default()`.
pub type RwLockObject<T> = Sole<Gated<T>>;

impl<T: Plain> Part for Gated<T> {
    const KIND: u32 = kind(b"RWLK");
    type Payload = T;

    fn sweep(&self, dead: PeerId) {
        self.gate.sweep(dead);
    }

    fn wake_all(&self) {
        self.gate.wake_all();
    }
}

/// A value that many can read at a time, or one can change, across processes. Clones, and handles passed to other processes, are the same lock.
///
/// ```
/// use shmkit_sync::RwLock;
///
/// let limits = RwLock::new([10_u32, 20])?; // pass clones of it to child processes
/// {
///     let (one, other) = (limits.read().unwrap(), limits.read().unwrap());
///     assert_eq!(one[0] + other[1], 30);
/// }
/// limits.write().unwrap()[0] = 11;
/// # Ok::<(), shmkit_sync::Error>(())
/// ```
///
/// As with a [`Mutex`](crate::Mutex), guards work on a copy of the value, and what a writer has changed is written back as a whole or not at all. A [`Mutex`](crate::Mutex) is faster unless it is held for long.
///
/// A thread that has a read lock and asks for another waits for ever if a writer has come in between, and one that asks for a write lock always does.
///
/// # When a holder dies
///
/// A dead reader's lock is taken back. After a dead writer, readers and writers get the value as it was before its changes, in a [`LockError::OwnerDied`], until a writer has made it
/// consistent. A waiter notices within about 50 ms. Holders that are stopped keep their locks.
///
/// # Signal handlers
///
/// Must not lock it: they may have interrupted its holder.
pub struct RwLock<T: Plain> {
    member: Role<RwLockObject<T>>,
}

handle!(RwLock<T: Plain>, RwLockObject<T>);

impl<T: Plain> RwLock<T> {
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

    fn with(member: Role<RwLockObject<T>>) -> Self {
        Self { member }
    }

    fn holding(self, value: T) -> Self {
        // Nobody else is there yet: the copy that is current in a word of zero.
        self.object().copies[0].write(value);
        self
    }

    fn gate(&self) -> &Gate {
        &self.object().gate
    }

    lock_forms! {
        ReadGuard<T>, take_to_read, wait_to_read, hold_to_read; try_read, read, read_timeout, read_deadline;
        "If no writer has it: two read-modify-writes in all, on a line that only this process writes, and the value is copied."
    }

    lock_forms! {
        WriteGuard<T>, take_to_write, wait_to_write, hold_to_write; try_write, write, write_timeout, write_deadline;
        "If nobody has it: a compare-exchange, a look at each place in the peers' table, and the value is copied."
    }

    #[inline]
    fn take_to_read(&self) -> Option<u32> {
        self.gate().try_read(self.segment())
    }

    #[cold]
    fn wait_to_read(&self, deadline: Deadline) -> Option<u32> {
        self.gate().read(self.segment(), deadline)
    }

    #[inline]
    fn take_to_write(&self) -> Option<u32> {
        self.gate().try_write(self.segment())
    }

    #[cold]
    fn wait_to_write(&self, deadline: Deadline) -> Option<u32> {
        self.gate().write(self.segment(), deadline)
    }

    #[inline]
    fn hold_to_read(&self, word: u32) -> ReadGuard<'_, T> {
        ReadGuard { lock: self, value: read(&self.object().copies, word), has_died: word & DIED != 0 }
    }

    #[inline]
    fn hold_to_write(&self, word: u32) -> WriteGuard<'_, T> {
        WriteGuard { lock: self, draft: Draft::new(&self.object().copies, word) }
    }
}

/// An [`RwLock`], held for reading: dereferences to a copy of the value, which nobody changes meanwhile.
///
/// Dropping it costs a read-modify-write and a load, and a system call if a writer waits.
#[must_use = "the lock is given back at once if the guard is not kept"]
pub struct ReadGuard<'a, T: Plain> {
    lock: &'a RwLock<T>,
    value: T,
    has_died: bool,
}

impl<T: Plain> ReadGuard<'_, T> {
    /// Whether a writer was killed with the lock, and no other has made it consistent since.
    #[inline]
    pub fn is_inconsistent(&self) -> bool {
        self.has_died
    }
}

impl<T: Plain> Deref for ReadGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Plain> Drop for ReadGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // A fork's copy of a guard is not the holder's.
        if !self.lock.segment().is_defunct() {
            self.lock.gate().unlock_read(self.lock.segment());
        }
    }
}

impl<T: Plain + std::fmt::Debug> std::fmt::Debug for ReadGuard<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (**self).fmt(f)
    }
}

/// An [`RwLock`], held for writing: dereferences to a copy of the value, which is written back, if it was borrowed mutably, when the lock is given back on drop.
///
/// Dropping it costs a store and two loads, and a system call or two if somebody waits. If that happens because the thread panics, the changes are dropped as well.
#[must_use = "the lock is given back at once if the guard is not kept"]
pub struct WriteGuard<'a, T: Plain> {
    lock: &'a RwLock<T>,
    draft: Draft<T>,
}

drafting!(WriteGuard);

impl<T: Plain> Drop for WriteGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // A fork's copy of a guard is not the holder's.
        if !self.lock.segment().is_defunct() {
            let gate = self.lock.gate();
            self.draft.commit(&self.lock.object().copies, gate.word());
            gate.notify();
        }
    }
}
