//! Arrays: the elements are changed in place, so a dead writer leaves some that are new and others that are old, and says so.

use super::{Handle, small};
use crate::harness::{Orders, at_every_site_often, came_through, last_death};
use crate::stops::ARMED;
use shmkit::prelude::*;
use shmkit::segment::crash;
use shmkit::sync::ArrayObject;

const LENGTH: usize = 5;
const OFTEN: u64 = 4;

/// What arrays are of, here: as large as a word, or smaller.
trait Element: Plain + PartialEq + std::fmt::Debug {
    const OLD: Self;
    const NEW: Self;
}

impl Element for u64 {
    const OLD: u64 = 0;
    const NEW: u64 = u64::MAX;
}

impl Element for u16 {
    const OLD: u16 = 0;
    const NEW: u16 = u16::MAX;
}

fn fill<T: Element>((orders, array): (Orders, Array<T>)) {
    let mut ledger = orders.arm();
    ledger.note(ARMED);
    array.write().unwrap().fill(T::NEW);
    ledger.note(1);
    assert_eq!(array.read().unwrap().to_vec(), [T::NEW; LENGTH]);
    drop(array);
    crash::disarm();
}

/// The elements, and whether a writer has died.
fn look<T: Element>(array: &Array<T>) -> (Vec<T>, bool) {
    match array.read() {
        Ok(guard) => (guard.to_vec(), false),
        Err(LockError::OwnerDied(guard)) => (guard.to_vec(), true),
        Err(other) => panic!("{other:?}"),
    }
}

/// Each element is whole, and there is a mixture only if that is told.
fn check<T: Element>((elements, told): &(Vec<T>, bool)) -> usize {
    let new = elements.iter().take_while(|&&element| element == T::NEW).count();
    assert!(elements[new..].iter().all(|&element| element == T::OLD), "{elements:?}");
    assert!(*told || [0, LENGTH].contains(&new), "{elements:?}");
    new
}

fn writer<T: Element>(name: &str)
where
    Array<T>: Handle,
{
    let mut mixtures = 0;
    at_every_site_often(name, OFTEN, |orders| {
        let array = Array::<T>::of(&small(ArrayObject::<T>::configuration(LENGTH)));
        let victim = spawn(fill::<T>, (orders.clone(), array.clone())).unwrap();
        let reads = array.clone();
        let reader = std::thread::spawn(move || (0..20).for_each(|_| _ = check(&look(&reads))));
        reader.join().unwrap();
        let done = came_through(victim);
        array.reap_dead();
        let (elements, told) = look(&array);
        let new = check(&(elements, told));
        // Killed after the writer had begun, and before it gave the lock back: at the elements, or at that store when all are written.
        let (site, has_written) = (last_death(), orders.ledger().contains(&1));
        let is_at_elements = site.starts_with("src/array.rs:") && !has_written;
        let is_at_the_end = site.starts_with("src/gate.rs:") && site.ends_with(" store") && new == LENGTH;
        assert_eq!(told, !done && (is_at_elements || is_at_the_end && !has_written), "{new} new, killed at {site}");
        assert!(!has_written || new == LENGTH);
        mixtures += usize::from(![0, LENGTH].contains(&new));
        if told {
            let Err(LockError::OwnerDied(mut guard)) = array.write() else { panic!("a writer is told too") };
            guard.fill(T::OLD);
            guard.make_consistent();
            drop(guard);
            assert_eq!(look(&array), (vec![T::OLD; LENGTH], false));
        }
        assert_eq!(array.peer_count(), 1);
        done
    });
    assert!(mixtures > 0, "no victim was killed between two elements");
}

pub(super) fn all() {
    writer::<u64>("array, writer beside a reader");
    writer::<u16>("array of small elements, writer beside a reader");
}
