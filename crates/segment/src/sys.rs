//! The system calls behind segments: memory files, seals, and the file locks by which peers know each other alive.

#![allow(unsafe_code)]

use crate::{Error, crash};
use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// Seals that every anonymous segment carries, so that no peer can pull the memory from under another.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// Peers lock one byte each, far beyond any data.
const LOCKS: i64 = 1 << 40;

/// A memory file of `length` bytes, all of them allocated now, that can neither shrink nor grow.
pub(crate) fn sealed_memory(length: usize) -> Result<OwnedFd, Error> {
    const LIMITS: &str = "check the limit on open files (ulimit -n) and that /proc is mounted";
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    crash::site("memfd_create");
    let file = match rustix::fs::memfd_create(c"shmkit", flags | MemfdFlags::NOEXEC_SEAL) {
        // Kernels before 6.3 do not know the flag; there, nothing forbids an executable memory file either.
        Err(rustix::io::Errno::INVAL) => rustix::fs::memfd_create(c"shmkit", flags),
        other => other,
    }
    .map_err(|cause| Error::system("create a memory file", LIMITS, cause))?;
    // The kernel would not only refuse a file beyond this limit but send SIGXFSZ, which ends the process.
    if rustix::process::getrlimit(rustix::process::Resource::Fsize).current.is_some_and(|limit| limit < length as u64) {
        return Err(Error::NoSpace { bytes: length, source: rustix::io::Errno::FBIG.into() });
    }
    crash::site("fallocate");
    retry(|| rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, length as u64))
        .map_err(|cause| Error::NoSpace { bytes: length, source: cause.into() })?;
    crash::site("seal");
    rustix::fs::fcntl_add_seals(&file, SEALS).map_err(|cause| {
        Error::system("seal a memory file", "the kernel refused a seal that it supports since 3.17", cause)
    })?;
    Ok(file)
}

/// The length of a received descriptor, after checking that it cannot change.
pub(crate) fn sealed_length(file: BorrowedFd<'_>) -> Result<usize, Error> {
    let seals = rustix::fs::fcntl_get_seals(file).map_err(|_| Error::NotSealed)?;
    if !seals.contains(SEALS) {
        return Err(Error::NotSealed);
    }
    let status = rustix::fs::fstat(file)
        .map_err(|cause| Error::system("read the length of a segment", "the descriptor is not a memory file", cause))?;
    usize::try_from(status.st_size).map_err(|_| Error::Corrupt("its length is negative"))
}

/// The same file by a new open file description, which owns no locks yet.
pub(crate) fn reopen(file: &OwnedFd) -> Result<OwnedFd, Error> {
    crash::site("reopen");
    File::options()
        .read(true)
        .write(true)
        .open(format!("/proc/self/fd/{}", file.as_raw_fd()))
        .map(OwnedFd::from)
        .map_err(|cause| {
            Error::system(
                "reopen a segment",
                "check that /proc is mounted and the limit on open files (ulimit -n)",
                cause,
            )
        })
}

/// Takes peer `slot`'s lock for the open file description `life`, unless another one holds it. Costs about a microsecond.
pub(crate) fn try_lock(life: &OwnedFd, slot: u16) -> io::Result<bool> {
    crash::site("lock");
    match lock(life, slot, libc::F_WRLCK) {
        Ok(()) => Ok(true),
        Err(cause) if matches!(cause.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        Err(cause) => Err(cause),
    }
}

/// Gives peer `slot`'s lock back. An error would mean that it was not held.
pub(crate) fn unlock(life: &OwnedFd, slot: u16) {
    crash::site("unlock");
    let _ = lock(life, slot, libc::F_UNLCK);
}

fn lock(life: &OwnedFd, slot: u16, kind: i32) -> io::Result<()> {
    // A lock of the open file description and not of the process (`F_SETLK`), which would fall as soon as *any*
    // descriptor of the file is closed anywhere in the process. `l_pid` must be zero.
    let request = libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: LOCKS + i64::from(slot),
        l_len: 1,
        l_pid: 0,
    };
    loop {
        // SAFETY: the descriptor is open and `request` outlives the call.
        let outcome = unsafe { libc::fcntl(life.as_raw_fd(), libc::F_OFD_SETLK, &raw const request) };
        if outcome == 0 {
            return Ok(());
        }
        let cause = io::Error::last_os_error();
        if cause.kind() != io::ErrorKind::Interrupted {
            return Err(cause);
        }
    }
}

fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    loop {
        match call() {
            Err(rustix::io::Errno::INTR) => {}
            outcome => return outcome,
        }
    }
}

/// When this process started, in clock ticks since boot; with the pid it names a process for people. 0 if unknown.
pub(crate) fn start_time() -> u64 {
    static START: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    *START.get_or_init(read_start_time)
}

/// Milliseconds on the monotonic clock, which all processes of a machine share.
pub(crate) fn milliseconds() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000 + now.tv_nsec as u64 / 1_000_000
}

fn read_start_time() -> u64 {
    // The command's name may hold spaces and parentheses, so count fields from the last parenthesis.
    let status = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = status.rsplit(')').next().unwrap_or_default();
    fields.split_whitespace().nth(19).and_then(|field| field.parse().ok()).unwrap_or(0)
}

/// Sends `signal` to this very process, and does not return from one that ends it.
#[cfg(all(crash_points, not(loom)))]
pub(crate) fn raise(signal: i32) {
    // SAFETY: no memory is involved.
    unsafe { libc::kill(libc::getpid(), signal) };
    while signal == libc::SIGKILL {
        std::thread::park();
    }
}
