//! Tasks that wait for futures, in a process that is killed at every site: of the thread that polls them, and of the one that sleeps on their behalf.

use crate::harness::{
    Ledger, Orders, at_every_site_often, came_through, wait_for_sleep_after, wait_until_named_sleeps,
};
use crate::queues::{drain, number};
use crate::stops::ARMED;
use serde::{Deserialize, Serialize};
use shmkit::prelude::*;
use shmkit::segment::crash;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::thread::{self, Thread};

/// Messages of each queue.
const MESSAGES: u64 = 2;
/// What is added to those of the queue of buffers.
const BUFFER: u64 = 100;
/// How often in a row a victim comes through: how far the other thread gets before this one is done depends on both.
const OFTEN: u64 = 4;

/// The thread of the victim that is armed, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Armed {
    /// The one that polls.
    Polling,
    /// The same, when the other one exists already and sleeps.
    PollingAgain,
    /// The one that sleeps for futures, from the first time on that it calls one.
    Watching,
}

const ALL: [Armed; 3] = [Armed::Polling, Armed::PollingAgain, Armed::Watching];

/// What a victim is told.
#[derive(Serialize, Deserialize)]
struct Task {
    orders: Orders,
    armed: Armed,
}

/// A runtime: a thread that polls one future, and parks in between.
struct Runtime {
    thread: Thread,
    /// For the thread that calls it the first time.
    orders: Mutex<Option<Orders>>,
}

impl Wake for Runtime {
    fn wake(self: Arc<Self>) {
        let orders = self.orders.lock().expect("nobody panics in here").take();
        // What is to be noted is known to the other thread.
        orders.into_iter().for_each(|orders| drop(orders.arm()));
        self.thread.unpark();
    }
}

/// A victim's memory, in its future.
struct Notes {
    ledger: Ledger,
    /// Which have not armed anybody yet.
    orders: Option<Orders>,
}

impl Notes {
    fn note(&mut self, item: u64) {
        self.ledger.note(item);
        // The thread that sleeps for futures has to be told of the next one then.
        wait_until_named_sleeps("shmkit-watcher");
        if let Some(orders) = self.orders.take() {
            self.ledger = orders.arm();
        }
    }
}

impl Task {
    /// Runs the future to its end, with one of the threads armed.
    fn run<F: Future<Output = ()>>(self, future: impl FnOnce(Notes) -> F) {
        let Self { orders, armed } = self;
        let mut ledger = orders.arm();
        ledger.note(ARMED);
        let (mut for_later, mut for_watcher) = (None, None);
        if armed != Armed::Polling {
            crash::disarm();
            *(if armed == Armed::Watching { &mut for_watcher } else { &mut for_later }) = Some(orders);
        }
        let runtime = Arc::new(Runtime { thread: thread::current(), orders: Mutex::new(for_watcher) });
        let waker = Waker::from(runtime);
        let mut future = pin!(future(Notes { ledger, orders: for_later }));
        while future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            thread::park();
        }
        crash::disarm();
    }
}

type Receivers = (Task, mpmc::Receiver<u64>, buffer::Receiver);

fn receive((task, mpmc, buffer): Receivers) {
    task.run(async |mut notes| {
        for _ in 0..MESSAGES {
            notes.note(mpmc.recv_async().await.expect("there is a sender"));
            let lease = buffer.recv_async().await.expect("there is a sender");
            notes.note(number(&lease));
            lease.ack();
        }
        assert!(mpmc.recv_async().await.is_err() && buffer.recv_async().await.is_err());
    });
}

/// Both queues are empty when the victim comes to them, one after the other; at last it waits for their ends. What it does not receive others do.
fn receiver(armed: Armed) {
    at_every_site_often(&format!("futures of messages, {armed:?}"), OFTEN, |orders| {
        let (to_mpmc, from_mpmc) = mpmc::channel(2).unwrap();
        let (to_buffer, from_buffer) = buffer::channel((2, 8)).unwrap();
        let victim =
            spawn(receive, (Task { orders: orders.clone(), armed }, from_mpmc.clone(), from_buffer.clone())).unwrap();
        let mut notes = 1..;
        let mut wait = || wait_for_sleep_after(&victim, orders, notes.next().expect("a number"));
        for item in 1..=MESSAGES {
            wait();
            to_mpmc.try_send(item).unwrap();
            wait();
            to_buffer.try_send(&(BUFFER + item).to_le_bytes()).unwrap();
        }
        wait();
        drop((to_mpmc, to_buffer));
        let done = came_through(victim);
        let noted = orders.ledger();
        let (of_mpmc, of_buffer): (Vec<u64>, Vec<u64>) = (from_mpmc.iter().collect(), drain(&from_buffer));
        let times = |rest: &[u64], item| noted.iter().chain(rest).filter(|&&other| other == item).count();
        let count = |rest: &[u64], first, wanted| {
            (first + 1..=first + MESSAGES).filter(|&item| times(rest, item) == wanted).count()
        };
        // Of what the victim was dealing with, one may have been received and not noted, or noted and not acknowledged.
        let (missing, twice) = (count(&of_mpmc, 0, 0), count(&of_buffer, BUFFER, 2));
        let (of_first, of_second) = (count(&of_mpmc, 0, 1), count(&of_buffer, BUFFER, 1));
        let is_whole = missing + of_first == MESSAGES as usize && twice + of_second == MESSAGES as usize;
        assert!(is_whole && missing + twice <= usize::from(!done), "{noted:?}, then {of_mpmc:?}, {of_buffer:?}");
        assert!(!done || of_mpmc.is_empty() && of_buffer.is_empty());
        done
    });
}

type Senders = (Task, mpmc::Sender<u64>, buffer::Sender);

fn send((task, mpmc, buffer): Senders) {
    task.run(async |mut notes| {
        for item in 1..=MESSAGES {
            mpmc.send_async(item).await.expect("there is a receiver");
            notes.note(item);
            buffer.send_async(&(BUFFER + item).to_le_bytes()).await.expect("there is a receiver");
            notes.note(BUFFER + item);
        }
    });
}

/// Both queues are full when the victim comes to them.
fn sender(armed: Armed) {
    at_every_site_often(&format!("futures of room, {armed:?}"), OFTEN, |orders| {
        let (to_mpmc, from_mpmc) = mpmc::channel(1).unwrap();
        let (to_buffer, from_buffer) = buffer::channel((1, 8)).unwrap();
        to_mpmc.try_send(0).unwrap();
        to_buffer.try_send(&BUFFER.to_le_bytes()).unwrap();
        let victim = spawn(send, (Task { orders: orders.clone(), armed }, to_mpmc, to_buffer)).unwrap();
        let (mut of_mpmc, mut of_buffer) = (Vec::new(), Vec::new());
        let take = |lease: buffer::Lease<'_>| {
            let item = number(&lease);
            lease.ack();
            item
        };
        // One after the other, each when the victim sleeps for want of room.
        for item in 0..MESSAGES as usize {
            wait_for_sleep_after(&victim, orders, 2 * item + 1);
            of_mpmc.extend(from_mpmc.try_recv());
            wait_for_sleep_after(&victim, orders, 2 * item + 2);
            of_buffer.extend(from_buffer.try_recv().map(take));
        }
        while victim.is_alive() {
            of_mpmc.extend(from_mpmc.try_recv());
            of_buffer.extend(from_buffer.try_recv().map(take));
            thread::yield_now();
        }
        of_mpmc.extend(from_mpmc.iter());
        of_buffer.extend(drain(&from_buffer));
        let done = came_through(victim);
        let noted = orders.ledger();
        for (first, items) in [(0, of_mpmc), (BUFFER, of_buffer)] {
            let sent = noted.iter().filter(|&&item| (first + 1..=first + MESSAGES).contains(&item)).count() + 1;
            assert!(items.iter().copied().eq(first..first + items.len() as u64), "out of order: {items:?}");
            assert!((sent..=sent + 1).contains(&items.len()), "noted {noted:?}, came {items:?}");
            assert!(!done || items.len() as u64 == MESSAGES + 1);
        }
        done
    });
}

pub(crate) fn tasks() {
    for armed in ALL {
        receiver(armed);
        sender(armed);
    }
}
