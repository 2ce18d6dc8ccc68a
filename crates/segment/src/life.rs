//! The proof that a peer is alive: a lock that the kernel takes away when, and only when, the process is gone.
//!
//! Segments with a descriptor use a lock of an *open file description* on a byte of their own. That description is opened
//! afresh for each attachment and never mapped, duplicated or passed on while its owner lives, because a mapping or a
//! duplicate would keep the lock after the owner's death. It works across pid namespaces, is indifferent to reused pids,
//! and a stopped process keeps it: stopped is not dead.
//!
//! Such a lock names the description and not the process. So nobody ever locks or unlocks a slot that is its own:
//! locking it again would succeed, and unlocking it would make its owner look dead.
//!
//! Private segments, which no other process can see, use a table with the same rules; there, a peer "dies" when a test
//! says so.

use crate::{Error, PeerId};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

pub(crate) enum Life {
    /// An open file description that nobody else has.
    Lock(OwnedFd),
    /// A holder's number in a table of locks.
    Table(Arc<[AtomicU32]>, u32),
}

static HOLDERS: AtomicU64 = AtomicU64::new(0);

impl Life {
    /// A new holder in a new table of `peers` locks.
    pub(crate) fn table(peers: usize) -> Self {
        Self::holder(Arc::from_iter((0..peers).map(|_| AtomicU32::new(0))))
    }

    /// A new holder in the same table.
    pub(crate) fn holder(table: Arc<[AtomicU32]>) -> Self {
        let number = HOLDERS.fetch_add(1, Ordering::Relaxed) % u64::from(u32::MAX);
        Self::Table(table, number as u32 + 1)
    }

    /// Takes the lock of `peer` unless a living holder has it. Success proves that nobody alive does.
    pub(crate) fn try_lock(&self, peer: PeerId) -> Result<bool, Error> {
        match self {
            Self::Lock(life) => crate::sys::try_lock(life, peer.0).map_err(|cause| {
                Error::system("lock a byte of the segment", "check the limit on file locks (ulimit -x)", cause)
            }),
            Self::Table(table, holder) => {
                let lock = &table[usize::from(peer.0)];
                Ok(lock.compare_exchange(0, *holder, Ordering::AcqRel, Ordering::Acquire).is_ok())
            }
        }
    }

    /// Gives the lock of `peer`, which this holder has, back.
    pub(crate) fn unlock(&self, peer: PeerId) {
        match self {
            Self::Lock(life) => crate::sys::unlock(life, peer.0),
            Self::Table(table, _) => table[usize::from(peer.0)].store(0, Ordering::Release),
        }
    }
}
