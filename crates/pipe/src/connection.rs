//! Messages with boundaries, both ways: two rings in one segment, and a Unix socket beside them for what memory cannot carry.
//!
//! How messages lie in a ring says `frame`, how descriptors come along, `lane`. A message that is short beside its ring is one frame, published by one store. A longer one goes in parts, so that its length is limited by
//! what the receiver [allows](Connection::set_limit) and not by the ring.
//!
//! # Two that send to each other
//!
//! If both sides send more than the rings hold before they receive, both would wait for ever. So who waits for room takes in what has come meanwhile, as much as one message may be long, and receives it from there later. Only if
//! both send more than that before they receive do they still wait for each other.
//!
//! # What is not sent whole
//!
//! A message whose sender's time is up half-way is marked as given up before the next one, and its receiver drops the parts that it has. If the sender has left or died instead, the parts are dropped with the
//! connection. A receiver whose time is up keeps the parts, and goes on with them the next time.

use crate::ring::{AtRing, Consumer, Producer, Ring};
use crate::trust::{Family, Trust};
use incoming::{Found, Incoming};
use lane::{DESCRIPTORS_MAX, Lane};
use outgoing::{Message, Outgoing, Progress};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use shmkit_segment::transfer::{Descriptor, receiving_from, refused, sending_to};
use shmkit_segment::{Configuration, Error, Memory, Object, Options, PeerId, Plan, Role, Segment, Side, kind};
use shmkit_sync::{Deadline, EventCount};
use std::alloc::Layout;
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

mod error;
mod frame;
#[cfg(all(feature = "async", not(loom)))]
mod futures;
mod incoming;
mod lane;
mod outgoing;
mod watch;

pub use error::{RecvError, SendError};

/// The two rings in their segment, for processes that trust each other so far. End 0 sends by the first, end 1 by the second.
pub struct Duplex<T: Trust> {
    rings: [Ring; 2],
    _trust: PhantomData<T>,
}

impl<T: Trust> Object for Duplex<T> {
    const KIND: u32 = kind(&[b'D', b'U', b'P', T::LETTER]);
    const HARDENED: bool = T::IS_HARDENED;
    type Parts = [AtRing; 2];

    fn payload() -> Layout {
        Layout::new::<u8>()
    }

    fn plan(&[capacity, ..]: &Configuration, plan: &mut Plan) -> Result<[AtRing; 2], Error> {
        if capacity < LEAST {
            return Err(Error::Geometry("the capacity of a connection is at least 256 bytes"));
        }
        Ok([AtRing::plan(plan, capacity, capacity)?, AtRing::plan(plan, capacity, capacity)?])
    }

    fn attach(memory: &Memory, parts: &[AtRing; 2]) -> Self {
        Self { rings: parts.map(|at| Ring::attach(memory, &at)), _trust: PhantomData }
    }

    fn sweep(&self, _dead: PeerId, _reaper: PeerId) {}

    fn wake_all(&self) {
        self.rings.iter().for_each(Ring::wake_all);
    }
}

/// A part of a long message has room for something besides its header then.
const LEAST: u64 = 256;

/// Bytes that each ring of a [`duplex`] connection holds unless something else is said: 2 MiB, for the reason given at [`Settings::CAPACITY`](crate::Settings::CAPACITY). Where bulk does not matter, 64 KiB will do, as between a listener and its many clients.
pub const CAPACITY: usize = 1 << 21;

/// The most bytes that a message may have unless something else is [said](Connection::set_limit).
pub const LIMIT: usize = 1 << 26;

/// Two ends of a connection, which can be passed to child processes, with rings of 2 MiB.
///
/// # Errors
/// [`Error::NoSpace`] and [`Error::System`] if shared memory or a Unix socket cannot be had.
pub fn duplex() -> Result<(Connection, Connection), Error> {
    duplex_with_capacity(CAPACITY)
}

/// Two ends of a connection, which can be passed to child processes, with rings of `capacity` bytes: a power of two, at least 256. Longer messages go through them in parts.
///
/// # Errors
/// [`Error::Geometry`] if the capacity cannot be; [`Error::NoSpace`] and [`Error::System`] if shared memory or a Unix socket cannot be had.
pub fn duplex_with_capacity(capacity: usize) -> Result<(Connection, Connection), Error> {
    pair(Options::new().anonymous(configuration(capacity))?)
}

/// Two ends of a connection between two threads of this process, with rings of `capacity` bytes.
///
/// # Errors
/// [`Error::Geometry`] if the capacity cannot be; [`Error::System`] if a Unix socket cannot be had.
pub fn private_duplex(capacity: usize) -> Result<(Connection, Connection), Error> {
    pair(Options::new().private(configuration(capacity))?)
}

fn configuration(capacity: usize) -> Configuration {
    [capacity as u64, 0, 0, 0, 0, 0, 0, 0]
}

fn pair<T: Trust>(segment: Arc<Segment<Duplex<T>>>) -> Result<(Connection<T>, Connection<T>), Error> {
    let (one, other) = Lane::pair().map_err(|source| Error::System {
        action: "make a pair of Unix sockets",
        hint: "check the limit on open files (ulimit -n)",
        source,
    })?;
    Ok((Connection::of(segment.role(0), one, false)?, Connection::of(segment.role(1), other, false)?))
}

/// An end of a connection whose descriptors go through `socket`.
#[cfg(not(loom))]
pub(crate) fn end_of<T: Trust>(
    role: Role<Duplex<T>>,
    socket: std::os::unix::net::UnixStream,
) -> Result<Connection<T>, Error> {
    Connection::of(role, socket.into(), false)
}

/// One end of a connection, for messages both ways. There are two. Passing it to another process moves it.
///
/// ```
/// let (mut here, mut there) = shmkit_pipe::duplex()?;
/// here.send(&("any value that serde can carry", 7_u32))?;
/// assert_eq!(there.recv::<(String, u32)>()?, ("any value that serde can carry".to_owned(), 7));
/// there.send_bytes(b"")?; // an empty message is one
/// assert_eq!(here.recv_bytes()?, b"");
/// drop(there);
/// assert!(matches!(here.recv_bytes(), Err(shmkit_pipe::RecvError::Disconnected)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Handles and descriptors
///
/// Within [`send`](Self::send), values can have handles of this toolkit in them, and open files as [`Descriptor`]s: both arrive as what they were. A handle that exists once moves, be the message received or not. Between
/// strangers, handles must be of objects that are [hardened](Object::HARDENED). Messages with descriptors cost some system calls.
///
/// # Threads
///
/// An end is used by one thread at a time (`&mut self`). For one that sends while another one receives, use two connections, or one thread that waits for both directions by [`wait`](crate::wait) or by futures.
///
/// # When a process dies
///
/// What it had sent whole is received, then comes [`RecvError::Disconnected`]; sending to it is [`SendError::Disconnected`]. Who waits notices within about 50 ms. Who is stopped delays the other side, which keeps its deadlines.
///
/// # Cost
///
/// A message is copied in and copied out. Beside that, two loads and two stores on either side, and no system call but to sleep and to wake a sleeper. A long message is copied once more by who receives it [into](Self::recv_bytes_into)
/// a buffer.
pub struct Connection<T: Trust = Family> {
    role: Role<Duplex<T>>,
    outgoing: Outgoing,
    incoming: Incoming,
    lane: Lane,
    /// Encoded values, kept for its memory.
    encoded: Vec<u8>,
}

/// What sending has come to.
enum Step {
    Sent,
    Wait,
}

impl<T: Trust> Connection<T> {
    fn of(role: Role<Duplex<T>>, lane: Lane, is_open: bool) -> Result<Self, Error> {
        if role.number() > 1 {
            return Err(Error::Corrupt("an end of a connection arrived that is neither of the two"));
        }
        let [out, back] = rings(role.segment(), role.number());
        let outgoing = Outgoing::new(Producer::resume(out.clone())?, is_open);
        let incoming = Incoming::new(Consumer::resume(back.clone())?, LIMIT);
        Ok(Self { role, outgoing, incoming, lane, encoded: Vec::new() })
    }

    /// Allows received messages to have up to `bytes` bytes. 64 MiB unless something else is said. A longer one is an error, and can be received after a larger limit was set.
    ///
    /// As much is taken in at most while this end waits for room to send. It is this process's own: whoever this end is passed to begins with 64 MiB again.
    pub fn set_limit(&mut self, bytes: usize) {
        self.incoming.limit = bytes;
    }

    /// The segment that the connection lives in.
    #[must_use]
    pub fn segment(&self) -> &Arc<Segment<Duplex<T>>> {
        self.role.segment()
    }

    /// Bytes that each ring holds.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.outgoing.most() + frame::Frame::HEADER
    }

    /// The number of the other end.
    fn other(&self) -> usize {
        1 - self.role.number()
    }

    fn is_other_gone(&self) -> bool {
        self.role.segment().side(self.other()) == Side::Closed
    }

    /// Sends a message, and blocks while there is no room for it.
    ///
    /// # Errors
    /// [`SendError::Disconnected`], `Moved`, `Forked`, `Corrupt`.
    #[inline]
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        self.send_until(bytes, &[], Deadline::NEVER)
    }

    /// Sends a message if there is room for all of it. Never blocks.
    ///
    /// # Errors
    /// [`SendError::WouldBlock`]; [`TooLong`](SendError::TooLong) if the ring does not hold as much; as [`send_bytes`](Self::send_bytes).
    pub fn try_send_bytes(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        self.send_at_once(bytes, &[])
    }

    /// Sends a message, and blocks for at most `timeout` while there is no room for it.
    ///
    /// # Errors
    /// [`SendError::Timeout`]; as [`send_bytes`](Self::send_bytes).
    pub fn send_bytes_timeout(&mut self, bytes: &[u8], timeout: Duration) -> Result<(), SendError> {
        self.send_until(bytes, &[], Deadline::after(timeout))
    }

    /// Sends a message, and blocks until `deadline` at the latest while there is no room for it.
    ///
    /// # Errors
    /// [`SendError::Timeout`]; as [`send_bytes`](Self::send_bytes).
    pub fn send_bytes_deadline(&mut self, bytes: &[u8], deadline: Instant) -> Result<(), SendError> {
        self.send_until(bytes, &[], deadline.into())
    }

    /// Sends a value, with the handles in it, and blocks while there is no room for it.
    ///
    /// # Errors
    /// [`SendError::Encode`], [`Handle`](SendError::Handle), [`Descriptors`](SendError::Descriptors); as [`send_bytes`](Self::send_bytes).
    pub fn send<V: Serialize + ?Sized>(&mut self, value: &V) -> Result<(), SendError> {
        self.encode(value, |connection, bytes, descriptors| connection.send_until(bytes, descriptors, Deadline::NEVER))
    }

    /// Sends a value if there is room for it. Never blocks.
    ///
    /// # Errors
    /// As [`try_send_bytes`](Self::try_send_bytes) and [`send`](Self::send).
    pub fn try_send<V: Serialize + ?Sized>(&mut self, value: &V) -> Result<(), SendError> {
        self.encode(value, Self::send_at_once)
    }

    /// Sends a value, and blocks for at most `timeout` while there is no room for it.
    ///
    /// # Errors
    /// [`SendError::Timeout`]; as [`send`](Self::send).
    pub fn send_timeout<V: Serialize + ?Sized>(&mut self, value: &V, timeout: Duration) -> Result<(), SendError> {
        let deadline = Deadline::after(timeout);
        self.encode(value, |connection, bytes, descriptors| connection.send_until(bytes, descriptors, deadline))
    }

    /// Sends a value, and blocks until `deadline` at the latest while there is no room for it.
    ///
    /// # Errors
    /// [`SendError::Timeout`]; as [`send`](Self::send).
    pub fn send_deadline<V: Serialize + ?Sized>(&mut self, value: &V, deadline: Instant) -> Result<(), SendError> {
        self.encode(value, |connection, bytes, descriptors| connection.send_until(bytes, descriptors, deadline.into()))
    }

    /// Calls `send` with the value's bytes and descriptors.
    fn encode<V: Serialize + ?Sized>(
        &mut self,
        value: &V,
        send: impl FnOnce(&mut Self, &[u8], &[OwnedFd]) -> Result<(), SendError>,
    ) -> Result<(), SendError> {
        let (encoded, descriptors) = encode::<T, V>(value, std::mem::take(&mut self.encoded))?;
        let outcome = send(self, &encoded, &descriptors);
        self.keep(encoded);
        outcome
    }

    /// Keeps the memory of an encoded value for the next one, unless it is large.
    fn keep(&mut self, encoded: Vec<u8>) {
        /// A page or some.
        const KEPT: usize = 1 << 16;
        if encoded.capacity() <= KEPT {
            self.encoded = encoded;
        }
    }

    fn send_at_once(&mut self, bytes: &[u8], descriptors: &[OwnedFd]) -> Result<(), SendError> {
        if bytes.len() > self.outgoing.most() {
            return Err(SendError::TooLong { length: bytes.len(), limit: self.outgoing.most() });
        }
        let mut message = Message::new(bytes, descriptors.len() as u8);
        match self.attempt_send(&mut message, descriptors, true)? {
            Step::Sent => Ok(()),
            Step::Wait => Err(SendError::WouldBlock),
        }
    }

    #[inline]
    fn send_until(&mut self, bytes: &[u8], descriptors: &[OwnedFd], deadline: Deadline) -> Result<(), SendError> {
        let mut message = Message::new(bytes, descriptors.len() as u8);
        match self.attempt_send(&mut message, descriptors, false)? {
            Step::Sent => Ok(()),
            Step::Wait => self.wait_to_send(&mut message, descriptors, deadline),
        }
    }

    #[cold]
    fn wait_to_send(
        &mut self,
        message: &mut Message<'_>,
        descriptors: &[OwnedFd],
        deadline: Deadline,
    ) -> Result<(), SendError> {
        let segment = Arc::clone(self.role.segment());
        let [out, back] = rings(&segment, self.role.number());
        let attempt = || match self.attempt_send(message, descriptors, false) {
            Ok(Step::Sent) => Some(Ok(())),
            Ok(Step::Wait) => {
                self.make_way();
                None
            }
            Err(error) => Some(Err(error)),
        };
        let idle = || segment.look_after_peers();
        let outcome = EventCount::wait_any([out.space(), back.data()], deadline, attempt, idle);
        outcome.unwrap_or(Err(SendError::Timeout))
    }

    /// While there is no room: makes some for the other side.
    fn make_way(&mut self) {
        // What is wrong with what has come is told to who receives.
        let _ = self.incoming.take_in(&self.lane);
    }

    /// Sends as much of a message as there is room for.
    #[inline]
    fn attempt_send(
        &mut self,
        message: &mut Message<'_>,
        descriptors: &[OwnedFd],
        at_once: bool,
    ) -> Result<Step, SendError> {
        if self.role.is_moved() {
            return Err(if self.role.segment().is_defunct() { SendError::Forked } else { SendError::Moved });
        }
        if self.is_other_gone() {
            return Err(SendError::Disconnected);
        }
        if !message.has_begun() {
            if !self.outgoing.is_ready_for(message, at_once)? {
                return Ok(Step::Wait);
            }
            // Before the frame that says that they are there. If too many are under way, the other side makes room in the socket just before it does in the ring.
            if !descriptors.is_empty() && !self.lane.send(descriptors)? {
                return Ok(Step::Wait);
            }
        }
        match self.outgoing.advance(message, at_once)? {
            Progress::Sent => Ok(Step::Sent),
            Progress::Full => Ok(Step::Wait),
        }
    }

    /// Receives a message, and blocks until there is one.
    ///
    /// # Errors
    /// [`RecvError::Disconnected`], [`TooLong`](RecvError::TooLong), `Moved`, `Forked`, `Corrupt`; [`Descriptors`](RecvError::Descriptors) if some should have come with it (otherwise they are closed: only [`recv`](Self::recv)
    /// gives them).
    pub fn recv_bytes(&mut self) -> Result<Vec<u8>, RecvError> {
        self.recv_bytes_until(Deadline::NEVER)
    }

    /// Receives a message if there is one. Never blocks.
    ///
    /// # Errors
    /// [`RecvError::WouldBlock`]; as [`recv_bytes`](Self::recv_bytes).
    pub fn try_recv_bytes(&mut self) -> Result<Vec<u8>, RecvError> {
        let found = self.found()?;
        self.take(found)
    }

    /// Receives a message, and blocks for at most `timeout` until there is one.
    ///
    /// # Errors
    /// [`RecvError::Timeout`]; as [`recv_bytes`](Self::recv_bytes).
    pub fn recv_bytes_timeout(&mut self, timeout: Duration) -> Result<Vec<u8>, RecvError> {
        self.recv_bytes_until(Deadline::after(timeout))
    }

    /// Receives a message, and blocks until `deadline` at the latest until there is one.
    ///
    /// # Errors
    /// [`RecvError::Timeout`]; as [`recv_bytes`](Self::recv_bytes).
    pub fn recv_bytes_deadline(&mut self, deadline: Instant) -> Result<Vec<u8>, RecvError> {
        self.recv_bytes_until(deadline.into())
    }

    fn recv_bytes_until(&mut self, deadline: Deadline) -> Result<Vec<u8>, RecvError> {
        let found = self.find(deadline)?;
        self.take(found)
    }

    /// Receives a message into the first bytes of `buffer`, and blocks until there is one: how long it is.
    ///
    /// # Errors
    /// [`RecvError::TooShort`] if it does not fit, and is still there; as [`recv_bytes`](Self::recv_bytes).
    #[inline]
    pub fn recv_bytes_into(&mut self, buffer: &mut [u8]) -> Result<usize, RecvError> {
        self.recv_bytes_into_until(buffer, Deadline::NEVER)
    }

    /// Receives a message into the first bytes of `buffer`, if there is one: how long it is. Never blocks.
    ///
    /// # Errors
    /// [`RecvError::WouldBlock`]; as [`recv_bytes_into`](Self::recv_bytes_into).
    pub fn try_recv_bytes_into(&mut self, buffer: &mut [u8]) -> Result<usize, RecvError> {
        let found = self.found()?;
        self.take_into(found, buffer)
    }

    /// Receives a message into the first bytes of `buffer`, and blocks for at most `timeout` until there is one: how long it is.
    ///
    /// # Errors
    /// [`RecvError::Timeout`]; as [`recv_bytes_into`](Self::recv_bytes_into).
    pub fn recv_bytes_into_timeout(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<usize, RecvError> {
        self.recv_bytes_into_until(buffer, Deadline::after(timeout))
    }

    /// Receives a message into the first bytes of `buffer`, and blocks until `deadline` at the latest until there is one: how long it is.
    ///
    /// # Errors
    /// [`RecvError::Timeout`]; as [`recv_bytes_into`](Self::recv_bytes_into).
    pub fn recv_bytes_into_deadline(&mut self, buffer: &mut [u8], deadline: Instant) -> Result<usize, RecvError> {
        self.recv_bytes_into_until(buffer, deadline.into())
    }

    #[inline]
    fn recv_bytes_into_until(&mut self, buffer: &mut [u8], deadline: Deadline) -> Result<usize, RecvError> {
        let found = self.find(deadline)?;
        self.take_into(found, buffer)
    }

    /// Receives a value, with the handles in it, and blocks until there is one.
    ///
    /// # Errors
    /// [`RecvError::Decode`], [`Handle`](RecvError::Handle), [`Descriptors`](RecvError::Descriptors); as [`recv_bytes`](Self::recv_bytes).
    pub fn recv<V: DeserializeOwned>(&mut self) -> Result<V, RecvError> {
        self.recv_until(Deadline::NEVER)
    }

    /// Receives a value if there is one. Never blocks.
    ///
    /// # Errors
    /// [`RecvError::WouldBlock`]; as [`recv`](Self::recv).
    pub fn try_recv<V: DeserializeOwned>(&mut self) -> Result<V, RecvError> {
        let found = self.found()?;
        self.decode(found)
    }

    /// Receives a value, and blocks for at most `timeout` until there is one.
    ///
    /// # Errors
    /// [`RecvError::Timeout`]; as [`recv`](Self::recv).
    pub fn recv_timeout<V: DeserializeOwned>(&mut self, timeout: Duration) -> Result<V, RecvError> {
        self.recv_until(Deadline::after(timeout))
    }

    /// Receives a value, and blocks until `deadline` at the latest until there is one.
    ///
    /// # Errors
    /// [`RecvError::Timeout`]; as [`recv`](Self::recv).
    pub fn recv_deadline<V: DeserializeOwned>(&mut self, deadline: Instant) -> Result<V, RecvError> {
        self.recv_until(deadline.into())
    }

    fn recv_until<V: DeserializeOwned>(&mut self, deadline: Deadline) -> Result<V, RecvError> {
        let found = self.find(deadline)?;
        self.decode(found)
    }

    /// Waits until receiving would not wait, for at most `timeout`: false if it would still. True at the end, too, and if there is an error to be told. Takes no message.
    pub fn poll(&mut self, timeout: Duration) -> bool {
        !matches!(self.find(Deadline::after(timeout)), Err(RecvError::Timeout))
    }

    /// The next message now.
    fn found(&mut self) -> Result<Found, RecvError> {
        self.attempt_find().unwrap_or(Err(RecvError::WouldBlock))
    }

    /// The next message, when it has come.
    #[inline]
    fn find(&mut self, deadline: Deadline) -> Result<Found, RecvError> {
        match self.attempt_find() {
            Some(outcome) => outcome,
            None => self.wait_to_find(deadline),
        }
    }

    #[cold]
    fn wait_to_find(&mut self, deadline: Deadline) -> Result<Found, RecvError> {
        let segment = Arc::clone(self.role.segment());
        let [_, back] = rings(&segment, self.role.number());
        let idle = || segment.look_after_peers();
        let outcome = back.data().wait_until(deadline, || self.attempt_find(), || false, idle);
        outcome.unwrap_or(Err(RecvError::Timeout))
    }

    /// The next message; `None` if it may still come.
    #[inline]
    fn attempt_find(&mut self) -> Option<Result<Found, RecvError>> {
        if self.role.is_moved() {
            let is_fork = self.role.segment().is_defunct();
            return Some(Err(if is_fork { RecvError::Forked } else { RecvError::Moved }));
        }
        // The other end is seen to be gone *before* the ring is seen to be empty, or its last message would be lost.
        let is_over = self.is_other_gone();
        match self.incoming.look(&self.lane) {
            Ok(Some(found)) => Some(Ok(found)),
            Ok(None) if is_over => Some(Err(RecvError::Disconnected)),
            Ok(None) => None,
            Err(error) => Some(Err(error)),
        }
    }

    /// Receives the message that was found.
    fn take(&mut self, found: Found) -> Result<Vec<u8>, RecvError> {
        let received = self.incoming.take(found, &self.lane);
        // Nobody wants them.
        received.descriptors.map(drop).map_err(RecvError::Descriptors)?;
        Ok(received.bytes)
    }

    /// Receives the message that was found, if it fits.
    #[inline]
    fn take_into(&mut self, found: Found, buffer: &mut [u8]) -> Result<usize, RecvError> {
        let (Found::InRing { length, .. } | Found::Aside { length }) = found;
        let Some(target) = buffer.get_mut(..length) else { return Err(RecvError::TooShort { length }) };
        self.incoming.take_into(found, target, &self.lane).map(drop).map_err(RecvError::Descriptors)?;
        Ok(length)
    }

    /// Receives the value that was found.
    fn decode<V: DeserializeOwned>(&mut self, found: Found) -> Result<V, RecvError> {
        let (Found::InRing { length, .. } | Found::Aside { length }) = found;
        let mut bytes = std::mem::take(&mut self.encoded);
        bytes.resize(length, 0);
        let descriptors = self.incoming.take_into(found, &mut bytes, &self.lane).map_err(RecvError::Descriptors)?;
        let (value, handles) = receiving_from(T::REACH, descriptors, || postcard::from_bytes(&bytes));
        self.keep(bytes);
        handles.map_err(RecvError::Handle)?;
        value.map_err(RecvError::Decode)
    }
}

/// A value's bytes, in the memory of `buffer`, and the descriptors that belong to them.
fn encode<T: Trust, V: Serialize + ?Sized>(
    value: &V,
    mut buffer: Vec<u8>,
) -> Result<(Vec<u8>, Vec<OwnedFd>), SendError> {
    buffer.clear();
    let (bytes, descriptors) = sending_to(T::REACH, || postcard::to_extend(value, buffer));
    let descriptors = descriptors.map_err(SendError::Handle)?;
    if descriptors.len() > DESCRIPTORS_MAX {
        const TOO_MANY: Error =
            Error::NotTransferable("a message takes 126 segments or 253 descriptors at most: send several");
        return Err(SendError::Handle(TOO_MANY));
    }
    Ok((bytes.map_err(SendError::Encode)?, descriptors))
}

/// The ring that end number `end` sends by, and the other one.
fn rings<T: Trust>(segment: &Segment<Duplex<T>>, end: usize) -> [&Ring; 2] {
    let [first, second] = &segment.object().rings;
    if end == 0 { [first, second] } else { [second, first] }
}

impl<T: Trust> std::fmt::Debug for Connection<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "end {} of a connection with rings of {} bytes", self.role.number(), self.capacity())
    }
}

/// Its bytes in another program: the role, the socket, and whether a message was begun and given up.
impl<T: Trust> Serialize for Connection<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !self.incoming.is_clean() {
            return Err(refused::<S>(Error::NotTransferable(
                "a message has come to this end of the connection in part, or while it was waiting for room: receive it before you pass the connection on",
            )));
        }
        let done = (&self.role, &self.lane.0, self.outgoing.is_open).serialize(serializer)?;
        // From now on it belongs to the receiver of the bytes.
        self.role.give_away();
        Ok(done)
    }
}

impl<'de, T: Trust> Deserialize<'de> for Connection<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (role, socket, is_open) = <(Role<Duplex<T>>, Descriptor, bool)>::deserialize(deserializer)?;
        Self::of(role, Lane(socket), is_open).map_err(D::Error::custom)
    }
}
