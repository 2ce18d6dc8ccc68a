//! A payload in sealed memory: bytes that travel as a descriptor instead of through a socket's buffer.
//!
//! The writer fills a memory file and seals it against every further change; the reader looks at seals and length
//! before it reads. So neither side waits for the other whatever the size, the sender may die as soon as it has
//! sent, and what was checked cannot change while it is used.

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

/// The seals that make the bytes final.
const FINAL: SealFlags = SealFlags::WRITE.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::SEAL);

/// Copies `bytes` to a sealed memory file. Costs the memory, and four system calls.
pub(crate) fn write(bytes: &[u8]) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let name = c"shmkit-payload";
    // Some systems forbid memory files that could be executed; kernels before 6.3 do not know how to say so.
    let file = match rustix::fs::memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => rustix::fs::memfd_create(name, flags)?,
        other => other?,
    };
    let mut file = File::from(file);
    file.write_all(bytes)?;
    rustix::fs::fcntl_add_seals(&file, FINAL)?;
    Ok(file.into())
}

/// Reads `len` bytes from a memory file, which must be sealed and of just that length.
pub(crate) fn read(file: OwnedFd, len: u64) -> io::Result<Vec<u8>> {
    let invalid = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    // Anything but a memory file has no seals, and says so by an error.
    if !rustix::fs::fcntl_get_seals(&file)?.contains(FINAL) {
        return Err(invalid("the memory of a payload is not sealed"));
    }
    let file = File::from(file);
    if file.metadata()?.len() != len {
        return Err(invalid("the memory of a payload has another length than announced"));
    }
    let len = usize::try_from(len).map_err(|_| Errno::NOMEM)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(|_| Errno::NOMEM)?;
    bytes.resize(len, 0);
    // By position: the offset of the file is shared with its sender.
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        assert_eq!(read(write(b"hello").unwrap(), 5).unwrap(), b"hello");
        assert_eq!(read(write(b"").unwrap(), 0).unwrap(), b"");
    }

    #[test]
    fn sealed_memory_cannot_be_changed() {
        let memory = File::from(write(b"hello").unwrap());
        assert!(memory.write_at(b"j", 0).is_err());
        assert!(memory.set_len(0).is_err());
        assert!(memory.set_len(9).is_err());
    }

    #[test]
    fn memory_of_another_length_is_refused() {
        for len in [0, 4, 6, u64::MAX] {
            assert!(read(write(b"hello").unwrap(), len).is_err());
        }
    }

    #[test]
    fn what_is_not_sealed_is_refused() {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let memory = rustix::fs::memfd_create(c"open", flags).unwrap();
        rustix::fs::fcntl_add_seals(&memory, FINAL.difference(SealFlags::WRITE | SealFlags::SEAL)).unwrap();
        assert!(read(memory, 0).is_err());
        assert!(read(File::open("/dev/null").unwrap().into(), 0).is_err());
    }
}
