//! Latency of those who wait by futures: round trips as in [`trip`](super::trip), between two runtimes that have nothing else to do.
//!
//! Each side runs on a runtime of its own, a current-thread one of tokio's, built as a program would build it: with its drivers for
//! descriptors and timers. All of a side's round trips are one future, so that nobody pays for entering a runtime each time.
//!
//! The sides are processes, or the two threads of one process, for what knows only those and for whoever is compared with it. That process is
//! a child of its own in every round, too: some start threads that stay, and what one round leaves must not stand beside the next.

use super::gate::Gate;
use super::pin::Placement;
use super::processes::{Ticket, finish, start};
use super::trip::{Latency, Times, Work, answer_to, open, warm_up};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::thread;
use tokio::runtime::Builder;

/// An end of a connection that goes both ways. It is opened and used on a runtime of tokio's.
pub trait AsyncDuplex {
    /// Sends `value` to the other side.
    async fn send(&mut self, value: u64);
    /// Waits for a value from the other side.
    async fn receive(&mut self) -> u64;
}

/// What a process is given that is both sides.
#[derive(Serialize, Deserialize)]
struct Both<T> {
    gate: Gate,
    ends: T,
    cores: [Option<usize>; 2],
    count: u64,
}

/// Makes `count` round trips between two processes.
pub fn processes<A, B>(here: A, there: B, count: u64, placement: Placement) -> Result<Latency>
where
    A: Ticket<End: AsyncDuplex>,
    B: Ticket<End: AsyncDuplex>,
{
    let gate = Gate::new(2)?;
    let [one, other] = placement.cores()?;
    let answering = Work { gate: gate.clone(), end: there, core: other, count };
    let answering = start(|work| on_runtime(async { answer(open(work)).await }), answering)?;
    let asking = start(|work| on_runtime(async { ask(open(work)).await }), Work { gate, end: here, core: one, count })?;
    let latencies = finish(vec![answering, asking])?;
    latencies.into_iter().flatten().next().context("neither side has measured")
}

/// Makes `count` round trips between two threads of a process that has both ends.
pub fn threads<T, E>(ends: T, count: u64, placement: Placement) -> Result<Latency>
where
    T: Ticket<End = [E; 2]>,
    E: AsyncDuplex + Send,
{
    let both = Both { gate: Gate::new(2)?, ends, cores: placement.cores()?, count };
    let latencies = finish(vec![start(in_threads, both)?])?;
    latencies.into_iter().flatten().next().context("the process has not measured")
}

fn in_threads<T, E>(both: Both<T>) -> Option<Latency>
where
    T: Ticket<End = [E; 2]>,
    E: AsyncDuplex + Send,
{
    let Both { gate, ends, cores: [one, other], count } = both;
    let [here, there] = ends.open().unwrap_or_else(|error| panic!("the ends cannot be opened: {error:#}"));
    let asking = Work { gate: gate.clone(), end: here, core: one, count };
    let answering = Work { gate, end: there, core: other, count };
    // Should one side fail, its end goes with it; so the other one fails as well instead of waiting for ever.
    thread::scope(|scope| {
        scope.spawn(|| {
            answering.pin();
            on_runtime(answer(answering))
        });
        asking.pin();
        on_runtime(ask(asking))
    })
}

fn on_runtime<R>(side: impl Future<Output = R>) -> R {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.unwrap_or_else(|error| panic!("a peer has no runtime: {error}")).block_on(side)
}

async fn ask<E: AsyncDuplex>(mut work: Work<E>) -> Option<Latency> {
    work.gate.pass();
    let mut trip = async |value| {
        work.end.send(value).await;
        let answer = work.end.receive().await;
        assert!(answer == answer_to(value), "{answer} came as the answer to {value}");
    };
    let first = warm_up(work.count);
    for value in 0..first {
        trip(value).await;
    }
    let mut times = Times::begin(work.count);
    for value in first..first + work.count {
        trip(value).await;
        times.next();
    }
    Some(times.latency())
}

/// Measures nothing.
async fn answer<E: AsyncDuplex>(mut work: Work<E>) -> Option<Latency> {
    work.gate.pass();
    for _ in 0..warm_up(work.count) + work.count {
        let value = work.end.receive().await;
        work.end.send(answer_to(value)).await;
    }
    None
}
