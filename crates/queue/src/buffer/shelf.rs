//! The buffers of a queue by their sizes, and where a sender looks for free ones.
//!
//! A sender takes those first that it used last, from its [magazine](Magazine): few of them, and their words, are then in the caches. That doubles the rate of messages of up to some KiB. Not
//! so if what the magazine holds fills just the second cache of whoever reads it: to write over it means to take line after line away from there, which costs more than memory that nobody has at hand (five times
//! as much with buffers of 64 KiB). Such buffers are used in turn.

use super::settings::MAX_CLASSES;
use crate::hint::Hint;
use shmkit_segment::Blocks;
use std::ops::Range;

/// So many buffers are in a magazine.
const MAGAZINE: usize = 8;
/// Of buffers between these sizes in bytes, a magazine would fill a second cache and no more.
const SMALL: usize = 8 << 10;
const LARGE: usize = 1 << 20;

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

    /// Whether it is worth while to use the same ones again and again.
    #[inline]
    pub(super) fn has_magazine(&self) -> bool {
        !(SMALL + 1..LARGE).contains(&self.blocks.size())
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
