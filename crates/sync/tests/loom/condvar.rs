use crate::{Bare, at_most, explore, with};
use shmkit_sync::{Condvar, Event, Mutex};

/// A mutex and the condition variable of what it guards.
#[derive(Clone)]
struct Jobs {
    count: Mutex<u32>,
    changed: Condvar,
}

impl Jobs {
    fn new() -> Self {
        Self { count: Mutex::private(0).unwrap(), changed: Condvar::private().unwrap() }
    }

    fn as_another_peer(&self) -> Self {
        let Self { count, changed } = self;
        Self { count: as_another_peer!(count: Mutex), changed: as_another_peer!(changed: Condvar) }
    }

    fn add(&self, more: u32) {
        *self.count.lock().unwrap() += more;
    }

    fn take(&self) {
        let guard = self.count.lock().unwrap();
        *self.changed.wait_while(guard, |count| *count == 0).unwrap() -= 1;
    }
}

#[test]
fn a_notification_of_a_change_is_not_lost() {
    explore(3, || {
        let jobs = Jobs::new();
        let thread = with(jobs.as_another_peer(), Jobs::take);
        jobs.add(1);
        jobs.changed.notify_one();
        let _other = thread.join().unwrap();
        assert_eq!(*jobs.count.lock().unwrap(), 0);
    });
}

#[test]
fn a_notification_may_be_given_with_the_lock() {
    explore(3, || {
        let jobs = Jobs::new();
        let thread = with(jobs.as_another_peer(), Jobs::take);
        let mut guard = jobs.count.lock().unwrap();
        *guard += 1;
        jobs.changed.notify_one();
        drop(guard);
        let _other = thread.join().unwrap();
    });
}

#[test]
fn two_notifications_are_for_two_waiters() {
    explore(at_most(2), || {
        let jobs = Jobs::new();
        let threads = [(); 2].map(|()| with(jobs.clone(), Jobs::take));
        for _ in 0..2 {
            jobs.add(1);
            jobs.changed.notify_one();
        }
        let _others = threads.map(|thread| thread.join().unwrap());
        assert_eq!(*jobs.count.lock().unwrap(), 0);
    });
}

#[test]
fn all_who_wait_are_notified_at_once() {
    explore(at_most(2), || {
        let jobs = Jobs::new();
        let threads = [(); 2].map(|()| with(jobs.clone(), Jobs::take));
        jobs.add(2);
        jobs.changed.notify_all();
        let _others = threads.map(|thread| thread.join().unwrap());
        assert_eq!(*jobs.count.lock().unwrap(), 0);
    });
}

/// Whoever has seen under the lock that somebody waits finds it.
#[test]
fn a_notification_finds_who_began_to_wait_before() {
    const AWAITED: u32 = 1;
    const GIVEN: u32 = 2;
    explore(3, || {
        let jobs = Jobs::new();
        let thread = with(jobs.as_another_peer(), |jobs| {
            let mut guard = jobs.count.lock().unwrap();
            if *guard != GIVEN {
                *guard = AWAITED;
                assert_eq!(*jobs.changed.wait(guard).unwrap(), GIVEN);
            }
        });
        let mut guard = jobs.count.lock().unwrap();
        let is_awaited = *guard == AWAITED;
        *guard = GIVEN;
        drop(guard);
        assert_eq!(jobs.changed.notify_one(), is_awaited);
        let _other = thread.join().unwrap();
    });
}

/// Without having held the lock since.
#[test]
fn who_is_notified_sees_what_its_notifier_did() {
    explore(3, || {
        let jobs = Jobs::new();
        let is_waiting = Event::private().unwrap();
        let bare = Bare::new();
        let theirs = (jobs.as_another_peer(), is_waiting.clone(), bare.clone());
        let thread = with(theirs, |(jobs, is_waiting, bare)| {
            let guard = jobs.count.lock().unwrap();
            is_waiting.set();
            drop(jobs.changed.wait(guard).unwrap());
            assert_eq!(bare.get(), 1);
        });
        is_waiting.wait().unwrap();
        drop(jobs.count.lock().unwrap());
        bare.set(1);
        assert!(jobs.changed.notify_one());
        let _other = thread.join().unwrap();
    });
}
