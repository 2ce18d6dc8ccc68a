//! Memory of an embedder: a memory file that each process maps by itself, with things in parts of it, none at its beginning.
#![allow(unsafe_code, reason = "an embedder vouches for its memory")]

use shmkit_segment::{Configuration, Liveness, Object, Options, Segment};
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;

const PARTS: usize = 16;
const PART: usize = 64 << 10;
const OFFSET: usize = 4 << 10;
const LENGTH: usize = OFFSET + PARTS * PART;

/// One process's mapping of it, for as long as it lives.
pub(crate) struct Arena {
    file: String,
    memory: NonNull<u8>,
}

/// New memory, and where others find it.
pub(crate) fn create() -> (File, String) {
    // SAFETY: a name that ends with a zero.
    let memory = unsafe { libc::memfd_create(c"arena".as_ptr(), libc::MFD_CLOEXEC) };
    assert!(memory >= 0);
    // SAFETY: just opened, and nobody else's.
    let memory = unsafe { File::from_raw_fd(memory) };
    memory.set_len(LENGTH as u64).unwrap();
    let place = format!("/proc/{}/fd/{}", std::process::id(), memory.as_raw_fd());
    (memory, place)
}

fn open(file: &str) -> File {
    File::options().read(true).write(true).open(file).unwrap()
}

impl Arena {
    /// Maps the memory file at `file`.
    pub(crate) fn at(file: String) -> Self {
        let (data, protection) = (open(&file), libc::PROT_READ | libc::PROT_WRITE);
        // SAFETY: a new mapping, at an address of the kernel's choice.
        let memory =
            unsafe { libc::mmap(std::ptr::null_mut(), LENGTH, protection, libc::MAP_SHARED, data.as_raw_fd(), 0) };
        assert_ne!(memory, libc::MAP_FAILED);
        Self { file, memory: NonNull::new(memory.cast()).unwrap() }
    }

    /// What is in the part of that number; new, if nothing is there.
    pub(crate) fn part<O: Object>(&self, number: usize, configuration: Configuration) -> Arc<Segment<O>> {
        assert!(number < PARTS);
        let offset = OFFSET + number * PART;
        let start = NonNull::new(self.memory.as_ptr().wrapping_add(offset)).unwrap();
        let memory = NonNull::slice_from_raw_parts(start, PART);
        let liveness = Liveness::File { file: OwnedFd::from(open(&self.file)), offset: offset as u64 };
        // SAFETY: never unmapped, and nobody touches it in any other way.
        let raw = unsafe { Options::new().peers(8).raw(memory, liveness) };
        raw.open_or_create(configuration).unwrap()
    }
}
