//! The second kill: whoever recovers from a death is killed too, at every site of the recovery.

use crate::harness::{Orders, at_every_site, came_through, wait_for_stop};
use crate::stops::Form;
use crate::stops::mpmc::{spawn_sender, with_a_dead_claim, with_a_dead_claim_in};
use crate::traffic::{SHORT, Traffic, VICTIMS};
use shmkit::prelude::*;
use shmkit::queue::mpmc::Settings;
use shmkit::queue::{RecvTimeoutError, TryRecvError};
use shmkit::segment::crash;

type Reaper = (Orders, mpmc::Receiver<u64>);

fn die_while_sending((orders, sender): (Orders, mpmc::Sender<u64>)) {
    let mut ledger = orders.arm();
    sender.send(1).expect("somebody receives");
    ledger.note(1);
    crash::disarm();
}

fn reap((orders, receiver): Reaper) {
    orders.arm();
    receiver.segment().reap_dead();
    crash::disarm();
}

pub(crate) fn mpmc_reaper_of_a_sender() {
    at_every_site("mpmc sender, then its reaper at every site", |orders| {
        let mut all_done = false;
        at_every_site("  reaper", |reaper_orders| {
            let (sender, receiver) = mpmc::channel(2).unwrap();
            let keep = receiver.clone();
            // The same site again and again: the victim runs alone, so it always gets there.
            orders.forget();
            all_done = came_through(spawn(die_while_sending, (orders.clone(), sender)).unwrap());
            let done = came_through(spawn(reap, (reaper_orders.clone(), keep)).unwrap());
            let received: Vec<_> = receiver.iter().collect();
            assert!(received.is_empty() && orders.ledger().is_empty() || received == [1], "{received:?}");
            done
        });
        all_done
    });
}

/// The reaper of a process that was receiving: its message comes again, once, or never, if the queue is to deliver at most once.
pub(crate) fn mpmc_reaper_of_a_receiver() {
    let settings = Settings::new(4);
    for (name, settings, again) in [
        ("reaper of an mpmc receiver", settings, 1),
        ("reaper of an mpmc receiver, at most once", settings.at_most_once(), 0),
    ] {
        at_every_site(name, |orders| {
            let traffic = with_a_dead_claim_in(settings, true);
            let done = came_through(spawn(reap, (orders.clone(), traffic.receiver.clone())).unwrap());
            traffic.receiver.segment().reap_dead();
            assert_eq!(traffic.receiver.segment().peer_count(), 1);
            let statistics = traffic.receiver.statistics();
            // Counted just after, so that a kill in between leaves it out.
            assert!(statistics.lost <= 1 - again && (!done || statistics.lost == 1 - again));
            let received = traffic.settle();
            assert_eq!(received.len() as u64, again, "{received:?}");
            done
        });
    }
}

fn receive_one((orders, receiver): Reaper) {
    let mut ledger = orders.arm();
    let item = receiver.try_recv().expect("there is one");
    crash::disarm();
    ledger.note(item);
}

/// A receiver that takes what a dead one had, and dies too.
pub(crate) fn mpmc_receiver_that_adopts() {
    at_every_site("mpmc receiver that adopts", |orders| {
        let traffic = with_a_dead_claim(true);
        assert_eq!(traffic.receiver.segment().reap_dead(), 1);
        let done = came_through(spawn(receive_one, (orders.clone(), traffic.receiver.clone())).unwrap());
        traffic.receiver.segment().reap_dead();
        let mut received = traffic.settle();
        received.extend(orders.ledger());
        // Given out, and not noted any more.
        assert!(received == [1] || !done && received.is_empty(), "{received:?}");
        done
    });
}

fn receive_the_rest((orders, receiver): (Orders, mpmc::Receiver<u64>)) {
    let mut ledger = orders.arm();
    receiver.iter().for_each(|item| ledger.note(item));
    crash::disarm();
}

/// A sender that dies between claiming a slot and publishing it leaves a tomb to the receiver that comes to it.
pub(crate) fn mpmc_receiver_that_passes_a_tomb() {
    at_every_site("mpmc sender, then a receiver at every site", |orders| {
        let mut all_done = false;
        at_every_site("  receiver", |receiver_orders| {
            let (sender, receiver) = mpmc::channel(2).unwrap();
            orders.forget();
            all_done = came_through(spawn(die_while_sending, (orders.clone(), sender.clone())).unwrap());
            receiver.segment().reap_dead();
            sender.send(2).unwrap();
            drop(sender);
            let done = came_through(spawn(receive_the_rest, (receiver_orders.clone(), receiver.clone())).unwrap());
            let mut received = receiver_orders.ledger();
            received.extend(receiver.iter());
            received.sort_unstable();
            received.dedup(); // the one that the victim was receiving may come again
            let sent = if orders.ledger().is_empty() { 1 } else { 2 };
            // One message may have been acknowledged and not noted.
            assert!(
                received.len() + usize::from(!done) >= sent && received.iter().all(|item| [1, 2].contains(item)),
                "{received:?}"
            );
            done
        });
        all_done
    });
}

/// A sender has taken the flag of those who wait, and died before it woke anybody. The next one finds that somebody was called, and dies at
/// every site of that.
pub(crate) fn mpmc_sender_behind_a_dead_waker() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut found = 1;
    at_every_site("mpmc sender behind one that died about to wake", |orders| {
        let mut traffic = loop {
            let mut traffic = Traffic::new(4);
            assert_eq!(traffic.recv_within(SHORT), Err(RecvTimeoutError::Timeout)); // leaves word that somebody waits
            let first = Orders::to_stop(directory.path(), found);
            let waker = spawn_sender(&first, &traffic, Form::Try);
            assert!(wait_for_stop(&waker), "it wakes somebody");
            waker.kill().unwrap();
            assert!(!came_through(waker));
            if first.stopped_at().starts_with("src/event_count.rs") && first.stopped_at().ends_with(" won") {
                break traffic;
            }
            found += 1;
        };
        let done = came_through(spawn(die_while_sending, (orders.clone(), traffic.sender.clone())).unwrap());
        traffic.receiver.segment().reap_dead();
        assert_eq!(traffic.drain(), TryRecvError::Empty);
        let least = usize::from(!orders.ledger().is_empty());
        assert!(
            traffic.received == [VICTIMS, 1] || least == 0 && traffic.received == [VICTIMS],
            "{:?}",
            traffic.received
        );
        done
    });
}

fn die_with_permits((orders, semaphore): (Orders, Semaphore)) {
    orders.arm();
    let permits = (semaphore.acquire().unwrap(), semaphore.acquire().unwrap());
    assert_eq!(semaphore.available(), 0);
    drop(permits);
    crash::disarm();
}

/// Attaches as one more waiter, whose attempt reaps when it has slept in vain.
fn wait_for_permit((orders, semaphore): (Orders, Semaphore)) {
    orders.arm();
    drop(semaphore.acquire().unwrap());
    crash::disarm();
}

pub(crate) fn semaphore_waiter_that_reaps_the_holder() {
    at_every_site("permit holder, then the waiter that reaps it at every site", |orders| {
        let mut all_done = false;
        at_every_site("  waiter", |waiter_orders| {
            let semaphore = Semaphore::new(2).unwrap();
            all_done = came_through(spawn(die_with_permits, (orders.clone(), semaphore.clone())).unwrap());
            let done = came_through(spawn(wait_for_permit, (waiter_orders.clone(), semaphore.clone())).unwrap());
            drop([semaphore.acquire().unwrap(), semaphore.acquire().unwrap()]);
            assert_eq!(semaphore.available(), 2);
            done
        });
        all_done
    });
}
