//! The ring of bytes. Which of them belong to whom follows from the two positions; see the crate's head.

#![allow(unsafe_code)]

use shmkit_segment::primitive::{AtomicU64, Ordering};
use shmkit_segment::{
    At, AtBlocks, Blocks, Configuration, Error, Line, Mapped, Memory, Object, PeerId, Plan, kind, shared,
};
use shmkit_sync::EventCount;
use std::alloc::Layout;
use std::io;

shared! {
    /// Each on lines of its own.
    pub(crate) struct Ends {
        tail: Line<AtomicU64>,
        head: Line<AtomicU64>,
        data: Line<EventCount>,
        space: Line<EventCount>,
    }
}

const _: () = assert!(size_of::<Ends>() == 4 * 128);

/// The pipe in its segment.
#[derive(Clone)]
pub(crate) struct Bytes {
    ends: Mapped<Ends>,
    block: Blocks,
}

impl Object for Bytes {
    const KIND: u32 = kind(b"PIPE");
    type Parts = (At<Ends>, AtBlocks);

    fn payload() -> Layout {
        Layout::new::<u8>()
    }

    fn plan(&[capacity, ..]: &Configuration, plan: &mut Plan) -> Result<Self::Parts, Error> {
        match usize::try_from(capacity) {
            Ok(capacity) if capacity.is_power_of_two() => Ok((plan.one()?, plan.blocks(1, capacity)?)),
            _ => Err(Error::Geometry("the capacity of a pipe is a power of two")),
        }
    }

    fn attach(memory: &Memory, parts: &Self::Parts) -> Self {
        Self { ends: memory.one(parts.0), block: memory.blocks(parts.1) }
    }

    fn sweep(&self, _dead: PeerId, _reaper: PeerId) {}

    fn wake_all(&self) {
        self.ends.data.rouse();
        self.ends.space.rouse();
    }
}

impl Bytes {
    pub(crate) fn data(&self) -> &EventCount {
        &self.ends.data
    }

    pub(crate) fn space(&self) -> &EventCount {
        &self.ends.space
    }

    pub(crate) fn tail(&self) -> u64 {
        self.ends.tail.load(Ordering::Relaxed)
    }

    pub(crate) fn head(&self) -> u64 {
        self.ends.head.load(Ordering::Relaxed)
    }

    /// Copies in what fits behind `tail`, the writer's own position: how much that was.
    pub(crate) fn push(&self, tail: u64, bytes: &[u8]) -> io::Result<usize> {
        let capacity = self.block.size() as u64;
        // Pairs with the release store in `pop`: the reader has copied what lies before.
        let used = tail.wrapping_sub(self.ends.head.load(Ordering::Acquire));
        let room = capacity.checked_sub(used).ok_or_else(corrupt)?;
        let length = bytes.len().min(room as usize);
        if length > 0 {
            let (offset, first) = self.split(tail, length);
            // SAFETY: from `tail` to `head + capacity` the ring is the writer's, of whom there is one.
            unsafe { self.block.write(0, offset, &bytes[..first]) };
            // SAFETY: as above.
            unsafe { self.block.write(0, 0, &bytes[first..length]) };
            // The bytes are written. Pairs with the acquire load in `pop`.
            self.ends.tail.store(tail.wrapping_add(length as u64), Ordering::Release);
            self.ends.data.notify_all(); // there is one reader
        }
        Ok(length)
    }

    /// Copies out what lies behind `head`, the reader's own position: how much that was.
    pub(crate) fn pop(&self, head: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let capacity = self.block.size() as u64;
        // Pairs with the release store in `push`: the bytes before are seen.
        let waiting = self.ends.tail.load(Ordering::Acquire).wrapping_sub(head);
        if waiting > capacity {
            return Err(corrupt());
        }
        let length = bytes.len().min(waiting as usize);
        if length > 0 {
            let (offset, first) = self.split(head, length);
            // SAFETY: from `head` to `tail` the ring is the reader's, of whom there is one.
            unsafe { self.block.read(0, offset, &mut bytes[..first]) };
            // SAFETY: as above.
            unsafe { self.block.read(0, 0, &mut bytes[first..length]) };
            // The bytes are read. Pairs with the acquire load in `push`.
            self.ends.head.store(head.wrapping_add(length as u64), Ordering::Release);
            self.ends.space.notify_all(); // there is one writer
        }
        Ok(length)
    }

    /// Where `length` bytes from `position` begin, and how many of them lie before the end of the ring.
    fn split(&self, position: u64, length: usize) -> (usize, usize) {
        let offset = position as usize & (self.block.size() - 1);
        (offset, length.min(self.block.size() - offset))
    }
}

fn corrupt() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the pipe is corrupt: a peer wrote over it; create it again")
}
