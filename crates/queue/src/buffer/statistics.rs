//! What has passed through a queue, for people and their tools to look at.

use super::ring::Buffers;

/// A look at a queue, without disturbing it.
///
/// Nothing is counted on the way of a message: all this follows from the states of the buffers and the positions of the ring, at the cost of a look at each buffer's word. While
/// others are at work, the numbers are of slightly different instants; but each buffer is in one of the four states, so `free`, `lent`, `waiting` and `leased` always add up to
/// `buffers`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// How many buffers there are.
    pub buffers: u64,
    /// Buffers that nobody uses.
    pub free: u64,
    /// Buffers that a sender writes a message into.
    pub lent: u64,
    /// Messages that wait to be received.
    pub waiting: u64,
    /// Messages that receivers hold, or whose receiver has died and that wait to be put back.
    pub leased: u64,
    /// Messages sent, since the queue was created.
    pub sent: u64,
    /// Messages received and acknowledged.
    pub received: u64,
    /// How often a message was put back to be delivered again: not acknowledged, or its holder died. (Also the rare message whose sender died between finishing it and putting
    /// it into the queue.) A count, which a kill in the wrong instant can leave off by one.
    pub returned: u64,
}

impl Statistics {
    pub(super) fn of(queue: &Buffers) -> Self {
        let (published, returned) = queue.passed();
        let [free, lent, waiting, leased] = queue.states();
        let sent = published.saturating_sub(returned);
        Self {
            buffers: queue.count() as u64,
            free,
            lent,
            waiting,
            leased,
            sent,
            received: sent.saturating_sub(waiting + leased),
            returned,
        }
    }
}
