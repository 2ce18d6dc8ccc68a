//! The reading end.

use super::{Pipe, READER, WRITER};
use crate::end::end;
use crate::ring::{Consumer, Corrupt};
use crate::trust::{Family, Trust};
use shmkit_segment::{Error, Role, Segment, Side};
use shmkit_sync::Deadline;
use std::io::{self, IoSliceMut};
#[cfg(not(loom))]
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The reading end: there is one. Passing it to another process moves it.
///
/// After the writer has left or died it gives what was written, and then the end of the stream: 0 bytes. Of a pipe that was opened by name, that comes only after there has been a
/// writer; and if another one claims the writing end, it goes on.
///
/// # Errors of reading
/// | kind | why |
/// |---|---|
/// | `WouldBlock`, `TimedOut` | there is nothing to read, in those forms that do not wait for ever |
/// | `InvalidData` | a peer wrote over the pipe |
/// | `Other` | this end was moved to another process, or this process is a fork of the one that has it |
pub struct Reader<T: Trust = Family> {
    pub(super) role: Role<Pipe<T>>,
    pub(super) consumer: Consumer,
    #[cfg(all(any(feature = "tokio", feature = "futures-io"), not(loom)))]
    pub(super) waiter: shmkit_sync::Waiter,
}

impl<T: Trust> Reader<T> {
    pub(super) fn of(role: Role<Pipe<T>>) -> Result<Self, Error> {
        let consumer = Consumer::resume(role.segment().object().ring.clone())?;
        Ok(Self {
            role,
            consumer,
            #[cfg(all(any(feature = "tokio", feature = "futures-io"), not(loom)))]
            waiter: shmkit_sync::Waiter::new(),
        })
    }

    /// Takes the reading end of a pipe, which nobody else has: in a segment that was opened by name, in a file or in an embedder's memory, or after the last
    /// holder has left or died. It goes on behind what that one had read.
    ///
    /// Never blocks.
    ///
    /// # Errors
    /// As [`Writer::claim`](super::Writer::claim).
    pub fn claim(segment: &Arc<Segment<Pipe<T>>>) -> Result<Self, Error> {
        Self::of(segment.sole_role(READER)?)
    }

    /// Reads as many bytes as there are and fit, one at least; 0 at the end of the stream. Never blocks.
    ///
    /// Costs the copying, and for each 16 KiB a store and two loads; a system call if the writer sleeps.
    ///
    /// # Errors
    /// `WouldBlock` if there are none yet; as [above](Self#errors-of-reading).
    pub fn try_read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.attempt(bytes).unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into()))
    }

    /// Reads as many bytes as there are and fit, one at least; 0 at the end of the stream. Blocks for at most `timeout` while there are none.
    ///
    /// # Errors
    /// `TimedOut`; as [above](Self#errors-of-reading).
    pub fn read_timeout(&mut self, bytes: &mut [u8], timeout: Duration) -> io::Result<usize> {
        self.read_until(bytes, Deadline::after(timeout))
    }

    /// Reads as many bytes as there are and fit, one at least; 0 at the end of the stream. Blocks until `deadline` at the latest while there are none.
    ///
    /// # Errors
    /// `TimedOut`; as [above](Self#errors-of-reading).
    pub fn read_deadline(&mut self, bytes: &mut [u8], deadline: Instant) -> io::Result<usize> {
        self.read_until(bytes, deadline.into())
    }

    fn read_until(&mut self, bytes: &mut [u8], deadline: Deadline) -> io::Result<usize> {
        match self.attempt(bytes) {
            Some(outcome) => outcome,
            None => self.wait(deadline, |reader| reader.attempt(bytes)),
        }
    }

    /// Reads what is there now: `None` if nothing is.
    pub(crate) fn attempt(&mut self, bytes: &mut [u8]) -> Option<io::Result<usize>> {
        if bytes.is_empty() {
            return Some(Ok(0));
        }
        self.unless_at_end(|consumer| consumer.read(bytes))
    }

    /// Reads what is there now into several slices, one after the other: `None` if nothing is.
    pub(crate) fn attempt_vectored(&mut self, slices: &mut [IoSliceMut<'_>]) -> Option<io::Result<usize>> {
        let mut read = 0;
        for slice in slices.iter_mut().filter(|slice| !slice.is_empty()) {
            match self.attempt(slice) {
                Some(Ok(count)) => {
                    read += count;
                    if count < slice.len() {
                        break;
                    }
                }
                // What was read counts; the next one is told.
                _ if read > 0 => break,
                outcome => return outcome,
            }
        }
        Some(Ok(read))
    }

    /// How many bytes there are: 0 at the end; `None` if there are none yet.
    pub(crate) fn attempt_available(&mut self, wanted: usize) -> Option<io::Result<usize>> {
        self.unless_at_end(|consumer| consumer.available(wanted))
    }

    /// What `attempt` gives, which is 0 if there is nothing to read; `None` if there may be later.
    #[inline]
    fn unless_at_end(
        &mut self,
        attempt: impl FnOnce(&mut Consumer) -> Result<usize, Corrupt>,
    ) -> Option<io::Result<usize>> {
        if let Err(error) = crate::end::check(&self.role) {
            return Some(Err(error));
        }
        // The writer is seen to be gone *before* the pipe is seen to be empty, or its last bytes would be lost.
        let is_over = self.role.segment().side(WRITER) == Side::Closed;
        match attempt(&mut self.consumer) {
            Ok(0) if !is_over => None,
            Ok(count) => Some(Ok(count)),
            Err(Corrupt) => Some(Err(Corrupt.into())),
        }
    }

    /// Tries until there is an outcome.
    #[cold]
    fn wait<R>(
        &mut self,
        deadline: Deadline,
        mut attempt: impl FnMut(&mut Self) -> Option<io::Result<R>>,
    ) -> io::Result<R> {
        let segment = Arc::clone(self.role.segment());
        let data = segment.object().ring.data();
        // Nobody else waits for bytes, so there is no baton to pass.
        let outcome = data.wait_until(deadline, || attempt(self), || false, || segment.look_after_peers());
        outcome.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
    }

    fn available(&mut self, wanted: usize) -> io::Result<usize> {
        match self.attempt_available(wanted) {
            Some(outcome) => outcome,
            None => self.wait(Deadline::NEVER, |reader| reader.attempt_available(wanted)),
        }
    }
}

#[cfg(not(loom))]
impl<T: Trust> Reader<T> {
    /// Writes what it reads to `target`, a file, pipe or socket, until the stream ends or it was `most` bytes: how many it was. Nobody copies but the kernel, which takes it out of the pipe.
    ///
    /// Blocks while there is nothing to read, and as `write` on `target` does. Costs a system call for what there is.
    ///
    /// # Errors
    /// As `writev(2)` (of a `target` that does not block, `WouldBlock`), and as [above](Self#errors-of-reading). What `target` did not take stays in the pipe; what it took is not counted.
    pub fn copy_to(&mut self, target: impl AsFd, most: u64) -> io::Result<u64> {
        let mut done = 0;
        while done < most {
            let wanted = usize::try_from(most - done).unwrap_or(usize::MAX);
            let available = self.available(1)?.min(wanted).min(Self::STRIDE);
            if available == 0 {
                break;
            }
            match self.consumer.read_into(target.as_fd(), available) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => done += count as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// How much is given to the kernel at a time, so that the writer goes on meanwhile.
    const STRIDE: usize = 1 << 16;
}

impl<T: Trust> io::Read for Reader<T> {
    /// Reads as many bytes as there are and fit, one at least. Blocks while the pipe is empty; 0 at the end, once the writer has left or died.
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.read_until(bytes, Deadline::NEVER)
    }

    fn read_vectored(&mut self, slices: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        match self.attempt_vectored(slices) {
            Some(outcome) => outcome,
            None => self.wait(Deadline::NEVER, |reader| reader.attempt_vectored(slices)),
        }
    }
}

#[cfg(not(loom))]
#[allow(unsafe_code)]
impl Reader<Family> {
    /// The bytes that there are, as far as they lie one after the other.
    pub(crate) fn in_place(&self, available: usize) -> &[u8] {
        // SAFETY: the writer is of this same program (see `Family`), so that it is this crate's `Writer`, which keeps to the protocol.
        unsafe { self.consumer.bytes(available) }
    }

    pub(crate) fn give_back(&mut self, count: usize) {
        let known = self.consumer.known();
        assert!(count <= known, "{count} bytes were consumed, of {known} that there are");
        // An end that was moved away must not move the position of another one.
        if count > 0 && !self.role.is_moved() {
            self.consumer.release(count);
        }
    }
}

/// In place, without copying. Between strangers there is no such thing: put a [`BufReader`](io::BufReader) before it, which copies.
#[cfg(not(loom))]
impl io::BufRead for Reader<Family> {
    /// The bytes that there are, as far as they lie one after the other. Blocks while there are none; empty at the end of the stream.
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let available = self.available(1)?;
        Ok(self.in_place(available))
    }

    /// Gives back `count` bytes of those that `fill_buf` has shown.
    ///
    /// # Panics
    /// If there were not so many.
    fn consume(&mut self, count: usize) {
        self.give_back(count);
    }
}

end!(Reader, READER);
