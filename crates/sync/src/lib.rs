//! Waiting and locking across processes, robust to the death of any of them.
//!
//! - [`EventCount`]: the one way in which anything in this toolkit sleeps. No system call and no read-modify-write when nobody does.
//! - [`Select`]: waiting for one of several things, of whatever crate.
//! - [`Semaphore`]: permits that come back when their holder dies.
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
mod waiters;
#[cfg(all(feature = "async", not(loom)))]
mod watcher;

pub use array::{Array, ArrayObject, ArrayReadGuard, ArrayWriteGuard};
pub use barrier::{Barrier, BarrierObject};
pub use cells::{Cells, Shared, SharedSlice};
pub use condvar::{Condvar, CondvarObject, Wakeup};
pub use counting_semaphore::{CountingSemaphore, CountingSemaphoreObject};
pub use deadline::Deadline;
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
pub use select::{Condition, Select, Watch};
pub use semaphore::{Permit, Permits, Semaphore, SemaphoreObject};
pub use shmkit_segment::{Error, Plain};
