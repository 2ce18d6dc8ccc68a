//! The proof that a peer is alive: a lock that the kernel takes away when, and only when, the process is gone.
//!
//! Segments with a file use a lock of an *open file description* on a byte of their own. That description is opened afresh for
//! each attachment and never mapped, duplicated or passed on while its owner lives, because a mapping or a duplicate
//! would keep the lock after the owner's death. It works across pid namespaces, is indifferent to reused pids, and a
//! stopped process keeps it: stopped is not dead.
//!
//! Such a lock names the description and not the process. So nobody ever locks or unlocks a slot that is its own:
//! locking it again would succeed, and unlocking it would make its owner look dead.
//!
//! Which byte: `2^40 + (place of the peer's entry in the file) / 128`, far beyond any data. So several segments in one file (of an
//! embedder) have locks of their own, and the byte for the start of the segment, where no entry lies, is its [door](Door).
//!
//! Private segments, which no other process can see, use a table with the same rules; there, a peer "dies" when a test
//! says so.
//!
//! Portable segments (see portable) have no locks, so nobody there is ever known to be dead.

#![allow(unsafe_code)]

use crate::fork::LockFile;
use crate::{Error, PeerId, crash};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Locks lie here, beyond any data.
const LOCKS: i64 = 1 << 40;
/// Entries of the peer table are so large, and begin so far behind the start.
const ENTRY: u64 = 128;
const FIRST_ENTRY: i64 = 2;

pub(crate) enum Life {
    /// An open file description that nobody else has, and the byte of the segment's door.
    Lock(LockFile, i64),
    /// A holder's number in a table of locks.
    Table(Arc<[AtomicU32]>, u32),
    /// Nothing tells: every peer counts as alive until it leaves.
    #[cfg(feature = "portable")]
    Unknown,
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

    /// The locks of a segment that starts `offset` bytes into `file`, which nobody else has open by this description.
    pub(crate) fn lock(file: LockFile, offset: u64) -> Self {
        Self::Lock(file, door_of(offset))
    }

    /// Another holder of locks of the same segment.
    pub(crate) fn another(&self) -> Result<Self, Error> {
        match self {
            Self::Lock(file, door) => Ok(Self::Lock(LockFile::reopen(file.as_fd())?, *door)),
            Self::Table(table, _) => Ok(Self::holder(Arc::clone(table))),
            #[cfg(feature = "portable")]
            Self::Unknown => Ok(Self::Unknown),
        }
    }

    /// Whether there are locks by which to tell who is alive.
    pub(crate) fn has_locks(&self) -> bool {
        match self {
            #[cfg(feature = "portable")]
            Self::Unknown => false,
            _ => true,
        }
    }

    /// Takes the lock of `peer` unless a living holder has it. Success proves that nobody alive does.
    pub(crate) fn try_lock(&self, peer: PeerId) -> Result<bool, Error> {
        match self {
            Self::Lock(file, door) => try_lock(file, byte_of(*door, peer)),
            Self::Table(table, holder) => {
                let lock = &table[usize::from(peer.0)];
                Ok(lock.compare_exchange(0, *holder, Ordering::AcqRel, Ordering::Acquire).is_ok())
            }
            #[cfg(feature = "portable")]
            Self::Unknown => Ok(false),
        }
    }

    /// Gives the lock of `peer`, which this holder has, back.
    pub(crate) fn unlock(&self, peer: PeerId) {
        match self {
            Self::Lock(file, door) => unlock(file, byte_of(*door, peer)),
            Self::Table(table, _) => table[usize::from(peer.0)].store(0, Ordering::Release),
            #[cfg(feature = "portable")]
            Self::Unknown => {}
        }
    }

    /// Whether another holder has the lock of `peer`. Changes nothing.
    pub(crate) fn is_locked(&self, peer: PeerId) -> bool {
        match self {
            Self::Lock(file, door) => anyone_has(file.as_fd(), byte_of(*door, peer), 1),
            Self::Table(table, holder) => ![0, *holder].contains(&table[usize::from(peer.0)].load(Ordering::Acquire)),
            #[cfg(feature = "portable")]
            Self::Unknown => true,
        }
    }
}

fn door_of(offset: u64) -> i64 {
    LOCKS + (offset / ENTRY) as i64
}

fn byte_of(door: i64, peer: PeerId) -> i64 {
    door + FIRST_ENTRY + i64::from(peer.0)
}

/// Whether the peer with this number is alive, in a segment that fills `file` and to which this process need not be attached.
pub(crate) fn is_alive(file: BorrowedFd<'_>, slot: u16) -> bool {
    anyone_has(file, byte_of(LOCKS, PeerId(slot)), 1)
}

/// Whether any of the first `peers` peers of the segment that starts `offset` bytes into `file` is alive.
pub(crate) fn is_anyone_alive(file: BorrowedFd<'_>, offset: u64, peers: usize) -> bool {
    anyone_has(file, byte_of(door_of(offset), PeerId(0)), peers as i64)
}

/// The right to come in by name, or to put another segment in the place of this one: one process at a time has it, until this is
/// dropped, or the process is gone.
pub(crate) struct Door(LockFile, i64);

impl Door {
    /// For how long to wait for somebody who is inside.
    const PATIENCE: Duration = Duration::from_secs(2);

    /// Goes in to the segment that starts `offset` bytes into `file`, and waits while somebody else is inside. `None` if it is not
    /// `wanted` any more, once inside or meanwhile. `path` is for the error.
    pub(crate) fn enter(
        file: BorrowedFd<'_>,
        offset: u64,
        path: &Path,
        wanted: impl Fn() -> bool,
    ) -> Result<Option<Self>, Error> {
        let door = Self(LockFile::reopen(file)?, door_of(offset));
        let (start, mut nap) = (Instant::now(), Duration::from_micros(50));
        while !try_lock(&door.0, door.1)? {
            let waited = start.elapsed();
            if !wanted() {
                return Ok(None);
            }
            if waited > Self::PATIENCE {
                return Err(Error::Busy { path: path.into(), waited });
            }
            std::thread::sleep(nap);
            nap = (nap * 2).min(Duration::from_millis(5));
        }
        Ok(wanted().then_some(door))
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // Not left to the close: a process that is just being started has a copy of the descriptor for a moment.
        unlock(&self.0, self.1);
    }
}

/// Takes a lock for an open file description, unless another one holds it. Costs about a microsecond.
fn try_lock(file: &impl AsFd, byte: i64) -> Result<bool, Error> {
    crash::site("lock");
    match fcntl(file.as_fd(), libc::F_OFD_SETLK, &mut range(libc::F_WRLCK, byte, 1)) {
        Ok(()) => Ok(true),
        Err(cause) if matches!(cause.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        Err(cause) => Err(Error::system(
            "lock a byte of the segment",
            "check the limit on file locks (ulimit -x), and that the file system knows locks of open files",
            cause,
        )),
    }
}

/// Gives a lock back. An error would mean that it was not held.
fn unlock(file: &impl AsFd, byte: i64) {
    crash::site("unlock");
    let _ = fcntl(file.as_fd(), libc::F_OFD_SETLK, &mut range(libc::F_UNLCK, byte, 1));
}

/// Whether another open file description holds a lock in a range of bytes. If that cannot be learnt, one might.
fn anyone_has(file: BorrowedFd<'_>, byte: i64, bytes: i64) -> bool {
    let mut found = range(libc::F_WRLCK, byte, bytes);
    match fcntl(file, libc::F_OFD_GETLK, &mut found) {
        Ok(()) => i32::from(found.l_type) != libc::F_UNLCK,
        Err(_) => true,
    }
}

fn range(kind: i32, byte: i64, bytes: i64) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: byte,
        l_len: bytes,
        // Must be zero.
        l_pid: 0,
    }
}

/// A lock of the open file description and not of the process (`F_SETLK`), which would fall as soon as *any* descriptor of the
/// file is closed anywhere in the process.
fn fcntl(file: BorrowedFd<'_>, command: i32, range: &mut libc::flock) -> io::Result<()> {
    loop {
        // SAFETY: the descriptor is open and `range` outlives the call.
        let outcome = unsafe { libc::fcntl(file.as_raw_fd(), command, std::ptr::from_mut(range)) };
        if outcome == 0 {
            return Ok(());
        }
        let cause = io::Error::last_os_error();
        if cause.kind() != io::ErrorKind::Interrupted {
            return Err(cause);
        }
    }
}
