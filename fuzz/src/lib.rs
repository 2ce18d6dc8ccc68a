//! What the targets share.

use rustix::fs::{MemfdFlags, SealFlags};
use shmkit_segment::{Object, Segment};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// A memory file that nobody can shrink or grow, as segments are.
pub fn sealed(content: &[u8]) -> File {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = File::from(rustix::fs::memfd_create(c"fuzz", flags).expect("a memory file"));
    file.write_all_at(content, 0).expect("a small file");
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&file, seals).expect("a file that can be sealed");
    file
}

/// The bytes of a segment as it is now.
pub fn bytes_of<O: Object>(segment: &Segment<O>) -> Vec<u8> {
    let file = segment.as_file().expect("a segment with a file").try_clone_to_owned().expect("a descriptor");
    let mut bytes = vec![0; segment.length()];
    File::from(file).read_exact_at(&mut bytes, 0).expect("an open file");
    bytes
}
