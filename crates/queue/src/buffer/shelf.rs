//! The buffers of a queue by their sizes, and where a sender looks for free ones.
//!
//! Small buffers are used in turn, so that senders and receivers are seldom at neighbours. Large ones are taken from a [magazine](Magazine), again and again: what counts then
//! is that their content is still in a cache.

use super::settings::MAX_CLASSES;
use crate::hint::Hint;
use shmkit_segment::Blocks;
use std::ops::Range;

/// Buffers of so many bytes come from a magazine.
const LARGE: usize = 4 << 10;
/// So many are in one.
const MAGAZINE: usize = 8;

/// The buffers of one size.
#[derive(Clone)]
pub(super) struct Class {
    /// The number of the first of them.
    pub(super) first: usize,
    pub(super) blocks: Blocks,
}

impl Class {
    pub(super) fn buffers(&self) -> Range<usize> {
        self.first..self.first + self.blocks.count()
    }

    /// Moves a shelf's cursor to the one after `buffer`.
    #[inline]
    pub(super) fn step_on(&self, shelf: &Shelf, buffer: usize) {
        let next = buffer + 1 - self.first;
        shelf.cursor.set(if next < self.blocks.count() { next as u64 } else { 0 });
    }

    /// Whether what is in a buffer is worth so much in this processor's cache that the same ones should be used again and again.
    #[inline]
    pub(super) fn has_magazine(&self) -> bool {
        self.blocks.size() >= LARGE
    }
}

/// Where a sender looks for free buffers of each size.
#[derive(Default)]
pub(super) struct Shelves(pub(super) [Shelf; MAX_CLASSES]);

/// The same of one size.
#[derive(Default)]
pub(super) struct Shelf {
    /// The buffer that it looks at first, of those of the size.
    pub(super) cursor: Hint,
    pub(super) magazine: Magazine,
}

/// The buffers that a sender has used last, in turn. Nobody else is kept from taking them: they are remembered and not owned, so that one who keeps a magazine and sends nothing, or is
/// stopped, takes nothing away.
#[derive(Default)]
pub(super) struct Magazine {
    turn: Hint,
    /// Their numbers, and one more; zeros are none.
    places: [Hint; MAGAZINE],
}

impl Magazine {
    /// The place whose turn it is.
    #[inline]
    pub(super) fn next(&self) -> &Hint {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        &self.places[turn as usize % MAGAZINE]
    }
}
