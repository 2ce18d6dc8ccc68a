//! The receiving side.

use super::Lease;
use super::ring::{Buffers, Claim, KEEP_OPEN, Nothing};
use crate::error::{RecvError, RecvTimeoutError, TryRecvError};
use crate::hint::Hint;
use shmkit_segment::primitive::{Ordering, fence};
use shmkit_segment::{Object, PeerId, Role, Sides};
use shmkit_sync::Deadline;
use std::time::{Duration, Instant};

/// The receiving side. Clone it for each thread; pass it, or clones of it, to other processes.
pub struct Receiver<O: Object = Buffers> {
    pub(super) role: Role<O>,
    sides: Sides,
    pub(super) queue: Buffers,
    /// The number of the other side's role.
    pub(super) senders: usize,
    pub(super) me: PeerId,
    /// This process, for those who get a message after it.
    pub(super) pid: u32,
    /// Where it last took something.
    cursor: Hint,
}

impl<O: Object> Receiver<O> {
    /// The receiving side of `queue`, which is a part of the object that `role` belongs to; `senders` is the number of the other side's role.
    pub fn of(role: Role<O>, queue: &Buffers, senders: usize) -> Self {
        let (sides, me) = (role.segment().sides(), role.segment().me());
        Self { role, sides, queue: queue.clone(), senders, me, pid: std::process::id(), cursor: Hint::default() }
    }

    /// Takes the next message if there is one. Never blocks.
    ///
    /// # Errors
    /// [`TryRecvError::Empty`]; [`Disconnected`](TryRecvError::Disconnected) once every sender is gone and everything was acknowledged;
    /// [`Moved`](TryRecvError::Moved); [`Corrupt`](TryRecvError::Corrupt).
    #[inline(always)]
    pub fn try_recv(&self) -> Result<Lease<'_, O>, TryRecvError> {
        match self.queue.take(self.me, &self.cursor) {
            Ok(claim) => self.lease(claim),
            Err(nothing) => self.try_recv_last(nothing),
        }
    }

    /// Nothing was taken: is that all there will ever be? The order matters, see the same place in [`mpmc`](crate::mpmc).
    #[cold]
    fn try_recv_last(&self, mut nothing: Nothing) -> Result<Lease<'_, O>, TryRecvError> {
        if self.role.is_moved() {
            return Err(TryRecvError::Moved);
        }
        let gone = self.sides.is_closed(self.senders) && self.queue.flags & KEEP_OPEN == 0;
        if gone {
            fence(Ordering::SeqCst);
            match self.queue.take(self.me, &self.cursor) {
                Ok(claim) => return self.lease(claim),
                Err(again) => nothing = again,
            }
        }
        match nothing {
            Nothing::Now if gone && self.queue.is_drained() => Err(TryRecvError::Disconnected),
            Nothing::Now => Err(TryRecvError::Empty),
            Nothing::Corrupt => Err(TryRecvError::Corrupt),
        }
    }

    #[inline(always)]
    fn lease(&self, claim: Claim) -> Result<Lease<'_, O>, TryRecvError> {
        let place = self.queue.place(claim);
        let length = self.queue.length(claim, place).ok_or(TryRecvError::Corrupt)?;
        Ok(Lease::new(self, claim, place, length))
    }

    /// After an acknowledgement: others may sleep until the last message is acknowledged, to learn that it was the last. In the notification of
    /// space, `written` stands between the acknowledgement and this load; its partner is the fence in `try_recv_last`.
    #[inline]
    pub(super) fn wake_if_last(&self) {
        if self.sides.is_closed(self.senders) {
            self.queue.ends.data.notify_all();
        }
    }

    /// Takes the next message, and blocks while there is none.
    ///
    /// # Errors
    /// [`RecvError::Disconnected`] once every sender has left or died and everything was acknowledged; [`RecvError::Moved`]; [`RecvError::Corrupt`].
    #[inline(always)]
    pub fn recv(&self) -> Result<Lease<'_, O>, RecvError> {
        self.recv_until(Deadline::NEVER).map_err(RecvTimeoutError::without_timeout)
    }

    /// Takes the next message, and blocks for at most `timeout` while there is none.
    ///
    /// # Errors
    /// [`RecvTimeoutError`].
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Lease<'_, O>, RecvTimeoutError> {
        self.recv_until(Deadline::after(timeout))
    }

    /// Takes the next message, and blocks until `deadline` at the latest while there is none.
    ///
    /// # Errors
    /// [`RecvTimeoutError`].
    pub fn recv_deadline(&self, deadline: Instant) -> Result<Lease<'_, O>, RecvTimeoutError> {
        self.recv_until(deadline.into())
    }

    #[inline(always)]
    fn recv_until(&self, deadline: Deadline) -> Result<Lease<'_, O>, RecvTimeoutError> {
        match self.try_recv() {
            Ok(lease) => Ok(lease),
            Err(error) => error.settled().map_or_else(|| self.wait(deadline), Err),
        }
    }

    #[cold]
    fn wait(&self, deadline: Deadline) -> Result<Lease<'_, O>, RecvTimeoutError> {
        let attempt = || match self.try_recv() {
            Ok(lease) => Some(Ok(lease)),
            Err(error) => error.settled().map(Err),
        };
        let idle = || self.role.segment().look_after_peers();
        let outcome = self.queue.ends.data.wait_until(deadline, attempt, || self.concerns_the_next(), idle);
        outcome.unwrap_or(Err(RecvTimeoutError::Timeout))
    }

    /// Whether a receiver that waits should be woken by one that has done so.
    fn concerns_the_next(&self) -> bool {
        self.queue.has_message() || self.sides.is_closed(self.senders)
    }

    /// Messages as they come, until every sender is gone and everything was acknowledged: so let each lease go before the next is asked for. Blocks in between.
    pub fn iter(&self) -> impl Iterator<Item = Lease<'_, O>> {
        std::iter::from_fn(|| self.recv().ok())
    }

    /// The messages that are there now. Never blocks.
    pub fn try_iter(&self) -> impl Iterator<Item = Lease<'_, O>> {
        std::iter::from_fn(|| self.try_recv().ok())
    }
}
