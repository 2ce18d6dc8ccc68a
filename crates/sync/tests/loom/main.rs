//! The event count and the locks, explored by loom: every interleaving within the bound, under weak memory, on the code that ships.
//!
//! `ci/loom` runs this, in both configurations (see `primitive`). A lost wake-up is a deadlock, which loom reports, and so is an access to a value that
//! nothing orders after another one. There is no time in a model, so nothing here gives up waiting; `models/` has that.
#![cfg(loom)]

/// The same object, as another peer: as another process has it.
macro_rules! as_another_peer {
    ($handle:ident: $type:ident) => {
        $type::of(&$handle.segment().join().unwrap())
    };
}

mod barrier;
mod condvar;
mod event;
mod event_count;
mod mutex;
mod once_lock;
mod rw_lock;
mod semaphore;

use loom::cell::UnsafeCell;
use loom::thread::{self, JoinHandle};
use std::sync::Arc;

/// Explores `model` with so many preemptions at most. So two that turn each other away cannot do so for ever: each time takes a preemption.
fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 10_000;
    builder.check(model);
}

/// So many preemptions, or one less with a shadow, where there is twice as much to interleave: for models that would take minutes.
const fn at_most(preemptions: usize) -> usize {
    if cfg!(loom_shadow) { preemptions - 1 } else { preemptions }
}

/// A number in memory that nobody guards but the lock under test: loom reports two accesses that nothing orders.
#[derive(Clone)]
struct Bare(Arc<UnsafeCell<u64>>);

// SAFETY: loom checks each access.
unsafe impl Send for Bare {}
// SAFETY: as above.
unsafe impl Sync for Bare {}

impl Bare {
    fn new() -> Self {
        Self(Arc::new(UnsafeCell::new(0)))
    }

    fn get(&self) -> u64 {
        // SAFETY: loom rejects a concurrent write.
        self.0.with(|number| unsafe { *number })
    }

    fn set(&self, value: u64) {
        // SAFETY: loom rejects a concurrent access.
        self.0.with_mut(|number| unsafe { *number = value });
    }

    fn add(&self, more: u64) {
        // SAFETY: loom rejects a concurrent access.
        self.0.with_mut(|number| unsafe { *number += more });
    }
}

/// Runs `work` with `handle` on a thread of its own, and gives the handle back in the end: dropping it there would be explored as well, each time.
fn with<H: Send + 'static, R: Send + 'static>(
    handle: H,
    work: impl FnOnce(&H) -> R + Send + 'static,
) -> JoinHandle<(R, H)> {
    thread::spawn(move || (work(&handle), handle))
}
