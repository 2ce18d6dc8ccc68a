//! What tests with processes and names need.

#![allow(dead_code)]

use serde::{Serialize, de::DeserializeOwned};
use shmkit_process::{JoinError, JoinHandle, spawn};
use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Runs `test` in a process of its own, with one thread, which is ended if it hangs.
///
/// For tests that change what belongs to the whole process, that look at descriptors, or at whether the last one of a peer is gone: while another
/// thread starts a child, that child has them all for an instant.
pub(crate) fn alone(test: fn(())) {
    let mut child = spawn(test, ()).unwrap();
    let Some(outcome) = child.join_timeout(Duration::from_secs(120)) else {
        child.kill().unwrap();
        panic!("it hangs");
    };
    outcome.unwrap();
}

pub(crate) fn kill<R: Serialize + DeserializeOwned + Debug>(child: JoinHandle<R>) {
    child.kill().unwrap();
    assert!(matches!(child.join(), Err(JoinError::Exited { .. })));
}

/// A name that no other test has. Free again at the end, unless this is a fork's copy.
pub(crate) struct Name(pub(crate) String, File);

struct File {
    prefix: &'static str,
    owner: u32,
}

impl Name {
    pub(crate) fn new() -> Self {
        Self::of(unique(), "shmkit-")
    }

    /// A name whose file's begins with `prefix`.
    pub(crate) fn of(name: String, prefix: &'static str) -> Self {
        Self(name, File { prefix, owner: std::process::id() })
    }

    /// Its file.
    pub(crate) fn path(&self) -> PathBuf {
        format!("/dev/shm/{}{}", self.1.prefix, self.0).into()
    }
}

pub(crate) fn unique() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

impl Drop for Name {
    fn drop(&mut self) {
        if self.1.owner == std::process::id() {
            let _ = std::fs::remove_file(self.path());
        }
    }
}
