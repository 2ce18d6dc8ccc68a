//! Listeners, and those who connect to them: programs that have nothing but a path in common.
//!
//! What changes things of a whole process (its user, its umask, its limits) runs in one of its own. What needs an administrator's rights says so where there are none, and is not tested there.
#![cfg(not(any(loom, feature = "portable")))]

#[path = "../../../sync/tests/asleep/mod.rs"]
mod asleep;
#[path = "../../../sync/tests/company/mod.rs"]
mod company;
#[path = "../../../segment/tests/forked/mod.rs"]
mod forked;
#[path = "../../../segment/tests/harness/mod.rs"]
mod harness;
#[path = "../../../segment/tests/nobody/mod.rs"]
mod nobody;

mod crowds;
mod forms;
mod limits;
mod modes;
mod nonsense;
mod place;
mod users;

use shmkit_pipe::{ConnectError, Connection, Credentials, RecvError, Stranger};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// What accepting comes to.
type Accepted = Result<(Connection<Stranger>, Credentials), ConnectError>;

/// A directory with a place for a socket in it, and nothing else.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn directory(&self) -> &Path {
        self.0.path()
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("socket")
    }

    /// What is in the directory.
    fn entries(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

/// Runs `test` in a process of its own, if this one is an administrator's.
fn as_root(test: fn(())) {
    if rustix::process::geteuid().is_root() { harness::alone(test) } else { println!("skipped: needs root") }
}

/// What the kernel said.
fn cause<T>(outcome: Result<T, ConnectError>) -> ErrorKind {
    match outcome.err() {
        Some(ConnectError::Io { source, .. }) => source.kind(),
        other => panic!("{other:?}"),
    }
}

/// Sends something through a connection, both ways.
fn talk(one: &mut Connection<Stranger>, other: &mut Connection<Stranger>) {
    one.send(&("there", 1)).unwrap();
    assert_eq!(other.recv::<(String, i32)>().unwrap(), ("there".to_owned(), 1));
    other.send_bytes(b"and back").unwrap();
    assert_eq!(one.recv_bytes().unwrap(), b"and back");
}

/// Whether the client had left when it was accepted.
///
/// While another test starts a process, that has the client's socket too for an instant. Then it is handed a connection, which ends at once.
fn has_left(accepted: Accepted) -> bool {
    match accepted {
        Err(ConnectError::Left { .. }) => true,
        Err(_) => false,
        Ok((mut connection, _)) => {
            company::buried(connection.segment(), 1);
            matches!(connection.recv_bytes(), Err(RecvError::Disconnected))
        }
    }
}

/// The answer to a message, with one more.
fn answer(connection: &mut Connection<Stranger>) {
    let number: u64 = connection.recv().unwrap();
    connection.send(&(number + 1)).unwrap();
}

/// Connects, asks and gets an answer.
fn ask(path: impl Into<PathBuf>) {
    let mut connection = shmkit_pipe::connect(path).unwrap();
    connection.send(&41_u64).unwrap();
    assert_eq!(connection.recv::<u64>().unwrap(), 42);
}

/// Checks that a client in another process is served.
fn serves(listener: &shmkit_pipe::Listener) {
    let client = company::start(ask, listener.path().to_owned());
    let (mut connection, who) = listener.accept().unwrap();
    assert_eq!(who.pid, client.pid());
    answer(&mut connection);
    client.join().unwrap();
}
