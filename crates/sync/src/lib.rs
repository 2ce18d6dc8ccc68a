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

mod deadline;
#[cfg(all(feature = "async", not(loom)))]
mod descriptors;
#[cfg(all(feature = "portable", not(loom)))]
mod event;
mod event_count;
mod futex;
#[cfg(all(feature = "async", not(loom)))]
mod future;
mod patience;
mod select;
mod semaphore;
#[cfg(all(feature = "async", not(loom)))]
mod watcher;

pub use deadline::Deadline;
pub use event_count::EventCount;
#[cfg(all(feature = "async", not(loom)))]
pub use future::{Waiter, until};
pub use select::{Condition, Select, Watch};
pub use semaphore::{AcquireError, AcquireTimeoutError, Permit, Semaphore, TryAcquireError};
pub use shmkit_segment::Error;
