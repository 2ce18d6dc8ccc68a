//! A message to read in place.
//!
//! The buffer's word says that it belongs to this process (TAKEN), and the guard is the only thing in this process that knows it. Nobody writes the bytes until the guard is
//! gone: see `loan.rs`.

#![allow(unsafe_code)]

use super::ring::{Buffers, Claim};
use super::{DecodeError, Receiver};
use serde::Deserialize;
use shmkit_segment::Object;
use std::ops::Deref;

/// A received message, read in place for as long as one likes, while others go on.
///
/// [`ack`](Self::ack) says that it was dealt with. A lease that is dropped without it, or whose process dies, is delivered again.
#[must_use = "a lease that is dropped is delivered again: acknowledge it"]
pub struct Lease<'a, O: Object = Buffers> {
    receiver: &'a Receiver<O>,
    /// Gone when it was acknowledged.
    claim: Option<Claim>,
    place: (usize, usize),
    length: usize,
    before: u32,
    holder: u32,
}

impl<'a, O: Object> Lease<'a, O> {
    #[inline(always)]
    pub(super) fn new(receiver: &'a Receiver<O>, claim: Claim, place: (usize, usize), length: usize) -> Self {
        let (before, holder) = receiver.queue.count_delivery(claim, receiver.pid);
        Self { receiver, place, claim: Some(claim), length, before, holder }
    }

    /// How often this message has been delivered, this time included. A message that kills whoever works on it can be told by that.
    #[must_use]
    pub fn deliveries(&self) -> u32 {
        self.before.saturating_add(1)
    }

    /// The process that had the message last before this one, if any: it gave it back, or died over it.
    #[must_use]
    pub fn previous_holder(&self) -> Option<u32> {
        (self.before > 0).then_some(self.holder)
    }

    /// The value that [`send_value`](super::Sender::send_value) encoded, which may borrow from the lease: strings and byte slices are not copied.
    ///
    /// # Errors
    /// [`DecodeError`] if the message is not one `T`, whole and alone.
    pub fn value<'de, T: Deserialize<'de>>(&'de self) -> Result<T, DecodeError> {
        match postcard::take_from_bytes(self) {
            Ok((value, [])) => Ok(value),
            Ok((_, rest)) => Err(DecodeError::left_over(rest.len())),
            Err(error) => Err(DecodeError::of(error)),
        }
    }

    /// The message is dealt with; its buffer is free for another.
    ///
    /// Costs a store, and a system call if a sender must be woken.
    #[inline(always)]
    pub fn ack(mut self) {
        if let Some(claim) = self.claim.take() {
            self.receiver.queue.free(claim);
            self.receiver.wake_if_last();
        }
    }

    /// The message is to be delivered again, behind those that wait: as if the lease were dropped.
    ///
    /// Costs as much as sending it.
    pub fn nack(self) {}
}

impl<O: Object> Deref for Lease<'_, O> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        let (class, index) = self.place;
        // SAFETY: the buffer is TAKEN by this process until `claim` is given back, and nobody writes a taken buffer.
        unsafe { self.receiver.queue.blocks(class).bytes(index, self.length) }
    }
}

impl<O: Object> Drop for Lease<'_, O> {
    #[inline]
    fn drop(&mut self) {
        if let Some(claim) = self.claim.take() {
            self.receiver.queue.give_back(claim, self.receiver.me);
        }
    }
}
