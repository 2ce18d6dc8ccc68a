//! The system calls behind segments: memory files, files, seals.

#![allow(unsafe_code)]

use crate::header::{Identity, MAGIC, Start};
use crate::{Error, Plan, crash};
use rustix::fs::{AtFlags, CWD, FallocateFlags, FileType, MemfdFlags, Mode, OFlags, SealFlags, Stat};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use zerocopy::{FromZeros, IntoBytes};

/// Seals that every anonymous segment carries, so that no peer can pull the memory from under another.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// What all that opens a descriptor needs.
pub(crate) const OPEN_FILES: &str = "check the limit on open files (ulimit -n) and that /proc is mounted";

/// A memory file of at least as many bytes as are planned, that can neither shrink nor grow, and its length. What is not spare is allotted now.
///
/// Of reserved huge pages if `huge` and there are enough; its length is a multiple of their size then.
pub(crate) fn sealed_memory(plan: &Plan, huge: bool) -> Result<(OwnedFd, usize), Error> {
    if huge && let Some(memory) = huge_memory(plan.length()) {
        return Ok(memory);
    }
    let file = memory_file(MemfdFlags::NOEXEC_SEAL)
        .or_else(|cause| match cause {
            // Kernels before 6.3 do not know the flag; there, nothing forbids an executable memory file either.
            Errno::INVAL => memory_file(MemfdFlags::empty()),
            other => Err(other),
        })
        .map_err(|cause| Error::system("create a memory file", OPEN_FILES, cause))?;
    provide(&file, plan)?;
    seal(&file)?;
    Ok((file, plan.length()))
}

fn huge_memory(length: usize) -> Option<(OwnedFd, usize)> {
    let file = memory_file(MemfdFlags::HUGETLB).ok()?;
    let length = length.checked_next_multiple_of(granule(file.as_fd()))?;
    allocate(&file, length).ok()?;
    seal(&file).ok()?;
    Some((file, length))
}

fn memory_file(more: MemfdFlags) -> rustix::io::Result<OwnedFd> {
    crash::site("memfd_create");
    rustix::fs::memfd_create(c"shmkit", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | more)
}

fn seal(file: &OwnedFd) -> Result<(), Error> {
    crash::site("seal");
    rustix::fs::fcntl_add_seals(file, SEALS).map_err(|cause| {
        Error::system("seal a memory file", "the kernel refused a seal that it supports since 3.17", cause)
    })
}

/// Whether a file may be so long: the kernel would not only refuse one beyond this limit but send SIGXFSZ, which ends the process.
pub(crate) fn check_file_limit(length: usize) -> Result<(), Error> {
    if rustix::process::getrlimit(rustix::process::Resource::Fsize).current.is_some_and(|limit| limit < length as u64) {
        return Err(Error::NoSpace { bytes: length, source: Errno::FBIG.into() });
    }
    Ok(())
}

/// Makes an empty file as long as planned, and allots what is not spare.
pub(crate) fn provide(file: &OwnedFd, plan: &Plan) -> Result<(), Error> {
    let length = plan.length();
    allocate(file, plan.allotted())?;
    if length > plan.allotted() {
        check_file_limit(length)?;
        crash::site("ftruncate");
        rustix::fs::ftruncate(file, length as u64)
            .map_err(|cause| Error::NoSpace { bytes: length, source: cause.into() })?;
    }
    Ok(())
}

/// Allots `length` bytes to an empty file.
pub(crate) fn allocate(file: &OwnedFd, length: usize) -> Result<(), Error> {
    check_file_limit(length)?;
    allot(file.as_fd(), 0, length)
}

/// Allots `length` bytes from `offset` on to a file.
pub(crate) fn allot(file: BorrowedFd<'_>, offset: usize, length: usize) -> Result<(), Error> {
    crash::site("fallocate");
    let (from, count) = (offset as u64, length as u64);
    rustix::io::retry_on_intr(|| rustix::fs::fallocate(file, FallocateFlags::empty(), from, count)).map_err(|cause| {
        match cause {
            Errno::OPNOTSUPP | Errno::NOSYS => Error::system(
                "allocate a segment",
                "use a file system that can allot space to files (tmpfs, ext4, xfs, btrfs)",
                cause,
            ),
            _ => Error::NoSpace { bytes: length, source: cause.into() },
        }
    })
}

/// In multiples of how many bytes memory is allotted to a file.
pub(crate) fn granule(file: BorrowedFd<'_>) -> usize {
    const HUGETLBFS: u64 = 0x9584_58f6;
    match rustix::fs::fstatfs(file) {
        #[allow(clippy::unnecessary_cast, reason = "the types differ between architectures")]
        Ok(status) if status.f_type as u64 & 0xffff_ffff == HUGETLBFS => status.f_bsize as usize,
        _ => 1,
    }
}

/// The length of a received descriptor, after checking that it cannot change.
pub(crate) fn sealed_length(file: BorrowedFd<'_>) -> Result<usize, Error> {
    let seals = rustix::fs::fcntl_get_seals(file).map_err(|_| Error::NotSealed)?;
    if !seals.contains(SEALS) {
        return Err(Error::NotSealed);
    }
    length(&status(file)?)
}

/// The length of a regular file, which others may be able to change.
pub(crate) fn file_length(file: BorrowedFd<'_>) -> Result<usize, Error> {
    length(&status(file)?)
}

/// What the kernel knows of an open file.
pub(crate) fn status(file: BorrowedFd<'_>) -> Result<Stat, Error> {
    rustix::fs::fstat(file).map_err(|cause| Error::system("look at a segment", "the descriptor is not a file", cause))
}

fn length(status: &Stat) -> Result<usize, Error> {
    if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
        return Err(Error::Corrupt("it is not a regular file"));
    }
    usize::try_from(status.st_size).map_err(|_| Error::Corrupt("its length is negative"))
}

/// Copies the start of a header of a file of this length out.
pub(crate) fn read_start(file: BorrowedFd<'_>, length: usize) -> Result<Start, Error> {
    let mut start = Start::new_zeroed();
    let bytes = start.as_mut_bytes();
    if length < size_of::<crate::header::Header>() {
        // What was never written to counts as never completed. If it cannot be read, the zeros say the same.
        let some = &mut bytes[..length.min(size_of::<Start>())];
        let _ = read_at(file, some, 0);
        return Err(match start.identity.magic {
            _ if start.as_bytes().iter().all(|&byte| byte == 0) => Error::Incomplete,
            MAGIC => Error::Corrupt("it is shorter than a header"),
            found => Error::NotASegment { found },
        });
    }
    read_at(file, bytes, 0)?;
    Ok(start)
}

/// What the segment in a file is, if it is one that this library could use.
pub(crate) fn read_identity(file: BorrowedFd<'_>) -> Result<Identity, Error> {
    read_start(file, file_length(file)?)?.check_origin()
}

/// Reads bytes of a file without mapping it: if it shrinks meanwhile, that is an error and not a signal.
pub(crate) fn read_at(file: BorrowedFd<'_>, mut bytes: &mut [u8], mut offset: u64) -> Result<(), Error> {
    let failed = |cause: std::io::Error| Error::system("read a segment", "check that nobody truncates it", cause);
    while !bytes.is_empty() {
        match rustix::io::retry_on_intr(|| rustix::io::pread(file, &mut *bytes, offset)) {
            Ok(0) => return Err(failed(std::io::ErrorKind::UnexpectedEof.into())),
            Ok(read) => {
                bytes = &mut bytes[read..];
                offset += read as u64;
            }
            Err(cause) => return Err(failed(cause.into())),
        }
    }
    Ok(())
}

/// The same file by a new open file description, which owns no locks yet.
pub(crate) fn reopen(file: BorrowedFd<'_>) -> Result<OwnedFd, Error> {
    crash::site("reopen");
    File::options()
        .read(true)
        .write(true)
        .open(format!("/proc/self/fd/{}", file.as_raw_fd()))
        .map(OwnedFd::from)
        .map_err(|cause| Error::system("reopen a segment", OPEN_FILES, cause))
}

/// A second descriptor of the same open file description.
pub(crate) fn duplicate(file: &OwnedFd) -> Result<OwnedFd, Error> {
    file.try_clone().map_err(|cause| Error::system("duplicate a descriptor", OPEN_FILES, cause))
}

/// A file without a name in the directory of `path`, which is gone with its last descriptor unless it is [linked](link).
pub(crate) fn unnamed_file(path: &Path, mode: u32) -> Result<OwnedFd, Error> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    crash::site("open unnamed");
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = rustix::fs::open(directory, flags, Mode::from_raw_mode(0o600)).map_err(|cause| {
        let hint = match cause {
            Errno::OPNOTSUPP | Errno::ISDIR => {
                "use a file system that knows files without a name (tmpfs, ext4, xfs, btrfs)"
            }
            Errno::NOENT | Errno::NOTDIR => "the directory does not exist: create it first",
            Errno::ACCESS | Errno::PERM | Errno::ROFS => "check that this user may write to the directory",
            Errno::NOSPC | Errno::DQUOT => "the file system is full",
            _ => OPEN_FILES,
        };
        Error::named(path, "create", hint, cause)
    })?;
    crash::site("chmod");
    // Set on its own, because the one given to `open` is subject to the umask.
    rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))
        .map_err(|cause| Error::named(path, "set the mode of", "check that the mode makes sense", cause))?;
    Ok(file)
}

/// Gives an unnamed file its name: false if the name is taken.
pub(crate) fn link(file: BorrowedFd<'_>, path: &Path) -> Result<bool, Error> {
    let this = format!("/proc/self/fd/{}", file.as_raw_fd());
    crash::site("link");
    match rustix::fs::linkat(CWD, this, CWD, path, AtFlags::SYMLINK_FOLLOW) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(cause) => {
            Err(Error::named(path, "give its name to", "check that this user may write to the directory", cause))
        }
    }
}

/// Opens a regular file that exists. What is not one is not opened at all: that alone can make a device do something, or wait.
pub(crate) fn open_file(path: &Path) -> Result<OwnedFd, Error> {
    let failed = |cause| match cause {
        Errno::NOENT | Errno::NOTDIR => Error::NotFound { path: path.into() },
        Errno::ACCESS | Errno::PERM => Error::named(
            path,
            "open",
            "it belongs to somebody else: its owner can share it by creating it with a wider mode",
            cause,
        ),
        Errno::ROFS => Error::named(path, "open", "the file system is read-only, and peers write", cause),
        _ => Error::named(path, "open", OPEN_FILES, cause),
    };
    check_type(path, &rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?)?;
    crash::site("open");
    // Another file may have the name by now: a symbolic link is not followed, a pipe does not make this wait.
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(failed)?;
    check_type(path, &status(file.as_fd())?)?;
    Ok(file)
}

fn check_type(path: &Path, status: &Stat) -> Result<(), Error> {
    let what = match FileType::from_raw_mode(status.st_mode) {
        FileType::RegularFile => return Ok(()),
        FileType::Symlink => "a symbolic link",
        FileType::Directory => "a directory",
        FileType::Fifo => "a pipe",
        FileType::Socket => "a socket",
        _ => "a device",
    };
    Err(Error::NotAFile { path: path.into(), what })
}

/// Whether `path` still is the name of this open file.
pub(crate) fn is_named(file: &Stat, path: &Path) -> bool {
    rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|named| (named.st_dev, named.st_ino) == (file.st_dev, file.st_ino) && named.st_nlink > 0)
}

/// Takes a name away. Whoever has the file open keeps it.
pub(crate) fn unlink(path: &Path) -> Result<(), Error> {
    crash::site("unlink");
    rustix::fs::unlink(path).map_err(|cause| match cause {
        Errno::NOENT => Error::NotFound { path: path.into() },
        _ => Error::named(path, "remove", "check that this user owns it and may write to the directory", cause),
    })
}

/// Sends `signal` to this very process, and does not return from one that ends it.
#[cfg(all(crash_points, not(loom)))]
pub(crate) fn raise(signal: i32) {
    // SAFETY: no memory is involved.
    let me = unsafe { libc::getpid() };
    // SAFETY: as above.
    unsafe { libc::kill(me, signal) };
    if signal == libc::SIGKILL {
        loop {
            std::thread::park();
        }
    }
}
