//! Barriers: with a victim that comes first, last, in between, or too early, that gives up, and that breaks or mends them.

use super::{Handle, asleep, small};
use crate::harness::{Orders, at_every_site_often, came_through, wait_for_sleep};
use crate::stops::ARMED;
use crate::traffic::SHORT;
use serde::{Deserialize, Serialize};
use shmkit::prelude::*;
use shmkit::process::JoinHandle;
use shmkit::segment::crash;
use shmkit::sync::{BarrierError, BarrierObject};
use std::thread::JoinHandle as Thread;

/// How often in a row a victim comes through.
const OFTEN: u64 = 4;

/// What a victim does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Act {
    /// Arrives, with an action in case it is the last one.
    Arrive,
    /// Arrives, and gives up soon.
    GiveUp,
    Abort,
    Reset,
}

/// What it notes: that it ran the action, that it was let through, or that it was told that the barrier is broken, or that its time was up.
const ACTION: u64 = 1;
const PASSED: u64 = 2;
pub(super) const BROKEN: u64 = 3;
const LATE: u64 = 4;
/// Followed by its index.
const INDEX: u64 = 10;

fn play((orders, barrier, act): (Orders, Barrier, Act)) {
    let mut ledger = orders.arm();
    ledger.note(ARMED);
    let outcome = match act {
        Act::Arrive => barrier.wait_with(|| ledger.note(ACTION)),
        Act::GiveUp => barrier.wait_with_timeout(SHORT, || {}),
        Act::Abort => {
            barrier.abort();
            Err(BarrierError::Broken)
        }
        Act::Reset => {
            barrier.reset();
            Err(BarrierError::Broken)
        }
    };
    match outcome {
        Ok(index) => {
            ledger.note(PASSED);
            ledger.note(INDEX + index as u64);
        }
        Err(BarrierError::Broken) => ledger.note(BROKEN),
        Err(BarrierError::Timeout) => ledger.note(LATE),
        Err(other) => panic!("{other}"),
    }
    drop(barrier);
    crash::disarm();
}

pub(super) fn new(parties: usize) -> Barrier {
    Barrier::of(&small::<BarrierObject>(BarrierObject::configuration(parties)))
}

pub(super) fn spawn_player(orders: &Orders, barrier: &Barrier, act: Act) -> JoinHandle<()> {
    spawn(play, (orders.clone(), barrier.clone(), act)).unwrap()
}

type Outcome = Result<usize, BarrierError>;

/// A thread that waits at the barrier.
pub(super) fn waiter(barrier: &Barrier) -> Thread<Outcome> {
    let barrier = barrier.clone();
    asleep(move || barrier.wait())
}

/// All of a generation have passed, or it was broken for all of them. True if they have passed.
fn fate(outcomes: &[Outcome], orders: &Orders) -> bool {
    let passed = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert!(passed == 0 || passed == outcomes.len(), "{outcomes:?}");
    let is_broken = |outcome: &Outcome| outcome.is_ok() || *outcome == Err(BarrierError::Broken);
    assert!(outcomes.iter().all(is_broken), "{outcomes:?}");
    let noted = orders.ledger();
    assert!(passed > 0 || !noted.contains(&PASSED), "the victim was let through alone");
    let own = noted.iter().filter(|&&item| item >= INDEX).map(|&item| (item - INDEX) as usize);
    let mut indices: Vec<usize> = outcomes.iter().flatten().copied().chain(own).collect();
    indices.sort_unstable();
    indices.dedup();
    // Each was given once.
    assert!(passed == 0 || indices.len() == passed + usize::from(noted.iter().any(|&item| item >= INDEX)));
    passed > 0
}

/// Reaps. A death has broken the barrier, unless the victim was about to leave it.
fn reap(barrier: &Barrier, orders: &Orders, done: bool) {
    barrier.reap_dead();
    let is_over = orders.ledger().iter().any(|&item| ![ARMED, ACTION].contains(&item));
    mend(barrier, !done && !is_over);
}

/// Whatever has happened, it can be mended, and is as new.
pub(super) fn mend(barrier: &Barrier, must_be_broken: bool) {
    assert!(barrier.is_broken() || !must_be_broken);
    barrier.reset();
    assert!(!barrier.is_broken());
    let others: Vec<_> = (1..barrier.parties()).map(|_| waiter(barrier)).collect();
    assert!(barrier.wait().is_ok());
    assert!(others.into_iter().all(|other| other.join().unwrap().is_ok()));
    assert_eq!(barrier.peer_count(), 1);
}

fn first() {
    at_every_site_often("barrier, the first to come", OFTEN, |orders| {
        let barrier = new(3);
        let victim = spawn_player(orders, &barrier, Act::Arrive);
        wait_for_sleep(&victim, orders);
        let others = [waiter(&barrier), waiter(&barrier)];
        let outcomes = others.map(|other| other.join().unwrap());
        let done = came_through(victim);
        let passed = fate(&outcomes, orders);
        assert!(!done || passed);
        reap(&barrier, orders, done);
        done
    });
}

/// The others go on only if the action was run.
fn last() {
    at_every_site_often("barrier, the last to come", OFTEN, |orders| {
        let barrier = new(3);
        let others = [waiter(&barrier), waiter(&barrier)];
        let victim = spawn_player(orders, &barrier, Act::Arrive);
        let outcomes = others.map(|other| other.join().unwrap());
        let done = came_through(victim);
        let passed = fate(&outcomes, orders);
        assert!(!passed || orders.ledger().contains(&ACTION), "the action was skipped");
        assert!(!done || passed);
        reap(&barrier, orders, done);
        done
    });
}

/// It comes while the action of others runs, and waits for that, and then for the next to come.
fn early() {
    at_every_site_often("barrier, who comes while an action runs", OFTEN, |orders| {
        let barrier = new(2);
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let (begin, has_begun) = std::sync::mpsc::channel();
        let first = waiter(&barrier);
        let acts = barrier.clone();
        let acting = std::thread::spawn(move || {
            acts.wait_with(|| {
                begin.send(()).unwrap();
                wait.recv().unwrap();
            })
        });
        has_begun.recv().unwrap();
        let victim = spawn_player(orders, &barrier, Act::Arrive);
        wait_for_sleep(&victim, orders);
        go.send(()).unwrap();
        let outcomes = [first.join().unwrap(), acting.join().unwrap()];
        let next = barrier.wait();
        let done = came_through(victim);
        // Theirs was over before the victim's began, or was broken by its death; the victim's is with this thread.
        let passed = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert!([0, 2].contains(&passed) && (!done || passed == 2), "{outcomes:?}");
        let passed = fate(&[next], orders);
        assert!(!done || passed);
        reap(&barrier, orders, done);
        done
    });
}

/// One waits, the victim gives up, and nobody else comes.
fn gives_up() {
    at_every_site_often("barrier, who gives up", OFTEN, |orders| {
        let barrier = new(3);
        let other = waiter(&barrier);
        let victim = spawn_player(orders, &barrier, Act::GiveUp);
        assert_eq!(other.join().unwrap(), Err(BarrierError::Broken));
        let done = came_through(victim);
        assert!(!done || orders.ledger().contains(&LATE));
        assert!(barrier.is_broken());
        reap(&barrier, orders, done);
        done
    });
}

/// Two wait, and are told, by the victim or by its death.
fn breaks_it(act: Act) {
    at_every_site_often(&format!("barrier, {act:?}").to_lowercase(), OFTEN, |orders| {
        let barrier = new(3);
        let others = [waiter(&barrier), waiter(&barrier)];
        let victim = spawn_player(orders, &barrier, act);
        assert!(others.into_iter().all(|other| other.join().unwrap() == Err(BarrierError::Broken)));
        let done = came_through(victim);
        assert!(!done || barrier.is_broken() == (act == Act::Abort));
        reap(&barrier, orders, done);
        done
    });
}

pub(super) fn all() {
    first();
    last();
    early();
    gives_up();
    breaks_it(Act::Abort);
    breaks_it(Act::Reset);
}
