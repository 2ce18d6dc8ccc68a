//! The three queues: a sender and a receiver killed at every site, alone and among others.

use crate::harness::{Orders, at_every_site, at_every_site_often, came_through};
use shmkit::prelude::*;
use shmkit::queue::TryRecvError;
use shmkit::segment::crash;

const MESSAGES: u64 = 3;
/// How often in a row a victim comes through that gets as much as its rivals leave.
const OFTEN: u64 = 4;

/// What was sent and acknowledged must be among what was received, in order and once; the one that was being sent may be.
fn check_sent(acknowledged: &[u64], received: &[u64]) {
    assert!(received.iter().copied().eq(1..=received.len() as u64), "out of order: {received:?}");
    let (least, most) = (acknowledged.len(), acknowledged.len() + 1);
    assert!((least..=most).contains(&received.len()), "acknowledged {acknowledged:?}, received {received:?}");
}

/// What the victim has noted and what others received afterwards must be everything that was sent, except that the one message that the victim
/// was dealing with may be there twice, or not at all if it may have been acknowledged before it was noted.
fn check_received(noted: &[u64], rest: &[u64], sent: u64, may_miss: bool) {
    let mut all: Vec<u64> = noted.iter().chain(rest).copied().collect();
    all.sort_unstable();
    let total = all.len() as i64;
    all.dedup();
    let (missing, twice) = (sent as i64 - all.len() as i64, total - all.len() as i64);
    assert!(all.iter().all(|item| (1..=sent).contains(item)), "garbage: {all:?}");
    assert!(missing + twice <= 1 && (may_miss || missing == 0), "noted {noted:?}, then {rest:?} of {sent}");
}

fn send_mpmc((orders, sender): (Orders, mpmc::Sender<u64>)) {
    let mut ledger = orders.arm();
    let _hint = sender.is_full();
    for item in 1..=MESSAGES {
        sender.send(item).expect("the parent receives");
        ledger.note(item);
    }
    drop(sender);
    crash::disarm();
}

pub(crate) fn mpmc_sender() {
    at_every_site("mpmc sender", |orders| {
        let (sender, receiver) = mpmc::channel(2).unwrap();
        let victim = spawn(send_mpmc, (orders.clone(), sender)).unwrap();
        let received: Vec<_> = receiver.iter().collect();
        let done = came_through(victim);
        check_sent(&orders.ledger(), &received);
        done
    });
}

/// Capacity 1 and a receiver that comes late: the victim finds the queue full and sleeps.
pub(crate) fn mpmc_sender_that_must_wait() {
    at_every_site("mpmc sender that must wait", |orders| {
        let (sender, receiver) = mpmc::channel(1).unwrap();
        sender.send(0).unwrap();
        let victim = spawn(send_mpmc, (orders.clone(), sender)).unwrap();
        // The victim has died, or it waits: whoever waits has set the flag and looks again after at most a nap.
        while victim.is_alive() && receiver.is_empty() {
            std::thread::yield_now();
        }
        let received: Vec<_> = receiver.iter().collect();
        let done = came_through(victim);
        check_sent(&orders.ledger(), &received[1..]);
        done
    });
}

fn recv_mpmc((orders, receiver): (Orders, mpmc::Receiver<u64>)) {
    let mut ledger = orders.arm();
    for _ in 0..MESSAGES {
        ledger.note(receiver.recv().expect("the parent has sent enough"));
    }
    drop(receiver);
    crash::disarm();
}

pub(crate) fn mpmc_receiver() {
    at_every_site("mpmc receiver", |orders| {
        let (sender, receiver) = mpmc::channel(4).unwrap();
        (1..=4).for_each(|item| sender.send(item).unwrap());
        let victim = spawn(recv_mpmc, (orders.clone(), receiver.clone())).unwrap();
        let done = came_through(victim);
        drop(sender);
        let rest: Vec<_> = receiver.iter().collect();
        check_received(&orders.ledger(), &rest, 4, true);
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
        done
    });
}

/// The queue is empty at first, so the victim sleeps; another receiver competes for what comes.
pub(crate) fn mpmc_receiver_that_must_wait_among_others() {
    at_every_site_often("mpmc receiver that must wait among others", OFTEN, |orders| {
        let (sender, receiver) = mpmc::channel(2).unwrap();
        let victim = spawn(recv_mpmc_until_the_end, (orders.clone(), receiver.clone())).unwrap();
        let rival = std::thread::spawn(move || receiver.iter().collect::<Vec<_>>());
        (1..=40).for_each(|item| sender.send(item).unwrap());
        drop(sender);
        let done = came_through(victim);
        check_received(&orders.ledger(), &rival.join().unwrap(), 40, true);
        done
    });
}

fn recv_mpmc_until_the_end((orders, receiver): (Orders, mpmc::Receiver<u64>)) {
    let mut ledger = orders.arm();
    let _hints = (receiver.len(), receiver.is_empty());
    receiver.iter().for_each(|item| ledger.note(item));
    crash::disarm();
}

/// The sender is gone already, so the victim dies on its way to learning that, too.
pub(crate) fn mpmc_receiver_at_the_end() {
    at_every_site("mpmc receiver at the end", |orders| {
        let (sender, receiver) = mpmc::channel(2).unwrap();
        (1..=2).for_each(|item| sender.send(item).unwrap());
        drop(sender);
        let victim = spawn(recv_mpmc_until_the_end, (orders.clone(), receiver.clone())).unwrap();
        let done = came_through(victim);
        let rest: Vec<_> = receiver.iter().collect();
        check_received(&orders.ledger(), &rest, 2, true);
        done
    });
}

/// Senders of this process compete with the victim for slots.
pub(crate) fn mpmc_sender_among_others() {
    at_every_site("mpmc sender among others", |orders| {
        let (sender, receiver) = mpmc::channel(2).unwrap();
        let rival = sender.clone();
        let victim = spawn(send_mpmc, (orders.clone(), sender)).unwrap();
        let rival = std::thread::spawn(move || (100..140).for_each(|item| rival.send(item).unwrap()));
        let received: Vec<_> = receiver.iter().collect();
        rival.join().unwrap();
        let done = came_through(victim);
        let (others, own): (Vec<u64>, Vec<u64>) = received.into_iter().partition(|&item| item >= 100);
        assert!(others.iter().copied().eq(100..140));
        check_sent(&orders.ledger(), &own);
        done
    });
}

fn send_spsc((orders, mut sender): (Orders, spsc::Sender<u64>)) {
    let mut ledger = orders.arm();
    for item in 1..=MESSAGES {
        sender.send(item).expect("the parent receives");
        ledger.note(item);
    }
    drop(sender);
    crash::disarm();
}

pub(crate) fn spsc_sender() {
    at_every_site("spsc sender", |orders| {
        let (sender, mut receiver) = spsc::channel(1).unwrap();
        let victim = spawn(send_spsc, (orders.clone(), sender)).unwrap();
        let received: Vec<_> = receiver.iter().collect();
        let done = came_through(victim);
        check_sent(&orders.ledger(), &received);
        done
    });
}

fn recv_spsc((orders, mut receiver): (Orders, spsc::Receiver<u64>)) {
    let mut ledger = orders.arm();
    for _ in 0..MESSAGES {
        ledger.note(receiver.recv().expect("the parent sends"));
    }
    drop(receiver);
    crash::disarm();
}

pub(crate) fn spsc_receiver() {
    at_every_site("spsc receiver", |orders| {
        let (mut sender, receiver) = spsc::channel(1).unwrap();
        let victim = spawn(recv_spsc, (orders.clone(), receiver)).unwrap();
        // There is nobody to deliver again to, so the sender is told.
        let sent = (1..).take_while(|&item| sender.send(item).is_ok()).count() as u64;
        let done = came_through(victim);
        let noted = orders.ledger();
        assert!(noted.iter().copied().eq(1..=noted.len() as u64) && noted.len() as u64 <= sent);
        done
    });
}

/// Several messages are there already, so the victim looks for more only when it has had those.
pub(crate) fn spsc_receiver_of_what_is_there() {
    at_every_site("spsc receiver of what is there", |orders| {
        let (mut sender, receiver) = spsc::channel(4).unwrap();
        (1..=4).for_each(|item| sender.send(item).unwrap());
        let victim = spawn(recv_spsc, (orders.clone(), receiver)).unwrap();
        let done = came_through(victim);
        let noted = orders.ledger();
        assert!(noted.iter().copied().eq(1..=noted.len() as u64) && (!done || noted.len() == 3), "{noted:?}");
        // As above: told, once it has been noticed.
        while sender.send(5).is_ok() {}
        done
    });
}

fn send_buffer((orders, sender): (Orders, buffer::Sender)) {
    let mut ledger = orders.arm();
    let _hint = sender.is_full();
    for item in 1..=MESSAGES {
        if item == 2 {
            drop(sender.loan(8).expect("the parent receives")); // thought better of it
        }
        sender.send(&item.to_le_bytes()).expect("the parent receives");
        ledger.note(item);
    }
    drop(sender);
    crash::disarm();
}

/// All messages until the end, acknowledged.
pub(crate) fn drain(receiver: &buffer::Receiver) -> Vec<u64> {
    let mut received = Vec::new();
    while let Ok(lease) = receiver.recv() {
        received.push(number(&lease));
        lease.ack();
    }
    received
}

/// The message that is a number.
pub(crate) fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("a message of eight bytes"))
}

pub(crate) fn buffer_sender() {
    at_every_site("buffer sender", |orders| {
        let (sender, receiver) = buffer::channel((2, 8)).unwrap();
        let victim = spawn(send_buffer, (orders.clone(), sender)).unwrap();
        let received = drain(&receiver);
        let done = came_through(victim);
        check_sent(&orders.ledger(), &received);
        done
    });
}

pub(crate) fn buffer_sender_among_others() {
    at_every_site("buffer sender among others", |orders| {
        let (sender, receiver) = buffer::channel((2, 8)).unwrap();
        let rival = sender.clone();
        let victim = spawn(send_buffer, (orders.clone(), sender)).unwrap();
        let rival =
            std::thread::spawn(move || (100..140_u64).for_each(|item| rival.send(&item.to_le_bytes()).unwrap()));
        let other = receiver.clone();
        let second = std::thread::spawn(move || drain(&other));
        let mut received = drain(&receiver);
        received.extend(second.join().unwrap());
        rival.join().unwrap();
        let done = came_through(victim);
        let (mut others, mut own): (Vec<u64>, Vec<u64>) = received.into_iter().partition(|&item| item >= 100);
        others.sort_unstable();
        own.sort_unstable(); // two receivers noted them, so their order is not known
        assert!(others.iter().copied().eq(100..140));
        check_sent(&orders.ledger(), &own);
        done
    });
}

fn recv_buffer((orders, receiver): (Orders, buffer::Receiver)) {
    let mut ledger = orders.arm();
    for turn in 0..MESSAGES {
        let lease = receiver.recv().expect("the parent has sent enough");
        if turn == 1 {
            drop(lease); // not acknowledged
            continue;
        }
        ledger.note(number(&lease));
        lease.ack();
    }
    drop(receiver);
    crash::disarm();
}

fn recv_buffer_until_the_end((orders, receiver): (Orders, buffer::Receiver)) {
    let mut ledger = orders.arm();
    let _hints = (receiver.len(), receiver.is_empty());
    while let Ok(lease) = receiver.recv() {
        ledger.note(number(&lease));
        lease.ack();
    }
    crash::disarm();
}

/// It is empty at first, so the victim sleeps; another receiver competes; and then the sender leaves.
pub(crate) fn buffer_receiver_until_the_end() {
    at_every_site_often("buffer receiver until the end", OFTEN, |orders| {
        let (sender, receiver) = buffer::channel((2, 8)).unwrap();
        let victim = spawn(recv_buffer_until_the_end, (orders.clone(), receiver.clone())).unwrap();
        let rival = std::thread::spawn(move || drain(&receiver));
        (1..=6_u64).for_each(|item| sender.send(&item.to_le_bytes()).unwrap());
        drop(sender);
        let done = came_through(victim);
        check_received(&orders.ledger(), &rival.join().unwrap(), 6, false);
        done
    });
}

/// The sender is gone already, so the victim dies on its way to learning that, too.
pub(crate) fn buffer_receiver_at_the_end() {
    at_every_site("buffer receiver at the end", |orders| {
        let (sender, receiver) = buffer::channel((2, 8)).unwrap();
        (1..=2_u64).for_each(|item| sender.send(&item.to_le_bytes()).unwrap());
        drop(sender);
        let victim = spawn(recv_buffer_until_the_end, (orders.clone(), receiver.clone())).unwrap();
        let done = came_through(victim);
        check_received(&orders.ledger(), &drain(&receiver), 2, false);
        done
    });
}

/// One buffer, and a receiver that holds it: the victim sleeps for room.
pub(crate) fn buffer_sender_that_must_wait() {
    at_every_site("buffer sender that must wait", |orders| {
        let (sender, receiver) = buffer::channel((1, 8)).unwrap();
        sender.send(&0_u64.to_le_bytes()).unwrap();
        let victim = spawn(send_buffer, (orders.clone(), sender)).unwrap();
        let received = drain(&receiver);
        let done = came_through(victim);
        check_sent(&orders.ledger(), &received[1..]);
        done
    });
}

pub(crate) fn buffer_receiver() {
    at_every_site("buffer receiver", |orders| {
        let (sender, receiver) = buffer::channel((4, 8)).unwrap();
        (1..=4_u64).for_each(|item| sender.send(&item.to_le_bytes()).unwrap());
        let victim = spawn(recv_buffer, (orders.clone(), receiver.clone())).unwrap();
        let done = came_through(victim);
        drop(sender);
        let rest = drain(&receiver);
        check_received(&orders.ledger(), &rest, 4, false);
        done
    });
}

type Handles = (mpmc::Sender<u64>, mpmc::Receiver<u64>, buffer::Sender, buffer::Receiver);

fn look((orders, (to_mpmc, from_mpmc, to_buffer, from_buffer)): (Orders, Handles)) {
    orders.arm();
    let _hints = (to_mpmc.is_full(), from_mpmc.len(), from_mpmc.is_empty());
    let _hints = (to_buffer.is_full(), from_buffer.len(), from_buffer.is_empty());
    let (mpmc, buffer) = (from_mpmc.statistics(), from_buffer.statistics());
    crash::disarm();
    assert_eq!((mpmc.sent, mpmc.received), (2, 1));
    assert_eq!((buffer.sent, buffer.received, buffer.waiting, buffer.free), (2, 1, 1, 3));
}

/// Nobody uses the queues meanwhile, so the victim takes the same way each time. What it leaves is what was there.
pub(crate) fn onlooker() {
    at_every_site("onlooker", |orders| {
        let ((to_mpmc, from_mpmc), (to_buffer, from_buffer)) =
            (mpmc::channel(4).unwrap(), buffer::channel((4, 8)).unwrap());
        for item in 1..=2_u64 {
            to_mpmc.send(item).unwrap();
            to_buffer.send(&item.to_le_bytes()).unwrap();
        }
        assert_eq!(from_mpmc.recv(), Ok(1));
        from_buffer.recv().unwrap().ack();
        let handles = (to_mpmc, from_mpmc.clone(), to_buffer, from_buffer.clone());
        let done = came_through(spawn(look, (orders.clone(), handles)).unwrap());
        assert_eq!((from_mpmc.iter().collect(), drain(&from_buffer)), (vec![2], vec![2]));
        done
    });
}
