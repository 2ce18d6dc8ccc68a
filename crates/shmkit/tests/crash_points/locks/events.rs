//! Events.

use super::{Handle, asleep, small};
use crate::harness::{Orders, at_every_site_often, came_through, wait_for_sleep};
use crate::stops::ARMED;
use crate::traffic::SHORT;
use shmkit::prelude::*;
use shmkit::segment::{Configuration, crash};
use shmkit::sync::{EventObject, WaitTimeoutError};

const OFTEN: u64 = 4;
/// What a victim notes.
const SET: u64 = 1;
const CLEARED: u64 = 2;
const SET_AGAIN: u64 = 3;

pub(super) fn new() -> Event {
    Event::of(&small::<EventObject>(Configuration::default()))
}

fn set_and_clear((orders, event): (Orders, Event)) {
    let mut ledger = orders.arm();
    event.set();
    ledger.note(SET);
    assert!(event.is_set(), "nobody else clears it");
    event.clear();
    ledger.note(CLEARED);
    event.set();
    ledger.note(SET_AGAIN);
    drop(event);
    crash::disarm();
}

/// A thread waits. If the victim leaves the event set, the thread goes on, whether or not the victim could tell it.
fn setter() {
    at_every_site_often("event, who sets it", OFTEN, |orders| {
        let event = new();
        let waits = event.clone();
        let waiter = asleep(move || waits.wait());
        let done = came_through(spawn(set_and_clear, (orders.clone(), event.clone())).unwrap());
        let is_set = event.is_set();
        match orders.ledger().last() {
            Some(&SET_AGAIN) => assert!(is_set),
            // It may have done one thing more.
            None | Some(&(SET | CLEARED)) => assert!(!done),
            other => panic!("{other:?}"),
        }
        if !is_set {
            event.set();
        }
        waiter.join().unwrap().unwrap();
        event.reap_dead();
        assert!(event.is_set() && event.peer_count() == 1);
        done
    });
}

fn wait((orders, event): (Orders, Event)) {
    let mut ledger = orders.arm();
    ledger.note(ARMED);
    event.wait().unwrap();
    ledger.note(SET);
    drop(event);
    crash::disarm();
}

/// Two wait: both go on, but for the dead.
fn waiter() {
    at_every_site_often("event, who waits for it", OFTEN, |orders| {
        let event = new();
        let victim = spawn(wait, (orders.clone(), event.clone())).unwrap();
        wait_for_sleep(&victim, orders);
        let waits = event.clone();
        let other = asleep(move || waits.wait());
        event.set();
        other.join().unwrap().unwrap();
        let done = came_through(victim);
        assert!(!done || orders.ledger().contains(&SET));
        event.clear();
        event.reap_dead();
        assert!(!event.is_set() && event.peer_count() == 1);
        done
    });
}

fn wait_in_vain((orders, event): (Orders, Event)) {
    orders.arm();
    assert_eq!(event.wait_timeout(SHORT), Err(WaitTimeoutError::Timeout));
    drop(event);
    crash::disarm();
}

fn timeout() {
    at_every_site_often("event, whose time is up", OFTEN, |orders| {
        let event = new();
        let waits = event.clone();
        let other = asleep(move || waits.wait());
        let done = came_through(spawn(wait_in_vain, (orders.clone(), event.clone())).unwrap());
        assert!(!event.is_set());
        event.set();
        other.join().unwrap().unwrap();
        event.reap_dead();
        assert_eq!(event.peer_count(), 1);
        done
    });
}

pub(super) fn all() {
    setter();
    waiter();
    timeout();
}
