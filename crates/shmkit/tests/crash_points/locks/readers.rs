//! Readers, and writers that wait for them to leave.

use super::{Handle, Lock, Value, asleep, changes};
use crate::harness::{Orders, at_every_site_often, came_through, last_death, wait_for_sleep};
use crate::stops::ARMED;
use crate::traffic::SHORT;
use shmkit::prelude::*;
use shmkit::segment::crash;
use shmkit::sync::{LockTimeoutError, ReadGuard};

const OFTEN: u64 = 4;

/// The guard of one who was not told of any death.
fn read(lock: &RwLock<Value>) -> ReadGuard<'_, Value> {
    match lock.read() {
        Ok(guard) => guard,
        Err(other) => panic!("{other:?}: no writer was killed"),
    }
}

fn read_twice((orders, lock): (Orders, RwLock<Value>)) {
    let mut ledger = orders.arm();
    ledger.note(ARMED);
    for _ in 0..2 {
        let _whole = changes(&read(&lock));
    }
    drop(lock);
    crash::disarm();
}

/// A dead reader keeps nobody out, and nobody is told of it: it had nothing to leave half done.
fn check(lock: &RwLock<Value>, written: u64) {
    lock.reap_dead();
    assert_eq!(lock.look(), (written, false));
    assert_eq!(lock.peer_count(), 1);
}

fn beside_a_writer() {
    at_every_site_often("reader beside a writer", OFTEN, |orders| {
        let lock = <RwLock<Value> as Lock>::new();
        let victim = spawn(read_twice, (orders.clone(), lock.clone())).unwrap();
        let writes = lock.clone();
        let writer = std::thread::spawn(move || assert!(!(0..20).any(|_| writes.change(false))));
        writer.join().unwrap();
        let done = came_through(victim);
        check(&lock, 20);
        done
    });
}

/// With it wait another reader and another writer, neither of which it may strand.
fn that_must_wait() {
    at_every_site_often("reader that must wait", OFTEN, |orders| {
        let lock = <RwLock<Value> as Lock>::new();
        let (victim, reader, writer) = lock.hold(|| {
            let victim = spawn(read_twice, (orders.clone(), lock.clone())).unwrap();
            wait_for_sleep(&victim, orders);
            let (reads, writes) = (lock.clone(), lock.clone());
            (victim, asleep(move || changes(&read(&reads))), asleep(move || writes.change(false)))
        });
        assert!(reader.join().unwrap() <= 1);
        assert!(!writer.join().unwrap());
        let done = came_through(victim);
        check(&lock, 1);
        done
    });
}

fn read_in_vain((orders, lock): (Orders, RwLock<Value>)) {
    let mut ledger = orders.arm();
    ledger.note(ARMED);
    assert!(matches!(lock.read_timeout(SHORT), Err(LockTimeoutError::Timeout)));
    drop(lock);
    crash::disarm();
}

fn whose_time_is_up() {
    at_every_site_often("reader whose time is up", OFTEN, |orders| {
        let lock = <RwLock<Value> as Lock>::new();
        let (done, reader) = lock.hold(|| {
            let victim = spawn(read_in_vain, (orders.clone(), lock.clone())).unwrap();
            let reads = lock.clone();
            let reader = asleep(move || changes(&read(&reads)));
            (came_through(victim), reader)
        });
        assert_eq!(reader.join().unwrap(), 0);
        check(&lock, 0);
        done
    });
}

fn write_once((orders, lock): (Orders, RwLock<Value>)) {
    let mut ledger = orders.arm();
    ledger.note(ARMED);
    assert!(!lock.change(false));
    ledger.note(1);
    drop(lock);
    crash::disarm();
}

/// The victim owns the word, and a reader is still in. If it is killed then, it has changed nothing, and nobody is told of anything.
fn writer_that_waits_for_a_reader() {
    at_every_site_often("writer that waits for a reader", OFTEN, |orders| {
        let lock = <RwLock<Value> as Lock>::new();
        let is_in = read(&lock);
        let victim = spawn(write_once, (orders.clone(), lock.clone())).unwrap();
        wait_for_sleep(&victim, orders);
        let reads = lock.clone();
        let reader = asleep(move || match reads.read() {
            Ok(guard) => (changes(&guard), false),
            Err(LockError::OwnerDied(guard)) => (changes(&guard), true),
            Err(other) => panic!("{other:?}"),
        });
        assert_eq!(changes(&is_in), 0);
        drop(is_in);
        let (read, reader_told) = reader.join().unwrap();
        let done = came_through(victim);
        lock.reap_dead();
        let (found, told) = lock.look();
        let held = !done && <RwLock<Value> as Lock>::is_held_at(&last_death());
        assert_eq!(told, held, "killed at {}", last_death());
        assert!(read <= found && (!reader_told || held));
        let noted = u64::from(orders.ledger().contains(&1));
        let most = if done || held { noted } else { 1 };
        assert!((noted..=most).contains(&found), "killed at {}", last_death());
        assert_eq!(lock.peer_count(), 1);
        done
    });
}

fn write_in_vain((orders, lock): (Orders, RwLock<Value>)) {
    let mut ledger = orders.arm();
    ledger.note(ARMED);
    assert_eq!(lock.change_within(SHORT), None);
    drop(lock);
    crash::disarm();
}

/// It lets the readers in again that it has kept out meanwhile, or its reaper does.
fn writer_that_waits_for_a_reader_in_vain() {
    at_every_site_often("writer that waits for a reader in vain", OFTEN, |orders| {
        let lock = <RwLock<Value> as Lock>::new();
        let is_in = read(&lock);
        let victim = spawn(write_in_vain, (orders.clone(), lock.clone())).unwrap();
        let reads = lock.clone();
        let reader = asleep(move || changes(&read(&reads)));
        assert_eq!(reader.join().unwrap(), 0);
        let done = came_through(victim);
        drop(is_in);
        check(&lock, 0);
        done
    });
}

pub(super) fn all() {
    beside_a_writer();
    that_must_wait();
    whose_time_is_up();
    writer_that_waits_for_a_reader();
    writer_that_waits_for_a_reader_in_vain();
}
