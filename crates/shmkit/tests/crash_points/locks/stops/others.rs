//! Condition variables, barriers, values that are made once, and permits.

use super::{Subject, expect_delays, expect_none, stop};
use crate::harness::Orders;
use crate::locks::{barriers, condvars, counting, onces, permits};
use crate::traffic::{NEVER, SHORT, SOON};
use barriers::Act;
use condvars::Store;
use shmkit::prelude::*;
use shmkit::process::JoinHandle;
use shmkit::segment::crash;
use shmkit::sync::{AcquireTimeoutError, BarrierError, LockTimeoutError, WaitTimeoutError};
use std::thread::JoinHandle as Thread;

/// A store, and a thread that takes items from it.
struct Market {
    store: Store,
    taker: Thread<u64>,
}

impl Subject for Market {
    fn reap_dead(&self) -> usize {
        self.store.items.segment().reap_dead() + self.store.changed.segment().reap_dead()
    }
}

/// Beside a victim that takes or puts in one item, this process puts in another, and somebody is there who takes all.
fn condvar(name: &str, victim: impl Fn(&Orders, &Store) -> JoinHandle<()>) {
    let new = || {
        let store = Store::new();
        let taker = store.taker();
        Market { store, taker }
    };
    let sites = stop(
        name,
        new,
        |orders, market| victim(orders, &market.store),
        |Market { store, .. }| {
            let delays = match store.items.lock_timeout(SOON) {
                Ok(mut guard) => {
                    guard[0] += 1;
                    false
                }
                Err(LockTimeoutError::Timeout) => true,
                Err(other) => panic!("{other:?}"),
            };
            if !delays {
                // Of several who wait, one that is stopped may be the first.
                store.changed.notify_all();
                store.wait_until_empty();
            }
            delays
        },
        |Market { store, taker }| {
            store.wait_until_empty();
            store.end();
            assert!(taker.join().unwrap() <= 2);
        },
    );
    assert!(sites.iter().any(|(_, delays)| *delays), "it is stopped with the lock, too");
    assert!(sites.iter().any(|(_, delays)| !*delays));
}

fn put_one((orders, store): (Orders, Store)) {
    orders.arm();
    store.put();
    crash::disarm();
}

pub(super) fn condvars() {
    condvar("one that waits at a condvar", |orders, store| condvars::spawn_in_vain(orders, store, SHORT));
    condvar("one that notifies", |orders, store| spawn(put_one, (orders.clone(), store.clone())).unwrap());
}

/// Others wait for it until it has come, and give up in time, which breaks the barrier.
pub(super) fn barrier_party() {
    let sites = stop(
        "one of two parties of a barrier",
        || barriers::new(2),
        |orders, barrier| barriers::spawn_player(orders, barrier, Act::GiveUp),
        |barrier| match barrier.wait_timeout(SOON) {
            // It has come, or has given up first.
            Ok(_) | Err(BarrierError::Broken) => false,
            Err(BarrierError::Timeout) => true,
            Err(other) => panic!("{other}"),
        },
        |barrier| barriers::mend(&barrier, false),
    );
    expect_delays(&sites, true);
}

/// One party, so that it is always the last one: who comes while its action is under way waits, and breaks nothing by giving up.
pub(super) fn barrier_action() {
    let sites = stop(
        "the last party of a barrier",
        || barriers::new(1),
        |orders, barrier| barriers::spawn_player(orders, barrier, Act::Arrive),
        |barrier| {
            let outcome = barrier.wait_timeout(SOON);
            assert!(!barrier.is_broken() && matches!(outcome, Ok(0) | Err(BarrierError::Timeout)), "{outcome:?}");
            outcome.is_err()
        },
        |barrier| barriers::mend(&barrier, false),
    );
    expect_delays(&sites, false);
}

/// Others wait for the value until it is made.
pub(super) fn maker() {
    let sites = stop(
        "the maker of a value",
        onces::new,
        |orders, once| spawn(onces::make, (orders.clone(), once.clone())).unwrap(),
        |once| once.wait_timeout(SOON) == Err(WaitTimeoutError::Timeout),
        |once| assert!(once.wait_timeout(NEVER).is_ok()),
    );
    expect_delays(&sites, true);
}

fn hold_one((orders, semaphore): (Orders, Semaphore)) {
    orders.arm();
    drop(semaphore.acquire_timeout(SHORT));
    crash::disarm();
}

/// All but one permit are there all the time, and that one too unless it is held.
pub(super) fn permit_holder() {
    let sites = stop(
        "the holder of one of three permits",
        permits::new,
        |orders, semaphore| spawn(hold_one, (orders.clone(), semaphore.clone())).unwrap(),
        |semaphore| {
            drop(semaphore.acquire_many_timeout(2, NEVER).unwrap());
            let all = semaphore.acquire_many_timeout(3, SOON);
            assert!(matches!(all, Ok(_) | Err(AcquireTimeoutError::Timeout)));
            all.is_err()
        },
        |semaphore| drop(semaphore.try_acquire_many(3).unwrap()),
    );
    expect_delays(&sites, false);
}

fn post_one((orders, semaphore): (Orders, CountingSemaphore)) {
    orders.arm();
    semaphore.post().unwrap();
    // Another one may have it.
    let _ = semaphore.acquire_timeout(SHORT);
    crash::disarm();
}

pub(super) fn poster() {
    let sites = stop(
        "one that posts and acquires",
        || counting::new(0),
        |orders, semaphore| spawn(post_one, (orders.clone(), semaphore.clone())).unwrap(),
        |semaphore| {
            semaphore.post_many(2).unwrap();
            semaphore.acquire_many_timeout(2, NEVER).is_err()
        },
        |semaphore| assert!(semaphore.available() <= 1),
    );
    expect_none(&sites);
}
