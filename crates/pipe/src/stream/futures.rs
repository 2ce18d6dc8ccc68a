//! What the forms for futures have in common.

use super::{Reader, Writer};
use crate::trust::Trust;
use std::io;
use std::mem::take;
use std::task::{Context, Poll};

macro_rules! poll {
    ($name:ident) => {
        impl<T: Trust> $name<T> {
            /// Tries, and has the task called if there is to be another attempt.
            pub(super) fn poll<R>(
                &mut self,
                context: &mut Context<'_>,
                attempt: impl FnMut(&mut Self) -> Option<io::Result<R>>,
            ) -> Poll<io::Result<R>> {
                let mut waiter = take(&mut self.waiter);
                let outcome = waiter.poll(context, self, attempt, |end| end.watch());
                self.waiter = waiter;
                outcome
            }
        }
    };
}
poll!(Reader);
poll!(Writer);

impl<T: Trust> Writer<T> {
    /// The reader comes to the end of the stream, as if this were dropped.
    pub(super) fn leave(&mut self) {
        self.role.give_away();
    }
}
