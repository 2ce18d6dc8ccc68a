//! Values that are made once.

use super::{Handle, Value, asleep, changes, small};
use crate::harness::{Orders, at_every_site_often, came_through, wait_for_sleep};
use crate::stops::ARMED;
use crate::traffic::SHORT;
use shmkit::prelude::*;
use shmkit::segment::{Configuration, crash};
use shmkit::sync::{OnceLockObject, WaitTimeoutError};

const OFTEN: u64 = 4;
/// Whose value it is: that of the victim, or of somebody else.
pub(super) const VICTIMS: u64 = 1;
const OTHERS: u64 = 2;
/// A victim notes that it makes the value; and which one it was given, this much higher.
pub(super) const GIVEN: u64 = 10;

pub(super) fn new() -> OnceLock<Value> {
    OnceLock::of(&small::<OnceLockObject<Value>>(Configuration::default()))
}

pub(super) fn make((orders, once): (Orders, OnceLock<Value>)) {
    let mut ledger = orders.arm();
    ledger.note(ARMED);
    let value = once.get_or_init(|| {
        ledger.note(VICTIMS);
        [VICTIMS; 8]
    });
    ledger.note(GIVEN + changes(&value.unwrap()));
    drop(once);
    crash::disarm();
}

/// All have the same value, which is whole, and is the one that the victim was given.
fn check(once: &OnceLock<Value>, others: &[Value], orders: &Orders, done: bool) {
    once.reap_dead();
    let value = once.get_or_init(|| panic!("it was made")).unwrap();
    assert!(others.iter().all(|other| *other == value), "{others:?} and {value:?}");
    let (maker, noted) = (changes(&value), orders.ledger());
    let given = noted.iter().find(|&&item| item >= GIVEN).map(|item| item - GIVEN);
    assert!(given.is_none_or(|given| given == maker) && (!done || given.is_some()), "{noted:?} and {maker}");
    assert!(maker == OTHERS || maker == VICTIMS && noted.contains(&VICTIMS), "{maker}");
    assert_eq!(once.peer_count(), 1);
}

fn maker() {
    at_every_site_often("once lock, who makes the value", OFTEN, |orders| {
        let once = new();
        let victim = spawn(make, (orders.clone(), once.clone())).unwrap();
        let waits = once.clone();
        // The victim makes it, unless it is dead: nobody else does.
        let waiter = std::thread::spawn(move || waits.wait_timeout(crate::traffic::NEVER));
        let done = came_through(victim);
        once.reap_dead();
        let value = once.get_or_init(|| [OTHERS; 8]).unwrap();
        let waited = waiter.join().unwrap().unwrap();
        check(&once, &[value, waited], orders, done);
        done
    });
}

fn one_of_two() {
    at_every_site_often("once lock, one of two who need the value", OFTEN, |orders| {
        let once = new();
        let victim = spawn(make, (orders.clone(), once.clone())).unwrap();
        let makes = once.clone();
        let rival = std::thread::spawn(move || makes.get_or_init(|| [OTHERS; 8]).unwrap());
        let value = rival.join().unwrap();
        let done = came_through(victim);
        check(&once, &[value], orders, done);
        done
    });
}

/// Somebody else makes the value, and two wait for it; or fails to, and one of the two makes it.
fn waiter(fails: bool) {
    let what = if fails { "fails to make" } else { "makes" };
    at_every_site_often(&format!("once lock, who waits while another {what} it"), OFTEN, |orders| {
        let once = new();
        let (begin, has_begun) = std::sync::mpsc::channel();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let makes = once.clone();
        let making = std::thread::spawn(move || {
            let outcome = makes.get_or_try_init(|| {
                begin.send(()).unwrap();
                wait.recv().unwrap();
                if fails { Err(()) } else { Ok([OTHERS; 8]) }
            });
            outcome.unwrap().ok()
        });
        has_begun.recv().unwrap();
        let victim = spawn(make, (orders.clone(), once.clone())).unwrap();
        wait_for_sleep(&victim, orders);
        let needs = once.clone();
        let other = asleep(move || needs.get_or_init(|| [OTHERS; 8]).unwrap());
        go.send(()).unwrap();
        let made = making.join().unwrap();
        assert_eq!(made.is_none(), fails);
        let value = other.join().unwrap();
        let done = came_through(victim);
        check(&once, &[made.unwrap_or(value), value], orders, done);
        done
    });
}

fn wait_in_vain((orders, once): (Orders, OnceLock<Value>)) {
    orders.arm();
    assert_eq!(once.wait_timeout(SHORT), Err(WaitTimeoutError::Timeout));
    drop(once);
    crash::disarm();
}

fn fail((orders, once): (Orders, OnceLock<Value>)) {
    orders.arm();
    assert_eq!(once.get_or_try_init(|| Err::<Value, ()>(())), Ok(Err(())));
    drop(once);
    crash::disarm();
}

/// One waits for the value, and the victim makes none: the next one can.
fn no_maker(what: &str, victim: fn((Orders, OnceLock<Value>))) {
    at_every_site_often(&format!("once lock, who {what}"), OFTEN, |orders| {
        let once = new();
        let waits = once.clone();
        let other = asleep(move || waits.wait().unwrap());
        let done = came_through(spawn(victim, (orders.clone(), once.clone())).unwrap());
        once.reap_dead();
        assert_eq!(once.get(), None);
        let value = once.set([OTHERS; 8]).unwrap();
        check(&once, &[value, other.join().unwrap()], orders, false);
        done
    });
}

pub(super) fn all() {
    maker();
    one_of_two();
    waiter(false);
    waiter(true);
    no_maker("waits in vain", wait_in_vain);
    no_maker("fails to make it", fail);
}
