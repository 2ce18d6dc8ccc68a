//! The protocol: a ring of slots that are claimed before any index moves.
//!
//! Each slot has a [`Word`] whose turn is the lap it is ready for, and a value.
//!
//! | state | meaning | who may change it, to what |
//! |---|---|---|
//! | EMPTY(L) | free for the sender of lap L | any sender: CAS → WRITING(L, itself) |
//! | WRITING(L, o) | `o` writes the value | `o`: store → FULL(L); reaper of `o`: CAS → TOMB(L) |
//! | FULL(L) | a message | any receiver: CAS → READING(L, itself) |
//! | READING(L, o) | `o` copies the value | `o`: store → EMPTY(L+1); reaper of `o`: CAS → ORPHAN(L) |
//! | TOMB(L) | its sender died; no message | any receiver: CAS → EMPTY(L+1) |
//! | ORPHAN(L) | its receiver died; to be delivered again | any receiver: CAS → READING(L, itself) |
//!
//! # Why a kill at any step loses nothing
//!
//! A slot is claimed by the exchange of its own word, so at every instant either nobody or a named peer owns it. A message is *sent* when FULL
//! is stored and *received* when EMPTY is stored. Killed before the one, a sender leaves a tomb and its `send` had not returned; killed before
//! the other, a receiver leaves an orphan, whose value is intact, as nobody writes a slot that is not EMPTY. So a message is delivered
//! twice only if a receiver died in between, and never zero times.
//!
//! The indices `tail` and `head` are only hints where to start looking: they never run ahead of the first slot that is not claimed (of the
//! first that is not taken), because a position is passed only by somebody who saw it claimed (taken). Only every K-th position moves them,
//! and whoever walks past such a position helps. Each handle also remembers where it was: its cursor, private and a hint likewise.
//!
//! Orphans lie behind the head. `orphans` counts the sweeps that may have left some; a receiver that has not looked since scans
//! all slots, takes the orphan of the smallest position, and notes the count only after a scan that found none.
//!
//! # Orderings
//!
//! - FULL is stored with release, and claimed for reading with an acquire exchange: the reader sees the value.
//! - EMPTY is stored with release, and claimed for writing with an acquire exchange: the writer comes after the last reader.
//! - The sweep's exchanges are acquire and release: an orphan's value was published by its sender's release store before, and the claim of the
//!   dead receiver and the sweep continue that release sequence, being read-modify-writes.
//! - `tail` and `head` are moved with release and read with acquire, so that whoever starts from an index sees the slots before it claimed
//!   (taken): a stale slot behind a fresh index would look like Full, or like Empty, wrongly.
//! - `orphans` is incremented with release after the sweep's exchanges, and read with acquire before the scan.
//!
//! After Dmitry Vyukov's bounded MPMC queue, with the claim moved from the index to the slot. `models/mpmc.py` explores it with two kills,
//! `tests/loom.rs` this code under weak memory.

use crate::word::Word;
use shmkit_segment::primitive::{AtomicU64, Ordering};
use shmkit_segment::{
    At, AtRing, Configuration, Error, Line, Mapped, Memory, Object, PeerId, Plain, PlainCell, Plan, Ring, kind, shared,
};
use shmkit_sync::EventCount;
use std::alloc::Layout;
use std::cell::Cell;

pub(super) const EMPTY: u64 = 0;
const WRITING: u64 = 1;
const FULL: u64 = 2;
const READING: u64 = 3;
const TOMB: u64 = 4;
const ORPHAN: u64 = 5;

/// Every K-th position moves a shared index, at most.
const MAX_K: u64 = 16;

shared! {
    /// ```text
    /// offset size
    ///    0    8   word
    ///    8    n   value, n = size_of::<T>() rounded up to 8
    /// ```
    pub struct Slot<T: Plain> {
        word: AtomicU64,
        value: PlainCell<T>,
    }
}

shared! {
    /// Each on lines of its own: senders write one, receivers the other.
    pub struct Ends {
        tail: Line<AtomicU64>,
        head: Line<AtomicU64>,
        orphans: Line<AtomicU64>,
        pub(super) data: Line<EventCount>,
        pub(super) space: Line<EventCount>,
    }
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Slot<u64>>() == 16 && size_of::<Ends>() == 5 * 128);

/// The queue in its segment.
pub struct Mpmc<T: Plain> {
    pub(super) ends: Mapped<Ends>,
    slots: Ring<Slot<T>>,
    k: u64,
}

impl<T: Plain> Clone for Mpmc<T> {
    fn clone(&self) -> Self {
        Self { ends: self.ends.clone(), slots: self.slots.clone(), k: self.k }
    }
}

/// Why nothing was popped.
#[derive(Clone, Copy)]
pub(super) enum Idle {
    Empty,
    /// The next message is being written, by the owner of this word.
    Writing(Word),
    Corrupt,
}

/// Why nothing was pushed.
#[derive(Clone, Copy)]
pub(super) enum Jam {
    /// The slot in the way has this word.
    Full(Word),
    Corrupt,
}

impl<T: Plain> Object for Mpmc<T> {
    const KIND: u32 = kind(b"MPMC");
    const HARDENED: bool = true;
    type Parts = (At<Ends>, AtRing<Slot<T>>);

    fn payload() -> Layout {
        Layout::new::<T>()
    }

    fn plan(&[capacity, ..]: &Configuration, plan: &mut Plan) -> Result<Self::Parts, Error> {
        let capacity = usize::try_from(capacity).map_err(|_| Error::Geometry("the capacity is too large"))?;
        Ok((plan.one()?, plan.ring(capacity)?))
    }

    fn attach(memory: &Memory, parts: &Self::Parts) -> Self {
        let slots = memory.ring(parts.1);
        let k = slots.capacity().min(MAX_K);
        Self { ends: memory.one(parts.0), slots, k }
    }

    fn sweep(&self, dead: PeerId, _reaper: PeerId) {
        for slot in 0..self.slots.capacity() {
            let cell = &self.slots.at(slot).word;
            let word = Word(cell.load(Ordering::Acquire));
            let swept = match word.state() {
                WRITING => Word::new(word.turn(), TOMB),
                READING => Word::new(word.turn(), ORPHAN),
                _ => continue,
            };
            if word.owner() == dead {
                // Fails only if the owner is not dead after all, or a peer wrote nonsense.
                let _ = cell.compare_exchange(word.0, swept.0, Ordering::AcqRel, Ordering::Relaxed);
            }
        }
        // Always, and last: a reaper that died before this has left orphans that are no longer the dead peer's.
        self.ends.orphans.fetch_add(1, Ordering::Release);
    }

    fn wake_all(&self) {
        self.ends.data.rouse();
        self.ends.space.rouse();
    }
}

impl<T: Plain> Mpmc<T> {
    pub(super) fn capacity(&self) -> u64 {
        self.slots.capacity()
    }

    /// Messages in the queue, as far as the lazy indices tell.
    pub(super) fn len(&self) -> u64 {
        let head = self.ends.head.load(Ordering::Relaxed);
        let tail = self.ends.tail.load(Ordering::Relaxed);
        tail.saturating_sub(head).min(self.capacity())
    }

    /// Sends `value` as `me`, starting to look from `cursor`.
    #[inline]
    pub(super) fn push(&self, me: PeerId, cursor: &Cell<u64>, value: T) -> Result<(), Jam> {
        let mut position = cursor.get().max(self.ends.tail.load(Ordering::Acquire));
        let mut steps = 0;
        loop {
            let lap = self.slots.lap(position);
            let slot = self.slots.at(position);
            let word = Word(slot.word.load(Ordering::Acquire));
            if word == Word::new(lap, EMPTY) {
                let claim = Word::owned(lap, WRITING, me);
                // Acquire: after the last reader. Release: the sweep of others continues from here.
                if slot.word.compare_exchange(word.0, claim.0, Ordering::AcqRel, Ordering::Relaxed).is_err() {
                    continue;
                }
                self.pass(&self.ends.tail, position);
                slot.value.write(value);
                // The message is sent. Pairs with the acquire exchange in `pop`.
                slot.word.store(Word::new(lap, FULL).0, Ordering::Release);
                cursor.set(position.wrapping_add(1));
                self.ends.data.notify_one();
                return Ok(());
            }
            if word.turn() < lap {
                cursor.set(position);
                return Err(Jam::Full(word));
            }
            self.pass(&self.ends.tail, position);
            position = position.wrapping_add(1);
            if word.turn() > lap {
                // Laps behind: the index knows better.
                position = position.max(self.ends.tail.load(Ordering::Acquire));
            }
            steps += 1;
            if steps % 1024 == 0 && self.is_torn(self.ends.head.load(Ordering::Acquire), position) {
                return Err(Jam::Corrupt);
            }
        }
    }

    /// Receives a message as `me`, starting to look from `cursor`. `seen` is the count of sweeps that this receiver has looked after.
    #[inline]
    pub(super) fn pop(&self, me: PeerId, cursor: &Cell<u64>, seen: &Cell<Option<u64>>) -> Result<T, Idle> {
        let sweeps = self.ends.orphans.load(Ordering::Acquire);
        if seen.get() != Some(sweeps) {
            if let Some(value) = self.adopt(me) {
                return Ok(value);
            }
            seen.set(Some(sweeps));
        }
        let mut position = cursor.get().max(self.ends.head.load(Ordering::Acquire));
        let mut steps = 0;
        loop {
            let lap = self.slots.lap(position);
            let slot = self.slots.at(position);
            let word = Word(slot.word.load(Ordering::Acquire));
            if word == Word::new(lap, FULL) {
                if let Some(value) = self.take(slot, word, me, || self.pass(&self.ends.head, position)) {
                    cursor.set(position.wrapping_add(1));
                    return Ok(value);
                }
                continue;
            }
            if word.turn() < lap || word == Word::new(lap, EMPTY) {
                cursor.set(position);
                return Err(Idle::Empty);
            }
            if word.turn() == lap && word.state() == WRITING {
                cursor.set(position);
                return Err(Idle::Writing(word));
            }
            if word == Word::new(lap, TOMB) {
                let next = Word::new(lap + 1, EMPTY);
                if slot.word.compare_exchange(word.0, next.0, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                    // A tomb takes room like a message, so passing it makes room like receiving one.
                    self.ends.space.notify_one();
                }
                continue;
            }
            self.pass(&self.ends.head, position);
            position = position.wrapping_add(1);
            if word.turn() > lap {
                position = position.max(self.ends.head.load(Ordering::Acquire));
            }
            steps += 1;
            if steps % 1024 == 0 && self.is_torn(position, self.ends.tail.load(Ordering::Acquire)) {
                return Err(Idle::Corrupt);
            }
        }
    }

    /// Claims the message behind `word`, copies it, and acknowledges it. `None` if somebody else was faster.
    #[inline]
    fn take(&self, slot: &Slot<T>, word: Word, me: PeerId, claimed: impl FnOnce()) -> Option<T> {
        let lap = word.turn();
        let claim = Word::owned(lap, READING, me);
        // Acquire pairs with the release store of FULL: the value is seen.
        slot.word.compare_exchange(word.0, claim.0, Ordering::AcqRel, Ordering::Relaxed).ok()?;
        claimed();
        let value = slot.value.read();
        // The message is received. Pairs with the acquire exchange in `push`.
        slot.word.store(Word::new(lap + 1, EMPTY).0, Ordering::Release);
        self.ends.space.notify_one();
        Some(value)
    }

    /// Takes the message that a dead receiver left unacknowledged, the oldest first.
    #[cold]
    fn adopt(&self, me: PeerId) -> Option<T> {
        loop {
            let orphans = (0..self.capacity()).filter_map(|index| {
                let slot = self.slots.at(index);
                let word = Word(slot.word.load(Ordering::Acquire));
                (word.state() == ORPHAN).then_some((word.turn(), index, slot, word))
            });
            let (_, _, slot, word) = orphans.min_by_key(|&(lap, index, ..)| (lap, index))?;
            if let Some(value) = self.take(slot, word, me, || {}) {
                return Some(value);
            }
        }
    }

    /// Moves `index` past `position` if that is one of those that move it.
    #[inline]
    fn pass(&self, index: &AtomicU64, position: u64) {
        let next = position.wrapping_add(1);
        if next & (self.k - 1) == 0 && index.load(Ordering::Relaxed) <= position {
            // Release: who starts from the index sees the slots before it as this thread does.
            index.fetch_max(next, Ordering::Release);
        }
    }

    /// Whether no queue can have come to such ends: one of them far ahead of the other. A peer wrote them, and without this a walk
    /// from one that was written to small would not end.
    #[cold]
    fn is_torn(&self, head: u64, tail: u64) -> bool {
        head.saturating_sub(tail) > self.slack() || tail.saturating_sub(head) > self.capacity() + self.slack()
    }

    /// How far a position can truthfully be off because indices are lazy: K for each peer that may not have moved one yet.
    fn slack(&self) -> u64 {
        self.k * (u64::from(u16::MAX) + 1)
    }

    /// Whether a message is ready to be received from `cursor` on: after a sleep, to decide whether somebody else should be woken.
    pub(super) fn has_message(&self, cursor: &Cell<u64>) -> bool {
        self.look(cursor.get().max(self.ends.head.load(Ordering::Acquire)), |word, lap| {
            (word.turn() == lap && matches!(word.state(), READING | ORPHAN)) || word.turn() > lap
        })
        .is_some_and(|(word, lap)| word == Word::new(lap, FULL))
    }

    /// Whether there is room for a message.
    pub(super) fn has_room(&self, cursor: &Cell<u64>) -> bool {
        self.look(cursor.get().max(self.ends.tail.load(Ordering::Acquire)), |word, lap| {
            word.turn() >= lap && word != Word::new(lap, EMPTY)
        })
        .is_some_and(|(word, lap)| word == Word::new(lap, EMPTY))
    }

    /// The first word from `position` on that is not to be passed over, and the lap it was met in.
    fn look(&self, position: u64, pass: impl Fn(Word, u64) -> bool) -> Option<(Word, u64)> {
        (0..self.capacity())
            .map(|step| position.wrapping_add(step))
            .map(|position| (Word(self.slots.at(position).word.load(Ordering::Acquire)), self.slots.lap(position)))
            .find(|&(word, lap)| !pass(word, lap))
    }

    /// Whether every slot is EMPTY: nothing is being sent, received, or waiting to be delivered again.
    pub(super) fn is_drained(&self) -> bool {
        (0..self.capacity()).all(|index| Word(self.slots.at(index).word.load(Ordering::Acquire)).state() == EMPTY)
    }
}
