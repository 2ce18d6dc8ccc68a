//! Throughput: senders send, receivers receive and check, until a fixed number of messages has passed.
//!
//! A message is 64 bits: the sender's number and, below that, how many it sent before. A receiver checks that those of each sender come in
//! order, and all of them together that nothing is lost, doubled or made up, by their sum. Each sender sends an equal share and each
//! receiver receives one, so that everybody knows when to stop without a message that says so.

use super::gate::Gate;
use super::now;
use super::processes::{Ticket, finish, start};
use anyhow::{Result, anyhow, ensure};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// How many messages the batch groups send at a time.
pub const BATCH: usize = 32;
/// How many messages every queue holds unless its group says otherwise.
pub const CAPACITY: usize = 1024;
/// Shares are whole batches for any number of peers up to eight.
const WHOLE: u64 = 8 * BATCH as u64;
const SENDER_SHIFT: u32 = 48;
const MOST_SENDERS: usize = 8;

/// The sending end of any queue.
pub trait Outlet {
    /// Sends all of `values` in order, and waits as often as it must.
    fn send_all(&mut self, values: Range<u64>);
}

/// The receiving end of any queue.
pub trait Inlet {
    /// Receives `count` messages and gives each to `take`.
    fn receive(&mut self, count: u64, take: impl FnMut(u64));
}

/// How long so many messages took, or so many turns.
pub struct Flow {
    messages: u64,
    nanoseconds: u64,
}

impl Flow {
    /// From the first who began to the last who was done.
    pub(super) fn new(messages: u64, spans: impl Iterator<Item = [u64; 2]>) -> Self {
        let (start, end) = spans.fold((u64::MAX, 0), |(first, last), [start, end]| (first.min(start), last.max(end)));
        Self { messages, nanoseconds: end.saturating_sub(start).max(1) }
    }

    /// Millions of messages a second.
    pub fn rate(&self) -> f64 {
        self.messages as f64 * 1e3 / self.nanoseconds as f64
    }

    /// Thousands of millions of bytes a second, of messages of `length` bytes each.
    pub fn throughput(&self, length: usize) -> f64 {
        self.messages as f64 * length as f64 / self.nanoseconds as f64
    }

    /// Nanoseconds for each message.
    pub fn cost(&self) -> f64 {
        self.nanoseconds as f64 / self.messages as f64
    }
}

/// One peer's share of the work.
#[derive(Serialize, Deserialize)]
struct Work<E> {
    gate: Gate,
    end: E,
    sender: u64,
    senders: usize,
    count: u64,
}

/// What one peer did.
#[derive(Serialize, Deserialize)]
struct Part {
    start: u64,
    end: u64,
    /// Of what was received.
    sum: u64,
}

/// Moves about `messages` messages between processes.
pub fn processes<S, R>(senders: Vec<S>, receivers: Vec<R>, messages: u64) -> Result<Flow>
where
    S: Ticket<End: Outlet>,
    R: Ticket<End: Inlet>,
{
    let shares = Shares::new(senders.len(), receivers.len(), messages)?;
    let mut peers = Vec::new();
    for work in shares.work(shares.receivers, receivers) {
        peers.push(start(|work| received(open(work)), work)?);
    }
    for work in shares.work(shares.senders, senders) {
        peers.push(start(|work| sent(open(work)), work)?);
    }
    shares.add_up(&finish(peers)?)
}

/// Moves about `messages` messages between threads of this process.
pub fn threads<S, R>(senders: Vec<S>, receivers: Vec<R>, messages: u64) -> Result<Flow>
where
    S: Outlet + Send,
    R: Inlet + Send,
{
    let shares = Shares::new(senders.len(), receivers.len(), messages)?;
    let parts: Result<Vec<Part>> = std::thread::scope(|scope| {
        let receivers: Vec<_> = shares.work(shares.receivers, receivers).collect();
        let senders: Vec<_> = shares.work(shares.senders, senders).collect();
        let receivers = receivers.into_iter().map(|work| scope.spawn(|| received(work)));
        let mut peers: Vec<_> = receivers.collect();
        peers.extend(senders.into_iter().map(|work| scope.spawn(|| sent(work))));
        peers.into_iter().map(|peer| peer.join().map_err(|_| anyhow!("a peer panicked"))).collect()
    });
    shares.add_up(&parts?)
}

fn open<T: Ticket>(work: Work<T>) -> Work<T::End> {
    let Work { gate, end, sender, senders, count } = work;
    let end = end.open().unwrap_or_else(|error| panic!("a peer cannot open its end: {error:#}"));
    Work { gate, end, sender, senders, count }
}

fn sent<S: Outlet>(mut work: Work<S>) -> Part {
    let first = work.sender << SENDER_SHIFT;
    work.gate.pass();
    let start = now();
    work.end.send_all(first..first + work.count);
    Part { start, end: now(), sum: 0 }
}

fn received<R: Inlet>(mut work: Work<R>) -> Part {
    work.gate.pass();
    let start = now();
    let sum = if work.senders == 1 {
        receive_from_one(&mut work.end, work.count)
    } else {
        receive_from_many(&mut work.end, work.count)
    };
    Part { start, end: now(), sum }
}

/// The only receiver of the only sender gets everything.
fn receive_from_one(inlet: &mut impl Inlet, count: u64) -> u64 {
    let (mut next, mut sum) = (0, 0_u64);
    inlet.receive(count, |value| {
        assert!(value == next, "{value} came when it was {next}'s turn");
        next += 1;
        sum = sum.wrapping_add(value);
    });
    sum
}

/// Others receive too, so that there are gaps, but what comes of one sender comes in the order in which it was sent.
fn receive_from_many(inlet: &mut impl Inlet, count: u64) -> u64 {
    let (mut next, mut sum) = ([0; MOST_SENDERS], 0_u64);
    inlet.receive(count, |value| {
        let next = &mut next[(value >> SENDER_SHIFT) as usize];
        assert!(value >= *next, "{value:#x} came after {next:#x}");
        *next = value + 1;
        sum = sum.wrapping_add(value);
    });
    sum
}

/// Who does how much.
struct Shares {
    gate: Gate,
    senders: usize,
    receivers: usize,
    messages: u64,
}

impl Shares {
    fn new(senders: usize, receivers: usize, messages: u64) -> Result<Self> {
        ensure!((1..=MOST_SENDERS).contains(&senders) && receivers > 0, "there are 1 to {MOST_SENDERS} senders");
        let messages = (messages / WHOLE).max(1) * WHOLE;
        Ok(Self { gate: Gate::new(senders + receivers)?, senders, receivers, messages })
    }

    fn work<E>(&self, among: usize, ends: Vec<E>) -> impl Iterator<Item = Work<E>> {
        let (senders, count) = (self.senders, self.messages / among as u64);
        ends.into_iter().zip(0..).map(move |(end, sender)| Work {
            gate: self.gate.clone(),
            end,
            sender,
            senders,
            count,
        })
    }

    /// Checks that what was sent was received.
    fn add_up(&self, parts: &[Part]) -> Result<Flow> {
        let share = self.messages / self.senders as u64;
        let firsts = (0..self.senders as u64).map(|sender| (sender << SENDER_SHIFT).wrapping_mul(share));
        let sent = firsts.fold(0_u64, |sum, firsts| sum.wrapping_add(firsts).wrapping_add(share * (share - 1) / 2));
        let received = parts.iter().map(|part| part.sum).fold(0, u64::wrapping_add);
        ensure!(sent == received, "what was received adds up to {received} and what was sent to {sent}");
        Ok(Flow::new(self.messages, parts.iter().map(|part| [part.start, part.end])))
    }
}
