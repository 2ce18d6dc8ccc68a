//! A child made by `fork` has no part in what its parent shares with others: whatever it tries, it is told so and changes nothing, and what was held at the fork is the parent's.
//!
//! In an embedder's memory, which a fork has as its parent has it, that is so because each operation asks; elsewhere a fork has zeros in its place.
#![cfg(not(loom))]

#[cfg(not(feature = "portable"))]
mod arena;
#[path = "../../segment/tests/forked/mod.rs"]
mod forked;
#[path = "../../segment/tests/harness/mod.rs"]
mod harness;

use forked::{end_after, fork};
use harness::alone;
use shmkit_process::spawn;
use shmkit_segment::primitive::{AtomicU64, Ordering};
use shmkit_segment::transfer;
use shmkit_sync::{
    AcquireError, AcquireTimeoutError, Array, Barrier, BarrierError, Condvar, CountingSemaphore, Event, LockError,
    LockTimeoutError, Mutex, OnceLock, PostError, RwLock, Semaphore, Shared, TryAcquireError, TryLockError, WaitError,
    WaitTimeoutError,
};
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

/// One of each.
struct All {
    mutex: Mutex<u64>,
    changed: Condvar,
    lock: RwLock<u64>,
    array: Array<u64>,
    event: Event,
    barrier: Barrier,
    once: OnceLock<u64>,
    semaphore: Semaphore,
    counting: CountingSemaphore,
}

impl All {
    fn new() -> Self {
        Self {
            mutex: Mutex::new(0).unwrap(),
            changed: Condvar::new().unwrap(),
            lock: RwLock::new(0).unwrap(),
            array: Array::new(1).unwrap(),
            event: Event::new().unwrap(),
            barrier: Barrier::new(1).unwrap(),
            once: OnceLock::new().unwrap(),
            semaphore: Semaphore::new(2).unwrap(),
            counting: CountingSemaphore::new(9).unwrap(),
        }
    }

    /// The same, all zero, in an embedder's memory.
    #[cfg(not(feature = "portable"))]
    fn in_arena(arena: &arena::Arena) -> Self {
        use shmkit_sync::{ArrayObject, BarrierObject, CountingSemaphoreObject, SemaphoreObject};
        Self {
            mutex: Mutex::of(&arena.part(0, [0; 8])),
            changed: Condvar::of(&arena.part(1, [0; 8])),
            lock: RwLock::of(&arena.part(2, [0; 8])),
            array: Array::of(&arena.part(3, ArrayObject::<u64>::configuration(1))),
            event: Event::of(&arena.part(4, [0; 8])),
            barrier: Barrier::of(&arena.part(5, BarrierObject::configuration(1))),
            once: OnceLock::of(&arena.part(6, [0; 8])),
            semaphore: Semaphore::of(&arena.part(7, SemaphoreObject::configuration(2))),
            counting: CountingSemaphore::of(&arena.part(8, CountingSemaphoreObject::configuration(9))),
        }
    }

    /// What a fork tries that could wait or have something: it is told at once, whether or not it would have to wait.
    fn try_in_fork(&self) {
        let far = Instant::now() + LONG;
        assert!(matches!(self.mutex.try_lock(), Err(TryLockError::Forked)));
        assert!(matches!(self.mutex.clone().lock(), Err(LockError::Forked)));
        assert!(matches!(self.mutex.lock_timeout(LONG), Err(LockTimeoutError::Forked)));
        assert!(matches!(self.mutex.lock_deadline(far), Err(LockTimeoutError::Forked)));
        assert!(matches!(self.lock.try_read(), Err(TryLockError::Forked)));
        assert!(matches!(self.lock.read(), Err(LockError::Forked)));
        assert!(matches!(self.lock.read_timeout(LONG), Err(LockTimeoutError::Forked)));
        assert!(matches!(self.lock.try_write(), Err(TryLockError::Forked)));
        assert!(matches!(self.lock.clone().write(), Err(LockError::Forked)));
        assert!(matches!(self.lock.write_deadline(far), Err(LockTimeoutError::Forked)));
        assert!(matches!(self.array.try_read(), Err(TryLockError::Forked)));
        assert!(matches!(self.array.read(), Err(LockError::Forked)));
        assert!(matches!(self.array.clone().try_write(), Err(TryLockError::Forked)));
        assert!(matches!(self.array.write(), Err(LockError::Forked)));
        assert!(matches!(self.array.write_timeout(LONG), Err(LockTimeoutError::Forked)));
        assert_eq!(self.event.clone().wait(), Err(WaitError::Forked));
        assert_eq!(self.event.wait_timeout(LONG), Err(WaitTimeoutError::Forked));
        assert_eq!(self.event.wait_deadline(far), Err(WaitTimeoutError::Forked));
        assert_eq!(self.barrier.wait(), Err(BarrierError::Forked));
        assert_eq!(self.barrier.clone().wait_with(|| panic!("in a fork")), Err(BarrierError::Forked));
        assert_eq!(self.barrier.wait_timeout(LONG), Err(BarrierError::Forked));
        assert_eq!(self.barrier.wait_deadline(far), Err(BarrierError::Forked));
        assert_eq!(self.barrier.wait_with_timeout(LONG, || panic!("in a fork")), Err(BarrierError::Forked));
        assert_eq!(self.semaphore.try_acquire().err(), Some(TryAcquireError::Forked));
        assert_eq!(self.semaphore.acquire().err(), Some(AcquireError::Forked));
        assert_eq!(self.semaphore.try_acquire_many(3).err(), Some(TryAcquireError::Forked));
        assert_eq!(self.semaphore.acquire_many(2).err(), Some(AcquireError::Forked));
        assert_eq!(self.semaphore.clone().acquire_many_timeout(2, LONG).err(), Some(AcquireTimeoutError::Forked));
        assert_eq!((self.counting.post(), self.counting.clone().post_many(3)), (FULL, FULL));
        assert_eq!(self.counting.try_acquire(), Err(TryAcquireError::Forked));
        assert_eq!(self.counting.acquire(), Err(AcquireError::Forked));
        assert_eq!(self.counting.acquire_many(2), Err(AcquireError::Forked));
        assert_eq!(self.counting.acquire_timeout(LONG), Err(AcquireTimeoutError::Forked));
        #[cfg(feature = "async")]
        smol::block_on(async {
            assert_eq!(self.event.wait_async().await, Err(WaitError::Forked));
            assert_eq!(self.semaphore.acquire_async().await.err(), Some(AcquireError::Forked));
            assert_eq!(self.semaphore.acquire_many_async(2).await.err(), Some(AcquireError::Forked));
            assert_eq!(self.counting.acquire_async().await, Err(AcquireError::Forked));
        });
    }

    /// What is made, and not there in a fork.
    fn try_to_make_in_fork(&self) {
        assert_eq!(self.once.get_or_init(|| panic!("in a fork")), Err(WaitError::Forked));
        assert_eq!(self.once.set(7), Err(WaitError::Forked));
        assert_eq!(self.once.clone().wait(), Err(WaitError::Forked));
        assert_eq!(self.once.wait_timeout(LONG), Err(WaitTimeoutError::Forked));
    }

    /// What a fork does that cannot fail, and is nothing.
    fn speak_in_fork(&self) {
        self.event.set();
        self.event.clear();
        self.barrier.abort();
        self.barrier.reset();
        assert_eq!((self.changed.notify_many(3), self.changed.notify_all()), (0, 0));
        assert!(!self.changed.notify_one());
        let cannot_be_sent = |serialised: postcard::Result<Vec<u8>>| assert!(serialised.is_err());
        transfer::sending(|| cannot_be_sent(postcard::to_stdvec(&self.mutex))).1.unwrap_err();
        transfer::sending(|| cannot_be_sent(postcard::to_stdvec(&self.barrier))).1.unwrap_err();
    }

    /// Nothing of what was tried in a fork is seen.
    fn assert_untouched(&self) {
        assert_eq!((*self.mutex.try_lock().unwrap(), *self.lock.try_write().unwrap()), (0, 0));
        assert_eq!(self.array.try_write().unwrap().to_vec(), [0]);
        assert!(!self.event.is_set() && !self.barrier.is_broken());
        assert_eq!((self.barrier.wait(), self.once.get()), (Ok(0), None));
        assert_eq!((self.semaphore.available(), self.counting.available()), (2, 0));
    }
}

const FULL: Result<(), PostError> = Err(PostError::Forked);

#[test]
fn a_fork_can_use_none_of_them_and_is_told_at_once() {
    alone(|()| {
        end_after(100);
        let all = All::new();
        // Whether they are free, or held by the parent.
        fork(|| {
            all.try_in_fork();
            all.try_to_make_in_fork();
            all.speak_in_fork();
        })
        .join();
        all.assert_untouched();
        let held = (all.mutex.lock().unwrap(), all.lock.write().unwrap(), all.array.read().unwrap());
        let permits = all.semaphore.acquire_many(2).unwrap();
        fork(|| all.try_in_fork()).join();
        drop((held, permits));
        all.assert_untouched();
    });
}

#[test]
fn what_is_set_posted_broken_or_made_before_a_fork_is_not_so_in_the_fork_and_stays_so_in_its_parent() {
    alone(|()| {
        end_after(100);
        let (all, value) = (All::new(), Shared::<AtomicU64>::new().unwrap());
        all.event.set();
        all.counting.post_many(3).unwrap();
        all.barrier.abort();
        all.once.set(5).unwrap();
        value.store(5, Ordering::Relaxed);
        fork(|| {
            all.try_in_fork();
            all.try_to_make_in_fork();
            all.speak_in_fork();
            assert!(!all.event.is_set() && all.once.get().is_none());
            assert_eq!(value.fetch_add(1, Ordering::Relaxed), 0);
        })
        .join();
        assert!(all.event.is_set() && all.barrier.is_broken());
        assert_eq!((all.counting.available(), all.once.get(), value.load(Ordering::Relaxed)), (3, Some(5), 5));
    });
}

/// Holds whatever can be held, and lets a fork do to its copies what it likes.
fn hold_across_a_fork(all: &All) {
    for change in [false, true] {
        let before = *all.mutex.lock().unwrap();
        let mut held = (all.mutex.lock().unwrap(), all.lock.write().unwrap(), all.array.write().unwrap());
        if change {
            (*held.0, *held.1) = (before + 1, before + 1);
            held.2.set(0, before + 1);
        }
        let held = RefCell::new(Some((held, all.semaphore.acquire_many(1).unwrap(), all.semaphore.acquire().unwrap())));
        fork(|| {
            let (mut guards, permits, permit) = held.take().unwrap();
            (*guards.0, *guards.1) = (77, 77);
            assert!(!guards.0.is_inconsistent());
            // Waiting gives the lock back, which a fork has not got.
            assert!(matches!(all.changed.wait_timeout(guards.0, LONG), Err(LockError::Forked)));
            drop((guards.1, guards.2, permits, permit));
        })
        .join();
        assert!(matches!(all.mutex.try_lock(), Err(TryLockError::Locked)));
        assert!(matches!(all.lock.try_read(), Err(TryLockError::Locked)));
        assert!(matches!(all.array.try_read(), Err(TryLockError::Locked)));
        assert_eq!(all.semaphore.available(), 0);
        drop(held);
        let now = before + u64::from(change);
        assert_eq!((*all.mutex.lock().unwrap(), *all.lock.read().unwrap()), (now, now));
        assert_eq!((all.array.read().unwrap().get(0), all.semaphore.available()), (now, 2));

        let readers = RefCell::new(Some((all.lock.read().unwrap(), all.array.read().unwrap())));
        fork(|| drop(readers.take().unwrap())).join();
        assert!(matches!(all.lock.try_write(), Err(TryLockError::Locked)));
        assert!(matches!(all.array.try_write(), Err(TryLockError::Locked)));
        drop(readers);
        assert!(all.lock.try_write().is_ok() && all.array.try_write().is_ok());
    }
}

#[test]
fn what_was_held_at_a_fork_is_the_parents_whatever_the_fork_changes_and_drops() {
    alone(|()| {
        end_after(100);
        hold_across_a_fork(&All::new());
    });
}

#[test]
#[cfg(not(feature = "portable"))]
fn in_an_embedders_memory_a_fork_has_and_holds_nothing_either() {
    alone(|()| {
        end_after(100);
        let (_memory, place) = arena::create();
        let all = All::in_arena(&arena::Arena::at(place));
        fork(|| {
            all.try_in_fork();
            all.try_to_make_in_fork();
            all.speak_in_fork();
        })
        .join();
        all.assert_untouched();
        hold_across_a_fork(&all);
        all.counting.post_many(3).unwrap();
        all.event.set();
        all.barrier.abort();
        fork(|| {
            all.try_in_fork();
            all.speak_in_fork();
        })
        .join();
        assert!(all.event.is_set() && all.barrier.is_broken());
        assert_eq!(all.counting.available(), 3);
    });
}
