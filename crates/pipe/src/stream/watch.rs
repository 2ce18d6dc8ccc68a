//! What can be waited for, apart from the ends.

use super::{Pipe, READER, Reader, WRITER, Writer};
use crate::trust::Trust;
use shmkit_segment::{Segment, Side};
use shmkit_sync::{Condition, EventCount, Watch};
use std::sync::Arc;

impl<T: Trust> Reader<T> {
    /// Bytes to read, or the end of the stream, as something to wait for beside others: see [`Select`](shmkit_sync::Select).
    #[must_use]
    pub fn watch(&self) -> Watch {
        Arc::new(Data(Arc::clone(self.segment())))
    }
}

impl<T: Trust> Writer<T> {
    /// Room for bytes, as something to wait for beside others: see [`Select`](shmkit_sync::Select).
    #[must_use]
    pub fn watch(&self) -> Watch {
        Arc::new(Room(Arc::clone(self.segment())))
    }
}

struct Data<T: Trust>(Arc<Segment<Pipe<T>>>);

impl<T: Trust> Condition for Data<T> {
    fn event(&self) -> &EventCount {
        self.0.object().ring.data()
    }

    fn is_met(&self) -> bool {
        self.0.is_defunct() || self.0.side(WRITER) == Side::Closed || self.0.object().ring.has_data()
    }

    fn look_after_peers(&self) {
        self.0.look_after_peers();
    }
}

struct Room<T: Trust>(Arc<Segment<Pipe<T>>>);

impl<T: Trust> Condition for Room<T> {
    fn event(&self) -> &EventCount {
        self.0.object().ring.space()
    }

    fn is_met(&self) -> bool {
        self.0.is_defunct() || self.0.side(READER) == Side::Closed || self.0.object().ring.has_room(1)
    }

    fn look_after_peers(&self) {
        self.0.look_after_peers();
    }
}
