//! An event: something that has happened, or has not.
//!
//! ```text
//! at 0  word = generation:31 | SET        set: one more generation, SET        clear: SET goes
//!    4  changed, the event count of those who wait
//! ```
//!
//! Whoever waits remembers the generation, and goes on if the event is set or another generation has begun. So those who wait when it is set all go on, even if it is cleared at once.
//!
//! Nobody owns anything here, so a death leaves nothing to recover but, maybe, a wake-up that the dead one still owed: the reaper rouses everybody.

use crate::error::{WaitError, WaitTimeoutError};
use crate::handle::handle;
use crate::sole::{Part, Sole};
use crate::{Condition, Deadline, Error, EventCount, Watch};
use shmkit_segment::primitive::{AtomicU32, Ordering};
use shmkit_segment::{Configuration, Options, Role, Segment, kind, shared};
use std::sync::Arc;
use std::time::{Duration, Instant};

const SET: u32 = 1;
const GENERATION: u32 = 2;

shared! {
    /// An event, as it lies in memory.
    pub struct Flag {
        word: AtomicU32,
        changed: EventCount,
    }
}

#[cfg(not(any(loom, feature = "portable")))]
const _: () = assert!(size_of::<Flag>() == 8);

/// What is in the segment of an [`Event`]. Its configuration is `Configuration::default()`.
pub type EventObject = Sole<Flag>;

impl Part for Flag {
    const KIND: u32 = kind(b"EVNT");
    type Payload = ();

    fn wake_all(&self) {
        self.changed.rouse();
    }
}

impl Flag {
    fn is_set(&self) -> bool {
        // Acquire pairs with the release in `set`.
        self.word.load(Ordering::Acquire) & SET != 0
    }
}

/// Something that processes wait for until another one says that it has happened. Clones, and handles passed to other processes, are the same event.
///
/// ```
/// use shmkit_sync::Event;
/// use std::time::Duration;
///
/// let ready = Event::new()?; // pass clones of it to child processes
/// assert!(ready.wait_timeout(Duration::from_millis(1)).is_err());
/// ready.set();
/// ready.wait()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Whoever sees it set sees what was written before it was set. All who wait when it is set go on.
///
/// # When a process dies
///
/// Nothing happens to the event. If the one that was to set it dies, those who wait do so until another sets it: wait for a time, or watch the process too.
///
/// # Signal handlers
///
/// May set and clear it: that neither locks nor allocates.
pub struct Event {
    member: Role<EventObject>,
}

handle!(Event, EventObject);

impl Event {
    /// One that is not set, and can be passed to child processes.
    ///
    /// # Errors
    /// [`Error::NoSpace`] and [`Error::System`] if shared memory cannot be had.
    pub fn new() -> Result<Self, Error> {
        Options::new().anonymous(Configuration::default()).map(|segment| Self::with(segment.role(0)))
    }

    /// One that is not set, for the threads of this process alone.
    ///
    /// # Errors
    /// What the kernel says about memory.
    pub fn private() -> Result<Self, Error> {
        Options::new().private(Configuration::default()).map(|segment| Self::with(segment.role(0)))
    }

    fn with(member: Role<EventObject>) -> Self {
        Self { member }
    }

    /// Whether it is set. A load. False in a child made by `fork`.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.object().is_set()
    }

    /// Says that it has happened, until it is [cleared](Self::clear). A read-modify-write, and a system call if somebody waits. Does nothing in a child made by `fork`.
    pub fn set(&self) {
        if self.segment().is_defunct() {
            return;
        }
        let flag = self.object();
        let mut word = flag.word.load(Ordering::Relaxed);
        loop {
            let next = if word & SET == 0 { word.wrapping_add(GENERATION) | SET } else { word };
            // Release pairs with the acquire of those who see it. So it is written again even if it is set.
            match flag.word.compare_exchange(word, next, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => break,
                Err(found) => word = found,
            }
        }
        flag.changed.notify_all();
    }

    /// Says that it has not happened: those who come to wait from now on do wait. Does nothing in a child made by `fork`.
    pub fn clear(&self) {
        if self.segment().is_defunct() {
            return;
        }
        let flag = self.object();
        let mut word = flag.word.load(Ordering::Relaxed);
        // Acquire, as whoever clears it has seen it set; release hands on what its setters did to who reads the next word.
        while let Err(found) = flag.word.compare_exchange(word, word & !SET, Ordering::AcqRel, Ordering::Relaxed) {
            word = found;
        }
    }

    /// Blocks until it is set.
    ///
    /// # Errors
    /// [`WaitError::Forked`].
    pub fn wait(&self) -> Result<(), WaitError> {
        loop {
            match self.wait_until(Deadline::NEVER) {
                Ok(()) => return Ok(()),
                Err(WaitTimeoutError::Timeout) => {}
                Err(WaitTimeoutError::Forked) => return Err(WaitError::Forked),
            }
        }
    }

    /// Blocks until it is set, for at most `timeout`.
    ///
    /// # Errors
    /// [`WaitTimeoutError::Timeout`] if it was not set meanwhile; [`WaitTimeoutError::Forked`].
    pub fn wait_timeout(&self, timeout: Duration) -> Result<(), WaitTimeoutError> {
        self.wait_until(Deadline::after(timeout))
    }

    /// Blocks until it is set, until `deadline` at the latest.
    ///
    /// # Errors
    /// As [`wait_timeout`](Self::wait_timeout).
    pub fn wait_deadline(&self, deadline: Instant) -> Result<(), WaitTimeoutError> {
        self.wait_until(deadline.into())
    }

    fn wait_until(&self, deadline: Deadline) -> Result<(), WaitTimeoutError> {
        if self.segment().is_defunct() {
            return Err(WaitTimeoutError::Forked);
        }
        let flag = self.object();
        // Acquire pairs with the release in `set`.
        let look = || flag.word.load(Ordering::Acquire);
        let first = look();
        if first & SET != 0 {
            return Ok(());
        }
        let has_happened = || (look() != first).then_some(());
        let idle = || self.segment().look_after_peers();
        flag.changed.wait_until(deadline, has_happened, || false, idle).ok_or(WaitTimeoutError::Timeout)
    }

    /// That it is set, as something to wait for beside others: see [`Select`](crate::Select).
    #[must_use]
    pub fn watch(&self) -> Watch {
        Arc::new(IsSet(Arc::clone(self.segment())))
    }

    /// A future of its being set, for any runtime. Dropping it does nothing. Unlike [`wait`](Self::wait), it can miss an event that is cleared at once.
    ///
    /// # Errors
    /// [`WaitError::Forked`].
    #[cfg(all(feature = "async", not(loom)))]
    pub fn wait_async(&self) -> impl Future<Output = Result<(), WaitError>> + '_ {
        let attempt = |event: &mut &Self| match event.segment().is_defunct() {
            true => Some(Err(WaitError::Forked)),
            false => event.is_set().then_some(Ok(())),
        };
        crate::until(self, attempt, |event| event.watch())
    }
}

struct IsSet(Arc<Segment<EventObject>>);

impl Condition for IsSet {
    fn event(&self) -> &EventCount {
        &self.0.object().changed
    }

    fn is_met(&self) -> bool {
        self.0.object().is_set()
    }

    fn is_for_all(&self) -> bool {
        true
    }

    fn look_after_peers(&self) {
        self.0.look_after_peers();
    }
}
