//! What can be waited for, apart from the ends.

use super::{Connection, Duplex, rings};
use crate::trust::Trust;
use shmkit_segment::{Segment, Side};
use shmkit_sync::{Condition, EventCount, Watch};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

impl<T: Trust> Connection<T> {
    /// Messages to receive, or the end, as something to wait for beside others: see [`Select`](shmkit_sync::Select). Of a long message each part counts.
    #[must_use]
    pub fn watch(&self) -> Watch {
        Arc::new(Messages {
            segment: Arc::clone(self.segment()),
            end: self.role.number(),
            has_aside: Arc::clone(self.incoming.has_aside()),
        })
    }

    /// Room for messages, as something to wait for beside others: see [`Select`](shmkit_sync::Select). A long message may still have to wait.
    #[must_use]
    pub fn watch_room(&self) -> Watch {
        Arc::new(Room { segment: Arc::clone(self.segment()), end: self.role.number() })
    }
}

struct Messages<T: Trust> {
    segment: Arc<Segment<Duplex<T>>>,
    end: usize,
    has_aside: Arc<AtomicBool>,
}

impl<T: Trust> Condition for Messages<T> {
    fn event(&self) -> &EventCount {
        let [_, back] = rings(&self.segment, self.end);
        back.data()
    }

    fn is_met(&self) -> bool {
        let [_, back] = rings(&self.segment, self.end);
        // The ring first: what has just been taken out of it has been put aside before.
        is_over(&self.segment, self.end) || back.has_data() || self.has_aside.load(Ordering::Acquire)
    }

    fn look_after_peers(&self) {
        self.segment.look_after_peers();
    }
}

struct Room<T: Trust> {
    segment: Arc<Segment<Duplex<T>>>,
    end: usize,
}

impl<T: Trust> Condition for Room<T> {
    fn event(&self) -> &EventCount {
        let [out, _] = rings(&self.segment, self.end);
        out.space()
    }

    fn is_met(&self) -> bool {
        let [out, _] = rings(&self.segment, self.end);
        // As much as the longest message that is sent as a whole takes.
        is_over(&self.segment, self.end) || out.has_room(self.segment.configuration()[0] as usize / 2)
    }

    fn look_after_peers(&self) {
        self.segment.look_after_peers();
    }
}

fn is_over<T: Trust>(segment: &Segment<Duplex<T>>, end: usize) -> bool {
    segment.is_defunct() || segment.side(1 - end) == Side::Closed
}
