//! Segments in memory that an embedder has mapped: its own arena, a driver's buffer, another toolkit's segment.

use crate::fork::LockFile;
use crate::header::{Header, Layout};
use crate::life::{self, Door, Life};
use crate::named::of_configuration;
use crate::segment::Opened;
use crate::{Configuration, Error, Memory, Object, Options, Plan, Segment};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

/// By what peers in an embedder's memory know each other alive.
#[derive(Debug)]
pub enum Liveness {
    /// By locks on a file that all of them can open, which may be the memory's own: on one byte for each peer, beyond 2^40.
    File {
        /// The file, opened for reading and writing. It is opened anew through `/proc/self/fd`, so that a lock has a description of its own.
        file: OwnedFd,
        /// Where the segment starts: a multiple of 128 by which it is told from other segments whose peers use the same file. In a file
        /// of another kind, choose places that are as far from each other as if the segments, with their [length](Options::length), lay there.
        offset: u64,
    },
    /// There is but one process, so they live and die together. The memory is not shared, or nobody else attaches to it.
    SingleProcess,
}

/// A segment to be made or found in memory that the caller has mapped. See [`Options::raw`].
///
/// It starts on a 128-byte boundary and needs [`Options::length`] bytes. It cannot be passed to other processes by its handles, since
/// they cannot map what they do not know: pass what it is mapped from in your own way, and [open](Self::open) it there.
///
/// After a `fork`, handles in the child are defunct as ever, but the memory is left alone: operations that do not ask can still reach it.
#[derive(Debug)]
pub struct Raw {
    options: Options,
    memory: Memory,
    liveness: Liveness,
}

impl Raw {
    pub(crate) fn new(options: Options, memory: Memory, liveness: Liveness) -> Self {
        Self { options, memory, liveness }
    }

    /// Makes a new segment, whatever lay in the memory before.
    ///
    /// # Errors
    /// [`Error::Exists`] if somebody is attached to a segment that lies there (known from locks, which a single process has not);
    /// [`Error::Geometry`] if `configuration` makes no sense, the memory is too small or begins in the wrong place, or `offset` is no
    /// multiple of 128; [`Error::System`] if the file for liveness cannot be opened anew; [`Error::Busy`].
    pub fn create<O: Object>(self, configuration: Configuration) -> Result<Arc<Segment<O>>, Error> {
        let door = self.liveness.enter()?;
        self.found(configuration, door.as_ref())
    }

    /// Attaches to the segment that another process has made here.
    ///
    /// # Errors
    /// Each way in which what is there is not a segment that holds an `O` has an [`Error`] of its own; [`Error::TooManyPeers`]; [`Error::Busy`];
    /// [`Error::NotTransferable`] for memory of a single process: its handles [join](Segment::join) it.
    pub fn open<O: Object>(self) -> Result<Arc<Segment<O>>, Error> {
        let Some(door) = self.liveness.enter()? else { return Err(OPENED_TWICE) };
        self.attach(&door)
    }

    /// Attaches to the segment that another process has made here, or makes one if none was ever completed since the machine was booted.
    ///
    /// # Errors
    /// As [`open`](Self::open) and [`create`](Self::create). In memory that is neither zero nor a segment, [`Error::NotASegment`].
    pub fn open_or_create<O: Object>(self, configuration: Configuration) -> Result<Arc<Segment<O>>, Error> {
        let Some(door) = self.liveness.enter()? else { return Err(OPENED_TWICE) };
        match self.attach(&door) {
            Ok(segment) => of_configuration(segment, &configuration),
            Err(Error::Incomplete | Error::EarlierBoot) => self.found(configuration, Some(&door)),
            Err(error) => Err(error),
        }
    }

    fn found<O: Object>(
        &self,
        configuration: Configuration,
        door: Option<&Inside<'_>>,
    ) -> Result<Arc<Segment<O>>, Error> {
        const { assert!(O::HARDENED, "this object must not be shared with strangers: see Object::HARDENED") }
        let peers = self.options.peers;
        let layout = Layout::<O>::new(&configuration, peers)?;
        let life = match door {
            None => Life::table(peers),
            Some(inside) if life::is_anyone_alive(inside.file.as_fd(), inside.offset, peers) => {
                return Err(Error::Exists { path: inside.path.clone() });
            }
            Some(inside) => inside.life()?,
        };
        let memory = self.memory.cut(layout.plan.length())?;
        memory.clear();
        Opened::found(memory, layout, configuration, 0, None).settle(life)
    }

    fn attach<O: Object>(&self, inside: &Inside<'_>) -> Result<Arc<Segment<O>>, Error> {
        const { assert!(O::HARDENED, "this object must not be shared with strangers: see Object::HARDENED") }
        let start = self.memory.cut(size_of::<Header>())?.one(Plan::new().one::<Header>()?).start();
        let length = usize::try_from(start.check_origin()?.length).map_err(|_| TOO_SMALL)?;
        let (layout, configuration) = start.check::<O>(length, 1)?;
        Opened { memory: self.memory.cut(length)?, layout, configuration, data: None }.come_in(inside.life()?)
    }
}

pub(crate) const TOO_SMALL: Error = Error::Geometry("the memory is smaller than the segment");

const OPENED_TWICE: Error = Error::NotTransferable(
    "a segment of a single process is not opened a second time: `join` the first, or give it a file for liveness",
);

/// Inside the door of a segment whose peers use `file`: alone in coming in and in making a new one.
struct Inside<'a> {
    file: &'a OwnedFd,
    offset: u64,
    path: PathBuf,
    _door: Door,
}

impl Inside<'_> {
    fn life(&self) -> Result<Life, Error> {
        Ok(Life::lock(LockFile::reopen(self.file.as_fd())?, self.offset))
    }
}

impl Liveness {
    /// Goes in; a single process has no door.
    fn enter(&self) -> Result<Option<Inside<'_>>, Error> {
        let Self::File { file, offset } = self else { return Ok(None) };
        // Less than that apart, two segments would have the same locks.
        if !offset.is_multiple_of(128) {
            return Err(Error::Geometry("the place among the locks of a file is not a multiple of 128"));
        }
        // For errors only.
        let path = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap_or_default();
        let door = Door::enter(file.as_fd(), *offset, &path, || true)?;
        Ok(door.map(|door| Inside { file, offset: *offset, path, _door: door }))
    }
}
