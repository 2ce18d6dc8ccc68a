//! Condition variables: those who wait for items, and those who make them.

use super::{asleep, small};
use crate::harness::{Orders, at_every_site_often, came_through, wait_for_sleep};
use crate::stops::ARMED;
use crate::traffic::SHORT;
use serde::{Deserialize, Serialize};
use shmkit::prelude::*;
use shmkit::process::JoinHandle;
use shmkit::segment::{Configuration, crash};
use shmkit::sync::{CondvarObject, MutexGuard, MutexObject, Wakeup};
use std::time::Duration;

/// How often in a row a victim comes through that has rivals.
const OFTEN: u64 = 4;
const ITEMS: u64 = 3;

/// A number of items, and whether no more will come.
type Items = [u64; 2];

/// Where items are put and taken from.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Store {
    pub(super) items: Mutex<Items>,
    pub(super) changed: Condvar,
}

/// The guard, whoever has died: a change of an item is whole.
fn healed<'a>(outcome: Result<MutexGuard<'a, Items>, LockError<MutexGuard<'a, Items>>>) -> MutexGuard<'a, Items> {
    match outcome {
        Ok(guard) => guard,
        Err(LockError::OwnerDied(mut guard)) => {
            guard.make_consistent();
            guard
        }
        Err(other) => panic!("{other:?}"),
    }
}

impl Store {
    pub(super) fn new() -> Self {
        let items = Mutex::of(&small::<MutexObject<Items>>(Configuration::default()));
        Self { items, changed: Condvar::of(&small::<CondvarObject>(Configuration::default())) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Items> {
        healed(self.items.lock())
    }

    /// Puts an item in.
    pub(super) fn put(&self) {
        self.lock()[0] += 1;
        self.changed.notify_one();
    }

    /// Takes items until no more come, each `taken`.
    pub(super) fn take_all(&self, mut taken: impl FnMut()) {
        loop {
            let mut guard = self.lock();
            while *guard == [0, 0] {
                guard = healed(self.changed.wait(guard));
            }
            if guard[0] == 0 {
                return;
            }
            guard[0] -= 1;
            drop(guard);
            taken();
        }
    }

    /// Starts a thread that takes items, and counts them.
    pub(super) fn taker(&self) -> std::thread::JoinHandle<u64> {
        let store = self.clone();
        asleep(move || {
            let mut count = 0;
            store.take_all(|| count += 1);
            count
        })
    }

    /// Waits until all items were taken, without notifying anybody of anything.
    pub(super) fn wait_until_empty(&self) {
        while self.lock()[0] > 0 {
            std::thread::yield_now();
        }
    }

    /// No more will come.
    pub(super) fn end(&self) {
        self.lock()[1] = 1;
        self.changed.notify_all();
    }
}

pub(super) fn take((orders, store): (Orders, Store)) {
    let mut ledger = orders.arm();
    ledger.note(ARMED);
    store.take_all(|| ledger.note(1));
    drop(store);
    crash::disarm();
}

/// The victim is the first to wait, so the first notification is for it. Whether or not it has acted on it, no item is left over while somebody sleeps.
fn consumer() {
    at_every_site_often("condvar, one of two who wait for items", OFTEN, |orders| {
        let store = Store::new();
        let victim = spawn(take, (orders.clone(), store.clone())).unwrap();
        wait_for_sleep(&victim, orders);
        let rival = store.taker();
        for _ in 0..ITEMS {
            store.put();
            store.wait_until_empty();
        }
        store.end();
        let taken = rival.join().unwrap();
        let done = came_through(victim);
        let noted = orders.ledger().into_iter().filter(|&item| item != ARMED).count() as u64;
        // One may have been taken and not noted.
        assert!((noted + taken..=noted + taken + u64::from(!done)).contains(&ITEMS), "{noted} and {taken}");
        done
    });
}

fn put((orders, store): (Orders, Store)) {
    let mut ledger = orders.arm();
    for item in 1..=2 {
        store.put();
        ledger.note(item);
    }
    store.lock()[0] += 1;
    store.changed.notify_all();
    ledger.note(ITEMS);
    drop(store);
    crash::disarm();
}

/// Two wait, and the victim notifies them, one after the other and then all.
fn producer() {
    at_every_site_often("condvar, who notifies", OFTEN, |orders| {
        let store = Store::new();
        let takers = [store.taker(), store.taker()];
        let done = came_through(spawn(put, (orders.clone(), store.clone())).unwrap());
        // Nobody else tells the takers of what the dead one has put in.
        store.wait_until_empty();
        store.end();
        let taken: u64 = takers.into_iter().map(|taker| taker.join().unwrap()).sum();
        let noted = orders.ledger().len() as u64;
        assert!(taken == noted || !done && taken == noted + 1, "{noted} were put in, {taken} came out");
        done
    });
}

/// Waits once, as others do too who are not told of anything.
fn wait_in_vain((orders, store, time): (Orders, Store, Duration)) {
    let mut ledger = orders.arm();
    ledger.note(ARMED);
    let (guard, wakeup) = match store.changed.wait_timeout(store.lock(), time) {
        Ok(outcome) => outcome,
        Err(other) => panic!("{other:?}"),
    };
    ledger.note(if wakeup == Wakeup::TimedOut { TIMED_OUT } else { NOTIFIED });
    drop(guard);
    drop(store);
    crash::disarm();
}

/// What it notes then.
pub(super) const TIMED_OUT: u64 = 1;
pub(super) const NOTIFIED: u64 = 2;

pub(super) fn spawn_in_vain(orders: &Orders, store: &Store, time: Duration) -> JoinHandle<()> {
    spawn(wait_in_vain, (orders.clone(), store.clone(), time)).unwrap()
}

/// Its time is up, or it is dead: no notification is for it any more.
fn timeout(time: Duration) {
    at_every_site_often(&format!("condvar, whose time is up after {time:?}"), OFTEN, |orders| {
        let store = Store::new();
        let done = came_through(spawn_in_vain(orders, &store, time));
        store.changed.segment().reap_dead();
        assert!(!store.changed.notify_one(), "nobody waits");
        assert!(!orders.ledger().contains(&NOTIFIED), "nobody was notified");
        let waiter = store.taker();
        store.put();
        store.wait_until_empty();
        store.end();
        assert_eq!(waiter.join().unwrap(), 1);
        done
    });
}

fn wait_while_empty((orders, store): (Orders, Store)) {
    let mut ledger = orders.arm();
    ledger.note(ARMED);
    let guard = match store.changed.wait_while(store.lock(), |items| items[0] == 0) {
        Ok(guard) => guard,
        Err(other) => panic!("{other:?}"),
    };
    assert_eq!(guard[0], 1);
    drop(guard);
    drop(store);
    crash::disarm();
}

/// The only one who waits. What it was notified of is still there for whoever comes after it.
fn lone_waiter() {
    at_every_site_often("condvar, who waits alone", OFTEN, |orders| {
        let store = Store::new();
        let victim = spawn(wait_while_empty, (orders.clone(), store.clone())).unwrap();
        wait_for_sleep(&victim, orders);
        store.put();
        let done = came_through(victim);
        store.changed.segment().reap_dead();
        store.items.segment().reap_dead();
        assert_eq!(*store.lock(), [1, 0]);
        assert_eq!(store.changed.notify_all(), 0);
        done
    });
}

pub(super) fn all() {
    consumer();
    producer();
    timeout(SHORT);
    timeout(Duration::ZERO);
    lone_waiter();
}
