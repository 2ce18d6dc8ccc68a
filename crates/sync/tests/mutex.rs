//! The mutex, seen from outside: among threads and processes, and when its holder, or one that waits for it, is killed.
//!
//! What it is not is shown as well: recursive, fair, or poisoned by a panic.
#![cfg(not(loom))]

mod asleep;
mod company;

use asleep::{asleep_in, await_sleep_of};
use company::{LONG, MOMENT, await_stop_of, buried, even_if_died, kill, passed_on, refused, signal, start, stay};
use shmkit_process::JoinError;
use shmkit_sync::{Event, LockError, LockTimeoutError, Mutex, MutexGuard, TryLockError};
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::thread;
use std::time::{Duration, Instant};

type Value = [u64; 5];

/// Adds one to each part of the value, so many times; the parts are equal whenever somebody looks.
fn count((mutex, rounds): (Mutex<Value>, u64)) {
    for _ in 0..rounds {
        let mut value = mutex.lock().unwrap();
        assert!(value.iter().all(|part| *part == value[0]), "{value:?}");
        value.iter_mut().for_each(|part| *part += 1);
    }
}

fn each_kind() -> [Mutex<Value>; 2] {
    [Mutex::new([0; 5]).unwrap(), Mutex::private([0; 5]).unwrap()]
}

/// What comes of the two forms of locking with a limit.
fn with_limits(mutex: &Mutex<Value>, limit: Duration) -> [Result<Value, LockTimeoutError<()>>; 2] {
    let value = |outcome: Result<MutexGuard<'_, Value>, LockTimeoutError<MutexGuard<'_, Value>>>| match outcome {
        Ok(guard) => Ok(*guard),
        Err(LockTimeoutError::OwnerDied(_)) => Err(LockTimeoutError::OwnerDied(())),
        Err(LockTimeoutError::Timeout) => Err(LockTimeoutError::Timeout),
        Err(LockTimeoutError::Forked) => Err(LockTimeoutError::Forked),
    };
    let by_timeout = value(mutex.lock_timeout(limit));
    [by_timeout, value(mutex.lock_deadline(Instant::now() + limit))]
}

#[test]
fn what_processes_change_under_the_lock_is_whole_and_none_of_it_is_lost() {
    let mutex = Mutex::new([0; 5]).unwrap();
    let children: Vec<_> = (0..4).map(|_| start(count, (mutex.clone(), 3_000))).collect();
    children.into_iter().for_each(|child| child.join().unwrap());
    assert_eq!(*mutex.lock().unwrap(), [12_000; 5]);
}

#[test]
fn what_threads_change_under_the_lock_is_whole_and_none_of_it_is_lost() {
    for mutex in each_kind() {
        let threads: Vec<_> =
            (0..4).map(|_| (mutex.clone(), 3_000)).map(|arguments| thread::spawn(move || count(arguments))).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(*mutex.lock().unwrap(), [12_000; 5]);
    }
}

#[test]
fn values_of_all_sizes_come_back_as_they_were_left() {
    fn leave_and_find<const N: usize>() {
        let mutex = Mutex::new([3_u8; N]).unwrap();
        assert_eq!(*mutex.lock().unwrap(), [3; N]);
        for byte in [7, 8, 9] {
            *mutex.lock().unwrap() = [byte; N];
            assert_eq!(*passed_on(&mutex).lock().unwrap(), [byte; N]);
        }
    }
    leave_and_find::<0>();
    leave_and_find::<1>();
    leave_and_find::<7>();
    leave_and_find::<8>();
    leave_and_find::<13>();
    leave_and_find::<4099>();
}

#[test]
fn who_only_looks_leaves_the_value_as_it_is() {
    let mutex = Mutex::new([1; 5]).unwrap();
    for _ in 0..3 {
        assert_eq!(*mutex.lock().unwrap(), [1; 5]);
        assert_eq!(format!("{:?}", mutex.lock().unwrap()), "[1, 1, 1, 1, 1]");
    }
}

#[test]
fn a_lock_that_is_held_is_not_had_without_waiting_not_even_by_its_holder() {
    for mutex in each_kind() {
        for _ in 0..3 {
            let guard = mutex.try_lock().unwrap();
            // A recursive one would let this thread in.
            assert!(matches!(mutex.try_lock(), Err(TryLockError::Locked)));
            assert!(matches!(mutex.clone().try_lock(), Err(TryLockError::Locked)));
            drop(guard);
        }
        assert!(mutex.try_lock().is_ok());
    }
}

#[test]
fn clones_and_handles_that_were_passed_on_are_the_same_lock() {
    let mutex = Mutex::new([0; 5]).unwrap();
    let (clone, elsewhere) = (mutex.clone(), passed_on(&mutex));
    for holder in [&mutex, &clone, &elsewhere] {
        let mut guard = holder.lock().unwrap();
        guard[0] += 1;
        for other in [&mutex, &clone, &elsewhere] {
            assert!(matches!(other.try_lock(), Err(TryLockError::Locked)));
        }
    }
    assert_eq!(elsewhere.lock().unwrap()[0], 3);
}

#[test]
fn waiting_for_the_lock_ends_in_time_and_not_before() {
    for mutex in each_kind() {
        let guard = mutex.lock().unwrap();
        for limit in [Duration::ZERO, MOMENT] {
            let start = Instant::now();
            let outcomes = with_limits(&mutex, limit);
            assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(LockTimeoutError::Timeout))));
            assert!(start.elapsed() >= 2 * limit);
        }
        drop(guard);
    }
}

#[test]
fn a_lock_that_is_free_is_had_even_if_the_time_is_up() {
    for mutex in each_kind() {
        let past = Instant::now();
        assert!(mutex.lock_deadline(past).is_ok());
        for limit in [Duration::ZERO, MOMENT, LONG] {
            assert!(with_limits(&mutex, limit).iter().all(Result::is_ok));
        }
        assert!(mutex.lock_timeout(Duration::MAX).is_ok());
    }
}

#[test]
fn those_that_sleep_get_the_lock_one_after_the_other_whatever_their_limits() {
    for mutex in each_kind() {
        for _ in 0..25 {
            let guard = mutex.lock().unwrap();
            let sleepers = [None, Some(LONG), None, Some(Duration::MAX)].map(|limit| {
                let mutex = mutex.clone();
                asleep_in(move || match limit {
                    None => mutex.lock().unwrap()[1] += 1,
                    Some(limit) => mutex.lock_timeout(limit).unwrap()[1] += 1,
                })
            });
            drop(guard);
            sleepers.into_iter().for_each(|thread| thread.join().unwrap());
        }
        assert_eq!(mutex.lock().unwrap()[1], 100);
    }
}

/// Says that it is here, and locks.
fn arrive_and_lock((mutex, here): (Mutex<Value>, Event)) {
    here.set();
    mutex.lock().unwrap()[2] += 1;
}

/// Starts a process that waits for the lock.
fn waiter(mutex: &Mutex<Value>) -> shmkit_process::JoinHandle<()> {
    let here = Event::new().unwrap();
    let child = start(arrive_and_lock, (mutex.clone(), here.clone()));
    here.wait().unwrap();
    await_sleep_of(child.pid());
    child
}

#[test]
fn processes_that_sleep_get_the_lock_one_after_the_other() {
    let mutex = Mutex::new([0; 5]).unwrap();
    let guard = mutex.lock().unwrap();
    let children = [(); 4].map(|()| waiter(&mutex));
    drop(guard);
    children.into_iter().for_each(|child| child.join().unwrap());
    assert_eq!(mutex.lock().unwrap()[2], 4);
}

/// Locks, changes the value, and stays so until it is killed.
fn hold((mutex, here): (Mutex<Value>, Event)) {
    let mut guard = mutex.lock().unwrap();
    *guard = [99; 5];
    stay(&here);
}

/// Starts a process that has the lock, and has changed its copy of the value.
fn holder(mutex: &Mutex<Value>) -> shmkit_process::JoinHandle<()> {
    let here = Event::new().unwrap();
    let child = start(hold, (mutex.clone(), here.clone()));
    here.wait().unwrap();
    child
}

#[test]
#[cfg_attr(feature = "portable", ignore = "it kills, and this backend is not kill-safe")]
fn the_lock_of_a_killed_holder_comes_back_with_the_old_value_whole_until_it_is_made_consistent() {
    let mutex = Mutex::new([7; 5]).unwrap();
    let child = holder(&mutex);
    assert!(matches!(mutex.try_lock(), Err(TryLockError::Locked)));
    kill(child);
    buried(mutex.segment(), 1);
    // Told each time, by each form, until somebody says that all is well.
    match mutex.try_lock() {
        Err(TryLockError::OwnerDied(guard)) => assert!(guard.is_inconsistent() && *guard == [7; 5]),
        other => panic!("{other:?}"),
    }
    match mutex.lock() {
        Err(LockError::OwnerDied(mut guard)) => guard[0] = 8,
        other => panic!("{other:?}"),
    }
    for outcome in with_limits(&mutex, LONG) {
        assert!(matches!(outcome, Err(LockTimeoutError::OwnerDied(()))));
    }
    match mutex.lock() {
        Err(LockError::OwnerDied(mut guard)) => {
            // What was changed by one that did not call it consistent stays, too.
            assert_eq!(*guard, [8, 7, 7, 7, 7]);
            guard.make_consistent();
            assert!(!guard.is_inconsistent());
        }
        other => panic!("{other:?}"),
    }
    let mut guard = mutex.lock().unwrap();
    assert!(!guard.is_inconsistent());
    guard.make_consistent();
    assert_eq!(*guard, [8, 7, 7, 7, 7]);
}

#[test]
#[cfg_attr(feature = "portable", ignore = "it kills, and this backend is not kill-safe")]
fn one_that_waits_for_a_time_learns_that_the_holder_was_killed() {
    let mutex = Mutex::new([7; 5]).unwrap();
    kill(holder(&mutex));
    // Each of these looks after the others when it has slept in vain.
    let found = loop {
        match mutex.lock_timeout(MOMENT) {
            Err(LockTimeoutError::Timeout) => {}
            Err(LockTimeoutError::OwnerDied(guard)) => break *guard,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(found, [7; 5]);
}

#[test]
#[cfg_attr(feature = "portable", ignore = "it kills, and this backend is not kill-safe")]
fn all_that_sleep_get_the_lock_of_a_killed_holder_and_are_told_until_one_has_made_it_consistent() {
    let mutex = Mutex::new([0; 5]).unwrap();
    let child = holder(&mutex);
    let sleepers = [(); 4].map(|()| mutex.clone()).map(|mutex| {
        asleep_in(move || match mutex.lock() {
            Ok(mut guard) => {
                guard[4] += 1;
                (guard[4], false)
            }
            Err(LockError::OwnerDied(mut guard)) => {
                guard[4] += 1;
                if guard[4] == 3 {
                    guard.make_consistent();
                }
                (guard[4], true)
            }
            Err(LockError::Forked) => panic!("this is no fork"),
        })
    });
    kill(child);
    buried(mutex.segment(), 1);
    let mut told = sleepers.map(|thread| thread.join().unwrap());
    told.sort_unstable();
    assert_eq!(told, [(1, true), (2, true), (3, true), (4, false)]);
}

#[test]
#[cfg_attr(feature = "portable", ignore = "it kills, and this backend is not kill-safe")]
fn a_killed_waiter_leaves_nothing_and_takes_nobodys_wake_up_along() {
    let mutex = Mutex::new([0; 5]).unwrap();
    for is_first in [true, false] {
        let guard = even_if_died(mutex.lock());
        let first = is_first.then(|| waiter(&mutex));
        let add = |mutex: Mutex<Value>| move || even_if_died(mutex.lock())[3] += 1;
        let sleepers = [(); 2].map(|()| asleep_in(add(mutex.clone())));
        let victim = first.unwrap_or_else(|| waiter(&mutex));
        victim.kill().unwrap();
        // It dies while it may be the one that is woken. It may even have the lock for an instant.
        drop(guard);
        assert!(victim.join().is_err());
        buried(mutex.segment(), 1);
        sleepers.into_iter().for_each(|thread| thread.join().unwrap());
    }
    assert_eq!(even_if_died(mutex.lock())[3], 4);
}

#[test]
fn a_process_that_ends_with_the_lock_is_as_good_as_killed() {
    let mutex = Mutex::new([7; 5]).unwrap();
    let forget = |mutex: Mutex<Value>| {
        let mut guard = mutex.lock().unwrap();
        guard[0] = 8;
        std::mem::forget(guard);
    };
    start(forget, mutex.clone()).join().unwrap();
    buried(mutex.segment(), 1);
    match mutex.lock() {
        Err(LockError::OwnerDied(guard)) => assert_eq!(*guard, [7; 5]),
        other => panic!("{other:?}"),
    };
}

#[test]
fn a_holder_that_is_stopped_keeps_the_lock() {
    let mutex = Mutex::new([7; 5]).unwrap();
    let child = holder(&mutex);
    signal(child.pid(), libc::SIGSTOP);
    await_stop_of(child.pid());
    for _ in 0..3 {
        assert!(matches!(mutex.lock_timeout(MOMENT), Err(LockTimeoutError::Timeout)));
        assert_eq!(mutex.segment().reap_dead(), 0);
    }
    signal(child.pid(), libc::SIGCONT);
    assert!(matches!(mutex.try_lock(), Err(TryLockError::Locked)));
    kill(child);
}

#[test]
fn what_a_panicking_holder_has_changed_is_dropped_and_the_lock_is_as_before() {
    for mutex in each_kind() {
        *mutex.lock().unwrap() = [3; 5];
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let mut guard = mutex.lock().unwrap();
            *guard = [4; 5];
            panic_any(());
        }));
        assert!(outcome.is_err());
        // Not as after a death: it has not been stopped halfway in what it did elsewhere without knowing it.
        assert_eq!(*mutex.try_lock().unwrap(), [3; 5]);
    }
}

#[test]
fn what_a_process_that_panics_has_changed_is_dropped() {
    let mutex = Mutex::new([3; 5]).unwrap();
    let change_and_panic = |mutex: Mutex<Value>| {
        let mut guard = mutex.lock().unwrap();
        *guard = [4; 5];
        panic!("with the lock");
    };
    let outcome: Result<(), _> = start(change_and_panic, mutex.clone()).join();
    assert!(matches!(outcome, Err(JoinError::Panicked { .. })));
    assert_eq!(*mutex.lock().unwrap(), [3; 5]);
}

#[test]
fn what_is_changed_while_unwinding_by_one_that_locked_while_unwinding_is_kept() {
    struct Note<'a>(&'a Mutex<Value>);
    impl Drop for Note<'_> {
        fn drop(&mut self) {
            self.0.lock().unwrap()[0] += 1;
        }
    }
    let mutex = Mutex::private([0; 5]).unwrap();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let _note = Note(&mutex);
        panic_any(());
    }));
    assert!(outcome.is_err());
    assert_eq!(*mutex.lock().unwrap(), [1, 0, 0, 0, 0]);
}

#[test]
fn private_mutexes_and_ordinary_serialisers_are_refused() {
    let [shared, private] = each_kind();
    refused(&private, &shared);
    assert!(private.try_lock().is_ok() && shared.try_lock().is_ok());
}

#[test]
fn errors_say_what_to_do() {
    let mutex = Mutex::new([0; 5]).unwrap();
    let _guard = mutex.lock().unwrap();
    assert_eq!(mutex.try_lock().unwrap_err().to_string(), "somebody holds the lock");
    let late = mutex.lock_timeout(Duration::ZERO).unwrap_err();
    assert_eq!(
        (format!("{late:?}"), late.to_string()),
        ("Timeout".into(), "the lock did not come free in time".into())
    );
}
