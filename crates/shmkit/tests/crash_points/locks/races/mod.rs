//! Compare-exchanges of the locks that are lost: see `races.rs` above.

mod waiting;

use super::{Handle, Lock, Value, counting, permits};
use crate::harness::Orders;
use crate::races::{Race, lose_every_exchange};
use crate::traffic::SHORT;
use shmkit::prelude::*;
use shmkit::process::JoinHandle;
use shmkit::segment::crash;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle as Thread;
use waiting::{Arriving, Making, Notifying, Setting, Waiting};

fn change<L: Lock>((orders, lock): (Orders, L)) {
    let mut ledger = orders.arm();
    lock.change(true);
    ledger.note(1);
    crash::disarm();
}

/// Another one changes the value first, unless the victim has the lock already.
struct Locking<L> {
    lock: L,
    changes: u64,
}

impl<L: Lock> Race for Locking<L> {
    fn new() -> Self {
        Self { lock: L::new(), changes: 0 }
    }

    fn victim(&self, orders: &Orders) -> JoinHandle<()> {
        spawn(change::<L>, (orders.clone(), self.lock.clone())).unwrap()
    }

    fn interfere(&mut self) {
        self.changes += u64::from(self.lock.change_within(SHORT).is_some());
    }

    fn check(self, orders: &Orders) {
        self.lock.reap_dead();
        let noted = orders.ledger().len() as u64;
        let (found, told) = self.lock.look();
        let own = found - self.changes;
        assert!(own == noted || own == 1 && !told, "{own} and {noted}");
        assert_eq!(self.lock.change(true), told);
        assert!(!self.lock.change(true));
    }
}

type Wanted = (Orders, Semaphore, usize);

fn acquire((orders, semaphore, count): Wanted) {
    orders.arm();
    // In vain, if another one has them all the time.
    drop(semaphore.acquire_many_timeout(count, SHORT));
    drop(semaphore.try_acquire());
    crash::disarm();
}

/// Another one takes all permits that are free, one of which the victim was about to take: it must give back what it had taken until then.
struct Acquiring {
    semaphore: Semaphore,
    /// Keeps the permits until it is told.
    rival: Option<(Thread<()>, Sender<()>)>,
}

impl Race for Acquiring {
    fn new() -> Self {
        Self { semaphore: permits::new(), rival: None }
    }

    fn victim(&self, orders: &Orders) -> JoinHandle<()> {
        spawn(acquire, (orders.clone(), self.semaphore.clone(), 2)).unwrap()
    }

    fn interfere(&mut self) {
        let semaphore = self.semaphore.clone();
        let ((tell, told), (release, released)) = (channel(), channel());
        let rival = std::thread::spawn(move || {
            let permits: Vec<_> = std::iter::from_fn(|| semaphore.try_acquire().ok()).collect();
            tell.send(()).unwrap();
            released.recv().unwrap();
            drop(permits);
        });
        told.recv().unwrap();
        self.rival = Some((rival, release));
    }

    fn check(self, _orders: &Orders) {
        if let Some((rival, release)) = self.rival {
            release.send(()).unwrap();
            rival.join().unwrap();
        }
        permits::check(&self.semaphore);
    }
}

fn post_and_acquire((orders, semaphore): (Orders, CountingSemaphore)) {
    let mut ledger = orders.arm();
    semaphore.post_many(2).unwrap();
    ledger.note(2);
    semaphore.acquire().unwrap();
    ledger.note(1);
    crash::disarm();
}

/// Another one posts too.
struct Counting {
    semaphore: CountingSemaphore,
    posted: usize,
}

impl Race for Counting {
    fn new() -> Self {
        Self { semaphore: counting::new(0), posted: 0 }
    }

    fn victim(&self, orders: &Orders) -> JoinHandle<()> {
        spawn(post_and_acquire, (orders.clone(), self.semaphore.clone())).unwrap()
    }

    fn interfere(&mut self) {
        self.semaphore.post().unwrap();
        self.posted += 1;
    }

    fn check(self, orders: &Orders) {
        self.semaphore.reap_dead();
        let own = self.semaphore.available() - self.posted;
        let noted = orders.ledger();
        let (completed, in_doubt) = [(0, 2), (2, 1), (1, 1)][noted.len()];
        assert!([completed, in_doubt].contains(&own), "{own} after {noted:?}");
    }
}

pub(crate) fn every_exchange() {
    lose_every_exchange::<Locking<Mutex<Value>>>("race: mutex");
    lose_every_exchange::<Locking<RwLock<Value>>>("race: writer");
    lose_every_exchange::<Waiting>("race: waiting at a condvar");
    lose_every_exchange::<Notifying>("race: notifying");
    lose_every_exchange::<Setting>("race: event");
    lose_every_exchange::<Arriving>("race: barrier");
    lose_every_exchange::<Making>("race: once lock");
    lose_every_exchange::<Acquiring>("race: semaphore");
    lose_every_exchange::<Counting>("race: counting semaphore");
}
