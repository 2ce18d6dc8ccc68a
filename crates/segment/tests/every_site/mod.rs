//! Models with a thread that dies at each access in turn: what the loom tests of deaths have in common.
#![allow(dead_code, reason = "each test uses a part")]

use loom::model::Builder;
use shmkit_segment::crash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Explores `model` with the victim killed at every site; `model` says whether the victim completed.
pub(crate) fn kill_at_every_site(
    name: &str,
    preemptions: usize,
    model: impl Fn(u64) -> bool + Copy + Send + Sync + 'static,
) {
    for n in 1.. {
        let killed = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&killed);
        let mut builder = Builder::new();
        builder.preemption_bound = Some(preemptions);
        builder.max_branches = 20_000;
        builder.check(move || {
            if !model(n) {
                seen.store(true, Ordering::Relaxed);
            }
        });
        if !killed.load(Ordering::Relaxed) {
            println!("{name}: killed at {} accesses", n - 1);
            assert!(n > 1);
            return;
        }
    }
}

/// Runs `operation` with the `n`-th access unwinding: whether it completed.
pub(crate) fn survives(n: u64, operation: impl FnOnce()) -> bool {
    crash::arm(n);
    let completed = catch_unwind(AssertUnwindSafe(operation)).is_ok();
    crash::disarm();
    completed
}
