//! Permits, one and several at a time. (A holder of one at a time, alone, is in `semaphore.rs`.)

use super::{Handle, asleep, small};
use crate::harness::{Orders, at_every_site_often, came_through, wait_for_sleep};
use crate::stops::ARMED;
use crate::traffic::SHORT;
use shmkit::prelude::*;
use shmkit::segment::crash;
use shmkit::sync::{AcquireTimeoutError, SemaphoreObject};

const OFTEN: u64 = 4;
const PERMITS: usize = 3;

pub(super) fn new() -> Semaphore {
    Semaphore::of(&small::<SemaphoreObject>(SemaphoreObject::configuration(PERMITS)))
}

/// All permits are free: none is lost with the dead, and none is there twice.
pub(super) fn check(semaphore: &Semaphore) {
    semaphore.reap_dead();
    let permits = semaphore.try_acquire_many(PERMITS).expect("all are free");
    assert!(semaphore.try_acquire().is_err());
    drop(permits);
    assert_eq!(semaphore.available(), PERMITS);
    assert_eq!(semaphore.peer_count(), 1);
}

/// Takes permits, one or several, and gives them back.
fn take(semaphore: &Semaphore, count: usize) {
    match count {
        1 => drop(semaphore.acquire().unwrap()),
        _ => drop(semaphore.acquire_many(count).unwrap()),
    }
}

fn acquire((orders, semaphore, count): (Orders, Semaphore, usize)) {
    let mut ledger = orders.arm();
    ledger.note(ARMED);
    (0..2).for_each(|_| take(&semaphore, count));
    drop(semaphore);
    crash::disarm();
}

fn beside_others() {
    at_every_site_often("semaphore, two permits beside others", OFTEN, |orders| {
        let semaphore = new();
        let victim = spawn(acquire, (orders.clone(), semaphore.clone(), 2)).unwrap();
        let rivals = [1, 2].map(|count| {
            let semaphore = semaphore.clone();
            std::thread::spawn(move || (0..10).for_each(|_| take(&semaphore, count)))
        });
        rivals.into_iter().for_each(|rival| rival.join().unwrap());
        let done = came_through(victim);
        check(&semaphore);
        done
    });
}

/// With it wait another that wants two, and one that wants one.
fn that_must_wait(count: usize) {
    at_every_site_often(&format!("semaphore, waiting for {count}"), OFTEN, |orders| {
        let semaphore = new();
        let held = semaphore.acquire_many(PERMITS).unwrap();
        let victim = spawn(acquire, (orders.clone(), semaphore.clone(), count)).unwrap();
        wait_for_sleep(&victim, orders);
        let waiters = [1, 2].map(|count| {
            let semaphore = semaphore.clone();
            asleep(move || take(&semaphore, count))
        });
        drop(held);
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        let done = came_through(victim);
        check(&semaphore);
        done
    });
}

fn acquire_in_vain((orders, semaphore): (Orders, Semaphore)) {
    orders.arm();
    let outcome = semaphore.acquire_many_timeout(2, SHORT);
    assert_eq!(outcome.err(), Some(AcquireTimeoutError::Timeout));
    drop(semaphore);
    crash::disarm();
}

/// One is free, which somebody else can have all the time.
fn in_vain() {
    at_every_site_often("semaphore, two permits that do not come", OFTEN, |orders| {
        let semaphore = new();
        let held = semaphore.acquire_many(2).unwrap();
        let victim = spawn(acquire_in_vain, (orders.clone(), semaphore.clone())).unwrap();
        drop(semaphore.acquire().unwrap());
        let done = came_through(victim);
        drop(held);
        check(&semaphore);
        done
    });
}

pub(super) fn all() {
    beside_others();
    that_must_wait(1);
    that_must_wait(2);
    in_vain();
}
