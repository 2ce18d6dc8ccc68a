//! Messages that count until they have been dealt with.

use super::TASKS;
use super::ring::Mpmc;
use shmkit_segment::{Plain, Segment};
use std::ops::Deref;
use std::sync::Arc;

/// A message that was received, and what it asks for is not done yet: [`Sender::join`](super::Sender::join) waits until it is dropped.
///
/// It is not in the queue any more: if its process dies, it is not delivered again, and does not hold up `join`. For messages that have to be dealt with even so, see
/// [`buffer`](crate::buffer), whose leases come again.
pub struct Task<T: Plain> {
    value: T,
    segment: Arc<Segment<Mpmc<T>>>,
}

impl<T: Plain> Task<T> {
    /// Of a message that has been counted as in hand.
    pub(super) fn new(value: T, segment: Arc<Segment<Mpmc<T>>>) -> Self {
        Self { value, segment }
    }

    /// Says that it is done, as dropping it does. Costs a read-modify-write; if somebody joins, a look at each slot and a system call.
    pub fn done(self) -> T {
        self.value
    }
}

impl<T: Plain> Deref for Task<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Plain> Drop for Task<T> {
    fn drop(&mut self) {
        self.segment.put_down(TASKS);
        let queue = self.segment.object();
        if queue.ends.drained.is_awaited() && queue.is_drained() {
            queue.ends.drained.notify_all();
        }
    }
}
