//! Who waits for one of several queues, of every kind and on either side, killed at every site.

use crate::harness::{Orders, at_every_site, came_through, wait_for_sleep_after};
use crate::queues::{drain, number};
use crate::stops::ARMED;
use shmkit::prelude::*;
use shmkit::queue::TryRecvError;
use shmkit::segment::crash;
use shmkit::sync::{Select, Watch};
use std::sync::Arc;

/// The queues, in the order in which they are waited for.
const SPSC: usize = 0;
const MPMC: usize = 1;
const BUFFER: usize = 2;
const ALL: [usize; 3] = [SPSC, MPMC, BUFFER];

/// The message that the queue number `queue` has.
fn message(queue: usize) -> u64 {
    queue as u64 + 1
}

type Receivers = (spsc::Receiver<u64>, mpmc::Receiver<u64>, buffer::Receiver);
type Senders = (spsc::Sender<u64>, mpmc::Sender<u64>, buffer::Sender);

/// The place in `open` of a queue that is worth trying.
fn wait_for_one(open: &[usize], watches: &[Watch; 3]) -> usize {
    let mut select = Select::new();
    open.iter().for_each(|&queue| _ = select.add(Arc::clone(&watches[queue])));
    select.wait()
}

fn receive((orders, (mut spsc, mpmc, buffer)): (Orders, Receivers)) {
    let mut ledger = orders.arm();
    ledger.note(ARMED);
    let watches = [spsc.watch(), mpmc.watch(), buffer.watch()];
    let mut open = ALL.to_vec();
    while !open.is_empty() {
        let place = wait_for_one(&open, &watches);
        let outcome = match open[place] {
            SPSC => spsc.try_recv().map(|item| ledger.note(item)),
            MPMC => mpmc.try_recv().map(|item| ledger.note(item)),
            _ => buffer.try_recv().map(|lease| {
                ledger.note(number(&lease));
                lease.ack();
            }),
        };
        if let Err(error) = outcome {
            assert_eq!(error, TryRecvError::Disconnected, "nobody else receives here, so there is something or an end");
            open.remove(place);
        }
    }
    crash::disarm();
}

/// All are empty at first, so the victim sleeps for all of them, and again after each message.
pub(crate) fn receiver_of_several() {
    at_every_site("select, messages of three queues", |orders| {
        let (mut to_spsc, from_spsc) = spsc::channel(2).unwrap();
        let (to_mpmc, from_mpmc) = mpmc::channel(2).unwrap();
        let (to_buffer, from_buffer) = buffer::channel((2, 8)).unwrap();
        let handles = (from_spsc, from_mpmc.clone(), from_buffer.clone());
        let victim = spawn(receive, (orders.clone(), handles)).unwrap();
        for queue in ALL {
            wait_for_sleep_after(&victim, orders, queue + 1);
            match queue {
                // Whoever has its other end may be dead, and the message goes with it.
                SPSC => drop(to_spsc.try_send(message(queue))),
                MPMC => to_mpmc.try_send(message(queue)).unwrap(),
                _ => to_buffer.try_send(&message(queue).to_le_bytes()).unwrap(),
            }
        }
        drop((to_spsc, to_mpmc, to_buffer));
        let done = came_through(victim);
        let noted = orders.ledger();
        let times = |queue| noted.iter().filter(|&&item| item == message(queue)).count();
        let of_mpmc: Vec<u64> = from_mpmc.iter().collect();
        let of_buffer = drain(&from_buffer);
        assert!(times(SPSC) <= 1 && (!done || times(SPSC) == 1));
        // The mpmc queue's may have been received and not noted, the other one's noted and not acknowledged.
        assert!(of_mpmc.len() + times(MPMC) == 1 || !done && of_mpmc.is_empty(), "{noted:?}, {of_mpmc:?}");
        assert!(of_buffer.len() + times(BUFFER) == 1 || !done && of_buffer.len() == 1, "{noted:?}, {of_buffer:?}");
        assert!(of_mpmc.iter().all(|&item| item == message(MPMC)));
        assert!(of_buffer.iter().all(|&item| item == message(BUFFER)));
        done
    });
}

fn send((orders, (mut spsc, mpmc, buffer)): (Orders, Senders)) {
    let mut ledger = orders.arm();
    ledger.note(ARMED);
    let watches = [spsc.watch(), mpmc.watch(), buffer.watch()];
    let mut open = ALL.to_vec();
    while !open.is_empty() {
        let place = wait_for_one(&open, &watches);
        let queue = open.remove(place);
        match queue {
            SPSC => spsc.try_send(message(queue)).expect("nobody else sends here"),
            MPMC => mpmc.try_send(message(queue)).expect("nobody else sends here"),
            _ => buffer.try_send(&message(queue).to_le_bytes()).expect("nobody else sends here"),
        }
        ledger.note(message(queue));
    }
    crash::disarm();
}

/// All are full at first, so the victim sleeps for room in any, and again after each message.
pub(crate) fn sender_to_several() {
    at_every_site("select, room in three queues", |orders| {
        let (mut to_spsc, mut from_spsc) = spsc::channel(1).unwrap();
        let (to_mpmc, from_mpmc) = mpmc::channel(1).unwrap();
        let (to_buffer, from_buffer) = buffer::channel((1, 8)).unwrap();
        to_spsc.try_send(0).unwrap();
        to_mpmc.try_send(0).unwrap();
        to_buffer.try_send(&0_u64.to_le_bytes()).unwrap();
        let victim = spawn(send, (orders.clone(), (to_spsc, to_mpmc, to_buffer))).unwrap();
        for queue in ALL {
            wait_for_sleep_after(&victim, orders, queue + 1);
            let first = match queue {
                SPSC => from_spsc.try_recv().unwrap(),
                MPMC => from_mpmc.try_recv().unwrap(),
                _ => {
                    let lease = from_buffer.try_recv().unwrap();
                    let first = number(&lease);
                    lease.ack();
                    first
                }
            };
            assert_eq!(first, 0);
        }
        let done = came_through(victim);
        let received = [from_spsc.iter().collect(), from_mpmc.iter().collect(), drain(&from_buffer)];
        let noted = orders.ledger();
        for queue in ALL {
            let (sent, received) = (message(queue), &received[queue]);
            assert!(*received == [sent] || received.is_empty() && !noted.contains(&sent), "{noted:?}, {received:?}");
        }
        assert!(!done || received.iter().all(|received| received.len() == 1));
        done
    });
}
