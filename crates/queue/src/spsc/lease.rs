//! Messages to deal with before they are received.

use super::Receiver;
use shmkit_segment::{Plain, PlainCell};

/// The next messages of a queue, which stay there until they are [acknowledged](Self::ack).
///
/// Dropped without that, or its process killed: nothing happened, and they come again, to whoever has the end then.
///
/// ```
/// let (mut sender, mut receiver) = shmkit_queue::spsc::channel::<u64>(8)?;
/// sender.send_slice(&[1, 2, 3])?;
/// let lease = receiver.lease(8)?;
/// assert_eq!(lease.iter().sum::<u64>(), 6);
/// lease.ack(2); // those are dealt with
/// assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [3]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "messages that are not acknowledged come again"]
pub struct Lease<'a, T: Plain> {
    receiver: &'a mut Receiver<T>,
    length: usize,
}

impl<'a, T: Plain> Lease<'a, T> {
    #[inline]
    pub(super) fn new(receiver: &'a mut Receiver<T>, length: usize) -> Self {
        Self { receiver, length }
    }

    /// How many messages there are.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none, as when none were asked for.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// A copy of a message.
    ///
    /// # Panics
    /// If `index` is not less than [`len`](Self::len).
    #[inline]
    #[must_use]
    pub fn get(&self, index: usize) -> T {
        assert!(index < self.length, "there is no message {index} in a lease of {}", self.length);
        self.receiver.place(index).read()
    }

    /// Copies of all of them, in their order.
    #[inline]
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = T> + '_ {
        let (first, second) = self.receiver.places(self.length);
        first.iter().chain(second).map(PlainCell::read)
    }

    /// Receives the first `count` messages: they are dealt with, and their places free for others.
    ///
    /// Costs a store and a load, and a system call if the sender sleeps.
    ///
    /// # Panics
    /// If `count` is more than [`len`](Self::len).
    #[inline]
    pub fn ack(self, count: usize) {
        assert!(count <= self.length, "there are not {count} messages in a lease of {}", self.length);
        if count > 0 {
            self.receiver.release(count as u64);
            self.receiver.prefetch(count as u64);
        }
    }
}
