//! Waits until somebody sleeps, by what the kernel says of them: tests of blocking calls need no sleeping of their own.
#![allow(dead_code, reason = "each test uses a part")]

use std::path::Path;
use std::sync::mpsc;
use std::thread::{self, JoinHandle, yield_now};

/// Runs `block` in a thread, and returns once that thread sleeps in it (or has come back from it).
pub(crate) fn asleep_in<R: Send + 'static>(block: impl FnOnce() -> R + Send + 'static) -> JoinHandle<R> {
    let (say, hear) = mpsc::channel();
    let thread = thread::spawn(move || {
        say.send(std::fs::read_link("/proc/thread-self").unwrap()).unwrap();
        drop(say);
        block()
    });
    await_sleep(&Path::new("/proc").join(hear.recv().unwrap()));
    thread
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
