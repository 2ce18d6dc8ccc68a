//! A meeting point of a test with its child processes, so that no test has to sleep.
//!
//! A child that calls [`arrive`] is known to be there, can be held until the test lets go, and is seen to die: the
//! kernel closes its connection.

#![allow(dead_code)]

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use tempfile::TempDir;

/// The test's side.
pub(crate) struct Rendezvous {
    listener: UnixListener,
    directory: TempDir,
}

impl Rendezvous {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("socket")).unwrap();
        Rendezvous { listener, directory }
    }

    /// What to pass to children.
    pub(crate) fn place(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    /// Waits for the next child to arrive. Dropping the connection lets it go.
    pub(crate) fn meet(&self) -> Met {
        let mut stream = self.listener.accept().unwrap().0;
        let mut pid = [0; 4];
        stream.read_exact(&mut pid).unwrap();
        Met { stream, pid: u32::from_ne_bytes(pid) }
    }
}

/// A child that has arrived.
pub(crate) struct Met {
    stream: UnixStream,
    pub(crate) pid: u32,
}

impl Met {
    /// Waits until the child is gone.
    pub(crate) fn await_death(mut self) {
        // A connection with unread data would end in an error instead; either is an end.
        let _ = self.stream.read(&mut [0]);
    }
}

/// The child's side: says that it is there.
pub(crate) fn arrive(place: &PathBuf) -> UnixStream {
    let mut stream = UnixStream::connect(place).unwrap();
    stream.write_all(&std::process::id().to_ne_bytes()).unwrap();
    stream
}

/// Arrives, and stays until let go.
pub(crate) fn stay(place: PathBuf) {
    arrive(&place).read_to_end(&mut Vec::new()).unwrap();
}
