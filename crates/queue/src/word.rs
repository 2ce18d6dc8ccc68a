//! The word beside each value or buffer: whose it is, in which state, and which time round.
//!
//! ```text
//! 63                  20 19   16 15            0
//! ┌─────────────────────┬───────┬───────────────┐
//! │        turn         │ state │     owner     │      all zero: turn 0, the state that means "nobody's", no owner
//! └─────────────────────┴───────┴───────────────┘
//! ```
//!
//! Ownership can be told at every instant, because every contested change is a compare-exchange of the exact word. The 44 bits of a turn last
//! months at 10^8 messages a second, and a delayed exchange would have to sleep through all of them to do harm.

use shmkit_segment::PeerId;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word(pub(crate) u64);

impl Word {
    const TURN: u32 = 20;
    const STATE: u32 = 16;

    #[inline]
    pub(crate) fn new(turn: u64, state: u64) -> Self {
        Self(turn << Self::TURN | state << Self::STATE)
    }

    #[inline]
    pub(crate) fn owned(turn: u64, state: u64, owner: PeerId) -> Self {
        Self(Self::new(turn, state).0 | u64::from(owner.number()))
    }

    #[inline]
    pub(crate) fn turn(self) -> u64 {
        self.0 >> Self::TURN
    }

    #[inline]
    pub(crate) fn state(self) -> u64 {
        self.0 >> Self::STATE & 0xf
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
    met: std::cell::Cell<(u64, u32)>,
}

impl Suspicion {
    /// Looking costs a microsecond: do so about once a millisecond for a caller that does nothing else.
    const LIMIT: u32 = 1 << 14;

    /// Notes that `word` was in the way. `Some` when its owner should be looked after.
    pub(crate) fn of(&self, word: Word) -> Option<PeerId> {
        let (last, times) = self.met.get();
        let times = if last == word.0 { times + 1 } else { 1 };
        self.met.set((word.0, times % Self::LIMIT));
        (times == Self::LIMIT).then(|| word.owner())
    }
}
