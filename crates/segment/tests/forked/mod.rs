//! Forks, as programs make them that know nothing of this toolkit.

#![allow(dead_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};

/// The child of a bare `fork`.
pub(crate) struct Fork(libc::pid_t);

/// Runs `child` in a fork of this process. What it owns is dropped there before the fork ends; nothing else of this process is.
///
/// If this process has more than one thread, `child` must not need anything that another one may be holding.
pub(crate) fn fork(child: impl FnOnce()) -> Fork {
    // SAFETY: the child runs what the caller gave it and goes no further; see above for threads.
    match unsafe { libc::fork() } {
        -1 => panic!("{}", std::io::Error::last_os_error()),
        0 => {
            let failed = catch_unwind(AssertUnwindSafe(child)).is_err();
            // SAFETY: ends this process, without what was registered to run at the exit of the one that was forked.
            unsafe { libc::_exit(i32::from(failed)) }
        }
        pid => Fork(pid),
    }
}

impl Fork {
    /// Waits until it has ended, and expects that it has not panicked.
    pub(crate) fn join(self) {
        let mut status = -1;
        // SAFETY: `status` is an integer of this function's own.
        let waited = unsafe { libc::waitpid(self.0, &raw mut status, 0) };
        assert_eq!((waited, status), (self.0, 0), "the fork has failed: its message is above");
    }
}

/// Ends this process by a signal after so many seconds: what could hang ends then.
pub(crate) fn end_after(seconds: u32) {
    // SAFETY: no memory is involved.
    unsafe { libc::alarm(seconds) };
}
