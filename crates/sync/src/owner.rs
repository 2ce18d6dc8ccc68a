//! The word of a lock: who has it, and what must be known of its past.
//!
//! ```text
//! word = … | PENDING | DIED | CURRENT | owner:16          owner = 0: nobody, else peer + 1
//! ```
//!
//! | bit | says |
//! |---|---|
//! | CURRENT | which of two copies is the value that the lock guards |
//! | DIED | the last holder was killed with the lock, and nobody has made it consistent since |
//! | PENDING | the owner waits for readers to leave, and has not touched anything yet (a lock for readers and writers) |
//!
//! Only the owner changes a word that has one; if it is dead, the reaper does. So a lock is taken by a compare-exchange, and given back by a plain store.
//!
//! # All of a change or nothing
//!
//! A holder works on a copy of its own, the [`Draft`]. What it has changed is written over the copy in shared memory that is *not* current, and one store
//! both gives the lock back and makes that copy the current one. Whoever is killed before the store has changed nothing; the value is never half of
//! one and half of another. The same goes for a holder that panics: its changes are dropped.

use shmkit_segment::primitive::{AtomicU32, Ordering};
use shmkit_segment::{PeerId, Plain, PlainCell};
use std::thread::panicking;

pub(crate) const OWNER: u32 = 0xFFFF;
pub(crate) const CURRENT: u32 = 1 << 16;
pub(crate) const DIED: u32 = 1 << 17;
pub(crate) const PENDING: u32 = 1 << 18;

/// What an owner writes into its word.
#[inline]
pub(crate) fn mark(peer: PeerId) -> u32 {
    u32::from(peer.number()) + 1
}

/// Takes the lock if nobody has it: the word as it was then, without an owner.
#[inline]
pub(crate) fn take(word: &AtomicU32, claim: u32) -> Option<u32> {
    let found = word.load(Ordering::Relaxed);
    // A failed exchange means that somebody else has taken it just now.
    // Acquire pairs with the release of whoever had the lock, or swept it: what was done under it is seen.
    let is_taken =
        found & OWNER == 0 && word.compare_exchange(found, found | claim, Ordering::Acquire, Ordering::Relaxed).is_ok();
    is_taken.then_some(found)
}

/// Takes the lock from a dead owner. (Nobody else changes it meanwhile.)
pub(crate) fn sweep(word: &AtomicU32, dead: PeerId) {
    let found = word.load(Ordering::Relaxed);
    if found & OWNER == mark(dead) {
        let died = if found & PENDING == 0 { DIED } else { 0 };
        // Release, as its holder would have done.
        word.store(found & !(OWNER | PENDING) | died, Ordering::Release);
    }
}

/// The two copies of a value.
pub(crate) type Copies<T> = [PlainCell<T>; 2];

/// Which of the two is the value.
fn current(word: u32) -> usize {
    usize::from(word & CURRENT != 0)
}

/// Copies the value out. The caller holds the lock, if only for reading.
#[inline]
pub(crate) fn read<T: Plain>(copies: &Copies<T>, word: u32) -> T {
    copies[current(word)].read()
}

/// A holder's copy of the value, and what becomes of the lock's word in the end.
pub(crate) struct Draft<T> {
    value: T,
    word: u32,
    is_changed: bool,
    /// Whether the thread was unwinding already when it took the lock, in a destructor, say.
    was_panicking: bool,
}

impl<T: Plain> Draft<T> {
    /// What is to be done by the one who has just taken the lock, whose word was `word`.
    #[inline]
    pub(crate) fn new(copies: &Copies<T>, word: u32) -> Self {
        Self { value: read(copies, word), word, is_changed: false, was_panicking: panicking() }
    }

    #[inline]
    pub(crate) fn value(&self) -> &T {
        &self.value
    }

    #[inline]
    pub(crate) fn change(&mut self) -> &mut T {
        self.is_changed = true;
        &mut self.value
    }

    pub(crate) fn has_died(&self) -> bool {
        self.word & DIED != 0
    }

    pub(crate) fn make_consistent(&mut self) {
        self.word &= !DIED;
    }

    /// Writes the change, if there is one, and gives the lock back: one store.
    #[inline]
    pub(crate) fn commit(&self, copies: &Copies<T>, word: &AtomicU32) {
        let mut next = self.word;
        if self.is_changed && (self.was_panicking || !panicking()) {
            next ^= CURRENT;
            copies[current(next)].write(self.value);
        }
        // Release pairs with the acquire in `take`, and with that of readers.
        word.store(next, Ordering::Release);
    }
}

/// What guards have in common that hold a [`Draft`], as `draft`.
macro_rules! drafting {
    ($guard:ident) => {
        impl<T: Plain> $guard<'_, T> {
            /// Whether somebody was killed with the lock while it could change the value, and nobody has made it consistent since.
            #[inline]
            pub fn is_inconsistent(&self) -> bool {
                self.draft.has_died()
            }

            /// Says that what the lock guards is in order again after such a death: those who lock it next are not told of that any more. Does nothing if nobody has died.
            pub fn make_consistent(&mut self) {
                self.draft.make_consistent();
            }
        }

        impl<T: Plain> std::ops::Deref for $guard<'_, T> {
            type Target = T;

            #[inline]
            fn deref(&self) -> &T {
                self.draft.value()
            }
        }

        impl<T: Plain> std::ops::DerefMut for $guard<'_, T> {
            #[inline]
            fn deref_mut(&mut self) -> &mut T {
                self.draft.change()
            }
        }

        impl<T: Plain + std::fmt::Debug> std::fmt::Debug for $guard<'_, T> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                (**self).fmt(f)
            }
        }
    };
}

pub(crate) use drafting;
