//! The sending side.

use super::ring::{Jam, KEEP_OPEN, Mpmc, Run};
use super::{Statistics, TASKS};
use crate::error::{JoinError, SendError, SendSliceError, SendTimeoutError, TrySendError};
use crate::hint::Hint;
use crate::word::Suspicion;
use crate::{RECEIVERS, SENDERS};
use shmkit_segment::{PeerId, Plain, Role, Segment, Sides};
use shmkit_sync::Deadline;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The sending side. Clone it for each thread; pass it, or clones of it, to other processes.
pub struct Sender<T: Plain> {
    pub(super) role: Role<Mpmc<T>>,
    sides: Sides,
    queue: Mpmc<T>,
    me: PeerId,
    cursor: Hint,
    suspicion: Suspicion,
}

impl<T: Plain> Sender<T> {
    /// A sender of the queue in `segment`, which may have been opened by name.
    #[must_use]
    pub fn of(segment: &Arc<Segment<Mpmc<T>>>) -> Self {
        Self::with(segment.role(SENDERS))
    }

    pub(super) fn with(role: Role<Mpmc<T>>) -> Self {
        let segment = role.segment();
        let (sides, queue, me) = (segment.sides(), segment.object().clone(), segment.me());
        Self { role, sides, queue, me, cursor: Hint::default(), suspicion: Suspicion::default() }
    }

    /// Sends `value` if there is room. Never blocks.
    ///
    /// # Errors
    /// [`TrySendError::Full`], [`Disconnected`](TrySendError::Disconnected), [`Moved`](TrySendError::Moved) or
    /// [`Corrupt`](TrySendError::Corrupt), with the value.
    #[inline]
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        let run = self.claim(1).map_err(|error| error.with(value))?;
        run.value().write(value);
        self.queue.publish(run);
        Ok(())
    }

    /// Sends as many of `values`, from the first on, as there is room for, and says how many: none only of an empty slice. Never blocks.
    ///
    /// Costs one exchange for each 32 of them. What was claimed with one exchange is received as if it were sent at one instant, and a kill in between leaves all of it or
    /// nothing.
    ///
    /// # Errors
    /// As [`try_send`](Self::try_send), if not even one was sent.
    pub fn try_send_slice(&self, values: &[T]) -> Result<usize, TrySendError<()>> {
        let mut sent = 0;
        while sent < values.len() {
            match self.claim((values.len() - sent) as u64) {
                Ok(run) => {
                    let end = sent + run.count as usize;
                    self.queue.write(run, &values[sent..end]);
                    self.queue.publish(run);
                    sent = end;
                }
                Err(error) if sent == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(sent)
    }

    #[inline(always)]
    fn claim(&self, most: u64) -> Result<Run<'_, T>, TrySendError<()>> {
        if self.sides.is_closed(RECEIVERS) {
            self.refuse()?;
        }
        self.queue.claim_room(self.me, &self.cursor, most).map_err(|jam| self.explain(jam))
    }

    #[cold]
    fn refuse(&self) -> Result<(), TrySendError<()>> {
        if self.role.is_moved() {
            Err(TrySendError::Moved(()))
        } else if self.queue.flags & KEEP_OPEN != 0 {
            Ok(())
        } else {
            Err(TrySendError::Disconnected(()))
        }
    }

    #[cold]
    fn explain(&self, jam: Jam) -> TrySendError<()> {
        match jam {
            Jam::Full(word) => {
                if let Some(owner) = self.suspicion.of(word) {
                    self.role.segment().reap(owner);
                }
                TrySendError::Full(())
            }
            Jam::Corrupt => TrySendError::Corrupt(()),
        }
    }

    /// Sends `value`, and blocks while the queue is full.
    ///
    /// # Errors
    /// [`SendError`] with the value.
    #[inline]
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.send_until(value, Deadline::NEVER).map_err(SendTimeoutError::without_timeout)
    }

    /// Sends `value`, and blocks for at most `timeout` while the queue is full.
    ///
    /// # Errors
    /// [`SendTimeoutError`] with the value.
    pub fn send_timeout(&self, value: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.send_until(value, Deadline::after(timeout))
    }

    /// Sends `value`, and blocks until `deadline` at the latest while the queue is full.
    ///
    /// # Errors
    /// [`SendTimeoutError`] with the value.
    pub fn send_deadline(&self, value: T, deadline: Instant) -> Result<(), SendTimeoutError<T>> {
        self.send_until(value, deadline.into())
    }

    #[inline]
    fn send_until(&self, value: T, deadline: Deadline) -> Result<(), SendTimeoutError<T>> {
        match self.try_send(value) {
            Ok(()) => Ok(()),
            Err(error) => error.settled().map_or_else(|| self.wait_to_send(value, deadline), Err),
        }
    }

    #[cold]
    fn wait_to_send(&self, value: T, deadline: Deadline) -> Result<(), SendTimeoutError<T>> {
        let outcome = self.wait(deadline, || match self.try_send(value) {
            Ok(()) => Some(Ok(())),
            Err(error) => error.settled().map(Err),
        });
        outcome.unwrap_or(Err(SendTimeoutError::Timeout(value)))
    }

    /// Sends all of `values` in order, and blocks while the queue is full.
    ///
    /// # Errors
    /// [`SendError`], and how many were sent before.
    pub fn send_slice(&self, values: &[T]) -> Result<(), SendSliceError<SendError<()>>> {
        self.send_slice_until(values, Deadline::NEVER)
            .map_err(|SendSliceError { sent, error }| SendSliceError { sent, error: error.without_timeout() })
    }

    /// Sends all of `values` in order, and blocks for at most `timeout` while the queue is full.
    ///
    /// # Errors
    /// [`SendTimeoutError`], and how many were sent before.
    pub fn send_slice_timeout(
        &self,
        values: &[T],
        timeout: Duration,
    ) -> Result<(), SendSliceError<SendTimeoutError<()>>> {
        self.send_slice_until(values, Deadline::after(timeout))
    }

    /// Sends all of `values` in order, and blocks until `deadline` at the latest while the queue is full.
    ///
    /// # Errors
    /// [`SendTimeoutError`], and how many were sent before.
    pub fn send_slice_deadline(
        &self,
        values: &[T],
        deadline: Instant,
    ) -> Result<(), SendSliceError<SendTimeoutError<()>>> {
        self.send_slice_until(values, deadline.into())
    }

    fn send_slice_until(&self, values: &[T], deadline: Deadline) -> Result<(), SendSliceError<SendTimeoutError<()>>> {
        let mut sent = 0;
        while sent < values.len() {
            let attempt = || match self.try_send_slice(&values[sent..]) {
                Ok(count) => Some(Ok(count)),
                Err(error) => error.settled().map(Err),
            };
            let outcome = attempt().or_else(|| self.wait(deadline, attempt));
            match outcome.unwrap_or(Err(SendTimeoutError::Timeout(()))) {
                Ok(count) => sent += count,
                Err(error) => return Err(SendSliceError { sent, error }),
            }
        }
        Ok(())
    }

    /// Waits for room until `attempt` comes to something.
    fn wait<R>(&self, deadline: Deadline, attempt: impl FnMut() -> Option<R>) -> Option<R> {
        let more = || self.queue.has_room(&self.cursor) || self.sides.is_closed(RECEIVERS);
        let idle = || self.role.segment().look_after_peers();
        self.queue.ends.space.wait_until(deadline, attempt, more, idle)
    }

    /// Waits until everything that was sent, by anybody, has been received, and every [`Task`](super::Task) is done: there is an instant during the call at which nothing is
    /// under way. What a dead receiver had not acknowledged counts until it is delivered again and acknowledged; a dead peer's tasks do not count.
    ///
    /// As `join` of Python's `JoinableQueue`, but for the counting: nobody can acknowledge too much. Costs a look at every slot now and then.
    ///
    /// # Errors
    /// [`JoinError::Disconnected`] if something is left and there is nobody to receive it; [`JoinError::Moved`].
    pub fn join(&self) -> Result<(), JoinError> {
        self.join_until(Deadline::NEVER)
    }

    /// As [`join`](Self::join), for at most `timeout`.
    ///
    /// # Errors
    /// As [`join`](Self::join); [`JoinError::Timeout`].
    pub fn join_timeout(&self, timeout: Duration) -> Result<(), JoinError> {
        self.join_until(Deadline::after(timeout))
    }

    /// As [`join`](Self::join), until `deadline` at the latest.
    ///
    /// # Errors
    /// As [`join`](Self::join); [`JoinError::Timeout`].
    pub fn join_deadline(&self, deadline: Instant) -> Result<(), JoinError> {
        self.join_until(deadline.into())
    }

    fn join_until(&self, deadline: Deadline) -> Result<(), JoinError> {
        let idle = || self.role.segment().look_after_peers();
        // Everybody is woken, so there is no baton to pass.
        let outcome = self.queue.ends.drained.wait_until(deadline, || self.try_join(), || false, idle);
        outcome.unwrap_or(Err(JoinError::Timeout))
    }

    /// `None` if something is under way.
    pub(super) fn try_join(&self) -> Option<Result<(), JoinError>> {
        if self.role.is_moved() {
            return Some(Err(JoinError::Moved));
        }
        // Nobody will receive what is left: seen *before* the look at what is left.
        let gone = self.sides.is_closed(RECEIVERS) && self.queue.flags & KEEP_OPEN == 0;
        // What is received is counted as in hand before its slot is EMPTY, so that it is seen in one place or the other; what is sent by who has
        // something in hand moves the tail before that is put down.
        let (tail, _) = self.queue.first_unclaimed(0);
        let is_done = self.queue.is_drained() && self.role.segment().is_nothing_in_hand(TASKS);
        match is_done && self.queue.first_unclaimed(0).0 == tail {
            true => Some(Ok(())),
            false if gone && !self.queue.is_drained() => Some(Err(JoinError::Disconnected)),
            false => None,
        }
    }

    /// How many messages the queue holds at most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.queue.capacity() as usize
    }

    /// How many messages are waiting or being written: a hint, outdated when it is returned.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len() as usize
    }

    /// Whether no message seems to be waiting: a hint like [`len`](Self::len).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.queue.has_message(&Hint::default())
    }

    /// Whether there seems to be no room: a hint, outdated when it is returned.
    #[must_use]
    pub fn is_full(&self) -> bool {
        !self.queue.has_room(&self.cursor)
    }

    /// What has passed and what is under way.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        Statistics::of(self.segment())
    }

    /// The segment that the queue lives in.
    #[must_use]
    pub fn segment(&self) -> &Arc<Segment<Mpmc<T>>> {
        self.role.segment()
    }
}
