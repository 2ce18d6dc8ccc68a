//! The locks under weak memory, with a thread that dies at every access, explored by loom: `ci/loom` runs this with
//! `--cfg loom --cfg crash_points`.
//!
//! The victim is a peer of its own. It runs an operation in which the n-th access unwinds instead of happening, for n = 1, 2, … until the operation
//! completes in every interleaving; then its lock falls, and a survivor reaps it. Nobody looks after peers by itself here, as nothing times out in a model: so
//! whoever waits for the dead one is woken by that reaper, or for ever asleep, which loom reports.
//!
//! The peer is dead from that access on: guards that are dropped in the unwinding give nothing back.
#![cfg(all(loom, crash_points))]

mod condvar;
#[path = "../../../segment/tests/every_site/mod.rs"]
mod every_site;

use every_site::kill_at_every_site;
use loom::thread::{self, JoinHandle};
use shmkit_segment::crash;
use shmkit_sync::{
    Array, Barrier, BarrierError, CountingSemaphore, Event, LockError, Mutex, OnceLock, RwLock, Semaphore, TryLockError,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Runs `operation` with the `n`-th access unwinding, after which `die` has been called in any case: whether it completed.
fn survives(n: u64, die: impl Fn() + Clone + 'static, operation: impl FnOnce()) -> bool {
    crash::arm_with(n, die.clone());
    let completed = catch_unwind(AssertUnwindSafe(operation)).is_ok();
    crash::disarm();
    if completed {
        die();
    }
    completed
}

/// The same object, as another peer: as another process has it.
macro_rules! as_another_peer {
    ($handle:ident: $type:ident) => {
        $type::of(&$handle.segment().join().unwrap())
    };
}
pub(crate) use as_another_peer;

/// How a peer that has `handle` dies.
macro_rules! death_of {
    ($handle:ident) => {{
        let segment = Arc::clone($handle.segment());
        move || segment.die()
    }};
}

/// Runs `operation` with `victim` on a thread of its own, which dies of the `n`-th access, or when the operation is complete: whether it was.
macro_rules! kill {
    ($n:ident, $victim:ident, $operation:expr) => {
        thread::spawn(move || {
            let completed = survives($n, death_of!($victim), || $operation(&$victim));
            // Dropped by who joins the thread: else that is explored as well.
            (completed, $victim)
        })
    };
}

/// Runs `work` with `handle` on a thread of its own, and gives the handle back in the end.
fn with<H: Send + 'static, R: Send + 'static>(
    handle: H,
    work: impl FnOnce(&H) -> R + Send + 'static,
) -> JoinHandle<(R, H)> {
    thread::spawn(move || (work(&handle), handle))
}

/// A value whose halves are always equal, however far it was changed.
type Halves = [u32; 2];

fn add(halves: &mut Halves, more: u32) {
    halves.iter_mut().for_each(|half| *half += more);
}

/// The guard, and whether somebody has died with the lock.
fn inherited<G: std::fmt::Debug>(outcome: Result<G, LockError<G>>) -> (G, bool) {
    match outcome {
        Ok(guard) => (guard, false),
        Err(LockError::OwnerDied(guard)) => (guard, true),
        Err(error) => panic!("{error:?}"),
    }
}

/// All of a change or nothing, and whoever comes next is told.
#[test]
fn mutex_holder() {
    kill_at_every_site("mutex holder", 3, |n| {
        let mutex = Mutex::private([0; 2]).unwrap();
        let victim = as_another_peer!(mutex: Mutex);
        let thread = kill!(n, victim, |mutex: &Mutex<Halves>| add(&mut mutex.lock().unwrap(), 1));
        let mine = match mutex.try_lock() {
            Ok(mut guard) => {
                add(&mut guard, 10);
                10
            }
            Err(error) => {
                assert!(matches!(error, TryLockError::Locked));
                0
            }
        };
        let (completed, victim) = thread.join().unwrap();
        assert_eq!(mutex.segment().reap_dead(), 1);
        let (mut guard, has_died) = inherited(mutex.lock());
        let theirs = guard[0] - mine;
        assert!(guard[0] == guard[1] && theirs <= 1, "{guard:?}");
        // It was killed before it took the lock, with the lock, or after it had given it back.
        assert!(!completed || theirs == 1 && !has_died, "{guard:?}");
        assert!(!has_died || theirs == 0, "{guard:?}");
        assert_eq!(guard.is_inconsistent(), has_died);
        guard.make_consistent();
        drop(guard);
        assert!(mutex.try_lock().is_ok());
        drop(victim);
        completed
    });
}

/// Nobody competes, so it can be told at which of the victim's accesses it had the lock: from the one after its exchange to the store that gives it back.
#[test]
fn mutex_is_inconsistent_if_its_holder_died_before_it_gave_it_back() {
    /// The sites, as bits.
    static DIED_WITH_IT: AtomicU64 = AtomicU64::new(0);
    kill_at_every_site("mutex holder alone", 3, |n| {
        let mutex = Mutex::private([0; 2]).unwrap();
        let victim = as_another_peer!(mutex: Mutex);
        let thread = kill!(n, victim, |mutex: &Mutex<Halves>| add(&mut mutex.lock().unwrap(), 1));
        let (completed, _victim) = thread.join().unwrap();
        mutex.segment().reap_dead();
        let (guard, has_died) = inherited(mutex.lock());
        if has_died {
            assert_eq!(*guard, [0; 2]);
            DIED_WITH_IT.fetch_or(1 << n, Ordering::Relaxed);
        }
        completed
    });
    // The value is read, and written; then comes the store.
    assert_eq!(DIED_WITH_IT.load(Ordering::Relaxed).count_ones(), 3);
}

/// The victim may be the one that was woken, or was about to sleep.
#[test]
fn mutex_waiter() {
    kill_at_every_site("mutex waiter", 1, |n| {
        let mutex = Mutex::private([0; 2]).unwrap();
        let (victim, other) = (as_another_peer!(mutex: Mutex), mutex.clone());
        let guard = mutex.lock().unwrap();
        let thread = kill!(n, victim, |mutex: &Mutex<Halves>| add(&mut mutex.lock().unwrap(), 1));
        let survivor = with(other, |mutex| {
            let (mut guard, _) = inherited(mutex.lock());
            add(&mut guard, 10);
            guard.make_consistent();
        });
        drop(guard);
        let (completed, _victim) = thread.join().unwrap();
        mutex.segment().reap_dead();
        let _survivor = survivor.join().unwrap();
        let (guard, _) = inherited(mutex.lock());
        assert!(guard[0] == guard[1] && [10, 11].contains(&guard[0]) && (guard[0] == 11 || !completed), "{guard:?}");
        completed
    });
}

#[test]
fn rw_lock_writer() {
    kill_at_every_site("writer", 3, |n| {
        let lock = RwLock::private([0; 2]).unwrap();
        let victim = as_another_peer!(lock: RwLock);
        let thread = kill!(n, victim, |lock: &RwLock<Halves>| add(&mut lock.write().unwrap(), 1));
        if let Ok(guard) = lock.try_read() {
            assert!([[0; 2], [1; 2]].contains(&guard));
        }
        let (completed, _victim) = thread.join().unwrap();
        lock.segment().reap_dead();
        let (guard, has_died) = inherited(lock.read());
        assert!([[0; 2], [1; 2]].contains(&guard), "{guard:?}");
        assert!(!completed || guard[0] == 1 && !has_died);
        assert!(!has_died || guard[0] == 0);
        assert_eq!(guard.is_inconsistent(), has_died);
        drop(guard);
        let (mut guard, has_died_still) = inherited(lock.write());
        assert_eq!(has_died_still, has_died);
        guard.make_consistent();
        drop(guard);
        assert!(lock.try_read().is_ok());
        completed
    });
}

/// As long as it waits for readers it has touched nothing.
#[test]
fn rw_lock_writer_that_waits_for_readers() {
    kill_at_every_site("writer that is turned away", 3, |n| {
        let lock = RwLock::private([0; 2]).unwrap();
        let victim = as_another_peer!(lock: RwLock);
        let reading = lock.read().unwrap();
        let thread =
            kill!(n, victim, |lock: &RwLock<Halves>| assert!(matches!(lock.try_write(), Err(TryLockError::Locked))));
        let other = lock.try_read();
        assert!(matches!(other, Ok(_) | Err(TryLockError::Locked)));
        drop(other);
        let (completed, _victim) = thread.join().unwrap();
        lock.segment().reap_dead();
        drop(reading);
        assert!(lock.try_read().is_ok() && lock.try_write().is_ok());
        completed
    });
}

#[test]
fn rw_lock_writer_beside_one_who_waits() {
    kill_at_every_site("writer beside a reader who waits", 2, |n| {
        let lock = RwLock::private([0; 2]).unwrap();
        let (victim, reads) = (as_another_peer!(lock: RwLock), lock.clone());
        let thread = kill!(n, victim, |lock: &RwLock<Halves>| add(&mut inherited(lock.write()).0, 1));
        let reader = with(reads, |lock| {
            let (guard, _) = inherited(lock.read());
            assert!([[0; 2], [1; 2]].contains(&guard), "{guard:?}");
        });
        let (completed, _victim) = thread.join().unwrap();
        lock.segment().reap_dead();
        let _reader = reader.join().unwrap();
        completed
    });
}

#[test]
fn rw_lock_reader() {
    kill_at_every_site("reader", 2, |n| {
        let lock = RwLock::private([0; 2]).unwrap();
        let (victim, writes) = (as_another_peer!(lock: RwLock), lock.clone());
        let thread = kill!(n, victim, |lock: &RwLock<Halves>| {
            let guard = lock.read().unwrap();
            assert!([[0; 2], [1; 2]].contains(&guard));
        });
        let writer = with(writes, |lock| add(&mut lock.write().unwrap(), 1));
        let (completed, _victim) = thread.join().unwrap();
        lock.segment().reap_dead();
        let _writer = writer.join().unwrap();
        // A dead reader has changed nothing.
        assert_eq!(*lock.try_read().unwrap(), [1; 2]);
        completed
    });
}

/// Changed in place: what others find may be partly new, and then they are told.
#[test]
fn array_writer() {
    kill_at_every_site("array writer", 3, |n| {
        let array = Array::<u64>::private(2).unwrap();
        let victim = as_another_peer!(array: Array);
        let thread = kill!(n, victim, |array: &Array<u64>| {
            let mut guard = array.write().unwrap();
            guard.set(0, 7);
            guard.set(1, 7);
        });
        if let Ok(guard) = array.try_read() {
            assert_eq!(guard.get(0), guard.get(1));
        }
        let (completed, _victim) = thread.join().unwrap();
        array.segment().reap_dead();
        let (guard, has_died) = inherited(array.read());
        let got = [guard.get(0), guard.get(1)];
        assert!(got.iter().all(|element| [0, 7].contains(element)), "{got:?}");
        assert!(got[0] == got[1] || has_died, "{got:?}");
        assert!(!completed || got == [7, 7] && !has_died, "{got:?}");
        completed
    });
}

#[test]
fn event_setter() {
    kill_at_every_site("event setter", 3, |n| {
        let event = Event::private().unwrap();
        let (victim, waits) = (as_another_peer!(event: Event), event.clone());
        let thread = kill!(n, victim, Event::set);
        let waiter = with(waits, |event| event.wait().unwrap());
        let (completed, _victim) = thread.join().unwrap();
        event.segment().reap_dead();
        if !event.is_set() {
            assert!(!completed);
            event.set();
        }
        let _waiter = waiter.join().unwrap();
        completed
    });
}

/// Any death breaks it, but not for those who were let through before.
#[test]
fn barrier_party() {
    kill_at_every_site("barrier", 3, |n| {
        let barrier = Barrier::private(2).unwrap();
        let (victim, other) = (as_another_peer!(barrier: Barrier), barrier.clone());
        let thread = thread::spawn(move || {
            let mut passed = None;
            let completed = survives(n, death_of!(victim), || passed = Some(victim.wait()));
            (completed, passed, victim)
        });
        let survivor = with(other, Barrier::wait);
        let (completed, passed, _victim) = thread.join().unwrap();
        barrier.segment().reap_dead();
        let (theirs, _survivor) = survivor.join().unwrap();
        assert!(matches!(theirs, Ok(0 | 1) | Err(BarrierError::Broken)), "{theirs:?}");
        assert!(!completed || matches!(passed, Some(Ok(_))) && theirs.is_ok(), "{passed:?} {theirs:?}");
        assert!(barrier.is_broken());
        barrier.reset();
        assert!(!barrier.is_broken() && barrier.waiting() == 0);
        completed
    });
}

#[test]
fn once_lock_maker() {
    kill_at_every_site("maker of a value", 3, |n| {
        let once = OnceLock::<u32>::private().unwrap();
        let (victim, needs) = (as_another_peer!(once: OnceLock), once.clone());
        let thread = thread::spawn(move || {
            let mut got = None;
            let completed = survives(n, death_of!(victim), || got = victim.get_or_init(|| 7).ok());
            (completed, got, victim)
        });
        let survivor = with(needs, |once| once.get_or_init(|| 8).unwrap());
        let (completed, got, _victim) = thread.join().unwrap();
        let seen = once.get();
        once.segment().reap_dead();
        let (theirs, _survivor) = survivor.join().unwrap();
        assert!([7, 8].contains(&theirs) && got.is_none_or(|got| got == theirs), "{got:?} {theirs}");
        // What was there stays.
        assert!(once.get() == Some(theirs) && seen.is_none_or(|seen| seen == theirs), "{seen:?} {theirs}");
        completed
    });
}

#[test]
fn semaphore_holder_of_several() {
    kill_at_every_site("semaphore holder of several", 3, |n| {
        let semaphore = Semaphore::private(2).unwrap();
        let victim = as_another_peer!(semaphore: Semaphore);
        let thread = kill!(n, victim, |semaphore: &Semaphore| _ = semaphore.try_acquire_many(2));
        drop(semaphore.try_acquire_many(2));
        drop(semaphore.try_acquire());
        let (completed, _victim) = thread.join().unwrap();
        semaphore.segment().reap_dead();
        assert_eq!(semaphore.try_acquire_many(2).unwrap().count(), 2);
        completed
    });
}

#[test]
fn semaphore_holder_of_several_beside_one_who_waits() {
    kill_at_every_site("semaphore holder of several beside one who waits", 1, |n| {
        let semaphore = Semaphore::private(2).unwrap();
        let (victim, waits) = (as_another_peer!(semaphore: Semaphore), semaphore.clone());
        let thread = kill!(n, victim, |semaphore: &Semaphore| _ = semaphore.try_acquire_many(2));
        let survivor = with(waits, |semaphore| drop(semaphore.acquire().unwrap()));
        let (completed, _victim) = thread.join().unwrap();
        semaphore.segment().reap_dead();
        let _survivor = survivor.join().unwrap();
        assert_eq!(semaphore.available(), 2);
        completed
    });
}

#[test]
fn counting_semaphore_poster() {
    kill_at_every_site("poster", 3, |n| {
        let semaphore = CountingSemaphore::private(2).unwrap();
        let (victim, waits) = (as_another_peer!(semaphore: CountingSemaphore), semaphore.clone());
        let thread = kill!(n, victim, |semaphore: &CountingSemaphore| semaphore.post().unwrap());
        let waiter = with(waits, |semaphore| semaphore.acquire().unwrap());
        let (completed, _victim) = thread.join().unwrap();
        semaphore.segment().reap_dead();
        // A permit that is there must come to the one that waits without any more ado.
        let is_posted = semaphore.available() == 1;
        if !completed && !is_posted {
            semaphore.post().unwrap();
        }
        let _waiter = waiter.join().unwrap();
        assert!(semaphore.available() <= usize::from(!completed));
        completed
    });
}
