//! What stands in the buffers: a header of fixed size, then encoded values.

use shmkit_process::Remote;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// In front of an encoded argument.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Task {
    pub(crate) id: u64,
    pub(crate) function: [u8; Remote::LENGTH],
    /// How many workers may die over it before that is its outcome.
    pub(crate) retries: u32,
    pub(crate) reserved: u32,
}

/// In front of a piece of an encoded result, or of whatever else came of a task.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Report {
    pub(crate) id: u64,
    /// One of the constants below.
    pub(crate) kind: u32,
    /// 0 for the first piece: what came before, from a worker that died on the way, is void.
    pub(crate) piece: u32,
    /// Whether no further piece follows.
    pub(crate) last: u32,
    /// For [`DIED`]: the worker's process id.
    pub(crate) pid: u32,
}

/// The encoded result.
pub(crate) const VALUE: u32 = 0;
/// The encoded message and location of a panic.
pub(crate) const PANICKED: u32 = 1;
/// Why the result cannot be encoded.
pub(crate) const NOT_ENCODABLE: u32 = 2;
/// Why the worker would not call the function.
pub(crate) const REFUSED: u32 = 3;
/// Too many workers died over the task.
pub(crate) const DIED: u32 = 4;

/// Splits a message into its header and the rest. `None` if it is too short to be one.
pub(crate) fn split<H: FromBytes>(message: &[u8]) -> Option<(H, &[u8])> {
    H::read_from_prefix(message).ok()
}
