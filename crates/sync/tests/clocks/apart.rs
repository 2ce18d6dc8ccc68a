//! Processes whose monotonic clocks differ by an hour: one in a time namespace of its own, for which an administrator's rights are needed.

use crate::company::{LONG, MOMENT, buried, kill, start, stay};
use crate::harness::alone;
use serde::{Serialize, de::DeserializeOwned};
use shmkit_process::JoinHandle;
use shmkit_segment::primitive::{AtomicU64, Ordering};
use shmkit_sync::{
    AcquireTimeoutError, Event, LockError, LockTimeoutError, Mutex, Semaphore, Shared, WaitTimeoutError,
};
use std::time::Instant;

const HOUR: i64 = 3600;

/// What is shared across the difference: a lock, a permit, and two events.
type Things = (Mutex<u64>, Semaphore, Event, Event);

fn things() -> Things {
    (Mutex::new(0).unwrap(), Semaphore::new(1).unwrap(), Event::new().unwrap(), Event::new().unwrap())
}

/// Seconds on this process's monotonic clock.
fn seconds() -> i64 {
    // SAFETY: all zero is a time.
    let mut now: libc::timespec = unsafe { std::mem::zeroed() };
    // SAFETY: writes to the `now` of this function.
    let outcome = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    assert_eq!(outcome, 0);
    now.tv_sec
}

/// Starts a process whose clock is so many seconds ahead of this one's. `None` if that cannot be here.
fn start_apart<A, R>(f: fn(A) -> R, arguments: A, ahead: i64) -> Option<JoinHandle<R>>
where
    A: Serialize + DeserializeOwned + 'static,
    R: Serialize + DeserializeOwned + 'static,
{
    // SAFETY: no memory is involved.
    if unsafe { libc::unshare(libc::CLONE_NEWTIME) } != 0 {
        println!("skipped: time namespaces need root, and Linux 5.6");
        return None;
    }
    // A clock does not go below zero.
    if std::fs::write("/proc/self/timens_offsets", format!("monotonic {ahead} 0\nboottime {ahead} 0\n")).is_err() {
        println!("skipped: the machine was started less than an hour ago");
        return None;
    }
    Some(start(f, arguments))
}

/// While another one has all of it: whoever waits does so for its time by its own clock, and the wait ends.
fn assert_deadlines((mutex, semaphore, event, _): &Things) {
    for _ in 0..3 {
        let start = Instant::now();
        assert!(matches!(mutex.lock_timeout(MOMENT), Err(LockTimeoutError::Timeout)));
        assert!(matches!(mutex.lock_deadline(Instant::now() + MOMENT), Err(LockTimeoutError::Timeout)));
        assert_eq!(semaphore.acquire_timeout(MOMENT).err(), Some(AcquireTimeoutError::Timeout));
        assert_eq!(event.wait_timeout(MOMENT), Err(WaitTimeoutError::Timeout));
        assert!(start.elapsed() >= 4 * MOMENT);
    }
}

/// Takes turns with one on the other clock.
fn take_turns((mutex, semaphore, mine, others): (&Mutex<u64>, &Semaphore, &Event, &Event)) {
    for _ in 0..200 {
        mine.wait_timeout(LONG).unwrap();
        mine.clear();
        *mutex.lock_timeout(LONG).unwrap() += 1;
        drop(semaphore.acquire_timeout(LONG).unwrap());
        others.set();
    }
}

/// Takes all, changes the value, and stays so until it is killed.
fn hold((mutex, semaphore, here, _other): Things) {
    let mut guard = mutex.lock().unwrap();
    *guard = 99;
    let _permit = semaphore.acquire().unwrap();
    stay(&here);
}

/// Waits until it has noticed, by its own waits alone, that the holder is dead.
fn notice_death((mutex, semaphore, ..): &Things) {
    while semaphore.acquire_timeout(MOMENT).is_err() {}
    loop {
        match mutex.lock_timeout(MOMENT) {
            Err(LockTimeoutError::OwnerDied(guard)) => return assert_eq!(*guard, 0),
            Err(LockTimeoutError::Timeout) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// The one with the other clock. `held` is held by one on the clock of its parent until that is killed.
fn live_apart((ours, held, clock, tried): (Things, Things, Shared<AtomicU64>, Event)) {
    clock.store(seconds() as u64, Ordering::Relaxed);
    assert_deadlines(&ours);
    tried.set();
    take_turns((&ours.0, &ours.1, &ours.2, &ours.3));
    notice_death(&held);
    tried.clear();
    tried.set();
    hold((ours.0, ours.1, ours.2, ours.3));
}

fn live_an_hour_apart(ahead: i64) {
    let (ours, held) = (things(), things());
    let (clock, tried) = (Shared::<AtomicU64>::new().unwrap(), Event::new().unwrap());
    // As this process is not attached to it, nobody but the one on the other clock can notice the death.
    let victim = start(hold, held.clone());
    held.2.wait().unwrap();
    let guard = (ours.0.lock().unwrap(), ours.1.acquire().unwrap());
    let arguments = (ours.clone(), held.clone(), clock.clone(), tried.clone());
    let Some(child) = start_apart(live_apart, arguments, ahead) else { return kill(victim) };
    tried.wait().unwrap();
    tried.clear();
    let difference = clock.load(Ordering::Relaxed) as i64 - seconds();
    if difference.abs() < HOUR / 2 {
        println!("skipped: this kernel does not give executed programs the clock of their namespace");
        kill(child);
        return kill(victim);
    }
    assert!((difference - ahead).abs() < HOUR / 2, "{difference}");
    drop(guard);

    ours.2.set();
    take_turns((&ours.0, &ours.1, &ours.3, &ours.2));
    assert_eq!(*ours.0.lock().unwrap(), 400);
    // The child has set nothing more, and waits for nothing of this.
    ours.2.clear();

    kill(victim);
    tried.wait().unwrap();
    ours.2.wait().unwrap();
    ours.2.clear();
    assert_deadlines(&ours);
    kill(child);
    while ours.1.acquire_timeout(MOMENT).is_err() {}
    buried(ours.0.segment(), 1);
    match ours.0.lock() {
        Err(LockError::OwnerDied(guard)) => assert_eq!(*guard, 400),
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_whose_clock_is_an_hour_ahead_shares_locks_permits_and_events_and_deaths_are_noticed() {
    alone(|()| live_an_hour_apart(HOUR));
}

#[test]
fn one_whose_clock_is_an_hour_behind_shares_locks_permits_and_events_and_deaths_are_noticed() {
    alone(|()| live_an_hour_apart(-HOUR));
}
