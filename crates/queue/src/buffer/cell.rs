//! What stands in the ring: see `ring.rs`.

use super::ring::{MAX_BUFFERS, READY};
use crate::word::Word;

/// A reference to a buffer, as it stands in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CellWord(pub(super) u64);

impl CellWord {
    const TURN: u32 = 29;
    const BUFFER: u32 = 15;
    const GENERATION: u64 = (1 << Self::BUFFER) - 1;

    /// Filled in lap `lap`.
    #[inline]
    pub(super) fn filled(lap: u64, buffer: usize, generation: u64) -> Self {
        let turn = lap.wrapping_add(1) << Self::TURN;
        Self(turn | (buffer as u64 + 1) << Self::BUFFER | generation & Self::GENERATION)
    }

    /// The buffer it refers to. `None` before it was ever filled.
    #[inline]
    pub(super) fn buffer(self) -> Option<usize> {
        (self.0 >> Self::BUFFER & (MAX_BUFFERS as u64)).checked_sub(1).map(|buffer| buffer as usize)
    }

    /// Whether it refers to a message in the state that `word` tells: else it is dead.
    #[inline]
    pub(super) fn is_alive(self, word: Word) -> bool {
        word.state() == READY && (self.0 ^ word.turn()) & Self::GENERATION == 0
    }

    /// How many laps its turn is ahead of `lap`: 0 if it is free for it, 1 if it was filled in it, more if later.
    #[inline]
    pub(super) fn ahead_of(self, lap: u64) -> i64 {
        let difference = (self.0 >> Self::TURN).wrapping_sub(lap) << Self::TURN;
        difference.cast_signed() >> Self::TURN
    }
}

#[cfg(test)]
mod tests {
    use super::super::ring::{FREE, READY};
    use super::CellWord;
    use crate::word::Word;

    #[test]
    fn a_cell_tells_its_lap_across_the_wrap() {
        let last = (1 << 35) - 1;
        for lap in [0, 1, last - 1, last, last + 1] {
            let cell = CellWord::filled(lap, 7, 7);
            assert_eq!((cell.ahead_of(lap), cell.ahead_of(lap + 1), cell.ahead_of(lap + 2)), (1, 0, -1));
        }
        assert_eq!(CellWord(0).ahead_of(0), 0);
    }

    #[test]
    fn a_cell_carries_its_buffer_and_generation() {
        let cell = CellWord::filled(3, 16_382, 0x1_2345);
        assert_eq!(cell.buffer(), Some(16_382));
        let alive = |generation| cell.is_alive(Word::new(generation, READY));
        assert!(alive(0x1_2345) && alive(0x1_2345 + (1 << 15)));
        assert!(!alive(0x1_2346) && !alive(0x1_2345 + (1 << 14)));
        assert!(!cell.is_alive(Word::new(0x1_2345, FREE)));
        assert_eq!(CellWord(0).buffer(), None);
    }
}
