//! A process stopped at every site of an mpmc queue's operations: whom it delays, and that it delays nobody else.
//!
//! While the victim is stopped, this process sends and receives with deadlines. What it cannot do must be what the queue's documentation says: between the
//! claim of a slot and its hand-over, a sender keeps receivers from going on (`Busy`) and senders once the queue is full; a receiver
//! keeps senders from going on once they have gone round; anywhere else nobody is delayed. Where claims begin and end is
//! told by the names of the sites, and by what happens when the same victim, stopped at the same site, is killed: only a claim leaves something
//! behind. Going on, the victim completes, and every message has come once.

use super::{ARMED, Form, Known, expect_alive, print_delays, print_head};
use crate::harness::{Orders, came_through, go_on, stopped_at_every_site, wait_for_sleep, wait_for_stop};
use crate::traffic::{Delays, NEVER, SHORT, Traffic, VICTIMS};
use shmkit::prelude::*;
use shmkit::queue::TryRecvError;
use shmkit::queue::mpmc::Settings;
use shmkit::segment::crash;
use std::sync::atomic::{AtomicU64, Ordering};

const CAPACITY: usize = 4;
/// How the round ends.
#[derive(Clone, Copy, PartialEq)]
enum End {
    GoesOn,
    Killed,
}

fn send((orders, sender, form): (Orders, mpmc::Sender<u64>, Form)) {
    let mut ledger = orders.arm();
    ledger.note(ARMED);
    let batch = [VICTIMS, VICTIMS + 1];
    let sent = match form {
        Form::Try => sender.try_send(VICTIMS).is_ok(),
        Form::Blocking => sender.send(VICTIMS).is_ok(),
        Form::Timeout(time) => sender.send_timeout(VICTIMS, time).is_ok(),
        Form::Batch => sender.send_slice(&batch).is_ok(),
    };
    crash::disarm();
    if sent {
        batch[..form.messages()].iter().for_each(|&item| ledger.note(item));
    }
}

fn recv((orders, receiver, form): (Orders, mpmc::Receiver<u64>, Form)) {
    let mut ledger = orders.arm();
    ledger.note(ARMED);
    let mut batch = [0; 2];
    let received = match form {
        Form::Try => receiver.try_recv().map_or(0, |item| write(&mut batch, item)),
        Form::Blocking => receiver.recv().map_or(0, |item| write(&mut batch, item)),
        Form::Timeout(time) => receiver.recv_timeout(time).map_or(0, |item| write(&mut batch, item)),
        Form::Batch => receiver.recv_slice(&mut batch).unwrap_or(0),
    };
    crash::disarm();
    batch[..received].iter().for_each(|&item| ledger.note(item));
}

pub(crate) fn spawn_sender(orders: &Orders, traffic: &Traffic, form: Form) -> JoinHandle<()> {
    spawn(send, (orders.clone(), traffic.sender.clone(), form)).expect("a victim")
}

pub(crate) fn spawn_receiver(orders: &Orders, traffic: &Traffic, form: Form) -> JoinHandle<()> {
    spawn(recv, (orders.clone(), traffic.receiver.clone(), form)).expect("a victim")
}

/// A queue with a dead process in it that has claimed a slot, to send or to receive a message from here. Nobody has reaped it.
pub(crate) fn with_a_dead_claim(receives: bool) -> Traffic {
    with_a_dead_claim_in(Settings::new(CAPACITY), receives)
}

/// The same in a queue with these settings, which change nothing for the victim.
pub(crate) fn with_a_dead_claim_in(settings: Settings, receives: bool) -> Traffic {
    /// Where that was the last time: it is the same site again, as nobody disturbs the victim.
    static FOUND: [AtomicU64; 2] = [const { AtomicU64::new(1) }; 2];
    let directory = tempfile::tempdir().expect("a temporary directory");
    let found = &FOUND[usize::from(receives)];
    for at in found.load(Ordering::Relaxed).. {
        let mut traffic = Traffic::new(settings);
        let orders = Orders::to_stop(directory.path(), at);
        let victim = match receives {
            true => {
                traffic.try_send().expect("room");
                spawn_receiver(&orders, &traffic, Form::Try)
            }
            false => spawn_sender(&orders, &traffic, Form::Try),
        };
        assert!(wait_for_stop(&victim), "there is a claim");
        victim.kill().expect("a child");
        assert!(!came_through(victim));
        if orders.stopped_at().starts_with("mpmc/") && orders.stopped_at().ends_with(" compare_exchange won") {
            found.store(at, Ordering::Relaxed);
            return traffic;
        }
    }
    unreachable!("sites are endless")
}

/// One message is a batch of one.
fn write(batch: &mut [u64], item: u64) -> usize {
    batch[0] = item;
    1
}

/// What one operation is and what it meets.
struct Case {
    name: &'static str,
    receives: bool,
    form: Form,
    /// Messages in the queue before.
    messages: u64,
    delays: Delays,
}

impl Case {
    /// Whether the victim finds the queue full, or empty.
    fn waits(&self) -> bool {
        self.messages == if self.receives { 0 } else { CAPACITY as u64 }
    }
}

/// One victim stopped at one site: whom it delayed, and whether its death there left something that others could clear up. `None` if it came through.
fn round(orders: &Orders, case: &Case, end: End) -> Option<(Delays, bool)> {
    let mut traffic = Traffic::new(CAPACITY);
    (0..case.messages).for_each(|_| traffic.try_send().unwrap());
    let victim = match case.receives {
        false => spawn_sender(orders, &traffic, case.form),
        true => spawn_receiver(orders, &traffic, case.form),
    };
    if wait_for_sleep(&victim, orders) && !matches!(case.form, Form::Timeout(SHORT)) {
        match case.receives {
            true => traffic.try_send().unwrap(),
            false => drop(traffic.try_recv().unwrap()),
        }
    }
    let stopped = wait_for_stop(&victim);
    let mut outcome = None;
    if stopped {
        let delays = traffic.probe(case.form.messages() as u64);
        expect_alive(traffic.receiver.segment(), &victim);
        outcome = Some((delays, false));
    }
    if stopped && end == End::Killed {
        let before = traffic.received.len();
        victim.kill().unwrap();
        assert!(!came_through(victim));
        // In the test of a receiver nobody else has sent, and in that of a sender what was behind its claim could not be received.
        assert_eq!(traffic.receiver.segment().reap_dead(), 1);
        let (delays, _) = outcome?;
        let left_something = match delays {
            Delays::Senders => {
                traffic.try_recv().is_ok() && traffic.received[before] == 1 && traffic.drain() == TryRecvError::Empty
            }
            Delays::Receivers => traffic.try_recv().is_ok() && traffic.drain() == TryRecvError::Empty,
            Delays::Nobody => traffic.drain() != TryRecvError::Empty || traffic.received.len() > before,
        };
        assert_eq!(traffic.probe(0), Delays::Nobody, "a death delays nobody any more");
        check(traffic, orders, case, case.form.messages());
        return Some((delays, left_something));
    }
    go_on(&victim);
    traffic.help_until(|| !victim.is_alive(), case.receives);
    victim.join().unwrap();
    check(traffic, orders, case, 0);
    outcome
}

/// Everything that was sent was received once, with the exception of `uncertain` messages that a dead victim had to do with.
fn check(traffic: Traffic, orders: &Orders, case: &Case, uncertain: usize) {
    let own = orders.ledger().into_iter().filter(|&item| item != ARMED);
    let in_order = traffic.received.iter().filter(|&&item| item < VICTIMS).is_sorted();
    assert!(in_order || uncertain > 0, "out of order: {:?}", traffic.received);
    let mut sent: Vec<u64> = (1..=traffic.sent).collect();
    let mut victims = Vec::new();
    match case.receives {
        true => victims.extend(own),
        false => sent.extend(own),
    }
    let mut received = traffic.settle();
    received.append(&mut victims);
    received.sort_unstable();
    let more = received.iter().filter(|item| !sent.contains(item)).count();
    let less = sent.iter().filter(|item| !received.contains(item)).count();
    assert_eq!(received.len() + less, sent.len() + more, "something came twice: sent {sent:?}, received {received:?}");
    // A victim may have done all of its part without having noted it. A batch is sent as a whole, and given back one by one.
    let fits = match case.receives {
        false => less == 0 && (more == 0 || more == uncertain),
        true => more == 0 && less <= uncertain,
    };
    assert!(fits, "sent {sent:?}, received {received:?}");
}

/// Stops the victim at every site, and compares whom it delays with what is documented. `known` is what the sites of other cases were found to be.
fn stop_at_every_site(case: &Case, known: &mut Known<Delays>) {
    let outcomes = stopped_at_every_site(case.name, case.form.rounds(case.waits()), |orders| {
        let (delays, _) = round(orders, case, End::GoesOn)?;
        assert!(delays == Delays::Nobody || delays == case.delays, "{}: {delays:?} delayed", case.name);
        orders.forget();
        let (delays, left_something) = round(orders, case, End::Killed)?;
        assert!(delays == Delays::Nobody || delays == case.delays, "{}: {delays:?} delayed", case.name);
        assert_eq!(delays != Delays::Nobody, left_something, "{}: a delay without a claim, or the reverse", case.name);
        Some(delays)
    });
    print_delays(case.name, &outcomes);
    if case.waits() {
        return known.expect(case.name, &outcomes);
    }
    known.learn(&outcomes);
    let delaying: Vec<usize> = (0..outcomes.len()).filter(|&index| outcomes[index].1 != Delays::Nobody).collect();
    let (Some(&first), Some(&last)) = (delaying.first(), delaying.last()) else {
        return assert_eq!(case.delays, Delays::Nobody, "{}: nobody was ever delayed", case.name);
    };
    assert_eq!(delaying.len(), last - first + 1, "{}: one claim, so without a gap", case.name);
    let (claimed, handed_over) = (&outcomes[first].0, &outcomes[last].0);
    assert!(
        claimed.starts_with("mpmc/") && claimed.ends_with(" compare_exchange won"),
        "{}: from {claimed}",
        case.name
    );
    assert!(handed_over.starts_with("mpmc/") && handed_over.ends_with(" store"), "{}: until {handed_over}", case.name);
}

pub(crate) fn mpmc() {
    print_head();
    let sends = |name, form, messages, delays| Case { name, receives: false, form, messages, delays };
    let receives = |name, form, messages, delays| Case { name, receives: true, form, messages, delays };
    let full = CAPACITY as u64;
    let cases = [
        sends("mpmc try_send", Form::Try, 1, Delays::Receivers),
        // The last slot of the ring, so that it moves the index too.
        sends("mpmc send", Form::Blocking, 3, Delays::Receivers),
        sends("mpmc send_timeout", Form::Timeout(NEVER), 1, Delays::Receivers),
        sends("mpmc send_slice", Form::Batch, 1, Delays::Receivers),
        receives("mpmc try_recv", Form::Try, 2, Delays::Senders),
        receives("mpmc recv", Form::Blocking, 2, Delays::Senders),
        receives("mpmc recv_timeout", Form::Timeout(NEVER), 2, Delays::Senders),
        receives("mpmc recv_slice", Form::Batch, 3, Delays::Senders),
        sends("mpmc try_send, full", Form::Try, full, Delays::Nobody),
        sends("mpmc send that must wait", Form::Blocking, full, Delays::Receivers),
        sends("mpmc send_timeout that must wait", Form::Timeout(NEVER), full, Delays::Receivers),
        sends("mpmc send_timeout in vain", Form::Timeout(SHORT), full, Delays::Nobody),
        receives("mpmc try_recv, empty", Form::Try, 0, Delays::Nobody),
        receives("mpmc recv that must wait", Form::Blocking, 0, Delays::Senders),
        receives("mpmc recv_timeout in vain", Form::Timeout(SHORT), 0, Delays::Nobody),
    ];
    let (mut of_senders, mut of_receivers) = (Known::new(Delays::Nobody), Known::new(Delays::Nobody));
    for case in &cases {
        stop_at_every_site(case, if case.receives { &mut of_receivers } else { &mut of_senders });
    }
}
