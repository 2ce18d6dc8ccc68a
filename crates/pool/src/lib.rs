//! Maps a function over a pool of worker processes.
//!
//! ```
//! # shmkit_process::init(); // Needed only without the feature `hook`.
//! use shmkit_pool::Pool;
//!
//! let pool = Pool::new(4)?;
//! let squares: Vec<u64> = pool.map(|x: u64| x * x, [1, 2, 3, 4, 5]).collect::<Result<_, _>>()?;
//! assert_eq!(squares, [1, 4, 9, 16, 25]);
//!
//! // A task that fails, in whatever way, costs itself alone.
//! let halves: Vec<_> = pool.map(|x: u32| if x == 2 { std::process::abort() } else { 6 / x }, [1, 2, 0, 3]).collect();
//! assert_eq!(*halves[0].as_ref().unwrap(), 6);
//! assert!(matches!(halves[1], Err(shmkit_pool::TaskError::WorkerDied { .. })));
//! assert!(matches!(halves[2], Err(shmkit_pool::TaskError::Panicked { .. })));
//! assert_eq!(*halves[3].as_ref().unwrap(), 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How it works
//!
//! Tasks and results travel in two [buffer queues](shmkit_queue::buffer), and a worker holds a *lease* on the task it works on. If it dies, at
//! whatever instruction, the lease falls, and the task is delivered to another worker, with a note of who had it and how often it was begun. That worker begins
//! it again, or, if the pool's retries are used up, reports the death as the task's outcome. So there is no record of who does what that could go wrong.
//!
//! # Guarantees
//!
//! - Every task has exactly one outcome, in the order of the arguments, whatever happens to workers.
//! - A worker that ends is replaced. One that was killed between tasks costs nothing.
//! - If this process is killed, its workers end.
//!
//! # Limits
//!
//! - A task is begun more than once only if `retries` say so, but then it may be, even though it had finished: its worker may die
//!   between sending the result and being done with the task.
//! - A worker that is *stopped* holds its task until it continues.
//! - Arguments are limited in size; see [`Builder::task_limit`].
//! - One thread supervises the workers. Results are received by whoever waits for them.
#![deny(unsafe_code)]

mod error;
mod ledger;
mod map;
mod message;
mod pool;
mod queues;
mod supervisor;
mod worker;

pub use error::{PoolError, TaskError};
pub use map::Map;
pub use pool::{Builder, Pool};
