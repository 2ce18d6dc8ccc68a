//! The receiving end.
//!
//! What is fast stands in the functions that are inlined; all that is rare (the known messages are used up, the sender is gone, the end was moved) goes
//! through `find_messages`, which looks at everything anew.
//!
//! Known messages are received without a look at the sender, so something else must tell a child made by `fork` that the bytes under its copy of this
//! handle are not the queue's any more, but zeros: the word `attached`, which whoever has the end sets, on the line that it writes anyway.

use super::{Lease, Spsc};
use crate::error::{RecvError, RecvTimeoutError, TryRecvError};
use crate::{RECEIVERS, SENDERS};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use shmkit_segment::primitive::Ordering;
use shmkit_segment::{Error, Plain, PlainCell, Role, Segment, Side};
use shmkit_sync::Deadline;
use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The receiving end: there is one. Passing it to another process moves it.
pub struct Receiver<T: Plain> {
    role: Role<Spsc<T>>,
    queue: Spsc<T>,
    head: u64,
    /// Positions below this are known to hold messages. Never more than `tail`; `head` once the end was moved away.
    limit: Cell<u64>,
}

impl<T: Plain> Receiver<T> {
    /// Messages in a line of the processor's cache; 1 if they are larger.
    const PER_LINE: u64 = match size_of::<PlainCell<T>>() as u64 {
        0 => 64,
        size if size < 64 => 64 / size,
        _ => 1,
    };
    /// So far ahead messages are fetched from the sender's cache. It makes a queue that is not empty faster by a quarter where the caches are far apart,
    /// and by a tenth where they are near.
    const AHEAD: u64 = 4 * Self::PER_LINE;

    pub(super) fn of(role: Role<Spsc<T>>) -> Self {
        let queue = role.segment().object().clone();
        queue.ends.head.attached.store(1, Ordering::Relaxed);
        // Whoever had the end before has left it to this process: by creating the queue here, by handing it over, or by closing its side, which
        // `sole_role` has seen.
        let head = queue.ends.head.position.load(Ordering::Relaxed);
        Self { role, queue, head, limit: Cell::new(head) }
    }

    /// Takes the receiving end of a queue, which nobody else has: in a segment that was opened by name, in a file or in an embedder's memory, or after the
    /// last holder has left or died. It goes on where that one was: with the first message that was not received or acknowledged.
    ///
    /// Never blocks. Costs a few read-modify-writes, and a system call if the end is not free, to find out whether its holder lives.
    ///
    /// # Errors
    /// [`Error::RoleTaken`] if a living process has it, which it names (a process that has just died can count as living for about a
    /// millisecond); [`Error::Corrupt`] if the queue's positions make no sense; [`Error::Forked`].
    pub fn claim(segment: &Arc<Segment<Spsc<T>>>) -> Result<Self, Error> {
        let role = segment.sole_role(RECEIVERS)?;
        segment.object().check()?;
        Ok(Self::of(role))
    }

    /// Receives a message if there is one. Never blocks. Wait-free.
    ///
    /// # Errors
    /// [`TryRecvError::Empty`]; [`Disconnected`](TryRecvError::Disconnected) once the sender is gone and everything was received;
    /// [`Moved`](TryRecvError::Moved); [`Corrupt`](TryRecvError::Corrupt).
    #[inline]
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        if self.head == self.limit.get() || self.is_forked() {
            return self.try_recv_with_care();
        }
        Ok(self.pop())
    }

    #[cold]
    #[inline(never)]
    fn try_recv_with_care(&mut self) -> Result<T, TryRecvError> {
        self.find_messages(1)?;
        Ok(self.pop())
    }

    #[inline]
    fn pop(&mut self) -> T {
        let value = self.queue.values.at(self.head).read();
        // Only what is known to have been sent: fetching a line that the sender is still writing would slow it down.
        if self.limit.get().wrapping_sub(self.head) > Self::AHEAD {
            self.queue.values.prefetch(self.head.wrapping_add(Self::AHEAD));
        }
        self.release(1);
        value
    }

    /// Receives the next `count` messages, whose values have been copied.
    #[inline]
    pub(super) fn release(&mut self, count: u64) {
        self.head = self.head.wrapping_add(count);
        // The messages are received. Pairs with the acquire load in `Sender::find_room`.
        self.queue.ends.head.position.store(self.head, Ordering::Release);
        // There is one sender, and to wake all costs less (no fence, ever).
        self.queue.ends.space.notify_all();
    }

    /// Whether this may be a copy in a child made by `fork`. Nonsense that a peer wrote here makes `find_messages` look again.
    #[inline]
    fn is_forked(&self) -> bool {
        self.queue.ends.head.attached.load(Ordering::Relaxed) == 0
    }

    /// How many messages are known to be there.
    #[inline]
    fn known(&self) -> u64 {
        self.limit.get().wrapping_sub(self.head)
    }

    /// How many messages are there: at least one, and `wanted` if there are so many. Looks only if it must.
    #[inline]
    fn messages(&self, wanted: usize) -> Result<u64, TryRecvError> {
        let known = self.known();
        if known < wanted as u64 && known < self.queue.values.capacity() || self.is_forked() {
            return self.find_messages(wanted as u64);
        }
        Ok(known)
    }

    #[cold]
    #[inline(never)]
    fn find_messages(&self, wanted: u64) -> Result<u64, TryRecvError> {
        if self.role.is_moved() {
            return Err(TryRecvError::Moved);
        }
        let known = self.known();
        if known >= wanted {
            return Ok(known);
        }
        // The sender is seen to be gone *before* the queue is seen to be empty, or its last message would be lost.
        let is_over = !self.queue.is_kept_open && self.role.segment().side(SENDERS) == Side::Closed;
        // Pairs with the release store in `Sender::publish`: the values before are seen.
        let tail = self.queue.ends.tail.load(Ordering::Acquire);
        match self.queue.between(self.head, tail) {
            Some(0) if known == 0 => Err(if is_over { TryRecvError::Disconnected } else { TryRecvError::Empty }),
            Some(messages) if messages >= known => {
                self.limit.set(tail);
                Ok(messages)
            }
            // Further ahead than there is room for, or the sender's position went back.
            _ => Err(TryRecvError::Corrupt),
        }
    }

    /// Receives a message, and blocks while there is none.
    ///
    /// # Errors
    /// [`RecvError::Disconnected`] once the sender has left or died and everything was received; [`RecvError::Moved`]; [`RecvError::Corrupt`].
    #[inline]
    pub fn recv(&mut self) -> Result<T, RecvError> {
        self.recv_until(Deadline::NEVER).map_err(RecvTimeoutError::without_timeout)
    }

    /// Receives a message, and blocks for at most `timeout` while there is none.
    ///
    /// # Errors
    /// [`RecvTimeoutError`].
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.recv_until(Deadline::after(timeout))
    }

    /// Receives a message, and blocks until `deadline` at the latest while there is none.
    ///
    /// # Errors
    /// [`RecvTimeoutError`].
    pub fn recv_deadline(&mut self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.recv_until(deadline.into())
    }

    #[inline]
    fn recv_until(&mut self, deadline: Deadline) -> Result<T, RecvTimeoutError> {
        match self.try_recv() {
            Ok(value) => Ok(value),
            Err(error) => self.wait_after(error, deadline, Self::try_recv),
        }
    }

    /// Receives as many messages as there are, at least one and at most as many as `values` has places, from the front on, and says how many. Never
    /// blocks. Wait-free.
    ///
    /// Costs as much as receiving one message, and the copying. Into no places, none is received at once, whatever the state of the queue.
    ///
    /// # Errors
    /// As [`try_recv`](Self::try_recv).
    #[inline]
    pub fn try_recv_slice(&mut self, values: &mut [T]) -> Result<usize, TryRecvError> {
        if values.is_empty() {
            return Ok(0);
        }
        let messages = self.messages(values.len())?;
        let count = values.len().min(messages as usize);
        let (first, second) = self.queue.values.run(self.head, count);
        let (from_first, rest) = values[..count].split_at_mut(first.len());
        PlainCell::read_all(first, from_first);
        PlainCell::read_all(second, rest);
        self.release(count as u64);
        self.prefetch(count as u64);
        Ok(count)
    }

    /// As [`try_recv_slice`](Self::try_recv_slice), and blocks while there is no message.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    #[inline]
    pub fn recv_slice(&mut self, values: &mut [T]) -> Result<usize, RecvError> {
        self.recv_slice_until(values, Deadline::NEVER).map_err(RecvTimeoutError::without_timeout)
    }

    /// As [`try_recv_slice`](Self::try_recv_slice), and blocks for at most `timeout` while there is no message.
    ///
    /// # Errors
    /// [`RecvTimeoutError`].
    pub fn recv_slice_timeout(&mut self, values: &mut [T], timeout: Duration) -> Result<usize, RecvTimeoutError> {
        self.recv_slice_until(values, Deadline::after(timeout))
    }

    /// As [`try_recv_slice`](Self::try_recv_slice), and blocks until `deadline` at the latest while there is no message.
    ///
    /// # Errors
    /// [`RecvTimeoutError`].
    pub fn recv_slice_deadline(&mut self, values: &mut [T], deadline: Instant) -> Result<usize, RecvTimeoutError> {
        self.recv_slice_until(values, deadline.into())
    }

    #[inline]
    fn recv_slice_until(&mut self, values: &mut [T], deadline: Deadline) -> Result<usize, RecvTimeoutError> {
        match self.try_recv_slice(values) {
            Ok(count) => Ok(count),
            Err(error) => self.wait_after(error, deadline, |receiver| receiver.try_recv_slice(values)),
        }
    }

    /// Up to `most` messages to be looked at while they stay in the queue: at least one, and as many as there are. None if `most` is 0. Never blocks.
    /// Wait-free.
    ///
    /// Costs as much as receiving one message, of which the store and the notification come with [`Lease::ack`].
    ///
    /// # Errors
    /// As [`try_recv`](Self::try_recv).
    #[inline]
    pub fn try_lease(&mut self, most: usize) -> Result<Lease<'_, T>, TryRecvError> {
        let length = self.leased(most)?;
        Ok(Lease::new(self, length))
    }

    /// As [`try_lease`](Self::try_lease), and blocks while there is no message.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn lease(&mut self, most: usize) -> Result<Lease<'_, T>, RecvError> {
        self.lease_until(most, Deadline::NEVER).map_err(RecvTimeoutError::without_timeout)
    }

    /// As [`try_lease`](Self::try_lease), and blocks for at most `timeout` while there is no message.
    ///
    /// # Errors
    /// [`RecvTimeoutError`].
    pub fn lease_timeout(&mut self, most: usize, timeout: Duration) -> Result<Lease<'_, T>, RecvTimeoutError> {
        self.lease_until(most, Deadline::after(timeout))
    }

    /// As [`try_lease`](Self::try_lease), and blocks until `deadline` at the latest while there is no message.
    ///
    /// # Errors
    /// [`RecvTimeoutError`].
    pub fn lease_deadline(&mut self, most: usize, deadline: Instant) -> Result<Lease<'_, T>, RecvTimeoutError> {
        self.lease_until(most, deadline.into())
    }

    fn lease_until(&mut self, most: usize, deadline: Deadline) -> Result<Lease<'_, T>, RecvTimeoutError> {
        let length = match self.leased(most) {
            Ok(length) => length,
            Err(error) => self.wait_after(error, deadline, |receiver| receiver.leased(most))?,
        };
        Ok(Lease::new(self, length))
    }

    /// How many messages a lease of `most` gets.
    #[inline]
    pub(super) fn leased(&self, most: usize) -> Result<usize, TryRecvError> {
        if most == 0 { Ok(0) } else { self.messages(most).map(|messages| most.min(messages as usize)) }
    }

    /// The place of the `index`-th message that is not received yet.
    #[inline]
    pub(super) fn place(&self, index: usize) -> &PlainCell<T> {
        self.queue.values.at(self.head.wrapping_add(index as u64))
    }

    /// After a batch of `count`, fetches what may be the next one, as far as it is known to have been sent, and not more than some lines.
    #[inline]
    pub(super) fn prefetch(&self, count: u64) {
        let known = self.limit.get().wrapping_sub(self.head).min(count).min(2 * Self::AHEAD);
        for ahead in (0..known).step_by(Self::PER_LINE as usize) {
            self.queue.values.prefetch(self.head.wrapping_add(ahead));
        }
    }

    /// The places of the next `count` messages.
    #[inline]
    pub(super) fn places(&self, count: usize) -> (&[PlainCell<T>], &[PlainCell<T>]) {
        self.queue.values.run(self.head, count)
    }

    /// Tries again until `attempt` gets what it wants, if waiting may help after `error`.
    #[cold]
    fn wait_after<R>(
        &mut self,
        error: TryRecvError,
        deadline: Deadline,
        mut attempt: impl FnMut(&mut Self) -> Result<R, TryRecvError>,
    ) -> Result<R, RecvTimeoutError> {
        if let Some(error) = error.settled() {
            return Err(error);
        }
        let segment = Arc::clone(self.role.segment());
        let queue = self.queue.clone();
        let attempt = || match attempt(self) {
            Ok(result) => Some(Ok(result)),
            Err(error) => error.settled().map(Err),
        };
        // Nobody else waits for messages, so there is no baton to pass.
        let outcome = queue.ends.data.wait_until(deadline, attempt, || false, || segment.look_after_peers());
        outcome.unwrap_or(Err(RecvTimeoutError::Timeout))
    }

    /// Messages as they come, until the sender is gone and everything was received (for ever, if the queue is kept open). Blocks in between.
    pub fn iter(&mut self) -> impl Iterator<Item = T> {
        std::iter::from_fn(|| self.recv().ok())
    }

    /// The messages that are there now. Never blocks.
    pub fn try_iter(&mut self) -> impl Iterator<Item = T> {
        std::iter::from_fn(|| self.try_recv().ok())
    }

    /// How many messages the queue holds at most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.queue.values.capacity() as usize
    }

    /// The segment that the queue lives in.
    #[must_use]
    pub fn segment(&self) -> &Arc<Segment<Spsc<T>>> {
        self.role.segment()
    }
}

impl<T: Plain> Serialize for Receiver<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let done = self.role.serialize(serializer)?;
        // From now on it belongs to the receiver of the bytes; this one must not touch the ring again.
        self.role.give_away();
        self.limit.set(self.head);
        Ok(done)
    }
}

impl<'de, T: Plain> Deserialize<'de> for Receiver<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Role::deserialize(deserializer).map(Self::of)
    }
}
