//! A buffer in the hands of its owner: a loan to write, a lease to read.
//!
//! The buffer's word says that it belongs to this process (OWNED, TAKEN), and the guard is the only thing in this process that knows it. Nobody
//! else touches the bytes until the guard is gone: that is the protocol among processes that run this code, which are the only ones that an anonymous segment is
//! shared with.

#![allow(unsafe_code)]

use super::ring::{Buffers, Claim, Corrupt};
use super::{Receiver, SendError, Sender};
use shmkit_segment::{Object, Side};
use std::ops::{Deref, DerefMut};

/// A buffer to write a message into, in place. It holds whatever was in it before. Dropping it sends nothing.
pub struct Loan<'a, O: Object = Buffers> {
    sender: &'a Sender<O>,
    claim: Option<Claim>,
    buffer: usize,
}

impl<'a, O: Object> Loan<'a, O> {
    pub(super) fn new(sender: &'a Sender<O>, claim: Claim) -> Self {
        Self { sender, claim: Some(claim), buffer: claim.buffer }
    }

    /// Sends the first `length` bytes.
    ///
    /// Costs an exchange for the message's place in the queue, one to move the index, and a system call if somebody must be woken.
    ///
    /// # Errors
    /// [`SendError::TooLarge`] if there are not so many; [`SendError::Disconnected`] if nobody receives any more; [`SendError::Moved`] in a
    /// fork.
    pub fn send(mut self, length: usize) -> Result<(), SendError> {
        let limit = self.len();
        if length > limit {
            return Err(SendError::TooLarge { length, limit });
        }
        if self.sender.role.segment().side(self.sender.receivers) == Side::Closed {
            let is_moved = self.sender.role.is_moved();
            return Err(if is_moved { SendError::Moved } else { SendError::Disconnected });
        }
        if let Some(claim) = self.claim.take() {
            self.sender.queue.send(claim, length, self.sender.me).map_err(|_| SendError::Corrupt)?;
        }
        Ok(())
    }
}

impl<O: Object> Deref for Loan<'_, O> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let blocks = &self.sender.queue.blocks;
        // SAFETY: the buffer is OWNED by this process, and `self` is borrowed, so nobody writes it.
        unsafe { blocks.bytes(self.buffer, blocks.size()) }
    }
}

impl<O: Object> DerefMut for Loan<'_, O> {
    fn deref_mut(&mut self) -> &mut [u8] {
        let blocks = &self.sender.queue.blocks;
        // SAFETY: the buffer is OWNED by this process, and `self` is borrowed exclusively.
        unsafe { blocks.bytes_mut(self.buffer, blocks.size()) }
    }
}

impl<O: Object> Drop for Loan<'_, O> {
    fn drop(&mut self) {
        if let Some(claim) = self.claim.take() {
            self.sender.queue.free(claim);
        }
    }
}

impl<O: Object> Sender<O> {
    /// Copies `bytes` into a claimed buffer and sends it.
    pub(super) fn fill(&self, claim: Claim, bytes: &[u8]) -> Result<(), Corrupt> {
        // SAFETY: the buffer is OWNED by this process, and only this call knows it.
        unsafe { self.queue.blocks.write(claim.buffer, 0, bytes) };
        self.queue.send(claim, bytes.len(), self.me)
    }
}

/// A received message, read in place for as long as one likes, while others go on.
///
/// [`ack`](Self::ack) says that it was dealt with. A lease that is dropped without it, or whose process dies, is delivered again.
#[must_use = "a lease that is dropped is delivered again: acknowledge it"]
pub struct Lease<'a, O: Object = Buffers> {
    receiver: &'a Receiver<O>,
    claim: Option<Claim>,
    buffer: usize,
    length: usize,
    before: u32,
    holder: u32,
}

impl<'a, O: Object> Lease<'a, O> {
    pub(super) fn new(receiver: &'a Receiver<O>, claim: Claim, length: usize) -> Self {
        let (before, holder) = receiver.queue.count_delivery(claim, receiver.pid);
        Self { receiver, claim: Some(claim), buffer: claim.buffer, length, before, holder }
    }

    /// How often this message has been delivered, this time included.
    #[must_use]
    pub fn deliveries(&self) -> u32 {
        self.before.saturating_add(1)
    }

    /// The process that had the message last before this one, if any: it gave it back, or died over it.
    #[must_use]
    pub fn previous_holder(&self) -> Option<u32> {
        (self.before > 0).then_some(self.holder)
    }

    /// The message is dealt with; its buffer is free for another.
    ///
    /// Costs a store, and a system call if a sender must be woken.
    pub fn ack(mut self) {
        if let Some(claim) = self.claim.take() {
            self.receiver.queue.free(claim);
            self.receiver.wake_if_last();
        }
    }
}

impl<O: Object> Deref for Lease<'_, O> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the buffer is TAKEN by this process until `claim` is given back, and nobody writes a taken buffer.
        unsafe { self.receiver.queue.blocks.bytes(self.buffer, self.length) }
    }
}

impl<O: Object> Drop for Lease<'_, O> {
    fn drop(&mut self) {
        if let Some(claim) = self.claim.take() {
            self.receiver.queue.give_back(claim, self.receiver.me);
        }
    }
}
