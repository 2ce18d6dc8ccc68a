//! Messages between two processes: how many pass when one sends as fast as the other takes, and how long one takes there and back.
//!
//! Unlike the operations by themselves this is mostly about what the caches of two cores tell each other, and about the scheduler: compare numbers of one run only.

use crate::patient;
use criterion::{Criterion, Throughput};
use serde::{Serialize, de::DeserializeOwned};
use shmkit::process::spawn;
use shmkit::queue::{TryRecvError, mpmc, spsc};
use std::hint::spin_loop;
use std::thread::yield_now;
use std::time::{Duration, Instant};

const CAPACITY: usize = 1024;
const BATCH: usize = 32;

/// The sending end of either queue.
trait Outlet: Serialize + DeserializeOwned + 'static {
    fn send(&mut self, value: u64);
    fn send_slice(&mut self, values: &[u64]);
}

/// The receiving end; `None` when the other side is gone.
trait Inlet: Serialize + DeserializeOwned + 'static {
    fn recv(&mut self) -> Option<u64>;
    fn recv_slice(&mut self, values: &mut [u64]) -> Option<usize>;
    fn try_recv(&mut self) -> Result<u64, TryRecvError>;

    /// Never sleeps. Yields now and then: where there are fewer cores than processes, the other side needs this one.
    fn poll(&mut self) -> Option<u64> {
        for turn in 1_u64.. {
            match self.try_recv() {
                Ok(value) => return Some(value),
                Err(TryRecvError::Empty | TryRecvError::Busy) if turn.is_multiple_of(64) => yield_now(),
                Err(TryRecvError::Empty | TryRecvError::Busy) => spin_loop(),
                Err(_) => return None,
            }
        }
        None
    }
}

macro_rules! ends {
    ($queue:ident) => {
        impl Outlet for $queue::Sender<u64> {
            fn send(&mut self, value: u64) {
                $queue::Sender::send(self, value).expect("the receiver lives");
            }

            fn send_slice(&mut self, values: &[u64]) {
                $queue::Sender::send_slice(self, values).expect("the receiver lives");
            }
        }

        impl Inlet for $queue::Receiver<u64> {
            fn recv(&mut self) -> Option<u64> {
                $queue::Receiver::recv(self).ok()
            }

            fn recv_slice(&mut self, values: &mut [u64]) -> Option<usize> {
                $queue::Receiver::recv_slice(self, values).ok()
            }

            fn try_recv(&mut self) -> Result<u64, TryRecvError> {
                $queue::Receiver::try_recv(self)
            }
        }
    };
}
ends!(spsc);
ends!(mpmc);

/// A child's part: a round is the number of messages and then the messages; its answer is their sum.
fn add_up<S: Outlet, R: Inlet>((mut messages, mut sums): (R, S)) {
    while let Some(count) = messages.recv() {
        sums.send((0..count).map_while(|_| messages.recv()).sum());
    }
}

/// The same with up to so many messages at a time.
fn add_up_batches<S: Outlet, R: Inlet>((mut messages, mut sums): (R, S)) {
    let mut values = [0; BATCH];
    while let Some(count) = messages.recv() {
        let (mut left, mut sum) = (count as usize, 0);
        while left > 0 {
            let Some(received) = messages.recv_slice(&mut values[..left.min(BATCH)]) else { return };
            sum += values[..received].iter().sum::<u64>();
            left -= received;
        }
        sums.send(sum);
    }
}

/// A round is the number of messages and then the messages, each of which comes back before the next one is sent. Between rounds it sleeps.
fn echo<S: Outlet, R: Inlet>((mut there, mut back): (R, S)) {
    while let Some(count) = there.recv() {
        (0..count).map_while(|_| there.recv()).for_each(|value| back.send(value));
    }
}

/// The same without ever sleeping within a round.
fn echo_polled<S: Outlet, R: Inlet>((mut there, mut back): (R, S)) {
    while let Some(count) = there.recv() {
        (0..count).map_while(|_| there.poll()).for_each(|value| back.send(value));
    }
}

/// Measures rounds with a child that does `part`.
fn rounds<S: Outlet, R: Inlet>(
    criterion: &mut Criterion,
    name: String,
    channel: impl Fn() -> (S, R),
    part: fn((R, S)),
    mut round: impl FnMut(&mut S, &mut R, u64) -> Duration,
) {
    let (mut there, other_end) = channel();
    let (answers, mut back) = channel();
    let child = spawn(part, (other_end, answers)).expect("a process can be started");
    let mut group = patient(criterion, "queue, two processes, u64");
    group.throughput(Throughput::Elements(1));
    group.bench_function(name, |bencher| bencher.iter_custom(|count| round(&mut there, &mut back, count)));
    group.finish();
    drop(there);
    child.join().expect("it ends with its queue");
}

/// Sends to another process as fast as it takes. The time includes the sum's way back, so that no message is still on its way.
fn timed<S: Outlet, R: Inlet>(there: &mut S, back: &mut R, count: u64, send_all: impl FnOnce(&mut S)) -> Duration {
    let start = Instant::now();
    there.send(count);
    send_all(there);
    let sum = back.recv();
    let elapsed = start.elapsed();
    assert_eq!(sum, Some((0..count).sum()));
    elapsed
}

/// Sends 0 to `count` in batches, of which the last may be shorter.
fn send_batches<S: Outlet>(there: &mut S, count: u64) {
    let mut values = [0; BATCH];
    let mut next = 0;
    while next < count {
        let length = (count - next).min(BATCH as u64);
        let batch = &mut values[..length as usize];
        batch.iter_mut().zip(next..).for_each(|(place, value)| *place = value);
        there.send_slice(batch);
        next += length;
    }
}

/// Sends and waits for the answer, `count` times.
fn round_trips<S: Outlet, R: Inlet>(
    there: &mut S,
    back: &mut R,
    count: u64,
    answer: fn(&mut R) -> Option<u64>,
) -> Duration {
    there.send(count);
    let start = Instant::now();
    for value in 0..count {
        there.send(value);
        assert_eq!(answer(back), Some(value));
    }
    start.elapsed()
}

fn both_ways<S: Outlet, R: Inlet>(criterion: &mut Criterion, queue: &str, channel: fn() -> (S, R)) {
    rounds(criterion, format!("{queue}, one by one"), channel, add_up, |there, back, count| {
        timed(there, back, count, |there| (0..count).for_each(|value| there.send(value)))
    });
    rounds(criterion, format!("{queue}, batches of {BATCH}"), channel, add_up_batches, |there, back, count| {
        timed(there, back, count, |there| send_batches(there, count))
    });
    rounds(criterion, format!("{queue}, round trip, polled"), channel, echo_polled, |there, back, count| {
        round_trips(there, back, count, R::poll)
    });
    rounds(criterion, format!("{queue}, round trip, blocking"), channel, echo, |there, back, count| {
        round_trips(there, back, count, R::recv)
    });
}

pub(crate) fn processes(criterion: &mut Criterion) {
    both_ways(criterion, "spsc", || spsc::channel(CAPACITY).expect("there is memory"));
    both_ways(criterion, "mpmc", || mpmc::channel(CAPACITY).expect("there is memory"));
}
