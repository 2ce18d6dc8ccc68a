//! The operations of locks and the like, each by itself: nobody else uses the object, so that nobody waits and nobody is woken. Written once, for two ways of measuring:
//! the time they take (`../sync.rs`) and the instructions they execute (`../instructions.rs`).
//!
//! What keeps the numbers honest is what does so for the queues: `../queue/operations.rs`. All objects are in shared memory, with places for 64 peers unless the name says otherwise, as
//! that is what they are for.

use crate::repeat::Repeat;
use shmkit::segment::primitive::{AtomicU64, Ordering};
use shmkit::segment::{Configuration, Object, Options, Plain, Segment};
use shmkit::sync::{
    Array, Barrier, Condvar, CountingSemaphore, Event, EventCount, Mutex, MutexObject, OnceLock, RwLock, RwLockObject,
    Semaphore, SemaphoreObject, Shared, TryAcquireError, TryLockError,
};
use std::hint::black_box;
use std::sync::Arc;

/// Peers that are attached, this one included, and places for peers.
const PEERS: [usize; 3] = [1, 8, 64];
const MEMORY: &str = "there is memory";
const ALIVE: &str = "nobody has died";

/// Every operation. What is measured of it includes that it succeeds.
pub(crate) fn all(measure: &mut impl Repeat) {
    semaphores(measure);
    mutexes(measure);
    readers_and_writers(measure);
    arrays(measure);
    the_rest(measure);
}

/// A segment to which so many are attached, those who are, and nobody else has a place.
fn crowd<O: Object>(configuration: Configuration, peers: usize) -> (Arc<Segment<O>>, Vec<Arc<Segment<O>>>) {
    let segment: Arc<Segment<O>> = Options::new().peers(peers).anonymous(configuration).expect(MEMORY);
    let others = (1..peers).map(|_| segment.join().expect("there is a place")).collect();
    assert_eq!(segment.peer_count(), peers);
    (segment, others)
}

fn semaphores(measure: &mut impl Repeat) {
    for peers in PEERS {
        measure.repeat(
            format!("semaphore acquire and release, peers {peers}"),
            || {
                let (segment, others) = crowd(SemaphoreObject::configuration(1), peers);
                (Semaphore::of(&segment), others)
            },
            |(semaphore, _)| drop(semaphore.acquire().expect(ALIVE)),
        );
    }
    measure.repeat(
        "semaphore acquire and release, the last of 64",
        || {
            let semaphore = Semaphore::new(64).expect(MEMORY);
            std::mem::forget(semaphore.acquire_many(63).expect(ALIVE));
            semaphore
        },
        |semaphore| drop(semaphore.acquire().expect(ALIVE)),
    );
    measure.repeat(
        "semaphore acquire_many and release, 8 of 64",
        || Semaphore::new(64).expect(MEMORY),
        |semaphore| assert_eq!(semaphore.acquire_many(8).expect(ALIVE).count(), 8),
    );
    measure.repeat(
        "semaphore try_acquire, no permit",
        || {
            let semaphore = Semaphore::new(1).expect(MEMORY);
            std::mem::forget(semaphore.acquire().expect(ALIVE));
            semaphore
        },
        |semaphore| assert!(matches!(semaphore.try_acquire(), Err(TryAcquireError::Unavailable))),
    );
    measure.repeat(
        "counting semaphore post and acquire",
        || CountingSemaphore::new(1).expect(MEMORY),
        |semaphore| {
            semaphore.post().expect("there is room");
            semaphore.acquire().expect(ALIVE);
        },
    );
    measure.repeat(
        "counting semaphore post_many and acquire_many, 8",
        || CountingSemaphore::new(8).expect(MEMORY),
        |semaphore| {
            semaphore.post_many(8).expect("there is room");
            semaphore.acquire_many(8).expect(ALIVE);
        },
    );
}

fn mutexes(measure: &mut impl Repeat) {
    for peers in PEERS {
        measure.repeat(
            format!("mutex lock, change and unlock, peers {peers}"),
            || {
                let (segment, others) = crowd::<MutexObject<u64>>(Configuration::default(), peers);
                (Mutex::of(&segment), others)
            },
            |(mutex, _)| *mutex.lock().expect(ALIVE) += black_box(1),
        );
    }
    measure.repeat(
        "mutex lock, look and unlock",
        || Mutex::new(7_u64).expect(MEMORY),
        |mutex| assert_eq!(*mutex.lock().expect(ALIVE), 7),
    );
    measure.repeat(
        "mutex lock, change and unlock, 256 B",
        || Mutex::new([0_u64; 32]).expect(MEMORY),
        |mutex| mutex.lock().expect(ALIVE)[black_box(31)] += 1,
    );
    measure.repeat(
        "mutex try_lock, locked",
        || {
            let mutex = Mutex::new(0_u64).expect(MEMORY);
            std::mem::forget(mutex.lock().expect(ALIVE));
            mutex
        },
        |mutex| assert!(matches!(mutex.try_lock(), Err(TryLockError::Locked))),
    );
}

/// With so many places for peers.
fn rw_lock(peers: usize) -> (RwLock<u64>, impl Sized) {
    let (segment, others) = crowd::<RwLockObject<u64>>(Configuration::default(), peers);
    (RwLock::of(&segment), others)
}

fn readers_and_writers(measure: &mut impl Repeat) {
    for peers in PEERS {
        measure.repeat(
            format!("rw lock read and unlock, peers {peers}"),
            || rw_lock(peers),
            |(lock, _)| assert_eq!(*lock.read().expect(ALIVE), 0),
        );
    }
    for places in [1, 64] {
        measure.repeat(
            format!("rw lock write and unlock, places {places}"),
            || rw_lock(places),
            |(lock, _)| *lock.write().expect(ALIVE) += black_box(1),
        );
    }
    measure.repeat(
        "rw lock read and unlock, 256 B",
        || RwLock::new([0_u64; 32]).expect(MEMORY),
        |lock| assert_eq!(lock.read().expect(ALIVE)[black_box(31)], 0),
    );
}

/// 1024 elements.
fn array<T: Plain>() -> Array<T> {
    Array::new(1024).expect(MEMORY)
}

fn arrays(measure: &mut impl Repeat) {
    measure.repeat("array read, get and unlock", array::<u64>, |array| {
        assert_eq!(array.read().expect(ALIVE).get(black_box(1000)), 0);
    });
    measure.repeat("array write, set and unlock", array::<u64>, |array| {
        array.write().expect(ALIVE).set(black_box(1000), 7);
    });
    // Elements beyond the first show what each of them costs.
    measure.repeat("array read, get 64 times and unlock", array::<u64>, |array| {
        let guard = array.read().expect(ALIVE);
        (0..64).map(|index| guard.get(black_box(index))).sum::<u64>()
    });
    measure.repeat("array read, read_slice and unlock, 64", array::<u64>, |array| {
        let mut values = [1; 64];
        array.read().expect(ALIVE).read_slice(black_box(0), &mut values);
        assert_eq!(black_box(values)[63], 0);
    });
}

fn the_rest(measure: &mut impl Repeat) {
    let event = || Event::new().expect(MEMORY);
    measure.repeat("event is_set", event, |event| assert!(!event.is_set()));
    measure.repeat("event set and clear", event, |event| {
        event.set();
        event.clear();
    });
    measure.repeat("event count notify, nobody asleep", EventCount::default, |events| events.notify_one());
    measure.repeat(
        "condvar notify_one, nobody waits",
        || Condvar::new().expect(MEMORY),
        |condvar| assert!(!condvar.notify_one()),
    );
    measure.repeat(
        "barrier wait, alone",
        || Barrier::new(1).expect(MEMORY),
        |barrier| assert_eq!(barrier.wait().expect(ALIVE), 0),
    );
    measure.repeat(
        "once lock get",
        || {
            let once = OnceLock::new().expect(MEMORY);
            once.set(7_u64).expect("it is empty");
            once
        },
        |once| assert_eq!(once.get(), Some(7)),
    );
    measure.repeat(
        "shared fetch_add",
        || Shared::<AtomicU64>::new().expect(MEMORY),
        |shared| shared.fetch_add(black_box(1), Ordering::Relaxed),
    );
}
