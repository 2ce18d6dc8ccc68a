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
//! # How to choose
//!
//! | you have | use |
//! |---|---|
//! | values one by one | [`send`](Sender::send), [`recv`](Receiver::recv) |
//! | many at hand, or an array to fill | [`send_slice`](Sender::send_slice), [`recv_slice`](Receiver::recv_slice): about the cost of the copying |
//! | values that are computed on the way, to appear all at once or not at all | [`reserve`](Sender::reserve), [`commit`](Reservation::commit) |
//! | messages that must not be lost with who works on them | [`lease`](Receiver::lease), [`ack`](Lease::ack), and a successor that [claims](Receiver::claim) the end |
//! | ends that outlive their processes | [`Settings::keep_open`], and [`Sender::claim`], [`Receiver::claim`] |
//! | several senders or receivers | [`mpmc`](crate::mpmc) |
//! | large messages, or of any length | [`buffer`](crate::buffer) |
//!
//! Each operation that can wait comes in four forms: `try_` (never blocks, wait-free), plain (blocks until it can), `_timeout` and `_deadline`.
//!
//! # Layout
//!
//! ```text
//! offset  size
//!      0     8  tail      position behind the last message that was sent       written by the sender
//!    128     8  head      position of the next message to be received          written by the receiver
//!    136     4  attached  not zero: these are not the zeros of a forked child  written by the receiver
//!    256     4  data      event count: the receiver sleeps until there is something
//!    384     4  space     event count: the sender sleeps until there is room
//!    512        capacity × (the size of a message, rounded up to 8)
//! ```
//!
//! Nothing but messages shares a line (of 128 bytes) with what the other side writes. The configuration says the capacity and, in a second word, whether the
//! queue is kept open (bit 0).
//!
//! # Protocol
//!
//! A ring of values and two positions that only grow. Each side writes its own position and keeps a copy of the other's, which it reads again only
//! when the copy says that the ring is full (empty): on a busy queue most operations touch no shared line but the values'.
//!
//! - To send: write the values, *then* store `tail` with release. The receiver's acquire load of `tail` pairs with it: it sees the values.
//! - To receive: copy the values, *then* store `head` with release. The sender's acquire load of `head` pairs with it: it writes only behind.
//!
//! The store is the instant at which messages are sent (received), however many: killed before it, nothing happened; killed after it, all of it did. There
//! is nothing to repair. A position read from the other side is checked against one's own, and that it did not go back, before it is believed. Positions
//! may go round the end of their 64 bits; only differences count.
//!
//! Each end exists once. Who takes over one that was left, or whose holder died ([`Segment::sole_role`]), comes after all that the last holder did, and
//! goes on from the positions as they are: what was sent is there, what was received is gone, what was written and not sent is free space.
//!
//! After Lamport's ring, with the cached positions of MCRingBuffer (Lee, Bu and Chandranmenon) and of `rtrb`.
//!
//! # Cost of an operation
//!
//! | | loads of shared words | stores | besides |
//! |---|---|---|---|
//! | send one | 2: is the receiver gone, does it sleep | value, `tail` | when the known room is used up: 1 acquire load of `head` |
//! | receive one | 3: value, is this a fork, does the sender sleep | `head` | when the known messages are used up: 2 acquire loads, of `tail` and whether the sender is gone |
//! | a batch | as for one, and the values | as for one, and the values | as for one |
//!
//! No read-modify-write, no fence, no allocation, no system call unless somebody must sleep or be woken (one each; see [`EventCount`]).
//! A message takes its own size, rounded up to 8 bytes.
//!
//! # When a process dies, or is stopped
//!
//! | | sending | receiving |
//! |---|---|---|
//! | the other side died or left | [`Disconnected`](SendError::Disconnected), with the value | what was sent, then [`Disconnected`](RecvError::Disconnected) |
//! | the same, on a queue that is [kept open](Settings::keep_open) | goes on until the queue is full, then waits | what was sent, then waits |
//! | a successor claims the other end | goes on | goes on |
//! | the other side is stopped | goes on until the queue is full, then waits | what was sent, then waits |
//!
//! What waits keeps its deadline, and notices a death within about 50 ms. What a receiver had received is lost with it; what it had leased and not
//! acknowledged comes again to a successor, so that an end which is claimed again delivers *at least once*. What was sent and not received stays for a successor, and is
//! lost if there never is one.
//!
//! [`EventCount`]: shmkit_sync::EventCount
//! [`RecvError::Disconnected`]: crate::RecvError::Disconnected
//! [`SendError::Disconnected`]: crate::SendError::Disconnected
//! [`Segment::sole_role`]: shmkit_segment::Segment::sole_role

#[cfg(all(feature = "async", not(loom)))]
mod futures;
mod lease;
mod receiver;
mod reservation;
mod sender;
mod watch;

use crate::{RECEIVERS, SENDERS};
use shmkit_segment::primitive::{AtomicU32, AtomicU64, Ordering};
use shmkit_segment::{
    At, AtRing, Configuration, Error, Line, Mapped, Memory, Object, Options, PeerId, Plain, PlainCell, Plan, Ring,
    Segment, kind, shared,
};
use shmkit_sync::EventCount;
use std::alloc::Layout;
use std::sync::Arc;

pub use lease::Lease;
pub use receiver::Receiver;
pub use reservation::Reservation;
pub use sender::Sender;

// For the links above.
#[cfg(doc)]
use crate::{RecvError, SendError};

shared! {
    /// Where the receiver is.
    #[doc(hidden)]
    pub struct Head {
        position: AtomicU64,
        attached: AtomicU32,
    }
}

shared! {
    /// Each on lines of its own.
    #[doc(hidden)]
    pub struct Ends {
        tail: Line<AtomicU64>,
        head: Line<Head>,
        data: Line<EventCount>,
        space: Line<EventCount>,
    }
}

#[cfg(not(loom))]
const _: () = {
    use std::mem::offset_of;
    assert!(offset_of!(Ends, tail) == 0 && offset_of!(Ends, head) == 128);
    assert!(offset_of!(Head, position) == 0 && offset_of!(Head, attached) == 8);
    assert!(offset_of!(Ends, data) == 256 && offset_of!(Ends, space) == 384 && size_of::<Ends>() == 512);
    assert!(size_of::<PlainCell<[u8; 13]>>() == 16);
};

/// Bit of the configuration's second word: the queue is kept open.
const KEEP_OPEN: u64 = 1;

/// The queue in its segment.
pub struct Spsc<T: Plain> {
    ends: Mapped<Ends>,
    values: Ring<PlainCell<T>>,
    is_kept_open: bool,
}

impl<T: Plain> Clone for Spsc<T> {
    fn clone(&self) -> Self {
        Self { ends: self.ends.clone(), values: self.values.clone(), is_kept_open: self.is_kept_open }
    }
}

impl<T: Plain> Object for Spsc<T> {
    const KIND: u32 = kind(b"SPSC");
    const HARDENED: bool = true;
    type Parts = (At<Ends>, AtRing<PlainCell<T>>, bool);

    fn payload() -> Layout {
        Layout::new::<T>()
    }

    fn plan(&[capacity, flags, ..]: &Configuration, plan: &mut Plan) -> Result<Self::Parts, Error> {
        let capacity = usize::try_from(capacity).map_err(|_| Error::Geometry("the capacity is too large"))?;
        if flags & !KEEP_OPEN != 0 {
            return Err(Error::Geometry("it has a setting that this version does not know"));
        }
        Ok((plan.one()?, plan.ring(capacity)?, flags & KEEP_OPEN != 0))
    }

    fn attach(memory: &Memory, &(ends, values, is_kept_open): &Self::Parts) -> Self {
        Self { ends: memory.one(ends), values: memory.ring(values), is_kept_open }
    }

    fn sweep(&self, _dead: PeerId, _reaper: PeerId) {}

    fn wake_all(&self) {
        self.ends.data.rouse();
        self.ends.space.rouse();
    }
}

impl<T: Plain> Spsc<T> {
    /// How many messages lie between two positions, if the ring can hold so many.
    fn between(&self, head: u64, tail: u64) -> Option<u64> {
        let messages = tail.wrapping_sub(head);
        (messages <= self.values.capacity()).then_some(messages)
    }

    /// Checks the positions, for whoever has taken an end over and holds that side's position still. The other side may go on: its position stays within reach.
    fn check(&self) -> Result<(), Error> {
        let head = self.ends.head.position.load(Ordering::Acquire);
        let tail = self.ends.tail.load(Ordering::Acquire);
        match self.between(head, tail) {
            Some(_) => Ok(()),
            None => Err(Error::Corrupt("its positions are further apart than its capacity")),
        }
    }
}

/// How a queue is made: what its [configuration](Configuration) follows from.
///
/// Where a queue is created, a bare capacity will do; these are for more, and for segments that are opened by name, in a file, or in
/// an embedder's memory:
///
/// ```
/// use shmkit_queue::spsc::{Receiver, Sender, Settings, Spsc};
/// use shmkit_segment::{Options, remove};
///
/// # let name = format!("spsc-doc-{}", std::process::id());
/// # let name = name.as_str();
/// let settings = Settings::new(1024).keep_open();
/// let segment = Options::new().name(name).open_or_create::<Spsc<u64>>(settings.into())?;
/// let mut sender = Sender::claim(&segment)?; // in one program
/// sender.send(7)?;
///
/// let segment = Options::new().name(name).open::<Spsc<u64>>()?;
/// let mut receiver = Receiver::claim(&segment)?; // in another
/// assert_eq!(receiver.recv(), Ok(7));
/// assert!(Receiver::claim(&segment).is_err()); // there is one
/// remove(name)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Settings {
    capacity: usize,
    is_kept_open: bool,
}

impl Settings {
    /// A queue of `capacity` messages (a power of two), which disconnects when the holder of an end leaves or dies.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, is_kept_open: false }
    }

    /// Does not disconnect when the holder of an end leaves or dies: the other side waits for a successor, the sender once the queue is full. For ever if
    /// there never is one, unless it has a deadline.
    ///
    /// Costs nothing while both are there.
    pub fn keep_open(mut self) -> Self {
        self.is_kept_open = true;
        self
    }
}

impl From<usize> for Settings {
    fn from(capacity: usize) -> Self {
        Self::new(capacity)
    }
}

impl From<Settings> for Configuration {
    fn from(settings: Settings) -> Self {
        [settings.capacity as u64, if settings.is_kept_open { KEEP_OPEN } else { 0 }, 0, 0, 0, 0, 0, 0]
    }
}

/// A queue whose ends can be passed to child processes: of so many messages (a power of two), or of these [`Settings`].
///
/// # Errors
/// [`Error::Geometry`] if the capacity is not a power of two; [`Error::NoSpace`] and [`Error::System`] if shared memory cannot be had.
pub fn channel<T: Plain>(settings: impl Into<Settings>) -> Result<(Sender<T>, Receiver<T>), Error> {
    Options::new().anonymous(settings.into().into()).map(|segment| ends(&segment))
}

/// A queue between two threads of this process: of so many messages (a power of two), or of these [`Settings`].
///
/// # Errors
/// [`Error::Geometry`] if the capacity is not a power of two.
pub fn private<T: Plain>(settings: impl Into<Settings>) -> Result<(Sender<T>, Receiver<T>), Error> {
    Options::new().private(settings.into().into()).map(|segment| ends(&segment))
}

/// As [`private`], as if `position` messages had passed: for tests of what happens where positions go round.
///
/// # Errors
/// As [`private`].
#[doc(hidden)]
pub fn private_at<T: Plain>(settings: impl Into<Settings>, position: u64) -> Result<(Sender<T>, Receiver<T>), Error> {
    let segment = Options::new().private::<Spsc<T>>(settings.into().into())?;
    let positions = &segment.object().ends;
    positions.tail.store(position, Ordering::Relaxed);
    positions.head.position.store(position, Ordering::Relaxed);
    Ok(ends(&segment))
}

/// The ends of a queue that nobody else has seen yet.
fn ends<T: Plain>(segment: &Arc<Segment<Spsc<T>>>) -> (Sender<T>, Receiver<T>) {
    (Sender::of(segment.role(SENDERS)), Receiver::of(segment.role(RECEIVERS)))
}
