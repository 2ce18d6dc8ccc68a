//! What the machine itself allows: two processes that copy into and out of a buffer which both have mapped, with two positions beside it and nothing else.
//!
//! Nobody sleeps, looks whether the other side lives, or distrusts it.

use crate::peers::backoff::until;
use crate::peers::shared::{Shared, Words};
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::cell::UnsafeCell;
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};

/// As much as shmkit's pipe holds.
const CAPACITY: usize = shmkit::pipe::Settings::CAPACITY;
/// Copied and published at a time, so that the other side can go on meanwhile.
const PART: usize = 16 << 10;
/// Copied with one call: C libraries have ways to copy more than a few KiB that are slow for some places of the two.
const CALL: usize = 1 << 10;

/// On lines of its own.
#[repr(C, align(128))]
struct Line<T>(T);

#[repr(C)]
struct Ring {
    written: Line<AtomicU64>,
    read: Line<AtomicU64>,
    bytes: Line<UnsafeCell<[u8; CAPACITY]>>,
}

// SAFETY: two atomics, and bytes that are only accessed by pointers, of which those from `read` to `written` by the reader and the others by the writer.
unsafe impl Sync for Ring {}

// SAFETY: atomics and a cell, for which zeros are values, aligned to 128 bytes.
unsafe impl Words for Ring {}

impl Ring {
    /// The byte at a position.
    fn at(&self, position: u64) -> *mut u8 {
        self.bytes.0.get().cast::<u8>().wrapping_add(position as usize % CAPACITY)
    }
}

/// How many of `length` bytes are copied at a time: a part, or what lies before the end of the ring.
fn part(position: u64, length: usize) -> usize {
    length.min(PART).min(CAPACITY - position as usize % CAPACITY)
}

#[derive(Serialize, Deserialize)]
pub struct Input {
    ring: Shared<Ring>,
    position: u64,
    /// Up to where there is room for certain.
    limit: u64,
}

#[derive(Serialize, Deserialize)]
pub struct Output {
    ring: Shared<Ring>,
    position: u64,
    /// Up to where it is written for certain.
    limit: u64,
}

/// Both ends.
pub fn ring() -> Result<(Input, Output)> {
    let ring = Shared::<Ring>::new()?;
    let input = Input { ring: ring.clone(), position: 0, limit: CAPACITY as u64 };
    Ok((input, Output { ring, position: 0, limit: 0 }))
}

impl Write for Input {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = part(self.position, bytes.len());
        let end = self.position + count as u64;
        if end > self.limit {
            // Pairs with the release store in `read`: what is given back has been copied.
            let read = &self.ring.read.0;
            let room = || Some(read.load(Ordering::Acquire) + CAPACITY as u64).filter(|&limit| end <= limit);
            self.limit = until(room);
        }
        // SAFETY: the bytes up to `limit` are the writer's, and `part` keeps to one end of the ring.
        unsafe { copy(bytes.as_ptr(), self.ring.at(self.position), count) };
        self.position = end;
        self.ring.written.0.store(end, Ordering::Release);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Output {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = part(self.position, bytes.len());
        let end = self.position + count as u64;
        if end > self.limit {
            // Pairs with the release store in `write`: what is published has been copied.
            let written = &self.ring.written.0;
            self.limit = until(|| Some(written.load(Ordering::Acquire)).filter(|&limit| end <= limit));
        }
        // SAFETY: the bytes up to `limit` are the reader's, and `part` keeps to one end of the ring.
        unsafe { copy(self.ring.at(self.position), bytes.as_mut_ptr(), count) };
        self.position = end;
        self.ring.read.0.store(end, Ordering::Release);
        Ok(count)
    }
}

/// # Safety
/// So many bytes can be read at `source` and written at `target`, which do not overlap, and nobody else touches them.
unsafe fn copy(source: *const u8, target: *mut u8, length: usize) {
    let mut done = 0;
    while done < length {
        let count = CALL.min(length - done);
        // SAFETY: within what the caller vouches for.
        unsafe { std::ptr::copy_nonoverlapping(source.wrapping_add(done), target.wrapping_add(done), count) };
        // Opaque, or the compiler would make one call of all.
        done = black_box(done + count);
    }
}
