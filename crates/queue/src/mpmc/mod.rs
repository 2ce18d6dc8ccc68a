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
//! | waking somebody | 1 more | | 1 |
//!
//! A slot takes 8 bytes beside its value.
//!
//! # When a process dies
//!
//! - In the middle of sending: the message was not sent; its slot is skipped once somebody has noticed the death.
//! - In the middle of receiving: the message is delivered again to another receiver.
//! - The last sender: receivers get what remains, then [`RecvError::Disconnected`].
//! - The last receiver: senders get their values back in [`SendError::Disconnected`].
//!
//! Whoever waits notices a death within about 50 ms; nobody has to do anything about it.
//!
//! # When a process is stopped
//!
//! In the middle of sending, it delays the receivers that have come to its message: `try_recv` says [`TryRecvError::Busy`], and timeouts are kept.
//! This queue is therefore not lock-free in the strict sense; [`buffer`](crate::buffer) is.

mod ring;

use crate::error::{RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError};
use crate::word::Suspicion;
use crate::{RECEIVERS, SENDERS};
pub use ring::Mpmc;
use ring::{Idle, Jam};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use shmkit_segment::primitive::{Ordering, fence};
use shmkit_segment::{Configuration, Error, Options, PeerId, Plain, Role, Segment, Side};
use shmkit_sync::Deadline;
use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A queue of `capacity` messages (a power of two) that can be shared with child processes.
///
/// # Errors
/// [`Error::Geometry`] if `capacity` is not a power of two; [`Error::NoSpace`] and [`Error::System`] if shared memory cannot be had.
pub fn channel<T: Plain>(capacity: usize) -> Result<(Sender<T>, Receiver<T>), Error> {
    Options::new().anonymous(configuration(capacity)).map(|segment| ends(&segment))
}

/// A queue of `capacity` messages (a power of two) between the threads of this process alone.
///
/// # Errors
/// [`Error::Geometry`] if `capacity` is not a power of two.
pub fn private<T: Plain>(capacity: usize) -> Result<(Sender<T>, Receiver<T>), Error> {
    Options::new().private(configuration(capacity)).map(|segment| ends(&segment))
}

/// What a segment for a queue of `capacity` messages is created with.
#[must_use]
pub fn configuration(capacity: usize) -> Configuration {
    [capacity as u64, 0, 0, 0, 0, 0, 0, 0]
}

fn ends<T: Plain>(segment: &Arc<Segment<Mpmc<T>>>) -> (Sender<T>, Receiver<T>) {
    (Sender::of(segment), Receiver::of(segment))
}

/// The sending side. Clone it for each thread; pass it, or clones of it, to other processes.
pub struct Sender<T: Plain> {
    role: Role<Mpmc<T>>,
    queue: Mpmc<T>,
    me: PeerId,
    cursor: Cell<u64>,
    suspicion: Suspicion,
}

/// The receiving side. Clone it for each thread; pass it, or clones of it, to other processes.
pub struct Receiver<T: Plain> {
    role: Role<Mpmc<T>>,
    queue: Mpmc<T>,
    me: PeerId,
    cursor: Cell<u64>,
    seen: Cell<Option<u64>>,
    suspicion: Suspicion,
}

impl<T: Plain> Sender<T> {
    /// A sender of the queue in `segment`, which may have been opened by name.
    #[must_use]
    pub fn of(segment: &Arc<Segment<Mpmc<T>>>) -> Self {
        Self::with(segment.role(SENDERS))
    }

    fn with(role: Role<Mpmc<T>>) -> Self {
        let (queue, me) = (role.segment().object().clone(), role.segment().me());
        Self { role, queue, me, cursor: Cell::new(0), suspicion: Suspicion::default() }
    }

    /// Sends `value` if there is room. Never blocks.
    ///
    /// # Errors
    /// [`TrySendError::Full`], [`Disconnected`](TrySendError::Disconnected) or [`Corrupt`](TrySendError::Corrupt), with the value.
    #[inline]
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        if self.role.segment().side(RECEIVERS) == Side::Closed {
            return Err(self.refuse(value));
        }
        self.queue.push(self.me, &self.cursor, value).map_err(|jam| match jam {
            Jam::Full(word) => {
                if let Some(owner) = self.suspicion.of(word) {
                    self.role.segment().reap(owner);
                }
                TrySendError::Full(value)
            }
            Jam::Corrupt => TrySendError::Corrupt(value),
        })
    }

    #[cold]
    fn refuse(&self, value: T) -> TrySendError<T> {
        if self.role.is_moved() { TrySendError::Moved(value) } else { TrySendError::Disconnected(value) }
    }

    /// Sends `value`, and blocks while the queue is full.
    ///
    /// # Errors
    /// [`SendError::Disconnected`] or [`SendError::Corrupt`], with the value.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.send_until(value, Deadline::NEVER).map_err(SendTimeoutError::without_timeout)
    }

    /// Sends `value`, and blocks for at most `timeout` while the queue is full.
    ///
    /// # Errors
    /// [`SendTimeoutError`] with the value.
    pub fn send_timeout(&self, value: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.send_until(value, Deadline::after(timeout))
    }

    /// Sends `value`, and blocks until `deadline` at the latest while the queue is full.
    ///
    /// # Errors
    /// [`SendTimeoutError`] with the value.
    pub fn send_deadline(&self, value: T, deadline: Instant) -> Result<(), SendTimeoutError<T>> {
        self.send_until(value, deadline.into())
    }

    fn send_until(&self, value: T, deadline: Deadline) -> Result<(), SendTimeoutError<T>> {
        let attempt = || match self.try_send(value) {
            Ok(()) => Some(Ok(())),
            Err(error) => error.settled().map(Err),
        };
        if let Some(outcome) = attempt() {
            return outcome;
        }
        let more = || self.queue.has_room(&self.cursor) || self.role.segment().side(RECEIVERS) == Side::Closed;
        let idle = || self.role.segment().look_after_peers();
        let outcome = self.queue.ends.space.wait_until(deadline, attempt, more, idle);
        outcome.unwrap_or(Err(SendTimeoutError::Timeout(value)))
    }

    /// How many messages the queue holds at most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.queue.capacity() as usize
    }

    /// About how many messages are waiting: a hint, exact to within 16 on either side and outdated when it is returned.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len() as usize
    }

    /// Whether no message seems to be waiting: a hint like [`len`](Self::len).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.queue.has_message(&Cell::new(0))
    }

    /// Whether there seems to be no room: a hint, outdated when it is returned.
    #[must_use]
    pub fn is_full(&self) -> bool {
        !self.queue.has_room(&self.cursor)
    }

    /// The segment that the queue lives in.
    #[must_use]
    pub fn segment(&self) -> &Arc<Segment<Mpmc<T>>> {
        self.role.segment()
    }
}

impl<T: Plain> Receiver<T> {
    /// A receiver of the queue in `segment`, which may have been opened by name.
    #[must_use]
    pub fn of(segment: &Arc<Segment<Mpmc<T>>>) -> Self {
        Self::with(segment.role(RECEIVERS))
    }

    fn with(role: Role<Mpmc<T>>) -> Self {
        let (queue, me) = (role.segment().object().clone(), role.segment().me());
        Self { role, queue, me, cursor: Cell::new(0), seen: Cell::new(None), suspicion: Suspicion::default() }
    }

    /// Receives a message if there is one. Never blocks.
    ///
    /// # Errors
    /// [`TryRecvError::Empty`]; [`Busy`](TryRecvError::Busy) if the next message is still being written;
    /// [`Disconnected`](TryRecvError::Disconnected) once every sender is gone and everything was received; [`Corrupt`](TryRecvError::Corrupt).
    #[inline]
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        match self.queue.pop(self.me, &self.cursor, &self.seen) {
            Ok(value) => {
                // Others may sleep until the last message is acknowledged, to learn that it was the last. In the notification of space,
                // `written` stands between the acknowledgement and this load; its partner is the fence in `try_recv_last`.
                if self.role.segment().side(SENDERS) == Side::Closed {
                    self.queue.ends.data.notify_all();
                }
                Ok(value)
            }
            Err(idle) => self.try_recv_last(idle),
        }
    }

    /// Nothing was popped: is that all there will ever be?
    ///
    /// The order matters. First the senders are seen to be gone, *then* a pop finds nothing, and *then* every slot is EMPTY: anything shorter
    /// loses a message that was sent between two looks, or that a receiver, which dies now, was just taking.
    #[cold]
    fn try_recv_last(&self, mut idle: Idle) -> Result<T, TryRecvError> {
        if self.role.is_moved() {
            return Err(TryRecvError::Moved);
        }
        let gone = self.role.segment().side(SENDERS) == Side::Closed;
        if gone {
            fence(Ordering::SeqCst);
            match self.queue.pop(self.me, &self.cursor, &self.seen) {
                Ok(value) => {
                    self.queue.ends.data.notify_all();
                    return Ok(value);
                }
                Err(again) => idle = again,
            }
        }
        match idle {
            Idle::Empty if gone && self.queue.is_drained() => Err(TryRecvError::Disconnected),
            Idle::Empty => Err(TryRecvError::Empty),
            Idle::Writing(word) => {
                if let Some(owner) = self.suspicion.of(word) {
                    self.role.segment().reap(owner);
                }
                Err(TryRecvError::Busy)
            }
            Idle::Corrupt => Err(TryRecvError::Corrupt),
        }
    }

    /// Receives a message, and blocks while there is none.
    ///
    /// # Errors
    /// [`RecvError::Disconnected`] once every sender has left or died and everything was received; [`RecvError::Corrupt`].
    pub fn recv(&self) -> Result<T, RecvError> {
        self.recv_until(Deadline::NEVER).map_err(RecvTimeoutError::without_timeout)
    }

    /// Receives a message, and blocks for at most `timeout` while there is none.
    ///
    /// # Errors
    /// [`RecvTimeoutError`].
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.recv_until(Deadline::after(timeout))
    }

    /// Receives a message, and blocks until `deadline` at the latest while there is none.
    ///
    /// # Errors
    /// [`RecvTimeoutError`].
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.recv_until(deadline.into())
    }

    fn recv_until(&self, deadline: Deadline) -> Result<T, RecvTimeoutError> {
        let attempt = || match self.try_recv() {
            Ok(value) => Some(Ok(value)),
            Err(error) => error.settled().map(Err),
        };
        if let Some(outcome) = attempt() {
            return outcome;
        }
        let more = || self.queue.has_message(&self.cursor) || self.role.segment().side(SENDERS) == Side::Closed;
        let idle = || self.role.segment().look_after_peers();
        let outcome = self.queue.ends.data.wait_until(deadline, attempt, more, idle);
        outcome.unwrap_or(Err(RecvTimeoutError::Timeout))
    }

    /// Messages as they come, until every sender is gone and everything was received. Blocks in between.
    pub fn iter(&self) -> impl Iterator<Item = T> {
        std::iter::from_fn(|| self.recv().ok())
    }

    /// The messages that are there now. Never blocks.
    pub fn try_iter(&self) -> impl Iterator<Item = T> {
        std::iter::from_fn(|| self.try_recv().ok())
    }

    /// How many messages the queue holds at most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.queue.capacity() as usize
    }

    /// About how many messages are waiting: a hint, exact to within 16 on either side and outdated when it is returned.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len() as usize
    }

    /// Whether no message seems to be waiting: a hint, and no reason to stop receiving. Iterate instead.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.queue.has_message(&self.cursor)
    }

    /// The segment that the queue lives in.
    #[must_use]
    pub fn segment(&self) -> &Arc<Segment<Mpmc<T>>> {
        self.role.segment()
    }
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
