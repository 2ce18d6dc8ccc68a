//! Bounded queues in shared memory that survive the death of any process at any instruction.
//!
//! | queue | senders, receivers | message | choose it for |
//! |---|---|---|---|
//! | [`spsc`] | one, one | a [`Plain`] value | the highest rate between two processes |
//! | [`mpmc`] | any, any | a [`Plain`] value | work that many produce and many consume |
//! | [`buffer`] | any, any | bytes, up to a size fixed per queue | large or variable messages, read in place, held for long |
//!
//! ```
//! use shmkit_queue::{TryRecvError, mpmc};
//!
//! let (sender, receiver) = mpmc::channel::<u64>(1024)?;
//! sender.send(7)?;
//! assert_eq!(receiver.recv(), Ok(7));
//! assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
//!
//! drop(sender); // the last one: what remains is received, then iteration ends
//! assert_eq!(receiver.iter().next(), None);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The handles can be passed to child processes as arguments (see `shmkit-process`), and are `Send`.
//!
//! # Guarantees, for all three
//!
//! - A message whose `send` has returned `Ok` is received, whoever is killed, as long as a receiver is left.
//! - A message is received once, unless its receiver is killed before it has acknowledged it; then it is delivered again, to another. (On
//!   `spsc`, which has one receiver, to its successor, if it was [leased](spsc::Receiver::lease).)
//! - Nobody waits for a dead process for longer than about 50 ms.
//! - No system call except to sleep, and to wake somebody who does. No allocation and no thread after creation.
//!
//! # Limits
//!
//! - A *stopped* process is not dead. On `mpmc`, one that was stopped in the middle of sending delays the receivers behind it until it
//!   continues, and one in the middle of receiving the senders that come round to it, like on any ring of this kind; calls with a deadline keep it.
//! - Peers are trusted with integrity: one that writes nonsense into the queue makes others receive nonsense, or an error, but nothing worse.

#![deny(unsafe_code)]

pub mod buffer;
mod error;
#[cfg(all(feature = "async", not(loom)))]
mod futures;
mod hint;
pub mod mpmc;
pub mod spsc;
mod word;

pub use error::{
    JoinError, RecvError, RecvTimeoutError, SendError, SendSliceError, SendTimeoutError, TryRecvError, TrySendError,
};
pub use shmkit_segment::{Error, Plain};

/// Role numbers of a queue's two sides.
const SENDERS: usize = 0;
const RECEIVERS: usize = 1;
