//! Roles: who sends, who receives, and how the others learn that nobody does any more.
//!
//! An object has up to four roles (a queue's are senders and receivers). A handle that can act in a role holds a [`Role`].
//! How many a peer has stands in that peer's entry of the table, and nowhere else: a counter shared by all would drift
//! when somebody is killed between counting and acting. What the segment has in common is one word for each role:
//!
//! ```text
//! side = epoch:30 | state:2          NEVER ──▶ OPEN ◀──▶ CLOSED ──▶ NEVER (a segment that was left by all, and is opened anew)
//! ```
//!
//! - To take a role: add to the own count, then move the side to OPEN of the next epoch. Always: whoever finds the count above zero already may come
//!   just after another thread has raised it, and that one has not moved the side yet. Only to clone a handle it is enough to add, since
//!   the handle that is cloned is a member throughout.
//! - To leave it: subtract; if it is zero now, read the side, find all counts zero, and move that very side word to CLOSED.
//! - To reap: set the dead peer's count to zero, then go on as a leaver.
//!
//! CLOSED is exact. A leaver's compare-exchange succeeds only if no one moved the side since it was read. Somebody who took
//! the role with a move before that read has a count that the leaver's loads see (the side's release and acquire), so
//! they were not all zero; one who moves it later reopens it. And of two who leave at once, one sees the other's zero, because
//! the subtraction and the loads are sequentially consistent. Killed anywhere, a peer leaves its count for the reaper,
//! which closes on its behalf and wakes everyone. `models/roles.py` explores it.
//!
//! NEVER is not CLOSED: whoever opens first waits for the other side to arrive.
//!
//! # Roles that one handle has at a time
//!
//! [`Segment::sole_role`] takes a role only if nobody has it:
//!
//! ```text
//! look:  side not OPEN ──▶ add to the own count ──▶ move that very side word to OPEN of the next epoch ──▶ the role is ours
//!   ▲                                                 │ somebody else moved it
//!   ├── subtract again, as a leaver does ◀────────────┘
//!   │
//!   ├── side OPEN, no count anywhere: close it
//!   ├── side OPEN, a count of a dead peer: reap it
//!   └── side OPEN, a count of a living peer: taken
//! ```
//!
//! At most one has it: a claim succeeds from a side that is not OPEN, leaves it OPEN, and CLOSED is exact, so that the next claim can only succeed
//! after the count of this one is gone. The count comes *before* the move for that reason: in between, a closer would find nobody. Passing the role to
//! a child keeps it OPEN all the while, as the child is counted before its parent leaves.
//!
//! It is never lost. A claimer that gives up may have been the reason for which the holder, leaving at the same moment, did not close; so it closes, like
//! a leaver. One that was killed on its way leaves a count, or a side without counts; the next claimer reaps the first and closes the second.
//! And "taken" is never said by all of several claimers while nobody has it: only who has found the side closed adds to a count, and if its move then
//! fails, another one's has succeeded. Whoever is refused has seen a holder, or a claimer that is still at it. Of these the last either finds
//! a holder, or has nobody left in its way.

use crate::header::Header;
use crate::primitive::{AtomicU32, Ordering};
use crate::{Error, Mapped, Object, PeerId, Segment};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// How many roles an object can have.
pub const ROLES: usize = 4;

/// Whether anybody acts in a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Nobody has taken it yet.
    Never,
    /// Somebody has it.
    Open,
    /// Somebody had it, and nobody has it now.
    Closed,
}

const NEVER: u32 = 0;
const OPEN: u32 = 1;
pub(crate) const CLOSED: u32 = 2;
const STATE: u32 = 3;

impl Side {
    fn of(word: u32) -> Self {
        match word & STATE {
            OPEN => Self::Open,
            CLOSED => Self::Closed,
            _ => Self::Never,
        }
    }
}

/// The word after `word`, with another state.
fn next(word: u32, state: u32) -> u32 {
    (word | STATE).wrapping_add(1) | state
}

impl<O: Object> Segment<O> {
    /// Whether anybody acts in role number `role`. Costs a load.
    ///
    /// Acquire: who sees `Closed` sees all that the role's last holders did.
    #[inline]
    pub fn side(&self, role: usize) -> Side {
        Side::of(self.header.sides[role].load(Ordering::Acquire))
    }

    /// The words that say whether anybody acts in a role, at hand.
    #[must_use]
    pub fn sides(&self) -> Sides {
        Sides(self.header.clone())
    }

    /// Takes one handle of role number `role`, which nobody else has: for roles that exist once. Whoever has died with it is reaped.
    ///
    /// The role must only ever be taken in this way, or by the creator before anybody else is there, and its handle not be cloned. It can
    /// be passed to another process by serialising it and then [giving it away](Role::give_away). Costs two read-modify-writes if it is
    /// free, and a system call to find out whether its last holder lives if it is not. Never blocks.
    ///
    /// # Errors
    /// [`Error::RoleTaken`] if a living process has it, a stopped one included. One that has just died can count as living for about a millisecond
    /// (until the kernel has dropped its lock, and whoever reaps it is done). [`Error::Forked`]; [`Error::Corrupt`] if a peer keeps writing over the segment.
    pub fn sole_role(self: &Arc<Self>, role: usize) -> Result<Role<O>, Error> {
        /// Each further turn needs another claimer that succeeded, or a death. Nobody meets that many.
        const TURNS: usize = 10_000;
        if self.is_defunct() {
            return Err(Error::Forked);
        }
        let side = &self.header.sides[role];
        for _ in 0..TURNS {
            // Acquire: who finds it OPEN sees the count of the one who opened it.
            let word = side.load(Ordering::Acquire);
            if word & STATE != OPEN {
                self.count(role, self.me()).fetch_add(1, Ordering::SeqCst);
                // Acquire: after all that the last holder did (the release in `close_if_empty`). Release: a closer that reads this sees the count.
                if side.compare_exchange(word, next(word, OPEN), Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                    return Ok(Role::counted(Arc::clone(self), role));
                }
                self.resign(role);
                continue;
            }
            let mut counts = (0..self.table.len() as u16).map(PeerId);
            match counts.find(|&peer| self.count(role, peer).load(Ordering::SeqCst) != 0) {
                Some(peer) if !self.reap(peer) => return Err(self.role_taken(peer)),
                Some(_) => {}
                // The last one was killed before it closed the side, or is about to.
                None if self.close_if_empty(role) => self.object().wake_all(),
                None => {}
            }
        }
        Err(Error::Corrupt("the word of a role keeps changing"))
    }

    #[cold]
    fn role_taken(&self, peer: PeerId) -> Error {
        let holder = self.peers().into_iter().find(|other| other.id() == peer);
        let name = holder.as_ref().map(|holder| holder.name().into_owned());
        Error::RoleTaken { pid: holder.map_or(0, |holder| holder.pid()), name: name.unwrap_or_default() }
    }

    /// Makes `peer` a member of `role`, with one handle more.
    pub(crate) fn enroll(&self, role: usize, peer: PeerId) {
        self.count(role, peer).fetch_add(1, Ordering::SeqCst);
        let side = &self.header.sides[role];
        let mut word = side.load(Ordering::Relaxed);
        // Even if it is OPEN already, and even if the count was not zero: a leaver may have found it zero before, and only a new epoch
        // makes its exchange fail. Release: a leaver that reads this side (acquire) sees the count above.
        while let Err(found) = side.compare_exchange(word, next(word, OPEN), Ordering::AcqRel, Ordering::Relaxed) {
            word = found;
        }
    }

    /// Takes back one handle of `role` from this peer, and wakes everybody if it was the last there is.
    fn resign(&self, role: usize) {
        // SeqCst with the loads in `close_if_empty`: of two who leave at once, one sees both gone.
        if self.count(role, self.me()).fetch_sub(1, Ordering::SeqCst) == 1 && self.close_if_empty(role) {
            self.object().wake_all();
        }
    }

    /// Takes all handles of `role` from `peer`, which has left or died. The caller wakes everybody.
    pub(crate) fn withdraw(&self, role: usize, peer: PeerId) {
        self.count(role, peer).store(0, Ordering::SeqCst);
        self.close_if_empty(role);
    }

    /// Makes roles that were left as if they had never been taken: for the first who comes to a segment that nobody was attached to.
    ///
    /// Others can only come in by this peer, or after it has let them in, so that all counts but its own are zero.
    #[cfg(not(loom))]
    pub(crate) fn begin_anew(&self) {
        for side in &self.header.sides {
            let word = side.load(Ordering::Acquire);
            if word & STATE == CLOSED {
                // Failure: a child that this process has just let in has taken it.
                let _ = side.compare_exchange(word, next(word, NEVER), Ordering::AcqRel, Ordering::Relaxed);
            }
        }
    }

    fn close_if_empty(&self, role: usize) -> bool {
        let side = &self.header.sides[role];
        loop {
            let word = side.load(Ordering::Acquire);
            if word & STATE != OPEN || self.table.iter().any(|entry| entry.roles[role].load(Ordering::SeqCst) != 0) {
                return false;
            }
            // Release: who reads CLOSED sees all that the leavers did. Failure: the role was taken meanwhile; look again.
            if side.compare_exchange(word, next(word, CLOSED), Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return true;
            }
        }
    }

    fn count(&self, role: usize, peer: PeerId) -> &AtomicU32 {
        &self.table[usize::from(peer.number())].roles[role]
    }
}

/// The words that say whether anybody acts in a segment's roles, at hand: for operations that look at one each time.
pub struct Sides(Mapped<Header>);

impl Sides {
    /// Whether role number `role` is closed, as cheaply as can be told: one instruction that tests a bit.
    ///
    /// In a child made by `fork` all are. [`Segment::side`] tells exactly: it takes a word that nobody but a peer gone wild writes for another state.
    /// Acquire: who sees it closed sees all that the role's last holders did.
    #[inline]
    #[must_use]
    pub fn is_closed(&self, role: usize) -> bool {
        self.0.sides[role].load(Ordering::Acquire) & CLOSED != 0
    }
}

/// One handle of a role of a segment's object. Cloning counts one more, dropping one less; neither makes a system call, except
/// the drop that closes the role and wakes who waits for that.
///
/// It can be serialised within [`transfer::sending`](crate::transfer::sending), and so be an argument or a result of a spawned
/// function; anywhere else, serialising is an error.
pub struct Role<O: Object> {
    segment: Arc<Segment<O>>,
    role: usize,
    /// A role that exists once has gone to another process.
    moved: AtomicBool,
}

impl<O: Object> Role<O> {
    pub(crate) fn take(segment: Arc<Segment<O>>, role: usize) -> Self {
        if segment.is_defunct() {
            return Self { segment, role, moved: AtomicBool::new(true) };
        }
        segment.enroll(role, segment.me());
        Self::counted(segment, role)
    }

    /// A role that has been counted already, by whoever handed it over.
    pub(crate) fn counted(segment: Arc<Segment<O>>, role: usize) -> Self {
        Self { segment, role, moved: AtomicBool::new(false) }
    }

    /// The segment in whose object this is a role.
    #[inline]
    pub fn segment(&self) -> &Arc<Segment<O>> {
        &self.segment
    }

    /// The same role for a further peer of this process, which can [die](Segment::die) alone.
    #[doc(hidden)]
    pub fn for_another_peer(&self) -> Result<Self, crate::Error> {
        Ok(self.segment.join()?.role(self.role))
    }

    /// The number of the role.
    #[inline]
    pub fn number(&self) -> usize {
        self.role
    }

    /// Whether it is another process's: it was [given away](Self::give_away), or this process is a fork of the one that has it.
    pub fn is_moved(&self) -> bool {
        self.moved.load(std::sync::atomic::Ordering::Relaxed) || self.segment.is_defunct()
    }

    /// Leaves the role now and for good: for a role that exists once and has just been serialised for another process.
    pub fn give_away(&self) {
        if !self.moved.swap(true, std::sync::atomic::Ordering::Relaxed) && !self.segment.is_defunct() {
            self.segment.resign(self.role);
        }
    }
}

impl<O: Object> Clone for Role<O> {
    fn clone(&self) -> Self {
        let segment = Arc::clone(&self.segment);
        if segment.is_defunct() {
            return Self { segment, role: self.role, moved: AtomicBool::new(true) };
        }
        if self.is_moved() {
            return Self::take(segment, self.role);
        }
        // SeqCst like all that concerns the counts. `self` keeps it above zero, so nobody can be about to close the side.
        segment.count(self.role, segment.me()).fetch_add(1, Ordering::SeqCst);
        Self::counted(segment, self.role)
    }
}

impl<O: Object> Drop for Role<O> {
    fn drop(&mut self) {
        self.give_away();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{CLOSED, OPEN, STATE, next};

    #[test]
    fn each_move_of_a_side_begins_an_epoch() {
        let open = next(0, OPEN);
        let closed = next(open, CLOSED);
        let reopened = next(closed, OPEN);
        assert_eq!([open, closed, reopened].map(|word| word & STATE), [OPEN, CLOSED, OPEN]);
        assert_eq!([open, closed, reopened].map(|word| word >> 2), [1, 2, 3]);
        assert_eq!(next(u32::MAX, OPEN), OPEN);
    }
}
