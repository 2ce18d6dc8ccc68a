//! A bounded queue for any number of senders and receivers, of byte messages that are written and read in place.
//!
//! ```
//! use shmkit_queue::buffer;
//!
//! let (sender, receiver) = buffer::channel(4, 1 << 20)?; // four buffers of a megabyte
//! sender.send(b"copied in")?;
//! let mut loan = sender.loan()?; // or written in place
//! loan[..3].copy_from_slice(b"abc");
//! loan.send(3)?;
//!
//! let lease = receiver.recv()?; // read in place
//! assert_eq!(&*lease, b"copied in");
//! lease.ack();
//!
//! let lease = receiver.recv()?;
//! assert_eq!((&*lease, lease.deliveries()), (&b"abc"[..], 1));
//! drop(lease); // not acknowledged: delivered again
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
//! | `loan` and `send`, nobody asleep | 3 | 0 | 0 |
//! | `recv` and `ack`, nobody asleep | 3 | 0 | 0 |
//! | waking somebody | 1 more | | 1 |
//!
//! A buffer takes 32 bytes or so beside its content. Finding a free one looks at one word after the other.
//!
//! # When a process dies
//!
//! - While it writes: the buffer comes back. While it reads, before `ack`: the message is delivered again, with its [count](Lease::deliveries) and its
//!   [previous holder](Lease::previous_holder).
//! - The last sender: receivers get what remains *and what other receivers still hold, should it come back*; then [`RecvError::Disconnected`]. So who
//!   holds a lease and waits for the end waits for itself.
//! - The last receiver: senders get [`SendError::Disconnected`].
//!
//! # When a process is stopped
//!
//! Nobody waits for it as long as there are free buffers: the queue is lock-free in the strict sense.

mod error;
mod guard;
mod ring;

use crate::error::{RecvError, RecvTimeoutError, TryRecvError};
use crate::{RECEIVERS, SENDERS};
pub use error::{SendError, SendTimeoutError, TrySendError};
pub use guard::{Lease, Loan};
pub use ring::Buffers;
use ring::Nothing;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use shmkit_segment::primitive::{Ordering, fence};
use shmkit_segment::{Configuration, Error, Object, Options, PeerId, Role, Segment, Side};
use shmkit_sync::Deadline;
use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A queue of `buffers` buffers (1 to 16,383) of `size` bytes (less than 4 GiB) each, that can be shared with child processes.
///
/// # Errors
/// [`Error::Geometry`] for other numbers; [`Error::NoSpace`] and [`Error::System`] if shared memory cannot be had.
pub fn channel(buffers: usize, size: usize) -> Result<(Sender, Receiver), Error> {
    Options::new().anonymous(configuration(buffers, size)).map(|segment| ends(&segment))
}

/// A queue of `buffers` buffers (1 to 16,383) of `size` bytes each between the threads of this process alone.
///
/// # Errors
/// [`Error::Geometry`] for other numbers; otherwise what the kernel says about memory.
pub fn private(buffers: usize, size: usize) -> Result<(Sender, Receiver), Error> {
    Options::new().private(configuration(buffers, size)).map(|segment| ends(&segment))
}

/// The configuration of a queue of `buffers` buffers of `size` bytes each, for objects that contain one.
#[must_use]
pub fn configuration(buffers: usize, size: usize) -> Configuration {
    [buffers as u64, size as u64, 0, 0, 0, 0, 0, 0]
}

fn ends(segment: &Arc<Segment<Buffers>>) -> (Sender, Receiver) {
    let queue = segment.object();
    (Sender::of(segment.role(SENDERS), queue, RECEIVERS), Receiver::of(segment.role(RECEIVERS), queue, SENDERS))
}

/// The sending side. Clone it for each thread; pass it, or clones of it, to other processes.
pub struct Sender<O: Object = Buffers> {
    role: Role<O>,
    queue: Buffers,
    /// The number of the other side's role.
    receivers: usize,
    me: PeerId,
    cursor: Cell<usize>,
}

/// The receiving side. Clone it for each thread; pass it, or clones of it, to other processes.
pub struct Receiver<O: Object = Buffers> {
    role: Role<O>,
    queue: Buffers,
    /// The number of the other side's role.
    senders: usize,
    me: PeerId,
    /// This process, for those who get a message after it.
    pid: u32,
}

impl<O: Object> Sender<O> {
    /// The sending side of `queue`, which is a part of the object that `role` belongs to; `receivers` is the number of the other side's role.
    pub fn of(role: Role<O>, queue: &Buffers, receivers: usize) -> Self {
        let me = role.segment().me();
        Self { role, queue: queue.clone(), receivers, me, cursor: Cell::new(0) }
    }

    /// A buffer to write into, if one is free. Never blocks.
    ///
    /// # Errors
    /// [`TrySendError::Full`] or [`TrySendError::Disconnected`].
    pub fn try_loan(&self) -> Result<Loan<'_, O>, TrySendError> {
        if self.role.segment().side(self.receivers) == Side::Closed {
            return Err(self.refusal());
        }
        let claim = self.queue.claim(self.me, &self.cursor).ok_or(TrySendError::Full)?;
        Ok(Loan::new(self, claim))
    }

    #[cold]
    fn refusal(&self) -> TrySendError {
        if self.role.is_moved() { TrySendError::Moved } else { TrySendError::Disconnected }
    }

    /// A buffer to write into. Blocks while none is free.
    ///
    /// # Errors
    /// [`SendError::Disconnected`].
    pub fn loan(&self) -> Result<Loan<'_, O>, SendError> {
        self.loan_until(Deadline::NEVER).map_err(SendTimeoutError::without_timeout)
    }

    /// A buffer to write into. Blocks for at most `timeout` while none is free.
    ///
    /// # Errors
    /// [`SendTimeoutError::Timeout`] or [`SendTimeoutError::Disconnected`].
    pub fn loan_timeout(&self, timeout: Duration) -> Result<Loan<'_, O>, SendTimeoutError> {
        self.loan_until(Deadline::after(timeout))
    }

    /// A buffer to write into. Blocks until `deadline` at the latest while none is free.
    ///
    /// # Errors
    /// [`SendTimeoutError::Timeout`] or [`SendTimeoutError::Disconnected`].
    pub fn loan_deadline(&self, deadline: Instant) -> Result<Loan<'_, O>, SendTimeoutError> {
        self.loan_until(deadline.into())
    }

    fn loan_until(&self, deadline: Deadline) -> Result<Loan<'_, O>, SendTimeoutError> {
        let attempt = || match self.try_loan() {
            Ok(loan) => Some(Ok(loan)),
            Err(error) => error.settled().map(Err),
        };
        if let Some(outcome) = attempt() {
            return outcome;
        }
        let idle = || self.role.segment().look_after_peers();
        let outcome = self.queue.ends.space.wait_until(deadline, attempt, || self.concerns_the_next(), idle);
        outcome.unwrap_or(Err(SendTimeoutError::Timeout))
    }

    /// Copies `bytes` into a buffer, if one is free, and sends it. Never blocks.
    ///
    /// # Errors
    /// [`TrySendError`].
    pub fn try_send(&self, bytes: &[u8]) -> Result<(), TrySendError> {
        let limit = self.buffer_size();
        if bytes.len() > limit {
            return Err(TrySendError::TooLarge { length: bytes.len(), limit });
        }
        if self.role.segment().side(self.receivers) == Side::Closed {
            return Err(self.refusal());
        }
        let claim = self.queue.claim(self.me, &self.cursor).ok_or(TrySendError::Full)?;
        self.fill(claim, bytes).map_err(|_| TrySendError::Corrupt)
    }

    /// Copies `bytes` into a buffer and sends it. Blocks while no buffer is free.
    ///
    /// # Errors
    /// [`SendError`].
    pub fn send(&self, bytes: &[u8]) -> Result<(), SendError> {
        self.send_until(bytes, Deadline::NEVER).map_err(SendTimeoutError::without_timeout)
    }

    /// Copies `bytes` into a buffer and sends it. Blocks for at most `timeout` while no buffer is free.
    ///
    /// # Errors
    /// [`SendTimeoutError`].
    pub fn send_timeout(&self, bytes: &[u8], timeout: Duration) -> Result<(), SendTimeoutError> {
        self.send_until(bytes, Deadline::after(timeout))
    }

    /// Copies `bytes` into a buffer and sends it. Blocks until `deadline` at the latest while no buffer is free.
    ///
    /// # Errors
    /// [`SendTimeoutError`].
    pub fn send_deadline(&self, bytes: &[u8], deadline: Instant) -> Result<(), SendTimeoutError> {
        self.send_until(bytes, deadline.into())
    }

    fn send_until(&self, bytes: &[u8], deadline: Deadline) -> Result<(), SendTimeoutError> {
        let attempt = || match self.try_send(bytes) {
            Ok(()) => Some(Ok(())),
            Err(error) => error.settled().map(Err),
        };
        if let Some(outcome) = attempt() {
            return outcome;
        }
        let idle = || self.role.segment().look_after_peers();
        let outcome = self.queue.ends.space.wait_until(deadline, attempt, || self.concerns_the_next(), idle);
        outcome.unwrap_or(Err(SendTimeoutError::Timeout))
    }

    /// Whether a sender that waits should be woken by one that has done so.
    fn concerns_the_next(&self) -> bool {
        self.queue.has_room() || self.role.segment().side(self.receivers) == Side::Closed
    }

    /// Bytes that a message has at most.
    #[must_use]
    pub fn buffer_size(&self) -> usize {
        self.queue.blocks.size()
    }

    /// How many buffers there are.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.queue.count()
    }

    /// About how many messages are waiting: a hint, outdated when it is returned.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether no message seems to be waiting: a hint.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.queue.has_message()
    }

    /// Whether there seems to be no room: a hint, outdated when it is returned.
    #[must_use]
    pub fn is_full(&self) -> bool {
        !self.queue.has_room()
    }

    /// The segment that the queue lives in.
    #[must_use]
    pub fn segment(&self) -> &Arc<Segment<O>> {
        self.role.segment()
    }
}

impl<O: Object> Receiver<O> {
    /// The receiving side of `queue`, which is a part of the object that `role` belongs to; `senders` is the number of the other side's role.
    pub fn of(role: Role<O>, queue: &Buffers, senders: usize) -> Self {
        let me = role.segment().me();
        Self { role, queue: queue.clone(), senders, me, pid: std::process::id() }
    }

    /// Takes the next message if there is one. Never blocks.
    ///
    /// # Errors
    /// [`TryRecvError::Empty`]; [`Disconnected`](TryRecvError::Disconnected) once every sender is gone and everything was acknowledged;
    /// [`Corrupt`](TryRecvError::Corrupt).
    pub fn try_recv(&self) -> Result<Lease<'_, O>, TryRecvError> {
        match self.queue.take(self.me) {
            Ok(claim) => self.lease(claim),
            Err(nothing) => self.try_recv_last(nothing),
        }
    }

    /// Nothing was taken: is that all there will ever be? The order matters, see the same place in [`mpmc`](crate::mpmc).
    #[cold]
    fn try_recv_last(&self, mut nothing: Nothing) -> Result<Lease<'_, O>, TryRecvError> {
        if self.role.is_moved() {
            return Err(TryRecvError::Moved);
        }
        let gone = self.role.segment().side(self.senders) == Side::Closed;
        if gone {
            fence(Ordering::SeqCst);
            match self.queue.take(self.me) {
                Ok(claim) => return self.lease(claim),
                Err(again) => nothing = again,
            }
        }
        match nothing {
            Nothing::Now if gone && self.queue.is_drained() => Err(TryRecvError::Disconnected),
            Nothing::Now => Err(TryRecvError::Empty),
            Nothing::Corrupt => Err(TryRecvError::Corrupt),
        }
    }

    fn lease(&self, claim: ring::Claim) -> Result<Lease<'_, O>, TryRecvError> {
        let length = self.queue.length(claim).ok_or(TryRecvError::Corrupt)?;
        Ok(Lease::new(self, claim, length))
    }

    /// After an acknowledgement: others may sleep until the last message is acknowledged, to learn that it was the last. In the notification of
    /// space, `written` stands between the acknowledgement and this load; its partner is the fence in `try_recv_last`.
    fn wake_if_last(&self) {
        if self.role.segment().side(self.senders) == Side::Closed {
            self.queue.ends.data.notify_all();
        }
    }

    /// Takes the next message, and blocks while there is none.
    ///
    /// # Errors
    /// [`RecvError::Disconnected`] once every sender has left or died and everything was acknowledged; [`RecvError::Corrupt`].
    pub fn recv(&self) -> Result<Lease<'_, O>, RecvError> {
        self.recv_until(Deadline::NEVER).map_err(RecvTimeoutError::without_timeout)
    }

    /// Takes the next message, and blocks for at most `timeout` while there is none.
    ///
    /// # Errors
    /// [`RecvTimeoutError`].
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Lease<'_, O>, RecvTimeoutError> {
        self.recv_until(Deadline::after(timeout))
    }

    /// Takes the next message, and blocks until `deadline` at the latest while there is none.
    ///
    /// # Errors
    /// [`RecvTimeoutError`].
    pub fn recv_deadline(&self, deadline: Instant) -> Result<Lease<'_, O>, RecvTimeoutError> {
        self.recv_until(deadline.into())
    }

    fn recv_until(&self, deadline: Deadline) -> Result<Lease<'_, O>, RecvTimeoutError> {
        let attempt = || match self.try_recv() {
            Ok(lease) => Some(Ok(lease)),
            Err(error) => error.settled().map(Err),
        };
        if let Some(outcome) = attempt() {
            return outcome;
        }
        let idle = || self.role.segment().look_after_peers();
        let outcome = self.queue.ends.data.wait_until(deadline, attempt, || self.concerns_the_next(), idle);
        outcome.unwrap_or(Err(RecvTimeoutError::Timeout))
    }

    /// Whether a receiver that waits should be woken by one that has done so.
    fn concerns_the_next(&self) -> bool {
        self.queue.has_message() || self.role.segment().side(self.senders) == Side::Closed
    }

    /// How many buffers there are.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.queue.count()
    }

    /// About how many messages are waiting: a hint, outdated when it is returned.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether no message seems to be waiting: a hint, and no reason to stop receiving.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.queue.has_message()
    }

    /// The segment that the queue lives in.
    #[must_use]
    pub fn segment(&self) -> &Arc<Segment<O>> {
        self.role.segment()
    }
}

macro_rules! handle {
    ($name:ident, $other:ident, $number:expr) => {
        impl<O: Object> $name<O> {
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
