//! A byte stream from one process to another, through memory that both have mapped.
//!
//! ```
//! use std::io::{Read, Write};
//!
//! let (mut writer, mut reader) = shmkit_pipe::pipe(1 << 16)?;
//! let thread = std::thread::spawn(move || writer.write_all(b"bytes without system calls"));
//! let mut text = String::new();
//! reader.read_to_string(&mut text)?; // until the writer is gone
//! assert_eq!(text, "bytes without system calls");
//! # thread.join().unwrap()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Protocol
//!
//! A ring of bytes and two positions that only grow: that of [`spsc`](https://docs.rs/shmkit-queue), with bytes for values. The writer copies bytes in, *then*
//! stores `tail` with release; the reader's acquire load pairs with it. The reader copies them out, *then* stores `head` with release; the writer's
//! acquire load pairs with it. Killed before its store, either has done nothing; killed after it, all of it. There is nothing to repair.
//!
//! # Cost
//!
//! One copy in, one copy out, and for each call two loads and a store. A system call only to sleep, and to wake a sleeper.
//!
//! # When a process dies
//!
//! - The writer: the reader gets what was written, then the end of the stream.
//! - The reader: the writer gets [`BrokenPipe`](std::io::ErrorKind::BrokenPipe).
//!
//! Whoever waits notices within about 50 ms. A stopped process delays the other side for as long as it is stopped.
//!
//! This is a first version: one writer, one reader, blocking.

#![deny(unsafe_code)]

mod ring;

use ring::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use shmkit_segment::{Options, Role, Side};
use shmkit_sync::Deadline;
use std::cell::Cell;
use std::io;

pub use shmkit_segment::Error;

const WRITER: usize = 0;
const READER: usize = 1;

/// A pipe that holds `capacity` bytes (a power of two), whose ends can be passed to child processes.
///
/// # Errors
/// [`Error::Geometry`] if `capacity` is not a power of two; [`Error::NoSpace`] and [`Error::System`] if shared memory cannot be had.
pub fn pipe(capacity: usize) -> Result<(Writer, Reader), Error> {
    let segment = Options::new().anonymous([capacity as u64, 0, 0, 0, 0, 0, 0, 0])?;
    Ok((Writer::of(segment.role(WRITER)), Reader::of(segment.role(READER))))
}

/// The writing end: there is one. Passing it to another process moves it.
pub struct Writer {
    role: Role<Bytes>,
    bytes: Bytes,
    tail: Cell<u64>,
}

/// The reading end: there is one. Passing it to another process moves it.
pub struct Reader {
    role: Role<Bytes>,
    bytes: Bytes,
    head: Cell<u64>,
}

impl Writer {
    fn of(role: Role<Bytes>) -> Self {
        let bytes = role.segment().object().clone();
        let tail = Cell::new(bytes.tail());
        Self { role, bytes, tail }
    }

    /// Writes what fits now: `None` if nothing does.
    fn attempt(&self, buffer: &[u8]) -> Option<io::Result<usize>> {
        if self.role.is_moved() {
            return Some(Err(moved()));
        }
        if self.role.segment().side(READER) == Side::Closed {
            return Some(Err(io::ErrorKind::BrokenPipe.into()));
        }
        match self.bytes.push(self.tail.get(), buffer) {
            Ok(0) => None,
            Ok(written) => {
                self.tail.set(self.tail.get().wrapping_add(written as u64));
                Some(Ok(written))
            }
            Err(corrupt) => Some(Err(corrupt)),
        }
    }
}

impl io::Write for Writer {
    /// Writes at least one byte, and as many as fit. Blocks while the pipe is full.
    ///
    /// # Errors
    /// `BrokenPipe` once the reader has left or died; `InvalidData` if a peer wrote over the pipe.
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let idle = || self.role.segment().look_after_peers();
        let wait = || self.bytes.space().wait_until(Deadline::NEVER, || self.attempt(buffer), || false, idle);
        // A wait without a deadline gives an outcome.
        self.attempt(buffer).or_else(wait).unwrap_or(Ok(0))
    }

    /// Does nothing: what was written can be read.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Reader {
    fn of(role: Role<Bytes>) -> Self {
        let bytes = role.segment().object().clone();
        let head = Cell::new(bytes.head());
        Self { role, bytes, head }
    }

    /// Reads what is there now: `None` if nothing is.
    fn attempt(&self, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        if self.role.is_moved() {
            return Some(Err(moved()));
        }
        // The writer is seen to be gone *before* the pipe is seen to be empty, or its last bytes would be lost.
        let gone = self.role.segment().side(WRITER) == Side::Closed;
        match self.bytes.pop(self.head.get(), buffer) {
            Ok(0) if gone => Some(Ok(0)),
            Ok(0) => None,
            Ok(read) => {
                self.head.set(self.head.get().wrapping_add(read as u64));
                Some(Ok(read))
            }
            Err(corrupt) => Some(Err(corrupt)),
        }
    }
}

impl io::Read for Reader {
    /// Reads at least one byte, and as many as are there. Blocks while the pipe is empty; 0 at the end, once the writer has left or died.
    ///
    /// # Errors
    /// `InvalidData` if a peer wrote over the pipe.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if let Some(outcome) = self.attempt(buffer) {
            return outcome;
        }
        let idle = || self.role.segment().look_after_peers();
        // A wait without a deadline gives an outcome.
        self.bytes.data().wait_until(Deadline::NEVER, || self.attempt(buffer), || false, idle).unwrap_or(Ok(0))
    }
}

fn moved() -> io::Error {
    io::Error::other("this end of the pipe has been moved to another process")
}

macro_rules! end {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let done = self.role.serialize(serializer)?;
                // From now on it belongs to the receiver of the bytes.
                self.role.give_away();
                Ok(done)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Role::deserialize(deserializer).map(Self::of)
            }
        }
    };
}
end!(Writer);
end!(Reader);
