//! The protocol: buffers with owners, and a ring of references to those that are ready, published last.
//!
//! A buffer has a [`Word`] whose turn is its generation, and a place in the pool:
//!
//! | state | meaning | who may change it, to what |
//! |---|---|---|
//! | FREE(g) | nobody's | any sender: CAS → OWNED(g, itself) |
//! | OWNED(g, o) | `o` writes a message | `o`: store → READY(g, o), or FREE(g) if it thinks better of it; reaper of `o`: CAS → FREE(g) |
//! | READY(g, o) | a message; `o` puts it into the ring, if it is not there yet | any receiver that found it there: CAS → TAKEN(g, itself); reaper of `o`, if it is not there: CAS → READY(g, reaper) |
//! | TAKEN(g, o) | `o` reads it, for as long as it likes | `o`: store → FREE(g+1), or READY(g+1, o) to give it back; reaper of `o`: CAS → READY(g+1, reaper) |
//!
//! The ring has a cell for each buffer at least. Its cells are filled one after the other, round and round:
//!
//! ```text
//! 63            29 28      15 14       0
//! ┌───────────────┬──────────┬──────────┐
//! │     turn      │ buffer+1 │ g mod 2¹⁵│      filled in lap L: turn L+1, and with that free for lap L+1
//! └───────────────┴──────────┴──────────┘
//! ```
//!
//! - publish: the first cell that is not filled in its lap, from (L, whatever) to (L+1, buffer, g) by CAS. This is the instant at which the message takes its place.
//! - take: of the first cell that is filled in its lap and whose buffer's word says READY(g): read the cell, the word, and the cell again; if it is the same, the word belongs
//!   to it. CAS the word to TAKEN. This is the instant at which the message is taken. A cell whose word says anything else is *dead*: its message was taken, and it is stepped over.
//!
//! Nobody clears a cell, and nobody waits for anybody, so a process that is stopped at any step delays no one: lock-free, while buffers last. What remains in a dead cell
//! is overwritten in the next lap.
//!
//! # Why nothing is overwritten that is still to be taken
//!
//! A cell never comes to life again, because a generation never comes again. Who takes from a cell has seen all before it dead, or starts from where somebody had. So the cells alive
//! are neighbours: all from the first one to the last that was filled. Each refers to another buffer, which is READY; and the one that is about to be published is READY too, and in no
//! cell yet. So fewer are alive than there are buffers, hence than there are cells, and the cell after the last that was filled is dead.
//!
//! This needs that a reference tells its generation. A cell is overwritten within a lap, which has at most 2¹⁴ cells; a buffer's generation grows by one for each time that it is published,
//! so the 15 bits in a cell tell all generations apart that can be met in one lap. (Thinking better of it does not make a new generation, for this reason, nor does the reaper of who was
//! just publishing.) The turn has 35 bits: a delayed exchange does harm only if it hits the same cell exactly 2³⁵ laps later.
//!
//! # Why a kill at any step loses nothing
//!
//! The buffer's word says at every instant whose it is. OWNED: its `send` has not returned, so the message may vanish. READY but not in the ring: it may have been
//! the last step before `send` returned, so the reaper publishes it. TAKEN: not acknowledged, so the reaper publishes it again, in a new
//! generation, which makes references that linger from the first time worthless. Dead halfway through that, the reaper has left it READY in its
//! own name, for its own reaper to publish.
//!
//! # Indices
//!
//! `tail` and `head` are only hints where to start looking, as in [`mpmc`](crate::mpmc): they never run ahead of the first cell that is not filled (that is not dead), because
//! a position is passed only by somebody who saw it filled (dead). Only passing a multiple of K moves them, and whoever walks past it helps. Each handle has a cursor of its
//! own, starts there, and asks the index when it has to step over a cell and before it says that the queue is empty.
//!
//! # Orderings
//!
//! READY is stored with release before the cell's exchange, which is release too: who reads the cell (acquire) finds the word READY, or later; who takes the word (acquire) sees the
//! message. FREE is stored with release, and claimed with acquire: the next writer comes after the last reader. `head` and `tail` are moved with release and read with acquire, so
//! that whoever starts from one sees the cells before it as whoever moved it did, and the cell there filled in the lap before. That a cell is dead which is overwritten is a matter of
//! counting and not of having seen it: who still takes it for alive fails to exchange its word.
//!
//! `models/buffer.py` explores it with two kills, `tests/loom.rs` this code under weak memory.

use super::cell::CellWord;
use super::settings::{MAX_CLASSES, classes};
use super::shelf::{Class, Shelves};
use crate::hint::Hint;
use crate::word::Word;
use shmkit_segment::primitive::{AtomicU32, AtomicU64, Ordering};
use shmkit_segment::{
    At, AtBlocks, AtRing, AtSlice, Blocks, Configuration, Error, Line, Mapped, MappedSlice, Memory, Object, PeerId,
    Plan, Ring, kind, shared,
};
use shmkit_sync::EventCount;
use std::alloc::Layout;
use std::ops::Range;

pub(super) const FREE: u64 = 0;
const OWNED: u64 = 1;
pub(super) const READY: u64 = 2;
const TAKEN: u64 = 3;

/// A flag of the configuration: the queue does not end when a side is empty.
pub(super) const KEEP_OPEN: u64 = 1;

/// Passing a multiple of K moves a shared index.
const MAX_K: u64 = 16;

/// A cell has 14 bits for the number of a buffer, less one value for none.
pub(super) const MAX_BUFFERS: usize = (1 << 14) - 1;

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
    k: u64,
    pub(super) flags: u64,
}

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
        let cells = memory.ring(cells);
        let (mut classes, mut first) = (Vec::with_capacity(MAX_CLASSES), 0);
        for blocks in blocks.into_iter().flatten().map(|at| memory.blocks(at)) {
            first += blocks.count();
            classes.push(Class { first: first - blocks.count(), blocks });
        }
        Self {
            ends: memory.one(ends),
            k: cells.capacity().min(MAX_K),
            cells,
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
            let generation = match word.state() {
                // It comes again beside its cell, which is dead and must stay so.
                TAKEN => word.turn() + 1,
                _ => word.turn(),
            };
            let swept = match word.state() {
                OWNED => Word::new(generation, FREE),
                READY if in_ring[buffer / 64] >> (buffer % 64) & 1 != 0 => continue,
                READY | TAKEN => Word::owned(generation, READY, reaper),
                _ => continue,
            };
            // Fails only if the owner is not dead after all, or a peer wrote nonsense: what is not in the ring is the reaper's alone.
            if cell.compare_exchange(word.0, swept.0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
                && swept.state() == READY
            {
                // In a corrupt queue there is nothing more to be done for it.
                let _ = self.publish_again(Claim { buffer, generation });
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

    #[inline]
    pub(super) fn has_several_sizes(&self) -> bool {
        self.classes.len() > 1
    }

    /// Messages in the ring. Exact if nobody is at it meanwhile.
    pub(super) fn len(&self) -> usize {
        let tail = self.first_unfilled();
        tail.saturating_sub(self.first_alive().0).min(self.count() as u64) as usize
    }

    /// Takes a free buffer of at least `size` bytes for `me`: of the smallest such size of which there is one.
    #[inline]
    pub(super) fn claim(&self, me: PeerId, shelves: &Shelves, size: usize) -> Option<Claim> {
        let number = self.classes.iter().position(|class| class.blocks.size() >= size)?;
        let (class, shelf) = (&self.classes[number], &shelves.0[number]);
        let place = class.has_magazine().then(|| shelf.magazine.next());
        let again = place.and_then(|place| (place.get() as usize).checked_sub(1));
        if let Some(claim) = again.and_then(|buffer| self.try_claim(buffer, me)) {
            return Some(claim);
        }
        let buffer = class.first + shelf.cursor.get() as usize;
        let claim = match self.try_claim(buffer, me) {
            Some(claim) => {
                class.step_on(shelf, buffer);
                claim
            }
            None => self.search(number, me, shelves)?,
        };
        if let Some(place) = place.filter(|_| class.buffers().contains(&claim.buffer)) {
            place.set(claim.buffer as u64 + 1);
        }
        Some(claim)
    }

    /// Looks at all buffers from size number `class` on.
    #[inline(never)]
    fn search(&self, class: usize, me: PeerId, shelves: &Shelves) -> Option<Claim> {
        // If every buffer waits to be received, there is no need to look at each.
        if self.is_ring_full() {
            return None;
        }
        for (class, shelf) in self.classes.iter().zip(&shelves.0).skip(class) {
            let Range { start, end } = class.buffers();
            let from = start + shelf.cursor.get() as usize;
            for buffer in (from..end).chain(start..from) {
                if let Some(claim) = self.try_claim(buffer, me) {
                    class.step_on(shelf, buffer);
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
        if !self.has_several_sizes() {
            return (0, claim.buffer);
        }
        let class = self.classes.iter().rposition(|class| class.first <= claim.buffer).unwrap_or(0);
        (class, claim.buffer - self.classes[class].first)
    }

    /// The buffers of a size.
    #[inline]
    pub(super) fn blocks(&self, class: usize) -> &Blocks {
        &self.classes[class].blocks
    }

    /// Sends the first `length` bytes of a claimed buffer, looking for a place from `cursor` on.
    #[inline]
    pub(super) fn send(&self, claim: Claim, length: usize, me: PeerId, cursor: &Hint) -> Result<(), Corrupt> {
        let tag = &self.tags[claim.buffer];
        tag.length.store(length as u32, Ordering::Relaxed);
        tag.deliveries.store(0, Ordering::Relaxed);
        // Release: whoever publishes it, this process or its reaper, publishes a whole message.
        tag.word.store(Word::owned(claim.generation, READY, me).0, Ordering::Release);
        self.publish(claim, cursor)?;
        self.ends.data.notify_one();
        Ok(())
    }

    /// Gives a message that was received for good back.
    #[inline]
    pub(super) fn free(&self, claim: Claim) {
        self.hand_back(claim, claim.generation + 1);
    }

    /// Gives a claimed buffer back that nothing is sent in.
    pub(super) fn think_better(&self, claim: Claim) {
        self.hand_back(claim, claim.generation);
    }

    #[inline]
    fn hand_back(&self, claim: Claim, generation: u64) {
        // Release pairs with the acquire in `try_claim`.
        self.tags[claim.buffer].word.store(Word::new(generation, FREE).0, Ordering::Release);
        // Those who wait for room want different sizes, if there are several, and the first to be woken need not be one whom this buffer helps.
        if self.has_several_sizes() {
            self.ends.space.notify_all();
        } else {
            self.ends.space.notify_one();
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
        self.publish(claim, &Hint::default())
    }

    /// Puts a READY buffer into the ring.
    #[inline]
    fn publish(&self, claim: Claim, cursor: &Hint) -> Result<(), Corrupt> {
        let index = &self.ends.tail;
        let mut position = cursor.get();
        let mut steps = 0_u64;
        loop {
            let (lap, cell) = (self.cells.lap(position), self.cells.at(position));
            let found = CellWord(cell.load(Ordering::Acquire));
            let ahead = found.ahead_of(lap);
            if ahead == 0 {
                let filled = CellWord::filled(lap, claim.buffer, claim.generation);
                if cell.compare_exchange(found.0, filled.0, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                    self.pass(index, position);
                    cursor.set(position.wrapping_add(1));
                    return Ok(());
                }
                continue;
            }
            position = self.step_over(index, position);
            steps += 1;
            // Nobody passes a cell that was not filled, and so comes a lap ahead.
            if ahead < 0 || steps.is_multiple_of(1024) && self.is_torn(self.ends.head.load(Ordering::Acquire), position)
            {
                return Err(Corrupt);
            }
        }
    }

    /// Takes the oldest message for `me`, looking from `cursor` on.
    #[inline]
    pub(super) fn take(&self, me: PeerId, cursor: &Hint) -> Result<Claim, Nothing> {
        let index = &self.ends.head;
        let mut position = cursor.get();
        let mut steps = 0_u64;
        loop {
            let (lap, cell) = (self.cells.lap(position), self.cells.at(position));
            let found = CellWord(cell.load(Ordering::Acquire));
            let ahead = found.ahead_of(lap);
            if ahead <= 0 {
                // Who has not been here for half the range of turns takes the future for the past.
                let known = index.load(Ordering::Acquire);
                if known > position {
                    position = known;
                    continue;
                }
                cursor.set(position);
                return Err(Nothing::Now);
            }
            if ahead == 1 {
                let buffer = found.buffer().ok_or(Nothing::Corrupt)?;
                let tag = self.tags.get(buffer).ok_or(Nothing::Corrupt)?;
                let word = Word(tag.word.load(Ordering::Acquire));
                if found.is_alive(word) {
                    // The acquire above orders this load after the word's: if the cell is still the same, the word belongs to it.
                    let is_same = cell.load(Ordering::Acquire) == found.0;
                    let taken = Word::owned(word.turn(), TAKEN, me);
                    let exchange =
                        || tag.word.compare_exchange(word.0, taken.0, Ordering::AcqRel, Ordering::Relaxed).is_ok();
                    if is_same && exchange() {
                        self.pass(index, position);
                        cursor.set(position.wrapping_add(1));
                        return Ok(Claim { buffer, generation: word.turn() });
                    }
                    continue;
                }
            }
            position = self.step_over(index, position);
            steps += 1;
            if steps.is_multiple_of(1024) && self.is_torn(position, self.ends.tail.load(Ordering::Acquire)) {
                return Err(Nothing::Corrupt);
            }
        }
    }

    /// The position after `position`, which is done with.
    #[inline]
    fn step_over(&self, index: &AtomicU64, position: u64) -> u64 {
        self.pass(index, position);
        // Others were here since; the index may know that they are far ahead.
        position.wrapping_add(1).max(index.load(Ordering::Acquire))
    }

    /// Moves `index` behind `position`, if that is where a multiple of K lies.
    #[inline]
    fn pass(&self, index: &AtomicU64, position: u64) {
        let next = position.wrapping_add(1);
        if next & (self.k - 1) == 0 && index.load(Ordering::Relaxed) < next {
            // Release: who starts from the index sees the cells before it as this thread does.
            index.fetch_max(next, Ordering::Release);
        }
    }

    /// Whether no queue can have come to such ends: one of them far ahead of the other. A peer wrote them, and without this a walk
    /// from one that was written too small would not end.
    #[cold]
    fn is_torn(&self, head: u64, tail: u64) -> bool {
        // How far a position can truthfully be off because indices are lazy: K for each peer that may not have moved one yet.
        let slack = self.k * (u64::from(u16::MAX) + 1);
        head.saturating_sub(tail) > slack || tail.saturating_sub(head) > self.cells.capacity() + slack
    }

    /// The first position whose cell is not filled.
    fn first_unfilled(&self) -> u64 {
        self.look(&self.ends.tail, |_, ahead| ahead > 0).0
    }

    /// The first position whose cell is not dead, and whether it is filled.
    fn first_alive(&self) -> (u64, bool) {
        let is_dead = |found: CellWord| {
            let tag = found.buffer().and_then(|buffer| self.tags.get(buffer));
            tag.is_none_or(|tag| !found.is_alive(Word(tag.word.load(Ordering::Acquire))))
        };
        self.look(&self.ends.head, |found, ahead| ahead > 1 || ahead == 1 && is_dead(found))
    }

    /// The first position from `index` on that is not to be stepped over, and whether its cell is filled.
    ///
    /// The index is asked at each step, since others may go round while this one looks. It is a lap behind what it points to at most, unless a peer wrote it.
    fn look(&self, index: &AtomicU64, over: impl Fn(CellWord, i64) -> bool) -> (u64, bool) {
        let mut known = index.load(Ordering::Acquire);
        let mut position = known;
        while position.wrapping_sub(known) <= self.cells.capacity() {
            let cell = self.cells.at(position);
            let found = CellWord(cell.load(Ordering::Acquire));
            let ahead = found.ahead_of(self.cells.lap(position));
            if over(found, ahead) {
                known = index.load(Ordering::Acquire);
                position = position.wrapping_add(1).max(known);
            } else if cell.load(Ordering::Acquire) == found.0 {
                // As in `take`: only now is it known that the word was its.
                return (position, ahead > 0);
            }
        }
        (position, false)
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
            if word.owner() == dead && found.is_alive(word) {
                bits[buffer / 64] |= 1 << (buffer % 64);
            }
        }
        bits
    }

    /// The length of a taken message. `None` if a peer wrote nonsense.
    #[inline]
    pub(super) fn length(&self, claim: Claim, (class, _): (usize, usize)) -> Option<usize> {
        let length = self.tags[claim.buffer].length.load(Ordering::Relaxed) as usize;
        (length <= self.blocks(class).size()).then_some(length)
    }

    /// Notes that a taken message is handed out; returns how often it was before, and to whom last.
    #[inline]
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
        self.first_alive().1
    }

    /// Whether there are as many messages in the ring as there are buffers. It is so when the first one is found, because the ring ended no earlier than it did before;
    /// a sender that is about to sleep depends on it. Acquire keeps the loads in order.
    fn is_ring_full(&self) -> bool {
        let tail = self.first_unfilled();
        tail.saturating_sub(self.first_alive().0) >= self.count() as u64
    }

    /// How often something was put into the ring, and how often of that again.
    pub(super) fn passed(&self) -> (u64, u64) {
        (self.first_unfilled(), self.ends.returned.load(Ordering::Relaxed))
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
