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

#[derive(Serialize, Deserialize)]
struct Work<E> {
    gate: Gate,
    end: E,
    core: Option<usize>,
    count: u64,
}

/// Makes `count` round trips between two processes.
pub fn round_trips<A, B>(here: A, there: B, count: u64, placement: Placement) -> Result<Latency>
where
    A: Ticket<End: Duplex>,
    B: Ticket<End: Duplex>,
{
    let gate = Gate::new(2)?;
    let [one, other] = placement.cores()?;
    let answering = start(answer::<B>, Work { gate: gate.clone(), end: there, core: other, count })?;
    let asking = start(ask::<A>, Work { gate, end: here, core: one, count })?;
    let latencies = finish(vec![answering, asking])?;
    latencies.into_iter().flatten().next().context("neither side has measured")
}

/// Round trips before those that count: caches and the scheduler settle.
fn warm_up(count: u64) -> u64 {
    count / 10
}

/// Pinned first of all, since some decide by the number of their cores whether to spin.
fn open<T: Ticket>(work: Work<T>) -> (T::End, u64) {
    pin(work.core).unwrap_or_else(|error| panic!("a peer cannot be pinned: {error:#}"));
    let end = work.end.open().unwrap_or_else(|error| panic!("a peer cannot open its end: {error:#}"));
    work.gate.pass();
    (end, work.count)
}

fn ask<T: Ticket<End: Duplex>>(work: Work<T>) -> Option<Latency> {
    let (mut end, count) = open(work);
    let mut trip = |value| {
        end.send(value);
        let answer = end.receive();
        assert!(answer == value + 1, "{answer} came as the answer to {value}");
    };
    let first = warm_up(count);
    (0..first).for_each(&mut trip);
    let mut times = Vec::with_capacity(count as usize);
    let mut last = now();
    for value in first..first + count {
        trip(value);
        let time = now();
        times.push(time - last);
        last = time;
    }
    times.sort_unstable();
    let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|part| percentile(&times, part));
    Some(Latency { p50, p99, p999 })
}

/// Measures nothing.
fn answer<T: Ticket<End: Duplex>>(work: Work<T>) -> Option<Latency> {
    let (mut end, count) = open(work);
    for _ in 0..warm_up(count) + count {
        let value = end.receive();
        end.send(value + 1);
    }
    None
}
