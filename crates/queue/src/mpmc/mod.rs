//! A bounded queue for any number of senders and receivers, of values that are copied.
//!
//! ```
//! use shmkit_queue::mpmc;
//!
//! let (sender, receiver) = mpmc::channel::<u64>(64)?;
//! let other = sender.clone();
//! std::thread::scope(|scope| {
//!     scope.spawn(move || (0..100).for_each(|i| sender.send(i).unwrap()));
//!     scope.spawn(move || (100..200).for_each(|i| other.send(i).unwrap()));
//!     assert_eq!(receiver.iter().sum::<u64>(), (0..200).sum());
//! });
//! # Ok::<(), shmkit_queue::Error>(())
//! ```
//!
//! # Order
//!
//! First in, first out: a message that was sent before another is received before it. The one exception is a message whose receiver died:
//! it is delivered again, late.
//!
//! # Cost of an operation
//!
//! | | read-modify-writes | fences | system calls |
//! |---|---|---|---|
//! | `send`, room and nobody asleep | 1, and 1 more every 16th time | 0 | 0 |
//! | `recv`, a message and nobody asleep | 1, and 1 more every 16th time | 0 | 0 |
//! | `send_slice`, `recv_slice` | 2 for each 32 messages | 0 | 0 |
//! | `recv_task`, and its end | 2 more each | 0 | 0 |
//! | waking somebody | 1 more | 0 | 1 |
//!
//! A slot takes 8 bytes beside its value, whose size is rounded up to 8: 16 for a `u64`. The queue has 896 bytes beside its slots. Nothing is allocated after it was made.
//!
//! # When a process dies
//!
//! - In the middle of sending: the message was not sent, nor anything of the run of a batch that was claimed with one exchange (up to 32 messages, as far as there was room);
//!   the slots are skipped once somebody has noticed the death.
//! - In the middle of receiving: the message is delivered again to another receiver, or is lost, if the queue is to deliver [at most once](Settings::at_most_once).
//! - The last sender: receivers get what remains, then [`RecvError::Disconnected`](crate::RecvError::Disconnected).
//! - The last receiver: senders get their values back in [`SendError::Disconnected`](crate::SendError::Disconnected).
//!
//! (The last two only if the queue is not to be [kept open](Settings::keep_open).) Whoever waits notices a death within about 50 ms; nobody has to do anything about it.
//!
//! # When a process is stopped
//!
//! In the middle of sending, it delays the receivers that have come to its message: `try_recv` says [`TryRecvError::Busy`](crate::TryRecvError::Busy), and timeouts are kept.
//! In the middle of receiving, it delays the senders that have gone round to its slot: `try_send` says [`TrySendError::Full`](crate::TrySendError::Full); and after the last sender
//! has left, the other receivers are not told so before its message is acknowledged. On its way out, as the last of its side or as a reaper, it delays the news of that. Anywhere else
//! it delays nobody. This queue is therefore not lock-free in the strict sense; [`buffer`](crate::buffer) is.

#[cfg(all(feature = "async", not(loom)))]
mod futures;
mod receiver;
mod ring;
mod sender;
mod statistics;
mod task;
mod watch;

pub use receiver::Receiver;
pub use ring::Mpmc;
pub use sender::Sender;
pub use statistics::Statistics;
pub use task::Task;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use shmkit_segment::{Configuration, Error, Options, Plain, Role, Segment};
use std::sync::Arc;

/// Where a peer's tasks are counted: beside its roles.
const TASKS: usize = 2;

/// How a queue is made: its capacity, and what happens after deaths. A number alone is a capacity.
///
/// It turns [`into`](Into::into) the configuration of a segment that is created by name, in a file or in memory of one's own, of which
/// [`Sender::of`] and [`Receiver::of`] then make handles.
///
/// ```
/// use shmkit_queue::mpmc::{self, Settings};
///
/// let (sender, receiver) = mpmc::channel::<u64>(Settings::new(64).at_most_once().keep_open())?;
/// drop(sender);
/// assert_eq!(receiver.try_recv(), Err(shmkit_queue::TryRecvError::Empty)); // another sender may come
/// # Ok::<(), shmkit_queue::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    capacity: usize,
    flags: u64,
}

impl Settings {
    /// A queue of `capacity` messages, a power of two.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { capacity, flags: 0 }
    }

    /// What a receiver was just receiving when it died is lost, and counted in [`Statistics::lost`], instead of being delivered again: for messages that do harm if they come
    /// twice.
    #[must_use]
    pub fn at_most_once(mut self) -> Self {
        self.flags |= ring::AT_MOST_ONCE;
        self
    }

    /// The queue does not end when its last sender or receiver has left or died: receivers wait for another sender, and senders fill the queue and then wait for another
    /// receiver.
    #[must_use]
    pub fn keep_open(mut self) -> Self {
        self.flags |= ring::KEEP_OPEN;
        self
    }
}

impl From<usize> for Settings {
    fn from(capacity: usize) -> Self {
        Self::new(capacity)
    }
}

impl From<Settings> for Configuration {
    fn from(Settings { capacity, flags }: Settings) -> Self {
        [capacity as u64, flags, 0, 0, 0, 0, 0, 0]
    }
}

/// A queue that can be shared with child processes, and over Unix sockets. `settings` may be the capacity, a power of two.
///
/// # Errors
/// [`Error::Geometry`] if the capacity is not a power of two; [`Error::NoSpace`] and [`Error::System`] if shared memory cannot be had.
pub fn channel<T: Plain>(settings: impl Into<Settings>) -> Result<(Sender<T>, Receiver<T>), Error> {
    Options::new().anonymous(settings.into().into()).map(|segment| ends(&segment))
}

/// A queue between the threads of this process alone. `settings` may be the capacity, a power of two.
///
/// # Errors
/// [`Error::Geometry`] if the capacity is not a power of two.
pub fn private<T: Plain>(settings: impl Into<Settings>) -> Result<(Sender<T>, Receiver<T>), Error> {
    Options::new().private(settings.into().into()).map(|segment| ends(&segment))
}

fn ends<T: Plain>(segment: &Arc<Segment<Mpmc<T>>>) -> (Sender<T>, Receiver<T>) {
    (Sender::of(segment), Receiver::of(segment))
}

macro_rules! handle {
    ($name:ident) => {
        impl<T: Plain> $name<T> {
            /// A handle of a further peer of this process, for models of deaths.
            #[doc(hidden)]
            pub fn for_another_peer(&self) -> Result<Self, Error> {
                self.role.for_another_peer().map(Self::with)
            }
        }

        impl<T: Plain> Clone for $name<T> {
            /// Counts one more in this process. No system call.
            fn clone(&self) -> Self {
                Self::with(self.role.clone())
            }
        }

        impl<T: Plain> Serialize for $name<T> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.role.serialize(serializer)
            }
        }

        impl<'de, T: Plain> Deserialize<'de> for $name<T> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Role::deserialize(deserializer).map(Self::with)
            }
        }
    };
}
handle!(Sender);
handle!(Receiver);
