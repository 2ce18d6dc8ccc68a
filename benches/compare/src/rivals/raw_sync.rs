//! `raw_sync`'s mutex: glibc's, for processes, behind a trait object.
//!
//! It is made once, before anybody else has the memory; everybody else finds it there. It has no robust form: where a holder dies, the others wait for
//! ever. Only the calls that wait without a time limit are used, as those with one count nanoseconds without a carry.

use crate::peers::processes::Ticket;
use crate::peers::shared::{Shared, Words};
use crate::peers::turns::Guarded;
use anyhow::{Result, anyhow, ensure};
use raw_sync::locks::{LockImpl, LockInit, Mutex};
use serde::{Deserialize, Serialize};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU64, Ordering};

/// More than it says it needs: that is checked.
const ROOM: usize = 64;

/// The lock, and on the same pair of lines what it guards.
#[repr(C, align(128))]
struct Locked {
    lock: UnsafeCell<[u8; ROOM]>,
    number: AtomicU64,
}

// SAFETY: the cell is accessed by the C library's calls for mutexes only, which any thread may make, after a first that is made before anybody
// else has the memory.
unsafe impl Sync for Locked {}

// SAFETY: an atomic and what the C library keeps; zeros are a value of either; aligned to 128 bytes.
unsafe impl Words for Locked {}

/// The lock on its way to a process.
#[derive(Clone, Serialize, Deserialize)]
pub struct RawSync(Shared<Locked>);

/// The lock as a process has it.
pub struct Opened {
    lock: Box<dyn LockImpl>,
    /// Keeps the memory.
    _memory: Shared<Locked>,
}

impl RawSync {
    /// A lock that guards zero.
    pub fn new() -> Result<Self> {
        let memory = Shared::<Locked>::new()?;
        let (lock, number) = places(&memory);
        ensure!(Mutex::size_of(Some(lock)) <= ROOM, "the lock does not fit");
        // SAFETY: so many bytes are there, aligned to more than a pointer, so that it takes the first of them; nobody else has them yet.
        unsafe { Mutex::new(lock, number) }.map_err(|error| anyhow!("raw_sync: {error}"))?;
        Ok(Self(memory))
    }
}

/// Where the lock is, and what it guards.
fn places(memory: &Locked) -> (*mut u8, *mut u8) {
    (memory.lock.get().cast(), memory.number.as_ptr().cast())
}

impl Ticket for RawSync {
    type End = Opened;

    fn open(self) -> Result<Opened> {
        let (lock, number) = places(&self.0);
        // SAFETY: `new` has made one there, and the memory lives as long as the result, which has it.
        let found = unsafe { Mutex::from_existing(lock, number) };
        let (lock, _) = found.map_err(|error| anyhow!("raw_sync: {error}"))?;
        Ok(Opened { lock, _memory: self.0 })
    }
}

impl Guarded for Opened {
    #[inline(always)]
    fn add_one(&mut self, limit: u64) -> bool {
        let guard = self.lock.lock().expect("it can be locked");
        let number: *mut AtomicU64 = (*guard).cast();
        // SAFETY: it is `Locked::number`, in memory that `self` keeps.
        let number = unsafe { &*number };
        let value = number.load(Ordering::Relaxed);
        if value < limit {
            number.store(value + 1, Ordering::Relaxed);
        }
        value < limit
    }
}
