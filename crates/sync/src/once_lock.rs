//! A value that is made once, by whoever needs it first.
//!
//! ```text
//! at 0  word = state:2 | owner:16    EMPTY ──compare-exchange──▶ MAKING, owner ──value written, then a store──▶ DONE
//!                                      ▲                             │
//!                                      └── its maker fails, panics or dies
//!    4  changed, the event count of those who wait
//!    8  value
//! ```
//!
//! The value is written by the one owner, before DONE is stored with release; it is read only after DONE was loaded with acquire, and never written again. Whoever is killed while it makes the value leaves its
//! name in the word, so that its reaper can make it EMPTY, and wake those who wait; one of them makes the value.
//!
//! `models/once.py` explores it.

use crate::error::{WaitError, WaitTimeoutError};
use crate::handle::handle;
use crate::owner::mark;
use crate::sole::{Part, Sole};
use crate::{Deadline, Error, EventCount};
use shmkit_segment::primitive::{AtomicU32, Ordering};
use shmkit_segment::{Configuration, Options, PeerId, Plain, PlainCell, Role, kind, shared};
use std::time::{Duration, Instant};

const EMPTY: u32 = 0;
const MAKING: u32 = 1 << 16;
const DONE: u32 = 2 << 16;

shared! {
    /// A value that is made once, as it lies in memory.
    pub struct Once<T: Plain> {
        word: AtomicU32,
        changed: EventCount,
        value: PlainCell<T>,
    }
}

#[cfg(not(any(loom, feature = "portable")))]
const _: () = assert!(std::mem::offset_of!(Once<u8>, value) == 8);

/// What is in the segment of a [`OnceLock`]. Its configuration is `Configuration::default()`.
pub type OnceLockObject<T> = Sole<Once<T>>;

impl<T: Plain> Part for Once<T> {
    const KIND: u32 = kind(b"ONCE");
    type Payload = T;

    fn sweep(&self, dead: PeerId) {
        let word = &self.word;
        if word.load(Ordering::Relaxed) == MAKING | mark(dead) {
            word.store(EMPTY, Ordering::Release);
        }
    }

    fn wake_all(&self) {
        self.changed.rouse();
    }
}

/// A value that the first of several processes to need it makes, and all read. Clones, and handles passed to other processes, are the same value.
///
/// ```
/// use shmkit_sync::OnceLock;
///
/// let started = OnceLock::new()?; // pass clones of it to child processes
/// assert_eq!(started.get_or_init(|| 17_u64)?, 17);
/// assert_eq!(started.get_or_init(|| 18)?, 17);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// `OnceLock<()>` does something once.
///
/// # When a process dies
///
/// Another one makes the value in its place, as soon as somebody notices: who waits does within about 50 ms. One that is stopped while it makes the value
/// keeps the others waiting.
///
/// # Signal handlers
///
/// Must not make the value or wait for it: they may have interrupted its maker.
pub struct OnceLock<T: Plain> {
    member: Role<OnceLockObject<T>>,
}

handle!(OnceLock<T: Plain>, OnceLockObject<T>);

/// The right to make the value; given back if nothing comes of it.
struct Claim<'a, T: Plain>(&'a OnceLock<T>);

impl<T: Plain> Claim<'_, T> {
    fn fulfil(self, value: T) {
        self.end(|once| {
            once.value.write(value);
            // Release pairs with the acquire in `get`.
            once.word.store(DONE, Ordering::Release);
        });
        std::mem::forget(self);
    }

    /// Ends it, unless this is a fork's copy.
    fn end(&self, how: impl FnOnce(&Once<T>)) {
        if !self.0.segment().is_defunct() {
            how(self.0.once());
            self.0.once().changed.notify_all();
        }
    }
}

impl<T: Plain> Drop for Claim<'_, T> {
    fn drop(&mut self) {
        self.end(|once| once.word.store(EMPTY, Ordering::Release));
    }
}

impl<T: Plain> OnceLock<T> {
    /// One without a value, that can be passed to child processes.
    ///
    /// # Errors
    /// [`Error::NoSpace`] and [`Error::System`] if shared memory cannot be had.
    pub fn new() -> Result<Self, Error> {
        Options::new().anonymous(Configuration::default()).map(|segment| Self::with(segment.role(0)))
    }

    /// One without a value, for the threads of this process alone.
    ///
    /// # Errors
    /// What the kernel says about memory.
    pub fn private() -> Result<Self, Error> {
        Options::new().private(Configuration::default()).map(|segment| Self::with(segment.role(0)))
    }

    fn with(member: Role<OnceLockObject<T>>) -> Self {
        Self { member }
    }

    fn once(&self) -> &Once<T> {
        self.object()
    }

    /// The value, if it has been made. A load, and a copy. `None` in a child made by `fork`.
    #[must_use]
    pub fn get(&self) -> Option<T> {
        let once = self.once();
        // Acquire pairs with the release in `Claim::fulfil`.
        (once.word.load(Ordering::Acquire) == DONE).then(|| once.value.read())
    }

    /// The value; made by `make`, if it has not been. Blocks while another one makes it. If `make` panics, another one's turn comes.
    ///
    /// `make` must not ask for the same value.
    ///
    /// # Errors
    /// [`WaitError::Forked`].
    pub fn get_or_init(&self, make: impl FnOnce() -> T) -> Result<T, WaitError> {
        match self.get_or_try_init(|| Ok::<T, std::convert::Infallible>(make()))? {
            Ok(value) => Ok(value),
        }
    }

    /// The value; made by `make`, if it has not been. If that fails, its error is given back and nothing was made: another one's turn comes.
    ///
    /// # Errors
    /// [`WaitError::Forked`].
    pub fn get_or_try_init<E>(&self, make: impl FnOnce() -> Result<T, E>) -> Result<Result<T, E>, WaitError> {
        if let Some(value) = self.get() {
            return Ok(Ok(value));
        }
        if self.segment().is_defunct() {
            return Err(WaitError::Forked);
        }
        let once = self.once();
        let attempt = || match self.get() {
            Some(value) => Some(Ok(value)),
            None => self.claim().map(Err),
        };
        let idle = || self.segment().look_after_peers();
        let outcome = loop {
            if let Some(outcome) = once.changed.wait_until(Deadline::NEVER, attempt, || false, idle) {
                break outcome;
            }
        };
        match outcome {
            Ok(value) => Ok(Ok(value)),
            Err(claim) => Ok(make().inspect(|value| claim.fulfil(*value))),
        }
    }

    /// Makes `value` the value, if none has been made: what it is now. Blocks while another one makes it.
    ///
    /// # Errors
    /// [`WaitError::Forked`].
    pub fn set(&self, value: T) -> Result<T, WaitError> {
        self.get_or_init(|| value)
    }

    /// The value; blocks until somebody has made it.
    ///
    /// # Errors
    /// [`WaitError::Forked`].
    pub fn wait(&self) -> Result<T, WaitError> {
        loop {
            match self.wait_until(Deadline::NEVER) {
                Ok(value) => return Ok(value),
                Err(WaitTimeoutError::Timeout) => {}
                Err(WaitTimeoutError::Forked) => return Err(WaitError::Forked),
            }
        }
    }

    /// The value; blocks until somebody has made it, for at most `timeout`.
    ///
    /// # Errors
    /// [`WaitTimeoutError::Timeout`]; [`WaitTimeoutError::Forked`].
    pub fn wait_timeout(&self, timeout: Duration) -> Result<T, WaitTimeoutError> {
        self.wait_until(Deadline::after(timeout))
    }

    /// The value; blocks until somebody has made it, until `deadline` at the latest.
    ///
    /// # Errors
    /// As [`wait_timeout`](Self::wait_timeout).
    pub fn wait_deadline(&self, deadline: Instant) -> Result<T, WaitTimeoutError> {
        self.wait_until(deadline.into())
    }

    fn wait_until(&self, deadline: Deadline) -> Result<T, WaitTimeoutError> {
        if self.segment().is_defunct() {
            return Err(WaitTimeoutError::Forked);
        }
        let idle = || self.segment().look_after_peers();
        let value = self.get().or_else(|| self.once().changed.wait_until(deadline, || self.get(), || false, idle));
        value.ok_or(WaitTimeoutError::Timeout)
    }

    fn claim(&self) -> Option<Claim<'_, T>> {
        let once = self.once();
        let making = MAKING | mark(self.segment().me());
        // Acquire: after all that a maker which failed has done.
        let is_claimed = once.word.compare_exchange(EMPTY, making, Ordering::Acquire, Ordering::Relaxed).is_ok();
        is_claimed.then(|| Claim(self))
    }
}
