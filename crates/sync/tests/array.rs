//! The array under a lock, seen from outside: its elements, who reads and writes them at a time, and what a killed writer leaves.
#![cfg(not(loom))]

mod asleep;
mod company;

use asleep::asleep_in;
use company::{LONG, MOMENT, buried, even_if_died, kill, passed_on, refused, start, stay};
use shmkit_process::JoinHandle;
use shmkit_sync::{Array, Error, Event, LockError, LockTimeoutError, Plain, TryLockError};
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::thread;
use std::time::{Duration, Instant};

fn each_kind<T: Plain>(length: usize) -> [Array<T>; 2] {
    [Array::new(length).unwrap(), Array::private(length).unwrap()]
}

/// Arrays of every length up to some are zero at first, and each element is what was last written to it, whatever its neighbours are.
fn keeps_elements_apart<T: Plain + PartialEq + Debug + Default>(value: impl Fn(usize) -> T) {
    for length in 1..20 {
        for array in each_kind::<T>(length) {
            assert_eq!((array.len(), array.read().unwrap().to_vec()), (length, vec![T::default(); length]));
            let mut expected = vec![T::default(); length];
            // In an order in which neighbours do not follow each other.
            for step in 0..2 * length {
                let index = step * 7 % length;
                expected[index] = value(step);
                array.write().unwrap().set(index, value(step));
                let reader = array.read().unwrap();
                assert!(reader.iter().eq(expected.iter().copied()));
                assert_eq!((reader.len(), reader.iter().len(), reader.get(index)), (length, length, value(step)));
            }
            // Each part of it, too.
            for first in 0..=length {
                for count in 0..=length - first {
                    let new: Vec<_> = (0..count).map(|step| value(step + first)).collect();
                    expected[first..first + count].copy_from_slice(&new);
                    let mut writer = array.write().unwrap();
                    writer.write_slice(first, &new);
                    let mut part = vec![T::default(); count];
                    writer.read_slice(first, &mut part);
                    assert_eq!((part, writer.to_vec()), (new, expected.clone()));
                }
            }
            array.write().unwrap().fill(value(3));
            assert_eq!(array.read().unwrap().to_vec(), vec![value(3); length]);
        }
    }
}

#[test]
fn elements_of_all_sizes_are_zero_at_first_and_then_what_was_last_written() {
    keeps_elements_apart(|step| step as u8 + 1);
    keeps_elements_apart(|step| -(step as i16) - 1);
    keeps_elements_apart(|step| [step as u8 + 1, 2, 3]);
    keeps_elements_apart(|step| step as f32 + 0.5);
    keeps_elements_apart(|step| [step as u16 + 1; 3]);
    keeps_elements_apart(|step| step as f64 - 0.25);
    keeps_elements_apart(|step| [step as u32 + 1; 3]);
    keeps_elements_apart(|step| [step as u64 + 1; 3]);
}

#[test]
fn elements_that_are_not_there_are_a_panic_that_changes_nothing_and_gives_the_lock_back() {
    for array in each_kind::<u16>(3) {
        let attempts: [fn(&Array<u16>); 7] = [
            |array| array.read().unwrap().read_slice(3, &mut [0]),
            |array| assert_eq!(array.read().unwrap().get(3), 0),
            |array| array.read().unwrap().read_slice(1, &mut [0; 3]),
            |array| array.write().unwrap().set(3, 1),
            |array| array.write().unwrap().write_slice(2, &[1, 1]),
            |array| array.write().unwrap().write_slice(usize::MAX, &[1, 1]),
            |array| array.write().unwrap().write_slice(4, &[]),
        ];
        for attempt in attempts {
            assert!(catch_unwind(AssertUnwindSafe(|| attempt(&array))).is_err());
            assert_eq!(array.try_write().unwrap().to_vec(), [0; 3]);
        }
    }
}

#[test]
fn lengths_that_cannot_be_are_errors() {
    for length in [0, usize::MAX, usize::MAX / 8 + 1] {
        assert!(matches!(Array::<u64>::new(length), Err(Error::Geometry(_))), "{length}");
        assert!(matches!(Array::<u64>::private(length), Err(Error::Geometry(_))), "{length}");
    }
}

const LENGTH: usize = 100;

/// Adds one to all elements, in halves, so many times; they are equal whenever somebody looks.
fn count((array, rounds): (Array<u32>, u32)) {
    for _ in 0..rounds {
        let seen = array.read().unwrap().to_vec();
        assert!(seen.iter().all(|element| *element == seen[0]), "{seen:?}");
        let mut writer = array.write().unwrap();
        let next = writer.get(LENGTH - 1) + 1;
        writer.write_slice(0, &[next; LENGTH / 2]);
        (LENGTH / 2..LENGTH).for_each(|index| writer.set(index, next));
    }
}

#[test]
fn what_processes_and_threads_change_under_the_lock_is_never_seen_half_done() {
    let array = Array::new(LENGTH).unwrap();
    let children: Vec<_> = (0..3).map(|_| start(count, (array.clone(), 500))).collect();
    let threads = [(); 2].map(|()| array.clone()).map(|array| thread::spawn(move || count((array, 500))));
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    children.into_iter().for_each(|child| child.join().unwrap());
    assert_eq!(array.read().unwrap().to_vec(), [2_500; LENGTH]);
}

#[test]
fn many_readers_or_one_writer_are_in_at_a_time() {
    for array in each_kind::<u8>(3) {
        let readers = [array.read().unwrap(), array.try_read().unwrap()];
        assert!(matches!(array.try_write(), Err(TryLockError::Locked)));
        drop(readers);
        let writer = array.write().unwrap();
        assert!(matches!(array.try_write(), Err(TryLockError::Locked)));
        assert!(matches!(array.try_read(), Err(TryLockError::Locked)));
        drop(writer);
        assert!(array.try_read().is_ok());
    }
}

#[test]
fn waiting_ends_in_time_and_what_is_free_is_had_even_then() {
    for array in each_kind::<u8>(3) {
        let writer = array.write().unwrap();
        for limit in [Duration::ZERO, MOMENT] {
            let start = Instant::now();
            assert!(matches!(array.read_timeout(limit), Err(LockTimeoutError::Timeout)));
            assert!(matches!(array.write_timeout(limit), Err(LockTimeoutError::Timeout)));
            assert!(matches!(array.read_deadline(Instant::now() + limit), Err(LockTimeoutError::Timeout)));
            assert!(matches!(array.write_deadline(Instant::now() + limit), Err(LockTimeoutError::Timeout)));
            assert!(start.elapsed() >= 4 * limit);
        }
        drop(writer);
        let past = Instant::now();
        assert!(array.read_deadline(past).is_ok() && array.write_deadline(past).is_ok());
        assert!(array.read_timeout(Duration::ZERO).is_ok() && array.write_timeout(Duration::ZERO).is_ok());
        assert!(array.read_timeout(LONG).is_ok() && array.write_timeout(Duration::MAX).is_ok());
    }
}

#[test]
fn those_that_sleep_get_the_lock() {
    for array in each_kind::<u64>(3) {
        for _ in 0..25 {
            let before = array.read().unwrap().get(1);
            let writer = array.write().unwrap();
            let sleepers = [false, true, false, true].map(|writes| {
                let array = array.clone();
                asleep_in(move || match writes {
                    true => {
                        let mut writer = array.write().unwrap();
                        let next = writer.get(1) + 1;
                        writer.set(1, next);
                    }
                    false => assert!(array.read().unwrap().get(1) >= before),
                })
            });
            drop(writer);
            sleepers.into_iter().for_each(|thread| thread.join().unwrap());
            assert_eq!(array.read().unwrap().get(1), before + 2);
        }
    }
}

/// Starts a process, and returns when it says that it has come so far.
fn begin<T: Plain>(work: fn((Array<T>, Event)), array: &Array<T>) -> JoinHandle<()> {
    let here = Event::new().unwrap();
    let child = start(work, (array.clone(), here.clone()));
    here.wait().unwrap();
    child
}

#[test]
#[cfg_attr(feature = "portable", ignore = "it kills, and this backend is not kill-safe")]
fn a_killed_writer_leaves_what_it_had_written_and_all_are_told_until_a_writer_has_made_it_consistent() {
    fn write_and_stay((array, here): (Array<u16>, Event)) {
        let mut writer = array.write().unwrap();
        writer.write_slice(1, &[7, 7, 7, 7, 7]);
        stay(&here);
    }
    let array = Array::new(10).unwrap();
    let child = begin(write_and_stay, &array);
    assert!(matches!(array.try_read(), Err(TryLockError::Locked)));
    kill(child);
    buried(array.segment(), 1);
    let found = [0, 7, 7, 7, 7, 7, 0, 0, 0, 0];
    for _ in 0..2 {
        match array.read() {
            Err(LockError::OwnerDied(reader)) => assert!(reader.is_inconsistent() && reader.to_vec() == found),
            other => panic!("{other:?}"),
        }
        match array.try_write() {
            Err(TryLockError::OwnerDied(writer)) => assert!(writer.is_inconsistent() && writer.to_vec() == found),
            other => panic!("{other:?}"),
        }
        assert!(matches!(array.read_timeout(LONG), Err(LockTimeoutError::OwnerDied(_))));
        assert!(matches!(array.write_deadline(Instant::now()), Err(LockTimeoutError::OwnerDied(_))));
    }
    even_if_died(array.write()).make_consistent();
    assert!(!array.read().unwrap().is_inconsistent());
    assert_eq!(array.write().unwrap().to_vec(), found);
}

#[test]
#[cfg_attr(feature = "portable", ignore = "it kills, and this backend is not kill-safe")]
fn each_element_that_a_killed_writer_has_touched_is_the_old_one_or_the_new() {
    const OLD: u64 = u64::MAX;
    fn write_for_ever((array, here): (Array<u64>, Event)) {
        let mut writer = even_if_died(array.write());
        here.set();
        for round in 0_u64.. {
            // In each element all bytes are the same.
            writer.fill((round % 255) * 0x0101_0101_0101_0101);
        }
    }
    for _ in 0..10 {
        let array = Array::new(64).unwrap();
        array.write().unwrap().fill(OLD);
        kill(begin(write_for_ever, &array));
        buried(array.segment(), 1);
        let found = even_if_died(array.read()).to_vec();
        assert!(found.iter().all(|element| element.to_ne_bytes() == [*element as u8; 8]), "{found:x?}");
    }
}

#[test]
#[cfg_attr(feature = "portable", ignore = "it kills, and this backend is not kill-safe")]
fn a_killed_reader_keeps_no_writer_out_and_leaves_no_doubt() {
    fn read_and_stay((array, here): (Array<u8>, Event)) {
        let _reader = array.read().unwrap();
        stay(&here);
    }
    let array = Array::new(5).unwrap();
    let child = begin(read_and_stay, &array);
    let writer = asleep_in({
        let array = array.clone();
        move || array.write().unwrap().fill(1)
    });
    kill(child);
    buried(array.segment(), 1);
    writer.join().unwrap();
    assert_eq!(array.try_read().unwrap().to_vec(), [1; 5]);
}

#[test]
fn what_was_written_before_a_panic_stays() {
    for array in each_kind::<u8>(4) {
        let writes = AssertUnwindSafe(|| {
            let mut writer = array.write().unwrap();
            writer.set(1, 1);
            panic_any(());
        });
        assert!(catch_unwind(writes).is_err());
        let reader = array.try_read().unwrap();
        assert!(!reader.is_inconsistent() && reader.to_vec() == [0, 1, 0, 0]);
    }
}

#[test]
fn clones_and_handles_that_were_passed_on_are_the_same_array() {
    let array = Array::<u32>::new(7).unwrap();
    let handles = [array.clone(), passed_on(&array), array];
    for (index, handle) in handles.iter().enumerate() {
        handle.write().unwrap().set(index, 5);
        assert_eq!(handle.len(), 7);
    }
    assert!(handles.iter().all(|handle| handle.read().unwrap().to_vec() == [5, 5, 5, 0, 0, 0, 0]));
}

#[test]
fn private_arrays_and_ordinary_serialisers_are_refused() {
    let [shared, private] = each_kind::<u8>(1);
    refused(&private, &shared);
}
