//! The family of locks: every operation of each, killed at every site while others use the same thing.
//!
//! Whoever is there beside a victim must get on, and finds what the victim had completed, at most one operation more (the one in doubt), and nothing that
//! is half done.

mod arrays;
mod barriers;
mod condvars;
mod counting;
mod events;
mod exclusive;
mod onces;
mod permits;
pub(crate) mod races;
mod readers;
mod reapers;
pub(crate) mod stops;

use crate::harness::wait_until_asleep;
use serde::{Serialize, de::DeserializeOwned};
use shmkit::prelude::*;
use shmkit::segment::{Configuration, Object, Options, Segment};
use shmkit::sync::{LockTimeoutError, MutexObject, RwLockObject};
use std::sync::Arc;
use std::thread::JoinHandle as Thread;
use std::time::Duration;

/// What a lock guards: one number, written eight times.
pub(crate) type Value = [u64; 8];

/// How often the value was changed. It is never half of one change and half of another.
pub(crate) fn changes(value: &Value) -> u64 {
    assert!(value.iter().all(|word| *word == value[0]), "half of a change: {value:?}");
    value[0]
}

/// Makes a change, one word at a time.
pub(crate) fn change(value: &mut Value) {
    let _is_whole = changes(value);
    value.iter_mut().for_each(|word| *word += 1);
}

/// A segment for this process, a victim and two more: sweeps and writers look at each place there is, and each look is a site.
pub(crate) fn small<O: Object>(configuration: Configuration) -> Arc<Segment<O>> {
    Options::new().peers(4).anonymous(configuration).expect("a segment")
}

/// Starts a thread, and returns once it sleeps in its work, or has done it.
pub(crate) fn asleep<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> Thread<R> {
    let (tell, told) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        tell.send(std::fs::read_link("/proc/thread-self").unwrap()).unwrap();
        work()
    });
    wait_until_asleep(&thread, &told.recv().unwrap());
    thread
}

/// A handle of one of the primitives, whatever it is.
pub(crate) trait Handle: Clone + Serialize + DeserializeOwned + Send + 'static {
    /// Reaps whoever has died: how many.
    fn reap_dead(&self) -> usize;
    /// How many are attached.
    fn peer_count(&self) -> usize;
}

macro_rules! handles {
    ($($handle:ty),*) => {$(
        impl Handle for $handle {
            fn reap_dead(&self) -> usize {
                self.segment().reap_dead()
            }

            fn peer_count(&self) -> usize {
                self.segment().peer_count()
            }
        }
    )*};
}

handles!(
    Mutex<Value>,
    RwLock<Value>,
    Array<u64>,
    Array<u16>,
    Condvar,
    Event,
    Barrier,
    OnceLock<Value>,
    Semaphore,
    CountingSemaphore
);

/// A lock that one at a time changes a value under.
pub(crate) trait Lock: Handle {
    const NAME: &str;

    fn new() -> Self;

    /// Locks, says whether a holder has died with the lock, changes the value, and gives the lock back, after making it consistent if that is asked.
    fn change(&self, heals: bool) -> bool;

    /// The same if the lock can be had in time.
    fn change_within(&self, time: Duration) -> Option<bool>;

    /// Keeps the lock as long as `work` takes, and changes nothing.
    fn hold<R>(&self, work: impl FnOnce() -> R) -> R;

    /// How often the value was changed, and whether a holder has died with the lock: nothing is changed.
    fn look(&self) -> (u64, bool);

    /// Whether a victim that was killed there had the lock.
    fn is_held_at(site: &str) -> bool;
}

macro_rules! lock {
    ($name:literal, $lock:ident, $lock_it:ident, $lock_timeout:ident, $object:ident) => {
        impl Lock for $lock<Value> {
            const NAME: &str = $name;

            fn new() -> Self {
                Self::of(&small::<$object<Value>>(Configuration::default()))
            }

            fn change(&self, heals: bool) -> bool {
                let (mut guard, told) = match self.$lock_it() {
                    Ok(guard) => (guard, false),
                    Err(LockError::OwnerDied(guard)) => (guard, true),
                    Err(other) => panic!("{other:?}"),
                };
                change(&mut guard);
                if heals {
                    guard.make_consistent();
                }
                told
            }

            fn change_within(&self, time: Duration) -> Option<bool> {
                let (mut guard, told) = match self.$lock_timeout(time) {
                    Ok(guard) => (guard, false),
                    Err(LockTimeoutError::OwnerDied(guard)) => (guard, true),
                    Err(LockTimeoutError::Timeout) => return None,
                    Err(other) => panic!("{other:?}"),
                };
                change(&mut guard);
                guard.make_consistent();
                Some(told)
            }

            fn hold<R>(&self, work: impl FnOnce() -> R) -> R {
                let _guard = self.$lock_it().unwrap();
                work()
            }

            fn look(&self) -> (u64, bool) {
                let (guard, told) = match self.$lock_it() {
                    Ok(guard) => (guard, false),
                    Err(LockError::OwnerDied(guard)) => (guard, true),
                    Err(other) => panic!("{other:?}"),
                };
                (changes(&guard), told)
            }

            fn is_held_at(site: &str) -> bool {
                is_held_at(site, $name)
            }
        }
    };
}

lock!("mutex", Mutex, lock, lock_timeout, MutexObject);
lock!("writer", RwLock, write, write_timeout, RwLockObject);

/// From winning the exchange to the store that gives the lock back; a writer has it from when it begins, behind all readers.
fn is_held_at(site: &str, lock: &str) -> bool {
    let operation = site.split_once(' ').map_or("", |(_, operation)| operation);
    let is_in_hand = ["read value", "write value", "store"].contains(&operation);
    site.starts_with("src/owner.rs:") && (is_in_hand || lock == "mutex" && operation == "compare_exchange won")
}

pub(crate) fn all() {
    exclusive::all::<Mutex<Value>>();
    exclusive::all::<RwLock<Value>>();
    condvars::all();
    barriers::all();
    readers::all();
    arrays::all();
    events::all();
    onces::all();
    permits::all();
    counting::all();
    reapers::all();
}

/// Those who wait, once more: see [`give_more_chances`](crate::sites::give_more_chances).
pub(crate) fn those_who_wait() {
    permits::all();
    readers::all();
    races::every_exchange();
}
