//! Where a process writes down its operations: shared memory, allocated before it starts, so that what it wrote survives it.
//!
//! An entry is begun before the operation is invoked and completed after it has returned, so the last entry of a killed process says what it was doing.
//!
//! # Why the times can be trusted
//!
//! The claim is about what processes can know of each other: if one operation had returned before another was invoked, that one must see what it
//! did. The queue orders its memory accesses by acquire and release alone, so the last store of an operation may still be on its way to the
//! other cores when the call returns, and nobody could tell; but a clock could. So a time is taken only after what came before it is visible,
//! and what comes after waits for the time: a sequentially consistent fence stands on the operation's side of each reading of the clock. The
//! fences of two processes are totally ordered, hence stores before the one are seen by loads after the other. They make the recorded interval
//! longer by some nanoseconds, and reorder nothing within the operation.

use crate::history::{Operation, Outcome};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use shmkit::segment::primitive::{AtomicU64, Ordering, fence};
use shmkit::segment::{
    AtSlice, Configuration, Error, MappedSlice, Memory, Object, Options, PeerId, Plan, Role, kind, shared,
};
use std::alloc::Layout;
use std::cell::Cell;

// What an operation came to. A message received is its value, and values are greater than these.
const SENT: u64 = 1;
const FULL: u64 = 2;
const EMPTY: u64 = 3;
const BUSY: u64 = 4;
const LATE: u64 = 5;

shared! {
    /// All zero: not used yet.
    pub struct Entry {
        /// When the operation was invoked. Stored after `asked`: not zero once the entry is valid.
        invoked: AtomicU64,
        /// The message to be sent, or 0 to receive one.
        asked: AtomicU64,
        result: AtomicU64,
        /// When it had returned. Stored after `result`: 0 while it has not.
        returned: AtomicU64,
    }
}

pub(crate) struct Entries(MappedSlice<Entry>);

impl Object for Entries {
    const KIND: u32 = kind(b"JRNL");
    type Parts = AtSlice<Entry>;

    fn payload() -> Layout {
        Layout::new::<()>()
    }

    fn plan(&[entries, ..]: &Configuration, plan: &mut Plan) -> Result<Self::Parts, Error> {
        plan.slice(entries as usize)
    }

    fn attach(memory: &Memory, parts: &Self::Parts) -> Self {
        Self(memory.slice(*parts))
    }

    fn sweep(&self, _dead: PeerId, _reaper: PeerId) {}
    fn wake_all(&self) {}
}

/// A handle of the journal of one process, to be passed to it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(bound = "")]
pub(crate) struct Journal {
    entries: Role<Entries>,
    process: u32,
    used: Cell<usize>,
}

pub(crate) fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

impl Journal {
    /// A journal with room for `entries` operations of the process that is called `process` in histories; numbers begin at 1.
    pub(crate) fn new(process: u32, entries: usize) -> Self {
        let segment = Options::new().anonymous([entries as u64, 0, 0, 0, 0, 0, 0, 0]).expect("memory for a journal");
        Self { entries: segment.role(0), process, used: Cell::new(0) }
    }

    fn entries(&self) -> &[Entry] {
        &self.entries.segment().object().0
    }

    pub(crate) fn room(&self) -> usize {
        self.entries().len() - self.used.get()
    }

    /// The value of this process's message with this number.
    pub(crate) fn message(&self, number: u32) -> u64 {
        u64::from(self.process) << 32 | u64::from(number)
    }

    /// Does `operation`, which sends `message`, and writes it down.
    pub(crate) fn sends(&self, message: u64, operation: impl FnOnce() -> Outcome) -> Outcome {
        self.records(message, operation)
    }

    /// Does `operation`, which receives, and writes it down.
    pub(crate) fn receives(&self, operation: impl FnOnce() -> Outcome) -> Outcome {
        self.records(0, operation)
    }

    fn records(&self, asked: u64, operation: impl FnOnce() -> Outcome) -> Outcome {
        let entry = &self.entries()[self.used.replace(self.used.get() + 1)];
        entry.asked.store(asked, Ordering::Relaxed);
        // Release: who sees the entry begun, sees what was asked for. `history` reads it after the end of this process.
        entry.invoked.store(now(), Ordering::Release);
        // The operation looks at the queue after the clock: see the head of this module, as for the next fence.
        fence(Ordering::SeqCst);
        let outcome = operation();
        fence(Ordering::SeqCst);
        let returned = now();
        let result = match outcome {
            Outcome::Received(value) => value,
            Outcome::Sent(_) => SENT,
            Outcome::Full => FULL,
            Outcome::Empty => EMPTY,
            Outcome::Busy => BUSY,
            Outcome::Late => LATE,
            Outcome::SendingDied(_) | Outcome::ReceivingDied { .. } => unreachable!("the dead write nothing"),
        };
        entry.result.store(result, Ordering::Relaxed);
        entry.returned.store(returned, Ordering::Release);
        outcome
    }

    /// What the process has done, which has ended: at `dead` at the latest and, if it was killed, at `killed` at the earliest.
    pub(crate) fn history(&self, killed: u64, dead: u64) -> impl Iterator<Item = Operation> {
        let begun = self.entries().iter().take_while(|entry| entry.invoked.load(Ordering::Acquire) != 0);
        begun.map(move |entry| {
            let asked = entry.asked.load(Ordering::Relaxed);
            let (returned, outcome) = match entry.returned.load(Ordering::Acquire) {
                0 if asked != 0 => (dead, Outcome::SendingDied(asked)),
                0 => (dead, Outcome::ReceivingDied { killed }),
                returned => (returned, outcome(asked, entry.result.load(Ordering::Relaxed))),
            };
            Operation { process: self.process, invoked: entry.invoked.load(Ordering::Relaxed), returned, outcome }
        })
    }
}

fn outcome(asked: u64, result: u64) -> Outcome {
    match result {
        SENT => Outcome::Sent(asked),
        FULL => Outcome::Full,
        EMPTY => Outcome::Empty,
        BUSY => Outcome::Busy,
        LATE => Outcome::Late,
        value => Outcome::Received(value),
    }
}
