//! What a peer has in hand: a count that falls to zero when the peer dies.
//!
//! It stands in the peer's entry of the table, in a place that would else be a role's (see role), and nowhere else; so the
//! reaper, which withdraws the dead from all roles, takes it back too. Unlike a role it has no side: nobody is told when the last of all is put down.

use crate::primitive::{AtomicU32, Ordering};
use crate::{Object, Segment};

impl<O: Object> Segment<O> {
    /// Counts one more thing that this peer has in hand, in place `number`, which no role of the object has. Costs a read-modify-write of this peer's entry.
    ///
    /// It is to be [put down](Self::put_down) once.
    #[inline]
    pub fn take_in_hand(&self, number: usize) {
        // SeqCst with the loads below: who sees it put down sees all that was done before.
        self.in_hand(number).fetch_add(1, Ordering::SeqCst);
    }

    /// Counts one less. Does nothing in a child made by `fork`, which has copies of what its parent has in hand.
    #[inline]
    pub fn put_down(&self, number: usize) {
        if !self.is_defunct() {
            self.in_hand(number).fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Whether no living peer has anything in hand in place `number`. Costs a load for each place in the table.
    #[must_use]
    pub fn is_nothing_in_hand(&self, number: usize) -> bool {
        self.table.iter().all(|entry| entry.roles[number].load(Ordering::SeqCst) == 0)
    }

    fn in_hand(&self, number: usize) -> &AtomicU32 {
        &self.table[usize::from(self.me().number())].roles[number]
    }
}
