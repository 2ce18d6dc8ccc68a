//! What can go wrong on the cold paths: creating, attaching, handing over.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a segment could not be created, attached to, or handed over. Nothing half-made is left behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration cannot be laid out.
    #[error("this configuration cannot be laid out: {0}")]
    Geometry(&'static str),

    /// Memory for the whole segment could not be had.
    #[error(
        "no room for a segment of {bytes} bytes: make it smaller, or raise the limit of shared memory (tmpfs or memory cgroup)"
    )]
    NoSpace {
        /// The length of the segment.
        bytes: usize,
        /// What the kernel said.
        source: io::Error,
    },

    /// No segment has this name.
    #[error("there is no segment at {}: check the name, or create it (open_or_create does)", path.display())]
    NotFound {
        /// Where it was looked for.
        path: PathBuf,
    },

    /// The name is taken by a segment that is whole.
    #[error("there is a segment at {} already: open it, or remove it first (replace_stale replaces one that nobody living is attached to)", path.display())]
    Exists {
        /// Where it is.
        path: PathBuf,
    },

    /// What has this name is not a regular file, so it is not a segment.
    #[error("{} is {what} and not a segment: choose another name, or find out who put it there", path.display())]
    NotAFile {
        /// Where it is.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },

    /// The segment belongs to another user than was expected.
    #[error("the segment at {} belongs to user {found}, not to {expected}: somebody may have taken the name; say `owner({found})` if that is right", path.display())]
    WrongOwner {
        /// Where it is.
        path: PathBuf,
        /// The user whose it is.
        found: u32,
        /// The user whose it should be.
        expected: u32,
    },

    /// More users than was asked for can write to the segment.
    #[error("the segment at {} has the mode {found:o}, which lets in more than {allowed:o} does: open it with that `mode` if that is right", path.display())]
    WiderMode {
        /// Where it is.
        path: PathBuf,
        /// Its mode.
        found: u32,
        /// The mode that was asked for.
        allowed: u32,
    },

    /// A name that cannot be.
    #[error("{name:?} cannot be the name of a segment: {rule}")]
    Name {
        /// The name.
        name: String,
        /// What it breaks.
        rule: &'static str,
    },

    /// Another process is opening, replacing or removing this segment, and does not get on.
    #[error("other processes have been opening or replacing {} for {:?}: is one of them stopped?", path.display(), waited)]
    Busy {
        /// Where it is.
        path: PathBuf,
        /// For how long this process has waited.
        waited: Duration,
    },

    /// An operation on a file failed.
    #[error("cannot {action} the segment at {}: {hint}", path.display())]
    File {
        /// Where it is.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What to do about it.
        hint: &'static str,
        /// What the kernel said.
        source: io::Error,
    },

    /// The segment was created before the machine was started the last time.
    #[error(
        "the segment is from an earlier boot of the machine, and may have been written back in part: create it again (open_or_create does)"
    )]
    EarlierBoot,

    /// This process is a fork of the one that attached to the segment.
    #[error(
        "this process was forked from the one that has the handle: start processes with `spawn`, or attach anew after the fork"
    )]
    Forked,

    /// A system call failed.
    #[error("cannot {action}: {hint}")]
    System {
        /// What was tried.
        action: &'static str,
        /// What to do about it.
        hint: &'static str,
        /// What the kernel said.
        source: io::Error,
    },

    /// What was attached to is not a segment of this toolkit.
    #[error("this is not a shmkit segment (it starts with {found:#018x}): is it the right file or descriptor?")]
    NotASegment {
        /// The first eight bytes, as a number.
        found: u64,
    },

    /// The segment's creator died before the segment was complete.
    #[error("the segment was never completed: its creator died; create it again (open_or_create does)")]
    Incomplete,

    /// The segment was made by an incompatible version, or on a machine of another kind.
    #[error(
        "the segment has {what} {found:#x}, this library needs {expected:#x}: build both programs with the same version and features of shmkit"
    )]
    Incompatible {
        /// What differs.
        what: &'static str,
        /// What the segment says.
        found: u64,
        /// What is needed.
        expected: u64,
    },

    /// The segment holds another kind of object, or one with another payload.
    #[error(
        "the segment holds a different object ({what} is {found:#x}, expected {expected:#x}): open it as what it was created as"
    )]
    WrongObject {
        /// What differs.
        what: &'static str,
        /// What the segment says.
        found: u64,
        /// What the caller asked for.
        expected: u64,
    },

    /// The descriptor is not sealed against a change of its size, so that a peer could pull the memory away.
    #[error(
        "the descriptor is not sealed against shrinking and growing: only descriptors made by shmkit can be attached"
    )]
    NotSealed,

    /// The segment contradicts itself.
    #[error("the segment is corrupt ({0}): a peer wrote over it; create it again")]
    Corrupt(&'static str),

    /// All places for attached processes are taken by living ones.
    #[error("all {limit} places for attached processes are taken: create the segment with more (`peers`)")]
    TooManyPeers {
        /// The number of places.
        limit: usize,
    },

    /// A role that one handle has at a time, such as an end of an `spsc` queue, is another one's.
    #[error("this end is taken by {}: wait until it leaves or ends, or have the handle passed on from there", holder(*pid, name))]
    RoleTaken {
        /// The process that has it, as it says; 0 if it was passed to one that has not come up yet.
        pid: u32,
        /// What that calls itself.
        name: String,
    },

    /// The handle cannot be handed to another process, or not in this way.
    #[error("{0}")]
    NotTransferable(&'static str),
}

/// How an error speaks of a peer.
fn holder(pid: u32, name: &str) -> String {
    match pid {
        0 => "a process that has not come up yet".to_owned(),
        pid => format!("process {pid} ({name}), which is alive"),
    }
}

impl Error {
    pub(crate) fn system(action: &'static str, hint: &'static str, source: impl Into<io::Error>) -> Self {
        Self::System { action, hint, source: source.into() }
    }

    pub(crate) fn named(path: &Path, action: &'static str, hint: &'static str, source: impl Into<io::Error>) -> Self {
        Self::File { path: path.into(), action, hint, source: source.into() }
    }

    #[cfg(not(loom))]
    pub(crate) fn map(source: io::Error) -> Self {
        Self::system(
            "map the segment",
            "check the limits on address space (ulimit -v) and on mappings (vm.max_map_count)",
            source,
        )
    }
}
