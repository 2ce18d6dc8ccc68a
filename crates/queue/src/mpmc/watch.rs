//! What can be waited for, apart from the handles.

use super::ring::{KEEP_OPEN, Mpmc};
use super::{Receiver, Sender};
use crate::hint::Hint;
use crate::{RECEIVERS, SENDERS, is_over};
use shmkit_segment::{Plain, Segment};
use shmkit_sync::{Condition, EventCount, Watch};
use std::sync::Arc;

impl<T: Plain> Receiver<T> {
    /// Messages to receive, as something to wait for beside others: see [`Select`](shmkit_sync::Select).
    #[must_use]
    pub fn watch(&self) -> Watch {
        Arc::new(Messages { segment: Arc::clone(self.segment()), seen: Hint::default() })
    }
}

impl<T: Plain> Sender<T> {
    /// Room for messages, as something to wait for beside others: see [`Select`](shmkit_sync::Select).
    #[must_use]
    pub fn watch(&self) -> Watch {
        Arc::new(Room(Arc::clone(self.segment())))
    }
}

#[cfg(all(feature = "async", not(loom)))]
impl<T: Plain> Sender<T> {
    /// What [`join`](Self::join) waits for.
    pub(super) fn watch_drained(&self) -> Watch {
        Arc::new(Drained(Arc::clone(self.segment())))
    }
}

struct Messages<T: Plain> {
    segment: Arc<Segment<Mpmc<T>>>,
    /// As a receiver's.
    seen: Hint,
}

impl<T: Plain> Condition for Messages<T> {
    fn event(&self) -> &EventCount {
        &self.segment.object().ends.data
    }

    fn is_met(&self) -> bool {
        let queue = self.segment.object();
        // Before the look: what was sent before the last sender left is seen then.
        let gone = is_over(&self.segment, SENDERS, queue.flags & KEEP_OPEN != 0);
        queue.has_message(&Hint::default()) || queue.has_orphan(&self.seen) || gone && queue.is_drained()
    }

    fn look_after_peers(&self) {
        self.segment.look_after_peers();
    }
}

struct Room<T: Plain>(Arc<Segment<Mpmc<T>>>);

impl<T: Plain> Condition for Room<T> {
    fn event(&self) -> &EventCount {
        &self.0.object().ends.space
    }

    fn is_met(&self) -> bool {
        let queue = self.0.object();
        queue.has_room(&Hint::default()) || is_over(&self.0, RECEIVERS, queue.flags & KEEP_OPEN != 0)
    }

    fn look_after_peers(&self) {
        self.0.look_after_peers();
    }
}

#[cfg(all(feature = "async", not(loom)))]
struct Drained<T: Plain>(Arc<Segment<Mpmc<T>>>);

#[cfg(all(feature = "async", not(loom)))]
impl<T: Plain> Condition for Drained<T> {
    fn event(&self) -> &EventCount {
        &self.0.object().ends.drained
    }

    /// All are woken at once, so there is never anything to pass on.
    fn is_met(&self) -> bool {
        false
    }

    fn is_for_all(&self) -> bool {
        true
    }

    fn look_after_peers(&self) {
        self.0.look_after_peers();
    }
}
