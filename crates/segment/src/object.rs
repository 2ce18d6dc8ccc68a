//! What a segment holds: one object, whose type says everything that is needed to lay it out, attach to it, and repair it
//! when a peer has died.

use crate::{Error, Memory, PeerId, Plan};
use std::alloc::Layout;

/// What an object's layout follows from, such as its capacity: up to eight numbers, kept in the header.
pub type Configuration = [u64; 8];

/// An object that lives in a segment.
///
/// A segment holds one object, which may be composed of others: a composite's plan calls its parts' plans, and its sweep
/// their sweeps. So whoever is attached knows how to recover everything in the segment, and no reaper ever meets memory
/// that it does not understand.
pub trait Object: Sized + Send + Sync + 'static {
    /// Names the kind of object in the header: four ASCII letters, see [`kind`].
    const KIND: u32;

    /// A name for the payload type, for users who want to tell types of the same size apart.
    const TAG: u64 = 0;

    /// Whether the object withstands whatever others write into its memory at any moment.
    ///
    /// If so, its segment can be shared with any program: by name, by a file, over a Unix socket, in an embedder's memory. If not, only with
    /// processes that run this same program, by passing handles to children; anything else does not compile, or is an error.
    ///
    /// An object that is written without `unsafe` is hardened: its parts are atomics and [`PlainCell`](crate::PlainCell)s, and it
    /// only has to check what it reads from them. One whose safe methods give references to bytes in place is not.
    const HARDENED: bool = false;

    /// The places of the object's parts.
    type Parts: Copy + Send + Sync + 'static;

    /// Size and alignment of the payload type, compared on attaching.
    fn payload() -> Layout;

    /// Lays the object out. The same configuration gives the same plan in every process.
    ///
    /// # Errors
    /// [`Error::Geometry`] for a configuration that makes no sense: it may come from a corrupt header.
    fn plan(configuration: &Configuration, plan: &mut Plan) -> Result<Self::Parts, Error>;

    /// Views the object in memory that was laid out so. Called by the creator too: the memory is all zero then, and
    /// all-zero is every object's initial state.
    fn attach(memory: &Memory, parts: &Self::Parts) -> Self;

    /// Takes back what `dead` owned, on behalf of `reaper`, which holds the exclusive right to do so.
    ///
    /// Idempotent: if the reaper dies on the way, another one starts again from the beginning. Runs while others use the
    /// object. Waking is not its business: everyone is woken afterwards.
    fn sweep(&self, dead: PeerId, reaper: PeerId);

    /// Says that a peer was killed, rather than left: for objects to whose users that makes a difference. Called after [`sweep`](Self::sweep), by whoever has the right to that; idempotent
    /// like it.
    fn peer_died(&self) {}

    /// Wakes everyone who waits for anything in this object, or is about to: a peer that died may have owed them a wake, so nothing in
    /// shared memory says that nobody waits (`EventCount::rouse` in shmkit-sync does this).
    fn wake_all(&self);
}

/// Four letters as a number.
#[must_use]
pub const fn kind(letters: &[u8; 4]) -> u32 {
    u32::from_le_bytes(*letters)
}
