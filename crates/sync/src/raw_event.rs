//! Events of the crate `raw_sync`, as hints: how a sleeper is told to look at its word where the kernel cannot watch it.
//!
//! An event is a mutex and a condition variable of the C library. Nothing here guards data, and nothing is decided by whether an event is set: it
//! may be missed, come late, or come for nothing. So what is left to go wrong is to wait for too long:
//!
//! | `raw_sync` 0.1 | so here |
//! |---|---|
//! | adds nanoseconds without a carry: a time that crosses a second is refused | a wait never crosses one; in the last 11 ms of each second, sleepers look every millisecond |
//! | waits by the real-time clock | each wait is short, and its caller has a deadline of the monotonic clock; but while the time is set back, a wait that nobody ends lasts longer by as much |
//! | takes a mutex to set an event, and to wait for one, that a process killed at that moment keeps | **not kill-safe**: all others that come to this event hang, and while it is only stopped there, they wait |
//! | makes an event in memory, and has no word for whether there is one | a state of its own: all-zero memory has no event, the first who wants to wait makes it, and as long as nobody has (or for ever, if that one was killed) sleepers look every millisecond |
//! | trusts what lies in the memory, as the C library does | **a peer that writes nonsense into it can make others crash**, hardened object or not |
//!
//! Its `BusyEvent` spins and orders nothing. It is not used.

#![allow(unsafe_code)]

use raw_sync::Timeout;
use raw_sync::events::{Event as RawEvent, EventImpl, EventInit, EventState};
use shmkit_segment::primitive::{AtomicU32, AtomicU64, Ordering};
use shmkit_segment::shared;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// At most so long is the event waited for at a time: what a hint costs that was missed.
const PATIENCE: Duration = Duration::from_millis(10);
/// How often to look without an event.
const LOOK: Duration = Duration::from_millis(1);
/// Between choosing a time and the clock's reading in `raw_sync`, no more than this passes, or the wait is refused.
const MARGIN: Duration = Duration::from_millis(1);

/// Words for the C library's objects: 48 bytes each for a mutex and a condition variable, and two more.
const WORDS: usize = 14;

// States. NONE ──first who waits──▶ BEING_MADE ──▶ MADE
const NONE: u32 = 0;
const BEING_MADE: u32 = 1;
const MADE: u32 = 2;

shared! {
    /// An event in shared memory, made on first use. Stays set until somebody waits.
    pub(crate) struct Event {
        state: AtomicU32,
        bytes: [AtomicU64; WORDS],
    }
}

impl Event {
    /// Waits for the event, for some time but not longer than `time`, if `is_same` says so after it was cleared.
    pub(crate) fn wait(&self, time: Duration, is_same: impl Fn() -> bool) {
        let time = time.min(PATIENCE);
        let Some(event) = self.get_or_make().filter(|_| ends_within_second(SystemTime::now(), time)) else {
            return thread::sleep(LOOK.min(time));
        };
        // Whoever sets it from here on changed the word before, which `is_same` sees, or ends the wait.
        let _ = event.set(EventState::Clear);
        let start = Instant::now();
        if is_same() && event.wait(Timeout::Val(time)).is_err() && start.elapsed() < time {
            // Refused, which is not to be tried again at once.
            thread::sleep(LOOK.min(time));
        }
    }

    /// Sets the event, if anybody has ever waited for it.
    pub(crate) fn set(&self) {
        // Acquire pairs with the release in `make`. Who makes it at this moment looks at the word before it waits.
        if self.state.load(Ordering::Acquire) == MADE
            && let Some(event) = self.existing()
        {
            let _ = event.set(EventState::Signaled);
        }
    }

    /// Whether there is an event and it is set, asked in the way of `raw_sync`.
    #[cfg(test)]
    pub(crate) fn is_set(&self) -> bool {
        self.state.load(Ordering::Acquire) == MADE
            && self.existing().is_some_and(|event| event.wait(Timeout::Val(Duration::ZERO)).is_ok())
    }

    fn get_or_make(&self) -> Option<Box<dyn EventImpl>> {
        match self.state.load(Ordering::Acquire) {
            MADE => self.existing(),
            NONE => self.make(),
            _ => None,
        }
    }

    /// Makes the event, unless another one does.
    fn make(&self) -> Option<Box<dyn EventImpl>> {
        let place = self.place()?;
        self.state.compare_exchange(NONE, BEING_MADE, Ordering::Relaxed, Ordering::Relaxed).ok()?;
        // SAFETY: `place` has room for an event; nobody else touches it before the state is MADE, and only one comes here.
        let (event, _) = unsafe { RawEvent::new(place, false) }.ok()?;
        // Release: who sees MADE sees the event.
        self.state.store(MADE, Ordering::Release);
        Some(event)
    }

    fn existing(&self) -> Option<Box<dyn EventImpl>> {
        // SAFETY: an event was made there, it stays for as long as the memory, and `self` outlives the use of what is returned.
        unsafe { RawEvent::from_existing(self.place()?) }.ok().map(|(event, _)| event)
    }

    /// Where the event lies, if there is room for one of this C library's.
    fn place(&self) -> Option<*mut u8> {
        let place = self.bytes.as_ptr().cast_mut().cast::<u8>();
        (RawEvent::size_of(Some(place)) <= size_of_val(&self.bytes)).then_some(place)
    }
}

/// Whether a wait for `time`, which is short, ends in the second of the real-time clock in which it begins, a moment after `now`.
fn ends_within_second(now: SystemTime, time: Duration) -> bool {
    let since_second = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().subsec_nanos();
    Duration::from_nanos(since_second.into()) + MARGIN + time < Duration::from_secs(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    #[test]
    fn there_is_room_for_an_event_of_this_c_library() {
        assert!(Event::default().place().is_some());
    }

    #[test]
    fn all_zero_memory_has_no_event_and_setting_it_changes_nothing() {
        let event = Event::default();
        event.set();
        assert_eq!(event.state.load(Relaxed), NONE);
        assert!(event.bytes.iter().all(|word| word.load(Relaxed) == 0));
    }

    #[test]
    fn an_event_is_made_once_however_many_come_for_it_at_a_time() {
        for _ in 0..100 {
            let (event, made) = (Event::default(), AtomicUsize::new(0));
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| made.fetch_add(usize::from(event.make().is_some()), Relaxed));
                }
            });
            assert_eq!((made.into_inner(), event.state.load(Relaxed)), (1, MADE));
        }
    }

    #[test]
    fn an_event_stays_set_until_somebody_waits() {
        let event = Event::default();
        event.make().unwrap();
        assert!(!event.is_set());
        event.set();
        assert!(event.is_set() && event.is_set());
        // In the last moments of a second nobody waits.
        while event.is_set() {
            event.wait(Duration::from_micros(1), || false);
        }
    }

    #[test]
    fn what_is_set_when_the_word_is_looked_at_is_not_lost() {
        let (event, looked) = (Event::default(), Cell::new(false));
        while !looked.get() {
            event.wait(PATIENCE, || {
                looked.set(true);
                event.set();
                true
            });
        }
        assert!(event.is_set());
    }

    #[test]
    fn an_event_whose_maker_was_killed_is_not_used() {
        let event = Event::default();
        event.state.store(BEING_MADE, Relaxed);
        event.wait(Duration::from_micros(1), || panic!("there is no event to be cleared"));
        event.set();
        assert!(event.bytes.iter().all(|word| word.load(Relaxed) == 0));
    }

    #[test]
    fn raw_sync_refuses_a_time_that_crosses_a_second_which_is_why_no_wait_does() {
        let memory = Event::default();
        let event = memory.make().unwrap();
        let time = Duration::from_millis(999);
        let is_refused = || {
            let start = Instant::now();
            event.wait(Timeout::Val(time)).is_err() && start.elapsed() < time
        };
        // Unless a second has just begun, or this machine stands still.
        assert!((0..10).any(|_| is_refused()));

        let millisecond = Duration::from_millis(1);
        let ends = |passed, time| ends_within_second(SystemTime::UNIX_EPOCH + passed * millisecond, time * millisecond);
        assert!(ends(0, 10) && ends(5_988, 10) && ends(5_000, 998));
        assert!(!ends(5_989, 10) && !ends(999, 0) && !ends(999, 10));
    }
}
