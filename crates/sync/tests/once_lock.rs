//! The value that is made once, seen from outside: by whom, whoever fails, panics or is killed while making it.
#![cfg(not(loom))]

mod asleep;
mod company;

use asleep::asleep_in;
use company::{LONG, MOMENT, buried, kill, passed_on, refused, start, stay};
use shmkit_segment::primitive::{AtomicU64, Ordering};
use shmkit_sync::{Event, OnceLock, Shared, WaitTimeoutError};
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::mpsc;
use std::time::{Duration, Instant};

type Value = [u64; 5];

fn each_kind() -> [OnceLock<Value>; 2] {
    [OnceLock::new().unwrap(), OnceLock::private().unwrap()]
}

#[test]
fn what_was_made_stays() {
    for once in each_kind() {
        assert_eq!(once.get(), None);
        assert_eq!(once.get_or_init(|| [1; 5]), Ok([1; 5]));
        assert_eq!(once.get_or_init(|| panic!("it is made")), Ok([1; 5]));
        assert_eq!(once.get_or_try_init(|| Err::<Value, _>("it is made")), Ok(Ok([1; 5])));
        assert_eq!((once.set([2; 5]), once.get(), once.wait()), (Ok([1; 5]), Some([1; 5]), Ok([1; 5])));
    }
    let done = OnceLock::<()>::new().unwrap();
    assert_eq!((done.get(), done.set(()), done.get()), (None, Ok(()), Some(())));
}

#[test]
fn of_many_processes_one_makes_the_value_and_all_have_it() {
    fn make_or_have((once, made, number): (OnceLock<Value>, Shared<AtomicU64>, u64)) -> Value {
        let make = || {
            made.fetch_add(1, Ordering::Relaxed);
            [number; 5]
        };
        once.get_or_init(make).unwrap()
    }
    for _ in 0..5 {
        let (once, made) = (OnceLock::new().unwrap(), Shared::<AtomicU64>::new().unwrap());
        let children: Vec<_> = (0..4).map(|number| start(make_or_have, (once.clone(), made.clone(), number))).collect();
        let value = make_or_have((once.clone(), made.clone(), 99));
        assert!(children.into_iter().all(|child| child.join().unwrap() == value));
        assert!(value.iter().all(|part| *part == value[0]));
        assert_eq!((made.load(Ordering::Relaxed), once.get()), (1, Some(value)));
    }
}

/// Starts a thread that is making the value until it is told how that ends.
fn maker(once: &OnceLock<Value>) -> (std::thread::JoinHandle<()>, mpsc::Sender<Option<Value>>) {
    let ((say, hear), (begun, has_begun)) = (mpsc::channel::<Option<Value>>(), mpsc::channel());
    let once = once.clone();
    let thread = std::thread::spawn(move || {
        let make = || {
            begun.send(()).unwrap();
            hear.recv().unwrap().unwrap_or_else(|| panic_any(()))
        };
        let outcome = catch_unwind(AssertUnwindSafe(|| once.get_or_init(make)));
        drop(outcome);
    });
    has_begun.recv().unwrap();
    (thread, say)
}

#[test]
fn those_who_come_while_it_is_made_wait_and_have_it() {
    for once in each_kind() {
        let (maker, say) = maker(&once);
        assert_eq!(once.get(), None);
        assert_eq!(once.wait_timeout(MOMENT), Err(WaitTimeoutError::Timeout));
        let others = [0, 1, 2].map(|which| (once.clone(), which)).map(|(once, which)| {
            asleep_in(move || match which {
                0 => once.get_or_init(|| panic!("another makes it")).unwrap(),
                1 => once.wait().unwrap(),
                _ => once.wait_timeout(LONG).unwrap(),
            })
        });
        say.send(Some([3; 5])).unwrap();
        maker.join().unwrap();
        assert!(others.map(|thread| thread.join().unwrap()).iter().all(|value| *value == [3; 5]));
    }
}

#[test]
fn if_making_it_fails_or_panics_it_is_the_next_ones_turn() {
    for once in each_kind() {
        assert_eq!(once.get_or_try_init(|| Err("not today")), Ok(Err("not today")));
        assert_eq!(once.get(), None);
        let (maker, say) = maker(&once);
        let next = asleep_in({
            let once = once.clone();
            move || once.get_or_init(|| [4; 5])
        });
        let waits = asleep_in({
            let once = once.clone();
            move || once.wait()
        });
        say.send(None).unwrap();
        maker.join().unwrap();
        assert_eq!((next.join().unwrap(), waits.join().unwrap()), (Ok([4; 5]), Ok([4; 5])));
    }
}

#[test]
fn waiting_ends_in_time_and_not_before_and_what_is_made_is_had_even_then() {
    for once in each_kind() {
        let start = Instant::now();
        assert_eq!(once.wait_timeout(MOMENT), Err(WaitTimeoutError::Timeout));
        assert!(start.elapsed() >= MOMENT);
        let deadline = Instant::now() + MOMENT;
        assert_eq!(once.wait_deadline(deadline), Err(WaitTimeoutError::Timeout));
        assert!(Instant::now() >= deadline);
        once.set([5; 5]).unwrap();
        assert_eq!((once.wait_deadline(start), once.wait_timeout(Duration::ZERO)), (Ok([5; 5]), Ok([5; 5])));
        assert_eq!(once.wait_timeout(Duration::MAX), Ok([5; 5]));
    }
}

fn make_and_stay((once, here): (OnceLock<Value>, Event)) {
    let make = || {
        stay(&here);
        [66; 5]
    };
    once.get_or_init(make).unwrap();
}

#[test]
#[cfg_attr(feature = "portable", ignore = "it kills, and this backend is not kill-safe")]
fn when_its_maker_is_killed_one_of_those_who_wait_makes_it() {
    let made = Shared::<AtomicU64>::new().unwrap();
    let (once, here) = (OnceLock::new().unwrap(), Event::new().unwrap());
    let child = start(make_and_stay, (once.clone(), here.clone()));
    here.wait().unwrap();
    let others = [1, 2, 3].map(|number| {
        let (once, made) = (once.clone(), made.clone());
        asleep_in(move || {
            let make = || {
                made.fetch_add(1, Ordering::Relaxed);
                [number; 5]
            };
            once.get_or_init(make).unwrap()
        })
    });
    kill(child);
    buried(once.segment(), 1);
    let values = others.map(|thread| thread.join().unwrap());
    assert!(values.iter().all(|value| *value == values[0] && (1..=3).contains(&value[0])));
    assert_eq!((made.load(Ordering::Relaxed), once.get()), (1, Some(values[0])));
}

#[test]
#[cfg_attr(feature = "portable", ignore = "it kills, and this backend is not kill-safe")]
fn one_that_waits_for_a_time_frees_what_a_killed_maker_left() {
    let (once, here) = (OnceLock::new().unwrap(), Event::new().unwrap());
    let child = start(make_and_stay, (once.clone(), here.clone()));
    here.wait().unwrap();
    kill(child);
    while once.segment().peer_count() > 1 {
        assert_eq!(once.wait_timeout(MOMENT), Err(WaitTimeoutError::Timeout));
    }
    assert_eq!(once.set([7; 5]), Ok([7; 5]));
}

#[test]
#[cfg_attr(feature = "portable", ignore = "it kills, and this backend is not kill-safe")]
fn what_a_process_made_before_it_was_killed_stays() {
    let (once, here) = (OnceLock::new().unwrap(), Event::new().unwrap());
    let set_and_stay = |(once, here): (OnceLock<Value>, Event)| {
        once.set([8; 5]).unwrap();
        stay(&here);
    };
    let child = start(set_and_stay, (once.clone(), here.clone()));
    here.wait().unwrap();
    kill(child);
    buried(once.segment(), 1);
    assert_eq!((once.get(), once.set([9; 5])), (Some([8; 5]), Ok([8; 5])));
}

#[test]
fn clones_and_handles_that_were_passed_on_are_the_same_value() {
    let once = OnceLock::new().unwrap();
    let (clone, elsewhere) = (once.clone(), passed_on(&once));
    elsewhere.set([6; 5]).unwrap();
    assert_eq!((once.get(), clone.get()), (Some([6; 5]), Some([6; 5])));
}

#[test]
fn private_values_and_ordinary_serialisers_are_refused() {
    let [shared, private] = each_kind();
    refused(&private, &shared);
}
