//! Those who wait for permits, and the forms of waiting for them.
//!
//! Those who want one permit are woken one at a time: any of them can use what came back. Those who want several are all woken whenever something comes back, as
//! it may be enough for one and too little for another. On one event count these two would strand each other: a wake-up meant for somebody who wants one would be taken by somebody whom it
//! does not help. So each kind has its own.

use crate::error::{AcquireError, TryAcquireError};
use crate::{Condition, Deadline, EventCount};
use shmkit_segment::{Object, Segment, shared};
use std::sync::Arc;

shared! {
    /// Who waits for permits.
    pub struct Waiters {
        pub(crate) one: EventCount,
        pub(crate) many: EventCount,
    }
}

impl Waiters {
    /// Tells those who wait that a permit has come back.
    #[inline]
    pub(crate) fn notify_of_one(&self) {
        self.one.notify_one();
        self.many.notify_all();
    }

    /// Tells those who wait that permits have come back.
    pub(crate) fn notify_of_several(&self) {
        self.one.notify_all();
        self.many.notify_all();
    }

    pub(crate) fn rouse(&self) {
        self.one.rouse();
        self.many.rouse();
    }
}

/// An object that has permits.
pub(crate) trait HasPermits: Object {
    fn waiters(&self) -> &Waiters;

    fn is_any_free(&self) -> bool;
}

/// Waits for one permit.
#[cold]
pub(crate) fn wait_for_one<O: HasPermits, R>(
    segment: &Segment<O>,
    deadline: Deadline,
    attempt: impl FnMut() -> Option<R>,
) -> Option<R> {
    let object = segment.object();
    object.waiters().one.wait_until(deadline, attempt, || object.is_any_free(), || segment.look_after_peers())
}

/// Waits for several permits.
#[cold]
pub(crate) fn wait_for_many<O: HasPermits, R>(
    segment: &Segment<O>,
    deadline: Deadline,
    attempt: impl FnMut() -> Option<R>,
) -> Option<R> {
    segment.object().waiters().many.wait_until(deadline, attempt, || false, || segment.look_after_peers())
}

/// A permit to be had.
pub(crate) struct One<O: Object>(pub(crate) Arc<Segment<O>>);

impl<O: HasPermits> Condition for One<O> {
    fn event(&self) -> &EventCount {
        &self.0.object().waiters().one
    }

    fn is_met(&self) -> bool {
        self.0.object().is_any_free()
    }

    fn look_after_peers(&self) {
        self.0.look_after_peers();
    }
}

/// Permits to be had: nobody knows how many will do.
#[cfg(all(feature = "async", not(loom)))]
pub(crate) struct Many<O: Object>(pub(crate) Arc<Segment<O>>);

#[cfg(all(feature = "async", not(loom)))]
impl<O: HasPermits> Condition for Many<O> {
    fn event(&self) -> &EventCount {
        &self.0.object().waiters().many
    }

    fn is_met(&self) -> bool {
        self.0.object().is_any_free()
    }

    fn is_for_all(&self) -> bool {
        true
    }

    fn look_after_peers(&self) {
        self.0.look_after_peers();
    }
}

/// What came of an attempt, for those who would rather wait than be told that nothing is free.
pub(crate) fn or_wait<R>(outcome: Result<R, TryAcquireError>) -> Option<Result<R, AcquireError>> {
    match outcome {
        Ok(permit) => Some(Ok(permit)),
        Err(TryAcquireError::Unavailable) => None,
        Err(TryAcquireError::TooMany { limit }) => Some(Err(AcquireError::TooMany { limit })),
        Err(TryAcquireError::Forked) => Some(Err(AcquireError::Forked)),
    }
}

/// The forms of acquiring, made of `$attempt`, which never blocks, `$wait`, which blocks until something succeeds or a deadline has passed, and `$watch`, which is what to wait for.
macro_rules! acquire_forms {
    (
        ($($argument:ident: $type:ty)?) -> $permit:ty, $attempt:ident, $wait:ident, $watch:ident;
        $try_acquire:ident, $acquire:ident, $acquire_timeout:ident, $acquire_deadline:ident, $acquire_async:ident;
        $what:literal, $cost:literal
    ) => {
        #[doc = concat!("Takes ", $what, ", without blocking. ", $cost)]
        ///
        /// # Errors
        /// [`TryAcquireError::Unavailable`] if too few are there; [`TryAcquireError::TooMany`]; [`TryAcquireError::Forked`].
        #[inline]
        pub fn $try_acquire(&self $(, $argument: $type)?) -> Result<$permit, TryAcquireError> {
            // In a fork, the memory is a copy that nobody else sees.
            if self.segment().is_defunct() {
                return Err(TryAcquireError::Forked);
            }
            self.$attempt($($argument)?)
        }

        #[doc = concat!("Takes ", $what, ", and blocks until that is possible. ", $cost)]
        ///
        /// # Errors
        /// [`AcquireError::TooMany`]; [`AcquireError::Forked`].
        #[inline]
        pub fn $acquire(&self $(, $argument: $type)?) -> Result<$permit, AcquireError> {
            let mut attempt = || or_wait(self.$try_acquire($($argument)?));
            loop {
                if let Some(outcome) = attempt().or_else(|| $wait(self.segment(), Deadline::NEVER, &mut attempt)) {
                    return outcome;
                }
            }
        }

        #[doc = concat!("Takes ", $what, ", and blocks for at most `timeout`.")]
        ///
        /// # Errors
        /// [`AcquireTimeoutError::Timeout`] if that was not possible in time; [`AcquireTimeoutError::TooMany`]; [`AcquireTimeoutError::Forked`].
        pub fn $acquire_timeout(&self $(, $argument: $type)?, timeout: Duration) -> Result<$permit, AcquireTimeoutError> {
            let mut attempt = || or_wait(self.$try_acquire($($argument)?));
            let outcome = attempt().or_else(|| $wait(self.segment(), Deadline::after(timeout), &mut attempt));
            outcome.ok_or(AcquireTimeoutError::Timeout)?.map_err(AcquireTimeoutError::from)
        }

        #[doc = concat!("Takes ", $what, ", and blocks until `deadline` at the latest.")]
        ///
        /// # Errors
        #[doc = concat!("As [`", stringify!($acquire_timeout), "`](Self::", stringify!($acquire_timeout), ").")]
        pub fn $acquire_deadline(&self $(, $argument: $type)?, deadline: Instant) -> Result<$permit, AcquireTimeoutError> {
            self.$acquire_timeout($($argument,)? deadline.saturating_duration_since(Instant::now()))
        }

        #[doc = concat!("A future of ", $what, ", for any runtime. Dropped before it is ready, it has taken nothing.")]
        ///
        /// # Errors
        #[doc = concat!("As [`", stringify!($acquire), "`](Self::", stringify!($acquire), ").")]
        #[cfg(all(feature = "async", not(loom)))]
        pub fn $acquire_async(&self $(, $argument: $type)?) -> impl Future<Output = Result<$permit, AcquireError>> + '_ {
            crate::until(self, move |this| or_wait(this.$try_acquire($($argument)?)), |this| std::sync::Arc::new($watch(std::sync::Arc::clone(this.segment()))))
        }
    };
}

pub(crate) use acquire_forms;
