//! What one at a time has, to change a value: a mutex, and a lock for readers and writers, held for writing.

use super::{Lock, asleep};
use crate::harness::{Orders, at_every_site, at_every_site_often, came_through, last_death, wait_for_sleep};
use crate::stops::ARMED;
use crate::traffic::SHORT;
use rustix::process::{Signal, getpid, kill_process};
use shmkit::prelude::*;
use shmkit::segment::crash;

/// How many changes the victim makes, and each of the others.
const CHANGES: u64 = 2;
const RIVALS: u64 = 20;
/// How often in a row a victim comes through that waits, or has a rival.
const OFTEN: u64 = 4;

fn make_changes<L: Lock>((orders, lock): (Orders, L)) {
    let mut ledger = orders.arm();
    ledger.note(ARMED);
    for number in 1..=CHANGES {
        assert!(!lock.change(false), "nobody else is killed");
        ledger.note(number);
    }
    drop(lock);
    crash::disarm();
}

/// What others have done beside a victim: their changes, and how often they were told of a holder's death.
#[derive(Clone, Copy, Default)]
struct Others {
    changes: u64,
    told: u64,
}

impl Others {
    fn change<L: Lock>(lock: &L, changes: u64) -> Self {
        Self { changes, told: (0..changes).map(|_| u64::from(lock.change(true))).sum() }
    }
}

/// The others have told nothing but the truth, and nothing of what the victim had completed is gone.
fn check<L: Lock>(lock: &L, orders: &Orders, done: bool, others: Others) {
    lock.reap_dead();
    let (found, told) = lock.look();
    let noted = orders.ledger().into_iter().filter(|&item| item != ARMED).count() as u64;
    let held = !done && L::is_held_at(&last_death());
    assert_eq!(others.told + u64::from(told), u64::from(held), "killed at {}", last_death());
    let own = found - others.changes;
    // One that was killed with the lock had not completed its change; another may have, and not noted it.
    let most = if done || held { noted } else { noted + 1 };
    assert!((noted..=most).contains(&own), "{own} changes of {noted} noted, killed at {}", last_death());
    assert_eq!(lock.peer_count(), 1);
    assert!(Others::change(lock, 1).told == u64::from(told) && !lock.look().1);
}

fn beside_a_rival<L: Lock>() {
    at_every_site_often(&format!("{} beside another", L::NAME), OFTEN, |orders| {
        let lock = L::new();
        let victim = spawn(make_changes::<L>, (orders.clone(), lock.clone())).unwrap();
        let rivals = lock.clone();
        let rival = std::thread::spawn(move || Others::change(&rivals, RIVALS));
        let others = rival.join().unwrap();
        let done = came_through(victim);
        check(&lock, orders, done, others);
        done
    });
}

/// Two wait while this process has the lock: the victim, and another that must not be stranded by it.
fn that_must_wait<L: Lock>() {
    at_every_site_often(&format!("{} that must wait", L::NAME), OFTEN, |orders| {
        let lock = L::new();
        let (victim, waiter) = lock.hold(|| {
            let victim = spawn(make_changes::<L>, (orders.clone(), lock.clone())).unwrap();
            wait_for_sleep(&victim, orders);
            let waits = lock.clone();
            (victim, asleep(move || Others::change(&waits, 1)))
        });
        let others = waiter.join().unwrap();
        let done = came_through(victim);
        check(&lock, orders, done, others);
        done
    });
}

fn change_in_vain<L: Lock>((orders, lock): (Orders, L)) {
    let mut ledger = orders.arm();
    ledger.note(ARMED);
    assert_eq!(lock.change_within(SHORT), None);
    drop(lock);
    crash::disarm();
}

fn whose_time_is_up<L: Lock>() {
    at_every_site_often(&format!("{} whose time is up", L::NAME), OFTEN, |orders| {
        let lock = L::new();
        let (done, waiter) = lock.hold(|| {
            let victim = spawn(change_in_vain::<L>, (orders.clone(), lock.clone())).unwrap();
            let waits = lock.clone();
            let waiter = asleep(move || Others::change(&waits, 1));
            (came_through(victim), waiter)
        });
        let others = waiter.join().unwrap();
        lock.reap_dead();
        assert_eq!((others.told, lock.look()), (0, (1, false)));
        done
    });
}

/// Ends this process with the lock.
pub(super) fn die_holding<L: Lock>(lock: L) {
    lock.hold(|| die())
}

/// Ends this process at once.
pub(super) fn die() -> ! {
    kill_process(getpid(), Signal::KILL).expect("a process can kill itself");
    // It may be another thread that takes the signal.
    loop {
        std::thread::park();
    }
}

fn change_after_a_death<L: Lock>((orders, lock, heals): (Orders, L, bool)) {
    let mut ledger = orders.arm();
    assert!(lock.change(heals), "a holder has died");
    ledger.note(1);
    drop(lock);
    crash::disarm();
}

/// A holder is dead, and the next one is killed too. Until a change that made the lock consistent has been completed, everybody is told.
fn after_a_death<L: Lock>(heals: bool) {
    let what = if heals { "makes it consistent" } else { "leaves it so" };
    at_every_site(&format!("{} that is told of a death, and {what}", L::NAME), |orders| {
        let lock = L::new();
        assert!(!came_through(spawn(die_holding::<L>, lock.clone()).unwrap()));
        assert_eq!(lock.reap_dead(), 1);
        let done = came_through(spawn(change_after_a_death::<L>, (orders.clone(), lock.clone(), heals)).unwrap());
        lock.reap_dead();
        let (found, told) = lock.look();
        let noted = orders.ledger().len() as u64;
        assert!((noted..=1).contains(&found) && (!done || found == 1));
        assert_eq!(told, found == 0 || !heals, "killed at {}", last_death());
        assert_eq!(lock.peer_count(), 1);
        done
    });
}

pub(super) fn all<L: Lock>() {
    beside_a_rival::<L>();
    that_must_wait::<L>();
    whose_time_is_up::<L>();
    after_a_death::<L>(true);
    after_a_death::<L>(false);
}
