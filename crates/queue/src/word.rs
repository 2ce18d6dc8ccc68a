//! The word beside each value or buffer: whose it is, in which state, and which time round.
//!
//! ```text
//! 63                 24 23     19 18     16 15            0
//! ┌────────────────────┬─────────┬─────────┬───────────────┐
//! │        turn        │   run   │  state  │     owner     │      all zero: turn 0, the state that means "nobody's", no owner
//! └────────────────────┴─────────┴─────────┴───────────────┘
//! ```
//!
//! Ownership can be told at every instant, because every contested change is a compare-exchange of the exact word. `run` says how many
//! neighbours the owner has claimed with the same exchange (see `mpmc/ring.rs`; elsewhere it is zero).
//!
//! A turn has 40 bits and begins again after them: on a queue with one slot, which is the worst case, after half a day at full speed. So turns are
//! compared by their distance. A delayed exchange does harm only if it comes exactly 2⁴⁰ turns late.

use crate::hint::Hint;
use shmkit_segment::PeerId;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word(pub(crate) u64);

impl Word {
    const TURN: u32 = 24;
    const RUN: u32 = 19;
    const STATE: u32 = 16;
    /// A claim covers so many slots at most.
    pub(crate) const LONGEST_RUN: u64 = 1 << (Self::TURN - Self::RUN);

    #[inline]
    pub(crate) fn new(turn: u64, state: u64) -> Self {
        Self(turn << Self::TURN | state << Self::STATE)
    }

    #[inline]
    pub(crate) fn owned(turn: u64, state: u64, owner: PeerId) -> Self {
        Self(Self::new(turn, state).0 | u64::from(owner.number()))
    }

    /// The same for a claim of `run` slots, 1 to [`LONGEST_RUN`](Self::LONGEST_RUN).
    #[inline]
    pub(crate) fn claim(turn: u64, state: u64, run: u64, owner: PeerId) -> Self {
        Self(Self::owned(turn, state, owner).0 | (run - 1) << Self::RUN)
    }

    #[inline]
    pub(crate) fn turn(self) -> u64 {
        self.0 >> Self::TURN
    }

    /// How many turns the word is ahead of `turn`, of which the lower 40 bits count.
    #[inline]
    pub(crate) fn ahead_of(self, turn: u64) -> i64 {
        (self.turn().wrapping_sub(turn) << Self::TURN).cast_signed() >> Self::TURN
    }

    /// How many slots were claimed with this one, itself included.
    #[inline]
    pub(crate) fn run(self) -> u64 {
        (self.0 >> Self::RUN & (Self::LONGEST_RUN - 1)) + 1
    }

    #[inline]
    pub(crate) fn state(self) -> u64 {
        self.0 >> Self::STATE & 0b111
    }

    #[inline]
    pub(crate) fn owner(self) -> PeerId {
        PeerId::from_number(self.0 as u16)
    }
}

/// Meets the same foreign claim again and again, and suspects at last that its owner is dead.
///
/// The blocking calls look after dead peers when they have slept in vain; the `try_…` calls do not sleep, so they count.
#[derive(Default)]
pub(crate) struct Suspicion {
    met: Hint,
    times: Hint,
}

impl Suspicion {
    /// Looking costs a microsecond: do so about once a millisecond for a caller that does nothing else.
    const LIMIT: u64 = 1 << 14;

    /// Notes that `word` was in the way. `Some` when its owner should be looked after.
    pub(crate) fn of(&self, word: Word) -> Option<PeerId> {
        let times = if self.met.get() == word.0 { self.times.get() + 1 } else { 1 };
        self.met.set(word.0);
        self.times.set(times % Self::LIMIT);
        (times == Self::LIMIT).then(|| word.owner())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::Word;
    use shmkit_segment::PeerId;

    #[test]
    fn a_word_gives_back_what_was_put_in() {
        let word = Word::claim(0x12_3456_789a, 5, 32, PeerId::from_number(0xfedc));
        assert_eq!((word.turn(), word.state(), word.run()), (0x12_3456_789a, 5, 32));
        assert_eq!(word.owner(), PeerId::from_number(0xfedc));
        assert_eq!(Word::claim(7, 3, 1, PeerId::from_number(2)), Word::owned(7, 3, PeerId::from_number(2)));
        assert_eq!(Word::new(0, 0), Word(0));
    }

    #[test]
    fn turns_are_compared_by_distance_across_their_end() {
        let last = (1 << 40) - 1;
        assert_eq!(Word::new(last + 1, 1), Word::new(0, 1));
        assert_eq!(Word::new(last + 1, 1).ahead_of(last), 1);
        assert_eq!(Word::new(last, 1).ahead_of(last + 1), -1);
        assert_eq!(Word::new(last + 3, 1).ahead_of(last + 3), 0);
    }
}
