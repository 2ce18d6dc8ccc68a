//! Places to fill before their messages are sent.

use super::Sender;
use shmkit_segment::Plain;

/// Free places of a queue that only its sender sees: fill them in any order, then [commit](Self::commit) how many are to be sent.
///
/// Dropped without that, or its process killed: nothing happened, and what was written is overwritten by what is sent next.
///
/// ```
/// let (mut sender, mut receiver) = shmkit_queue::spsc::channel::<u64>(8)?;
/// let mut places = sender.reserve(4)?;
/// for index in 0..places.len() {
///     places.set(index, index as u64 * 10);
/// }
/// places.commit(3); // the fourth was not worth it
/// assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [0, 10, 20]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing is sent until it is committed"]
pub struct Reservation<'a, T: Plain> {
    sender: &'a mut Sender<T>,
    length: usize,
}

impl<'a, T: Plain> Reservation<'a, T> {
    #[inline]
    pub(super) fn new(sender: &'a mut Sender<T>, length: usize) -> Self {
        Self { sender, length }
    }

    /// How many places there are.
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

    /// Fills a place. One that is not filled holds some earlier message, or zeros.
    ///
    /// # Panics
    /// If `index` is not less than [`len`](Self::len).
    #[inline]
    pub fn set(&mut self, index: usize, value: T) {
        assert!(index < self.length, "there is no place {index} in a reservation of {}", self.length);
        self.sender.place(index).write(value);
    }

    /// Sends the first `count` values. They appear to the receiver together. Whether it is still there shows at the next operation.
    ///
    /// Costs a store and a load, and a system call if the receiver sleeps.
    ///
    /// # Panics
    /// If `count` is more than [`len`](Self::len).
    #[inline]
    pub fn commit(self, count: usize) {
        assert!(count <= self.length, "there are not {count} places in a reservation of {}", self.length);
        if count > 0 {
            self.sender.publish(count as u64);
        }
    }
}
