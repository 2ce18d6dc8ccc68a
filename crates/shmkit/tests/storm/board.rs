//! The ledger of a storm, in shared memory, so that it survives whoever writes into it.
//!
//! A sender takes a row, and a fresh one when it is full or another sender comes after it; so a row has one writer, and at most the last operation
//! of each row is uncertain: its sender may have died before it could note it. Receivers count each message.

use serde::{Deserialize, Serialize};
use shmkit_segment::primitive::{AtomicU16, AtomicU32, AtomicU64, Ordering};
use shmkit_segment::{
    AtSlice, Configuration, Error, MappedSlice, Memory, Object, Options, PeerId, Plan, Role, Segment, kind,
};
use std::alloc::Layout;
use std::collections::BTreeSet;
use std::ops::Range;

/// Messages in a row.
pub(crate) const MESSAGES: u64 = 1 << 14;
/// Rows for each kill and beside that, for senders that fill theirs: how many do depends on how long a kill takes, and so on the machine.
const ROWS_A_KILL: u64 = 8;
const SPARE_ROWS: u64 = 2048;
/// Messages that a receiver holds at a time at most, and notes before it acknowledges them.
pub(crate) const LEASED: usize = 16;

/// Everything starts as zero.
pub(crate) struct Counters {
    /// 0: 1 once everybody should stop. 1: rows that were taken. 2: messages that were received. 3: messages that nobody can have sent.
    totals: MappedSlice<AtomicU64>,
    /// Per row, the number of its last acknowledged message, from 1; 0 for none.
    acknowledged: MappedSlice<AtomicU64>,
    /// Per row, the highest number that was received.
    highest: MappedSlice<AtomicU64>,
    /// Per message, how often it was received.
    received: MappedSlice<AtomicU16>,
    /// Per receiver, how many messages it holds; then those messages.
    held: MappedSlice<AtomicU32>,
    messages: MappedSlice<AtomicU64>,
}

const STOP: usize = 0;
const ROWS: usize = 1;
const RECEIVED: usize = 2;
const GARBAGE: usize = 3;

impl Object for Counters {
    const KIND: u32 = kind(b"BORD");
    type Parts = (
        AtSlice<AtomicU64>,
        AtSlice<AtomicU64>,
        AtSlice<AtomicU64>,
        AtSlice<AtomicU16>,
        AtSlice<AtomicU32>,
        AtSlice<AtomicU64>,
    );

    fn payload() -> Layout {
        Layout::new::<()>()
    }

    fn plan(&[kills, ..]: &Configuration, plan: &mut Plan) -> Result<Self::Parts, Error> {
        let (rows, receivers) = ((ROWS_A_KILL * kills + SPARE_ROWS) as usize, kills as usize + 2);
        let totals = plan.slice(4)?;
        let (acknowledged, highest) = (plan.slice(rows)?, plan.slice(rows)?);
        let received = plan.slice(rows * MESSAGES as usize)?;
        Ok((totals, acknowledged, highest, received, plan.slice(receivers)?, plan.slice(receivers * LEASED)?))
    }

    fn attach(memory: &Memory, parts: &Self::Parts) -> Self {
        Self {
            totals: memory.slice(parts.0),
            acknowledged: memory.slice(parts.1),
            highest: memory.slice(parts.2),
            received: memory.slice(parts.3),
            held: memory.slice(parts.4),
            messages: memory.slice(parts.5),
        }
    }

    fn sweep(&self, _dead: PeerId, _reaper: PeerId) {}
    fn wake_all(&self) {}
}

/// A handle of the ledger, to be passed to processes.
#[derive(Clone, Serialize, Deserialize)]
#[serde(bound = "")]
pub(crate) struct Board(Role<Counters>);

/// What a storm came to.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    pub(crate) messages: u64,
    /// Acknowledged to the sender, noted by no receiver and in no hand.
    pub(crate) lost: u64,
    /// Noted by no receiver, and in the hand of a dead one.
    pub(crate) in_hand: u64,
    /// Received more than once.
    pub(crate) duplicated: u64,
    /// Received more often than a dead receiver had it in hand, and once.
    pub(crate) doubled: u64,
    /// Received although never sent.
    pub(crate) garbage: u64,
}

/// A sender's place in the ledger.
pub(crate) struct Row<'a> {
    board: &'a Board,
    row: u64,
    number: u64,
}

impl Board {
    /// For a storm of so many kills.
    pub(crate) fn new(kills: usize) -> Self {
        let segment: std::sync::Arc<Segment<Counters>> =
            Options::new().anonymous([kills as u64, 0, 0, 0, 0, 0, 0, 0]).expect("memory for the ledger");
        Self(segment.role(0))
    }

    fn counters(&self) -> &Counters {
        self.0.segment().object()
    }

    pub(crate) fn stop(&self) {
        self.counters().totals[STOP].store(1, Ordering::Release);
    }

    pub(crate) fn goes_on(&self) -> bool {
        self.counters().totals[STOP].load(Ordering::Acquire) == 0
    }

    /// How many messages were received so far.
    pub(crate) fn received(&self) -> u64 {
        self.counters().totals[RECEIVED].load(Ordering::Acquire)
    }

    /// A fresh row.
    pub(crate) fn row(&self) -> Row<'_> {
        let row = self.counters().totals[ROWS].fetch_add(1, Ordering::AcqRel);
        assert!((row as usize) < self.counters().acknowledged.len(), "the ledger is full");
        Row { board: self, row, number: 0 }
    }

    /// How many rows were taken so far.
    pub(crate) fn rows(&self) -> u64 {
        self.counters().totals[ROWS].load(Ordering::Acquire)
    }

    pub(crate) fn note_received(&self, message: u64) {
        let counters = self.counters();
        let (row, number) = ((message / MESSAGES) as usize, message % MESSAGES);
        match counters.highest.get(row).filter(|_| number > 0) {
            Some(highest) => {
                highest.fetch_max(number, Ordering::AcqRel);
                counters.received[message as usize].fetch_add(1, Ordering::AcqRel);
            }
            None => _ = counters.totals[GARBAGE].fetch_add(1, Ordering::AcqRel),
        }
        counters.totals[RECEIVED].fetch_add(1, Ordering::AcqRel);
    }

    /// Notes that `receiver` is about to note and then to acknowledge these messages, or none any more.
    pub(crate) fn hold(&self, receiver: usize, messages: impl ExactSizeIterator<Item = u64>) {
        let (held, count) = (&self.counters().held[receiver], messages.len() as u32);
        for (index, message) in messages.enumerate() {
            self.counters().messages[receiver * LEASED + index].store(message, Ordering::Release);
        }
        held.store(count, Ordering::Release);
    }

    /// In how many dead receivers' hands `message` was when they died.
    fn times_held(&self, message: u64) -> u64 {
        let counters = self.counters();
        let held = |receiver: usize| {
            let count = counters.held[receiver].load(Ordering::Acquire) as usize;
            (0..count).any(|index| counters.messages[receiver * LEASED + index].load(Ordering::Acquire) == message)
        };
        (0..counters.held.len()).filter(|&receiver| held(receiver)).count() as u64
    }

    /// What has become of the messages of all rows.
    ///
    /// `in_flight` messages after the last acknowledged one may have been sent too, by a sender that did not live to say so.
    pub(crate) fn tally(&self, in_flight: u64) -> Tally {
        self.tally_of(0..self.rows(), in_flight, &BTreeSet::new())
    }

    /// What has become of the messages of `rows`, of which these were in `hands` of the dead.
    pub(crate) fn tally_of(&self, rows: Range<u64>, in_flight: u64, hands: &BTreeSet<u64>) -> Tally {
        let counters = self.counters();
        let mut tally = Tally { garbage: counters.totals[GARBAGE].load(Ordering::Acquire), ..Tally::default() };
        for row in rows {
            let acknowledged = counters.acknowledged[row as usize].load(Ordering::Acquire);
            let highest = counters.highest[row as usize].load(Ordering::Acquire);
            tally.messages += acknowledged;
            tally.garbage += highest.saturating_sub(acknowledged + in_flight);
            for number in 1..=acknowledged.max(highest) {
                let message = row * MESSAGES + number;
                let times = u64::from(counters.received[message as usize].load(Ordering::Acquire));
                match times == 0 && number <= acknowledged {
                    true if hands.contains(&message) => tally.in_hand += 1,
                    true => tally.lost += 1,
                    false => {}
                }
                tally.duplicated += times.saturating_sub(1);
                if times > 1 {
                    tally.doubled += (times - 1).saturating_sub(self.times_held(message));
                }
            }
        }
        tally
    }
}

impl Row<'_> {
    /// The next `count` messages to be sent, in a row that has room for them.
    pub(crate) fn next(&mut self, count: u64) -> Range<u64> {
        if self.number + count >= MESSAGES {
            *self = self.board.row();
        }
        let first = self.row * MESSAGES + self.number + 1;
        first..first + count
    }

    /// Notes that the next `count` messages were sent.
    pub(crate) fn note_sent(&mut self, count: u64) {
        self.number += count;
        self.board.counters().acknowledged[self.row as usize].store(self.number, Ordering::Release);
    }
}
