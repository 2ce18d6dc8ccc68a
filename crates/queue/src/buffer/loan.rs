//! A buffer to write into.
//!
//! Its word says that it belongs to this process (OWNED), and the guard is the only thing in this process that knows it. Nobody else touches the bytes until the guard is
//! gone: that is the protocol among processes that run this code, which are the only ones that such a queue's segment can be shared with.

#![allow(unsafe_code)]

use super::ring::{Buffers, Claim};
use super::{SendError, Sender};
use postcard::ser_flavors;
use serde::Serialize;
use shmkit_segment::Object;
use std::ops::{Deref, DerefMut};

/// A buffer to write a message into, in place. It holds whatever was in it before. Dropping it sends nothing.
pub struct Loan<'a, O: Object = Buffers> {
    sender: &'a Sender<O>,
    /// Gone when it was sent.
    claim: Option<Claim>,
    place: (usize, usize),
    length: usize,
}

impl<'a, O: Object> Loan<'a, O> {
    #[inline(always)]
    pub(super) fn new(sender: &'a Sender<O>, claim: Claim, length: usize) -> Self {
        Self { sender, place: sender.queue.place(claim), claim: Some(claim), length }
    }

    /// Makes the message shorter. Nothing happens if it is not longer than `length` bytes.
    pub fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
    }

    /// Sends the message.
    ///
    /// Costs an exchange for the message's place in the queue, and a system call if somebody must be woken.
    ///
    /// # Errors
    /// [`SendError::Disconnected`] if nobody receives any more; [`SendError::Moved`] in a fork; [`SendError::Corrupt`].
    #[inline(always)]
    pub fn send(mut self) -> Result<(), SendError> {
        self.sender.check_receivers()?;
        let sender = self.sender;
        match self.claim.take() {
            Some(claim) => {
                sender.queue.send(claim, self.length, sender.me, &sender.cursor).map_err(|_| SendError::Corrupt)
            }
            None => Ok(()),
        }
    }

    /// Copies `bytes`, as many as there are in the message, and sends them.
    pub(super) fn fill(self, bytes: &[u8]) -> Result<(), SendError> {
        let (class, index) = self.place;
        // SAFETY: the buffer is OWNED by this process, and only `self` knows it.
        unsafe { self.sender.queue.blocks(class).write(index, 0, bytes) };
        self.send()
    }

    /// Encodes `value` and sends what came of it.
    pub(super) fn encode<T: Serialize + ?Sized>(mut self, value: &T) -> Result<(), SendError> {
        // A value that is longer the second time is no better than one that cannot be encoded.
        let length = postcard::to_slice(value, &mut self).map_err(|_| SendError::NotEncodable)?.len();
        self.truncate(length);
        self.send()
    }
}

/// How many bytes `value` takes.
pub(super) fn encoded_length<T: Serialize + ?Sized>(value: &T) -> Result<usize, SendError> {
    postcard::serialize_with_flavor(value, ser_flavors::Size::default()).map_err(|_| SendError::NotEncodable)
}

impl<O: Object> Deref for Loan<'_, O> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        let (class, index) = self.place;
        // SAFETY: the buffer is OWNED by this process, and `self` is borrowed, so nobody writes it.
        unsafe { self.sender.queue.blocks(class).bytes(index, self.length) }
    }
}

impl<O: Object> DerefMut for Loan<'_, O> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        let (class, index) = self.place;
        // SAFETY: the buffer is OWNED by this process, and `self` is borrowed exclusively.
        unsafe { self.sender.queue.blocks(class).bytes_mut(index, self.length) }
    }
}

impl<O: Object> Drop for Loan<'_, O> {
    #[inline]
    fn drop(&mut self) {
        if let Some(claim) = self.claim.take() {
            self.sender.queue.think_better(claim);
        }
    }
}
