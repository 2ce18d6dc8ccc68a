//! The sending side.

use super::loan::{self, Loan};
use super::ring::{Buffers, KEEP_OPEN};
use super::shelf::Shelves;
use super::{SendError, SendTimeoutError, TrySendError};
use crate::hint::Hint;
use serde::Serialize;
use shmkit_segment::{Object, PeerId, Role, Sides};
use shmkit_sync::Deadline;
use std::time::{Duration, Instant};

/// The sending side. Clone it for each thread; pass it, or clones of it, to other processes.
pub struct Sender<O: Object = Buffers> {
    pub(super) role: Role<O>,
    sides: Sides,
    pub(super) queue: Buffers,
    /// The number of the other side's role.
    pub(super) receivers: usize,
    pub(super) me: PeerId,
    shelves: Shelves,
    /// Where it last sent something.
    pub(super) cursor: Hint,
}

impl<O: Object> Sender<O> {
    /// The sending side of `queue`, which is a part of the object that `role` belongs to; `receivers` is the number of the other side's role.
    pub fn of(role: Role<O>, queue: &Buffers, receivers: usize) -> Self {
        let (sides, me) = (role.segment().sides(), role.segment().me());
        Self { role, sides, queue: queue.clone(), receivers, me, shelves: Shelves::default(), cursor: Hint::default() }
    }

    /// A buffer to write a message of `length` bytes into, if one is free. It holds whatever was in it before. Never blocks.
    ///
    /// # Errors
    /// [`TrySendError::Full`], [`TooLarge`](TrySendError::TooLarge), [`Disconnected`](TrySendError::Disconnected), [`Moved`](TrySendError::Moved).
    #[inline(always)]
    pub fn try_loan(&self, length: usize) -> Result<Loan<'_, O>, TrySendError> {
        if length > self.largest_message() {
            return Err(TrySendError::TooLarge { length, limit: self.largest_message() });
        }
        self.check_receivers()?;
        let claim = self.queue.claim(self.me, &self.shelves, length).ok_or(TrySendError::Full)?;
        Ok(Loan::new(self, claim, length))
    }

    /// Whether there is, or may still come, somebody to receive.
    #[inline(always)]
    pub(super) fn check_receivers(&self) -> Result<(), SendError> {
        if self.sides.is_closed(self.receivers) { self.refuse() } else { Ok(()) }
    }

    #[cold]
    fn refuse(&self) -> Result<(), SendError> {
        if self.role.is_moved() {
            Err(SendError::Moved)
        } else if self.queue.flags & KEEP_OPEN != 0 {
            Ok(())
        } else {
            Err(SendError::Disconnected)
        }
    }

    /// A buffer to write a message of `length` bytes into. Blocks while none is free.
    ///
    /// # Errors
    /// [`SendError`].
    #[inline(always)]
    pub fn loan(&self, length: usize) -> Result<Loan<'_, O>, SendError> {
        self.loan_until(length, Deadline::NEVER).map_err(SendTimeoutError::without_timeout)
    }

    /// A buffer to write a message of `length` bytes into. Blocks for at most `timeout` while none is free.
    ///
    /// # Errors
    /// [`SendTimeoutError`].
    pub fn loan_timeout(&self, length: usize, timeout: Duration) -> Result<Loan<'_, O>, SendTimeoutError> {
        self.loan_until(length, Deadline::after(timeout))
    }

    /// A buffer to write a message of `length` bytes into. Blocks until `deadline` at the latest while none is free.
    ///
    /// # Errors
    /// [`SendTimeoutError`].
    pub fn loan_deadline(&self, length: usize, deadline: Instant) -> Result<Loan<'_, O>, SendTimeoutError> {
        self.loan_until(length, deadline.into())
    }

    #[inline(always)]
    fn loan_until(&self, length: usize, deadline: Deadline) -> Result<Loan<'_, O>, SendTimeoutError> {
        match self.try_loan(length) {
            Ok(loan) => Ok(loan),
            Err(error) => error.settled().map_or_else(|| self.wait(length, deadline), Err),
        }
    }

    #[cold]
    fn wait(&self, length: usize, deadline: Deadline) -> Result<Loan<'_, O>, SendTimeoutError> {
        let attempt = || match self.try_loan(length) {
            Ok(loan) => Some(Ok(loan)),
            Err(error) => error.settled().map(Err),
        };
        let idle = || self.role.segment().look_after_peers();
        let outcome = self.queue.ends.space.wait_until(deadline, attempt, || self.concerns_the_next(), idle);
        outcome.unwrap_or(Err(SendTimeoutError::Timeout))
    }

    /// Whether a sender that waits should be woken by one that has done so. No, where all are woken anyway: to wake one takes W away from under those who are about to sleep.
    fn concerns_the_next(&self) -> bool {
        !self.queue.has_several_sizes() && (self.queue.has_room() || self.sides.is_closed(self.receivers))
    }

    /// Copies `bytes` into a buffer, if one is free, and sends it. Never blocks.
    ///
    /// # Errors
    /// [`TrySendError`].
    pub fn try_send(&self, bytes: &[u8]) -> Result<(), TrySendError> {
        Ok(self.try_loan(bytes.len())?.fill(bytes)?)
    }

    /// Copies `bytes` into a buffer and sends it. Blocks while no buffer is free.
    ///
    /// # Errors
    /// [`SendError`].
    pub fn send(&self, bytes: &[u8]) -> Result<(), SendError> {
        self.loan(bytes.len())?.fill(bytes)
    }

    /// Copies `bytes` into a buffer and sends it. Blocks for at most `timeout` while no buffer is free.
    ///
    /// # Errors
    /// [`SendTimeoutError`].
    pub fn send_timeout(&self, bytes: &[u8], timeout: Duration) -> Result<(), SendTimeoutError> {
        Ok(self.loan_timeout(bytes.len(), timeout)?.fill(bytes)?)
    }

    /// Copies `bytes` into a buffer and sends it. Blocks until `deadline` at the latest while no buffer is free.
    ///
    /// # Errors
    /// [`SendTimeoutError`].
    pub fn send_deadline(&self, bytes: &[u8], deadline: Instant) -> Result<(), SendTimeoutError> {
        Ok(self.loan_deadline(bytes.len(), deadline)?.fill(bytes)?)
    }

    /// Encodes `value` into a buffer, if one is free, and sends it, to be read by [`Lease::value`](super::Lease::value). Never blocks.
    ///
    /// In the format of the crate `postcard`. Costs two passes over the value: one for its length, one that writes it in place.
    ///
    /// # Errors
    /// [`TrySendError`]: [`TooLarge`](TrySendError::TooLarge) says how long it would be, [`NotEncodable`](TrySendError::NotEncodable) that it cannot be at all.
    pub fn try_send_value<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), TrySendError> {
        Ok(self.try_loan(loan::encoded_length(value)?)?.encode(value)?)
    }

    /// As [`try_send_value`](Self::try_send_value), and blocks while no buffer is free.
    ///
    /// # Errors
    /// [`SendError`].
    pub fn send_value<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), SendError> {
        self.loan(loan::encoded_length(value)?)?.encode(value)
    }

    /// As [`try_send_value`](Self::try_send_value), and blocks for at most `timeout` while no buffer is free.
    ///
    /// # Errors
    /// [`SendTimeoutError`].
    pub fn send_value_timeout<T>(&self, value: &T, timeout: Duration) -> Result<(), SendTimeoutError>
    where
        T: Serialize + ?Sized,
    {
        Ok(self.loan_timeout(loan::encoded_length(value)?, timeout)?.encode(value)?)
    }

    /// As [`try_send_value`](Self::try_send_value), and blocks until `deadline` at the latest while no buffer is free.
    ///
    /// # Errors
    /// [`SendTimeoutError`].
    pub fn send_value_deadline<T>(&self, value: &T, deadline: Instant) -> Result<(), SendTimeoutError>
    where
        T: Serialize + ?Sized,
    {
        Ok(self.loan_deadline(loan::encoded_length(value)?, deadline)?.encode(value)?)
    }

    /// Bytes that a message has at most: the size of the largest buffers.
    #[inline]
    #[must_use]
    pub fn largest_message(&self) -> usize {
        self.queue.largest
    }

    /// Whether no buffer, of any size, seems to be free: a hint, outdated when it is returned.
    #[must_use]
    pub fn is_full(&self) -> bool {
        !self.queue.has_room()
    }
}
