//! A word that threads of any process can sleep on.
//!
//! Never with the kernel's "private" flag, which would key the sleepers by process.

#[cfg(not(loom))]
pub(crate) use kernel::Futex;
#[cfg(loom)]
pub(crate) use modelled::Futex;

/// How a sleep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(loom, allow(dead_code, reason = "nothing times out in a model"))]
pub(crate) enum Sleep {
    /// Somebody woke this thread.
    Woken,
    /// The time was up.
    TimedOut,
    /// The word was not as expected, or a signal came: look again.
    Again,
}

#[cfg(not(loom))]
mod kernel {
    use super::Sleep;
    use rustix::io::Errno;
    use rustix::thread::futex::{self, Flags};
    use shmkit_segment::primitive::{AtomicU32, futex_word};
    use shmkit_segment::{crash, shared};
    use std::ops::Deref;
    use std::time::Duration;

    shared! {
        pub(crate) struct Futex {
            word: AtomicU32,
        }
    }

    impl Futex {
        /// Sleeps while the word is `expected`, for at most `timeout`.
        #[cfg_attr(crash_points, track_caller)]
        pub(crate) fn sleep(&self, expected: u32, timeout: Duration) -> Sleep {
            crash::site("futex wait");
            let timeout = rustix::fs::Timespec::try_from(timeout).ok();
            match futex::wait(futex_word(&self.word), Flags::empty(), expected, timeout.as_ref()) {
                Ok(()) => Sleep::Woken,
                Err(Errno::TIMEDOUT) => Sleep::TimedOut,
                // EAGAIN, EINTR; any other error cannot happen with a mapped word, and looking again is right for it too.
                Err(_) => Sleep::Again,
            }
        }

        /// Wakes at most `count` sleepers.
        #[cfg_attr(crash_points, track_caller)]
        pub(crate) fn wake(&self, count: u32) {
            crash::site("futex wake");
            // The kernel fails this call for unmapped or misaligned words only.
            let _ = futex::wake(futex_word(&self.word), Flags::empty(), count);
        }
    }

    impl Deref for Futex {
        type Target = AtomicU32;

        #[inline]
        fn deref(&self) -> &AtomicU32 {
            &self.word
        }
    }
}

#[cfg(loom)]
mod modelled {
    use super::Sleep;
    use loom::sync::{Condvar, Mutex};
    use shmkit_segment::Shared;
    use shmkit_segment::primitive::{AtomicU32, Ordering};
    use std::ops::Deref;
    use std::time::Duration;

    /// The kernel's part, in terms that loom knows: the mutex is the lock of the hash bucket, under which the word is compared
    /// and the sleepers are queued.
    #[derive(Default)]
    pub(crate) struct Futex {
        word: AtomicU32,
        bucket: Mutex<()>,
        sleepers: Condvar,
    }

    // SAFETY: lives in ordinary memory under loom, constructed and dropped like any value.
    #[allow(unsafe_code)]
    unsafe impl Shared for Futex {}

    impl Futex {
        pub(crate) fn sleep(&self, expected: u32, _timeout: Duration) -> Sleep {
            shmkit_segment::crash::site("futex wait");
            let bucket = self.bucket.lock().expect("no thread panics in here");
            // Relaxed: a waker changes the word before it takes the bucket's lock.
            if self.word.load(Ordering::Relaxed) != expected {
                return Sleep::Again;
            }
            drop(self.sleepers.wait(bucket).expect("no thread panics in here"));
            Sleep::Woken
        }

        pub(crate) fn wake(&self, count: u32) {
            shmkit_segment::crash::site("futex wake");
            let _bucket = self.bucket.lock().expect("no thread panics in here");
            if count == 1 {
                self.sleepers.notify_one();
            } else {
                self.sleepers.notify_all();
            }
        }
    }

    impl Deref for Futex {
        type Target = AtomicU32;

        fn deref(&self) -> &AtomicU32 {
            &self.word
        }
    }
}
