//! Locks, permits and condition variables: whoever has what the others want is killed, and they get it, as the last one to complete a change has left
//! it.

use crate::contention::{Notes, Own, storm};
use shmkit::prelude::*;
use std::hint::black_box;

/// One number, written eight times: a value that is half of one change and half of another shows.
type Value = [u64; 8];

fn whole(value: &Value) -> u64 {
    assert!(value.iter().all(|word| *word == value[0]), "half of a change: {value:?}");
    value[0]
}

/// The guard, with a note if a holder has died.
macro_rules! locked {
    ($notes:expr, $outcome:expr) => {
        match $outcome {
            Ok(guard) => guard,
            Err(LockError::OwnerDied(mut guard)) => {
                $notes.told();
                guard.make_consistent();
                guard
            }
            Err(other) => panic!("{other:?}"),
        }
    };
}

/// Works for some microseconds.
fn work() {
    (0..500).for_each(|round| _ = black_box(round));
}

/// Changes what the guard guards, one word after the other, and gives it back.
fn change<G: std::ops::DerefMut<Target = Value>>(mut guard: G, notes: &Notes, own: &Own<'_>) {
    own.has_it();
    let value = whole(&guard);
    assert!(value >= notes.highest(), "a change is lost that was completed");
    for word in guard.iter_mut() {
        *word += 1;
        work();
    }
    own.begins();
    drop(guard);
    own.has_completed(value + 1);
}

/// Every completed change is there, and nothing that nobody has made.
fn check(name: &str, value: &Value, notes: &Notes) {
    let (completed, begun) = notes.changes(|_| true);
    let found = whole(value);
    println!("{name}: {completed} changes completed, {} in doubt, {found} found", begun - completed);
    assert!((completed..=begun).contains(&found), "{found}");
}

fn lock((mutex, notes, me): (Mutex<Value>, Notes, u64)) {
    let own = notes.begin(me);
    while notes.goes_on() {
        change(locked!(notes, mutex.lock()), &notes, &own);
    }
}

#[test]
fn mutex_loses_no_change_and_strands_nobody() {
    let mutex = Mutex::new([0; 8]).expect("a mutex");
    let notes = storm("mutex", lock, &mutex, || {});
    let value = *locked!(notes, mutex.lock());
    check("mutex", &value, &notes);
}

/// Reads most of the time.
fn read_and_write((lock, notes, me): (RwLock<Value>, Notes, u64)) {
    let own = notes.begin(me);
    while notes.goes_on() {
        for _ in 0..3 {
            let least = notes.highest();
            let guard = match lock.read() {
                Ok(guard) | Err(LockError::OwnerDied(guard)) => guard,
                Err(other) => panic!("{other:?}"),
            };
            assert!(whole(&guard) >= least, "a change is lost that was completed");
        }
        change(locked!(notes, lock.write()), &notes, &own);
    }
}

#[test]
fn rw_lock_loses_no_change_and_strands_nobody() {
    let lock = RwLock::new([0; 8]).expect("a lock");
    let notes = storm("rw lock", read_and_write, &lock, || {});
    let value = *locked!(notes, lock.write());
    check("rw lock", &value, &notes);
}

const PERMITS: usize = 3;

/// One permit, two, or all.
fn hold((semaphore, notes, me): (Semaphore, Notes, u64)) {
    let own = notes.begin(me);
    for count in (1..=PERMITS).cycle() {
        if !notes.goes_on() {
            return;
        }
        let (one, several) = match count {
            1 => (Some(semaphore.acquire().expect("there is one")), None),
            _ => (None, Some(semaphore.acquire_many(count).expect("there are so many"))),
        };
        own.has_it();
        work();
        drop((one, several));
    }
}

#[test]
fn semaphore_loses_no_permit_to_those_who_want_several() {
    let semaphore = Semaphore::new(PERMITS).expect("a semaphore");
    storm("semaphore, several permits", hold, &semaphore, || {});
    semaphore.segment().reap_dead();
    println!("semaphore, several permits: {} of {PERMITS} free", semaphore.available());
    let all = semaphore.try_acquire_many(PERMITS).expect("all are free");
    assert!(semaphore.try_acquire().is_err());
    drop(all);
}

/// What was put in and what was taken out.
type Items = [u64; 8];
const PUT: usize = 0;
const TAKEN: usize = 1;
const END: usize = 2;
const ROOM: u64 = 2;

type Store = (Mutex<Items>, Condvar, Condvar);

/// Those on even seats put items in, the others take them out; each waits for the others.
fn trade(((items, is_there, has_room), notes, me): (Store, Notes, u64)) {
    let own = notes.begin(me);
    let puts = own.seat().is_multiple_of(2);
    let (waits_at, tells) = if puts { (&has_room, &is_there) } else { (&is_there, &has_room) };
    loop {
        let mut guard = locked!(notes, items.lock());
        loop {
            let count = guard[PUT] - guard[TAKEN];
            assert!(count <= ROOM, "{count} items");
            if guard[END] == 1 {
                return;
            }
            if if puts { count < ROOM } else { count > 0 } {
                break;
            }
            guard = locked!(notes, waits_at.wait(guard));
        }
        own.has_it();
        guard[if puts { PUT } else { TAKEN }] += 1;
        // Long enough that some are killed with the lock.
        (0..50).for_each(|_| work());
        own.begins();
        drop(guard);
        tells.notify_one();
        own.has_completed(0);
    }
}

#[test]
fn condvar_strands_neither_who_waits_for_items_nor_who_waits_for_room() {
    let [is_there, has_room] = [(); 2].map(|()| Condvar::new().expect("a condvar"));
    let items = Mutex::new(Items::default()).expect("a mutex");
    let store: Store = (items.clone(), is_there.clone(), has_room.clone());
    let end = || {
        match items.lock() {
            Ok(mut guard) | Err(LockError::OwnerDied(mut guard)) => guard[END] = 1,
            Err(other) => panic!("{other:?}"),
        }
        is_there.notify_all();
        has_room.notify_all();
    };
    let notes = storm("condvar", trade, &store, end);
    let guard = locked!(notes, items.lock());
    for (what, index, parity) in [("put in", PUT, 0), ("taken out", TAKEN, 1)] {
        let (completed, begun) = notes.changes(|seat| seat % 2 == parity);
        println!("condvar: {completed} items {what}, {} in doubt, {} found", begun - completed, guard[index]);
        assert!((completed..=begun).contains(&guard[index]));
    }
}
