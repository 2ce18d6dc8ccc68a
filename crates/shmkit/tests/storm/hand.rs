//! A receiver's hand: the memory that messages are received into, which survives the receiver.
//!
//! A queue copies messages out before it gives their slots back. So whatever was given out, by the moment of a death, lies in the hand of the
//! dead, and what is neither noted nor in any hand was lost.

use memmap2::MmapMut;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Messages of eight bytes; zeros are none.
pub(crate) type Message = [u8; 8];

/// How many a hand holds.
pub(crate) const SIZE: usize = 8;

pub(crate) struct Hand(MmapMut);

impl Hand {
    /// The hand of receiver number `me`.
    pub(crate) fn of(directory: &Path, me: usize) -> Self {
        let place = path(directory, me);
        let file = File::options().read(true).write(true).create(true).truncate(false).open(place).expect("a file");
        file.set_len((SIZE * size_of::<Message>()) as u64).expect("a file that grows");
        // SAFETY: nobody else maps the file or shortens it: its only other reader comes when this process is dead.
        Self(unsafe { MmapMut::map_mut(&file) }.expect("a mapping"))
    }

    /// The first `count` places.
    pub(crate) fn messages(&mut self, count: usize) -> &mut [Message] {
        &mut self.0.as_chunks_mut().0[..count]
    }
}

/// What the dead, or finished, receiver number `me` had in its hand.
pub(crate) fn left_by(directory: &Path, me: usize) -> Vec<u64> {
    let bytes = std::fs::read(path(directory, me)).unwrap_or_default();
    bytes.as_chunks().0.iter().map(|&message| u64::from_le_bytes(message)).filter(|&message| message != 0).collect()
}

fn path(directory: &Path, me: usize) -> PathBuf {
    directory.join(format!("hand-{me}"))
}
