//! Waiting and locking across processes, robust to the death of any of them.
//!
//! | | for | when a process dies that has it |
//! |---|---|---|
//! | [`Mutex`] | a value that one at a time changes | its changes are undone; the next one is told |
//! | [`RwLock`] | a value that many read | the same; a reader's lock comes back |
//! | [`Array`] | much data, changed in place | the next one is told |
//! | [`Condvar`] | waiting for a change of what a mutex guards | all who wait look again |
//! | [`Semaphore`] | a limit to how many do something | its permits come back |
//! | [`CountingSemaphore`] | permits that one posts and another acquires | nothing |
//! | [`Event`] | something that happens once, until it is cleared | nothing |
//! | [`Barrier`] | going on together | it is broken for all |
//! | [`OnceLock`] | a value that is made once | another one makes it |
//! | [`Shared`], [`SharedSlice`] | atomics | nothing |
//! | [`Select`], [`wait`] | waiting for one of several things, of whatever crate | as with each of them |
//! | [`EventCount`] | the one way in which anything in this toolkit sleeps: to build with. No system call and no read-modify-write when nobody does | everybody looks again |
//!
//! Each is a handle: cloned, passed to a child process as an argument, sent over a Unix socket, or made [of a segment](Mutex::of) that was found by a name, in a file or in an embedder's memory.
//!
//! ```
//! use shmkit_sync::{Semaphore, TryAcquireError};
//! use std::time::Duration;
//!
//! let semaphore = Semaphore::new(2)?;
//! let first = semaphore.acquire()?;
//! let second = semaphore.acquire()?;
//! assert!(matches!(semaphore.try_acquire(), Err(TryAcquireError::Unavailable)));
//! assert!(semaphore.acquire_timeout(Duration::from_millis(1)).is_err());
//! drop(first);
//! let third = semaphore.try_acquire().expect("one has come back");
//! # drop((second, third));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What they have in common
//!
//! - **Fairness**: none of the locks and semaphores is fair. Whoever comes at the right moment is first, and a waiter can be overtaken for ever in theory. A condition variable notifies in the order of coming; events and barriers let all go.
//! - **Priorities** are not inherited: a holder of low priority that is not scheduled keeps one of high priority waiting.
//! - **Signal handlers** may set and clear events, post to a counting semaphore and notify a condition variable. They must not lock or wait for what the thread that they interrupt may have.
//! - **Deadlines** are points of the monotonic clock: neither signals nor changes of the time of day make them earlier or later.
//! - **A stopped process** is not dead: it keeps what it has.
//! - **A death** is noticed by whoever waits, within about 50 ms.
//!
//! Nothing here is a pthread object: those are tied to threads and to one C library, and their robust lists lead through memory that peers
//! can write.
//!
//! Except with the feature `portable`, which puts such objects in the place of futexes and is **not kill-safe**: see the README.

#![deny(unsafe_code)]

mod array;
mod barrier;
mod cells;
mod condvar;
mod counting_semaphore;
mod deadline;
#[cfg(all(feature = "async", not(loom)))]
mod descriptors;
mod error;
mod event;
mod event_count;
mod futex;
#[cfg(all(feature = "async", not(loom)))]
mod future;
mod gate;
mod handle;
mod mutex;
mod once_lock;
mod owner;
mod patience;
#[cfg(all(feature = "portable", not(loom)))]
mod raw_event;
mod rw_lock;
mod select;
mod semaphore;
mod sole;
mod waiters;
#[cfg(all(feature = "async", not(loom)))]
mod watcher;

pub use array::{Array, ArrayObject, ArrayReadGuard, ArrayWriteGuard};
pub use barrier::{Barrier, BarrierObject};
pub use cells::{Cells, Shared, SharedSlice};
pub use condvar::{Condvar, CondvarObject, Wakeup};
pub use counting_semaphore::{CountingSemaphore, CountingSemaphoreObject};
pub use deadline::Deadline;
#[cfg(all(feature = "async", not(loom)))]
pub use descriptors::WatchFd;
pub use error::{
    AcquireError, AcquireTimeoutError, BarrierError, LockError, LockTimeoutError, PostError, TryAcquireError,
    TryLockError, WaitError, WaitTimeoutError,
};
pub use event::{Event, EventObject};
pub use event_count::EventCount;
#[cfg(all(feature = "async", not(loom)))]
pub use future::{Waiter, until};
pub use mutex::{Mutex, MutexGuard, MutexObject};
pub use once_lock::{OnceLock, OnceLockObject};
pub use rw_lock::{ReadGuard, RwLock, RwLockObject, WriteGuard};
pub use select::{Condition, Select, Waitable, Watch, wait};
pub use semaphore::{Permit, Permits, Semaphore, SemaphoreObject};
pub use shmkit_segment::{Error, Plain};
