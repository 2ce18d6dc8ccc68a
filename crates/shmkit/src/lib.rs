//! Processes that work together through shared memory: what Python's `multiprocessing` offers, for Rust.
//!
//! ```
//! # shmkit::init(); // Needed only without the feature `hook`.
//! use shmkit::prelude::*;
//!
//! fn produce(queue: mpmc::Sender<u64>) {
//!     (1..=5).for_each(|item| queue.send(item).expect("somebody consumes"));
//! }
//!
//! fn consume(queue: mpmc::Receiver<u64>) -> u64 {
//!     queue.iter().sum() // until every sender is gone and everything was received
//! }
//!
//! let (sender, receiver) = mpmc::channel(64)?;
//! let producer = spawn(produce, sender)?; // a new process; the handle goes with it
//! let consumer = spawn(consume, receiver)?; // another one
//! producer.join()?;
//! assert_eq!(consumer.join()?, 15);
//!
//! let squares: Vec<u64> = Pool::new(4)?.map(|x: u64| x * x, 1..=5).collect::<Result<_, _>>()?;
//! assert_eq!(squares, [1, 4, 9, 16, 25]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The promise: kill any of these processes at any instruction, and nobody else hangs, loses a message whose sending had succeeded,
//! or reads garbage.
//!
//! This crate only gathers the others, each of which can be used alone:
//!
//! | module | crate | for |
//! |---|---|---|
//! | [`process`] | `shmkit-process` | running a function in a new process |
//! | [`queue`] | `shmkit-queue` | typed messages |
//! | [`pipe`] | `shmkit-pipe` | bytes, messages of any length, listeners |
//! | [`sync`] | `shmkit-sync` | waiting and locking |
//! | [`pool`] | `shmkit-pool` | mapping a function over worker processes |
//! | [`segment`] | `shmkit-segment` | objects of your own in shared memory |
#![deny(unsafe_code)]

pub use shmkit_pipe as pipe;
pub use shmkit_pool as pool;
pub use shmkit_process as process;
pub use shmkit_process::init;
pub use shmkit_queue as queue;
pub use shmkit_segment as segment;
pub use shmkit_sync as sync;

/// What most programs need.
pub mod prelude {
    pub use shmkit_pipe::{Connection, Listener, connect, duplex, pipe};
    pub use shmkit_pool::{Pool, TaskError};
    pub use shmkit_process::{JoinError, JoinHandle, spawn};
    pub use shmkit_queue::{Plain, buffer, mpmc, spsc};
    pub use shmkit_sync::{
        Array, Barrier, Condvar, CountingSemaphore, Event, LockError, Mutex, OnceLock, RwLock, Select, Semaphore,
        Shared, SharedSlice, wait,
    };
}
