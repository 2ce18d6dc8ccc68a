//! What can be waited for, apart from the handles.

use super::ring::{Buffers, KEEP_OPEN};
use super::{Receiver, Sender};
use crate::is_over;
use shmkit_segment::{Object, Segment};
use shmkit_sync::{Condition, EventCount, Watch};
use std::sync::Arc;

impl<O: Object> Receiver<O> {
    /// Messages to receive, as something to wait for beside others: see [`Select`](shmkit_sync::Select).
    #[must_use]
    pub fn watch(&self) -> Watch {
        let side = TheOther { segment: Arc::clone(self.segment()), queue: self.queue.clone(), role: self.senders };
        Arc::new(Messages(side))
    }
}

impl<O: Object> Sender<O> {
    /// A free buffer of any size, as something to wait for beside others: see [`Select`](shmkit_sync::Select).
    #[must_use]
    pub fn watch(&self) -> Watch {
        let side = TheOther { segment: Arc::clone(self.segment()), queue: self.queue.clone(), role: self.receivers };
        Arc::new(Room(side))
    }
}

/// A queue, and the role of those whom one waits for.
struct TheOther<O: Object> {
    segment: Arc<Segment<O>>,
    queue: Buffers,
    role: usize,
}

impl<O: Object> TheOther<O> {
    fn is_over(&self) -> bool {
        is_over(&self.segment, self.role, self.queue.flags & KEEP_OPEN != 0)
    }
}

struct Messages<O: Object>(TheOther<O>);

impl<O: Object> Condition for Messages<O> {
    fn event(&self) -> &EventCount {
        &self.0.queue.ends.data
    }

    fn is_met(&self) -> bool {
        // Before the look: what was sent before the last sender left is seen then.
        let gone = self.0.is_over();
        self.0.queue.has_message() || gone && self.0.queue.is_drained()
    }

    fn look_after_peers(&self) {
        self.0.segment.look_after_peers();
    }
}

struct Room<O: Object>(TheOther<O>);

impl<O: Object> Condition for Room<O> {
    fn event(&self) -> &EventCount {
        &self.0.queue.ends.space
    }

    fn is_met(&self) -> bool {
        self.0.queue.has_room() || self.0.is_over()
    }

    /// Those who wait for a buffer may want different sizes.
    fn is_for_all(&self) -> bool {
        self.0.queue.has_several_sizes()
    }

    fn look_after_peers(&self) {
        self.0.segment.look_after_peers();
    }
}
