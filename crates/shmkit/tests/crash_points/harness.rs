//! Runs a victim with the n-th crash point armed, for every n.

use rustix::process::{Signal, WaitId, WaitIdOptions};
use serde::{Deserialize, Serialize};
use shmkit::process::{JoinError, JoinHandle};
use shmkit::segment::crash;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

pub(crate) const SIGKILL: i32 = 9;
pub(crate) const SIGSTOP: i32 = 19;

/// What a victim is told: where to die, and where to write down what it has done until then.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Orders {
    at: u64,
    signal: i32,
    sites: PathBuf,
    ledger: PathBuf,
}

/// A victim's memory of what it has done, which survives it.
pub(crate) struct Ledger(File);

impl Orders {
    pub(crate) fn new(directory: &Path, at: u64) -> Self {
        let sites = all_sites();
        Self { at, signal: SIGKILL, sites, ledger: directory.join(format!("ledger-{at}")) }
    }

    /// Orders to raise another signal than SIGKILL.
    pub(crate) fn with_signal(mut self, signal: i32) -> Self {
        self.signal = signal;
        self
    }

    /// Arms the calling thread.
    pub(crate) fn arm(&self) -> Ledger {
        let append = |path: &Path| File::options().append(true).create(true).open(path).expect("a writable directory");
        let ledger = Ledger(append(&self.ledger));
        crash::arm(self.at, self.signal, append(&self.sites));
        ledger
    }

    /// Forgets what an earlier victim with the same orders has written down.
    pub(crate) fn forget(&self) {
        let _ = std::fs::remove_file(&self.ledger);
    }

    /// What the victim has written down.
    pub(crate) fn ledger(&self) -> Vec<u64> {
        let bytes = std::fs::read(&self.ledger).unwrap_or_default();
        bytes.chunks_exact(8).map(|chunk| u64::from_le_bytes(chunk.try_into().expect("eight bytes"))).collect()
    }
}

impl Ledger {
    pub(crate) fn note(&mut self, item: u64) {
        self.0.write_all(&item.to_le_bytes()).expect("a writable file");
    }
}

/// Where all tests of this run write the names of the sites that they were killed at.
pub(crate) fn all_sites() -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("crash-points");
    std::fs::create_dir_all(&directory).expect("a writable target directory");
    directory.join(format!("sites-{}", std::process::id()))
}

/// Calls `round` with orders to die at the first site, the second, and so on, until it says that the victim came through.
pub(crate) fn at_every_site(name: &str, mut round: impl FnMut(&Orders) -> bool) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut at = 1;
    loop {
        let orders = Orders::new(directory.path(), at);
        if round(&orders) {
            break;
        }
        at += 1;
        assert!(at < 10_000, "{name} never completes");
    }
    println!("{name}: killed at {} sites, then completed", at - 1);
    assert!(at > 1, "{name} was never killed: is it armed?");
}

/// Whether the victim came through. Anything but that and the kill that was ordered fails the test.
pub(crate) fn came_through(victim: JoinHandle<()>) -> bool {
    match victim.join() {
        Ok(()) => true,
        Err(JoinError::Exited { status }) if status.signal() == Some(SIGKILL) => false,
        Err(other) => panic!("the victim failed in another way: {other}"),
    }
}

/// Waits until the victim has stopped, or has ended: true if it has stopped.
pub(crate) fn wait_for_stop(victim: &JoinHandle<()>) -> bool {
    // The end is left for `join` to find.
    let options = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    let status = rustix::process::waitid(WaitId::PidFd(victim.as_fd()), options).expect("a child");
    status.is_some_and(|status| status.stopped())
}

/// Lets a stopped victim go on.
pub(crate) fn go_on(victim: &JoinHandle<()>) {
    // It may have ended.
    let _ = rustix::process::pidfd_send_signal(victim.as_fd(), Signal::CONT);
}

/// The names of the sites at which a victim of this process has died.
pub(crate) fn died_at() -> BTreeSet<String> {
    let names = std::fs::read_to_string(all_sites()).unwrap_or_default();
    names.lines().map(str::to_owned).collect()
}
