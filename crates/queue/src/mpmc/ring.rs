//! The protocol: a ring of slots that are claimed before any index moves.
//!
//! Each slot has a [`Word`] whose turn is the lap it is ready for, and a value.
//!
//! | state | meaning | who may change it, to what |
//! |---|---|---|
//! | EMPTY(L) | free for the sender of lap L | any sender: CAS → WRITING(L, n, itself) |
//! | WRITING(L, n, o) | `o` writes the values of n slots, of which this is the first | `o`: store → FULL(L); reaper of `o`: CAS → TOMB(L) |
//! | FULL(L) | a message | any receiver: CAS → READING(L, n, itself) |
//! | READING(L, n, o) | `o` copies the values of n slots, of which this is the first | `o`: store → EMPTY(L+1); reaper of `o`: CAS → ORPHAN(L), or EMPTY(L+1) in the at-most-once mode |
//! | TOMB(L) | its sender died; no message | any receiver: CAS → EMPTY(L+1) |
//! | ORPHAN(L) | its receiver died; to be delivered again | any receiver: CAS → READING(L, 1, itself) |
//!
//! # Runs
//!
//! One exchange claims a run of n slots, up to 32; a single message is a run of one. Only the first slot's word says so: the others stay EMPTY while they are written,
//! and FULL while they are read. That is enough, because slots are claimed in order: nobody comes to p+1 who has not seen p claimed, and whoever
//! sees the run at p goes on at p+n. So from the look at p+1 … p+n-1, which found them EMPTY (or FULL), to the exchange of p nobody can have claimed
//! them: it would have had to claim p, and then the exchange fails.
//!
//! The run is handed on from its last slot to its first, each store with release. So p is FULL only when all n are: a batch is published as a whole,
//! by that last store. And p is EMPTY again only when all n are; who meets a slot that was given back finds the rest of its run given back too.
//!
//! # Why a kill at any step loses nothing
//!
//! A slot is claimed by the exchange of a word that names the claimer, so at every instant either nobody or a named peer owns it. Messages are *sent* when FULL
//! is stored in the first slot of their run, and a message is *received* when EMPTY is stored in its own. Killed before the one, a sender leaves tombs and its `send`
//! had not returned; killed before the other, a receiver leaves orphans, whose values are intact, as nobody writes a slot that is not EMPTY. So a
//! message is delivered twice only if a receiver died in between, and never zero times. (In the at-most-once mode the reaper gives the slot back, and its message is lost.)
//!
//! The sweep turns the slots of a dead peer's run from the second to the last, and the first one last of all: until then it names the dead, so
//! that a second reaper repeats what a first one left half-way. Meanwhile nobody passes it, so nothing within the run changes but what the first
//! reaper already made an orphan.
//!
//! The indices `tail` and `head` are only hints where to start looking: they never run ahead of the first slot that is not claimed (of the
//! first that is not taken), because a position is passed only by somebody who saw it claimed (taken), and they never point into a run. Only passing a multiple of K moves them,
//! and whoever walks past it helps. Each handle remembers where it was: its cursor, private and a hint likewise. It starts there, and asks the index
//! only when it has to step over a slot, and before it says that the queue is full or empty.
//!
//! Orphans lie behind the head. `orphans` counts the sweeps that may have left some; a receiver that has not looked since scans
//! all slots, takes the orphan of the smallest position, and notes the count only after a scan that found none.
//!
//! # Orderings
//!
//! - FULL is stored with release, and claimed for reading with an acquire exchange, after acquire loads of the rest of the run: the reader sees the values.
//! - EMPTY is stored with release, and claimed for writing with an acquire exchange, after acquire loads of the rest: the writer comes after the last reader.
//! - The sweep's exchanges are acquire and release: an orphan's value was published by its sender's release store before, and the claim of the
//!   dead receiver and the sweep continue that release sequence, being read-modify-writes.
//! - `tail` and `head` are moved with release and read with acquire, so that whoever starts from an index sees the slots before it claimed
//!   (taken): a stale slot behind a fresh index would look like Full, or like Empty, wrongly.
//! - `orphans` is incremented with release after the sweep's exchanges, and read with acquire before the scan.
//!
//! After Dmitry Vyukov's bounded MPMC queue, with the claim moved from the index to the slot. `models/mpmc.py` explores it with two kills,
//! `tests/loom.rs` this code under weak memory.

use crate::hint::Hint;
use crate::word::Word;
use shmkit_segment::primitive::{AtomicU64, Ordering, fence};
use shmkit_segment::{
    At, AtRing, Configuration, Error, Line, Mapped, Memory, Object, PeerId, Plain, PlainCell, Plan, Ring, kind, shared,
};
use shmkit_sync::EventCount;
use std::alloc::Layout;

pub(super) const EMPTY: u64 = 0;
pub(super) const WRITING: u64 = 1;
pub(super) const FULL: u64 = 2;
pub(super) const READING: u64 = 3;
pub(super) const TOMB: u64 = 4;
pub(super) const ORPHAN: u64 = 5;

/// Passing a multiple of K moves a shared index.
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
    /// ```text
    /// offset                                      written by
    ///      0   tail                               senders, every K-th time
    ///    128   head                               receivers, every K-th time
    ///    256   orphans                            reapers
    ///    384   data      receivers sleep on it    who sleeps and who wakes
    ///    512   space     senders sleep on it      likewise
    ///    640   drained   who joins sleeps on it   likewise
    ///    768   tombs, redelivered, lost           after deaths, for people to read
    ///    896   the slots
    /// ```
    pub struct Ends {
        pub(super) tail: Line<AtomicU64>,
        pub(super) head: Line<AtomicU64>,
        orphans: Line<AtomicU64>,
        pub(super) data: Line<EventCount>,
        pub(super) space: Line<EventCount>,
        pub(super) drained: Line<EventCount>,
        pub(super) losses: Line<Losses>,
    }
}

shared! {
    /// Counted by whoever does it, just after: a kill in between leaves one out. Nothing is decided by them.
    #[derive(Debug)]
    pub struct Losses {
        /// Slots that were passed without a message.
        pub(super) tombs: AtomicU64,
        /// Messages that were taken again.
        pub(super) redelivered: AtomicU64,
        /// Messages that their receiver took with it, in the at-most-once mode.
        pub(super) lost: AtomicU64,
    }
}

impl<T: Plain> Slot<T> {
    /// Acquire: whoever sees a slot handed on sees its value written, or read.
    #[inline(always)]
    fn word(&self) -> Word {
        Word(self.word.load(Ordering::Acquire))
    }
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Slot<u64>>() == 16 && size_of::<Ends>() == 896);

/// The queue in its segment.
pub struct Mpmc<T: Plain> {
    pub(super) ends: Mapped<Ends>,
    slots: Ring<Slot<T>>,
    k: u64,
    pub(super) flags: u64,
}

/// What a receiver had taken when it died is lost, instead of being delivered again.
pub(super) const AT_MOST_ONCE: u64 = 1;
/// The queue goes on when the last sender or receiver is gone.
pub(super) const KEEP_OPEN: u64 = 2;

impl<T: Plain> Clone for Mpmc<T> {
    fn clone(&self) -> Self {
        Self { ends: self.ends.clone(), slots: self.slots.clone(), k: self.k, flags: self.flags }
    }
}

/// Why nothing can be received.
#[derive(Clone, Copy)]
pub(super) enum Idle {
    Empty,
    /// The next message is being written, by the owner of this word.
    Writing(Word),
    Corrupt,
}

/// Why nothing can be sent.
#[derive(Clone, Copy)]
pub(super) enum Jam {
    /// The slot in the way has this word.
    Full(Word),
    Corrupt,
}

/// A run: consecutive positions that were claimed with one exchange, and must be handed on.
#[derive(Clone, Copy)]
pub(super) struct Run<'a, T: Plain> {
    first: u64,
    pub(super) count: u64,
    /// The lap and the slot of `first`: found once, not at each step.
    lap: u64,
    slot: &'a Slot<T>,
}

impl<T: Plain> Run<'_, T> {
    fn end(self) -> u64 {
        self.first.wrapping_add(self.count)
    }

    /// The value of the first one.
    #[inline(always)]
    pub(super) fn value(&self) -> &PlainCell<T> {
        &self.slot.value
    }
}

impl<T: Plain> Object for Mpmc<T> {
    const KIND: u32 = kind(b"MPMC");
    const HARDENED: bool = true;
    type Parts = (At<Ends>, AtRing<Slot<T>>, u64);

    fn payload() -> Layout {
        Layout::new::<T>()
    }

    fn plan(&[capacity, flags, ..]: &Configuration, plan: &mut Plan) -> Result<Self::Parts, Error> {
        let capacity = usize::try_from(capacity).map_err(|_| Error::Geometry("the capacity is too large"))?;
        if flags & !(AT_MOST_ONCE | KEEP_OPEN) != 0 {
            return Err(Error::Geometry("an mpmc queue with settings that this version does not know"));
        }
        Ok((plan.one()?, plan.ring(capacity)?, flags))
    }

    fn attach(memory: &Memory, &(ends, slots, flags): &Self::Parts) -> Self {
        let slots = memory.ring(slots);
        let k = slots.capacity().min(MAX_K);
        Self { ends: memory.one(ends), slots, k, flags }
    }

    fn sweep(&self, dead: PeerId, _reaper: PeerId) {
        for index in 0..self.capacity() {
            let word = self.word(index);
            let is_lost = word.state() == READING && self.flags & AT_MOST_ONCE != 0;
            // What the slots were claimed from, and what becomes of them, in which lap.
            let (before, after, more) = match word.state() {
                WRITING => (EMPTY, TOMB, 0),
                // Not a tomb: nobody would pass it any more, as it lies behind those who have stepped over it.
                READING if is_lost => (FULL, EMPTY, 1),
                READING => (FULL, ORPHAN, 0),
                _ => continue,
            };
            if word.owner() != dead {
                continue;
            }
            let settle = |position: u64, found: Word| {
                let cell = &self.slots.at(position).word;
                let settled = Word::new(self.slots.lap(position).wrapping_add(more), after);
                // Fails only if the owner is not dead after all, or a peer wrote nonsense.
                let outcome = cell.compare_exchange(found.0, settled.0, Ordering::AcqRel, Ordering::Relaxed);
                if outcome.is_ok() && is_lost {
                    self.ends.losses.lost.fetch_add(1, Ordering::Relaxed);
                }
            };
            // The position is right but for multiples of the whole range of turns.
            let first = word.turn() * self.capacity() + index;
            for position in (1..word.run()).map(|index| first.wrapping_add(index)) {
                let (lap, found) = (self.slots.lap(position), self.word(position));
                // FULL among those that were being written: its sender died while it published them. EMPTY of the next lap among those that
                // were being read: its receiver had given it back.
                if found == Word::new(lap, before) || found == Word::new(lap, FULL) {
                    settle(position, found);
                }
            }
            settle(first, word);
        }
        // Always, and last: a reaper that died before this has left orphans that are no longer the dead peer's.
        self.ends.orphans.fetch_add(1, Ordering::Release);
    }

    fn wake_all(&self) {
        self.ends.data.rouse();
        self.ends.space.rouse();
        self.ends.drained.rouse();
    }
}

impl<T: Plain> Mpmc<T> {
    /// Makes an empty queue one through which `position` messages have passed, for tests of what comes after years.
    #[doc(hidden)]
    pub fn wind_forward(&self, position: u64) {
        for position in (0..self.capacity()).map(|step| position + step) {
            let word = Word::new(self.slots.lap(position), EMPTY);
            self.slots.at(position).word.store(word.0, Ordering::Relaxed);
        }
        self.ends.tail.store(position, Ordering::Relaxed);
        self.ends.head.store(position, Ordering::Release);
    }

    pub(super) fn capacity(&self) -> u64 {
        self.slots.capacity()
    }

    /// The word of a position.
    #[inline(always)]
    pub(super) fn word(&self, position: u64) -> Word {
        self.slots.at(position).word()
    }

    /// Claims room for 1 to `most` messages as `me`, starting to look from `cursor`.
    #[inline(always)]
    pub(super) fn claim_room(&self, me: PeerId, cursor: &Hint, most: u64) -> Result<Run<'_, T>, Jam> {
        let index = &self.ends.tail;
        let mut position = cursor.get();
        let mut steps = 0_u64;
        loop {
            let (lap, slot) = (self.slots.lap(position), self.slots.at(position));
            let word = slot.word();
            if word == Word::new(lap, EMPTY) {
                let slot = Run { first: position, count: 1, lap, slot };
                if let Some(run) = self.claim(slot, word, WRITING, me, most) {
                    self.pass(index, position, run.end());
                    cursor.set(run.end());
                    return Ok(run);
                }
                continue;
            }
            if word.ahead_of(lap) < 0 {
                if self.is_behind(index, &mut position) {
                    continue;
                }
                cursor.set(position);
                return Err(Jam::Full(word));
            }
            position = self.step_over(index, position, word);
            steps += 1;
            if steps.is_multiple_of(1024) && self.is_torn(self.ends.head.load(Ordering::Acquire), position) {
                return Err(Jam::Corrupt);
            }
        }
    }

    /// Claims 1 to `most` messages as `me`, starting to look from `cursor`. `seen` is one more than the count of sweeps that this receiver has looked after.
    #[inline(always)]
    pub(super) fn claim_messages(&self, me: PeerId, cursor: &Hint, seen: &Hint, most: u64) -> Result<Run<'_, T>, Idle> {
        let sweeps = self.ends.orphans.load(Ordering::Acquire);
        if seen.get() != sweeps.wrapping_add(1) {
            if let Some(run) = self.adopt(me) {
                return Ok(run);
            }
            seen.set(sweeps.wrapping_add(1));
        }
        let index = &self.ends.head;
        let mut position = cursor.get();
        let mut steps = 0_u64;
        loop {
            let (lap, slot) = (self.slots.lap(position), self.slots.at(position));
            let word = slot.word();
            if word == Word::new(lap, FULL) {
                let slot = Run { first: position, count: 1, lap, slot };
                if let Some(run) = self.claim(slot, word, READING, me, most) {
                    self.pass(index, position, run.end());
                    cursor.set(run.end());
                    return Ok(run);
                }
                continue;
            }
            if word == Word::new(lap, TOMB) {
                self.bury(position, word);
                continue;
            }
            let ahead = word.ahead_of(lap);
            if ahead < 0 || ahead == 0 && matches!(word.state(), EMPTY | WRITING) {
                if self.is_behind(index, &mut position) {
                    continue;
                }
                cursor.set(position);
                let is_writing = ahead == 0 && word.state() == WRITING;
                return Err(if is_writing { Idle::Writing(word) } else { Idle::Empty });
            }
            position = self.step_over(index, position, word);
            steps += 1;
            if steps.is_multiple_of(1024) && self.is_torn(position, self.ends.tail.load(Ordering::Acquire)) {
                return Err(Idle::Corrupt);
            }
        }
    }

    /// Claims the one slot of `run`, whose word is `word`, and of those behind it as many as are in the same state, up to `most` in all.
    /// `None` if somebody else was faster.
    #[inline(always)]
    fn claim<'a>(&self, mut run: Run<'a, T>, word: Word, state: u64, me: PeerId, most: u64) -> Option<Run<'a, T>> {
        if most > 1 {
            run.count = most.min(Word::LONGEST_RUN).min(self.capacity());
            run.count = self.extent(run, word.state());
        }
        let claim = Word::claim(word.turn(), state, run.count, me);
        // Acquire: this peer comes after the one that handed the slot on. Release: the sweep of others continues from here.
        run.slot.word.compare_exchange(word.0, claim.0, Ordering::AcqRel, Ordering::Relaxed).is_ok().then_some(run)
    }

    /// How many of the slots of `run`, from the first on, are in `state` and of its lap.
    #[inline]
    fn extent(&self, run: Run<'_, T>, state: u64) -> u64 {
        let mut extent = 0;
        for (lap, slots) in self.pieces(run) {
            let word = Word::new(lap, state);
            // Acquire, as for the first one's exchange.
            let count = slots.iter().take_while(|slot| slot.word.load(Ordering::Acquire) == word.0).count();
            extent += count as u64;
            if count < slots.len() {
                break;
            }
        }
        // The first was seen in that state; if it is not any more, its exchange will fail.
        extent.max(1)
    }

    /// The slots of a run, in two pieces if it goes past the ring's end, each with its lap.
    #[inline]
    fn pieces(&self, run: Run<'_, T>) -> [(u64, &[Slot<T>]); 2] {
        let (slots, beyond) = self.slots.run(run.first, run.count as usize);
        [(run.lap, slots), (run.lap.wrapping_add(1), beyond)]
    }

    /// Writes values into the slots of a run that this peer has claimed, which are as many.
    #[inline]
    pub(super) fn write(&self, run: Run<'_, T>, values: &[T]) {
        let cells = self.pieces(run).into_iter().flat_map(|(_, slots)| slots);
        cells.zip(values).for_each(|(slot, value)| slot.value.write(*value));
    }

    /// Reads the values of a run that this peer has claimed, which are as many.
    #[inline]
    pub(super) fn read(&self, run: Run<'_, T>, values: &mut [T]) {
        let cells = self.pieces(run).into_iter().flat_map(|(_, slots)| slots);
        cells.zip(values).for_each(|(slot, value)| *value = slot.value.read());
    }

    /// Hands a run on, from its last slot to its first: in `state` of the lap that is `laps` on.
    #[inline(always)]
    fn hand_on(&self, run: Run<'_, T>, laps: u64, state: u64) {
        // Release: pairs with the acquire loads and the exchange of who claims them next.
        if run.count == 1 {
            let word = Word::new(run.lap.wrapping_add(laps), state);
            run.slot.word.store(word.0, Ordering::Release);
            return;
        }
        for (lap, slots) in self.pieces(run).into_iter().rev() {
            let word = Word::new(lap.wrapping_add(laps), state);
            slots.iter().rev().for_each(|slot| slot.word.store(word.0, Ordering::Release));
        }
    }

    /// Hands a run that was written on to receivers: its messages are sent.
    #[inline(always)]
    pub(super) fn publish(&self, run: Run<'_, T>) {
        self.hand_on(run, 0, FULL);
        self.ends.data.notify_one();
    }

    /// Hands a run that was read back to senders: its messages are received.
    #[inline(always)]
    pub(super) fn give_back(&self, run: Run<'_, T>) {
        self.hand_on(run, 1, EMPTY);
        self.ends.space.notify_one();
        if self.ends.drained.is_awaited() {
            self.tell_if_drained(run.end());
        }
    }

    /// Wakes who waits until everything is received, if that is so and not obviously not.
    #[cold]
    fn tell_if_drained(&self, position: u64) {
        // Of two who give back the last two slots, one sees both EMPTY.
        fence(Ordering::SeqCst);
        if self.word(position) != Word::new(self.slots.lap(position), FULL) && self.is_drained() {
            self.ends.drained.notify_all();
        }
    }

    /// A tomb takes room like a message, so passing it makes room like receiving one.
    #[cold]
    fn bury(&self, position: u64, tomb: Word) {
        let next = Word::new(tomb.turn().wrapping_add(1), EMPTY);
        let cell = &self.slots.at(position).word;
        if cell.compare_exchange(tomb.0, next.0, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            self.ends.losses.tombs.fetch_add(1, Ordering::Relaxed);
            self.ends.space.notify_one();
        }
    }

    /// Takes the message that a dead receiver left unacknowledged, the oldest first.
    #[cold]
    fn adopt(&self, me: PeerId) -> Option<Run<'_, T>> {
        loop {
            let orphans = (0..self.capacity()).map(|index| (index, self.word(index)));
            let orphans = orphans.filter(|(_, word)| word.state() == ORPHAN);
            let (index, word) = orphans.min_by_key(|&(index, word)| (word.turn(), index))?;
            let first = word.turn() * self.capacity() + index;
            let run = Run { first, count: 1, lap: word.turn(), slot: self.slots.at(first) };
            if let Some(run) = self.claim(run, word, READING, me, 1) {
                self.ends.losses.redelivered.fetch_add(1, Ordering::Relaxed);
                return Some(run);
            }
        }
    }

    /// The position after `position`, whose word says that it is not to be had any more.
    #[inline]
    fn step_over(&self, index: &AtomicU64, position: u64, word: Word) -> u64 {
        let is_laps_behind = word.ahead_of(self.slots.lap(position)) > 0;
        let next = position.wrapping_add(if is_laps_behind { 1 } else { word.run() });
        self.pass(index, position, next);
        // Others were here since; the index may know that they are far ahead.
        next.max(index.load(Ordering::Acquire))
    }

    /// Moves `position` to where `index` is, if that is further on: before it is believed that the queue is full or empty, because who has not been
    /// here for half the range of turns takes the future for the past.
    #[cold]
    fn is_behind(&self, index: &AtomicU64, position: &mut u64) -> bool {
        let found = index.load(Ordering::Acquire);
        let is_behind = found > *position;
        *position = found.max(*position);
        is_behind
    }

    /// Moves `index` to `next`, the end of a run at `position`, if a multiple of K lies between.
    #[inline(always)]
    fn pass(&self, index: &AtomicU64, position: u64, next: u64) {
        if (position ^ next) & !(self.k - 1) != 0 && index.load(Ordering::Relaxed) < next {
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

    /// How far a position can truthfully be off because indices are lazy: K and a run for each peer that may not have moved one yet.
    fn slack(&self) -> u64 {
        (self.k + Word::LONGEST_RUN) * (u64::from(u16::MAX) + 1)
    }

    /// Whether a receiver has something to do from `cursor` on, a tomb to pass included, behind which there may be a message: after a sleep, to decide whether
    /// somebody else should be woken.
    pub(super) fn has_message(&self, cursor: &Hint) -> bool {
        let (position, word) = self.first_untaken(cursor.get());
        [FULL, TOMB].map(|state| Word::new(self.slots.lap(position), state)).contains(&word)
    }

    /// Whether there is a message whose receiver has died, unless there was none after the sweeps that `seen` stands for.
    pub(super) fn has_orphan(&self, seen: &Hint) -> bool {
        let sweeps = self.ends.orphans.load(Ordering::Acquire).wrapping_add(1);
        if seen.get() == sweeps {
            return false;
        }
        let is_there = (0..self.capacity()).any(|index| self.word(index).state() == ORPHAN);
        if !is_there {
            seen.set(sweeps);
        }
        is_there
    }

    /// Whether there is room for a message.
    pub(super) fn has_room(&self, cursor: &Hint) -> bool {
        let (position, word) = self.first_unclaimed(cursor.get());
        word == Word::new(self.slots.lap(position), EMPTY)
    }

    /// Messages that wait or are being written, tombs among them. Exact if nobody is at it meanwhile.
    pub(super) fn len(&self) -> u64 {
        let (head, _) = self.first_untaken(0);
        let (tail, _) = self.first_unclaimed(0);
        tail.saturating_sub(head).min(self.capacity())
    }

    /// The first position from `position` on that no receiver has taken, and its word.
    fn first_untaken(&self, position: u64) -> (u64, Word) {
        self.look(&self.ends.head, position, |word, ahead| {
            ahead > 0 || ahead == 0 && matches!(word.state(), READING | ORPHAN)
        })
    }

    /// The first position from `position` on that no sender has claimed, and its word.
    pub(super) fn first_unclaimed(&self, position: u64) -> (u64, Word) {
        self.look(&self.ends.tail, position, |word, ahead| ahead > 0 || ahead == 0 && word.state() != EMPTY)
    }

    /// The first position from `position` and `index` on that is not to be stepped over, and its word.
    ///
    /// The index is asked at each step, since others may go round while this one looks. It is less than a lap behind what it points to, unless a peer wrote it.
    fn look(&self, index: &AtomicU64, position: u64, over: impl Fn(Word, i64) -> bool) -> (u64, Word) {
        let mut known = index.load(Ordering::Acquire);
        let mut position = position.max(known);
        loop {
            let word = self.word(position);
            let ahead = word.ahead_of(self.slots.lap(position));
            if !over(word, ahead) || position.saturating_sub(known) > self.capacity() {
                return (position, word);
            }
            known = index.load(Ordering::Acquire);
            position = position.wrapping_add(if ahead > 0 { 1 } else { word.run() }).max(known);
        }
    }

    /// Whether nothing is being sent, received, or waiting to be delivered, for the first time or again.
    pub(super) fn is_drained(&self) -> bool {
        (0..self.capacity()).all(|index| matches!(self.word(index).state(), EMPTY | TOMB))
    }
}
