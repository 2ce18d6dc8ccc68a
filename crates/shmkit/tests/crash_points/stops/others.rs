//! Who else is there when a process is stopped: sleepers that it was about to wake, those who wait for it to leave, and those who need what
//! the dead had that it was just taking back.

use super::Form;
use super::mpmc::{spawn_receiver, spawn_sender, with_a_dead_claim};
use crate::harness::{Orders, came_through, go_on, stopped_at_every_site, wait_for_stop, wait_until_asleep};
use crate::traffic::{Delays, NEVER, SOON, Traffic, VICTIMS};
use shmkit::prelude::*;
use shmkit::queue::{RecvTimeoutError, SendTimeoutError, TryRecvError};
use shmkit::segment::crash;

const CAPACITY: usize = 4;

/// A thread of this process sleeps until there is a message, or room. A victim that makes some is stopped on its way, at the latest between taking the
/// sleeper's flag and waking it. Whatever comes next reaches the sleeper all the same.
fn stop_beside_a_sleeper(name: &str, receives: bool) {
    let outcomes = stopped_at_every_site(name, 1, |orders| {
        let mut traffic = Traffic::new(CAPACITY);
        if receives {
            traffic.fill();
        }
        let (sender, receiver) = (traffic.sender.clone(), traffic.receiver.clone());
        let (tell, told) = std::sync::mpsc::channel();
        let sleeper = std::thread::spawn(move || {
            tell.send(std::fs::read_link("/proc/thread-self").unwrap()).unwrap();
            match receives {
                true => sender.send_timeout(VICTIMS + 1, NEVER).map(|()| None).unwrap(),
                false => Some(receiver.recv_timeout(NEVER).unwrap()),
            }
        });
        wait_until_asleep(&sleeper, &told.recv().unwrap());
        let victim = match receives {
            true => spawn_receiver(orders, &traffic, Form::Try),
            false => spawn_sender(orders, &traffic, Form::Try),
        };
        let stopped = wait_for_stop(&victim);
        let is_delayed = match receives {
            true => traffic.drain() == TryRecvError::Empty && traffic.try_send().is_err(),
            false => traffic.try_recv() == Err(TryRecvError::Busy),
        };
        if !receives && !is_delayed {
            traffic.try_send().unwrap();
        }
        if is_delayed {
            go_on(&victim);
        }
        let taken = sleeper.join().unwrap();
        go_on(&victim);
        victim.join().unwrap();

        let own = orders.ledger().into_iter().filter(|&item| item != super::ARMED);
        let mut sent: Vec<u64> = (1..=traffic.sent).collect();
        let mut received: Vec<u64> = taken.into_iter().collect();
        match receives {
            true => received.extend(own),
            false => sent.extend(own),
        }
        sent.extend(receives.then_some(VICTIMS + 1));
        received.extend(traffic.settle());
        received.sort_unstable();
        assert_eq!(received, sent);
        stopped.then_some(is_delayed)
    });
    let delayed = outcomes.iter().filter(|(_, is_delayed)| *is_delayed).count();
    println!("{name:42} {:5} {:7} {delayed:10}", outcomes.len(), outcomes.len() - delayed);
    assert_eq!(delayed, 3, "the claim, the value, and the hand-over");
}

pub(crate) fn sleepers() {
    println!("{:42} {:>5} {:>7} {:>10}", "stopped in", "sites", "nobody", "a sleeper");
    stop_beside_a_sleeper("mpmc try_send, and a receiver sleeps", false);
    stop_beside_a_sleeper("mpmc try_recv, and a sender sleeps", true);
}

/// A victim waits at a gate until it is the only one of its side.
type Gate = mpmc::Receiver<u64>;

fn leave_as_sender((orders, sender, gate): (Orders, mpmc::Sender<u64>, Gate)) {
    gate.recv().expect("the gate is opened");
    drop(gate);
    orders.arm();
    drop(sender);
    crash::disarm();
}

fn leave_as_receiver((orders, receiver, gate): (Orders, mpmc::Receiver<u64>, Gate)) {
    gate.recv().expect("the gate is opened");
    drop(gate);
    orders.arm();
    drop(receiver);
    crash::disarm();
}

/// The last one of its side leaves. Who waits for the others keeps its deadline until the side is closed, and is told from then on.
fn stop_while_leaving(name: &str, is_sender: bool) {
    let outcomes = stopped_at_every_site(name, 1, |orders| {
        let mut told = None;
        for killed in [false, true] {
            let (sender, receiver) = mpmc::channel(1).unwrap();
            sender.send(1).unwrap();
            let (open, gate) = mpmc::channel(1).unwrap();
            // What the last one sent is there, whatever becomes of it; a receiver's queue is full.
            let victim = match is_sender {
                true => spawn(leave_as_sender, (orders.clone(), sender.clone(), gate.clone())).unwrap(),
                false => spawn(leave_as_receiver, (orders.clone(), receiver.clone(), gate.clone())).unwrap(),
            };
            let (sender, receiver) = (Some(sender).filter(|_| !is_sender), Some(receiver).filter(|_| is_sender));
            open.send(1).unwrap();
            let is_told = |time| match (&sender, &receiver) {
                (Some(sender), _) => match sender.send_timeout(2, time) {
                    Err(SendTimeoutError::Timeout(2)) => false,
                    Err(SendTimeoutError::Disconnected(2)) => true,
                    other => panic!("{other:?}"),
                },
                (_, Some(receiver)) => match receiver.recv_timeout(time) {
                    Err(RecvTimeoutError::Timeout) => false,
                    Err(RecvTimeoutError::Disconnected) => true,
                    other => panic!("{other:?}"),
                },
                (None, None) => unreachable!("one of them is left"),
            };
            if let Some(receiver) = &receiver {
                assert_eq!(receiver.recv_timeout(NEVER), Ok(1));
            }
            let stopped = wait_for_stop(&victim);
            if stopped {
                told = Some(is_told(SOON));
            }
            if stopped && killed {
                victim.kill().unwrap();
                assert!(!came_through(victim));
                // Whoever waits does so too, after a nap.
                let segment = sender.as_ref().map(|sender| sender.segment());
                segment.or(receiver.as_ref().map(|receiver| receiver.segment())).unwrap().reap_dead();
            } else {
                go_on(&victim);
                victim.join().unwrap();
            }
            assert!(is_told(NEVER), "whoever waits learns that nobody is left");
        }
        told
    });
    let told = outcomes.iter().filter(|(_, told)| *told).count();
    println!("{name:42} {:5} {told:7} {:10}", outcomes.len(), outcomes.len() - told);
    assert!(outcomes.is_sorted_by_key(|(_, told)| *told), "told once, told for good");
    assert!(told > 0 && told < outcomes.len());
}

pub(crate) fn leavers() {
    println!("{:42} {:>5} {:>7} {:>10}", "stopped in", "sites", "told", "kept waiting");
    stop_while_leaving("the last mpmc sender that leaves", true);
    stop_while_leaving("the last mpmc receiver that leaves", false);
}

fn reap((orders, receiver): (Orders, mpmc::Receiver<u64>)) {
    orders.arm();
    receiver.segment().reap_dead();
    crash::disarm();
}

/// A process is dead that delays others, and the one that was just recovering from that is stopped, or killed. Then they wait on, with deadlines, until it goes on
/// or is dead too.
fn stop_while_reaping(name: &str, dead_receives: bool) {
    let expected = if dead_receives { Delays::Senders } else { Delays::Receivers };
    let outcomes = stopped_at_every_site(name, 1, |orders| {
        let mut found = None;
        for killed in [false, true] {
            let mut traffic = with_a_dead_claim(dead_receives);
            let reaper = spawn(reap, (orders.clone(), traffic.receiver.clone())).unwrap();
            let stopped = wait_for_stop(&reaper);
            if stopped {
                let delays = delays_now(&mut traffic);
                assert!([Delays::Nobody, expected].contains(&delays), "{delays:?}");
                found = Some(delays);
            }
            if stopped && killed {
                reaper.kill().unwrap();
                assert!(!came_through(reaper));
            } else {
                let segment = traffic.receiver.segment();
                // This may be the one that recovers, if the stopped one has not begun to; it never blocks.
                assert!(segment.reap_dead() <= 1);
                assert!(!stopped || segment.peers().iter().any(|peer| peer.pid() == reaper.pid() && peer.is_alive()));
                go_on(&reaper);
                reaper.join().unwrap();
            }
            traffic.receiver.segment().reap_dead();
            assert_eq!(traffic.probe(0), Delays::Nobody);
            assert_eq!(traffic.receiver.segment().peer_count(), 1);
            let sent: Vec<u64> = (1..=traffic.sent).collect();
            assert_eq!(traffic.settle(), sent, "what was received by nobody alive came again, and nothing else did");
        }
        found
    });
    print_reaper(name, &outcomes);
}

/// Whom the dead delay at the moment. Unlike a stopped process they have held the position for long, so only what is reported counts.
fn delays_now(traffic: &mut Traffic) -> Delays {
    if traffic.drain() == TryRecvError::Busy {
        assert_eq!(traffic.recv_within(SOON), Err(RecvTimeoutError::Timeout));
        return Delays::Receivers;
    }
    for _ in 0..2 * CAPACITY {
        if traffic.try_send().is_err() {
            assert!(matches!(traffic.send_within(SOON), Err(SendTimeoutError::Timeout(_))));
            return Delays::Senders;
        }
        assert!(traffic.try_recv().is_ok());
    }
    Delays::Nobody
}

fn print_reaper(name: &str, outcomes: &[(String, Delays)]) {
    let delaying = outcomes.iter().filter(|(_, delays)| *delays != Delays::Nobody).count();
    println!("{name:42} {:5} {:7} {delaying:10}", outcomes.len(), outcomes.len() - delaying);
    assert!(delaying > 0 && delaying < outcomes.len());
}

pub(crate) fn reapers() {
    println!("{:42} {:>5} {:>7} {:>10}", "stopped in", "sites", "nobody", "delayed by the dead");
    stop_while_reaping("the reaper of an mpmc sender", false);
    stop_while_reaping("the reaper of an mpmc receiver", true);
}
