//! Condition variables, events, barriers, and values that are made once.

use crate::harness::Orders;
use crate::locks::{Handle, Value, asleep, barriers, changes, condvars, events, onces};
use crate::races::Race;
use shmkit::prelude::*;
use shmkit::process::JoinHandle;
use shmkit::segment::crash;
use shmkit::sync::Wakeup;
use std::thread::JoinHandle as Thread;
use std::time::Duration;

/// The slot at a condition variable that the victim has seen is taken by one that has come there with another lock; or the victim is notified just when
/// its time is up.
pub(super) struct Waiting {
    store: condvars::Store,
    waiter: Option<Thread<()>>,
    /// Whether one that waited was notified by this process.
    notified: bool,
}

impl Race for Waiting {
    fn new() -> Self {
        Self { store: condvars::Store::new(), waiter: None, notified: false }
    }

    fn victim(&self, orders: &Orders) -> JoinHandle<()> {
        // Without time, so that it reaches the same exchanges in each round.
        condvars::spawn_in_vain(orders, &self.store, Duration::ZERO)
    }

    fn interfere(&mut self) {
        // The victim, if it waits; otherwise it is about to.
        self.notified = self.store.changed.notify_one();
        if !self.notified {
            let changed = self.store.changed.clone();
            self.waiter = Some(asleep(move || {
                let (lock, never) = (Mutex::private(0_u64).unwrap(), crate::traffic::NEVER);
                let (_guard, wakeup) = changed.wait_timeout(lock.lock().unwrap(), never).unwrap();
                assert_eq!(wakeup, Wakeup::Notified);
            }));
        }
    }

    fn check(self, orders: &Orders) {
        self.store.changed.segment().reap_dead();
        if let Some(waiter) = self.waiter {
            // A death has woken it, or this does.
            self.store.changed.notify_one();
            waiter.join().unwrap();
        }
        let noted = orders.ledger();
        assert!(self.notified || !noted.contains(&condvars::NOTIFIED), "it was notified by nobody");
        assert!(!self.notified || !noted.contains(&condvars::TIMED_OUT), "its notification is lost");
        assert!(!self.store.changed.notify_one(), "nobody waits");
        self.store.items.segment().reap_dead();
        self.store.put();
        assert_eq!(*self.store.lock(), [1, 0]);
    }
}

fn notify((orders, store): (Orders, condvars::Store)) {
    let mut ledger = orders.arm();
    store.changed.notify_one();
    ledger.note(1);
    store.changed.notify_all();
    crash::disarm();
}

/// Another one notifies the waiter that the victim has found.
pub(super) struct Notifying {
    store: condvars::Store,
    waiters: Vec<Thread<u64>>,
}

impl Race for Notifying {
    fn new() -> Self {
        let store = condvars::Store::new();
        let waiters = vec![store.taker(), store.taker()];
        Self { store, waiters }
    }

    fn victim(&self, orders: &Orders) -> JoinHandle<()> {
        spawn(notify, (orders.clone(), self.store.clone())).unwrap()
    }

    fn interfere(&mut self) {
        self.store.put();
        self.store.put();
    }

    fn check(self, _orders: &Orders) {
        self.store.changed.segment().reap_dead();
        self.store.put();
        self.store.wait_until_empty();
        self.store.end();
        let taken: u64 = self.waiters.into_iter().map(|waiter| waiter.join().unwrap()).sum();
        assert!([1, 3].contains(&taken));
    }
}

fn set_and_clear((orders, event): (Orders, Event)) {
    let mut ledger = orders.arm();
    event.set();
    event.clear();
    ledger.note(1);
    crash::disarm();
}

/// Another one sets the event, and clears it.
pub(super) struct Setting(Event);

impl Race for Setting {
    fn new() -> Self {
        Self(events::new())
    }

    fn victim(&self, orders: &Orders) -> JoinHandle<()> {
        spawn(set_and_clear, (orders.clone(), self.0.clone())).unwrap()
    }

    fn interfere(&mut self) {
        // At either time, the word is another one.
        if self.0.is_set() {
            self.0.clear();
        }
        self.0.set();
    }

    fn check(self, orders: &Orders) {
        self.0.reap_dead();
        assert!(orders.ledger().is_empty() || !self.0.is_set(), "who clears comes last");
        let waits = self.0.clone();
        self.0.clear();
        let waiter = asleep(move || waits.wait());
        self.0.set();
        waiter.join().unwrap().unwrap();
    }
}

/// What is contested is the barrier's word: the victim arrives or gives up, another one breaks it and mends it.
pub(super) struct Arriving(Barrier);

impl Race for Arriving {
    fn new() -> Self {
        Self(barriers::new(2))
    }

    fn victim(&self, orders: &Orders) -> JoinHandle<()> {
        barriers::spawn_player(orders, &self.0, barriers::Act::GiveUp)
    }

    fn interfere(&mut self) {
        self.0.abort();
        self.0.reset();
    }

    fn check(self, _orders: &Orders) {
        self.0.reap_dead();
        barriers::mend(&self.0, false);
    }
}

fn make((orders, once): (Orders, OnceLock<Value>)) {
    let mut ledger = orders.arm();
    let value = once.get_or_init(|| [1; 8]).unwrap();
    ledger.note(changes(&value));
    crash::disarm();
}

/// Another one makes the value first, unless the victim is at it.
pub(super) struct Making {
    once: OnceLock<Value>,
    maker: Option<Thread<Value>>,
}

impl Race for Making {
    fn new() -> Self {
        Self { once: onces::new(), maker: None }
    }

    fn victim(&self, orders: &Orders) -> JoinHandle<()> {
        spawn(make, (orders.clone(), self.once.clone())).unwrap()
    }

    fn interfere(&mut self) {
        let once = self.once.clone();
        self.maker = Some(asleep(move || once.get_or_init(|| [2; 8]).unwrap()));
    }

    fn check(self, orders: &Orders) {
        self.once.reap_dead();
        let made = self.maker.map(|maker| maker.join().unwrap());
        let value = self.once.set([3; 8]).unwrap();
        assert!(made.is_none_or(|made| made == value));
        assert!(orders.ledger().iter().all(|noted| *noted == changes(&value)));
    }
}
