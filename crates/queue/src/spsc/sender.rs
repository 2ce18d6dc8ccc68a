//! The sending end.
//!
//! What is fast stands in the functions that are inlined; all that is rare (the known room is used up, the receiver is gone, the end was moved) goes
//! through `find_room`, which looks at everything anew.

use super::{Reservation, Spsc};
use crate::error::{SendError, SendSliceError, SendTimeoutError, TrySendError};
use crate::{RECEIVERS, SENDERS};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use shmkit_segment::primitive::Ordering;
use shmkit_segment::{Error, Plain, PlainCell, Role, Segment, Side, Sides};
use shmkit_sync::Deadline;
use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The sending end: there is one. Passing it to another process moves it.
pub struct Sender<T: Plain> {
    role: Role<Spsc<T>>,
    sides: Sides,
    queue: Spsc<T>,
    tail: u64,
    /// Positions below this are known to be free. Never more than `head + capacity`; `tail` once the end was moved away.
    limit: Cell<u64>,
}

impl<T: Plain> Sender<T> {
    pub(super) fn of(role: Role<Spsc<T>>) -> Self {
        let queue = role.segment().object().clone();
        let sides = role.segment().sides();
        // Whoever had the end before has left it to this process: by creating the queue here, by handing it over, or by closing its side, which
        // `sole_role` has seen.
        let tail = queue.ends.tail.load(Ordering::Relaxed);
        Self { role, sides, queue, tail, limit: Cell::new(tail) }
    }

    /// Takes the sending end of a queue, which nobody else has: in a segment that was opened by name, in a file or in an embedder's memory, or after the
    /// last holder has left or died. It goes on where that one was.
    ///
    /// Never blocks. Costs a few read-modify-writes, and a system call if the end is not free, to find out whether its holder lives.
    ///
    /// # Errors
    /// [`Error::RoleTaken`] if a living process has it, which it names (a process that has just died can count as living for about a
    /// millisecond); [`Error::Corrupt`] if the queue's positions make no sense; [`Error::Forked`].
    pub fn claim(segment: &Arc<Segment<Spsc<T>>>) -> Result<Self, Error> {
        let role = segment.sole_role(SENDERS)?;
        segment.object().check()?;
        Ok(Self::of(role))
    }

    /// Sends `value` if there is room. Never blocks. Wait-free.
    ///
    /// # Errors
    /// [`TrySendError::Full`], [`Disconnected`](TrySendError::Disconnected), [`Moved`](TrySendError::Moved) or
    /// [`Corrupt`](TrySendError::Corrupt), with the value.
    #[inline]
    pub fn try_send(&mut self, value: T) -> Result<(), TrySendError<T>> {
        if self.sides.is_closed(RECEIVERS) || self.tail == self.limit.get() {
            return self.try_send_with_care(value);
        }
        self.push(value);
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn try_send_with_care(&mut self, value: T) -> Result<(), TrySendError<T>> {
        self.find_room(1).map_err(|error| error.with(value))?;
        self.push(value);
        Ok(())
    }

    #[inline]
    fn push(&mut self, value: T) {
        self.queue.values.at(self.tail).write(value);
        self.publish(1);
    }

    /// Sends what was written to the next `count` places.
    #[inline]
    pub(super) fn publish(&mut self, count: u64) {
        self.tail = self.tail.wrapping_add(count);
        // The messages are sent. Pairs with the acquire load in `Receiver::find_messages`.
        self.queue.ends.tail.store(self.tail, Ordering::Release);
        // There is one receiver, and to wake all costs less (no fence, ever).
        self.queue.ends.data.notify_all();
    }

    /// How many places are known to be free.
    #[inline]
    fn room(&self) -> u64 {
        self.limit.get().wrapping_sub(self.tail)
    }

    /// How many places are free: at least one, and `wanted` if there are so many. Looks only if it must.
    #[inline]
    fn room_for(&self, wanted: usize) -> Result<u64, TrySendError<()>> {
        let room = self.room();
        if self.sides.is_closed(RECEIVERS) || room < wanted as u64 && room < self.queue.values.capacity() {
            return self.find_room(wanted as u64);
        }
        Ok(room)
    }

    #[cold]
    #[inline(never)]
    fn find_room(&self, wanted: u64) -> Result<u64, TrySendError<()>> {
        if self.role.is_moved() {
            return Err(TrySendError::Moved(()));
        }
        if !self.queue.is_kept_open && self.role.segment().side(RECEIVERS) == Side::Closed {
            return Err(TrySendError::Disconnected(()));
        }
        let known = self.room();
        if known >= wanted {
            return Ok(known);
        }
        // Pairs with the release store in `Receiver::release`: the receiver has copied what lies before.
        let head = self.queue.ends.head.position.load(Ordering::Acquire);
        let used = self.queue.between(head, self.tail).ok_or(TrySendError::Corrupt(()))?;
        match self.queue.values.capacity() - used {
            // The receiver's position went back.
            room if room < known => Err(TrySendError::Corrupt(())),
            0 => Err(TrySendError::Full(())),
            room => {
                self.limit.set(self.tail.wrapping_add(room));
                Ok(room)
            }
        }
    }

    /// Sends `value`, and blocks while the queue is full.
    ///
    /// # Errors
    /// [`SendError`] with the value.
    #[inline]
    pub fn send(&mut self, value: T) -> Result<(), SendError<T>> {
        self.send_until(value, Deadline::NEVER).map_err(SendTimeoutError::without_timeout)
    }

    /// Sends `value`, and blocks for at most `timeout` while the queue is full.
    ///
    /// # Errors
    /// [`SendTimeoutError`] with the value.
    pub fn send_timeout(&mut self, value: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.send_until(value, Deadline::after(timeout))
    }

    /// Sends `value`, and blocks until `deadline` at the latest while the queue is full.
    ///
    /// # Errors
    /// [`SendTimeoutError`] with the value.
    pub fn send_deadline(&mut self, value: T, deadline: Instant) -> Result<(), SendTimeoutError<T>> {
        self.send_until(value, deadline.into())
    }

    #[inline]
    fn send_until(&mut self, value: T, deadline: Deadline) -> Result<(), SendTimeoutError<T>> {
        match self.try_send(value) {
            Ok(()) => Ok(()),
            Err(error) => self.wait_after(error, value, deadline, |sender| sender.try_send(value)),
        }
    }

    /// Sends as many of `values` as there is room for, at least one, and says how many. They appear to the receiver together. Never blocks. Wait-free.
    ///
    /// Costs as much as sending one value, and the copying. No values are sent at once, whatever the state of the queue.
    ///
    /// # Errors
    /// [`TrySendError::Full`], [`Disconnected`](TrySendError::Disconnected), [`Moved`](TrySendError::Moved) or
    /// [`Corrupt`](TrySendError::Corrupt); nothing was sent.
    #[inline]
    pub fn try_send_slice(&mut self, values: &[T]) -> Result<usize, TrySendError<()>> {
        if values.is_empty() {
            return Ok(0);
        }
        let room = self.room_for(values.len())?;
        let count = values.len().min(room as usize);
        let (first, second) = self.queue.values.run(self.tail, count);
        let (to_first, rest) = values[..count].split_at(first.len());
        PlainCell::write_all(first, to_first);
        PlainCell::write_all(second, rest);
        self.publish(count as u64);
        Ok(count)
    }

    /// Sends all `values`, and blocks while the queue is full. There may be more of them than it holds.
    ///
    /// # Errors
    /// Why the rest was not sent, and [how many were](SendSliceError::sent).
    pub fn send_slice(&mut self, values: &[T]) -> Result<(), SendSliceError<SendError<()>>> {
        let outcome = self.send_slice_until(values, Deadline::NEVER);
        outcome.map_err(|SendSliceError { sent, error }| SendSliceError { sent, error: error.without_timeout() })
    }

    /// Sends all `values`, and blocks for at most `timeout` in all while the queue is full.
    ///
    /// # Errors
    /// Why the rest was not sent, and [how many were](SendSliceError::sent).
    pub fn send_slice_timeout(
        &mut self,
        values: &[T],
        timeout: Duration,
    ) -> Result<(), SendSliceError<SendTimeoutError<()>>> {
        self.send_slice_until(values, Deadline::after(timeout))
    }

    /// Sends all `values`, and blocks until `deadline` at the latest while the queue is full.
    ///
    /// # Errors
    /// Why the rest was not sent, and [how many were](SendSliceError::sent).
    pub fn send_slice_deadline(
        &mut self,
        values: &[T],
        deadline: Instant,
    ) -> Result<(), SendSliceError<SendTimeoutError<()>>> {
        self.send_slice_until(values, deadline.into())
    }

    fn send_slice_until(
        &mut self,
        values: &[T],
        deadline: Deadline,
    ) -> Result<(), SendSliceError<SendTimeoutError<()>>> {
        let mut sent = 0;
        while sent < values.len() {
            let rest = &values[sent..];
            let outcome = match self.try_send_slice(rest) {
                Ok(count) => Ok(count),
                Err(error) => self.wait_after(error, (), deadline, |sender| sender.try_send_slice(rest)),
            };
            sent += outcome.map_err(|error| SendSliceError { sent, error })?;
        }
        Ok(())
    }

    /// Up to `most` free places to be filled and then sent together: at least one, and as many as there are. None if `most` is 0. Never blocks. Wait-free.
    ///
    /// Costs as much as sending one value, of which the store and the notification come with [`Reservation::commit`].
    ///
    /// # Errors
    /// [`TrySendError::Full`], [`Disconnected`](TrySendError::Disconnected), [`Moved`](TrySendError::Moved) or [`Corrupt`](TrySendError::Corrupt).
    #[inline]
    pub fn try_reserve(&mut self, most: usize) -> Result<Reservation<'_, T>, TrySendError<()>> {
        let length = self.places(most)?;
        Ok(Reservation::new(self, length))
    }

    /// As [`try_reserve`](Self::try_reserve), and blocks while the queue is full.
    ///
    /// # Errors
    /// [`SendError`].
    pub fn reserve(&mut self, most: usize) -> Result<Reservation<'_, T>, SendError<()>> {
        self.reserve_until(most, Deadline::NEVER).map_err(SendTimeoutError::without_timeout)
    }

    /// As [`try_reserve`](Self::try_reserve), and blocks for at most `timeout` while the queue is full.
    ///
    /// # Errors
    /// [`SendTimeoutError`].
    pub fn reserve_timeout(
        &mut self,
        most: usize,
        timeout: Duration,
    ) -> Result<Reservation<'_, T>, SendTimeoutError<()>> {
        self.reserve_until(most, Deadline::after(timeout))
    }

    /// As [`try_reserve`](Self::try_reserve), and blocks until `deadline` at the latest while the queue is full.
    ///
    /// # Errors
    /// [`SendTimeoutError`].
    pub fn reserve_deadline(
        &mut self,
        most: usize,
        deadline: Instant,
    ) -> Result<Reservation<'_, T>, SendTimeoutError<()>> {
        self.reserve_until(most, deadline.into())
    }

    fn reserve_until(&mut self, most: usize, deadline: Deadline) -> Result<Reservation<'_, T>, SendTimeoutError<()>> {
        let length = match self.places(most) {
            Ok(length) => length,
            Err(error) => self.wait_after(error, (), deadline, |sender| sender.places(most))?,
        };
        Ok(Reservation::new(self, length))
    }

    /// How many places a reservation of `most` gets.
    #[inline]
    pub(super) fn places(&self, most: usize) -> Result<usize, TrySendError<()>> {
        if most == 0 { Ok(0) } else { self.room_for(most).map(|room| most.min(room as usize)) }
    }

    /// The place of the `index`-th value that is not sent yet.
    #[inline]
    pub(super) fn place(&self, index: usize) -> &PlainCell<T> {
        self.queue.values.at(self.tail.wrapping_add(index as u64))
    }

    /// Tries again until `attempt` gets what it wants, if waiting may help after `error`. `unsent` is what comes back if the time is up.
    #[cold]
    fn wait_after<R, V>(
        &mut self,
        error: TrySendError<V>,
        unsent: V,
        deadline: Deadline,
        mut attempt: impl FnMut(&mut Self) -> Result<R, TrySendError<V>>,
    ) -> Result<R, SendTimeoutError<V>> {
        if let Some(error) = error.settled() {
            return Err(error);
        }
        let segment = Arc::clone(self.role.segment());
        let queue = self.queue.clone();
        let attempt = || match attempt(self) {
            Ok(result) => Some(Ok(result)),
            Err(error) => error.settled().map(Err),
        };
        // Nobody else waits for room, so there is no baton to pass.
        let outcome = queue.ends.space.wait_until(deadline, attempt, || false, || segment.look_after_peers());
        outcome.unwrap_or(Err(SendTimeoutError::Timeout(unsent)))
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

impl<T: Plain> Serialize for Sender<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let done = self.role.serialize(serializer)?;
        // From now on it belongs to the receiver of the bytes; this one must not touch the ring again.
        self.role.give_away();
        self.limit.set(self.tail);
        Ok(done)
    }
}

impl<'de, T: Plain> Deserialize<'de> for Sender<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Role::deserialize(deserializer).map(Self::of)
    }
}
