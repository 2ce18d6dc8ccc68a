//! The protocol: buffers with owners, and a ring of references to those that are ready, published last.
//!
//! A buffer has a [`Word`] whose turn is its generation, and a place in the pool:
//!
//! | state | meaning | who may change it, to what |
//! |---|---|---|
//! | FREE(g) | nobody's | any sender: CAS → OWNED(g, itself) |
//! | OWNED(g, o) | `o` writes a message | `o`: store → READY(g, o), or FREE(g+1); reaper of `o`: CAS → FREE(g+1) |
//! | READY(g, o) | a message; `o` puts it into the ring, if it is not there yet | any receiver that found it there: CAS → TAKEN(g, itself); reaper of `o`, if it is not there: CAS → READY(g+1, reaper) |
//! | TAKEN(g, o) | `o` reads it, for as long as it likes | `o`: store → FREE(g+1), or READY(g+1, o) to give it back; reaper of `o`: CAS → READY(g+1, reaper) |
//!
//! The ring has a cell for each buffer at least, so it is never full, and publishing never waits for anybody:
//!
//! ```text
//! 63            28 27      14 13       0
//! ┌───────────────┬──────────┬──────────┐
//! │     turn      │ buffer+1 │ g mod 2¹⁴│      buffer+1 = 0: empty, and free for that turn
//! └───────────────┴──────────┴──────────┘
//! ```
//!
//! - publish: CAS the cell at `tail` from (L, empty) to (L, buffer, g). This is the instant at which the message takes its place. Then move `tail`; a cell
//!   that is filled already was published by somebody who has not moved it yet, so move it for them. A cell of the turn before is one whose message was
//!   taken by somebody who has not cleared it yet: clear it for them, from `head` on.
//! - take: read the cell at `head`, read its buffer's word, read the cell again: if it is the same, the word belongs to it. CAS the word to TAKEN. This is the
//!   instant at which the message is taken. Then clear the cell and move `head`; if the word shows that it was taken already, do that for the one who did.
//!
//! Everybody helps everybody, so a process that is stopped at any step delays nobody: lock-free, while buffers last.
//!
//! # Why a kill at any step loses nothing
//!
//! The buffer's word says at every instant whose it is. OWNED: its `send` has not returned, so the message may vanish. READY but not in the ring: it may have been
//! the last step before `send` returned, so the reaper publishes it. TAKEN: not acknowledged, so the reaper publishes it again, in a new
//! generation, which makes references that may linger from the first time worthless. Dead halfway through that, the reaper has left it READY in its
//! own name, for its own reaper to publish.
//!
//! # Generations and turns
//!
//! A cell has room for the low 14 bits of a generation. To mistake one for another, a taker would have to read the cell, then be delayed while the same buffer goes round 2¹⁴
//! times, and find the same cell unchanged: but an unchanged cell stops `head`, and behind it nothing moves. The turn has 36 bits: a delayed exchange
//! would have to hit the same cell after exactly 2³⁶ laps.
//!
//! # Orderings
//!
//! READY is published with release in the cell's exchange and the word's store, and taken with acquire: the taker sees the message. FREE is stored with release, and
//! claimed with acquire: the next writer comes after the last reader. `head` and `tail` are moved with release and read with acquire, so that whoever starts from one sees
//! the cells before it as whoever moved it did.
//!
//! `models/buffer.py` explores it with two kills, `tests/loom.rs` this code under weak memory.

use super::settings::{MAX_CLASSES, classes};
use crate::word::Word;
use shmkit_segment::primitive::{AtomicU32, AtomicU64, Ordering};
use shmkit_segment::{
    At, AtBlocks, AtRing, AtSlice, Blocks, Configuration, Error, Line, Mapped, MappedSlice, Memory, Object, PeerId,
    Plan, Ring, kind, shared,
};
use shmkit_sync::EventCount;
use std::alloc::Layout;
use std::cell::Cell;
use std::ops::Range;

const FREE: u64 = 0;
const OWNED: u64 = 1;
const READY: u64 = 2;
const TAKEN: u64 = 3;

/// A flag of the configuration: the queue does not end when a side is empty.
pub(super) const KEEP_OPEN: u64 = 1;

/// A cell has 14 bits for the number of a buffer, less one value for none.
const MAX_BUFFERS: usize = (1 << 14) - 1;

shared! {
    /// What is known of a buffer; 24 bytes.
    pub struct Tag {
        word: AtomicU64,
        /// Bytes of the message, at most the size of a buffer.
        length: AtomicU32,
        /// How often the message was handed to a receiver.
        deliveries: AtomicU32,
        /// The process that it was handed to last.
        holder: AtomicU32,
        reserved: AtomicU32,
    }
}

shared! {
    pub struct Ends {
        tail: Line<AtomicU64>,
        head: Line<AtomicU64>,
        pub(super) data: Line<EventCount>,
        pub(super) space: Line<EventCount>,
        /// How often a message was put in again.
        returned: Line<AtomicU64>,
    }
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Tag>() == 24 && size_of::<Ends>() == 5 * 128);

/// A reference to a buffer, as it stands in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CellWord(u64);

impl CellWord {
    const TURN: u64 = (1 << 36) - 1;
    const LOW: u64 = (1 << 14) - 1;

    fn empty(lap: u64) -> Self {
        Self((lap & Self::TURN) << 28)
    }

    fn holding(lap: u64, buffer: usize, generation: u64) -> Self {
        Self(Self::empty(lap).0 | (buffer as u64 + 1) << 14 | generation & Self::LOW)
    }

    /// The buffer it refers to.
    fn buffer(self) -> Option<usize> {
        (self.0 >> 14 & Self::LOW).checked_sub(1).map(|buffer| buffer as usize)
    }

    /// Whether it refers to generation `generation`.
    fn is_of(self, generation: u64) -> bool {
        self.0 & Self::LOW == generation & Self::LOW
    }

    /// How many laps it is ahead of `lap`; negative if it is behind.
    fn ahead_of(self, lap: u64) -> i64 {
        let difference = (self.0 >> 28).wrapping_sub(lap) << 28;
        difference as i64 >> 28
    }
}

/// The queue in its segment, or a part of a larger object's.
#[derive(Clone)]
pub struct Buffers {
    pub(super) ends: Mapped<Ends>,
    cells: Ring<AtomicU64>,
    tags: MappedSlice<Tag>,
    /// From the smallest buffers to the largest.
    classes: Vec<Class>,
    /// Bytes of the largest buffers.
    pub(super) largest: usize,
    pub(super) flags: u64,
}

/// The buffers of one size.
#[derive(Clone)]
struct Class {
    /// The number of the first of them.
    first: usize,
    blocks: Blocks,
}

impl Class {
    fn buffers(&self) -> Range<usize> {
        self.first..self.first + self.blocks.count()
    }

    /// Moves a cursor to the one after `buffer`.
    #[inline]
    fn step_on(&self, cursor: &Cell<usize>, buffer: usize) {
        let next = buffer + 1 - self.first;
        cursor.set(if next < self.blocks.count() { next } else { 0 });
    }
}

/// From where a sender looks for a free buffer of each size.
#[derive(Default)]
pub(super) struct Cursors([Cell<usize>; MAX_CLASSES]);

/// A buffer that this process owns, or a message that it has taken.
#[derive(Clone, Copy)]
pub(super) struct Claim {
    buffer: usize,
    generation: u64,
}

/// A peer wrote nonsense into the ring.
#[derive(Clone, Copy, Debug)]
pub(super) struct Corrupt;

/// Nothing was found.
pub(super) enum Nothing {
    Now,
    Corrupt,
}

impl Object for Buffers {
    const KIND: u32 = kind(b"BUFF");
    type Parts = (At<Ends>, AtRing<AtomicU64>, AtSlice<Tag>, [Option<AtBlocks>; MAX_CLASSES], u64);

    fn payload() -> Layout {
        Layout::new::<()>()
    }

    fn plan(configuration: &Configuration, plan: &mut Plan) -> Result<Self::Parts, Error> {
        const WRONG: Error = Error::Geometry("a queue has 1 to 16,383 buffers, of one to seven sizes below 4 GiB");
        let flags = configuration[MAX_CLASSES];
        if flags & !KEEP_OPEN != 0 {
            return Err(Error::Geometry("it has a setting that this version does not know"));
        }
        let classes = classes(configuration).ok_or(WRONG)?;
        let count: usize = classes.iter().map(|(count, _)| count).sum();
        if count > MAX_BUFFERS {
            return Err(WRONG);
        }
        let (ends, cells, tags) = (plan.one()?, plan.ring(count.next_power_of_two())?, plan.slice(count)?);
        let mut blocks = [None; MAX_CLASSES];
        for (place, (count, size)) in blocks.iter_mut().zip(classes) {
            *place = Some(plan.blocks(count, size)?);
        }
        Ok((ends, cells, tags, blocks, flags))
    }

    fn attach(memory: &Memory, &(ends, cells, tags, blocks, flags): &Self::Parts) -> Self {
        let (mut classes, mut first) = (Vec::with_capacity(MAX_CLASSES), 0);
        for blocks in blocks.into_iter().flatten().map(|at| memory.blocks(at)) {
            first += blocks.count();
            classes.push(Class { first: first - blocks.count(), blocks });
        }
        Self {
            ends: memory.one(ends),
            cells: memory.ring(cells),
            tags: memory.slice(tags),
            largest: classes.last().map_or(0, |class| class.blocks.size()),
            classes,
            flags,
        }
    }

    fn sweep(&self, dead: PeerId, reaper: PeerId) {
        let in_ring = self.in_ring(dead);
        for buffer in 0..self.tags.len() {
            let cell = &self.tags[buffer].word;
            let word = Word(cell.load(Ordering::Acquire));
            if word.owner() != dead {
                continue;
            }
            let generation = word.turn();
            let swept = match word.state() {
                OWNED => Word::new(generation + 1, FREE),
                READY if in_ring[buffer / 64] >> (buffer % 64) & 1 != 0 => continue,
                READY | TAKEN => Word::owned(generation + 1, READY, reaper),
                _ => continue,
            };
            // Fails if a receiver took it just now.
            if cell.compare_exchange(word.0, swept.0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
                && swept.state() == READY
            {
                // In a corrupt queue there is nothing more to be done for it.
                let _ = self.publish_again(Claim { buffer, generation: generation + 1 });
            }
        }
    }

    fn wake_all(&self) {
        self.ends.data.rouse();
        self.ends.space.rouse();
    }
}

impl Buffers {
    pub(super) fn count(&self) -> usize {
        self.tags.len()
    }

    /// Messages in the ring, about.
    pub(super) fn len(&self) -> usize {
        let head = self.ends.head.load(Ordering::Relaxed);
        self.ends.tail.load(Ordering::Relaxed).saturating_sub(head).min(self.count() as u64) as usize
    }

    /// Takes a free buffer of at least `size` bytes for `me`: of the smallest such size of which there is one.
    #[inline]
    pub(super) fn claim(&self, me: PeerId, cursors: &Cursors, size: usize) -> Option<Claim> {
        let class = self.classes.iter().position(|class| class.blocks.size() >= size)?;
        let buffer = self.classes[class].first + cursors.0[class].get();
        if let Some(claim) = self.try_claim(buffer, me) {
            self.classes[class].step_on(&cursors.0[class], buffer);
            return Some(claim);
        }
        self.search(class, me, cursors)
    }

    /// Looks at all buffers from size number `class` on.
    #[inline(never)]
    fn search(&self, class: usize, me: PeerId, cursors: &Cursors) -> Option<Claim> {
        // If every buffer waits to be received, there is no need to look at each. What is stale in the ring can only be at its head.
        if self.is_ring_full() && !self.help_clear() {
            return None;
        }
        for (class, cursor) in self.classes.iter().zip(&cursors.0).skip(class) {
            let Range { start, end } = class.buffers();
            let from = start + cursor.get();
            for buffer in (from..end).chain(start..from) {
                if let Some(claim) = self.try_claim(buffer, me) {
                    class.step_on(cursor, buffer);
                    return Some(claim);
                }
            }
        }
        None
    }

    #[inline]
    fn try_claim(&self, buffer: usize, me: PeerId) -> Option<Claim> {
        let cell = &self.tags[buffer].word;
        let word = Word(cell.load(Ordering::Relaxed));
        if word.state() != FREE {
            return None;
        }
        let generation = word.turn();
        let owned = Word::owned(generation, OWNED, me);
        // Acquire pairs with the release of FREE: this process writes after the last reader.
        let outcome = cell.compare_exchange(word.0, owned.0, Ordering::Acquire, Ordering::Relaxed);
        outcome.is_ok().then_some(Claim { buffer, generation })
    }

    /// Where a claimed buffer is: its size's number, and its own among those of that size.
    #[inline]
    pub(super) fn place(&self, claim: Claim) -> (usize, usize) {
        let class = self.classes.iter().rposition(|class| class.first <= claim.buffer).unwrap_or(0);
        (class, claim.buffer - self.classes[class].first)
    }

    /// The buffers of a size.
    #[inline]
    pub(super) fn blocks(&self, class: usize) -> &Blocks {
        &self.classes[class].blocks
    }

    /// Sends the first `length` bytes of a claimed buffer.
    pub(super) fn send(&self, claim: Claim, length: usize, me: PeerId) -> Result<(), Corrupt> {
        let tag = &self.tags[claim.buffer];
        tag.length.store(length as u32, Ordering::Relaxed);
        tag.deliveries.store(0, Ordering::Relaxed);
        // Release: whoever publishes it, this process or its reaper, publishes a whole message.
        tag.word.store(Word::owned(claim.generation, READY, me).0, Ordering::Release);
        self.publish(claim)?;
        self.ends.data.notify_one();
        Ok(())
    }

    /// Gives a claimed buffer, or a message that was received for good, back.
    pub(super) fn free(&self, claim: Claim) {
        // Release pairs with the acquire in `claim`.
        self.tags[claim.buffer].word.store(Word::new(claim.generation + 1, FREE).0, Ordering::Release);
        // Those who wait for room want different sizes, if there are several, and the first to be woken need not be one whom this buffer helps.
        if self.classes.len() == 1 {
            self.ends.space.notify_one();
        } else {
            self.ends.space.notify_all();
        }
    }

    /// Gives a message that was taken back to be delivered again, behind those that wait.
    pub(super) fn give_back(&self, claim: Claim, me: PeerId) {
        let generation = claim.generation + 1;
        self.tags[claim.buffer].word.store(Word::owned(generation, READY, me).0, Ordering::Release);
        // In a corrupt queue there is nothing more to be done for it.
        let _ = self.publish_again(Claim { generation, ..claim });
        self.ends.data.notify_one();
    }

    fn publish_again(&self, claim: Claim) -> Result<(), Corrupt> {
        // Counted first, so that it never seems to have been sent anew.
        self.ends.returned.fetch_add(1, Ordering::Relaxed);
        self.publish(claim)
    }

    /// Puts a READY buffer into the ring. Every round in which it does not succeed, somebody else has, or the ring is corrupt.
    fn publish(&self, claim: Claim) -> Result<(), Corrupt> {
        loop {
            let position = self.ends.tail.load(Ordering::Acquire);
            let lap = self.cells.lap(position);
            let cell = self.cells.at(position);
            let found = CellWord(cell.load(Ordering::Acquire));
            if found == CellWord::empty(lap) {
                let filled = CellWord::holding(lap, claim.buffer, claim.generation);
                if cell.compare_exchange(found.0, filled.0, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                    Self::advance(&self.ends.tail, position);
                    return Ok(());
                }
                continue;
            }
            let moved_on = || self.ends.tail.load(Ordering::Acquire) != position;
            match found.ahead_of(lap) {
                0 | 1 => Self::advance(&self.ends.tail, position),
                -1 if self.help_clear() || moved_on() || cell.load(Ordering::Acquire) != found.0 => {}
                // Behind the tail, a cell can be filled and cleared again, but not be filled for the next lap before the tail has come round.
                _ if moved_on() => {}
                _ => return Err(Corrupt),
            }
        }
    }

    /// Takes the oldest message for `me`.
    pub(super) fn take(&self, me: PeerId) -> Result<Claim, Nothing> {
        loop {
            let position = self.ends.head.load(Ordering::Acquire);
            let lap = self.cells.lap(position);
            let cell = self.cells.at(position);
            let found = CellWord(cell.load(Ordering::Acquire));
            match found.ahead_of(lap) {
                0 => {}
                1 => {
                    Self::advance(&self.ends.head, position);
                    continue;
                }
                behind if behind < 0 => return Err(Nothing::Now),
                // A cell is filled for the next lap only after the head has passed it.
                _ if self.ends.head.load(Ordering::Acquire) != position => continue,
                _ => return Err(Nothing::Corrupt),
            }
            let Some(buffer) = found.buffer() else { return Err(Nothing::Now) };
            let tag = self.tags.get(buffer).ok_or(Nothing::Corrupt)?;
            let word = Word(tag.word.load(Ordering::Acquire));
            let generation = word.turn();
            if word.state() == READY && found.is_of(generation) {
                // Acquire above orders this load after the word's: if the cell is still the same, the word belongs to it.
                if cell.load(Ordering::Acquire) != found.0 {
                    continue;
                }
                let taken = Word::owned(generation, TAKEN, me);
                if tag.word.compare_exchange(word.0, taken.0, Ordering::AcqRel, Ordering::Relaxed).is_err() {
                    continue;
                }
                self.clear(position, found);
                return Ok(Claim { buffer, generation });
            }
            self.clear(position, found);
        }
    }

    /// Clears the cell at the head if its message was taken, for somebody who has not done so yet. False if nothing could be done and nobody else
    /// has done anything: with a cell for each buffer that cannot be while there is a buffer to publish.
    #[cold]
    fn help_clear(&self) -> bool {
        let position = self.ends.head.load(Ordering::Acquire);
        let lap = self.cells.lap(position);
        let found = CellWord(self.cells.at(position).load(Ordering::Acquire));
        if found.ahead_of(lap) == 1 {
            Self::advance(&self.ends.head, position);
            return true;
        }
        let tag = found.buffer().filter(|_| found.ahead_of(lap) == 0).and_then(|buffer| self.tags.get(buffer));
        if let Some(tag) = tag {
            let word = Word(tag.word.load(Ordering::Acquire));
            if word.state() != READY || !found.is_of(word.turn()) {
                self.clear(position, found);
                return true;
            }
        }
        self.ends.head.load(Ordering::Acquire) != position
    }

    /// Clears a cell whose message was taken, and moves the head past it.
    fn clear(&self, position: u64, found: CellWord) {
        let next = CellWord::empty(self.cells.lap(position) + 1);
        // Fails if somebody else has cleared it: then all that is left is the head.
        let _ = self.cells.at(position).compare_exchange(found.0, next.0, Ordering::AcqRel, Ordering::Relaxed);
        Self::advance(&self.ends.head, position);
    }

    fn advance(index: &AtomicU64, position: u64) {
        // Release: see the module's head. Fails if somebody else has moved it.
        let _ = index.compare_exchange(position, position.wrapping_add(1), Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Which of the messages that `dead` has sent are in the ring: a bit for each buffer.
    ///
    /// For a peer that is dead: what it did not put in before, it never will. What is taken out meanwhile is not READY any more.
    fn in_ring(&self, dead: PeerId) -> [u64; MAX_BUFFERS.div_ceil(64)] {
        let mut bits = [0; MAX_BUFFERS.div_ceil(64)];
        for position in 0..self.cells.capacity() {
            let found = CellWord(self.cells.at(position).load(Ordering::Acquire));
            let Some((buffer, tag)) = found.buffer().and_then(|buffer| Some((buffer, self.tags.get(buffer)?))) else {
                continue;
            };
            let word = Word(tag.word.load(Ordering::Acquire));
            if word.owner() == dead && word.state() == READY && found.is_of(word.turn()) {
                bits[buffer / 64] |= 1 << (buffer % 64);
            }
        }
        bits
    }

    /// The length of a taken message. `None` if a peer wrote nonsense.
    pub(super) fn length(&self, claim: Claim) -> Option<usize> {
        let length = self.tags[claim.buffer].length.load(Ordering::Relaxed) as usize;
        let (class, _) = self.place(claim);
        (length <= self.blocks(class).size()).then_some(length)
    }

    /// Notes that a taken message is handed out; returns how often it was before, and to whom last.
    pub(super) fn count_delivery(&self, claim: Claim, pid: u32) -> (u32, u32) {
        let tag = &self.tags[claim.buffer];
        let before = tag.deliveries.load(Ordering::Relaxed);
        let holder = tag.holder.load(Ordering::Relaxed);
        // The holder first: killed in between, the message was not handed out, and is not counted so.
        tag.holder.store(pid, Ordering::Relaxed);
        tag.deliveries.store(before.saturating_add(1), Ordering::Release);
        (before, holder)
    }

    /// Whether a message seems to wait in the ring.
    pub(super) fn has_message(&self) -> bool {
        let position = self.ends.head.load(Ordering::Acquire);
        let found = CellWord(self.cells.at(position).load(Ordering::Acquire));
        found.ahead_of(self.cells.lap(position)) > 0 || found.buffer().is_some()
    }

    /// Whether there are as many messages in the ring as there are buffers. It is so when `head` is read, because `tail` was not ahead of that before; a sender that is
    /// about to sleep depends on it. Acquire keeps the two loads in order.
    #[inline]
    fn is_ring_full(&self) -> bool {
        let tail = self.ends.tail.load(Ordering::Acquire);
        tail.saturating_sub(self.ends.head.load(Ordering::Acquire)) >= self.count() as u64
    }

    /// How often something was put into the ring, and how often of that again.
    pub(super) fn passed(&self) -> (u64, u64) {
        (self.ends.tail.load(Ordering::Relaxed), self.ends.returned.load(Ordering::Relaxed))
    }

    /// How many buffers are free, owned, ready and taken.
    pub(super) fn states(&self) -> [u64; 4] {
        let mut states = [0; 4];
        for tag in self.tags.iter() {
            // A peer gone wild may have written another state, which counts as the one that it would be taken for.
            states[(Word(tag.word.load(Ordering::Acquire)).state() & 3) as usize] += 1;
        }
        states
    }

    /// Whether a buffer is free.
    pub(super) fn has_room(&self) -> bool {
        self.tags.iter().any(|tag| Word(tag.word.load(Ordering::Acquire)).state() == FREE)
    }

    /// Whether every buffer is free: nothing is being sent, held, or waiting to be delivered again.
    pub(super) fn is_drained(&self) -> bool {
        self.tags.iter().all(|tag| Word(tag.word.load(Ordering::Acquire)).state() == FREE)
    }
}

#[cfg(test)]
mod tests {
    use super::CellWord;

    #[test]
    fn a_cell_tells_its_lap_across_the_wrap() {
        let last = (1 << 36) - 1;
        assert_eq!(CellWord::empty(last).ahead_of(last), 0);
        assert_eq!(CellWord::empty(last + 1).ahead_of(last), 1);
        assert_eq!(CellWord::empty(last).ahead_of(last + 1), -1);
        assert_eq!(CellWord::empty(0), CellWord(0));
    }

    #[test]
    fn a_cell_carries_its_buffer_and_generation() {
        let cell = CellWord::holding(3, 16_382, 0x1_2345);
        assert_eq!(cell.buffer(), Some(16_382));
        assert!(cell.is_of(0x1_2345) && cell.is_of(0x1_2345 + (1 << 14)) && !cell.is_of(0x1_2346));
        assert_eq!(cell.ahead_of(3), 0);
        assert_eq!(CellWord::empty(3).buffer(), None);
    }
}
