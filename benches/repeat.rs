//! What is repeated to be measured: operations, one by one.

use std::fmt::Display;

/// A way of measuring.
pub(crate) trait Repeat {
    /// `call` leaves the object as it was, so that it can be called any number of times.
    fn repeat<S, R>(&mut self, name: impl Display, state: impl Fn() -> S, call: impl FnMut(&mut S) -> R);
}
