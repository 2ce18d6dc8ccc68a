//! Condition variables: a notification must not die with the one that it was for.

use crate::every_site::kill_at_every_site;
use crate::{as_another_peer, inherited, survives, with};
use loom::thread;
use shmkit_sync::{Condvar, Mutex, MutexGuard, Wakeup};
use std::sync::Arc;
use std::time::Duration;

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

    fn lock(&self) -> MutexGuard<'_, u32> {
        inherited(self.count.lock()).0
    }

    fn add(&self) {
        *self.lock() += 1;
        self.changed.notify_one();
    }

    fn take(&self) {
        let mut guard = self.lock();
        while *guard == 0 {
            guard = inherited(self.changed.wait(guard)).0;
        }
        *guard -= 1;
    }

    fn death(&self) -> impl Fn() + Clone + 'static {
        let (changed, count) = (Arc::clone(self.changed.segment()), Arc::clone(self.count.segment()));
        move || {
            changed.die();
            count.die();
        }
    }

    fn reap_dead(&self) {
        self.count.segment().reap_dead();
        self.changed.segment().reap_dead();
    }
}

/// Who of two has come to an end, one way or another.
#[derive(Default)]
struct Ends {
    reached: loom::sync::Mutex<[bool; 2]>,
    changed: loom::sync::Condvar,
}

impl Ends {
    fn reach(&self, who: usize) {
        self.reached.lock().unwrap()[who] = true;
        self.changed.notify_one();
    }

    fn wait_for_one(&self) -> [bool; 2] {
        let mut reached = self.reached.lock().unwrap();
        while *reached == [false; 2] {
            reached = self.changed.wait(reached).unwrap();
        }
        *reached
    }
}

/// The victim may be the one that the only notification is for.
#[test]
fn condvar_consumer() {
    const VICTIM: usize = 0;
    const SURVIVOR: usize = 1;
    kill_at_every_site("condvar consumer", 0, |n| {
        let jobs = Jobs::new();
        let ends = Arc::new(Ends::default());
        let (victim, reaper, ended) = (jobs.as_another_peer(), jobs.clone(), Arc::clone(&ends));
        let thread = thread::spawn(move || {
            let completed = survives(n, victim.death(), || victim.take());
            reaper.reap_dead();
            ended.reach(VICTIM);
            (completed, victim, reaper)
        });
        let (other, ended) = (jobs.clone(), Arc::clone(&ends));
        let survivor = with(other, move |jobs| {
            jobs.take();
            ended.reach(SURVIVOR);
        });
        // Nobody is preempted here, so that this ends: they go to wait first, if they get the chance.
        thread::yield_now();
        jobs.add();
        if ends.wait_for_one()[VICTIM] {
            // A job that the victim has not taken must come to the survivor without any more ado.
            if *jobs.lock() == 0 {
                jobs.add();
            }
            let _survivor = survivor.join().unwrap();
            thread.join().unwrap().0
        } else {
            jobs.add();
            let _survivor = survivor.join().unwrap();
            thread.join().unwrap().0
        }
    });
}

/// The victim is reaped while others come to wait and to notify: its place takes no notification from them. (It has waited for no time at all, so it needs nobody to end.)
#[test]
fn condvar_reaper_beside_a_consumer_and_a_producer() {
    kill_at_every_site("condvar waiter, reaped beside others", 1, |n| {
        let jobs = Jobs::new();
        let victim = jobs.as_another_peer();
        let completed = survives(n, victim.death(), || {
            let (_guard, wakeup) = victim.changed.wait_timeout(victim.lock(), Duration::ZERO).unwrap();
            assert_eq!(wakeup, Wakeup::TimedOut);
        });
        let (consumer, producer) = (with(jobs.clone(), Jobs::take), with(jobs.clone(), Jobs::add));
        jobs.reap_dead();
        let _others = (consumer.join().unwrap(), producer.join().unwrap());
        completed
    });
}

#[test]
fn condvar_notifier() {
    kill_at_every_site("condvar notifier", 1, |n| {
        let jobs = Jobs::new();
        let victim = jobs.as_another_peer();
        let thread = thread::spawn(move || {
            let completed = survives(n, victim.death(), || victim.add());
            (completed, victim)
        });
        let consumer = with(jobs.clone(), Jobs::take);
        let (completed, _victim) = thread.join().unwrap();
        jobs.reap_dead();
        if !completed && *jobs.lock() == 0 {
            // It was killed before it had changed anything, or the consumer has been already.
            jobs.add();
        }
        let _consumer = consumer.join().unwrap();
        completed
    });
}
