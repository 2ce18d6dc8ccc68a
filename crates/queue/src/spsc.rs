//! A bounded queue from one sender to one receiver, of values that are copied.
//!
//! ```
//! use shmkit_queue::spsc;
//!
//! let (mut sender, mut receiver) = spsc::channel::<u64>(1024)?;
//! std::thread::spawn(move || (0..10_000).for_each(|i| sender.send(i).unwrap()));
//! assert!(receiver.iter().eq(0..10_000)); // blocks in between, and ends when the sender is gone
//! # Ok::<(), shmkit_queue::Error>(())
//! ```
//!
//! # Protocol
//!
//! A ring of values and two positions that only grow. Each side writes its own position and keeps a copy of the other's, which it reads again only
//! when the copy says that the ring is full (empty): on a busy queue most operations touch no shared line but the values'.
//!
//! - `send`: write the value, *then* store `tail` with release. The receiver's acquire load of `tail` pairs with it: it sees the value.
//! - `recv`: copy the value, *then* store `head` with release. The sender's acquire load of `head` pairs with it: it writes only behind.
//!
//! The store is the instant at which a message is sent (received): killed before it, nothing happened; killed after it, all of it did. There is nothing
//! to repair. A position read from the other side is checked against one's own before it is believed.
//!
//! After Lamport's ring, with the cached positions of MCRingBuffer (Lee, Bu and Chandranmenon) and of `rtrb`.
//!
//! # Cost of an operation
//!
//! No read-modify-write, no fence, no system call unless somebody must sleep or be woken. A message takes its own size rounded up to 8 bytes.
//!
//! # When a process dies
//!
//! - The sender: the receiver gets what was sent, then [`RecvError::Disconnected`].
//! - The receiver: the sender gets its values back in [`SendError::Disconnected`]. What was sent and not received is lost with it.
//!
//! A stopped process delays nobody but the other side, which keeps its timeouts.

use crate::error::{RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError};
use crate::{RECEIVERS, SENDERS};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use shmkit_segment::primitive::{AtomicU64, Ordering};
use shmkit_segment::{
    At, AtRing, Configuration, Error, Line, Mapped, Memory, Object, Options, PeerId, Plain, PlainCell, Plan, Ring,
    Role, Segment, Side, kind, shared,
};
use shmkit_sync::{Deadline, EventCount};
use std::alloc::Layout;
use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

shared! {
    /// Each on lines of its own.
    #[doc(hidden)]
    pub struct Ends {
        tail: Line<AtomicU64>,
        head: Line<AtomicU64>,
        data: Line<EventCount>,
        space: Line<EventCount>,
    }
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Ends>() == 4 * 128);

/// The queue in its segment.
pub struct Spsc<T: Plain> {
    ends: Mapped<Ends>,
    values: Ring<PlainCell<T>>,
}

impl<T: Plain> Clone for Spsc<T> {
    fn clone(&self) -> Self {
        Self { ends: self.ends.clone(), values: self.values.clone() }
    }
}

impl<T: Plain> Object for Spsc<T> {
    const KIND: u32 = kind(b"SPSC");
    const HARDENED: bool = true;
    type Parts = (At<Ends>, AtRing<PlainCell<T>>);

    fn payload() -> Layout {
        Layout::new::<T>()
    }

    fn plan(&[capacity, ..]: &Configuration, plan: &mut Plan) -> Result<Self::Parts, Error> {
        let capacity = usize::try_from(capacity).map_err(|_| Error::Geometry("the capacity is too large"))?;
        Ok((plan.one()?, plan.ring(capacity)?))
    }

    fn attach(memory: &Memory, parts: &Self::Parts) -> Self {
        Self { ends: memory.one(parts.0), values: memory.ring(parts.1) }
    }

    fn sweep(&self, _dead: PeerId, _reaper: PeerId) {}

    fn wake_all(&self) {
        self.ends.data.rouse();
        self.ends.space.rouse();
    }
}

/// A queue of `capacity` messages (a power of two) whose ends can be passed to child processes.
///
/// # Errors
/// [`Error::Geometry`] if `capacity` is not a power of two; [`Error::NoSpace`] and [`Error::System`] if shared memory cannot be had.
pub fn channel<T: Plain>(capacity: usize) -> Result<(Sender<T>, Receiver<T>), Error> {
    Options::new().anonymous(configuration(capacity)).map(|segment| ends(&segment))
}

/// A queue of `capacity` messages (a power of two) between two threads of this process.
///
/// # Errors
/// [`Error::Geometry`] if `capacity` is not a power of two.
pub fn private<T: Plain>(capacity: usize) -> Result<(Sender<T>, Receiver<T>), Error> {
    Options::new().private(configuration(capacity)).map(|segment| ends(&segment))
}

fn configuration(capacity: usize) -> Configuration {
    [capacity as u64, 0, 0, 0, 0, 0, 0, 0]
}

fn ends<T: Plain>(segment: &Arc<Segment<Spsc<T>>>) -> (Sender<T>, Receiver<T>) {
    (Sender::of(segment.role(SENDERS)), Receiver::of(segment.role(RECEIVERS)))
}

/// The sending end: there is one. Passing it to another process moves it.
pub struct Sender<T: Plain> {
    role: Role<Spsc<T>>,
    queue: Spsc<T>,
    tail: u64,
    /// Positions below this are known to be free. Never more than `head + capacity`; `tail` once the end was moved away.
    limit: Cell<u64>,
}

/// The receiving end: there is one. Passing it to another process moves it.
pub struct Receiver<T: Plain> {
    role: Role<Spsc<T>>,
    queue: Spsc<T>,
    head: u64,
    /// Positions below this are known to hold messages. Never more than `tail`; `head` once the end was moved away.
    limit: Cell<u64>,
}

impl<T: Plain> Sender<T> {
    fn of(role: Role<Spsc<T>>) -> Self {
        let queue = role.segment().object().clone();
        let tail = queue.ends.tail.load(Ordering::Relaxed);
        Self { role, queue, tail, limit: Cell::new(tail) }
    }

    /// Sends `value` if there is room. Never blocks. Wait-free.
    ///
    /// # Errors
    /// [`TrySendError::Full`], [`Disconnected`](TrySendError::Disconnected), [`Moved`](TrySendError::Moved) or
    /// [`Corrupt`](TrySendError::Corrupt), with the value.
    #[inline]
    pub fn try_send(&mut self, value: T) -> Result<(), TrySendError<T>> {
        if self.role.segment().side(RECEIVERS) == Side::Closed {
            return Err(self.refuse(value));
        }
        if self.tail == self.limit.get() {
            self.look_for_room(value)?;
        }
        self.queue.values.at(self.tail).write(value);
        self.tail = self.tail.wrapping_add(1);
        // The message is sent. Pairs with the acquire load in `look_for_data`.
        self.queue.ends.tail.store(self.tail, Ordering::Release);
        self.queue.ends.data.notify_one();
        Ok(())
    }

    #[cold]
    fn refuse(&self, value: T) -> TrySendError<T> {
        if self.role.is_moved() { TrySendError::Moved(value) } else { TrySendError::Disconnected(value) }
    }

    #[cold]
    fn look_for_room(&self, value: T) -> Result<(), TrySendError<T>> {
        if self.role.is_moved() {
            return Err(TrySendError::Moved(value));
        }
        // Pairs with the release store in `try_recv`: the receiver has copied what lies before.
        let head = self.queue.ends.head.load(Ordering::Acquire);
        let capacity = self.queue.values.capacity();
        match self.tail.wrapping_sub(head) {
            used if used < capacity => {
                self.limit.set(head.wrapping_add(capacity));
                Ok(())
            }
            used if used == capacity => Err(TrySendError::Full(value)),
            _ => Err(TrySendError::Corrupt(value)),
        }
    }

    /// Sends `value`, and blocks while the queue is full.
    ///
    /// # Errors
    /// [`SendError`] with the value.
    #[inline]
    pub fn send(&mut self, value: T) -> Result<(), SendError<T>> {
        self.send_until(value, Deadline::NEVER).map_err(SendTimeoutError::without_timeout)
    }

    /// Sends `value`, and blocks for at most `timeout` while the queue is full.
    ///
    /// # Errors
    /// [`SendTimeoutError`] with the value.
    pub fn send_timeout(&mut self, value: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.send_until(value, Deadline::after(timeout))
    }

    /// Sends `value`, and blocks until `deadline` at the latest while the queue is full.
    ///
    /// # Errors
    /// [`SendTimeoutError`] with the value.
    pub fn send_deadline(&mut self, value: T, deadline: Instant) -> Result<(), SendTimeoutError<T>> {
        self.send_until(value, deadline.into())
    }

    #[inline]
    fn send_until(&mut self, value: T, deadline: Deadline) -> Result<(), SendTimeoutError<T>> {
        match self.try_send(value) {
            Ok(()) => Ok(()),
            Err(error) => error.settled().map_or_else(|| self.wait_to_send(value, deadline), Err),
        }
    }

    #[cold]
    fn wait_to_send(&mut self, value: T, deadline: Deadline) -> Result<(), SendTimeoutError<T>> {
        let segment = Arc::clone(self.role.segment());
        let queue = self.queue.clone();
        let attempt = || match self.try_send(value) {
            Ok(()) => Some(Ok(())),
            Err(error) => error.settled().map(Err),
        };
        // Nobody else waits for room, so there is no baton to pass.
        let outcome = queue.ends.space.wait_until(deadline, attempt, || false, || segment.look_after_peers());
        outcome.unwrap_or(Err(SendTimeoutError::Timeout(value)))
    }

    /// How many messages the queue holds at most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.queue.values.capacity() as usize
    }

    /// The segment that the queue lives in.
    #[must_use]
    pub fn segment(&self) -> &Arc<Segment<Spsc<T>>> {
        self.role.segment()
    }
}

impl<T: Plain> Receiver<T> {
    fn of(role: Role<Spsc<T>>) -> Self {
        let queue = role.segment().object().clone();
        let head = queue.ends.head.load(Ordering::Relaxed);
        Self { role, queue, head, limit: Cell::new(head) }
    }

    /// Receives a message if there is one. Never blocks. Wait-free.
    ///
    /// # Errors
    /// [`TryRecvError::Empty`]; [`Disconnected`](TryRecvError::Disconnected) once the sender is gone and everything was received;
    /// [`Moved`](TryRecvError::Moved); [`Corrupt`](TryRecvError::Corrupt).
    #[inline]
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        // In a fork all sides are closed, and the messages that are known to wait are not there.
        if self.role.segment().side(SENDERS) == Side::Closed && self.role.is_moved() {
            return Err(TryRecvError::Moved);
        }
        if self.head == self.limit.get() {
            self.look_for_data()?;
        }
        let value = self.queue.values.at(self.head).read();
        self.head = self.head.wrapping_add(1);
        // The message is received. Pairs with the acquire load in `look_for_room`.
        self.queue.ends.head.store(self.head, Ordering::Release);
        self.queue.ends.space.notify_one();
        Ok(value)
    }

    #[cold]
    fn look_for_data(&self) -> Result<(), TryRecvError> {
        if self.role.is_moved() {
            return Err(TryRecvError::Moved);
        }
        // The sender is seen to be gone *before* the queue is seen to be empty, or its last message would be lost.
        let gone = self.role.segment().side(SENDERS) == Side::Closed;
        // Pairs with the release store in `try_send`: the values before are seen.
        let tail = self.queue.ends.tail.load(Ordering::Acquire);
        match tail.wrapping_sub(self.head) {
            0 if gone => Err(TryRecvError::Disconnected),
            0 => Err(TryRecvError::Empty),
            waiting if waiting <= self.queue.values.capacity() => {
                self.limit.set(tail);
                Ok(())
            }
            _ => Err(TryRecvError::Corrupt),
        }
    }

    /// Receives a message, and blocks while there is none.
    ///
    /// # Errors
    /// [`RecvError::Disconnected`] once the sender has left or died and everything was received; [`RecvError::Moved`]; [`RecvError::Corrupt`].
    #[inline]
    pub fn recv(&mut self) -> Result<T, RecvError> {
        self.recv_until(Deadline::NEVER).map_err(RecvTimeoutError::without_timeout)
    }

    /// Receives a message, and blocks for at most `timeout` while there is none.
    ///
    /// # Errors
    /// [`RecvTimeoutError`].
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.recv_until(Deadline::after(timeout))
    }

    /// Receives a message, and blocks until `deadline` at the latest while there is none.
    ///
    /// # Errors
    /// [`RecvTimeoutError`].
    pub fn recv_deadline(&mut self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.recv_until(deadline.into())
    }

    #[inline]
    fn recv_until(&mut self, deadline: Deadline) -> Result<T, RecvTimeoutError> {
        match self.try_recv() {
            Ok(value) => Ok(value),
            Err(error) => error.settled().map_or_else(|| self.wait_to_recv(deadline), Err),
        }
    }

    #[cold]
    fn wait_to_recv(&mut self, deadline: Deadline) -> Result<T, RecvTimeoutError> {
        let segment = Arc::clone(self.role.segment());
        let queue = self.queue.clone();
        let attempt = || match self.try_recv() {
            Ok(value) => Some(Ok(value)),
            Err(error) => error.settled().map(Err),
        };
        let outcome = queue.ends.data.wait_until(deadline, attempt, || false, || segment.look_after_peers());
        outcome.unwrap_or(Err(RecvTimeoutError::Timeout))
    }

    /// Messages as they come, until the sender is gone and everything was received. Blocks in between.
    pub fn iter(&mut self) -> impl Iterator<Item = T> {
        std::iter::from_fn(|| self.recv().ok())
    }

    /// The messages that are there now. Never blocks.
    pub fn try_iter(&mut self) -> impl Iterator<Item = T> {
        std::iter::from_fn(|| self.try_recv().ok())
    }

    /// How many messages the queue holds at most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.queue.values.capacity() as usize
    }

    /// The segment that the queue lives in.
    #[must_use]
    pub fn segment(&self) -> &Arc<Segment<Spsc<T>>> {
        self.role.segment()
    }
}

macro_rules! handle {
    ($name:ident, $own:ident) => {
        impl<T: Plain> Serialize for $name<T> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let done = self.role.serialize(serializer)?;
                // From now on it belongs to the receiver of the bytes; this one must not touch the ring again.
                self.role.give_away();
                self.limit.set(self.$own);
                Ok(done)
            }
        }

        impl<'de, T: Plain> Deserialize<'de> for $name<T> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Role::deserialize(deserializer).map(Self::of)
            }
        }
    };
}
handle!(Sender, tail);
handle!(Receiver, head);
