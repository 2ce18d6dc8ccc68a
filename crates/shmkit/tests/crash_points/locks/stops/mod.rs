//! Processes that are stopped instead of killed, in the middle of each operation: who has what others want delays them, with their deadlines kept, and
//! nobody else does.

mod others;

use super::{Handle, Lock, Value, asleep, changes};
use crate::harness::{Orders, go_on, stopped_at_every_site, wait_for_sleep, wait_for_stop};
use crate::stops::ARMED;
use crate::traffic::{NEVER, SHORT, SOON};
use rustix::process::Signal;
use shmkit::prelude::*;
use shmkit::process::JoinHandle;
use shmkit::segment::crash;
use std::os::fd::AsFd;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle as Thread;

/// How often in a row a victim comes through that waits.
const OFTEN: u64 = 8;

/// What a victim shares with others.
trait Subject {
    /// Reaps whoever has died: how many.
    fn reap_dead(&self) -> usize;
}

impl<H: Handle> Subject for H {
    fn reap_dead(&self) -> usize {
        Handle::reap_dead(self)
    }
}

/// Stops a victim at every site. `probe` tells whether it delays others then, and leaves nothing behind but what the victim is to find; `after` sees
/// that all goes on in the end. Gives the sites, and prints at which of them somebody was delayed.
fn stop<S: Subject>(
    name: &str,
    new: impl Fn() -> S,
    victim: impl Fn(&Orders, &S) -> JoinHandle<()>,
    probe: impl Fn(&mut S) -> bool,
    after: impl Fn(S),
) -> Vec<(String, bool)> {
    let sites = stopped_at_every_site(name, OFTEN, |orders| {
        let mut subject = new();
        let victim = victim(orders, &subject);
        let delays = wait_for_stop(&victim).then(|| probe(&mut subject));
        assert_eq!(subject.reap_dead(), 0, "a stopped process was reaped");
        go_on(&victim);
        victim.join().unwrap();
        after(subject);
        delays
    });
    let delayed = sites.iter().filter(|(_, delays)| *delays).count();
    println!("{name:42} {:5} {:7} {delayed:10}", sites.len(), sites.len() - delayed);
    sites
}

/// Somebody is delayed from one site on to another, and nowhere else.
fn expect_delays(sites: &[(String, bool)], from_the_start: bool) {
    let changes = sites.windows(2).filter(|pair| pair[0].1 != pair[1].1).count();
    assert_eq!(sites.first().map(|(_, delays)| *delays), Some(from_the_start), "{sites:#?}");
    assert_eq!(changes, if from_the_start { 1 } else { 2 }, "{sites:#?}");
}

fn expect_none(sites: &[(String, bool)]) {
    assert!(sites.iter().all(|(_, delays)| !delays), "{sites:#?}");
}

fn change_once<L: Lock>((orders, lock): (Orders, L)) {
    orders.arm();
    // The outcome depends on whether this one is stopped, and where.
    let _told = lock.change_within(SHORT);
    crash::disarm();
}

fn holder<L: Lock>() {
    let sites = stop(
        &format!("a {} that nobody else has", L::NAME),
        L::new,
        |orders, lock| spawn(change_once::<L>, (orders.clone(), lock.clone())).unwrap(),
        |lock| lock.change_within(SOON).is_none(),
        |lock| assert!(!lock.change(false)),
    );
    expect_delays(&sites, false);
    let is_held = |(site, delays): &(String, bool)| *delays || !L::is_held_at(site);
    assert!(sites.iter().all(is_held), "{sites:#?}");
}

/// A lock that a thread of this process has until it is told.
struct Held<L> {
    lock: L,
    holder: Thread<()>,
    release: Sender<()>,
    /// Waits for the lock.
    other: Option<Thread<bool>>,
}

impl<L: Lock> Subject for Held<L> {
    fn reap_dead(&self) -> usize {
        Handle::reap_dead(&self.lock)
    }
}

impl<L: Lock> Held<L> {
    fn new() -> Self {
        let lock = L::new();
        let ((tell, told), (release, released)) = (channel(), channel());
        let holds = lock.clone();
        let holder = std::thread::spawn(move || {
            holds.hold(|| {
                tell.send(()).unwrap();
                released.recv().unwrap();
            })
        });
        told.recv().unwrap();
        let waits = lock.clone();
        let other = Some(asleep(move || waits.change_within(NEVER).is_none()));
        Self { lock, holder, release, other }
    }

    /// Gives the lock back: whether those who wait were delayed.
    fn release(&mut self) -> bool {
        // It may have been given back already.
        let _ = self.release.send(());
        let other = self.other.take();
        other.is_some_and(|other| other.join().unwrap()) || self.lock.change_within(NEVER).is_none()
    }

    fn end(mut self) {
        assert!(!self.release());
        self.holder.join().unwrap();
    }
}

fn waiter<L: Lock>() {
    let sites = stop(
        &format!("a {} that somebody has", L::NAME),
        Held::<L>::new,
        |orders, held| spawn(change_once::<L>, (orders.clone(), held.lock.clone())).unwrap(),
        Held::release,
        Held::end,
    );
    expect_none(&sites);
}

fn change<L: Lock>((orders, lock): (Orders, L)) {
    let mut ledger = orders.arm();
    ledger.note(ARMED);
    lock.change(false);
    crash::disarm();
}

/// Stopped in its sleep: it takes a wake-up that it cannot use, and another one that waits gets on after a nap.
fn sleeper<L: Lock>() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let orders = Orders::to_stop(directory.path(), u64::MAX);
    let lock = L::new();
    let (victim, other) = lock.hold(|| {
        let victim = spawn(change::<L>, (orders.clone(), lock.clone())).unwrap();
        assert!(wait_for_sleep(&victim, &orders));
        rustix::process::pidfd_send_signal(victim.as_fd(), Signal::STOP).unwrap();
        assert!(wait_for_stop(&victim));
        let waits = lock.clone();
        (victim, asleep(move || waits.change(false)))
    });
    assert!(!other.join().unwrap());
    assert_eq!((lock.look(), Handle::reap_dead(&lock)), ((1, false), 0));
    go_on(&victim);
    victim.join().unwrap();
    assert_eq!(lock.look(), (2, false));
}

fn read_once((orders, lock): (Orders, RwLock<Value>)) {
    orders.arm();
    // Not if a writer has come meanwhile.
    drop(lock.read_timeout(SHORT));
    crash::disarm();
}

/// Others can read all the time, and write when it is not in.
fn reader() {
    let sites = stop(
        "a reader",
        <RwLock<Value> as Lock>::new,
        |orders, lock| spawn(read_once, (orders.clone(), lock.clone())).unwrap(),
        |lock| {
            let delays = lock.change_within(SOON).is_none();
            assert!(matches!(lock.read_timeout(NEVER), Ok(guard) if changes(&guard) == u64::from(!delays)));
            delays
        },
        |lock| assert!(!lock.change(false)),
    );
    expect_delays(&sites, false);
}

pub(crate) fn all() {
    println!("{:42} {:>5} {:>7} {:>10}", "stopped in", "sites", "nobody", "delayed");
    holder::<Mutex<Value>>();
    holder::<RwLock<Value>>();
    waiter::<Mutex<Value>>();
    waiter::<RwLock<Value>>();
    sleeper::<Mutex<Value>>();
    sleeper::<RwLock<Value>>();
    reader();
    others::condvars();
    others::barrier_party();
    others::barrier_action();
    others::maker();
    others::permit_holder();
    others::poster();
}
