//! What can go wrong on the cold paths: creating, attaching, handing over.

use std::io;

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
    #[error("the segment was never completed: its creator died; create it again")]
    Incomplete,

    /// The segment was made by an incompatible version, or on a machine of another kind.
    #[error(
        "the segment has {what} {found}, this library needs {expected}: build both programs with the same version of shmkit"
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

    /// A private segment, or a handle of another kind, cannot be handed to another process.
    #[error("{0}")]
    NotTransferable(&'static str),
}

impl Error {
    pub(crate) fn system(action: &'static str, hint: &'static str, source: impl Into<io::Error>) -> Self {
        Self::System { action, hint, source: source.into() }
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
