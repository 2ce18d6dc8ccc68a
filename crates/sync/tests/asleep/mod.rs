//! Waits until somebody sleeps, by what the kernel says of them: tests of blocking calls need no sleeping of their own.
#![allow(dead_code, reason = "each test uses a part")]

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::{self, JoinHandle, yield_now};

/// Runs `block` in a thread, and returns once that thread sleeps in it (or has come back from it).
pub(crate) fn asleep_in<R: Send + 'static>(block: impl FnOnce() -> R + Send + 'static) -> JoinHandle<R> {
    start(block).0
}

/// The same, once it sleeps for the second time: the first sleep is a short one.
pub(crate) fn sound_asleep_in<R: Send + 'static>(block: impl FnOnce() -> R + Send + 'static) -> JoinHandle<R> {
    let (thread, place) = start(block);
    let sleeps = |status: String| {
        status.split_once("\nvoluntary_ctxt_switches:\t").map(|(_, rest)| rest.starts_with(['0', '1']))
    };
    while std::fs::read_to_string(place.join("status")).ok().and_then(sleeps) == Some(true) {
        yield_now();
    }
    await_sleep(&place);
    thread
}

fn start<R: Send + 'static>(block: impl FnOnce() -> R + Send + 'static) -> (JoinHandle<R>, PathBuf) {
    let (say, hear) = mpsc::channel();
    let thread = thread::spawn(move || {
        say.send(std::fs::read_link("/proc/thread-self").unwrap()).unwrap();
        drop(say);
        block()
    });
    let place = Path::new("/proc").join(hear.recv().unwrap());
    await_sleep(&place);
    (thread, place)
}

/// Waits until the process `pid` sleeps, or is gone.
pub(crate) fn await_sleep_of(pid: u32) {
    await_sleep(&Path::new("/proc").join(pid.to_string()));
}

fn await_sleep(place: &Path) {
    while std::fs::read_to_string(place.join("stat")).is_ok_and(|stat| !stat.contains(") S ")) {
        yield_now();
    }
}
