//! The condition variable, seen from outside: whom a notification is for, when waiting ends, and what a death does to those who wait.
//!
//! A waiter gives the lock back only after it has claimed its slot. So whoever has the lock and sees, by what it guards, that somebody is on the way to wait knows that a notification from now on finds it. No
//! test has to guess when somebody sleeps.
#![cfg(not(loom))]

mod asleep;
mod company;

use asleep::{asleep_in, await_sleep_of};
use company::{LONG, MOMENT, await_stop_of, buried, even_if_died, kill, passed_on, refused, signal, start, stay};
use shmkit_process::JoinHandle;
use shmkit_sync::{Condvar, Event, LockError, Mutex, Wakeup};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// How many have come to wait, and how many of them have gone on; and something to wait for.
type Value = [u64; 3];
const COME: usize = 0;
const GONE: usize = 1;
const OPEN: usize = 2;

fn make() -> (Mutex<Value>, Condvar) {
    (Mutex::new([0; 3]).unwrap(), Condvar::new().unwrap())
}

fn make_private() -> (Mutex<Value>, Condvar) {
    (Mutex::private([0; 3]).unwrap(), Condvar::private().unwrap())
}

/// Comes, waits once, and goes on: in which place it went.
fn come_and_go((mutex, changed): (Mutex<Value>, Condvar)) -> u64 {
    let mut guard = mutex.lock().unwrap();
    guard[COME] += 1;
    let mut guard = changed.wait(guard).unwrap();
    guard[GONE] += 1;
    guard[GONE]
}

/// Waits until so many have come: from then on they can be notified.
fn await_coming(mutex: &Mutex<Value>, count: u64) {
    while even_if_died(mutex.lock())[COME] < count {
        thread::yield_now();
    }
}

#[test]
fn processes_take_turns() {
    const ROUNDS: u64 = 2_000;
    fn play((mutex, changed, parity): (Mutex<u64>, Condvar, u64)) {
        for round in 0..ROUNDS {
            let mut turn = changed.wait_while(mutex.lock().unwrap(), |turn| *turn != 2 * round + parity).unwrap();
            *turn += 1;
            drop(turn);
            changed.notify_one();
        }
    }
    let (mutex, changed) = (Mutex::new(0).unwrap(), Condvar::new().unwrap());
    let child = start(play, (mutex.clone(), changed.clone(), 1));
    play((mutex.clone(), changed, 0));
    child.join().unwrap();
    assert_eq!(*mutex.lock().unwrap(), 2 * ROUNDS);
}

#[test]
fn no_notification_is_lost_between_those_that_fill_and_empty_a_store() {
    const EACH: u64 = 3_000;
    const ROOM: u64 = 2;
    let (mutex, (filled, emptied)) = (Mutex::new(0).unwrap(), (Condvar::new().unwrap(), Condvar::new().unwrap()));
    fn fill((mutex, filled, emptied): (Mutex<u64>, Condvar, Condvar)) {
        for _ in 0..EACH {
            *emptied.wait_while(mutex.lock().unwrap(), |count| *count == ROOM).unwrap() += 1;
            filled.notify_one();
        }
    }
    fn empty((mutex, filled, emptied): (Mutex<u64>, Condvar, Condvar)) {
        for _ in 0..EACH {
            *filled.wait_while(mutex.lock().unwrap(), |count| *count == 0).unwrap() -= 1;
            emptied.notify_one();
        }
    }
    let all = || (mutex.clone(), filled.clone(), emptied.clone());
    let children = [start(fill, all()), start(empty, all())];
    let threads = [fill, empty].map(|work| (work, all())).map(|(work, all)| thread::spawn(move || work(all)));
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    children.into_iter().for_each(|child| child.join().unwrap());
    assert_eq!(*mutex.lock().unwrap(), 0);
}

#[test]
fn a_notification_is_for_the_one_that_has_waited_longest() {
    for (mutex, changed) in [make(), make_private()] {
        let (say, hear) = mpsc::channel();
        let threads: Vec<_> = (0..4)
            .map(|number| {
                let (pair, say) = ((mutex.clone(), changed.clone()), say.clone());
                let thread = thread::spawn(move || {
                    come_and_go(pair);
                    say.send(number).unwrap();
                });
                await_coming(&mutex, number + 1);
                thread
            })
            .collect();
        for number in 0..4 {
            assert!(changed.notify_one());
            assert_eq!(hear.recv().unwrap(), number);
            assert!(hear.try_recv().is_err());
        }
        assert!(!changed.notify_one());
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

#[test]
fn notifying_n_wakes_exactly_n_processes_and_says_so() {
    let (mutex, changed) = make();
    let children: Vec<_> = (1..=5)
        .map(|count| {
            let child = start(come_and_go, (mutex.clone(), changed.clone()));
            await_coming(&mutex, count);
            child
        })
        .collect();
    let mut children = children.into_iter();
    assert_eq!(changed.notify_many(0), 0);
    assert_eq!(changed.notify_many(2), 2);
    let first: Vec<_> = children.by_ref().take(2).map(|child| child.join().unwrap()).collect();
    assert!(first == [1, 2] || first == [2, 1]);
    // The others all wait still: it is they who are notified now.
    assert_eq!(mutex.lock().unwrap()[GONE], 2);
    assert_eq!((changed.notify_many(10), changed.notify_all()), (3, 0));
    children.for_each(|child| assert!(child.join().unwrap() > 2));
}

#[test]
fn notifying_all_wakes_all_and_says_how_many_there_were() {
    for round in 0..20 {
        let (mutex, changed) = if round % 2 == 0 { make() } else { make_private() };
        let threads =
            [(); 4].map(|()| (mutex.clone(), changed.clone())).map(|pair| thread::spawn(move || come_and_go(pair)));
        await_coming(&mutex, 4);
        assert_eq!(changed.notify_all(), 4);
        let mut gone = threads.map(|thread| thread.join().unwrap());
        gone.sort_unstable();
        assert_eq!(gone, [1, 2, 3, 4]);
    }
}

#[test]
fn a_notification_that_finds_nobody_is_not_remembered() {
    for (mutex, changed) in [make(), make_private()] {
        assert!(!changed.notify_one());
        assert_eq!((changed.notify_many(7), changed.notify_all()), (0, 0));
        let (_guard, wakeup) = changed.wait_timeout(mutex.lock().unwrap(), MOMENT).unwrap();
        assert_eq!(wakeup, Wakeup::TimedOut);
    }
}

#[test]
fn waiting_ends_in_time_and_not_before_and_with_the_lock() {
    for (mutex, changed) in [make(), make_private()] {
        let start = Instant::now();
        let (mut guard, wakeup) = changed.wait_timeout(mutex.lock().unwrap(), MOMENT).unwrap();
        assert!(wakeup == Wakeup::TimedOut && start.elapsed() >= MOMENT);
        guard[OPEN] = 1;
        assert!(mutex.try_lock().is_err());
        let deadline = Instant::now() + MOMENT;
        let (guard, wakeup) = changed.wait_deadline(guard, deadline).unwrap();
        assert!(wakeup == Wakeup::TimedOut && Instant::now() >= deadline);
        // What was changed before the wait was given back with the lock.
        assert_eq!(guard[OPEN], 1);
        let (guard, wakeup) = changed.wait_deadline(guard, start).unwrap();
        assert_eq!((wakeup, changed.wait_timeout(guard, Duration::ZERO).unwrap().1), (wakeup, Wakeup::TimedOut));
    }
}

#[test]
fn who_is_notified_before_the_time_is_up_is_told_so() {
    for (mutex, changed) in [make(), make_private()] {
        let waiter = {
            let (mutex, changed) = (mutex.clone(), changed.clone());
            thread::spawn(move || {
                let mut guard = mutex.lock().unwrap();
                guard[COME] += 1;
                changed.wait_timeout(guard, LONG).unwrap().1
            })
        };
        await_coming(&mutex, 1);
        assert!(changed.notify_one());
        assert_eq!(waiter.join().unwrap(), Wakeup::Notified);
    }
}

#[test]
fn what_is_so_already_is_not_waited_for_and_the_lock_is_kept() {
    let (mutex, changed) = make();
    let mut looks = 0;
    let closed = |value: &mut Value| {
        looks += 1;
        assert!(mutex.try_lock().is_err());
        value[OPEN] += 1;
        false
    };
    // The condition may change what it looks at.
    assert_eq!(changed.wait_while(mutex.lock().unwrap(), closed).unwrap()[OPEN], 1);
    assert_eq!(looks, 1);
    let past = Instant::now();
    let (guard, wakeup) = changed.wait_while_deadline(mutex.lock().unwrap(), past, |value| value[OPEN] != 1).unwrap();
    assert_eq!((guard[OPEN], wakeup), (1, Wakeup::Notified));
    let (guard, wakeup) = changed.wait_while_timeout(guard, Duration::ZERO, |value| value[OPEN] == 1).unwrap();
    assert_eq!((guard[OPEN], wakeup), (1, Wakeup::TimedOut));
}

#[test]
fn waiting_for_a_condition_keeps_one_deadline_however_often_it_is_notified() {
    let (mutex, changed) = make();
    let waiter = {
        let (mutex, changed) = (mutex.clone(), changed.clone());
        thread::spawn(move || {
            let mut guard = mutex.lock().unwrap();
            guard[COME] += 1;
            let deadline = Instant::now() + 5 * MOMENT;
            let (mut looks, mut late) = (0, 0);
            let is_closed = |value: &mut Value| {
                looks += 1;
                late += u64::from(Instant::now() >= deadline);
                value[OPEN] == 0
            };
            let (guard, wakeup) = changed.wait_while_deadline(guard, deadline, is_closed).unwrap();
            assert!((guard[OPEN], wakeup) == (0, Wakeup::TimedOut) && Instant::now() >= deadline);
            (looks, late)
        })
    };
    await_coming(&mutex, 1);
    let mut notified = 0;
    while !waiter.is_finished() {
        notified += u64::from(changed.notify_one());
    }
    let (looks, late) = waiter.join().unwrap();
    // One look before, and one after each notification. When the time is up: one for the notification that came last, and a last one.
    assert!(looks > notified, "{looks} looks, {notified} notifications");
    assert!(late <= 2, "{late} looks of {looks} after the time was up");
}

#[test]
fn more_waiters_than_can_sleep_all_go_on() {
    for (mutex, changed) in [make(), make_private()] {
        let threads: Vec<_> = (0..270)
            .map(|_| (mutex.clone(), changed.clone()))
            .map(|(mutex, changed)| {
                let wait = move || {
                    let mut guard = mutex.lock().unwrap();
                    guard[COME] += 1;
                    changed.wait_while(guard, |value| value[OPEN] == 0).unwrap()[GONE] += 1;
                };
                thread::Builder::new().stack_size(64 << 10).spawn(wait).unwrap()
            })
            .collect();
        await_coming(&mutex, 270);
        let mut guard = mutex.lock().unwrap();
        guard[OPEN] = 1;
        drop(guard);
        // All slots are taken, by the first to come.
        assert_eq!(changed.notify_all(), 256);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(mutex.lock().unwrap()[GONE], 270);
    }
}

#[test]
fn those_whose_time_was_up_do_not_stand_in_the_way_of_notifications() {
    let (mutex, changed) = make();
    let mut guard = mutex.lock().unwrap();
    for _ in 0..1_000 {
        guard = changed.wait_timeout(guard, Duration::ZERO).unwrap().0;
    }
    drop(guard);
    assert_eq!(changed.notify_all(), 0);
    let pair = (mutex.clone(), changed.clone());
    let waiter = thread::spawn(move || come_and_go(pair));
    await_coming(&mutex, 1);
    assert_eq!(changed.notify_many(2), 1);
    waiter.join().unwrap();
}

/// Starts a process that is the `count`-th to wait.
fn waiter(mutex: &Mutex<Value>, changed: &Condvar, count: u64) -> JoinHandle<u64> {
    let child = start(come_and_go, (mutex.clone(), changed.clone()));
    await_coming(mutex, count);
    child
}

#[test]
#[cfg_attr(feature = "portable", ignore = "it kills, and this backend is not kill-safe")]
fn when_a_waiter_is_killed_after_it_was_notified_the_others_go_on_as_if_notified() {
    let (mutex, changed) = make();
    let victim = waiter(&mutex, &changed, 1);
    await_sleep_of(victim.pid());
    signal(victim.pid(), libc::SIGSTOP);
    await_stop_of(victim.pid());
    let others = [2, 3].map(|count| {
        let pair = (mutex.clone(), changed.clone());
        let thread = thread::spawn(move || come_and_go(pair));
        await_coming(&mutex, count);
        thread
    });
    // It is for the one that came first, and that will never act on it.
    assert!(changed.notify_one());
    kill(victim);
    buried(changed.segment(), 1);
    buried(mutex.segment(), 1);
    others.into_iter().for_each(|thread| assert!(thread.join().unwrap() > 0));
    assert_eq!((mutex.lock().unwrap()[GONE], changed.notify_all()), (2, 0));
}

#[test]
#[cfg_attr(feature = "portable", ignore = "it kills, and this backend is not kill-safe")]
fn after_the_death_of_a_waiter_notifications_are_for_the_living() {
    let (mutex, changed) = make();
    let victims = [1, 2, 3].map(|count| waiter(&mutex, &changed, count));
    victims.into_iter().for_each(kill);
    buried(changed.segment(), 1);
    buried(mutex.segment(), 1);
    assert_eq!(changed.notify_all(), 0);
    let child = waiter(&mutex, &changed, 4);
    assert_eq!(changed.notify_many(4), 1);
    assert_eq!(child.join().unwrap(), 1);
}

#[test]
#[cfg_attr(feature = "portable", ignore = "it kills, and this backend is not kill-safe")]
fn the_death_of_one_that_only_has_the_condition_variable_lets_waiters_look_again() {
    let (mutex, changed) = make();
    let here = Event::new().unwrap();
    let child = start(|(here, _changed): (Event, Condvar)| stay(&here), (here.clone(), changed.clone()));
    here.wait().unwrap();
    let pair = (mutex.clone(), changed.clone());
    let waiter = asleep_in(move || come_and_go(pair));
    kill(child);
    buried(changed.segment(), 1);
    assert_eq!(waiter.join().unwrap(), 1);
}

#[test]
#[cfg_attr(feature = "portable", ignore = "it kills, and this backend is not kill-safe")]
fn a_waiter_that_locks_again_is_told_that_the_last_holder_was_killed() {
    fn take_over((mutex, changed, here): (Mutex<Value>, Condvar, Event)) {
        let mut guard = mutex.lock().unwrap();
        guard[OPEN] = 1;
        changed.notify_one();
        stay(&here);
    }
    for limit in [None, Some(LONG)] {
        let (mutex, changed) = make();
        let waiter = {
            let (mutex, changed) = (mutex.clone(), changed.clone());
            thread::spawn(move || {
                let mut guard = mutex.lock().unwrap();
                guard[COME] += 1;
                let outcome = match limit {
                    None => changed.wait_while(guard, |value| value[OPEN] == 0),
                    Some(limit) => changed.wait_timeout(guard, limit).map(|(guard, _)| guard),
                };
                match outcome {
                    Err(LockError::OwnerDied(guard)) => *guard,
                    other => panic!("{other:?}"),
                }
            })
        };
        await_coming(&mutex, 1);
        let here = Event::new().unwrap();
        let child = start(take_over, (mutex.clone(), changed.clone(), here.clone()));
        here.wait().unwrap();
        kill(child);
        buried(mutex.segment(), 1);
        // The dead one's change is undone.
        assert_eq!(waiter.join().unwrap(), [1, 0, 0]);
    }
}

#[test]
fn clones_and_handles_that_were_passed_on_are_the_same_condition_variable() {
    let (mutex, changed) = make();
    for other in [changed.clone(), passed_on(&changed)] {
        let before = mutex.lock().unwrap()[COME];
        let pair = (mutex.clone(), changed.clone());
        let waiter = thread::spawn(move || come_and_go(pair));
        await_coming(&mutex, before + 1);
        assert!(other.notify_one());
        waiter.join().unwrap();
    }
}

#[test]
fn private_condition_variables_and_ordinary_serialisers_are_refused() {
    refused(&Condvar::private().unwrap(), &Condvar::new().unwrap());
}
