//! What can be waited for, apart from the ends.

use super::{Receiver, Sender, Spsc};
use crate::{RECEIVERS, SENDERS, is_over};
use shmkit_segment::primitive::Ordering;
use shmkit_segment::{Plain, Segment};
use shmkit_sync::{Condition, EventCount, Watch};
use std::sync::Arc;

impl<T: Plain> Receiver<T> {
    /// Messages to receive, as something to wait for beside others: see [`Select`](shmkit_sync::Select). What is leased counts until it is acknowledged.
    #[must_use]
    pub fn watch(&self) -> Watch {
        Arc::new(Messages(Arc::clone(self.segment())))
    }
}

impl<T: Plain> Sender<T> {
    /// Room for messages, as something to wait for beside others: see [`Select`](shmkit_sync::Select).
    #[must_use]
    pub fn watch(&self) -> Watch {
        Arc::new(Room(Arc::clone(self.segment())))
    }
}

struct Messages<T: Plain>(Arc<Segment<Spsc<T>>>);

impl<T: Plain> Condition for Messages<T> {
    fn event(&self) -> &EventCount {
        &self.0.object().ends.data
    }

    fn is_met(&self) -> bool {
        let queue = self.0.object();
        is_over(&self.0, SENDERS, queue.is_kept_open) || used(queue) != 0
    }

    fn look_after_peers(&self) {
        self.0.look_after_peers();
    }
}

struct Room<T: Plain>(Arc<Segment<Spsc<T>>>);

impl<T: Plain> Condition for Room<T> {
    fn event(&self) -> &EventCount {
        &self.0.object().ends.space
    }

    fn is_met(&self) -> bool {
        let queue = self.0.object();
        is_over(&self.0, RECEIVERS, queue.is_kept_open) || used(queue) != queue.values.capacity()
    }

    fn look_after_peers(&self) {
        self.0.look_after_peers();
    }
}

/// How many messages there are. Positions that make no sense give some number that is neither none nor all: whoever tries is told.
fn used<T: Plain>(queue: &Spsc<T>) -> u64 {
    let head = queue.ends.head.position.load(Ordering::Acquire);
    queue.ends.tail.load(Ordering::Acquire).wrapping_sub(head)
}
