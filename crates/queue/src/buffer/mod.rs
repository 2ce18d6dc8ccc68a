//! A bounded queue for any number of senders and receivers, of byte messages that are written and read in place.
//!
//! ```
//! use shmkit_queue::buffer;
//!
//! let (sender, receiver) = buffer::channel((4, 1 << 20))?; // four buffers of a megabyte
//! sender.send(b"copied in")?;
//! let mut loan = sender.loan(1 << 20)?; // or written in place
//! loan[..3].copy_from_slice(b"abc");
//! loan.truncate(3);
//! loan.send()?;
//! sender.send_value(&(7_u8, "encoded in place"))?; // or anything that serde knows
//!
//! let lease = receiver.recv()?; // read in place, for as long as one likes
//! assert_eq!(&*lease, b"copied in");
//! lease.ack();
//!
//! let lease = receiver.recv()?;
//! assert_eq!((&*lease, lease.deliveries()), (&b"abc"[..], 1));
//! lease.nack(); // delivered again, behind what waits; so is a lease that is dropped
//!
//! let lease = receiver.recv()?;
//! assert_eq!(lease.value::<(u8, &str)>()?, (7, "encoded in place"));
//! lease.ack();
//! assert_eq!(receiver.recv()?.deliveries(), 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Order
//!
//! First in, first out, by the instant at which a message is published. A message that is delivered again comes behind those that wait.
//!
//! # Cost of an operation
//!
//! Independent of the message's length, if it is written and read in place.
//!
//! | | read-modify-writes | fences | system calls |
//! |---|---|---|---|
//! | `loan` and `send`, nobody asleep | 2, and 1 more every 16th time | 0 | 0 |
//! | `recv` and `ack`, nobody asleep | 1, and 1 more every 16th time | 0 | 0 |
//! | waking somebody | 1 more | | 1 |
//!
//! A buffer takes 32 bytes or so beside its content, which starts on a multiple of 64. Finding a free one looks at one word after the other, from where the last one was
//! found: usually at one; at all of them if none is free and not all that are in use wait to be received. A sender takes first those that it used last (`shelf.rs` says of which
//! sizes, and why).
//!
//! # When a process dies
//!
//! - While it writes: the buffer comes back. While it reads, before `ack`: the message is delivered again, with its [count](Lease::deliveries) and its
//!   [previous holder](Lease::previous_holder).
//! - The last sender: receivers get what remains *and what other receivers still hold, should it come back*; then
//!   [`RecvError::Disconnected`](crate::RecvError::Disconnected). So who holds a lease and waits for the end waits for itself.
//! - The last receiver: senders get [`SendError::Disconnected`].
//!
//! (The last two only if the queue is not to be [kept open](Settings::keep_open).)
//!
//! # When a process is stopped
//!
//! Nobody waits for it as long as there are free buffers: the queue is lock-free in the strict sense. What it holds itself, it keeps: the buffers that it writes or reads, and so, when the
//! last sender has left, the news of the end. As the last of its side, on its way out, or as a reaper, it delays the news of that.

mod cell;
mod error;
#[cfg(all(feature = "async", not(loom)))]
mod futures;
mod lease;
mod loan;
mod receiver;
mod ring;
mod sender;
mod settings;
mod shelf;
mod statistics;
mod watch;

pub use error::{DecodeError, SendError, SendTimeoutError, TrySendError};
pub use lease::Lease;
pub use loan::Loan;
pub use receiver::Receiver;
pub use ring::Buffers;
pub use sender::Sender;
pub use settings::Settings;
pub use statistics::Statistics;

use crate::{RECEIVERS, SENDERS};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use shmkit_segment::{Error, Object, Options, Role, Segment};
use std::sync::Arc;

/// A queue that can be shared with child processes. `settings` may be a number of buffers and their size in bytes.
///
/// # Errors
/// [`Error::Geometry`] for settings that cannot be; [`Error::NoSpace`] and [`Error::System`] if shared memory cannot be had.
pub fn channel<S: Into<Settings>>(settings: S) -> Result<(Sender, Receiver), Error> {
    Options::new().anonymous(settings.into().into()).map(|segment| ends(&segment))
}

/// A queue between the threads of this process alone. `settings` may be a number of buffers and their size in bytes.
///
/// # Errors
/// [`Error::Geometry`] for settings that cannot be; otherwise what the kernel says about memory.
pub fn private<S: Into<Settings>>(settings: S) -> Result<(Sender, Receiver), Error> {
    Options::new().private(settings.into().into()).map(|segment| ends(&segment))
}

fn ends(segment: &Arc<Segment<Buffers>>) -> (Sender, Receiver) {
    let queue = segment.object();
    (Sender::of(segment.role(SENDERS), queue, RECEIVERS), Receiver::of(segment.role(RECEIVERS), queue, SENDERS))
}

macro_rules! handle {
    ($name:ident, $other:ident, $number:expr) => {
        impl<O: Object> $name<O> {
            /// How many buffers there are.
            #[must_use]
            pub fn capacity(&self) -> usize {
                self.queue.count()
            }

            /// How many messages are waiting: a hint, outdated when it is returned.
            #[must_use]
            pub fn len(&self) -> usize {
                self.queue.len()
            }

            /// Whether no message is waiting: a hint, and no reason to stop receiving.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                !self.queue.has_message()
            }

            /// What has passed and what is under way.
            #[must_use]
            pub fn statistics(&self) -> Statistics {
                Statistics::of(&self.queue)
            }

            /// The segment that the queue lives in.
            #[must_use]
            pub fn segment(&self) -> &Arc<Segment<O>> {
                self.role.segment()
            }

            /// A handle of a further peer of this process, for models of deaths.
            #[doc(hidden)]
            pub fn for_another_peer(&self) -> Result<Self, Error> {
                Ok(Self::of(self.role.for_another_peer()?, &self.queue, self.$other))
            }
        }

        impl<O: Object> Clone for $name<O> {
            /// Counts one more in this process. No system call.
            fn clone(&self) -> Self {
                Self::of(self.role.clone(), &self.queue, self.$other)
            }
        }

        impl<O: Object> Serialize for $name<O> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.role.serialize(serializer)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let role = Role::<Buffers>::deserialize(deserializer)?;
                let queue = role.segment().object().clone();
                Ok(Self::of(role, &queue, $number))
            }
        }
    };
}
handle!(Sender, receivers, RECEIVERS);
handle!(Receiver, senders, SENDERS);
