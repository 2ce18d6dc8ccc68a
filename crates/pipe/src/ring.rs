//! The ring of bytes that all in this crate is made of: what lies in shared memory, and one side's view of it each.
//!
//! ```text
//! offset  size
//!      0     8  tail       position behind the last byte that was written         written by the producer
//!      8     4  area       in which area of the ring the producer is              written by the producer
//!     16   112  starts     of areas 1 to 14: from which position on each is used  written by the producer
//!    128     8  head       position of the next byte to be read                   written by the consumer
//!    136     4  area       in which area the consumer is                          written by the consumer
//!    256     4  data       event count: the consumer sleeps until there is something
//!    384     4  space      event count: the producer sleeps until there is room
//!    512        the areas: `capacity` bytes, twice as many, four times as many, … (the first alone, unless the ring can grow)
//! ```
//!
//! # Protocol
//!
//! Two positions that only grow, as in Lamport's ring. Each side writes its own and keeps a copy of the other's, which it reads again only when the copy says that the ring is full (empty).
//!
//! - To write: copy bytes in, *then* store `tail` with release. The consumer's acquire load of `tail` pairs with it: it sees the bytes.
//! - To read: copy bytes out, *then* store `head` with release. The producer's acquire load of `head` pairs with it: it writes only behind.
//!
//! The store is the instant at which bytes are written (read), however many. Killed before it, a process has done nothing; killed after it, all of it. There is nothing to repair. Who takes a side over goes on from
//! the positions as they are.
//!
//! To grow is to go on in the next area, for which memory is allotted first. The producer stores from which position on it is used, *then* its number with release, before any byte of it is published. A consumer
//! that has learnt of a byte there, by an acquire load of `tail`, therefore sees the number; it empties the area that it is in up to the start of the next one, and follows. Each position lies in one area, so both sides
//! always agree where a byte is. Killed on the way, the producer has gone on or it has not: what it allotted in vain is allotted once more by who comes next, which is nothing. The consumer stores its area before it
//! moves its position past that area's start, so that one who takes over and finds the old number finds the position still at the start, and follows again.
//!
//! # What is believed
//!
//! A position that was read from the other side is believed if it lies where the other side can be: the consumer's between the last that was seen and one's own, the producer's at most so far ahead as there are bytes. An
//! area is believed if there is one of that number, and starts where the consumer can have come to. Anything else is [`Corrupt`]. All is loaded once, into a local, before it is checked.

use shmkit_segment::primitive::{AtomicU32, AtomicU64, Ordering};
use shmkit_segment::{At, AtBytes, Bytes, Error, Line, Mapped, Memory, Plan, shared};
use shmkit_sync::EventCount;

mod consumer;
mod producer;

pub(crate) use consumer::Consumer;
pub(crate) use producer::Producer;

/// As many areas as there are places for their starts, and the first.
const AREAS: usize = 15;

shared! {
    pub(crate) struct Tail {
        position: AtomicU64,
        area: AtomicU32,
        reserved: AtomicU32,
        starts: [AtomicU64; 14],
    }
}

shared! {
    pub(crate) struct Head {
        position: AtomicU64,
        area: AtomicU32,
    }
}

shared! {
    /// Each on lines of its own.
    pub(crate) struct Ends {
        tail: Line<Tail>,
        head: Line<Head>,
        data: Line<EventCount>,
        space: Line<EventCount>,
    }
}

#[cfg(not(loom))]
const _: () = {
    use std::mem::offset_of;
    assert!(offset_of!(Tail, area) == 8 && offset_of!(Tail, starts) == 16 && size_of::<Tail>() == 128);
    assert!(offset_of!(Ends, head) == 128 && offset_of!(Head, area) == 8);
    assert!(offset_of!(Ends, data) == 256 && offset_of!(Ends, space) == 384 && size_of::<Ends>() == 512);
};

/// The other side has written what it cannot have meant.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Corrupt;

impl From<Corrupt> for std::io::Error {
    fn from(_: Corrupt) -> Self {
        Self::new(std::io::ErrorKind::InvalidData, "the pipe is corrupt: a peer wrote over it; create it again")
    }
}

impl From<Corrupt> for Error {
    fn from(_: Corrupt) -> Self {
        Self::Corrupt("the positions of a pipe make no sense")
    }
}

/// Where the parts of a ring are.
#[derive(Clone, Copy)]
pub struct AtRing {
    ends: At<Ends>,
    first: AtBytes,
    /// What it can grow by: the second area and those after it.
    spare: Option<AtBytes>,
}

impl AtRing {
    /// A ring of `capacity` bytes, which can grow to `most`; both are powers of two. If it can grow, it comes last in its segment.
    pub(crate) fn plan(plan: &mut Plan, capacity: u64, most: u64) -> Result<Self, Error> {
        const SIZES: Error = Error::Geometry("the capacity of a pipe is a power of two");
        const GROWTH: Error =
            Error::Geometry("a pipe grows from its capacity to another power of two, 16384 times as large at most");
        let capacity = usize::try_from(capacity).ok().filter(|capacity| capacity.is_power_of_two()).ok_or(SIZES)?;
        let most = usize::try_from(most).ok().filter(|most| most.is_power_of_two()).ok_or(GROWTH)?;
        if most < capacity || most / capacity >= 1 << AREAS {
            return Err(GROWTH);
        }
        // The areas after the first: 2c + 4c + … + most.
        let more = most.checked_mul(2).ok_or(GROWTH)? - 2 * capacity;
        Ok(Self {
            ends: plan.one()?,
            first: plan.bytes(capacity)?,
            spare: if more == 0 { None } else { Some(plan.spare(more)?) },
        })
    }
}

/// The ring in its segment.
#[derive(Clone)]
pub(crate) struct Ring {
    ends: Mapped<Ends>,
    first: Bytes,
    /// The areas after the first, and where they are in the segment, to allot them.
    spare: Option<(Bytes, AtBytes)>,
}

/// Where the bytes are between two starts.
#[derive(Clone)]
struct Area {
    number: usize,
    bytes: Bytes,
    /// Of the area's first byte among `bytes`.
    offset: usize,
    capacity: usize,
}

impl Area {
    /// Where `length` bytes from `position` on lie, which are no more than the capacity: the ones before the end of the area, and the others.
    #[inline]
    fn ranges(&self, position: u64, length: usize) -> [(usize, usize); 2] {
        let start = position as usize & (self.capacity - 1);
        let before = length.min(self.capacity - start);
        [(self.offset + start, before), (self.offset, length - before)]
    }
}

impl Ring {
    pub(crate) fn attach(memory: &Memory, at: &AtRing) -> Self {
        Self {
            ends: memory.one(at.ends),
            first: memory.bytes(at.first),
            spare: at.spare.map(|at| (memory.bytes(at), at)),
        }
    }

    /// What the consumer sleeps on.
    #[inline]
    pub(crate) fn data(&self) -> &EventCount {
        &self.ends.data
    }

    /// What the producer sleeps on.
    #[inline]
    pub(crate) fn space(&self) -> &EventCount {
        &self.ends.space
    }

    pub(crate) fn wake_all(&self) {
        self.ends.data.rouse();
        self.ends.space.rouse();
    }

    /// For who waits for it without an end of it: whether there is a byte to read.
    pub(crate) fn has_data(&self) -> bool {
        let head = self.ends.head.position.load(Ordering::Acquire);
        self.ends.tail.position.load(Ordering::Acquire) != head
    }

    /// For who waits for it without an end of it: whether there is room for so many bytes (for one, if the ring is smaller). What makes no sense counts as room: whoever tries is told.
    pub(crate) fn has_room(&self, wanted: usize) -> bool {
        let head = self.ends.head.position.load(Ordering::Acquire);
        let tail = self.ends.tail.position.load(Ordering::Acquire);
        // Acquire, for the starts: pairs with the release store in `Producer::grow`.
        let number = self.ends.tail.area.load(Ordering::Acquire) as usize;
        let Some(area) = self.area(number) else { return true };
        self.room(&area, tail, head).is_none_or(|room| room >= wanted.min(area.capacity) as u64)
    }

    /// How much room there is in the producer's area, if the positions make sense.
    fn room(&self, area: &Area, tail: u64, head: u64) -> Option<u64> {
        let used = tail.wrapping_sub(head);
        let here = if area.number == 0 { used } else { used.min(tail.wrapping_sub(self.start(area.number))) };
        (area.capacity as u64).checked_sub(here).filter(|_| used <= self.most(area))
    }

    /// An area by its number, if there is one.
    fn area(&self, number: usize) -> Option<Area> {
        if number == 0 {
            return Some(Area { number, bytes: self.first.clone(), offset: 0, capacity: self.first.len() });
        }
        let (bytes, _) = self.spare.clone()?;
        // Area n has 2ⁿ capacities, and those before it, but for the first, have 2ⁿ - 2.
        let first = self.first.len();
        let capacity = first.checked_shl(number as u32).filter(|_| number < AREAS)?;
        let offset = capacity - 2 * first;
        (offset + capacity <= bytes.len()).then_some(Area { number, bytes, offset, capacity })
    }

    /// From which position on area `number` is used, which is one of those after the first.
    fn start(&self, number: usize) -> u64 {
        // Relaxed: whoever read the number with acquire, or wrote it, sees it.
        self.ends.tail.starts[number - 1].load(Ordering::Relaxed)
    }

    /// More bytes than there can ever be in all areas up to this one.
    fn most(&self, area: &Area) -> u64 {
        2 * area.capacity as u64
    }

    /// As if `position` bytes had passed: for tests of what happens where positions go round.
    pub(crate) fn begin_at(&self, position: u64) {
        self.ends.tail.position.store(position, Ordering::Relaxed);
        self.ends.head.position.store(position, Ordering::Relaxed);
    }
}
