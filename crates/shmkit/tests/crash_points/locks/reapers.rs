//! The second kill: somebody is dead, and whoever recovers from that is killed too, at every site.

use super::{Handle, Lock, Value, barriers, condvars, exclusive, onces};
use crate::harness::{Orders, at_every_site, came_through, go_on, last_death, wait_for_sleep, wait_for_stop};
use crate::stops::ARMED;
use barriers::Act;
use condvars::Store;
use rustix::process::Signal;
use shmkit::prelude::*;
use shmkit::process::JoinHandle;
use shmkit::segment::crash;
use shmkit::sync::BarrierError;
use std::os::fd::AsFd;
use tempfile::TempDir;

fn reap<H: Handle>((orders, handle): (Orders, H)) {
    orders.arm();
    handle.reap_dead();
    crash::disarm();
}

/// Kills the reaper at every site, in what `dead` leaves; then somebody else reaps both, and `check`s.
fn at_every_site_of_a_reaper<H: Handle, R>(name: &str, dead: impl Fn() -> (H, R), check: impl Fn(&H, R)) {
    at_every_site(&format!("reaper of {name}"), |orders| {
        let (handle, rest) = dead();
        let done = came_through(spawn(reap::<H>, (orders.clone(), handle.clone())).unwrap());
        handle.reap_dead();
        check(&handle, rest);
        assert_eq!(handle.peer_count(), 1);
        done
    });
}

/// A process that sleeps in its operation.
struct Sleeper {
    process: JoinHandle<()>,
    orders: Orders,
    _directory: TempDir,
}

impl Sleeper {
    fn new(start: impl FnOnce(&Orders) -> JoinHandle<()>) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        // It only notes what it does.
        let orders = Orders::to_stop(directory.path(), u64::MAX);
        let process = start(&orders);
        assert!(wait_for_sleep(&process, &orders));
        Self { process, orders, _directory: directory }
    }

    /// Stops it, so that it is not the one that notices a death.
    fn stopped(self) -> Self {
        rustix::process::pidfd_send_signal(self.process.as_fd(), Signal::STOP).unwrap();
        assert!(wait_for_stop(&self.process));
        self
    }

    fn kill(self) {
        self.process.kill().unwrap();
        assert!(!came_through(self.process));
    }

    /// Lets it go on to its end, to which nobody else helps it, and gives what it has noted.
    fn end(self) -> Vec<u64> {
        go_on(&self.process);
        self.process.join().unwrap();
        self.orders.ledger().into_iter().filter(|&item| item != ARMED).collect()
    }
}

fn holder<L: Lock>() {
    let dead = || {
        let lock = L::new();
        assert!(!came_through(spawn(exclusive::die_holding::<L>, lock.clone()).unwrap()));
        (lock, ())
    };
    at_every_site_of_a_reaper(&format!("a {} with the lock", L::NAME), dead, |lock, ()| {
        assert_eq!(lock.look(), (0, true), "the reaper was killed at {}", last_death());
        assert!(lock.change(true) && !lock.change(true));
    });
}

fn die_reading(lock: RwLock<Value>) {
    let _guard = lock.read().unwrap();
    exclusive::die();
}

fn reader() {
    let dead = || {
        let lock = <RwLock<Value> as Lock>::new();
        assert!(!came_through(spawn(die_reading, lock.clone()).unwrap()));
        (lock, ())
    };
    at_every_site_of_a_reaper("a reader", dead, |lock, ()| {
        assert!(!lock.change(false), "a dead reader leaves nothing half done");
    });
}

fn write((orders, lock): (Orders, RwLock<Value>)) {
    let mut ledger = orders.arm();
    ledger.note(ARMED);
    lock.change(false);
}

/// A writer that is killed while a reader is in has begun nothing.
fn waiting_writer() {
    let dead = || {
        let lock = <RwLock<Value> as Lock>::new();
        let is_in = lock.read().unwrap();
        Sleeper::new(|orders| spawn(write, (orders.clone(), lock.clone())).unwrap()).kill();
        drop(is_in);
        (lock, ())
    };
    at_every_site_of_a_reaper("a writer that waits for a reader", dead, |lock, ()| {
        assert_eq!(lock.look(), (0, false));
        assert!(!lock.change(false));
    });
}

fn taker(store: &Store) -> Sleeper {
    Sleeper::new(|orders| spawn(condvars::take, (orders.clone(), store.clone())).unwrap())
}

/// The dead one waited, and was notified if that is asked; another one waits behind it for the same. There is an item for one of them.
fn condvar_waiter(is_notified: bool) {
    let dead = || {
        let store = Store::new();
        let victim = taker(&store).stopped();
        let other = taker(&store).stopped();
        store.lock()[0] += 1;
        if is_notified {
            assert!(store.changed.notify_one(), "the dead one waits");
        }
        victim.kill();
        (store.changed.clone(), (store, other))
    };
    let name = if is_notified { "one that a condvar has notified" } else { "one that waits at a condvar" };
    at_every_site_of_a_reaper(name, dead, |_, (store, other)| {
        go_on(&other.process);
        store.wait_until_empty();
        store.end();
        assert_eq!(other.end(), [1]);
        assert!(!store.changed.notify_one(), "nobody waits");
    });
}

fn barrier_party() {
    let dead = || {
        let barrier = barriers::new(3);
        let party = || Sleeper::new(|orders| barriers::spawn_player(orders, &barrier, Act::Arrive));
        let (victim, other) = (party(), party().stopped());
        victim.kill();
        (barrier, other)
    };
    at_every_site_of_a_reaper("one that waits at a barrier", dead, |barrier, other| {
        assert_eq!(other.end(), [barriers::BROKEN]);
        assert_eq!(barrier.wait(), Err(BarrierError::Broken));
        barriers::mend(barrier, true);
    });
}

fn never_make((orders, once): (Orders, OnceLock<Value>)) {
    let mut ledger = orders.arm();
    let _value = once.get_or_init(|| {
        ledger.note(ARMED);
        loop {
            std::thread::park();
        }
    });
}

fn maker() {
    let dead = || {
        let once = onces::new();
        let victim = Sleeper::new(|orders| spawn(never_make, (orders.clone(), once.clone())).unwrap());
        let other = Sleeper::new(|orders| spawn(onces::make, (orders.clone(), once.clone())).unwrap()).stopped();
        victim.kill();
        (once, other)
    };
    at_every_site_of_a_reaper("one that makes a value", dead, |once, other| {
        assert_eq!(other.end(), [onces::VICTIMS, onces::GIVEN + onces::VICTIMS]);
        assert_eq!(once.get(), Some([onces::VICTIMS; 8]));
    });
}

pub(super) fn all() {
    holder::<Mutex<Value>>();
    holder::<RwLock<Value>>();
    reader();
    waiting_writer();
    condvar_waiter(false);
    condvar_waiter(true);
    barrier_party();
    maker();
}
