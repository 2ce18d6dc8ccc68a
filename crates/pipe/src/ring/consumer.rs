//! The side that reads.

use super::{AREAS, Area, Corrupt, Ring};
use shmkit_segment::primitive::Ordering;

/// The consumer's view of a ring. There is one at a time; its holder sees to that.
pub(crate) struct Consumer {
    ring: Ring,
    area: Area,
    head: u64,
    /// Positions below this are known to have been written, in this area.
    limit: u64,
}

impl Consumer {
    /// Bytes that are copied and given back at a time, so that the other side goes on before all is read.
    const STRIDE: usize = 1 << 14;

    /// Goes on where the last consumer was, which has left or died, as whoever calls this has seen.
    pub(crate) fn resume(ring: Ring) -> Result<Self, Corrupt> {
        let head = ring.ends.head.position.load(Ordering::Relaxed);
        let area = ring.area(ring.ends.head.area.load(Ordering::Relaxed) as usize).ok_or(Corrupt)?;
        let mut consumer = Self { ring, area, head, limit: head };
        consumer.available(1)?;
        Ok(consumer)
    }

    /// How many bytes there can be.
    #[inline]
    pub(crate) fn capacity(&self) -> usize {
        self.area.capacity
    }

    /// How many bytes there are to read: `wanted` at least, or all there are, as far as they lie in one area. Looks at the other side's position only if it must.
    #[inline]
    pub(crate) fn available(&mut self, wanted: usize) -> Result<usize, Corrupt> {
        let known = self.limit.wrapping_sub(self.head);
        if known >= wanted as u64 {
            return Ok(known as usize);
        }
        self.look(known)
    }

    #[inline(never)]
    fn look(&mut self, known: u64) -> Result<usize, Corrupt> {
        // Pairs with the release store in `Producer::publish`: the bytes before are seen, and so is the area that the last of them lies in.
        let tail = self.ring.ends.tail.position.load(Ordering::Acquire);
        // Acquire, for the starts: it may have moved on since.
        let area = self.ring.ends.tail.area.load(Ordering::Acquire) as usize;
        let mut here = tail.wrapping_sub(self.head);
        if area != self.area.number {
            here = self.follow(area, here)?;
        }
        // More than there is room for, or less than known: the producer's position makes no sense.
        if here > self.area.capacity as u64 || here < known {
            return Err(Corrupt);
        }
        self.limit = self.head.wrapping_add(here);
        Ok(here as usize)
    }

    /// Goes on towards area number `area`, in which the producer is: how many of the `written` bytes lie in the area that this one is in then.
    #[cold]
    fn follow(&mut self, area: usize, written: u64) -> Result<u64, Corrupt> {
        let is_behind = area < self.area.number || area >= AREAS;
        let last = self.ring.area(area).filter(|_| !is_behind).ok_or(Corrupt)?;
        if written > self.ring.most(&last) {
            return Err(Corrupt);
        }
        while self.area.number < area {
            // The area that this one ends before.
            let until = self.ring.start(self.area.number + 1).wrapping_sub(self.head);
            if until > 0 {
                // It starts where something was written, or is about to be.
                return Ok(written.min(until));
            }
            self.area = self.ring.area(self.area.number + 1).ok_or(Corrupt)?;
            // Before the position moves past its start. Relaxed: the store of the position comes after it, and is a release.
            self.ring.ends.head.area.store(self.area.number as u32, Ordering::Relaxed);
        }
        Ok(written)
    }

    /// Copies bytes out from `ahead` of the position, where there are some. They are not read yet.
    #[inline]
    #[cfg_attr(crash_points, track_caller)]
    pub(crate) fn get(&self, ahead: usize, bytes: &mut [u8]) {
        let [(first, before), (second, _)] = self.area.ranges(self.head.wrapping_add(ahead as u64), bytes.len());
        let (now, rest) = bytes.split_at_mut(before);
        self.area.bytes.read(first, now);
        if !rest.is_empty() {
            self.area.bytes.read(second, rest);
        }
    }

    /// A copy of the word at the position, which is a multiple of eight, where there is one. It is not read yet.
    #[inline]
    #[cfg_attr(crash_points, track_caller)]
    pub(crate) fn word(&self) -> u64 {
        let [(start, _), _] = self.area.ranges(self.head, 8);
        self.area.bytes.read_word(start)
    }

    /// Appends `length` bytes from `ahead` of the position, where there are so many, to `bytes`. They are not read yet.
    #[inline]
    #[cfg_attr(crash_points, track_caller)]
    pub(crate) fn append(&self, ahead: usize, length: usize, bytes: &mut Vec<u8>) {
        for (start, count) in self.area.ranges(self.head.wrapping_add(ahead as u64), length) {
            self.area.bytes.append(start, count, bytes);
        }
    }

    /// Gives `count` bytes back that were there.
    #[inline]
    pub(crate) fn release(&mut self, count: usize) {
        self.head = self.head.wrapping_add(count as u64);
        // The bytes are read. Pairs with the acquire load in `Producer::room`.
        self.ring.ends.head.position.store(self.head, Ordering::Release);
        // There is one producer, and to wake all costs less (no fence, ever).
        self.ring.ends.space.notify_all();
    }

    /// Reads as many bytes as there are, and fit into `bytes`: how many that was.
    pub(crate) fn read(&mut self, bytes: &mut [u8]) -> Result<usize, Corrupt> {
        let mut done = 0;
        while done < bytes.len() {
            let stride = Self::STRIDE.min(bytes.len() - done);
            let count = match self.available(stride) {
                Ok(available) => available.min(stride),
                // What was read counts; the next one is told.
                Err(Corrupt) if done > 0 => break,
                Err(Corrupt) => return Err(Corrupt),
            };
            if count == 0 {
                break;
            }
            self.get(0, &mut bytes[done..done + count]);
            self.release(count);
            done += count;
        }
        Ok(done)
    }
}

#[cfg(not(loom))]
mod in_place {
    #![allow(unsafe_code)]

    use super::Consumer;
    use std::io;
    use std::os::fd::BorrowedFd;

    impl Consumer {
        /// How many bytes are known to be there.
        pub(crate) fn known(&self) -> usize {
            self.limit.wrapping_sub(self.head) as usize
        }

        /// The next `length` bytes, of which there are so many, as far as they lie one after the other.
        ///
        /// # Safety
        /// The producer keeps to the protocol: it does not write what was not given back.
        pub(crate) unsafe fn bytes(&self, length: usize) -> &[u8] {
            let [(start, count), _] = self.area.ranges(self.head, length);
            // SAFETY: from `head` on, what is there is the consumer's, of which there is one, which gives nothing back while the slice lives; the caller vouches for the producer.
            unsafe { self.area.bytes.slice(start, count) }
        }

        /// Has the kernel read at most `most` bytes, of which there are so many, into `file`: how many that was.
        pub(crate) fn read_into(&mut self, file: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
            let count = self.area.bytes.drain_to(file, self.area.ranges(self.head, most))?;
            self.release(count);
            Ok(count)
        }
    }
}
