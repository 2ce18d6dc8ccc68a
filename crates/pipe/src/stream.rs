//! The byte stream: one writer, one reader, and the ring between them.

use crate::ring::{AtRing, Ring};
use crate::trust::{Family, Trust};
use shmkit_segment::{Configuration, Error, Memory, Object, Options, PeerId, Plan, kind};
use std::alloc::Layout;
use std::marker::PhantomData;

#[cfg(all(any(feature = "tokio", feature = "futures-io"), not(loom)))]
mod futures;
#[cfg(all(feature = "futures-io", not(loom)))]
mod futures_io;
mod reader;
#[cfg(not(loom))]
mod reservation;
#[cfg(all(feature = "tokio", not(loom)))]
mod tokio;
mod watch;
mod writer;

pub use reader::Reader;
#[cfg(not(loom))]
pub use reservation::Reservation;
pub use writer::Writer;

const WRITER: usize = 0;
const READER: usize = 1;

/// The pipe in its segment, for processes that trust each other so far.
pub struct Pipe<T: Trust> {
    ring: Ring,
    _trust: PhantomData<T>,
}

impl<T: Trust> Object for Pipe<T> {
    const KIND: u32 = kind(&[b'P', b'I', b'P', T::LETTER]);
    const HARDENED: bool = T::IS_HARDENED;
    type Parts = AtRing;

    fn payload() -> Layout {
        Layout::new::<u8>()
    }

    fn plan(&[capacity, most, ..]: &Configuration, plan: &mut Plan) -> Result<AtRing, Error> {
        AtRing::plan(plan, capacity, most)
    }

    fn attach(memory: &Memory, parts: &AtRing) -> Self {
        Self { ring: Ring::attach(memory, parts), _trust: PhantomData }
    }

    fn sweep(&self, _dead: PeerId, _reaper: PeerId) {}

    fn wake_all(&self) {
        self.ring.wake_all();
    }
}

/// How a pipe is made: what its [configuration](Configuration) follows from.
///
/// ```
/// use shmkit_pipe::{Pipe, Reader, Settings, Stranger, Writer};
/// use shmkit_segment::{Options, remove};
/// use std::io::{Read, Write};
///
/// # let name = format!("pipe-doc-{}", std::process::id());
/// # let name = name.as_str();
/// let settings = Settings::new(1 << 16).up_to(1 << 20);
/// let segment = Options::new().name(name).open_or_create::<Pipe<Stranger>>(settings.into())?;
/// let mut writer = Writer::claim(&segment)?; // in one program
/// writer.write_all(b"hello")?;
/// drop(writer);
///
/// let segment = Options::new().name(name).open::<Pipe<Stranger>>()?;
/// let mut text = String::new();
/// Reader::claim(&segment)?.read_to_string(&mut text)?; // in another
/// assert_eq!(text, "hello");
/// remove(name)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Settings {
    capacity: usize,
    most: usize,
}

impl Settings {
    /// How many bytes a pipe holds unless something else is said: 2 MiB.
    ///
    /// More than a core's own cache, and less than the one that cores share: what one core has just written comes from its own cache to another one several times slower than from the shared
    /// one, so a stream is fast when the writer is far enough ahead. It takes 0.7 ms to allot. Where bulk does not matter, 64 KiB will do.
    pub const CAPACITY: usize = 1 << 21;

    /// A pipe that holds `capacity` bytes (a power of two).
    pub fn new(capacity: usize) -> Self {
        Self { capacity, most: capacity }
    }

    /// It can be [made to hold more](Writer::grow) later, up to `most` bytes (a power of two). Until then that costs addresses, not memory.
    pub fn up_to(mut self, most: usize) -> Self {
        self.most = most;
        self
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::new(Self::CAPACITY)
    }
}

impl From<usize> for Settings {
    fn from(capacity: usize) -> Self {
        Self::new(capacity)
    }
}

impl From<Settings> for Configuration {
    fn from(settings: Settings) -> Self {
        [settings.capacity as u64, settings.most as u64, 0, 0, 0, 0, 0, 0]
    }
}

/// A pipe of the usual [capacity](Settings::CAPACITY), whose ends can be passed to child processes.
///
/// # Errors
/// [`Error::NoSpace`] and [`Error::System`] if shared memory cannot be had.
pub fn pipe() -> Result<(Writer, Reader), Error> {
    pipe_with(Settings::default())
}

/// A pipe whose ends can be passed to child processes: of so many bytes (a power of two), or of these [`Settings`].
///
/// # Errors
/// [`Error::Geometry`] if a capacity is not a power of two; [`Error::NoSpace`] and [`Error::System`] if shared memory cannot be had.
pub fn pipe_with(settings: impl Into<Settings>) -> Result<(Writer, Reader), Error> {
    ends(Options::new().anonymous(settings.into().into())?)
}

/// As [`pipe_with`], for programs that need not know each other: the ends can be [sent](shmkit_segment::send) over a Unix socket.
///
/// # Errors
/// As [`pipe_with`].
pub fn pipe_for_strangers(
    settings: impl Into<Settings>,
) -> Result<(Writer<crate::Stranger>, Reader<crate::Stranger>), Error> {
    ends(Options::new().anonymous(settings.into().into())?)
}

/// A pipe between two threads of this process: of so many bytes (a power of two), or of these [`Settings`].
///
/// # Errors
/// [`Error::Geometry`] if a capacity is not a power of two.
pub fn private(settings: impl Into<Settings>) -> Result<(Writer, Reader), Error> {
    private_at(settings, 0)
}

/// As [`private`], as if `position` bytes had passed: for tests of what happens where positions go round.
///
/// # Errors
/// As [`private`].
#[doc(hidden)]
pub fn private_at(settings: impl Into<Settings>, position: u64) -> Result<(Writer, Reader), Error> {
    let segment = Options::new().private::<Pipe<Family>>(settings.into().into())?;
    segment.object().ring.begin_at(position);
    ends(segment)
}

/// The ends of a pipe that nobody else has seen yet.
fn ends<T: Trust>(segment: std::sync::Arc<shmkit_segment::Segment<Pipe<T>>>) -> Result<(Writer<T>, Reader<T>), Error> {
    Ok((Writer::of(segment.role(WRITER))?, Reader::of(segment.role(READER))?))
}
