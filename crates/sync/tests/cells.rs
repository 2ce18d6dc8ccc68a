//! Values without a lock, seen from outside: zero at first, of the type that was asked for, and the same for all.
#![cfg(not(loom))]

mod company;

use company::{buried, kill, passed_on, start, stay};
use shmkit_segment::primitive::{AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};
use shmkit_sync::{Error, Event, Shared, SharedSlice};
use std::thread;

shmkit_segment::shared! {
    /// A structure of a user's own.
    struct Account {
        open: AtomicU16,
        entries: AtomicU32,
        sum: AtomicU64,
    }
}

#[test]
fn values_are_zero_at_first() {
    let account = Shared::<Account>::new().unwrap();
    assert_eq!((account.open.load(Relaxed), account.entries.load(Relaxed), account.sum.load(Relaxed)), (0, 0, 0));
    for count in [1, 7, 4096, 100_000] {
        let numbers = SharedSlice::<AtomicU16>::new(count).unwrap();
        assert!(numbers.len() == count && numbers.iter().all(|number| number.load(Relaxed) == 0));
    }
}

#[test]
fn what_processes_and_threads_add_is_all_there() {
    const EACH: u64 = 20_000;
    fn add((account, slice): (Shared<Account>, SharedSlice<AtomicU32>)) {
        for number in 0..EACH {
            account.entries.fetch_add(1, Relaxed);
            account.sum.fetch_add(number, Relaxed);
            slice[number as usize % slice.len()].fetch_add(1, Relaxed);
        }
        account.open.fetch_or(1, Relaxed);
    }
    let (account, slice) = (Shared::<Account>::new().unwrap(), SharedSlice::<AtomicU32>::new(10).unwrap());
    let children = [(); 2].map(|()| start(add, (account.clone(), slice.clone())));
    let threads = [(); 2].map(|()| (account.clone(), slice.clone())).map(|both| thread::spawn(move || add(both)));
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    children.into_iter().for_each(|child| child.join().unwrap());
    assert_eq!(u64::from(account.entries.load(Relaxed)), 4 * EACH);
    assert_eq!(account.sum.load(Relaxed), 4 * (0..EACH).sum::<u64>());
    assert_eq!(account.open.load(Relaxed), 1);
    assert!(slice.iter().all(|element| u64::from(element.load(Relaxed)) == 4 * EACH / 10));
}

#[test]
#[cfg_attr(feature = "portable", ignore = "it kills, and this backend is not kill-safe")]
fn what_a_killed_process_has_written_stays() {
    let write_and_stay = |(slice, here): (SharedSlice<AtomicU32>, Event)| {
        slice.iter().zip(1..).for_each(|(element, number)| element.store(number, Relaxed));
        stay(&here);
    };
    let (slice, here) = (SharedSlice::<AtomicU32>::new(100).unwrap(), Event::new().unwrap());
    let child = start(write_and_stay, (slice.clone(), here.clone()));
    here.wait().unwrap();
    kill(child);
    buried(slice.segment(), 1);
    assert!(slice.iter().map(|element| element.load(Relaxed)).eq(1..=100));
}

#[test]
fn clones_and_handles_that_were_passed_on_are_the_same_values() {
    let (value, slice) = (Shared::<AtomicU64>::new().unwrap(), SharedSlice::<AtomicU16>::new(3).unwrap());
    for (value, slice) in [(value.clone(), slice.clone()), (passed_on(&value), passed_on(&slice))] {
        value.fetch_add(1, Relaxed);
        slice[2].fetch_add(1, Relaxed);
    }
    assert_eq!((value.load(Relaxed), slice[1].load(Relaxed), slice[2].load(Relaxed)), (2, 0, 2));
}

#[test]
fn numbers_of_values_that_cannot_be_are_errors() {
    for count in [0, usize::MAX, usize::MAX / 8 + 1] {
        assert!(matches!(SharedSlice::<AtomicU64>::new(count), Err(Error::Geometry(_))), "{count}");
    }
}

#[test]
fn ordinary_serialisers_are_refused() {
    assert!(postcard::to_stdvec(&Shared::<AtomicU64>::new().unwrap()).is_err());
    assert!(postcard::to_stdvec(&SharedSlice::<AtomicU64>::new(2).unwrap()).is_err());
}
