//! The barrier, seen from outside: who is let through, what breaks it, and what those are told who were asleep meanwhile.
#![cfg(not(loom))]

mod asleep;
mod company;

use asleep::{asleep_in, await_sleep_of};
use company::{LONG, MOMENT, await_stop_of, buried, kill, passed_on, refused, signal, start, stay};
use shmkit_process::JoinHandle;
use shmkit_segment::primitive::{AtomicU64, Ordering};
use shmkit_sync::{Barrier, BarrierError, Error, Event, Shared, SharedSlice};
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::mpsc;
use std::thread::{self, yield_now};
use std::time::{Duration, Instant};

const BROKEN: Result<usize, BarrierError> = Err(BarrierError::Broken);

fn each_kind(parties: usize) -> [Barrier; 2] {
    [Barrier::new(parties).unwrap(), Barrier::private(parties).unwrap()]
}

const PARTIES: usize = 4;
const PASSES: u64 = 2_000;

/// Goes through with the others, all in step: each notes how far it is before it comes, and finds afterwards that nobody is behind, or ahead by more than one. Its index in each pass is added to `indices`.
fn in_step((barrier, me, places, indices): (Barrier, usize, SharedSlice<AtomicU64>, SharedSlice<AtomicU64>)) {
    for pass in 1..=PASSES {
        places[me].store(pass, Ordering::Relaxed);
        let index = barrier.wait().unwrap();
        indices[pass as usize - 1].fetch_add(1 << (16 * index), Ordering::Relaxed);
        let seen: Vec<_> = places.iter().map(|place| place.load(Ordering::Relaxed)).collect();
        assert!(seen.iter().all(|place| (pass..=pass + 1).contains(place)), "{seen:?} in pass {pass}");
    }
}

#[test]
fn processes_go_in_step_for_thousands_of_passes_and_each_index_is_given_once() {
    let barrier = Barrier::new(PARTIES).unwrap();
    let (places, indices) = (SharedSlice::new(PARTIES).unwrap(), SharedSlice::new(PASSES as usize).unwrap());
    let arguments = |me| (barrier.clone(), me, places.clone(), indices.clone());
    let children: Vec<_> = (1..PARTIES).map(|me| start(in_step, arguments(me))).collect();
    in_step(arguments(0));
    children.into_iter().for_each(|child| child.join().unwrap());
    assert!(indices.iter().all(|given| given.load(Ordering::Relaxed) == 0x0001_0001_0001_0001));
    assert!(!barrier.is_broken());
}

#[test]
fn threads_go_in_step_and_each_index_is_given_once() {
    for barrier in each_kind(PARTIES) {
        let (places, indices) = (SharedSlice::new(PARTIES).unwrap(), SharedSlice::new(PASSES as usize).unwrap());
        thread::scope(|scope| {
            for me in 0..PARTIES {
                let arguments = (barrier.clone(), me, places.clone(), indices.clone());
                scope.spawn(|| in_step(arguments));
            }
        });
        assert!(indices.iter().all(|given| given.load(Ordering::Relaxed) == 0x0001_0001_0001_0001));
    }
}

/// Starts a thread that is the `place`-th to wait, from 1 on.
fn waiter(barrier: &Barrier, place: usize) -> thread::JoinHandle<Result<usize, BarrierError>> {
    let waiter = asleep_in({
        let barrier = barrier.clone();
        move || barrier.wait()
    });
    while barrier.waiting() < place {
        yield_now();
    }
    waiter
}

#[test]
fn indices_are_given_in_the_order_of_coming() {
    for barrier in each_kind(3) {
        assert_eq!((barrier.parties(), barrier.waiting()), (3, 0));
        let waiters = [1, 2].map(|place| waiter(&barrier, place));
        assert_eq!(barrier.waiting(), 2);
        assert_eq!(barrier.wait(), Ok(2));
        assert_eq!(waiters.map(|thread| thread.join().unwrap()), [Ok(0), Ok(1)]);
        assert_eq!(barrier.waiting(), 0);
    }
}

#[test]
fn processes_that_sleep_are_let_through() {
    let barrier = Barrier::new(4).unwrap();
    let children: Vec<_> = (0..3).map(|_| start(|barrier: Barrier| barrier.wait().unwrap(), barrier.clone())).collect();
    while barrier.waiting() < 3 {
        yield_now();
    }
    children.iter().for_each(|child| await_sleep_of(child.pid()));
    assert_eq!(barrier.wait(), Ok(3));
    let mut indices: Vec<_> = children.into_iter().map(|child| child.join().unwrap()).collect();
    indices.sort_unstable();
    assert_eq!(indices, [0, 1, 2]);
}

#[test]
fn the_action_is_run_once_in_each_pass_before_anybody_goes_on() {
    const ROUNDS: u64 = 500;
    fn act((barrier, actions): (Barrier, Shared<AtomicU64>)) -> u64 {
        let mut mine = 0;
        for round in 1..=ROUNDS {
            let act = || {
                mine += 1;
                actions.fetch_add(1, Ordering::Relaxed);
            };
            let last = match round % 2 {
                0 => barrier.wait_with(act),
                _ => barrier.wait_with_timeout(LONG, act),
            };
            assert!(last.unwrap() < 3);
            // Nobody acts again before all of them have come again.
            assert_eq!(actions.load(Ordering::Relaxed), 2 * round - 1);
            let act = || {
                actions.fetch_add(1, Ordering::Relaxed);
            };
            barrier.wait_with(act).unwrap();
        }
        mine
    }
    let (barrier, actions) = (Barrier::new(3).unwrap(), Shared::<AtomicU64>::new().unwrap());
    let children = [(); 2].map(|()| start(act, (barrier.clone(), actions.clone())));
    let mine = act((barrier, actions));
    assert_eq!(mine + children.into_iter().map(|child| child.join().unwrap()).sum::<u64>(), ROUNDS);
}

#[test]
fn one_alone_never_waits_and_all_who_are_there_pass_even_if_the_time_is_up() {
    let past = Instant::now();
    for barrier in each_kind(1) {
        for outcome in [barrier.wait(), barrier.wait_timeout(Duration::ZERO), barrier.wait_deadline(past)] {
            assert_eq!(outcome, Ok(0));
        }
    }
    for barrier in each_kind(2) {
        for limit in [Duration::ZERO, MOMENT, LONG, Duration::MAX] {
            let other = waiter(&barrier, 1);
            assert_eq!((barrier.wait_timeout(limit), other.join().unwrap()), (Ok(1), Ok(0)));
        }
        let other = waiter(&barrier, 1);
        assert_eq!((barrier.wait_deadline(past), other.join().unwrap()), (Ok(1), Ok(0)));
    }
}

/// It is broken for all who come, until it is mended; then it is as new.
fn assert_broken_and_mend(barrier: &Barrier) {
    assert!(barrier.is_broken());
    assert_eq!(barrier.waiting(), 0);
    let mut acted = false;
    assert_eq!(barrier.wait(), BROKEN);
    assert_eq!(barrier.wait_with(|| acted = true), BROKEN);
    assert_eq!(barrier.wait_timeout(LONG), BROKEN);
    assert_eq!(barrier.wait_deadline(Instant::now()), BROKEN);
    assert!(!acted);
    barrier.reset();
    assert!(!barrier.is_broken());
    let others: Vec<_> = (1..barrier.parties()).map(|place| waiter(barrier, place)).collect();
    assert_eq!(barrier.wait(), Ok(barrier.parties() - 1));
    others.into_iter().enumerate().for_each(|(index, thread)| assert_eq!(thread.join().unwrap(), Ok(index)));
}

#[test]
fn one_whose_time_is_up_breaks_it_for_all() {
    for barrier in each_kind(3) {
        let other = waiter(&barrier, 1);
        let start = Instant::now();
        assert_eq!(barrier.wait_timeout(MOMENT), Err(BarrierError::Timeout));
        assert!(start.elapsed() >= MOMENT);
        assert_eq!(other.join().unwrap(), BROKEN);
        assert_broken_and_mend(&barrier);
        let other = waiter(&barrier, 1);
        assert_eq!(barrier.wait_deadline(start), Err(BarrierError::Timeout));
        assert_eq!(other.join().unwrap(), BROKEN);
        assert_broken_and_mend(&barrier);
        assert_eq!(
            barrier.wait_with_timeout(Duration::ZERO, || panic!("not all are here")),
            Err(BarrierError::Timeout)
        );
        assert_broken_and_mend(&barrier);
    }
}

#[test]
fn aborting_breaks_it_for_threads_and_processes_that_wait_and_for_those_who_come_later() {
    let barrier = Barrier::new(4).unwrap();
    let child = start(|barrier: Barrier| barrier.wait().map_err(drop), barrier.clone());
    while barrier.waiting() == 0 {
        yield_now();
    }
    await_sleep_of(child.pid());
    let others = [2, 3].map(|place| waiter(&barrier, place));
    barrier.abort();
    assert_eq!(child.join().unwrap(), Err(()));
    others.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), BROKEN));
    // Once more is no different.
    barrier.abort();
    assert_broken_and_mend(&barrier);
}

#[test]
fn resetting_tells_those_who_wait_that_it_was_broken_and_is_nothing_to_a_new_one() {
    for barrier in each_kind(3) {
        for _ in 0..3 {
            barrier.reset();
            assert!(!barrier.is_broken());
            let others = [1, 2].map(|place| waiter(&barrier, place));
            barrier.reset();
            others.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), BROKEN));
            assert_eq!((barrier.is_broken(), barrier.waiting()), (false, 0));
            let others = [1, 2].map(|place| waiter(&barrier, place));
            assert_eq!(barrier.wait(), Ok(2));
            others.into_iter().for_each(|thread| assert!(thread.join().unwrap().is_ok()));
        }
    }
}

#[test]
fn an_action_that_panics_breaks_it() {
    for barrier in each_kind(3) {
        let others = [1, 2].map(|place| waiter(&barrier, place));
        let outcome = catch_unwind(AssertUnwindSafe(|| barrier.wait_with(|| panic_any(()))));
        assert!(outcome.is_err());
        others.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), BROKEN));
        assert_broken_and_mend(&barrier);
    }
}

#[test]
fn who_comes_while_the_action_runs_waits_for_the_next_pass_and_breaks_nothing() {
    for barrier in each_kind(2) {
        let other = waiter(&barrier, 1);
        let ((say, hear), (say_on, hear_on)) = (mpsc::channel(), mpsc::channel());
        let last = {
            let barrier = barrier.clone();
            thread::spawn(move || {
                barrier.wait_with(|| {
                    say.send(()).unwrap();
                    hear_on.recv().unwrap();
                })
            })
        };
        hear.recv().unwrap();
        assert_eq!(barrier.wait_timeout(MOMENT), Err(BarrierError::Timeout));
        assert!(!barrier.is_broken());
        let early = asleep_in({
            let barrier = barrier.clone();
            move || barrier.wait()
        });
        say_on.send(()).unwrap();
        assert_eq!((other.join().unwrap(), last.join().unwrap()), (Ok(0), Ok(1)));
        assert_eq!((barrier.wait_timeout(LONG).is_ok(), early.join().unwrap().is_ok()), (true, true));
    }
}

#[test]
fn an_abort_while_the_action_runs_is_for_all_of_that_pass() {
    let barrier = Barrier::private(2).unwrap();
    let other = waiter(&barrier, 1);
    assert_eq!(barrier.wait_with(|| barrier.abort()), BROKEN);
    assert_eq!(other.join().unwrap(), BROKEN);
    assert_broken_and_mend(&barrier);
}

/// Starts a process that waits, and stops it asleep.
fn stopped_waiter(barrier: &Barrier) -> JoinHandle<Option<usize>> {
    let child = start(|barrier: Barrier| barrier.wait().ok(), barrier.clone());
    while barrier.waiting() == 0 {
        yield_now();
    }
    await_sleep_of(child.pid());
    signal(child.pid(), libc::SIGSTOP);
    await_stop_of(child.pid());
    child
}

#[test]
fn one_that_slept_while_it_was_let_through_is_told_so_whatever_came_later() {
    let barrier = Barrier::new(2).unwrap();
    let later: [fn(&Barrier); 3] = [
        |_| {},
        |barrier| barrier.abort(),
        |barrier| {
            // More passes.
            let other = waiter(barrier, 1);
            assert_eq!((barrier.wait(), other.join().unwrap()), (Ok(1), Ok(0)));
            barrier.abort();
        },
    ];
    for later in later {
        let child = stopped_waiter(&barrier);
        assert_eq!(barrier.wait(), Ok(1));
        later(&barrier);
        signal(child.pid(), libc::SIGCONT);
        assert_eq!(child.join().unwrap(), Some(0));
        barrier.reset();
    }
}

#[test]
fn one_that_slept_while_it_was_broken_is_told_so_even_if_it_was_mended_and_passed_since() {
    let barrier = Barrier::new(2).unwrap();
    for passes in [0, 1, 3] {
        let child = stopped_waiter(&barrier);
        barrier.abort();
        barrier.reset();
        for _ in 0..passes {
            let other = waiter(&barrier, 1);
            assert_eq!((barrier.wait(), other.join().unwrap()), (Ok(1), Ok(0)));
        }
        signal(child.pid(), libc::SIGCONT);
        assert_eq!(child.join().unwrap(), None);
    }
}

#[test]
#[cfg_attr(feature = "portable", ignore = "it kills, and this backend is not kill-safe")]
fn one_that_is_killed_before_it_comes_breaks_it() {
    let (barrier, here) = (Barrier::new(3).unwrap(), Event::new().unwrap());
    let child = start(|(here, _barrier): (Event, Barrier)| stay(&here), (here.clone(), barrier.clone()));
    here.wait().unwrap();
    let others = [1, 2].map(|place| waiter(&barrier, place));
    kill(child);
    buried(barrier.segment(), 1);
    others.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), BROKEN));
    assert_broken_and_mend(&barrier);
}

#[test]
#[cfg_attr(feature = "portable", ignore = "it kills, and this backend is not kill-safe")]
fn one_that_is_killed_after_it_came_breaks_it() {
    let barrier = Barrier::new(3).unwrap();
    let child = start(|barrier: Barrier| barrier.wait().ok(), barrier.clone());
    while barrier.waiting() == 0 {
        yield_now();
    }
    let other = waiter(&barrier, 2);
    kill(child);
    buried(barrier.segment(), 1);
    assert_eq!(other.join().unwrap(), BROKEN);
    assert_broken_and_mend(&barrier);
}

#[test]
#[cfg_attr(feature = "portable", ignore = "it kills, and this backend is not kill-safe")]
fn the_last_one_that_is_killed_in_its_action_breaks_it() {
    let (barrier, here) = (Barrier::new(3).unwrap(), Event::new().unwrap());
    let others = [1, 2].map(|place| waiter(&barrier, place));
    let act = |(barrier, here): (Barrier, Event)| barrier.wait_with(|| stay(&here)).ok();
    let child = start(act, (barrier.clone(), here.clone()));
    here.wait().unwrap();
    assert!(!barrier.is_broken());
    kill(child);
    buried(barrier.segment(), 1);
    others.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), BROKEN));
    assert_broken_and_mend(&barrier);
}

#[test]
#[cfg_attr(feature = "portable", ignore = "it kills, and this backend is not kill-safe")]
fn those_who_wait_for_a_time_notice_a_death_themselves() {
    let (barrier, here) = (Barrier::new(2).unwrap(), Event::new().unwrap());
    let child = start(|(here, _barrier): (Event, Barrier)| stay(&here), (here.clone(), barrier.clone()));
    here.wait().unwrap();
    let other = waiter(&barrier, 1);
    kill(child);
    // By the event of the sleeper's own looks, or by this one's.
    while !barrier.is_broken() {
        barrier.segment().look_after_peers();
        yield_now();
    }
    assert_eq!(other.join().unwrap(), BROKEN);
}

#[test]
fn who_leaves_in_good_order_breaks_nothing() {
    let barrier = Barrier::new(2).unwrap();
    // Once without ever coming, and once after it was through; a panic is an orderly end, too.
    start(drop::<Barrier>, barrier.clone()).join().unwrap();
    let panicked: Result<(), _> = start(|_barrier: Barrier| panic!("before it came"), barrier.clone()).join();
    assert!(panicked.is_err());
    for _ in 0..3 {
        let child = start(|barrier: Barrier| barrier.wait().unwrap(), barrier.clone());
        let index = barrier.wait().unwrap();
        assert_eq!(index + child.join().unwrap(), 1);
    }
    assert_eq!((barrier.segment().reap_dead(), barrier.is_broken()), (0, false));
}

#[test]
fn clones_and_handles_that_were_passed_on_are_the_same_barrier() {
    let barrier = Barrier::new(3).unwrap();
    let others = [barrier.clone(), passed_on(&barrier)].map(|barrier| asleep_in(move || barrier.wait()));
    assert!(barrier.wait().is_ok());
    others.into_iter().for_each(|thread| assert!(thread.join().unwrap().is_ok()));
}

#[test]
fn numbers_of_parties_that_cannot_be_are_errors() {
    for parties in [0, 65_536, usize::MAX] {
        assert!(matches!(Barrier::new(parties), Err(Error::Geometry(_))), "{parties}");
        assert!(matches!(Barrier::private(parties), Err(Error::Geometry(_))), "{parties}");
    }
    assert_eq!(Barrier::private(65_535).unwrap().parties(), 65_535);
}

#[test]
fn private_barriers_and_ordinary_serialisers_are_refused() {
    let [shared, private] = each_kind(2);
    refused(&private, &shared);
    assert!(!private.is_broken() && !shared.is_broken());
}
