//! Until when to wait.

use std::time::{Duration, Instant};

/// A point of the monotonic clock, or never: absolute, so that interruptions and retries do not prolong a wait, and
/// indifferent to changes of the time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// No deadline.
    pub const NEVER: Self = Self(None);

    /// `timeout` from now; one that is longer than the clock can say is [`NEVER`](Self::NEVER).
    #[must_use]
    pub fn after(timeout: Duration) -> Self {
        Self(Instant::now().checked_add(timeout))
    }

    /// What is left: `None` without a deadline, zero if it has passed.
    #[must_use]
    pub fn remaining(self) -> Option<Duration> {
        self.0.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }
}

impl From<Instant> for Deadline {
    fn from(deadline: Instant) -> Self {
        Self(Some(deadline))
    }
}
