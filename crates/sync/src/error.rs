//! What can go wrong while waiting: one small type for each form of an operation, shared by those that wait for the same kind of thing.
//!
//! All of them know [`Forked`](TryAcquireError::Forked): a child made by `fork` has copies of handles, and is not attached by them.

use std::fmt;

macro_rules! errors {
    ($(
        $(#[$attribute:meta])*
        $name:ident { $($(#[$variant_attribute:meta])* $variant:ident $({ $($field:ident: $type:ty),* })?),* $(,)? }
    )*) => {$(
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$variant_attribute])* $variant $({ $(#[allow(missing_docs)] $field: $type),* })?,)*
            /// This process is a fork of the one that has the handle.
            #[error("this process was forked from the one that has the handle: open it anew")]
            Forked,
        }
    )*};
}

errors! {
    /// No permit was free.
    TryAcquireError {
        /// So many are not free; wait with `acquire`, or come again.
        #[error("too few permits are free")]
        Unavailable,
        /// There are not that many in all, so there never will be.
        #[error("more permits were asked for than the {limit} that there can ever be")]
        TooMany { limit: usize },
    }

    /// There will never be a permit.
    AcquireError {
        /// There are not that many in all.
        #[error("more permits were asked for than the {limit} that there can ever be")]
        TooMany { limit: usize },
    }

    /// No permit came free in time.
    AcquireTimeoutError {
        /// The time is up.
        #[error("no permit came free in time")]
        Timeout,
        /// There are not that many in all.
        #[error("more permits were asked for than the {limit} that there can ever be")]
        TooMany { limit: usize },
    }

    /// The permits could not be posted; none was.
    PostError {
        /// There would be more than the semaphore is bounded to: somebody posts what nobody has acquired.
        #[error("this would make more permits than the {limit} that the semaphore is bounded to")]
        Overflow { limit: usize },
    }

    /// What was waited for will not come to this process.
    WaitError {}

    /// What was waited for did not come in time.
    WaitTimeoutError {
        /// The time is up.
        #[error("it did not come in time")]
        Timeout,
    }

    /// The barrier did not open for this one.
    BarrierError {
        /// It is broken: a process that has it was killed, somebody's time was up or action panicked, or it was aborted or reset. [`reset`](crate::Barrier::reset) mends it.
        #[error("the barrier is broken: somebody died, gave up or aborted it; `reset` mends it")]
        Broken,
        /// The others did not come in time. The barrier is broken for all of them now (unless this one could not even arrive, as those before were still running their action).
        #[error("the others did not come in time, so the barrier is broken; `reset` mends it")]
        Timeout,
    }
}

impl From<AcquireError> for AcquireTimeoutError {
    fn from(error: AcquireError) -> Self {
        match error {
            AcquireError::TooMany { limit } => Self::TooMany { limit },
            AcquireError::Forked => Self::Forked,
        }
    }
}

/// A lock was not had, or had after its holder died.
pub enum LockError<G> {
    /// The lock is had, but the last one to hold it (for writing) was killed with it, and nobody has [made it consistent](crate::MutexGuard::make_consistent) since. The
    /// guarded value is whole: what the dead holder had changed is undone. (Of an [`Array`](crate::Array), what it had written so far stays.) What it did elsewhere under this lock may be half done.
    OwnerDied(G),
    /// This process is a fork of the one that has the handle.
    Forked,
}

/// A lock was not had at once, or had after its holder died.
pub enum TryLockError<G> {
    /// Somebody holds it; wait with `lock`, or come again.
    Locked,
    /// As [`LockError::OwnerDied`].
    OwnerDied(G),
    /// As [`LockError::Forked`].
    Forked,
}

/// A lock was not had in time, or had after its holder died.
pub enum LockTimeoutError<G> {
    /// The time is up.
    Timeout,
    /// As [`LockError::OwnerDied`].
    OwnerDied(G),
    /// As [`LockError::Forked`].
    Forked,
}

const OWNER_DIED: &str =
    "the last holder of the lock was killed with it: check what it guards, then call `make_consistent`";
const FORKED: &str = "this process was forked from the one that has the handle: open it anew";

/// Errors that may hold a guard, which says nothing about itself.
macro_rules! lock_error {
    ($name:ident { $($variant:ident: $text:expr),* }) => {
        impl<G> $name<G> {
            fn text(&self) -> (&'static str, &'static str) {
                match self {
                    Self::OwnerDied(_) => ("OwnerDied", OWNER_DIED),
                    Self::Forked => ("Forked", FORKED),
                    $(Self::$variant => (stringify!($variant), $text),)*
                }
            }
        }

        impl<G> fmt::Debug for $name<G> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.text().0)
            }
        }

        impl<G> fmt::Display for $name<G> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.text().1)
            }
        }

        impl<G> std::error::Error for $name<G> {}
    };
}

lock_error!(LockError {});
lock_error!(TryLockError { Locked: "somebody holds the lock" });
lock_error!(LockTimeoutError { Timeout: "the lock did not come free in time" });
