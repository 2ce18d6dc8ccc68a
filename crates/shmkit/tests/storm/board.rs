//! The ledger of a storm, in shared memory, so that it survives whoever writes into it.

use serde::{Deserialize, Serialize};
use shmkit_segment::primitive::{AtomicU32, AtomicU64, Ordering};
use shmkit_segment::{AtSlice, Configuration, Error, MappedSlice, Memory, Object, Options, PeerId, Plan, Role, kind};
use std::alloc::Layout;

/// Messages that one sender sends at most.
pub(crate) const MESSAGES: u64 = 1 << 16;

pub(crate) struct Counters {
    /// 1 once everybody should stop.
    stop: MappedSlice<AtomicU32>,
    /// Per sender, the number of its last acknowledged message, from 1; 0 for none.
    acknowledged: MappedSlice<AtomicU64>,
    /// Per message, how often it was received.
    received: MappedSlice<AtomicU32>,
}

impl Object for Counters {
    const KIND: u32 = kind(b"BORD");
    type Parts = (AtSlice<AtomicU32>, AtSlice<AtomicU64>, AtSlice<AtomicU32>);

    fn payload() -> Layout {
        Layout::new::<()>()
    }

    fn plan(&[senders, ..]: &Configuration, plan: &mut Plan) -> Result<Self::Parts, Error> {
        Ok((plan.slice(1)?, plan.slice(senders as usize)?, plan.slice((senders * MESSAGES) as usize)?))
    }

    fn attach(memory: &Memory, parts: &Self::Parts) -> Self {
        Self { stop: memory.slice(parts.0), acknowledged: memory.slice(parts.1), received: memory.slice(parts.2) }
    }

    fn sweep(&self, _dead: PeerId, _reaper: PeerId) {}
    fn wake_all(&self) {}
}

/// A handle of the ledger, to be passed to processes.
#[derive(Clone, Serialize, Deserialize)]
#[serde(bound = "")]
pub(crate) struct Board(Role<Counters>);

/// What a storm came to.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) messages: u64,
    /// Acknowledged to the sender, and noted by no receiver.
    pub(crate) missing: u64,
    /// Received more than once.
    pub(crate) duplicated: u64,
    /// Received although never sent.
    pub(crate) garbage: u64,
}

impl Board {
    pub(crate) fn new(senders: usize) -> Self {
        let segment = Options::new().anonymous([senders as u64, 0, 0, 0, 0, 0, 0, 0]).expect("memory for the ledger");
        Self(segment.role(0))
    }

    fn counters(&self) -> &Counters {
        self.0.segment().object()
    }

    pub(crate) fn stop(&self) {
        self.counters().stop[0].store(1, Ordering::Release);
    }

    pub(crate) fn goes_on(&self) -> bool {
        self.counters().stop[0].load(Ordering::Acquire) == 0
    }

    /// The message `number` of `sender`.
    pub(crate) fn message(sender: usize, number: u64) -> u64 {
        sender as u64 * MESSAGES + number
    }

    pub(crate) fn note_sent(&self, message: u64) {
        let (sender, number) = (message / MESSAGES, message % MESSAGES);
        self.counters().acknowledged[sender as usize].store(number, Ordering::Release);
    }

    pub(crate) fn note_received(&self, message: u64) {
        self.counters().received[message as usize].fetch_add(1, Ordering::AcqRel);
    }

    /// What has become of the messages of all senders.
    pub(crate) fn tally(&self) -> Tally {
        (0..self.counters().acknowledged.len()).map(|sender| self.tally_of(sender)).fold(Tally::default(), Tally::plus)
    }

    /// What has become of the messages of `sender`.
    pub(crate) fn tally_of(&self, sender: usize) -> Tally {
        let counters = self.counters();
        let acknowledged = counters.acknowledged[sender].load(Ordering::Acquire);
        let mut tally = Tally { messages: acknowledged, ..Tally::default() };
        for number in 0..MESSAGES {
            let times = counters.received[Self::message(sender, number) as usize].load(Ordering::Acquire);
            // The message after the last acknowledged one may have been sent too, by a sender that did not live to say so.
            let may_be = (1..=acknowledged + 1).contains(&number);
            tally.garbage += u64::from(times > 0 && !may_be);
            tally.missing += u64::from(times == 0 && (1..=acknowledged).contains(&number));
            tally.duplicated += u64::from(times.saturating_sub(1));
        }
        tally
    }
}

impl Tally {
    fn plus(self, other: Self) -> Self {
        Self {
            messages: self.messages + other.messages,
            missing: self.missing + other.missing,
            duplicated: self.duplicated + other.duplicated,
            garbage: self.garbage + other.garbage,
        }
    }
}
