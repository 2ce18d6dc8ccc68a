//! What surrounds a segment: file systems and who may use them, limits, namespaces, and what lies where a segment should be.
//!
//! Each test runs in a process of its own, because it changes things of the whole process. What needs an administrator's rights says so
//! where there are none, and is not tested there. Mounts are made in a mount namespace that goes with the process.
#![cfg(not(loom))]

#[path = "../harness/mod.rs"]
mod harness;
#[path = "../journal/mod.rs"]
mod journal;
#[path = "../nobody/mod.rs"]
mod nobody;
#[path = "../../../process/tests/rendezvous/mod.rs"]
mod rendezvous;

mod limits;
mod mapping;
mod namespaces;
mod places;
mod proc;
mod space;
mod users;

use harness::alone;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::thread::UnshareFlags;
use shmkit_segment::Error;
use std::ffi::CStr;
use std::path::Path;
use tempfile::TempDir;

/// As [`alone`], if this process has the rights of an administrator.
fn as_root(test: fn(())) {
    const SYS_ADMIN: u64 = 1 << 21;
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let rights = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap().trim();
    let is_root = rustix::process::geteuid().is_root() && u64::from_str_radix(rights, 16).unwrap() & SYS_ADMIN != 0;
    if is_root { alone(test) } else { println!("skipped: needs root") }
}

fn unshare(what: UnshareFlags) {
    // SAFETY: unsafe is only to unshare the table of descriptors, which nobody here does.
    unsafe { rustix::thread::unshare_unsafe(what) }.unwrap();
}

/// From here on, what this process mounts is seen by itself and by the processes that it starts, and is gone with them.
fn mount_in_private() {
    unshare(UnshareFlags::NEWNS);
    let all = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", all).unwrap();
}

fn mount_tmpfs(at: &Path, options: &CStr) {
    rustix::mount::mount("tmpfs", at, "tmpfs", MountFlags::empty(), options).unwrap();
}

/// Gives this process and those that it starts a directory of names of their own.
fn have_names_in_private() {
    mount_in_private();
    mount_tmpfs(Path::new("/dev/shm"), c"size=16m");
}

fn mount_proc(options: Option<&CStr>) {
    rustix::mount::mount("proc", "/proc", "proc", MountFlags::empty(), options).unwrap();
}

/// A directory in memory. [`mount_in_private`] comes first.
struct Mounted(TempDir);

impl Mounted {
    fn tmpfs(options: &CStr) -> Self {
        let directory = tempfile::tempdir().unwrap();
        mount_tmpfs(directory.path(), options);
        Self(directory)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0.path(), UnmountFlags::DETACH);
    }
}

/// What is in a directory.
fn entries(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// What the kernel said, in an error about a file.
fn cause_in_file<R>(outcome: Result<R, Error>) -> (std::io::ErrorKind, &'static str) {
    match outcome.err() {
        Some(Error::File { source, hint, .. }) => (source.kind(), hint),
        other => panic!("{other:?}"),
    }
}
