//! A child made by `fork` has no part in its parent's semaphores.
#![cfg(not(loom))]

#[path = "../../segment/tests/forked/mod.rs"]
mod forked;
#[path = "../../segment/tests/harness/mod.rs"]
mod harness;

use forked::{end_after, fork};
use harness::alone;
use shmkit_process::spawn;
use shmkit_segment::transfer;
use shmkit_sync::{AcquireError, AcquireTimeoutError, Semaphore, TryAcquireError};
use std::cell::RefCell;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(1000);

#[test]
fn a_fork_can_acquire_nothing_and_is_told_at_once() {
    alone(|()| {
        end_after(100);
        let semaphore = Semaphore::new(2).unwrap();
        // With two, one and no permits free.
        let mut held = Vec::new();
        for free in [2, 1, 0] {
            assert_eq!(semaphore.available(), free);
            let copy = RefCell::new(Some(semaphore.clone()));
            fork(|| {
                let copy = copy.take().unwrap();
                let clone = copy.clone();
                for semaphore in [&semaphore, &copy, &clone] {
                    assert!(matches!(semaphore.try_acquire().map(drop), Err(TryAcquireError::Forked)));
                    assert!(matches!(semaphore.acquire().map(drop), Err(AcquireError::Forked)));
                    let outcome = semaphore.acquire_timeout(LONG).map(drop);
                    assert!(matches!(outcome, Err(AcquireTimeoutError::Forked)));
                    let outcome = semaphore.acquire_deadline(Instant::now() + LONG).map(drop);
                    assert!(matches!(outcome, Err(AcquireTimeoutError::Forked)));
                    let (bytes, descriptors) = transfer::sending(|| postcard::to_stdvec(semaphore));
                    assert!(bytes.is_err() && descriptors.is_err());
                }
                assert_eq!(copy.permits_total(), 2);
            })
            .join();
            assert_eq!(semaphore.available(), free);
            held.extend(semaphore.try_acquire());
        }
        assert_eq!(held.len(), 2);
        drop(held);
        assert_eq!(semaphore.available(), 2);
    });
}

#[test]
fn a_permit_that_was_held_at_a_fork_is_the_parents_whatever_the_fork_drops() {
    alone(|()| {
        end_after(100);
        let semaphore = Semaphore::new(1).unwrap();
        let permit = RefCell::new(semaphore.try_acquire().ok());
        fork(|| drop(permit.take().unwrap())).join();
        assert_eq!(semaphore.available(), 0);
        assert!(matches!(semaphore.try_acquire().map(drop), Err(TryAcquireError::Unavailable)));
        // Others are not let in either.
        let try_acquire = |semaphore: Semaphore| semaphore.try_acquire().is_ok();
        assert!(!spawn(try_acquire, semaphore.clone()).unwrap().join().unwrap());
        drop(permit.take().unwrap());
        assert!(spawn(try_acquire, semaphore.clone()).unwrap().join().unwrap());
    });
}

#[test]
fn a_fork_has_a_copy_of_a_private_semaphore_as_of_all_memory() {
    alone(|()| {
        let semaphore = Semaphore::private(1).unwrap();
        fork(|| {
            let _permit = semaphore.acquire().unwrap();
            assert_eq!(semaphore.available(), 0);
        })
        .join();
        assert_eq!(semaphore.available(), 1);
    });
}
