//! The writing end.

use super::{Pipe, READER, WRITER};
use crate::end::end;
use crate::ring::{Corrupt, Producer};
use crate::trust::{Family, Trust};
use shmkit_segment::{Error, Role, Segment, Side};
use shmkit_sync::Deadline;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The writing end: there is one. Passing it to another process moves it.
///
/// Dropped, or its process killed, the reader gets what was written and then the end of the stream.
///
/// # Errors of writing
/// | kind | why |
/// |---|---|
/// | `BrokenPipe` | the reader has left or died: what it had not read is lost |
/// | `WouldBlock`, `TimedOut` | there is no room, in those forms that do not wait for ever; nothing was written |
/// | `InvalidData` | a peer wrote over the pipe |
/// | `Other` | this end was moved to another process, or shut down, or this process is a fork of the one that has it |
pub struct Writer<T: Trust = Family> {
    pub(super) role: Role<Pipe<T>>,
    pub(super) producer: Producer,
    #[cfg(all(any(feature = "tokio", feature = "futures-io"), not(loom)))]
    pub(super) waiter: shmkit_sync::Waiter,
}

impl<T: Trust> Writer<T> {
    pub(super) fn of(role: Role<Pipe<T>>) -> Result<Self, Error> {
        let producer = Producer::resume(role.segment().object().ring.clone())?;
        Ok(Self {
            role,
            producer,
            #[cfg(all(any(feature = "tokio", feature = "futures-io"), not(loom)))]
            waiter: shmkit_sync::Waiter::new(),
        })
    }

    /// Takes the writing end of a pipe, which nobody else has: in a segment that was opened by name, in a file or in an embedder's memory, or after the last
    /// holder has left or died. It goes on where that one was.
    ///
    /// Never blocks.
    ///
    /// # Errors
    /// [`Error::RoleTaken`] if a living process has it, which it names (a process that has just died can count as living for about a
    /// millisecond); [`Error::Corrupt`] if the pipe's positions make no sense; [`Error::Forked`].
    pub fn claim(segment: &Arc<Segment<Pipe<T>>>) -> Result<Self, Error> {
        Self::of(segment.sole_role(WRITER)?)
    }

    /// Writes as many bytes as there is room for, one at least. Never blocks. None are written at once, whatever the state of the pipe.
    ///
    /// Costs the copying, and for each 16 KiB a store and two loads; a system call if the reader sleeps.
    ///
    /// # Errors
    /// `WouldBlock` if the pipe is full; as [above](Self#errors-of-writing).
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.attempt(bytes).unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into()))
    }

    /// Writes as many bytes as there is room for, one at least, and blocks for at most `timeout` while there is none.
    ///
    /// # Errors
    /// `TimedOut`; as [above](Self#errors-of-writing).
    pub fn write_timeout(&mut self, bytes: &[u8], timeout: Duration) -> io::Result<usize> {
        self.write_until(bytes, Deadline::after(timeout))
    }

    /// Writes as many bytes as there is room for, one at least, and blocks until `deadline` at the latest while there is none.
    ///
    /// # Errors
    /// `TimedOut`; as [above](Self#errors-of-writing).
    pub fn write_deadline(&mut self, bytes: &[u8], deadline: Instant) -> io::Result<usize> {
        self.write_until(bytes, deadline.into())
    }

    pub(crate) fn write_until(&mut self, bytes: &[u8], deadline: Deadline) -> io::Result<usize> {
        match self.attempt(bytes) {
            Some(outcome) => outcome,
            None => self.wait(deadline, |writer| writer.attempt(bytes)),
        }
    }

    /// Writes what fits now: `None` if nothing does.
    pub(crate) fn attempt(&mut self, bytes: &[u8]) -> Option<io::Result<usize>> {
        if bytes.is_empty() {
            return Some(Ok(0));
        }
        if let Err(error) = self.check() {
            return Some(Err(error));
        }
        match self.producer.write(bytes) {
            Ok(0) => None,
            Ok(written) => Some(Ok(written)),
            Err(Corrupt) => Some(Err(Corrupt.into())),
        }
    }

    /// Writes what fits now of several slices, one after the other: `None` if nothing does.
    pub(crate) fn attempt_vectored(&mut self, slices: &[IoSlice<'_>]) -> Option<io::Result<usize>> {
        let mut written = 0;
        for slice in slices.iter().filter(|slice| !slice.is_empty()) {
            match self.attempt(slice) {
                Some(Ok(count)) => {
                    written += count;
                    if count < slice.len() {
                        break;
                    }
                }
                // What is written counts; the next one is told.
                _ if written > 0 => break,
                outcome => return outcome,
            }
        }
        Some(Ok(written))
    }

    /// Whether writing makes sense.
    pub(super) fn check(&self) -> io::Result<()> {
        crate::end::check(&self.role)?;
        match self.role.segment().side(READER) {
            Side::Closed => Err(io::ErrorKind::BrokenPipe.into()),
            _ => Ok(()),
        }
    }

    /// Tries until there is an outcome.
    #[cold]
    pub(super) fn wait<R>(
        &mut self,
        deadline: Deadline,
        mut attempt: impl FnMut(&mut Self) -> Option<io::Result<R>>,
    ) -> io::Result<R> {
        let segment = Arc::clone(self.role.segment());
        let space = segment.object().ring.space();
        // Nobody else waits for room, so there is no baton to pass.
        let outcome = space.wait_until(deadline, || attempt(self), || false, || segment.look_after_peers());
        outcome.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Has the pipe hold `capacity` bytes from now on, if that is more than it does: as many as the [settings](super::Settings::up_to) allow at most. What was written stays.
    ///
    /// Never blocks on the reader. Costs a system call to allot the memory, and time for each page of it. What the pipe had before is given back when the pipe goes.
    ///
    /// # Errors
    /// [`Error::Geometry`] if the pipe was not made to grow so large; [`Error::NoSpace`] if the memory cannot be had, and nothing was changed;
    /// [`Error::NotTransferable`] if this end was moved away; [`Error::Forked`].
    pub fn grow(&mut self, capacity: usize) -> Result<(), Error> {
        let segment = self.role.segment();
        if segment.is_defunct() {
            return Err(Error::Forked);
        }
        if self.role.is_moved() {
            return Err(Error::NotTransferable("this end of the pipe has been moved to another process"));
        }
        self.producer.grow(capacity, |spare| segment.allot(spare))
    }

    /// How many bytes the pipe holds at most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.producer.capacity()
    }
}

#[cfg(not(loom))]
impl<T: Trust> Writer<T> {
    /// Writes what is read from `source`, a file, pipe or socket, until that ends or it was `most` bytes: how many it was. Nobody copies but the kernel, which puts it into the pipe.
    ///
    /// Blocks while there is no room, and as `read` on `source` does. Costs a system call for what there is room for, up to the end of the ring.
    ///
    /// # Errors
    /// As `readv(2)` (of a `source` that does not block, `WouldBlock`), and as [above](Self#errors-of-writing). What was written before that stays written, and is not counted.
    pub fn copy_from(&mut self, source: impl AsFd, most: u64) -> io::Result<u64> {
        let mut done = 0;
        while done < most {
            let wanted = usize::try_from(most - done).unwrap_or(usize::MAX).min(Self::STRIDE).min(self.capacity());
            let room = self.room(wanted, Deadline::NEVER)?.min(wanted);
            match self.producer.write_from(source.as_fd(), room) {
                Ok(0) => break,
                Ok(count) => done += count as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// How much is asked of the kernel at a time, so that the reader goes on meanwhile.
    const STRIDE: usize = 1 << 16;

    /// How much room there is, one byte at least; `wanted` are enough.
    pub(super) fn room(&mut self, wanted: usize, deadline: Deadline) -> io::Result<usize> {
        match self.attempt_room(wanted) {
            Some(outcome) => outcome,
            None => self.wait(deadline, |writer| writer.attempt_room(wanted)),
        }
    }

    pub(super) fn attempt_room(&mut self, wanted: usize) -> Option<io::Result<usize>> {
        if let Err(error) = self.check() {
            return Some(Err(error));
        }
        match self.producer.room(wanted) {
            Ok(0) => None,
            Ok(room) => Some(Ok(room)),
            Err(Corrupt) => Some(Err(Corrupt.into())),
        }
    }
}

#[cfg(not(loom))]
use std::os::fd::AsFd;

impl<T: Trust> io::Write for Writer<T> {
    /// Writes as many bytes as there is room for, one at least. Blocks while the pipe is full.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_until(bytes, Deadline::NEVER)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.attempt_vectored(slices) {
            Some(outcome) => outcome,
            None => self.wait(Deadline::NEVER, |writer| writer.attempt_vectored(slices)),
        }
    }

    /// Does nothing: what was written can be read.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

end!(Writer, WRITER);
