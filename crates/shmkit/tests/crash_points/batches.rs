//! Batches, leases, reservations, tasks and claimed ends: killed at every site like the single operations.

use crate::harness::{Orders, at_every_site, came_through};
use crate::traffic::NEVER;
use shmkit::prelude::*;
use shmkit::queue::mpmc::{Receiver, Sender};
use shmkit::queue::spsc::{self, Settings, Spsc};
use shmkit::segment::{Options, Role, Segment, crash};
use std::sync::Arc;

/// Messages in a batch.
const BATCH: usize = 2;
/// Batches that a sender sends.
const BATCHES: u64 = 2;

/// The `number`-th batch, from 0, of messages that are numbered from 1.
fn batch(number: u64) -> [u64; BATCH] {
    std::array::from_fn(|index| number * BATCH as u64 + index as u64 + 1)
}

/// What was noted, and what came afterwards: of the messages up to `sent` at most `missing` are in neither, and at most `twice` in both.
fn check_received(orders: &Orders, rest: &[u64], sent: u64, missing: usize, twice: usize) {
    let noted = orders.ledger();
    let times = |item| noted.iter().chain(rest).filter(|&&other| other == item).count();
    let count = |wanted| (1..=sent).filter(|&item| times(item) == wanted).count();
    let whole = (noted.len() + rest.len()) as u64;
    assert_eq!(count(0) + count(1) + count(2), sent as usize, "noted {noted:?}, then {rest:?}");
    assert_eq!(whole, (count(1) + 2 * count(2)) as u64, "garbage: noted {noted:?}, then {rest:?}");
    assert!(count(0) <= missing && count(2) <= twice, "noted {noted:?}, then {rest:?} of {sent}");
}

/// What was acknowledged has come, in order, and of the batch that was being sent all or nothing.
fn check_sent(orders: &Orders, received: &[u64]) {
    let acknowledged = orders.ledger().len();
    assert!(received.iter().copied().eq(1..=received.len() as u64), "out of order: {received:?}");
    assert!(
        [acknowledged, acknowledged + BATCH].contains(&received.len()),
        "{acknowledged} sent, {received:?} received"
    );
}

fn send_slices((orders, sender): (Orders, Sender<u64>)) {
    let mut ledger = orders.arm();
    for number in 0..BATCHES {
        sender.send_slice(&batch(number)).expect("the parent receives");
        batch(number).into_iter().for_each(|item| ledger.note(item));
    }
    let _hints = (sender.len(), sender.statistics());
    drop(sender);
    crash::disarm();
}

pub(crate) fn mpmc_slice_sender() {
    at_every_site("mpmc sender of slices", |orders| {
        // Room for all, so that no batch is sent in parts.
        let (sender, receiver) = mpmc::channel(4).unwrap();
        let victim = spawn(send_slices, (orders.clone(), sender)).unwrap();
        let received: Vec<u64> = receiver.iter().collect();
        let done = came_through(victim);
        check_sent(orders, &received);
        done
    });
}

fn recv_slices((orders, receiver): (Orders, Receiver<u64>)) {
    let mut ledger = orders.arm();
    let mut items = [0; BATCH];
    while let Ok(count) = receiver.recv_slice(&mut items) {
        items[..count].iter().for_each(|&item| ledger.note(item));
    }
    drop(receiver);
    crash::disarm();
}

pub(crate) fn mpmc_slice_receiver() {
    at_every_site("mpmc receiver of slices", |orders| {
        let (sender, receiver) = mpmc::channel(4).unwrap();
        (0..BATCHES).for_each(|number| sender.send_slice(&batch(number)).unwrap());
        drop(sender);
        let done = came_through(spawn(recv_slices, (orders.clone(), receiver.clone())).unwrap());
        let rest: Vec<u64> = receiver.iter().collect();
        check_received(orders, &rest, 4, BATCH, 0);
        done
    });
}

fn work((orders, receiver): (Orders, Receiver<u64>)) {
    let mut ledger = orders.arm();
    while let Ok(task) = receiver.recv_task() {
        ledger.note(*task);
        drop(task);
    }
    drop(receiver);
    crash::disarm();
}

/// Whoever joins waits for what is in the queue and for tasks in living hands, and for nothing else.
pub(crate) fn mpmc_worker() {
    at_every_site("mpmc receiver of tasks, which somebody joins", |orders| {
        let (sender, receiver) = mpmc::channel(4).unwrap();
        (1..=3).for_each(|item| sender.send(item).unwrap());
        let victim = spawn(work, (orders.clone(), receiver.clone())).unwrap();
        let joiner = sender.clone();
        let joins = std::thread::spawn(move || joiner.join_timeout(NEVER).unwrap());
        let mut rest = Vec::new();
        while !joins.is_finished() {
            if !victim.is_alive() {
                receiver.segment().reap_dead();
                rest.extend(receiver.try_recv_task().map(|task| *task));
            }
            std::thread::yield_now();
        }
        joins.join().unwrap();
        drop(sender);
        let done = came_through(victim);
        rest.extend(receiver.iter());
        check_received(orders, &rest, 3, 1, 0);
        done
    });
}

fn join((orders, sender): (Orders, Sender<u64>)) {
    orders.arm();
    sender.join().expect("the parent receives");
    crash::disarm();
}

pub(crate) fn mpmc_joiner() {
    at_every_site("mpmc joiner", |orders| {
        let (sender, receiver) = mpmc::channel(4).unwrap();
        (1..=3).for_each(|item| sender.send(item).unwrap());
        let victim = spawn(join, (orders.clone(), sender)).unwrap();
        let received: Vec<u64> = std::iter::from_fn(|| receiver.recv_task().ok().map(|task| *task)).collect();
        assert_eq!(received, [1, 2, 3]);
        came_through(victim)
    });
}

/// A handle of the segment in a role that the queue does not use.
type Place = Role<Spsc<u64>>;

fn place() -> Place {
    let segment: Arc<Segment<Spsc<u64>>> = Options::new().anonymous(Settings::new(8).keep_open().into()).unwrap();
    segment.role(3)
}

fn claim_and_send((orders, place): (Orders, Place)) {
    let mut ledger = orders.arm();
    let mut sender = spsc::Sender::claim(place.segment()).expect("nobody has it");
    sender.send_slice(&batch(0)).expect("it is kept open");
    batch(0).into_iter().for_each(|item| ledger.note(item));
    let mut reservation = sender.reserve(BATCH).expect("it is kept open");
    batch(1).into_iter().enumerate().for_each(|(index, item)| reservation.set(index, item));
    reservation.commit(BATCH);
    batch(1).into_iter().for_each(|item| ledger.note(item));
    drop(sender);
    crash::disarm();
}

/// Its successor goes on where it was.
pub(crate) fn spsc_claimed_sender() {
    at_every_site("spsc sender that claimed its end, and batches", |orders| {
        let place = place();
        let done = came_through(spawn(claim_and_send, (orders.clone(), place.clone())).unwrap());
        let mut sender = spsc::Sender::claim(place.segment()).expect("the last one is dead");
        sender.try_send(100).unwrap();
        let received: Vec<u64> = spsc::Receiver::claim(place.segment()).unwrap().try_iter().collect();
        let (last, received) = received.split_last().unwrap();
        assert_eq!(*last, 100);
        check_sent(orders, received);
        done
    });
}

fn claim_and_lease((orders, place): (Orders, Place)) {
    let mut ledger = orders.arm();
    let mut receiver = spsc::Receiver::claim(place.segment()).expect("nobody has it");
    let lease = receiver.lease(BATCH + 1).expect("the parent has sent enough");
    lease.iter().take(BATCH).for_each(|item| ledger.note(item));
    lease.ack(BATCH);
    drop(receiver);
    crash::disarm();
}

fn claim_and_recv((orders, place): (Orders, Place)) {
    let mut ledger = orders.arm();
    let mut receiver = spsc::Receiver::claim(place.segment()).expect("nobody has it");
    let mut items = [0; BATCH];
    let count = receiver.recv_slice(&mut items).expect("the parent has sent enough");
    items[..count].iter().for_each(|&item| ledger.note(item));
    drop(receiver);
    crash::disarm();
}

fn claimed_receiver(name: &str, victim: fn((Orders, Place)), missing: usize, twice: usize) {
    at_every_site(name, |orders| {
        let place = place();
        let mut sender = spsc::Sender::claim(place.segment()).unwrap();
        (0..BATCHES).for_each(|number| sender.send_slice(&batch(number)).unwrap());
        let done = came_through(spawn(victim, (orders.clone(), place.clone())).unwrap());
        let rest: Vec<u64> = spsc::Receiver::claim(place.segment()).expect("the last one is dead").try_iter().collect();
        assert!(rest.is_sorted_by(|a, b| a < b) && rest.last() == Some(&4), "{rest:?}");
        check_received(orders, &rest, 4, missing, twice);
        done
    });
}

/// What is noted before it is acknowledged may come again, and what is received before it is noted may be missing; neither is both.
pub(crate) fn spsc_claimed_receivers() {
    claimed_receiver("spsc receiver that claimed its end, and a lease", claim_and_lease, 0, BATCH);
    claimed_receiver("spsc receiver that claimed its end, and a slice", claim_and_recv, BATCH, 0);
}
