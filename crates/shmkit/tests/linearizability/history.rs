//! What is known of a run: which operation was invoked when, what it came to, and when it had returned.
//!
//! Times are nanoseconds of the monotonic clock, which is one for all processes and cores. An operation took effect at some instant between its
//! two times, both included; it *precedes* another if it had returned strictly before that was invoked.

use std::fmt;

/// What an operation was asked for and what it came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// This message was sent. Each has a value of its own.
    Sent(u64),
    /// There was no room, at once or until a deadline.
    Full,
    /// This message was received.
    Received(u64),
    /// There was no message; or there never will be one.
    Empty,
    /// The next message was still being written.
    Busy,
    /// No message was received until a deadline: the queue was empty or busy in the end.
    Late,
    /// The sender was killed while it was sending this message, which may have been sent.
    SendingDied(u64),
    /// The receiver was killed while it was receiving. It may have received a message and not said so, or have left one to be delivered again.
    ReceivingDied {
        /// When it was killed at the earliest; that it was dead was known when the operation ends.
        killed: u64,
    },
}

/// One operation of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Operation {
    pub(crate) process: u32,
    pub(crate) invoked: u64,
    /// When it had returned, or was known to be dead.
    pub(crate) returned: u64,
    pub(crate) outcome: Outcome,
}

impl Operation {
    pub(crate) fn precedes(&self, other: &Self) -> bool {
        self.returned < other.invoked
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} from {} to {}: ", self.process, self.invoked, self.returned)?;
        match self.outcome {
            Outcome::Sent(value) => write!(f, "sent {value:#x}"),
            Outcome::Full => f.write_str("found the queue full"),
            Outcome::Received(value) => write!(f, "received {value:#x}"),
            Outcome::Empty => f.write_str("found the queue empty"),
            Outcome::Busy => f.write_str("found the next message being written"),
            Outcome::Late => f.write_str("received nothing until its deadline"),
            Outcome::SendingDied(value) => write!(f, "was killed sending {value:#x}"),
            Outcome::ReceivingDied { .. } => f.write_str("was killed receiving"),
        }
    }
}

/// How often each thing happened.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) sent: usize,
    pub(crate) received: usize,
    pub(crate) full: usize,
    pub(crate) empty: usize,
    pub(crate) busy: usize,
    pub(crate) late: usize,
    pub(crate) died: usize,
}

impl Counts {
    pub(crate) fn of(history: &[Operation]) -> Self {
        let mut counts = Self::default();
        for operation in history {
            *match operation.outcome {
                Outcome::Sent(_) => &mut counts.sent,
                Outcome::Full => &mut counts.full,
                Outcome::Received(_) => &mut counts.received,
                Outcome::Empty => &mut counts.empty,
                Outcome::Busy => &mut counts.busy,
                Outcome::Late => &mut counts.late,
                Outcome::SendingDied(_) | Outcome::ReceivingDied { .. } => &mut counts.died,
            } += 1;
        }
        counts
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, received, full, empty, busy, late, died } = self;
        write!(f, "{sent} sent, {received} received, {full} full, {empty} empty, {busy} busy, {late} late")?;
        if *died > 0 { write!(f, ", {died} killed in an operation") } else { Ok(()) }
    }
}
