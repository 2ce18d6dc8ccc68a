//! Latency: a value goes to the other process and comes back, one at a time.
//!
//! Both sides are processes that do nothing else. One reading of the clock stands between two round trips and is the end of the one and
//! the start of the next, for all contenders alike.

use super::gate::Gate;
use super::now;
use super::pin::{Placement, pin};
use super::processes::{Ticket, finish, start};
use crate::statistics::percentile;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// An end of a connection that goes both ways.
pub trait Duplex {
    /// Sends `value` to the other side.
    fn send(&mut self, value: u64);
    /// Waits for a value from the other side.
    fn receive(&mut self) -> u64;
}

/// How the round trips of one round were spread, in nanoseconds.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Latency {
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
}

impl Latency {
    /// Of round trips that took so long.
    pub(super) fn of(mut times: Vec<u64>) -> Self {
        times.sort_unstable();
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|part| percentile(&times, part));
        Self { p50, p99, p999 }
    }
}

/// One side's part.
#[derive(Serialize, Deserialize)]
pub(super) struct Work<E> {
    pub gate: Gate,
    pub end: E,
    pub core: Option<usize>,
    pub count: u64,
}

/// Makes `count` round trips between two processes.
pub fn round_trips<A, B>(here: A, there: B, count: u64, placement: Placement) -> Result<Latency>
where
    A: Ticket<End: Duplex>,
    B: Ticket<End: Duplex>,
{
    let gate = Gate::new(2)?;
    let [one, other] = placement.cores()?;
    let answering = start(|work| answer(open(work)), Work { gate: gate.clone(), end: there, core: other, count })?;
    let asking = start(|work| ask(open(work)), Work { gate, end: here, core: one, count })?;
    let latencies = finish(vec![answering, asking])?;
    latencies.into_iter().flatten().next().context("neither side has measured")
}

/// Round trips before those that count: caches and the scheduler settle.
pub(super) fn warm_up(count: u64) -> u64 {
    count / 10
}

/// What the answer to a value has to be.
pub(super) fn answer_to(value: u64) -> u64 {
    value + 1
}

/// How long each round trip took, one after the other.
pub(super) struct Times {
    times: Vec<u64>,
    last: u64,
}

impl Times {
    /// Begins the first of `count`.
    pub fn begin(count: u64) -> Self {
        let times = Vec::with_capacity(count as usize);
        Self { times, last: now() }
    }

    /// Ends one and begins the next.
    #[inline(always)]
    pub fn next(&mut self) {
        let time = now();
        self.times.push(time - self.last);
        self.last = time;
    }

    pub fn latency(self) -> Latency {
        Latency::of(self.times)
    }
}

impl<E> Work<E> {
    pub fn pin(&self) {
        pin(self.core).unwrap_or_else(|error| panic!("a peer cannot be pinned: {error:#}"));
    }
}

/// Pinned first of all, since some decide by the number of their cores whether to spin.
pub(super) fn open<T: Ticket>(work: Work<T>) -> Work<T::End> {
    work.pin();
    let Work { gate, end, core, count } = work;
    let end = end.open().unwrap_or_else(|error| panic!("a peer cannot open its end: {error:#}"));
    Work { gate, end, core, count }
}

fn ask<E: Duplex>(mut work: Work<E>) -> Option<Latency> {
    work.gate.pass();
    let mut trip = |value| {
        work.end.send(value);
        let answer = work.end.receive();
        assert!(answer == answer_to(value), "{answer} came as the answer to {value}");
    };
    let first = warm_up(work.count);
    (0..first).for_each(&mut trip);
    let mut times = Times::begin(work.count);
    for value in first..first + work.count {
        trip(value);
        times.next();
    }
    Some(times.latency())
}

/// Measures nothing.
fn answer<E: Duplex>(mut work: Work<E>) -> Option<Latency> {
    work.gate.pass();
    for _ in 0..warm_up(work.count) + work.count {
        let value = work.end.receive();
        work.end.send(answer_to(value));
    }
    None
}
