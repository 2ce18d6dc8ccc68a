//! Who may come in: any number of readers, or one writer. What a lock for readers and writers is, apart from what it guards.
//!
//! ```text
//! at 0  word (see owner)  free ──write: compare-exchange──▶ owner, PENDING ──no reader is left: a store──▶ owner ──a store──▶ free, the other copy current
//!    4  readers, writers  the event counts of those who wait for the word to be free
//!   12  drained           the event count of the owner that waits for readers to leave
//!
//! in hand                 how many read locks each peer has: in the peers' table, a word for each (see `tally.rs` of shmkit-segment)
//! ```
//!
//! # Why no reader is in beside a writer
//!
//! A reader raises its peer's count, then looks at the word; a writer writes the word, then looks at the counts. Both steps of both are sequentially consistent, so one of the two sees the other.
//! A reader that finds an owner lowers the count again and waits. A writer that finds a count above zero waits until it is not: from its exchange on no further reader gets in.
//!
//! Readers write to nothing that the readers of other processes write to. So reading scales with processes, and a death takes its counts along; a writer pays with a look at each place in the peers' table.
//!
//! # Why nobody sleeps for nothing
//!
//! Whoever frees the word notifies all readers, and one writer: each gets what it wants from a word that is free, whatever the others do. A writer that is woken and finds the
//! word taken by another has set W again, and that one notifies in turn. A reader that lowers a count notifies the owner that may wait for that.
//!
//! # When somebody dies
//!
//! Its counts are taken back, and a word that it owned is freed: with DIED, unless it was PENDING and had changed nothing. Everybody is roused.
//!
//! `models/rw_lock.py` explores it. After the distributed reader counts of Linux's `brlock`, later `percpu-rwsem`.
//!
//! Readers are not let in while a writer waits for them to leave, so readers cannot keep a writer out; a stream of writers can keep readers out. Not fair among writers.

use crate::owner::{OWNER, PENDING, mark, sweep, take};
use crate::{Deadline, EventCount};
use shmkit_segment::primitive::{AtomicU32, Ordering, exchanged, fence};
use shmkit_segment::{Object, PeerId, Segment, shared};

/// In which place of the peers' table read locks are counted.
const READS: usize = 1;

shared! {
    /// The lock itself, whatever it guards.
    pub struct Gate {
        word: AtomicU32,
        readers: EventCount,
        writers: EventCount,
        drained: EventCount,
    }
}

#[cfg(not(any(loom, feature = "portable")))]
const _: () = assert!(size_of::<Gate>() == 16 && std::mem::offset_of!(Gate, drained) == 12);

impl Gate {
    /// One look for a read lock: the word, without an owner.
    #[inline]
    pub(crate) fn try_read<O: Object>(&self, segment: &Segment<O>) -> Option<u32> {
        if self.word.load(Ordering::Relaxed) & OWNER != 0 {
            return None;
        }
        segment.take_in_hand(READS);
        exchanged();
        // SeqCst: after the count was raised (SeqCst too), for a writer's fence. Acquire pairs with the release of the last writer.
        let word = self.word.load(Ordering::SeqCst);
        if word & OWNER == 0 {
            return Some(word);
        }
        self.unlock_read(segment);
        None
    }

    /// Waits for a read lock.
    pub(crate) fn read<O: Object>(&self, segment: &Segment<O>, deadline: Deadline) -> Option<u32> {
        let idle = || segment.look_after_peers();
        self.readers.wait_until(deadline, || self.try_read(segment), || false, idle)
    }

    #[inline]
    pub(crate) fn unlock_read<O: Object>(&self, segment: &Segment<O>) {
        segment.put_down(READS);
        // There is but one who can wait for it.
        self.drained.notify_all();
    }

    /// Takes a write lock if no reader is in: the word, without an owner.
    #[inline]
    pub(crate) fn try_write<O: Object>(&self, segment: &Segment<O>) -> Option<u32> {
        let found = take(&self.word, mark(segment.me()) | PENDING)?;
        // Pairs with the read-modify-write and the load in `try_read`: of a reader and a writer that come at once, one sees the other.
        fence(Ordering::SeqCst);
        if segment.is_nothing_in_hand(READS) {
            return Some(self.begin(segment, found));
        }
        self.unlock_write(found);
        None
    }

    /// Becomes the owner, and waits for the readers to leave: the word, without an owner.
    pub(crate) fn write<O: Object>(&self, segment: &Segment<O>, deadline: Deadline) -> Option<u32> {
        let idle = || segment.look_after_peers();
        let attempt = || take(&self.word, mark(segment.me()) | PENDING);
        let found = self.writers.wait_until(deadline, attempt, || false, idle)?;
        // As in `try_write`.
        fence(Ordering::SeqCst);
        let is_drained = || segment.is_nothing_in_hand(READS).then_some(());
        if is_drained().is_none() && self.drained.wait_until(deadline, is_drained, || false, idle).is_none() {
            self.unlock_write(found);
            return None;
        }
        Some(self.begin(segment, found))
    }

    fn begin<O: Object>(&self, segment: &Segment<O>, found: u32) -> u32 {
        // Relaxed: it is for the reaper, which comes after all that this process has done.
        self.word.store(found | mark(segment.me()), Ordering::Relaxed);
        found
    }

    /// The word, for the owner to give the lock back by it and [notify](Self::notify).
    #[inline]
    pub(crate) fn word(&self) -> &AtomicU32 {
        &self.word
    }

    /// Gives the lock back: `next` is the word without an owner.
    #[inline]
    pub(crate) fn unlock_write(&self, next: u32) {
        // Release pairs with the acquire in `take`, and that of readers.
        self.word.store(next, Ordering::Release);
        self.notify();
    }

    /// Wakes those who wait for a word that is free.
    #[inline]
    pub(crate) fn notify(&self) {
        self.readers.notify_all();
        self.writers.notify_one();
    }

    pub(crate) fn sweep(&self, dead: PeerId) {
        sweep(&self.word, dead);
    }

    pub(crate) fn wake_all(&self) {
        [&self.readers, &self.writers, &self.drained].into_iter().for_each(EventCount::rouse);
    }
}
