//! The side that writes.

use super::{Area, Corrupt, Ring};
use shmkit_segment::primitive::Ordering;
use shmkit_segment::{AtBytes, Error};

/// The producer's view of a ring. There is one at a time; its holder sees to that.
pub(crate) struct Producer {
    ring: Ring,
    area: Area,
    tail: u64,
    /// Positions below this are known to be free.
    limit: u64,
}

impl Producer {
    /// Bytes that are copied and published at a time, so that the other side begins before all is written.
    const STRIDE: usize = 1 << 14;

    /// Goes on where the last producer was, which has left or died, as whoever calls this has seen.
    pub(crate) fn resume(ring: Ring) -> Result<Self, Corrupt> {
        let tail = ring.ends.tail.position.load(Ordering::Relaxed);
        let area = ring.area(ring.ends.tail.area.load(Ordering::Relaxed) as usize).ok_or(Corrupt)?;
        let head = ring.ends.head.position.load(Ordering::Acquire);
        ring.room(&area, tail, head).ok_or(Corrupt)?;
        Ok(Self { ring, area, tail, limit: tail })
    }

    /// How many bytes there can be.
    #[inline]
    pub(crate) fn capacity(&self) -> usize {
        self.area.capacity
    }

    /// How much room there is: `wanted` bytes at least, or all there is. Looks at the other side's position only if it must.
    #[inline]
    pub(crate) fn room(&mut self, wanted: usize) -> Result<usize, Corrupt> {
        let known = self.limit.wrapping_sub(self.tail);
        if known >= wanted as u64 || known == self.area.capacity as u64 {
            return Ok(known as usize);
        }
        // Pairs with the release store in `Consumer::release`: the consumer has copied what lies before.
        let head = self.ring.ends.head.position.load(Ordering::Acquire);
        match self.ring.room(&self.area, self.tail, head) {
            // Less than known: the consumer's position went back.
            Some(room) if room >= known => {
                self.limit = self.tail.wrapping_add(room);
                Ok(room as usize)
            }
            _ => Err(Corrupt),
        }
    }

    /// Copies `bytes` to `ahead` of the position, where there is room. They are not written yet.
    #[inline]
    #[cfg_attr(crash_points, track_caller)]
    pub(crate) fn put(&mut self, ahead: usize, bytes: &[u8]) {
        let [(first, before), (second, _)] = self.area.ranges(self.tail.wrapping_add(ahead as u64), bytes.len());
        let (now, rest) = bytes.split_at(before);
        self.area.bytes.write(first, now);
        if !rest.is_empty() {
            self.area.bytes.write(second, rest);
        }
    }

    /// Copies a word to the position, which is a multiple of eight, where there is room. It is not written yet.
    #[inline]
    #[cfg_attr(crash_points, track_caller)]
    pub(crate) fn put_word(&mut self, word: u64) {
        let [(start, _), _] = self.area.ranges(self.tail, 8);
        self.area.bytes.write_word(start, word);
    }

    /// Writes the first `count` bytes that there was room for.
    #[inline]
    pub(crate) fn publish(&mut self, count: usize) {
        self.tail = self.tail.wrapping_add(count as u64);
        // The bytes are written. Pairs with the acquire load in `Consumer::look`.
        self.ring.ends.tail.position.store(self.tail, Ordering::Release);
        // There is one consumer, and to wake all costs less (no fence, ever).
        self.ring.ends.data.notify_all();
    }

    /// Writes as many of `bytes` as there is room for: how many that was.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<usize, Corrupt> {
        let mut done = 0;
        while done < bytes.len() {
            let stride = Self::STRIDE.min(bytes.len() - done);
            let count = match self.room(stride) {
                Ok(room) => room.min(stride),
                // What is written counts; the next one is told.
                Err(Corrupt) if done > 0 => break,
                Err(Corrupt) => return Err(Corrupt),
            };
            if count == 0 {
                break;
            }
            self.put(0, &bytes[done..done + count]);
            self.publish(count);
            done += count;
        }
        Ok(done)
    }

    /// Goes on in an area of `capacity` bytes. `allot` gets memory for it. Nothing is changed if it is not larger than the present one.
    pub(crate) fn grow(
        &mut self,
        capacity: usize,
        allot: impl FnOnce(AtBytes) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if capacity <= self.area.capacity {
            return Ok(());
        }
        const TOO_LARGE: Error = Error::Geometry("the pipe was not made to grow so large: see Settings::up_to");
        let capacity = capacity.checked_next_power_of_two().ok_or(TOO_LARGE)?;
        let number = (capacity / self.ring.first.len()).trailing_zeros() as usize;
        let area = self.ring.area(number).ok_or(TOO_LARGE)?;
        let (_, spare) = self.ring.spare.as_ref().ok_or(TOO_LARGE)?;
        allot(spare.part(area.offset, area.capacity))?;
        for passed in self.area.number..number {
            self.ring.ends.tail.starts[passed].store(self.tail, Ordering::Relaxed);
        }
        // Release: who sees the number sees the starts. Pairs with the acquire load in `Consumer::look`.
        self.ring.ends.tail.area.store(number as u32, Ordering::Release);
        self.area = area;
        self.limit = self.tail.wrapping_add(self.area.capacity as u64);
        // For who waits for room without having this end.
        self.ring.ends.space.notify_all();
        Ok(())
    }
}

#[cfg(not(loom))]
mod in_place {
    #![allow(unsafe_code)]

    use super::Producer;
    use std::io;
    use std::os::fd::BorrowedFd;

    impl Producer {
        /// How many of the next `length` bytes lie one after the other.
        pub(crate) fn contiguous(&self, length: usize) -> usize {
            let [(_, count), _] = self.area.ranges(self.tail, length);
            count
        }

        /// The next `length` bytes, which there is room for and which lie one after the other.
        ///
        /// # Safety
        /// The consumer keeps to the protocol: it does not touch what is not published.
        pub(crate) unsafe fn free(&self, length: usize) -> &[u8] {
            let [(start, count), _] = self.area.ranges(self.tail, length);
            // SAFETY: from `tail` on, what there is room for is the producer's, of which there is one, borrowed for as long as the slice lives; the caller vouches for the consumer.
            unsafe { self.area.bytes.slice(start, count) }
        }

        /// As [`free`](Self::free), for writing.
        ///
        /// # Safety
        /// As [`free`](Self::free).
        pub(crate) unsafe fn free_mut(&mut self, length: usize) -> &mut [u8] {
            let [(start, count), _] = self.area.ranges(self.tail, length);
            // SAFETY: as above.
            unsafe { self.area.bytes.slice_mut(start, count) }
        }

        /// Has the kernel write at most `most` bytes from `file`: how many there were, 0 at its end.
        pub(crate) fn write_from(&mut self, file: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
            let ranges = self.area.ranges(self.tail, most);
            let count = self.area.bytes.fill_from(file, ranges)?;
            self.publish(count);
            Ok(count)
        }
    }
}
