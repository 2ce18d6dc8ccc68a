//! The receiving side.

use super::ring::{Idle, KEEP_OPEN, Mpmc, Run};
use super::task::Task;
use super::{Statistics, TASKS};
use crate::error::{RecvError, RecvTimeoutError, TryRecvError};
use crate::hint::Hint;
use crate::word::Suspicion;
use crate::{RECEIVERS, SENDERS};
use shmkit_segment::primitive::{Ordering, fence};
use shmkit_segment::{PeerId, Plain, Role, Segment, Sides};
use shmkit_sync::Deadline;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The receiving side. Clone it for each thread; pass it, or clones of it, to other processes.
pub struct Receiver<T: Plain> {
    pub(super) role: Role<Mpmc<T>>,
    sides: Sides,
    queue: Mpmc<T>,
    me: PeerId,
    cursor: Hint,
    /// One more than the count of sweeps after which this receiver found no orphans.
    seen: Hint,
    suspicion: Suspicion,
}

impl<T: Plain> Receiver<T> {
    /// A receiver of the queue in `segment`, which may have been opened by name.
    #[must_use]
    pub fn of(segment: &Arc<Segment<Mpmc<T>>>) -> Self {
        Self::with(segment.role(RECEIVERS))
    }

    pub(super) fn with(role: Role<Mpmc<T>>) -> Self {
        let segment = role.segment();
        let (sides, queue, me) = (segment.sides(), segment.object().clone(), segment.me());
        Self { role, sides, queue, me, cursor: Hint::default(), seen: Hint::default(), suspicion: Suspicion::default() }
    }

    /// Receives a message if there is one. Never blocks.
    ///
    /// # Errors
    /// [`TryRecvError::Empty`]; [`Busy`](TryRecvError::Busy) if the next message is still being written;
    /// [`Disconnected`](TryRecvError::Disconnected) once every sender is gone and everything was received; [`Moved`](TryRecvError::Moved);
    /// [`Corrupt`](TryRecvError::Corrupt).
    #[inline]
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        let run = self.claim(1)?;
        let value = run.value().read();
        self.give_back(run);
        Ok(value)
    }

    /// Receives what there is, up to the length of `values`, into its first places, and says how many: none only into an empty slice. Never blocks.
    ///
    /// Costs one exchange for each 32 of them. If this process is killed meanwhile, those of the last exchange come again, together or in part.
    ///
    /// # Errors
    /// As [`try_recv`](Self::try_recv), if not even one was received.
    pub fn try_recv_slice(&self, values: &mut [T]) -> Result<usize, TryRecvError> {
        let mut received = 0;
        while received < values.len() {
            match self.claim((values.len() - received) as u64) {
                Ok(run) => {
                    let end = received + run.count as usize;
                    self.queue.read(run, &mut values[received..end]);
                    self.give_back(run);
                    received = end;
                }
                Err(error) if received == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(received)
    }

    /// Receives a message if there is one, as a task that is [joined](super::Sender::join) only when it is done. Never blocks.
    ///
    /// # Errors
    /// As [`try_recv`](Self::try_recv).
    pub fn try_recv_task(&self) -> Result<Task<T>, TryRecvError> {
        let run = self.claim(1)?;
        let value = run.value().read();
        // Before the slot is given back, so that the message is under way in one place or the other at every instant.
        self.role.segment().take_in_hand(TASKS);
        self.give_back(run);
        Ok(Task::new(value, self.role.segment().clone()))
    }

    #[inline(always)]
    fn claim(&self, most: u64) -> Result<Run<'_, T>, TryRecvError> {
        match self.queue.claim_messages(self.me, &self.cursor, &self.seen, most) {
            Ok(run) => Ok(run),
            Err(idle) => self.claim_last(idle, most),
        }
    }

    #[inline(always)]
    fn give_back(&self, run: Run<'_, T>) {
        self.queue.give_back(run);
        // Others may sleep until the last message is acknowledged, to learn that it was the last. In the notification of space,
        // `written` stands between the acknowledgement and this load; its partner is the fence in `claim_last`.
        if self.sides.is_closed(SENDERS) {
            self.queue.ends.data.notify_all();
        }
    }

    /// Nothing was found: is that all there will ever be?
    ///
    /// The order matters. First the senders are seen to be gone, *then* a look finds nothing, and *then* every slot is EMPTY: anything shorter
    /// loses a message that was sent between two looks, or that a receiver, which dies now, was just taking.
    #[cold]
    fn claim_last(&self, mut idle: Idle, most: u64) -> Result<Run<'_, T>, TryRecvError> {
        if self.role.is_moved() {
            return Err(TryRecvError::Moved);
        }
        let gone = self.sides.is_closed(SENDERS) && self.queue.flags & KEEP_OPEN == 0;
        if gone {
            fence(Ordering::SeqCst);
            match self.queue.claim_messages(self.me, &self.cursor, &self.seen, most) {
                Ok(run) => return Ok(run),
                Err(again) => idle = again,
            }
        }
        match idle {
            Idle::Empty if gone && self.queue.is_drained() => Err(TryRecvError::Disconnected),
            Idle::Empty => Err(TryRecvError::Empty),
            Idle::Writing(word) => {
                if let Some(owner) = self.suspicion.of(word) {
                    self.role.segment().reap(owner);
                }
                Err(TryRecvError::Busy)
            }
            Idle::Corrupt => Err(TryRecvError::Corrupt),
        }
    }

    /// Receives a message, and blocks while there is none.
    ///
    /// # Errors
    /// [`RecvError::Disconnected`] once every sender has left or died and everything was received; [`RecvError::Moved`]; [`RecvError::Corrupt`].
    #[inline]
    pub fn recv(&self) -> Result<T, RecvError> {
        self.until(Deadline::NEVER, || self.try_recv()).map_err(RecvTimeoutError::without_timeout)
    }

    /// Receives a message, and blocks for at most `timeout` while there is none.
    ///
    /// # Errors
    /// [`RecvTimeoutError`].
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.until(Deadline::after(timeout), || self.try_recv())
    }

    /// Receives a message, and blocks until `deadline` at the latest while there is none.
    ///
    /// # Errors
    /// [`RecvTimeoutError`].
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.until(deadline.into(), || self.try_recv())
    }

    /// Receives what there is, as [`try_recv_slice`](Self::try_recv_slice), and blocks while there is nothing.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn recv_slice(&self, values: &mut [T]) -> Result<usize, RecvError> {
        self.until(Deadline::NEVER, || self.try_recv_slice(values)).map_err(RecvTimeoutError::without_timeout)
    }

    /// Receives what there is, as [`try_recv_slice`](Self::try_recv_slice), and blocks for at most `timeout` while there is nothing.
    ///
    /// # Errors
    /// [`RecvTimeoutError`].
    pub fn recv_slice_timeout(&self, values: &mut [T], timeout: Duration) -> Result<usize, RecvTimeoutError> {
        self.until(Deadline::after(timeout), || self.try_recv_slice(values))
    }

    /// Receives what there is, as [`try_recv_slice`](Self::try_recv_slice), and blocks until `deadline` at the latest while there is nothing.
    ///
    /// # Errors
    /// [`RecvTimeoutError`].
    pub fn recv_slice_deadline(&self, values: &mut [T], deadline: Instant) -> Result<usize, RecvTimeoutError> {
        self.until(deadline.into(), || self.try_recv_slice(values))
    }

    /// Receives a message as a [task](Self::try_recv_task), and blocks while there is none.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn recv_task(&self) -> Result<Task<T>, RecvError> {
        self.until(Deadline::NEVER, || self.try_recv_task()).map_err(RecvTimeoutError::without_timeout)
    }

    /// Receives a message as a [task](Self::try_recv_task), and blocks for at most `timeout` while there is none.
    ///
    /// # Errors
    /// [`RecvTimeoutError`].
    pub fn recv_task_timeout(&self, timeout: Duration) -> Result<Task<T>, RecvTimeoutError> {
        self.until(Deadline::after(timeout), || self.try_recv_task())
    }

    /// Receives a message as a [task](Self::try_recv_task), and blocks until `deadline` at the latest while there is none.
    ///
    /// # Errors
    /// [`RecvTimeoutError`].
    pub fn recv_task_deadline(&self, deadline: Instant) -> Result<Task<T>, RecvTimeoutError> {
        self.until(deadline.into(), || self.try_recv_task())
    }

    #[inline]
    fn until<R>(
        &self,
        deadline: Deadline,
        mut receive: impl FnMut() -> Result<R, TryRecvError>,
    ) -> Result<R, RecvTimeoutError> {
        match receive() {
            Ok(received) => Ok(received),
            Err(error) => error.settled().map_or_else(|| self.wait(deadline, receive), Err),
        }
    }

    #[cold]
    fn wait<R>(
        &self,
        deadline: Deadline,
        mut receive: impl FnMut() -> Result<R, TryRecvError>,
    ) -> Result<R, RecvTimeoutError> {
        let attempt = || match receive() {
            Ok(received) => Some(Ok(received)),
            Err(error) => error.settled().map(Err),
        };
        let more = || self.queue.has_message(&self.cursor) || self.sides.is_closed(SENDERS);
        let idle = || self.role.segment().look_after_peers();
        let outcome = self.queue.ends.data.wait_until(deadline, attempt, more, idle);
        outcome.unwrap_or(Err(RecvTimeoutError::Timeout))
    }

    /// Messages as they come, until every sender is gone and everything was received. Blocks in between.
    pub fn iter(&self) -> impl Iterator<Item = T> {
        std::iter::from_fn(|| self.recv().ok())
    }

    /// The messages that are there now. Never blocks.
    pub fn try_iter(&self) -> impl Iterator<Item = T> {
        std::iter::from_fn(|| self.try_recv().ok())
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

    /// Whether no message seems to be waiting: a hint, and no reason to stop receiving. Iterate instead.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.queue.has_message(&self.cursor)
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
