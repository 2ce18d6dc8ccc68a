//! Segments in memory that an embedder has mapped: its own arena, a driver's buffer, another toolkit's segment.

use crate::fork::LockFile;
use crate::header::{Header, Layout};
use crate::life::Life;
use crate::segment::Opened;
use crate::{Configuration, Error, Memory, Object, Options, Plan, Segment};
use std::os::fd::{AsFd, OwnedFd};
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

    /// Makes a new segment, whatever lay in the memory before. Nobody may be attached to it.
    ///
    /// # Errors
    /// [`Error::Geometry`] if `configuration` makes no sense, the memory is too small or begins in the wrong place, or `offset` is no
    /// multiple of 128; [`Error::System`] if the file for liveness cannot be opened anew.
    pub fn create<O: Object>(self, configuration: Configuration) -> Result<Arc<Segment<O>>, Error> {
        const { assert!(O::HARDENED, "this object must not be shared with strangers: see Object::HARDENED") }
        let layout = Layout::<O>::new(&configuration, self.options.peers)?;
        let life = self.liveness.life(self.options.peers)?;
        let memory = self.memory.cut(layout.plan.length())?;
        memory.clear();
        Opened::found(memory, layout, configuration, 0, None).settle(life)
    }

    /// Attaches to the segment that another process has made here.
    ///
    /// # Errors
    /// Each way in which what is there is not a segment that holds an `O` has an [`Error`] of its own; [`Error::TooManyPeers`];
    /// [`Error::NotTransferable`] for memory of a single process: its handles [join](Segment::join) it.
    pub fn open<O: Object>(self) -> Result<Arc<Segment<O>>, Error> {
        const { assert!(O::HARDENED, "this object must not be shared with strangers: see Object::HARDENED") }
        if matches!(self.liveness, Liveness::SingleProcess) {
            return Err(Error::NotTransferable(
                "a segment of a single process is not opened a second time: `join` the first, or give it a file for liveness",
            ));
        }
        let start = self.memory.cut(size_of::<Header>())?.one(Plan::new().one::<Header>()?).start();
        let length = usize::try_from(start.check_origin()?.length).map_err(|_| TOO_SMALL)?;
        let (layout, configuration) = start.check::<O>(length, 1)?;
        let life = self.liveness.life(0)?;
        Opened { memory: self.memory.cut(length)?, layout, configuration, data: None }.attach(life)
    }
}

pub(crate) const TOO_SMALL: Error = Error::Geometry("the memory is smaller than the segment");

impl Liveness {
    fn life(self, peers: usize) -> Result<Life, Error> {
        match self {
            // Less than that apart, two segments would have the same locks.
            Self::File { offset, .. } if !offset.is_multiple_of(128) => {
                Err(Error::Geometry("the place among the locks of a file is not a multiple of 128"))
            }
            Self::File { file, offset } => Ok(Life::lock(LockFile::reopen(file.as_fd())?, offset)),
            Self::SingleProcess => Ok(Life::table(peers)),
        }
    }
}
