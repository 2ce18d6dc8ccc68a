//! A process stopped at every site of an spsc queue's operations. There is nothing to hold: up to the store of its position the
//! operation has not happened, from then on it has, and the other side goes on either way until the queue is empty, or full.

use super::{ARMED, Form, Known, expect_alive};
use crate::harness::{Orders, came_through, go_on, stopped_at_every_site, wait_for_sleep, wait_for_stop};
use crate::traffic::{NEVER, SHORT, SOON, VICTIMS};
use shmkit::prelude::*;
use shmkit::queue::{RecvTimeoutError, SendTimeoutError, TryRecvError};
use shmkit::segment::crash;
use std::time::Instant;

const CAPACITY: usize = 4;

fn send((orders, mut sender, form): (Orders, spsc::Sender<u64>, Form)) {
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

fn recv((orders, mut receiver, form): (Orders, spsc::Receiver<u64>, Form)) {
    let mut ledger = orders.arm();
    ledger.note(ARMED);
    let received = match form {
        Form::Try => receiver.try_recv().into_iter().collect(),
        Form::Blocking => receiver.recv().into_iter().collect(),
        Form::Timeout(time) => receiver.recv_timeout(time).into_iter().collect(),
        Form::Batch => {
            let mut batch = [0; 2];
            let count = receiver.recv_slice(&mut batch).unwrap_or(0);
            batch[..count].to_vec()
        }
    };
    crash::disarm();
    received.into_iter().for_each(|item| ledger.note(item));
}

/// What the victim has noted that it has sent, or received.
fn noted(orders: &Orders) -> Vec<u64> {
    orders.ledger().into_iter().filter(|&item| item != ARMED).collect()
}

/// What one operation is and what it meets.
struct Case {
    name: &'static str,
    form: Form,
    /// Messages in the queue before.
    messages: u64,
    /// Whether it comes to anything.
    happens: bool,
}

impl Case {
    /// Whether the victim finds the queue full, or empty.
    fn waits(&self) -> bool {
        [0, CAPACITY as u64].contains(&self.messages)
    }
}

/// A round with a victim: how much it had done when it was stopped; `None` if it came through. The flag says whether it is killed then.
type Stopped = fn(&Orders, &Case, bool) -> Option<usize>;

/// A sender stopped: how many of its messages were there. `None` if it came through.
fn stopped_sender(orders: &Orders, case: &Case, killed: bool) -> Option<usize> {
    let (mut sender, mut receiver) = spsc::channel(CAPACITY).unwrap();
    (1..=case.messages).for_each(|item| sender.send(item).unwrap());
    let victim = spawn(send, (orders.clone(), sender, case.form)).unwrap();
    let mut received = Vec::new();
    if wait_for_sleep(&victim, orders) && case.happens {
        received.push(receiver.recv().unwrap());
    }
    let stopped = wait_for_stop(&victim);
    let mut there = None;
    if stopped {
        received.extend(receiver.try_iter());
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty), "never Busy");
        assert_eq!(receiver.recv_timeout(SOON), Err(RecvTimeoutError::Timeout));
        assert_eq!(receiver.recv_deadline(Instant::now()), Err(RecvTimeoutError::Timeout));
        expect_alive(receiver.segment(), &victim);
        there = Some(received.len() - case.messages as usize);
    }
    if stopped && killed {
        victim.kill().unwrap();
        assert!(!came_through(victim));
        let rest = receiver.iter().count();
        assert_eq!(rest, 0, "what was not sent when it was stopped was never sent");
    } else {
        go_on(&victim);
        // Nobody else sends, and nobody but the victim can close the queue.
        received.extend(receiver.iter());
        victim.join().unwrap();
        assert!(received[case.messages as usize..] == noted(orders));
    }
    let own = [VICTIMS, VICTIMS + 1].into_iter().take(received.len() - case.messages as usize);
    assert!(received.iter().copied().eq((1..=case.messages).chain(own)), "{received:?}");
    there
}

/// A receiver stopped: how many messages it had received. `None` if it came through.
fn stopped_receiver(orders: &Orders, case: &Case, killed: bool) -> Option<usize> {
    let (mut sender, receiver) = spsc::channel(CAPACITY).unwrap();
    (1..=case.messages).for_each(|item| sender.send(item).unwrap());
    let victim = spawn(recv, (orders.clone(), receiver, case.form)).unwrap();
    let mut sent = case.messages;
    if wait_for_sleep(&victim, orders) && case.happens && case.messages == 0 {
        sender.send(1).unwrap();
        sent = 1;
    }
    let stopped = wait_for_stop(&victim);
    let mut taken = None;
    if stopped {
        while sender.try_send(sent + 1).is_ok() {
            sent += 1;
        }
        assert!(matches!(sender.send_timeout(0, SOON), Err(SendTimeoutError::Timeout(0))));
        assert!(matches!(sender.send_deadline(0, Instant::now()), Err(SendTimeoutError::Timeout(0))));
        expect_alive(sender.segment(), &victim);
        taken = Some(sent as usize - CAPACITY);
    }
    if stopped && killed {
        victim.kill().unwrap();
        assert!(!came_through(victim));
        assert!(matches!(sender.send_timeout(0, NEVER), Err(SendTimeoutError::Disconnected(0))));
        return taken;
    }
    go_on(&victim);
    // A receiver that waits may still need a message.
    while victim.is_alive() && sender.try_send(sent + 1).map(|()| sent += 1).is_ok() {}
    victim.join().unwrap();
    let noted = noted(orders);
    assert!(noted.iter().copied().eq(1..=noted.len() as u64), "{noted:?}");
    assert!(taken.is_none_or(|taken| taken <= noted.len()) && noted.len() <= case.form.messages());
    taken
}

/// Stops a victim at every site: before one store nothing has happened, after it all. `known` is what the sites of other cases were found to be.
fn stop_at_every_site(case: &Case, known: &mut Known<bool>, stopped: Stopped) {
    let (waits, all) = (case.waits(), case.form.messages());
    let outcomes = stopped_at_every_site(case.name, case.form.rounds(waits), |orders| {
        let done = stopped(orders, case, false)?;
        assert!(done == 0 || done == all, "{}: in one step", case.name);
        orders.forget();
        let done = stopped(orders, case, true)?;
        assert!(done == 0 || done == all, "{}: in one step", case.name);
        Some(done == all)
    });
    match waits {
        true => known.expect(case.name, &outcomes),
        false => known.learn(&outcomes),
    }
    let after = outcomes.iter().filter(|(_, happened)| *happened).count();
    let before = outcomes.len() - after;
    println!("{:42} {:5} {before:20} {after:7}", case.name, outcomes.len());
    if !waits {
        assert_eq!(case.happens, after > 0, "{}", case.name);
    }
    if !waits && case.happens {
        assert!(outcomes.is_sorted_by_key(|(_, happened)| *happened), "{}", case.name);
        let store = &outcomes[before - 1].0;
        println!("      from {store} on");
        assert!(store.starts_with("spsc/") && store.ends_with(" store"), "{}: happened at {store}", case.name);
    }
}

pub(crate) fn spsc() {
    println!("{:42} {:>5} {:>20} {:>7}", "stopped in", "sites", "before it happened", "after");
    let case = |name, form, messages, happens| Case { name, form, messages, happens };
    let full = CAPACITY as u64;
    let mut known = Known::new(false);
    for case in [
        case("spsc try_send", Form::Try, 1, true),
        case("spsc send", Form::Blocking, 1, true),
        case("spsc send_slice", Form::Batch, 1, true),
        case("spsc try_send, full", Form::Try, full, false),
        case("spsc send that must wait", Form::Blocking, full, true),
        case("spsc send_timeout that must wait", Form::Timeout(NEVER), full, true),
        case("spsc send_timeout in vain", Form::Timeout(SHORT), full, false),
    ] {
        stop_at_every_site(&case, &mut known, stopped_sender);
    }
    let mut known = Known::new(false);
    for case in [
        case("spsc try_recv", Form::Try, 2, true),
        case("spsc recv", Form::Blocking, 2, true),
        case("spsc recv_slice", Form::Batch, 3, true),
        case("spsc try_recv, empty", Form::Try, 0, false),
        case("spsc recv that must wait", Form::Blocking, 0, true),
        case("spsc recv_timeout that must wait", Form::Timeout(NEVER), 0, true),
        case("spsc recv_timeout in vain", Form::Timeout(SHORT), 0, false),
    ] {
        stop_at_every_site(&case, &mut known, stopped_receiver);
    }
}
