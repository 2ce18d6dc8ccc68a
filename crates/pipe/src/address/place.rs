//! A socket's place in a directory: taken by one listener at a time, and left by none that is alive.

use super::ConnectError;
use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use shmkit_segment::crash;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long to wait for others who have the lock. They have it for some system calls.
const PATIENCE: Duration = Duration::from_secs(2);

/// The lock of the directory that `path` is in.
pub(super) fn lock(path: &Path) -> Result<OwnedFd, ConnectError> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let failed = |cause: Errno| ConnectError::Io {
        path: path.into(),
        action: "open the directory of",
        hint: "it must exist, and this user be allowed to read and write it",
        source: cause.into(),
    };
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(directory, flags, Mode::empty()).map_err(failed)?;
    let start = Instant::now();
    loop {
        crash::site("flock");
        match rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(directory),
            Err(Errno::AGAIN | Errno::INTR) if start.elapsed() < PATIENCE => sleep(Duration::from_millis(1)),
            Err(Errno::AGAIN | Errno::INTR) => return Err(ConnectError::Busy { path: path.into() }),
            Err(cause) => return Err(failed(cause)),
        }
    }
}

/// What is at `path`, if there is something.
pub(super) fn status(path: &Path) -> Option<Stat> {
    rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).ok()
}

/// Removes a socket that nobody listens at. The lock is held.
pub(super) fn clear(path: &Path, address: &SocketAddrUnix) -> Result<(), ConnectError> {
    let Some(found) = status(path) else { return Ok(()) };
    let taken = |what| Err(ConnectError::Taken { path: path.into(), what });
    if FileType::from_raw_mode(found.st_mode) != FileType::Socket {
        return taken("something that is not a socket");
    }
    match probe(address) {
        Err(Errno::CONNREFUSED) => {
            crash::site("unlink");
            rustix::fs::unlink(path).map_err(|cause| ConnectError::Io {
                path: path.into(),
                action: "remove the socket that was left at",
                hint: "it belongs to somebody else: choose another path",
                source: cause.into(),
            })
        }
        Err(Errno::NOENT) => Ok(()),
        Err(Errno::ACCESS | Errno::PERM) => taken("a socket of another user"),
        Err(Errno::PROTOTYPE) => taken("a socket of another type"),
        // Accepted, or too many wait for that.
        _ => taken("somebody who listens there"),
    }
}

/// Whether anybody listens.
fn probe(address: &SocketAddrUnix) -> rustix::io::Result<()> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&socket, address)
}

/// Why connecting failed.
pub(super) fn not_connected(path: &Path, cause: Errno) -> ConnectError {
    let path = PathBuf::from(path);
    match cause {
        Errno::NOENT | Errno::NOTDIR => ConnectError::NotFound { path },
        Errno::CONNREFUSED => ConnectError::Refused { path },
        Errno::AGAIN => ConnectError::Timeout { path },
        Errno::PROTOTYPE => ConnectError::NotSpoken { path },
        _ => ConnectError::Io {
            path,
            action: "connect to",
            hint: "check that this user may write to that socket and enter its directory",
            source: cause.into(),
        },
    }
}
