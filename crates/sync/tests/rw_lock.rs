//! The lock for readers and writers, seen from outside: who is let in beside whom, among threads and processes, and what the death of a reader or a writer leaves.
#![cfg(not(loom))]

mod asleep;
mod company;

use asleep::{asleep_in, await_sleep_of};
use company::{LONG, MOMENT, await_stop_of, buried, even_if_died, kill, passed_on, refused, signal, start, stay};
use shmkit_process::JoinHandle;
use shmkit_sync::{Event, LockError, LockTimeoutError, RwLock, TryLockError};
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::thread;
use std::time::{Duration, Instant};

type Value = [u64; 5];

fn each_kind() -> [RwLock<Value>; 2] {
    [RwLock::new([0; 5]).unwrap(), RwLock::private([0; 5]).unwrap()]
}

/// Reads and writes in turn; the parts of the value are equal whenever somebody looks.
fn read_and_write((lock, rounds): (RwLock<Value>, u64)) {
    for _ in 0..rounds {
        for _ in 0..3 {
            let value = lock.read().unwrap();
            assert!(value.iter().all(|part| *part == value[0]), "{value:?}");
        }
        let mut value = lock.write().unwrap();
        assert!(value.iter().all(|part| *part == value[0]), "{value:?}");
        value.iter_mut().for_each(|part| *part += 1);
    }
}

#[test]
fn what_processes_read_and_write_is_whole_and_nothing_is_lost() {
    let lock = RwLock::new([0; 5]).unwrap();
    let children: Vec<_> = (0..4).map(|_| start(read_and_write, (lock.clone(), 1_000))).collect();
    children.into_iter().for_each(|child| child.join().unwrap());
    assert_eq!(*lock.read().unwrap(), [4_000; 5]);
}

#[test]
fn what_threads_read_and_write_is_whole_and_nothing_is_lost() {
    for lock in each_kind() {
        let threads: Vec<_> = (0..4)
            .map(|_| (lock.clone(), 1_000))
            .map(|arguments| thread::spawn(move || read_and_write(arguments)))
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(*lock.read().unwrap(), [4_000; 5]);
    }
}

#[test]
fn many_readers_are_in_at_a_time_and_no_writer_beside_them() {
    for lock in each_kind() {
        let clone = lock.clone();
        let readers = [lock.read().unwrap(), clone.read().unwrap(), lock.try_read().unwrap()];
        assert!(readers.iter().all(|value| **value == [0; 5] && !value.is_inconsistent()));
        for reader in readers {
            assert!(matches!(lock.try_write(), Err(TryLockError::Locked)));
            assert!(lock.try_read().is_ok());
            drop(reader);
        }
        assert!(lock.try_write().is_ok());
    }
}

#[test]
fn a_writer_is_in_alone_and_what_it_wrote_is_there_for_all() {
    for lock in each_kind() {
        for round in 1..=3 {
            let mut writer = lock.write().unwrap();
            assert!(matches!(lock.try_write(), Err(TryLockError::Locked)));
            assert!(matches!(lock.clone().try_read(), Err(TryLockError::Locked)));
            assert_eq!(format!("{writer:?}"), format!("{:?}", [round - 1; 5]));
            *writer = [round; 5];
            drop(writer);
            assert_eq!(*lock.read().unwrap(), [round; 5]);
        }
        // Who only looks changes nothing.
        assert_eq!(*lock.write().unwrap(), [3; 5]);
        assert_eq!(*lock.read().unwrap(), [3; 5]);
    }
}

#[test]
fn clones_and_handles_that_were_passed_on_are_the_same_lock() {
    let lock = RwLock::new([0; 5]).unwrap();
    let handles = [lock.clone(), passed_on(&lock), lock];
    for holder in &handles {
        holder.write().unwrap()[0] += 1;
        let _reader = holder.read().unwrap();
        assert!(handles.iter().all(|other| other.try_read().is_ok() && other.try_write().is_err()));
    }
    assert_eq!(handles[1].read().unwrap()[0], 3);
}

/// Whether all forms of waiting for a time end with that time.
fn assert_timeouts(lock: &RwLock<Value>, is_for_readers_too: bool) {
    for limit in [Duration::ZERO, MOMENT] {
        let start = Instant::now();
        assert!(matches!(lock.write_timeout(limit), Err(LockTimeoutError::Timeout)));
        assert!(matches!(lock.write_deadline(Instant::now() + limit), Err(LockTimeoutError::Timeout)));
        assert!(start.elapsed() >= 2 * limit);
        if is_for_readers_too {
            assert!(matches!(lock.read_timeout(limit), Err(LockTimeoutError::Timeout)));
            assert!(matches!(lock.read_deadline(Instant::now() + limit), Err(LockTimeoutError::Timeout)));
            assert!(start.elapsed() >= 4 * limit);
        }
    }
}

#[test]
fn waiting_ends_in_time_and_not_before() {
    for lock in each_kind() {
        let reader = lock.read().unwrap();
        assert_timeouts(&lock, false);
        drop(reader);
        let writer = lock.write().unwrap();
        assert_timeouts(&lock, true);
        drop(writer);
    }
}

#[test]
fn a_lock_that_is_free_is_had_even_if_the_time_is_up() {
    for lock in each_kind() {
        let past = Instant::now();
        assert!(lock.read_deadline(past).is_ok() && lock.write_deadline(past).is_ok());
        for limit in [Duration::ZERO, MOMENT, LONG, Duration::MAX] {
            assert!(lock.read_timeout(limit).is_ok() && lock.write_timeout(limit).is_ok());
        }
        // For one more reader, one that others read is free.
        let _reader = lock.read().unwrap();
        assert!(lock.read_deadline(past).is_ok() && lock.read_timeout(Duration::ZERO).is_ok());
    }
}

#[test]
fn readers_and_writers_that_sleep_get_the_lock_when_the_writer_leaves() {
    for lock in each_kind() {
        for _ in 0..25 {
            let before = lock.read().unwrap()[1];
            let writer = lock.write().unwrap();
            let sleepers = [false, true, false, true].map(|writes| {
                let lock = lock.clone();
                asleep_in(move || match writes {
                    true => lock.write().unwrap()[1] += 1,
                    false => assert!(lock.read().unwrap()[1] >= before),
                })
            });
            drop(writer);
            sleepers.into_iter().for_each(|thread| thread.join().unwrap());
            assert_eq!(lock.read().unwrap()[1], before + 2);
        }
    }
}

/// Starts a thread that waits for the readers to leave.
fn waiting_writer(lock: &RwLock<Value>) -> thread::JoinHandle<()> {
    let writer = asleep_in({
        let lock = lock.clone();
        move || even_if_died(lock.write())[2] += 1
    });
    // It sleeps for the readers only after it has shut out others.
    while lock.try_read().is_ok() {
        thread::yield_now();
    }
    writer
}

#[test]
fn a_writer_that_sleeps_gets_the_lock_when_the_last_reader_leaves_and_no_reader_in_between() {
    for lock in each_kind() {
        for _ in 0..25 {
            let readers = [lock.read().unwrap(), lock.read().unwrap()];
            let writer = waiting_writer(&lock);
            let late = asleep_in({
                let lock = lock.clone();
                move || lock.read().unwrap()[2]
            });
            let [first, second] = readers;
            drop(first);
            assert!(matches!(lock.try_read(), Err(TryLockError::Locked)));
            let before = second[2];
            drop(second);
            writer.join().unwrap();
            assert_eq!(late.join().unwrap(), before + 1);
        }
    }
}

#[test]
fn a_writer_whose_time_is_up_lets_readers_in_again() {
    for lock in each_kind() {
        let reader = lock.read().unwrap();
        let sleeper = {
            let lock = lock.clone();
            thread::spawn(move || (0..20).for_each(|_| drop(lock.read().unwrap())))
        };
        for _ in 0..5 {
            assert!(matches!(lock.write_timeout(MOMENT), Err(LockTimeoutError::Timeout)));
            assert!(lock.try_read().is_ok());
        }
        sleeper.join().unwrap();
        drop(reader);
        assert!(lock.try_write().is_ok());
    }
}

fn arrive_and_write((lock, here): (RwLock<Value>, Event)) {
    here.set();
    even_if_died(lock.write())[3] += 1;
}

fn arrive_and_read((lock, here): (RwLock<Value>, Event)) {
    here.set();
    drop(even_if_died(lock.read()));
}

fn write_and_stay((lock, here): (RwLock<Value>, Event)) {
    let mut guard = lock.write().unwrap();
    *guard = [99; 5];
    stay(&here);
}

fn read_and_stay((lock, here): (RwLock<Value>, Event)) {
    let _guard = lock.read().unwrap();
    stay(&here);
}

/// What a process does with the lock; it sets the event when it has come so far.
type Work = fn((RwLock<Value>, Event));

/// Starts a process, and returns when it has come as far as to say so.
fn begin(work: Work, lock: &RwLock<Value>) -> JoinHandle<()> {
    let here = Event::new().unwrap();
    let child = start(work, (lock.clone(), here.clone()));
    here.wait().unwrap();
    child
}

/// The same, when it sleeps.
fn begin_to_wait(work: Work, lock: &RwLock<Value>) -> JoinHandle<()> {
    let child = begin(work, lock);
    await_sleep_of(child.pid());
    child
}

#[test]
fn processes_that_sleep_get_the_lock() {
    let lock = RwLock::new([0; 5]).unwrap();
    let writer = lock.write().unwrap();
    let works: [Work; 4] = [arrive_and_write, arrive_and_read, arrive_and_write, arrive_and_read];
    let children = works.map(|work| begin_to_wait(work, &lock));
    drop(writer);
    children.into_iter().for_each(|child| child.join().unwrap());
    assert_eq!(lock.read().unwrap()[3], 2);
}

#[test]
#[cfg_attr(feature = "portable", ignore = "it kills, and this backend is not kill-safe")]
fn after_the_death_of_a_writer_all_get_the_old_value_whole_until_a_writer_has_made_it_consistent() {
    let lock = RwLock::new([7; 5]).unwrap();
    kill(begin(write_and_stay, &lock));
    buried(lock.segment(), 1);
    for _ in 0..2 {
        match lock.try_read() {
            Err(TryLockError::OwnerDied(guard)) => assert!(guard.is_inconsistent() && *guard == [7; 5]),
            other => panic!("{other:?}"),
        }
        match lock.read() {
            // One who reads may let others read.
            Err(LockError::OwnerDied(_guard)) => assert!(matches!(lock.try_read(), Err(TryLockError::OwnerDied(_)))),
            other => panic!("{other:?}"),
        }
        assert!(matches!(lock.read_timeout(LONG), Err(LockTimeoutError::OwnerDied(_))));
        assert!(matches!(lock.read_deadline(Instant::now()), Err(LockTimeoutError::OwnerDied(_))));
        match lock.try_write() {
            Err(TryLockError::OwnerDied(mut guard)) => guard[1] = 8,
            other => panic!("{other:?}"),
        }
        assert!(matches!(lock.write_timeout(Duration::ZERO), Err(LockTimeoutError::OwnerDied(_))));
        assert!(matches!(lock.write_deadline(Instant::now()), Err(LockTimeoutError::OwnerDied(_))));
        match lock.write() {
            // What was changed by one that did not call it consistent stays, too.
            Err(LockError::OwnerDied(mut guard)) => guard[1] -= 1,
            other => panic!("{other:?}"),
        }
    }
    let mut guard = even_if_died(lock.write());
    assert!(guard.is_inconsistent());
    guard.make_consistent();
    drop(guard);
    assert!(!lock.read().unwrap().is_inconsistent() && !lock.write().unwrap().is_inconsistent());
    assert_eq!(*lock.read().unwrap(), [7; 5]);
}

#[test]
#[cfg_attr(feature = "portable", ignore = "it kills, and this backend is not kill-safe")]
fn all_that_sleep_get_the_lock_of_a_killed_writer() {
    let lock = RwLock::new([0; 5]).unwrap();
    let child = begin(write_and_stay, &lock);
    let sleepers = [false, true, false, true].map(|writes| {
        let lock = lock.clone();
        asleep_in(move || match writes {
            true => match lock.write() {
                Err(LockError::OwnerDied(mut guard)) => {
                    guard[0] += 1;
                    true
                }
                _ => false,
            },
            false => matches!(lock.read(), Err(LockError::OwnerDied(_))),
        })
    });
    kill(child);
    buried(lock.segment(), 1);
    assert!(sleepers.map(|thread| thread.join().unwrap()).iter().all(|&told| told));
    assert_eq!(*even_if_died(lock.read()), [2, 0, 0, 0, 0]);
}

#[test]
#[cfg_attr(feature = "portable", ignore = "it kills, and this backend is not kill-safe")]
fn those_that_wait_for_a_time_notice_the_death_of_a_writer_themselves() {
    for reads in [true, false] {
        let lock = RwLock::new([7; 5]).unwrap();
        kill(begin(write_and_stay, &lock));
        let found = || match reads {
            true => matches!(lock.read_timeout(MOMENT), Err(LockTimeoutError::OwnerDied(guard)) if *guard == [7; 5]),
            false => matches!(lock.write_timeout(MOMENT), Err(LockTimeoutError::OwnerDied(guard)) if *guard == [7; 5]),
        };
        while !found() {}
    }
}

#[test]
#[cfg_attr(feature = "portable", ignore = "it kills, and this backend is not kill-safe")]
fn a_killed_reader_keeps_no_writer_out_and_leaves_no_doubt() {
    let lock = RwLock::new([7; 5]).unwrap();
    let [first, second] = [(); 2].map(|()| begin(read_and_stay, &lock));
    assert!(matches!(lock.try_write(), Err(TryLockError::Locked)));
    let writer = waiting_writer(&lock);
    kill(first);
    buried(lock.segment(), 2);
    // The other one is still in.
    assert!(matches!(lock.try_write(), Err(TryLockError::Locked)));
    assert!(!writer.is_finished());
    kill(second);
    buried(lock.segment(), 1);
    writer.join().unwrap();
    let guard = lock.try_write().unwrap();
    assert!(!guard.is_inconsistent());
    assert_eq!(*guard, [7, 7, 8, 7, 7]);
}

#[test]
#[cfg_attr(feature = "portable", ignore = "it kills, and this backend is not kill-safe")]
fn a_writer_that_is_killed_while_it_waits_for_readers_has_changed_nothing_and_shuts_nobody_out() {
    let lock = RwLock::new([7; 5]).unwrap();
    let reader = lock.read().unwrap();
    let child = begin(arrive_and_write, &lock);
    while lock.try_read().is_ok() {
        thread::yield_now();
    }
    let sleeper = asleep_in({
        let lock = lock.clone();
        move || *lock.read().unwrap()
    });
    kill(child);
    buried(lock.segment(), 1);
    assert_eq!(sleeper.join().unwrap(), [7; 5]);
    drop(reader);
    assert!(!lock.try_write().unwrap().is_inconsistent());
}

#[test]
#[cfg_attr(feature = "portable", ignore = "it kills, and this backend is not kill-safe")]
fn killed_waiters_leave_nothing_and_take_nobodys_wake_up_along() {
    let lock = RwLock::new([0; 5]).unwrap();
    for work in [arrive_and_read as Work, arrive_and_write] {
        let writer = even_if_died(lock.write());
        let victim = begin_to_wait(work, &lock);
        let sleepers = [(); 2].map(|()| lock.clone()).map(|lock| asleep_in(move || even_if_died(lock.write())[4] += 1));
        victim.kill().unwrap();
        // It dies while it may be the one that is woken. It may even have the lock for an instant.
        drop(writer);
        assert!(victim.join().is_err());
        buried(lock.segment(), 1);
        sleepers.into_iter().for_each(|thread| thread.join().unwrap());
    }
    assert_eq!(even_if_died(lock.write())[4], 4);
}

#[test]
fn a_reader_that_is_stopped_keeps_writers_out_and_lets_readers_in() {
    let lock = RwLock::new([7; 5]).unwrap();
    let child = begin(read_and_stay, &lock);
    signal(child.pid(), libc::SIGSTOP);
    await_stop_of(child.pid());
    assert!(matches!(lock.write_timeout(MOMENT), Err(LockTimeoutError::Timeout)));
    assert_eq!(lock.segment().reap_dead(), 0);
    assert_eq!(*lock.read().unwrap(), [7; 5]);
    signal(child.pid(), libc::SIGCONT);
    kill(child);
}

#[test]
fn what_a_panicking_writer_has_changed_is_dropped_and_a_panicking_reader_is_gone() {
    for lock in each_kind() {
        let writes = AssertUnwindSafe(|| {
            *lock.write().unwrap() = [4; 5];
            let mut guard = lock.write().unwrap();
            *guard = [5; 5];
            panic_any(());
        });
        assert!(catch_unwind(writes).is_err());
        let reads = AssertUnwindSafe(|| {
            let _guard = lock.read().unwrap();
            panic_any(());
        });
        assert!(catch_unwind(reads).is_err());
        assert_eq!(*lock.try_write().unwrap(), [4; 5]);
    }
}

#[test]
fn private_locks_and_ordinary_serialisers_are_refused() {
    let [shared, private] = each_kind();
    refused(&private, &shared);
    assert!(private.try_write().is_ok() && shared.try_write().is_ok());
}
