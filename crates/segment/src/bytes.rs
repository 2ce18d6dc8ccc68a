//! Bytes in a segment that are copied in and out by safe code, whatever others do to them meanwhile.
//!
//! Guarantee: a view lies within memory that stays mapped for as long as the view exists; each range is checked against it. Copying is by what
//! [`copy`](crate::copy()) calls racing: a peer that writes where it should not makes other bytes of what is read, and never undefined behaviour. Which bytes belong to whom, and so
//! whether what is read means anything, is the business of the protocol around them.

#![allow(unsafe_code)]

use crate::{AtBytes, Memory, crash};
#[cfg(not(loom))]
use std::io;
#[cfg(not(loom))]
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;

/// A view of bytes in a segment. Cheap to clone.
#[derive(Clone)]
pub struct Bytes {
    first: NonNull<u8>,
    length: usize,
    #[allow(dead_code, reason = "keeps the bytes mapped")]
    memory: Memory,
    #[cfg(loom)]
    cells: crate::MappedSlice<crate::PlainCell<u8>>,
}

// SAFETY: a reference to atomics in all but name; what gives a reference to bytes is `unsafe` and says who may call it.
unsafe impl Send for Bytes {}
// SAFETY: as above.
unsafe impl Sync for Bytes {}

impl Bytes {
    pub(crate) fn new(memory: &Memory, at: AtBytes) -> Self {
        Self {
            first: memory.range(at.offset, at.length),
            length: at.length,
            memory: memory.clone(),
            #[cfg(loom)]
            cells: memory.slice(at.cells),
        }
    }

    /// How many bytes there are.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Writes eight bytes at `offset`, little end first, as one word if `offset` is a multiple of eight.
    ///
    /// # Panics
    /// If there are not so many from there.
    #[inline]
    #[cfg_attr(crash_points, track_caller)]
    pub fn write_word(&self, offset: usize, word: u64) {
        self.write(offset, &word.to_le_bytes());
    }

    /// Reads eight bytes at `offset`, little end first, as one word if `offset` is a multiple of eight.
    ///
    /// # Panics
    /// If there are not so many from there.
    #[inline]
    #[must_use]
    #[cfg_attr(crash_points, track_caller)]
    pub fn read_word(&self, offset: usize) -> u64 {
        let mut bytes = [0; 8];
        self.read(offset, &mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// The address of `length` bytes from `offset` on.
    #[inline]
    #[cfg_attr(loom, allow(dead_code))]
    fn range(&self, offset: usize, length: usize) -> NonNull<u8> {
        let inside = offset <= self.length && length <= self.length - offset;
        assert!(inside, "there are no {length} bytes from {offset} on among {}", self.length);
        // SAFETY: within the view's bytes.
        unsafe { self.first.add(offset) }
    }
}

#[cfg(not(loom))]
impl Bytes {
    /// Copies `bytes` in, from `offset` on.
    ///
    /// # Panics
    /// If there are not so many from there.
    #[inline]
    #[cfg_attr(crash_points, track_caller)]
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        let target = self.range(offset, bytes.len());
        for (index, piece) in pieces(bytes.len()) {
            crash::site("write bytes");
            // SAFETY: `range` checked the bounds, and `bytes` is this process's own.
            unsafe {
                crate::copy::copy_in(bytes.as_ptr().wrapping_add(index), target.as_ptr().wrapping_add(index), piece)
            };
        }
    }

    /// Copies bytes out, from `offset` on.
    ///
    /// # Panics
    /// If there are not so many from there.
    #[inline]
    #[cfg_attr(crash_points, track_caller)]
    pub fn read(&self, offset: usize, bytes: &mut [u8]) {
        let source = self.range(offset, bytes.len());
        for (index, piece) in pieces(bytes.len()) {
            crash::site("read bytes");
            // SAFETY: `range` checked the bounds, and `bytes` is this process's own.
            unsafe {
                crate::copy::copy_out(
                    source.as_ptr().wrapping_add(index),
                    bytes.as_mut_ptr().wrapping_add(index),
                    piece,
                )
            };
        }
    }

    /// Appends a copy of `length` bytes from `offset` on to `bytes`.
    ///
    /// # Panics
    /// If there are not so many from there.
    #[inline]
    #[cfg_attr(crash_points, track_caller)]
    pub fn append(&self, offset: usize, length: usize, bytes: &mut Vec<u8>) {
        let source = self.range(offset, length);
        bytes.reserve(length);
        crash::site("append bytes");
        // SAFETY: `range` checked the bounds of the one, `reserve` made the room in the other, which is this process's own.
        unsafe { crate::copy::copy_out(source.as_ptr(), bytes.spare_capacity_mut().as_mut_ptr().cast(), length) };
        // SAFETY: so many more have just been written.
        unsafe { bytes.set_len(bytes.len() + length) };
    }

    /// Reads from a file, a pipe or a socket into two ranges, of `(offset, length)`, one after the other: how many bytes that was, 0 at the end. Nobody else copies: what
    /// arrives is where the kernel puts it. Blocks as `read` on that descriptor does.
    ///
    /// # Errors
    /// As `readv(2)`. `EINTR` is one.
    ///
    /// # Panics
    /// If there are no such ranges.
    pub fn fill_from(&self, file: BorrowedFd<'_>, ranges: [(usize, usize); 2]) -> io::Result<usize> {
        let vectors = self.vectors(ranges);
        crash::site("readv");
        // SAFETY: two ranges of memory that is mapped and consists of cells.
        let read = unsafe { libc::readv(file.as_raw_fd(), vectors.as_ptr(), vectors.len() as libc::c_int) };
        usize::try_from(read).map_err(|_| io::Error::last_os_error())
    }

    /// Writes two ranges, of `(offset, length)`, one after the other to a file, a pipe or a socket: how many bytes that was. Nobody else copies. Blocks as `write` on that
    /// descriptor does.
    ///
    /// # Errors
    /// As `writev(2)`. `EINTR` is one. Where the process has not said that it ignores it (Rust programs do), `EPIPE` comes with a signal.
    ///
    /// # Panics
    /// If there are no such ranges.
    pub fn drain_to(&self, file: BorrowedFd<'_>, ranges: [(usize, usize); 2]) -> io::Result<usize> {
        let vectors = self.vectors(ranges);
        crash::site("writev");
        // SAFETY: two ranges of memory that is mapped and consists of cells.
        let written = unsafe { libc::writev(file.as_raw_fd(), vectors.as_ptr(), vectors.len() as libc::c_int) };
        usize::try_from(written).map_err(|_| io::Error::last_os_error())
    }

    fn vectors(&self, ranges: [(usize, usize); 2]) -> [libc::iovec; 2] {
        ranges.map(|(offset, length)| libc::iovec {
            iov_base: self.range(offset, length).as_ptr().cast(),
            iov_len: length,
        })
    }

    /// `length` bytes from `offset` on, in place.
    ///
    /// # Safety
    /// Nobody writes them for as long as the slice lives.
    ///
    /// # Panics
    /// If there are not so many from there.
    #[inline]
    #[must_use]
    pub unsafe fn slice(&self, offset: usize, length: usize) -> &[u8] {
        let first = self.range(offset, length);
        // SAFETY: `range` checked the bounds, the memory stays mapped, and the caller vouches that nobody writes.
        unsafe { std::slice::from_raw_parts(first.as_ptr(), length) }
    }

    /// `length` bytes from `offset` on, in place, for writing.
    ///
    /// # Safety
    /// Nobody else touches them for as long as the slice lives.
    ///
    /// # Panics
    /// If there are not so many from there.
    #[inline]
    #[must_use]
    #[allow(clippy::mut_from_ref, reason = "the caller vouches that the bytes are its own")]
    pub unsafe fn slice_mut(&self, offset: usize, length: usize) -> &mut [u8] {
        let first = self.range(offset, length);
        // SAFETY: `range` checked the bounds, the memory stays mapped, and the caller vouches that nobody else touches them.
        unsafe { std::slice::from_raw_parts_mut(first.as_ptr(), length) }
    }
}

/// The pieces in which `length` bytes are copied: one, but where a process is to be killed in between.
#[cfg(not(loom))]
#[inline]
fn pieces(length: usize) -> impl Iterator<Item = (usize, usize)> {
    let size = if cfg!(crash_points) { 1024 } else { length.max(1) };
    (0..length).step_by(size).map(move |index| (index, size.min(length - index)))
}

/// A cell for each byte, so that loom reports two accesses that nothing orders.
#[cfg(loom)]
impl Bytes {
    /// Copies `bytes` in, from `offset` on.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        crash::site("write bytes");
        self.cells[offset..offset + bytes.len()].iter().zip(bytes).for_each(|(cell, byte)| cell.write(*byte));
    }

    /// Copies bytes out, from `offset` on.
    pub fn read(&self, offset: usize, bytes: &mut [u8]) {
        crash::site("read bytes");
        let cells = &self.cells[offset..offset + bytes.len()];
        cells.iter().zip(bytes).for_each(|(cell, byte)| *byte = cell.read());
    }

    /// Appends a copy of `length` bytes from `offset` on to `bytes`.
    pub fn append(&self, offset: usize, length: usize, bytes: &mut Vec<u8>) {
        crash::site("append bytes");
        bytes.extend(self.cells[offset..offset + length].iter().map(crate::PlainCell::read));
    }
}
