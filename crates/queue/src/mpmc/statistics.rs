//! What has passed through a queue, for people and their tools to look at.

use super::TASKS;
use super::ring::{EMPTY, FULL, Mpmc, ORPHAN, READING, TOMB, WRITING};
use shmkit_segment::primitive::Ordering;
use shmkit_segment::{Plain, Segment};
use std::sync::Arc;

/// A look at a queue, without a role in it and without disturbing it: messages, since it was created.
///
/// Nothing is counted on the way of a message: all this follows from the positions and states of the slots, at the cost of a look at each. While others
/// are at work the numbers are of slightly different instants. Only [`redelivered`](Self::redelivered) and [`lost`](Self::lost) are counts, which a
/// kill in the wrong instant can leave one short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// How many messages the queue holds at most.
    pub capacity: u64,
    /// Messages sent.
    pub sent: u64,
    /// Messages received and acknowledged.
    pub received: u64,
    /// Deliveries that were repeated, because the receiver had died.
    pub redelivered: u64,
    /// Messages that a receiver took with it when it died: always 0 but in the [at-most-once](super::Settings::at_most_once) mode.
    pub lost: u64,
    /// Slots that a sender had claimed when it died, and that hold no message.
    pub tombs: u64,
    /// Messages that wait to be received, for the first time.
    pub waiting: u64,
    /// Messages that are being received at the moment, or whose receiver has died and that wait to be delivered again.
    pub unacknowledged: u64,
    /// Whether a living peer has a [task](super::Task) that is not done.
    pub has_task_in_hand: bool,
    /// Slots that are taken, whatever for: the queue is full when they are as many as its capacity.
    pub depth: u64,
}

impl Statistics {
    /// Looks at the queue in `segment`.
    #[must_use]
    pub fn of<T: Plain>(segment: &Arc<Segment<Mpmc<T>>>) -> Self {
        let queue = segment.object();
        let losses = &queue.ends.losses;
        let (redelivered, lost) = (losses.redelivered.load(Ordering::Relaxed), losses.lost.load(Ordering::Relaxed));
        let (claimed, _) = queue.first_unclaimed(0);
        let mut slots = [0_u64; 8];
        // From there once round, so that each run is met at its first slot, whose state the others share.
        let mut looked_at = 0;
        while looked_at < queue.capacity() {
            let word = queue.word(claimed.wrapping_add(looked_at));
            let count = word.run().min(queue.capacity() - looked_at);
            slots[word.state() as usize] += count;
            looked_at += count;
        }
        let [writing, waiting, reading, tombs, orphans] =
            [WRITING, FULL, READING, TOMB, ORPHAN].map(|state| slots[state as usize]);
        // Those that were passed, and those that are yet to be.
        let tombs = losses.tombs.load(Ordering::Relaxed) + tombs;
        let sent = claimed.saturating_sub(tombs + writing);
        let unacknowledged = reading + orphans;
        Self {
            capacity: queue.capacity(),
            sent,
            received: sent.saturating_sub(lost + waiting + unacknowledged),
            redelivered,
            lost,
            tombs,
            waiting,
            unacknowledged,
            has_task_in_hand: !segment.is_nothing_in_hand(TASKS),
            depth: queue.capacity() - slots[EMPTY as usize],
        }
    }
}
