//! Where a process can be made to die: every access to shared memory and every system call of the primitives.
//!
//! Built with `--cfg crash_points`, each such place calls [`site`] just before it acts (and once more after a
//! compare-exchange, with its outcome). A test arms the calling thread with a number, and the n-th site from then on ends
//! the process with the signal of the test's choice, after its name was written where the test asked. A site's name is its
//! source position and its operation, as in `mpmc/ring.rs:143:30 compare_exchange won`, so that no place can be forgotten and
//! no name can go stale.
//!
//! Without the `cfg` there is nothing: [`site`] is an empty inline function and the atomics are `std`'s own. `ci/hook-is-free`
//! compares the assembly of a build with that of one in which every call of it has been deleted.

/// Announces the operation `operation`, which the caller is about to do.
#[cfg(not(crash_points))]
#[inline(always)]
pub fn site(_operation: &'static str) {}

#[cfg(all(crash_points, not(loom)))]
pub use armed::{arm, arm_next, disarm, site};
#[cfg(all(crash_points, loom))]
pub use modelled::{arm, arm_with, disarm, site};

/// In a model a death is an unwinding: the thread does nothing more, and its test lets its peer [die](crate::Segment::die).
#[cfg(all(crash_points, loom))]
mod modelled {
    use loom::thread::{self, ThreadId};
    use std::cell::Cell;
    use std::panic::resume_unwind;

    thread_local! {
        /// The thread that is to die, and after how many sites. loom runs all threads of a model on one of the system's, so this is the model's.
        static ARMED: Cell<Option<(ThreadId, u64)>> = const { Cell::new(None) };
        /// What happens then, before it unwinds.
        static AT_DEATH: Cell<Option<Box<dyn FnOnce()>>> = const { Cell::new(None) };
    }

    /// Makes the calling thread unwind at the `n`-th site (from 1) that it reaches.
    pub fn arm(n: u64) {
        ARMED.set(Some((thread::current().id(), n)));
    }

    /// [`arm`]s, and has `at_death` called at that site: there the peer can [die](crate::Segment::die), so that nothing is given back by guards that are dropped in the
    /// unwinding. (No other thread may run meanwhile: they would all be taken to be panicking.)
    pub fn arm_with(n: u64, at_death: impl FnOnce() + 'static) {
        AT_DEATH.set(Some(Box::new(at_death)));
        arm(n);
    }

    /// Undoes [`arm`]: true if it was still to come.
    pub fn disarm() -> bool {
        drop(AT_DEATH.take());
        ARMED.take().is_some()
    }

    /// Announces the operation, which the caller is about to do.
    pub fn site(_operation: &'static str) {
        let Some((victim, countdown)) = ARMED.get() else { return };
        if victim != thread::current().id() {
            return;
        }
        ARMED.set((countdown > 1).then_some((victim, countdown - 1)));
        if countdown == 1 {
            if let Some(at_death) = AT_DEATH.take() {
                at_death();
            }
            resume_unwind(Box::new("killed"));
        }
    }
}

#[cfg(all(crash_points, not(loom)))]
mod armed {
    use std::cell::RefCell;
    use std::collections::VecDeque;
    use std::fs::File;
    use std::io::Write;
    use std::panic::Location;

    struct Armed {
        countdown: u64,
        signal: i32,
        log: File,
    }

    thread_local! {
        /// One after the other.
        static ARMED: RefCell<VecDeque<Armed>> = const { RefCell::new(VecDeque::new()) };
    }

    /// Makes the `n`-th site (from 1) that this thread reaches raise `signal` in this process. Its name goes to `log`.
    pub fn arm(n: u64, signal: i32, log: File) {
        disarm();
        arm_next(n, signal, log);
    }

    /// Adds a site to die at, counted from the one that was armed last: for a thread that is stopped there first, and goes on.
    pub fn arm_next(n: u64, signal: i32, log: File) {
        ARMED.with_borrow_mut(|armed| armed.push_back(Armed { countdown: n, signal, log }));
    }

    /// Undoes [`arm`]: true if it was still to come.
    pub fn disarm() -> bool {
        ARMED.with_borrow_mut(|armed| !std::mem::take(armed).is_empty())
    }

    /// Announces the operation `operation`, which the caller is about to do.
    #[track_caller]
    pub fn site(operation: &'static str) {
        let here = Location::caller();
        // A thread that is being torn down has no thread-local storage left, and nothing to be armed with.
        let reached = ARMED.try_with(|armed| {
            let mut armed = armed.borrow_mut();
            let waiting = armed.front_mut()?;
            waiting.countdown -= 1;
            if waiting.countdown == 0 { armed.pop_front() } else { None }
        });
        if let Ok(Some(mut armed)) = reached {
            // With its directory: several files are called `ring.rs`.
            let path = here.file();
            let file = path.rmatch_indices('/').nth(1).map_or(path, |(slash, _)| &path[slash + 1..]);
            let name = format!("{file}:{}:{} {operation}\n", here.line(), here.column());
            // The name is for the report only: the kill must come whether or not it could be written.
            let _ = armed.log.write_all(name.as_bytes());
            crate::sys::raise(armed.signal);
        }
    }
}
