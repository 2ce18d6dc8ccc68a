//! Runs a victim with the n-th crash point armed, for every n.

use rustix::process::{Signal, WaitId, WaitIdOptions};
use serde::{Deserialize, Serialize};
use shmkit::process::{JoinError, JoinHandle};
use shmkit::segment::crash;
use std::collections::BTreeSet;
use std::fs::{DirEntry, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

pub(crate) const SIGKILL: i32 = 9;
pub(crate) const SIGSTOP: i32 = 19;

/// What a victim is told: where to stop, where to die, and where to write down what it has done until then.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Orders {
    stop: Option<u64>,
    /// Counted from where it was stopped.
    die: Option<u64>,
    deaths: PathBuf,
    stops: PathBuf,
    ledger: PathBuf,
}

/// A victim's memory of what it has done, which survives it.
pub(crate) struct Ledger(File);

impl Orders {
    /// To die at site number `at`.
    pub(crate) fn new(directory: &Path, at: u64) -> Self {
        Self { stop: None, die: Some(at), ..Self::none(directory, &at.to_string()) }
    }

    /// To stop at site number `at`.
    pub(crate) fn to_stop(directory: &Path, at: u64) -> Self {
        Self { stop: Some(at), ..Self::none(directory, &format!("stop-{at}")) }
    }

    /// To stop at site number `at` and, if it goes on, to die at the site number `then` after that.
    pub(crate) fn to_stop_and_die(directory: &Path, at: u64, then: u64) -> Self {
        Self { stop: Some(at), die: Some(then), ..Self::none(directory, &format!("stop-{at}-{then}")) }
    }

    fn none(directory: &Path, name: &str) -> Self {
        let [stops, ledger] = ["site", "ledger"].map(|what| directory.join(format!("{what}-{name}")));
        Self { stop: None, die: None, deaths: all_sites(), stops, ledger }
    }

    /// Arms the calling thread.
    pub(crate) fn arm(&self) -> Ledger {
        let append = |path: &Path| File::options().append(true).create(true).open(path).expect("a writable directory");
        let ledger = Ledger(append(&self.ledger));
        let (stops, deaths) = (append(&self.stops), append(&self.deaths));
        match (self.stop, self.die) {
            (Some(at), Some(then)) => {
                crash::arm(at, SIGSTOP, stops);
                crash::arm_next(then, SIGKILL, deaths);
            }
            (Some(at), None) => crash::arm(at, SIGSTOP, stops),
            (None, Some(at)) => crash::arm(at, SIGKILL, deaths),
            (None, None) => {}
        }
        ledger
    }

    /// The name of the site that the victim was stopped at.
    pub(crate) fn stopped_at(&self) -> String {
        let names = std::fs::read_to_string(&self.stops).unwrap_or_default();
        names.lines().next_back().unwrap_or_default().to_owned()
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

/// The name of the site at which the last victim was killed.
pub(crate) fn last_death() -> String {
    /// No name is longer.
    const LONGEST: i64 = 200;
    let mut end = Vec::new();
    if let Ok(mut sites) = File::open(all_sites()) {
        // A file that is shorter is read from its start.
        let _ = sites.seek(SeekFrom::End(-LONGEST));
        sites.read_to_end(&mut end).expect("a readable file");
    }
    String::from_utf8_lossy(&end).lines().next_back().unwrap_or_default().to_owned()
}

/// Calls `round` with orders to die at the first site, the second, and so on, until it says that the victim came through.
pub(crate) fn at_every_site(name: &str, round: impl FnMut(&Orders) -> bool) {
    at_every_site_often(name, 1, round);
}

/// The same for a victim that reaches more or fewer sites from one round to the next, depending on others: it must come through `often` times in a row.
pub(crate) fn at_every_site_often(name: &str, often: u64, mut round: impl FnMut(&Orders) -> bool) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (mut kills, mut came_through) = (0, 0);
    for at in 1.. {
        assert!(at < 10_000, "{name} never completes");
        if round(&Orders::new(directory.path(), at)) {
            came_through += 1;
        } else {
            kills += 1;
            came_through = 0;
        }
        if came_through == often {
            break;
        }
    }
    println!("{name}: killed at {kills} sites, then completed");
    assert!(kills > 0, "{name} was never killed: is it armed?");
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

/// Waits until the victim has stopped, has ended, or sleeps in its operation. True if it sleeps.
///
/// Only the choice of what happens next hangs on it: a victim that sleeps for a moment for another reason is taken for one that waits, and
/// finds what it would have waited for.
pub(crate) fn wait_for_sleep(victim: &JoinHandle<()>, orders: &Orders) -> bool {
    wait_for_sleep_after(victim, orders, 1)
}

/// The same for a victim that is to note so many things before it sleeps, all its threads.
pub(crate) fn wait_for_sleep_after(victim: &JoinHandle<()>, orders: &Orders, notes: usize) -> bool {
    let options = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    loop {
        if rustix::process::waitid(WaitId::PidFd(victim.as_fd()), options).expect("a child").is_some() {
            return false;
        }
        // Not there any more if it has just died.
        let tasks = std::fs::read_dir(format!("/proc/{}/task", victim.pid())).into_iter().flatten().flatten();
        let sleeps = |task: DirEntry| sleeps(&task.path().join("stat"));
        if orders.ledger().len() >= notes && tasks.map(sleeps).reduce(|one, other| one && other) == Some(true) {
            return true;
        }
        std::thread::yield_now();
    }
}

/// Waits until a thread of this process, which the kernel lists as `task` below `/proc`, sleeps or has ended.
pub(crate) fn wait_until_asleep(thread: &std::thread::JoinHandle<impl Sized>, task: &Path) {
    while !thread.is_finished() && !sleeps(&Path::new("/proc").join(task).join("stat")) {
        std::thread::yield_now();
    }
}

/// Waits until the thread of this process that has that name, if there is one, sleeps.
#[cfg(feature = "async")]
pub(crate) fn wait_until_named_sleeps(name: &str) {
    let tasks = std::fs::read_dir("/proc/self/task").expect("a process has threads");
    for task in tasks.flatten().map(|task| task.path()) {
        let its_name = std::fs::read_to_string(task.join("comm")).unwrap_or_default();
        while its_name.trim_end() == name && !sleeps(&task.join("stat")) {
            std::thread::yield_now();
        }
    }
}

/// Whether the kernel says of a task that it sleeps; the state stands after the name, which is in parentheses.
fn sleeps(stat: &Path) -> bool {
    let text = std::fs::read_to_string(stat).unwrap_or_default();
    text.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('S'))
}

/// Calls `round` with orders to stop at the first site, the second, and so on, until it gives nothing since the victim came through.
/// Gives the names of the sites with what the rounds gave.
///
/// A victim that waits reaches more or fewer sites from one round to the next, so it must come through `often` times in a row.
pub(crate) fn stopped_at_every_site<T>(
    name: &str,
    often: u64,
    mut round: impl FnMut(&Orders) -> Option<T>,
) -> Vec<(String, T)> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (mut outcomes, mut came_through) = (Vec::new(), 0);
    for at in 1.. {
        assert!(at < 10_000, "{name} never completes");
        let orders = Orders::to_stop(directory.path(), at);
        match round(&orders) {
            Some(outcome) => {
                outcomes.push((orders.stopped_at(), outcome));
                came_through = 0;
            }
            None => came_through += 1,
        }
        if came_through == often {
            break;
        }
    }
    assert!(!outcomes.is_empty(), "{name} was never stopped: is it armed?");
    outcomes
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
