//! Bytes that are written in place.

#![allow(unsafe_code)]

use super::Writer;
use shmkit_sync::Deadline;
use std::io;
use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

/// Room in a pipe that only its writer sees: fill it, then [commit](Self::commit) how many bytes are to be written.
///
/// Dropped without that, or its process killed: nothing was written, and the room is used by what is written next. It holds bytes of earlier messages, or zeros, until it is filled.
///
/// ```
/// use std::io::Read;
///
/// let (mut writer, mut reader) = shmkit_pipe::pipe()?;
/// let mut room = writer.reserve(100)?;
/// room[..5].copy_from_slice(b"hello");
/// room.commit(5);
/// drop(writer);
/// let mut text = String::new();
/// reader.read_to_string(&mut text)?;
/// assert_eq!(text, "hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing is written until it is committed"]
pub struct Reservation<'a> {
    writer: &'a mut Writer,
    length: usize,
}

/// # In place
///
/// Between processes that run this same program. Between strangers, bytes are copied.
impl Writer {
    /// Up to `most` bytes of room to be filled in place: one at least, and as many as there are one after the other (up to the end of the ring). None if `most` is 0. Never blocks.
    ///
    /// # Errors
    /// `WouldBlock` if the pipe is full; as [above](Self#errors-of-writing).
    pub fn try_reserve(&mut self, most: usize) -> io::Result<Reservation<'_>> {
        let room = if most == 0 { Some(self.check().map(|()| 0)) } else { self.attempt_room(most) };
        let length = room.unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into()))?.min(most);
        Ok(Reservation::new(self, length))
    }

    /// As [`try_reserve`](Self::try_reserve), and blocks while there is no room.
    ///
    /// # Errors
    /// As [above](Self#errors-of-writing).
    pub fn reserve(&mut self, most: usize) -> io::Result<Reservation<'_>> {
        self.reserve_until(most, Deadline::NEVER)
    }

    /// As [`try_reserve`](Self::try_reserve), and blocks for at most `timeout` while there is no room.
    ///
    /// # Errors
    /// `TimedOut`; as [above](Self#errors-of-writing).
    pub fn reserve_timeout(&mut self, most: usize, timeout: Duration) -> io::Result<Reservation<'_>> {
        self.reserve_until(most, Deadline::after(timeout))
    }

    /// As [`try_reserve`](Self::try_reserve), and blocks until `deadline` at the latest while there is no room.
    ///
    /// # Errors
    /// `TimedOut`; as [above](Self#errors-of-writing).
    pub fn reserve_deadline(&mut self, most: usize, deadline: Instant) -> io::Result<Reservation<'_>> {
        self.reserve_until(most, deadline.into())
    }

    fn reserve_until(&mut self, most: usize, deadline: Deadline) -> io::Result<Reservation<'_>> {
        let length = if most == 0 { self.check().map(|()| 0) } else { self.room(most, deadline) }?.min(most);
        Ok(Reservation::new(self, length))
    }
}

impl<'a> Reservation<'a> {
    fn new(writer: &'a mut Writer, length: usize) -> Self {
        let length = writer.producer.contiguous(length);
        Self { writer, length }
    }

    /// Writes the first `count` bytes. Whether the reader is still there shows at the next operation.
    ///
    /// Costs a store and a load, and a system call if the reader sleeps.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn commit(self, count: usize) {
        assert!(count <= self.length, "{count} bytes are committed, of {} that there are", self.length);
        if count > 0 {
            self.writer.producer.publish(count);
        }
    }
}

impl Deref for Reservation<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: as below.
        unsafe { self.writer.producer.free(self.length) }
    }
}

impl DerefMut for Reservation<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: the reader is of this same program (see `Family`), so that it is this crate's `Reader`, which keeps to the protocol.
        unsafe { self.writer.producer.free_mut(self.length) }
    }
}
