//! Bounded queues in shared memory that survive the death of any process at any instruction.
//!
//! | queue | senders, receivers | message | choose it for |
//! |---|---|---|---|
//! | [`spsc`] | one, one | a [`Plain`] value | the highest rate between two processes |
//! | [`mpmc`] | any, any | a [`Plain`] value | work that many produce and many consume |
//! | [`buffer`] | any, any | bytes of any length up to that of the largest buffer; what serde knows | large or variable messages, read in place, held for long |
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
//! The handles can be passed to child processes as arguments (see `shmkit-process`), and are `Send`; those of `mpmc` and `buffer` are `Sync` as well, though a clone for each
//! thread is faster.
//!
//! # One of several
//!
//! ```
//! use shmkit_queue::mpmc;
//! use shmkit_sync::Select;
//!
//! let (sender, orders) = mpmc::channel::<u64>(64)?;
//! let (_other, cancellations) = mpmc::channel::<u64>(64)?;
//! sender.send(7)?;
//!
//! let mut select = Select::new();
//! let of_orders = select.add(orders.watch());
//! let of_cancellations = select.add(cancellations.watch());
//! match select.wait() {
//!     it if it == of_orders => assert_eq!(orders.try_recv(), Ok(7)),
//!     it if it == of_cancellations => {}
//!     _ => unreachable!("there are two"),
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! With the feature `async`, descriptors can be waited for beside them, and all that waits has a form for futures, which any runtime can poll: `recv_async`, `send_async`, `stream`,
//! `sink` and more. They can be dropped at any await, without a loss.
//!
//! # Guarantees, for all three
//!
//! - A message whose `send` has returned `Ok` is received, whoever is killed, as long as a receiver is left.
//! - A message is received once, unless its receiver is killed before it has acknowledged it; then it is delivered again, to another. (On
//!   `spsc`, which has one receiver, to its successor, if it was [leased](spsc::Receiver::lease).)
//! - Nobody waits for a dead process for longer than about 50 ms.
//! - No system call except to sleep, and to wake somebody who does. No allocation after creation, and no thread, but the one that sleeps for futures when one has to wait.
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
use shmkit_segment::{Object, Segment, Side};

/// Role numbers of a queue's two sides.
const SENDERS: usize = 0;
const RECEIVERS: usize = 1;

/// Whether nobody acts in a role any more, and nobody will, or this process is a fork: what those who wait for the role's holders are told at once.
fn is_over<O: Object>(segment: &Segment<O>, role: usize, is_kept_open: bool) -> bool {
    segment.side(role) == Side::Closed && !is_kept_open || segment.is_defunct()
}
