//! A word that threads of any process can sleep on.
//!
//! Never with the kernel's "private" flag, which would key the sleepers by process.
//!
//! With the feature `portable`, the kernel knows nothing of the word, and events take its part (see event).

#[cfg(not(loom))]
use crate::Deadline;
#[cfg(not(loom))]
use shmkit_segment::primitive::Ordering;
#[cfg(not(loom))]
use std::{thread, time::Duration};

#[cfg(not(any(loom, feature = "portable")))]
pub(crate) use kernel::Futex;
#[cfg(loom)]
pub(crate) use modelled::Futex;
#[cfg(all(feature = "portable", not(loom)))]
pub(crate) use portable::Futex;

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

/// Looks at the words until one is not as expected, at least every millisecond.
#[cfg(not(loom))]
#[cold]
fn look_often<'a>(words: impl Iterator<Item = (&'a Futex, u32)> + Clone, timeout: Duration) -> Sleep {
    let deadline = Deadline::after(timeout);
    let mut nap = Duration::from_micros(50);
    while words.clone().all(|(futex, expected)| futex.load(Ordering::Relaxed) == expected) {
        let remaining = deadline.remaining().unwrap_or(Duration::MAX);
        if remaining.is_zero() {
            return Sleep::TimedOut;
        }
        thread::sleep(nap.min(remaining));
        nap = (nap * 2).min(Duration::from_millis(1));
    }
    // Nobody was called: as if the kernel had found the word to be another.
    Sleep::Again
}

#[cfg(not(any(loom, feature = "portable")))]
mod kernel {
    use super::{Sleep, look_often};
    use rustix::io::Errno;
    use rustix::thread::futex::{self, Flags, Wait, WaitFlags, WaitPtr, WaitvFlags};
    use rustix::time::{ClockId, Timespec, clock_gettime};
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

        /// Sleeps while each word is as expected, for at most `timeout`. Who is woken may have taken the wake-ups of several words at once.
        ///
        /// The kernel takes up to 128 words. More of them are looked at every millisecond.
        #[cfg_attr(crash_points, track_caller)]
        pub(crate) fn sleep_any<'a>(
            mut words: impl ExactSizeIterator<Item = (&'a Self, u32)> + Clone,
            timeout: Duration,
        ) -> Sleep {
            const MOST: usize = 128;
            let count = words.len();
            if count == 1 {
                return words.next().map_or(Sleep::Again, |(futex, expected)| futex.sleep(expected, timeout));
            }
            crash::site("futex waitv");
            if count > MOST {
                return look_often(words, timeout);
            }
            let mut waits = [Wait::new(); MOST];
            for (wait, (futex, expected)) in waits.iter_mut().zip(words.clone()) {
                wait.val = u64::from(expected);
                wait.uaddr = WaitPtr::new(futex_word(&futex.word).as_ptr().cast());
                wait.flags = WaitFlags::SIZE_U32;
            }
            // This call takes a point in time.
            let now = clock_gettime(ClockId::Monotonic);
            let end = Timespec::try_from(timeout).ok().and_then(|timeout| now.checked_add(timeout));
            match futex::waitv(&waits[..count], WaitvFlags::empty(), end.as_ref(), ClockId::Monotonic) {
                Ok(_) => Sleep::Woken,
                Err(Errno::TIMEDOUT) => Sleep::TimedOut,
                // Kernels before 5.16, and containers that do not let the call through.
                Err(Errno::NOSYS | Errno::PERM) => look_often(words, timeout),
                Err(_) => Sleep::Again,
            }
        }

        /// Wakes at most `count` sleepers, and says how many.
        #[cfg_attr(crash_points, track_caller)]
        pub(crate) fn wake(&self, count: u32) -> usize {
            crash::site("futex wake");
            // The kernel fails this call for unmapped or misaligned words only.
            futex::wake(futex_word(&self.word), Flags::empty(), count).unwrap_or(0)
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

#[cfg(all(feature = "portable", not(loom)))]
mod portable {
    use super::{Sleep, look_often};
    use crate::Deadline;
    use crate::raw_event::Event;
    use shmkit_segment::primitive::{AtomicU32, Ordering};
    use shmkit_segment::{crash, shared};
    use std::ops::Deref;
    use std::thread;
    use std::time::{Duration, Instant};

    /// How long a sleeper looks at the word again and again before it settles down to wait for the event.
    const SETTLING: Duration = Duration::from_millis(1);
    const LOOK: Duration = Duration::from_micros(50);

    shared! {
        /// The word, and an event that is set after each change of it, as a hint to look at it. Who waits for the event clears it first, which can take
        /// the hint from another who has been woken by it and has not come round to looking yet. Hence the settling: when
        /// somebody clears the event, the last change is so long past that the others have seen it. Should one be slower, or be
        /// killed, it looks at the word again when the event's [patience](Event::wait) is over.
        pub(crate) struct Futex {
            word: AtomicU32,
            event: Event,
        }
    }

    impl Futex {
        /// Sleeps while the word is `expected`, for at most `timeout`.
        #[cfg_attr(crash_points, track_caller)]
        pub(crate) fn sleep(&self, expected: u32, timeout: Duration) -> Sleep {
            crash::site("futex wait");
            // Relaxed, as the kernel's own look: who is woken passes a fence before it looks at anything else.
            let is_same = || self.word.load(Ordering::Relaxed) == expected;
            if !is_same() {
                return Sleep::Again;
            }
            let (start, deadline) = (Instant::now(), Deadline::after(timeout));
            while is_same() {
                let remaining = deadline.remaining().unwrap_or(Duration::MAX);
                if remaining.is_zero() {
                    return Sleep::TimedOut;
                }
                if start.elapsed() < SETTLING {
                    thread::sleep(LOOK.min(remaining));
                } else {
                    self.event.wait(remaining, is_same);
                }
            }
            Sleep::Woken
        }

        /// Sleeps while each word is as expected, for at most `timeout`: looks at them again and again, as there is no event for several.
        #[cfg_attr(crash_points, track_caller)]
        pub(crate) fn sleep_any<'a>(
            mut words: impl ExactSizeIterator<Item = (&'a Self, u32)> + Clone,
            timeout: Duration,
        ) -> Sleep {
            if words.len() == 1 {
                return words.next().map_or(Sleep::Again, |(futex, expected)| futex.sleep(expected, timeout));
            }
            crash::site("futex waitv");
            look_often(words, timeout)
        }

        /// Wakes all sleepers, however many were asked for: those for whom there is nothing sleep again. So none sleeps on; it says 0.
        #[cfg_attr(crash_points, track_caller)]
        pub(crate) fn wake(&self, _count: u32) -> usize {
            crash::site("futex wake");
            self.event.set();
            0
        }
    }

    impl Deref for Futex {
        type Target = AtomicU32;

        #[inline]
        fn deref(&self) -> &AtomicU32 {
            &self.word
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn who_wakes_sets_the_event_that_sleepers_wait_for() {
            let futex = Futex::default();
            // In the last moments of a second no event is made.
            let is_set = |_| {
                assert_eq!(futex.sleep(0, 2 * SETTLING), Sleep::TimedOut);
                futex.wake(1);
                futex.event.is_set()
            };
            assert!((0..100).any(is_set));
        }

        #[test]
        fn a_word_that_has_changed_ends_the_sleep_with_or_without_an_event() {
            let futex = Futex::default();
            assert_eq!(futex.sleep(1, Duration::MAX), Sleep::Again);
            for time in [SETTLING / 4, 2 * SETTLING] {
                thread::scope(|scope| {
                    let sleeper = scope.spawn(|| futex.sleep(0, Duration::MAX));
                    thread::sleep(time);
                    futex.store(1, Ordering::Relaxed);
                    assert_ne!(sleeper.join().unwrap(), Sleep::TimedOut);
                });
                futex.store(0, Ordering::Relaxed);
            }
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
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
    use std::time::Duration;

    /// The kernel's part, in terms that loom knows: the mutex is the lock of the hash bucket, under which the word is compared
    /// and the sleepers are queued.
    #[derive(Default)]
    pub(crate) struct Futex {
        word: AtomicU32,
        /// How many sleep.
        bucket: Mutex<usize>,
        sleepers: Condvar,
    }

    // SAFETY: lives in ordinary memory under loom, constructed and dropped like any value.
    #[allow(unsafe_code)]
    unsafe impl Shared for Futex {}

    impl Futex {
        pub(crate) fn sleep(&self, expected: u32, _timeout: Duration) -> Sleep {
            shmkit_segment::crash::site("futex wait");
            let mut bucket = self.bucket.lock().expect("no thread panics in here");
            // Relaxed: a waker changes the word before it takes the bucket's lock. The look is the kernel's: a thread that dies of it leaves no lock behind.
            match catch_unwind(AssertUnwindSafe(|| self.word.load(Ordering::Relaxed))) {
                Ok(found) if found == expected => {}
                Ok(_) => return Sleep::Again,
                Err(death) => {
                    drop(bucket);
                    resume_unwind(death);
                }
            }
            *bucket += 1;
            drop(self.sleepers.wait(bucket).expect("no thread panics in here"));
            Sleep::Woken
        }

        /// Models sleep on one word.
        pub(crate) fn sleep_any<'a>(
            mut words: impl ExactSizeIterator<Item = (&'a Self, u32)> + Clone,
            timeout: Duration,
        ) -> Sleep {
            assert_eq!(words.len(), 1, "there is no model of sleeping on several words");
            words.next().map_or(Sleep::Again, |(futex, expected)| futex.sleep(expected, timeout))
        }

        pub(crate) fn wake(&self, count: u32) -> usize {
            shmkit_segment::crash::site("futex wake");
            let mut bucket = self.bucket.lock().expect("no thread panics in here");
            let woken = (*bucket).min(count as usize);
            *bucket -= woken;
            if count == 1 {
                self.sleepers.notify_one();
            } else {
                self.sleepers.notify_all();
            }
            woken
        }
    }

    impl Deref for Futex {
        type Target = AtomicU32;

        fn deref(&self) -> &AtomicU32 {
            &self.word
        }
    }
}
