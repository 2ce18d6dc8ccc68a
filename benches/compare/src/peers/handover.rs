//! Waking: two processes wake each other in turn, and each is asleep for certain when it is woken.
//!
//! Some who wait poll for a while before they sleep, so that between two who answer at once nobody ever sleeps. So before a side wakes the other
//! one, it looks at what the kernel says about the other's thread until that is asleep, and only then the clock starts. It stops when the other one has come back from
//! its sleep. A round trip is the sum of the two: there and back, without the looking in between.

use super::backoff::until_patiently;
use super::gate::Gate;
use super::now;
use super::pin::Placement;
use super::processes::{Ticket, finish, start};
use super::shared::{Shared, Words};
use super::trip::{Latency, Work, open, warm_up};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// One side's means of waking the other.
pub trait Signal {
    /// Wakes the other side.
    fn wake(&mut self);
    /// Sleeps until the other side wakes this one.
    fn sleep(&mut self);
}

/// What the sides tell each other beside the signal. One that was woken has all of it to itself until it wakes the other one.
#[repr(C)]
struct Board {
    threads: [AtomicU32; 2],
    /// How many times somebody was woken.
    wakes: AtomicU64,
    /// When the last one was.
    woken_at: AtomicU64,
    /// How long the way there took.
    there: AtomicU64,
}

// SAFETY: atomics only, for which zeros are values.
unsafe impl Words for Board {}

/// One side's part.
#[derive(Serialize, Deserialize)]
struct Side<E> {
    work: Work<E>,
    board: Shared<Board>,
    side: usize,
}

/// Makes `count` round trips between two processes.
pub fn round_trips<T: Ticket<End: Signal>>(ends: [T; 2], count: u64, placement: Placement) -> Result<Latency> {
    let (gate, board, cores) = (Gate::new(2)?, Shared::<Board>::new()?, placement.cores()?);
    let mut peers = Vec::new();
    for (side, (end, core)) in ends.into_iter().zip(cores).enumerate() {
        let work = Work { gate: gate.clone(), end, core, count };
        let play = if side == 0 { |side: Side<T>| ask(side.open()) } else { |side: Side<T>| answer(side.open()) };
        peers.push(start(play, Side { work, board: board.clone(), side })?);
    }
    finish(peers)?.into_iter().flatten().next().context("neither side has measured")
}

impl<T: Ticket<End: Signal>> Side<T> {
    fn open(self) -> Player<T::End> {
        let Self { work, board, side } = self;
        let Work { gate, end, count, .. } = open(work);
        // Relaxed: the gate comes after it.
        board.threads[side].store(rustix::thread::gettid().as_raw_pid() as u32, Ordering::Relaxed);
        gate.pass();
        let other = board.threads[1 - side].load(Ordering::Relaxed);
        let other = File::open(format!("/proc/{other}/stat")).expect("the other side lives");
        Player { end, count, board, other, wakes: 0 }
    }
}

/// A side at work.
struct Player<E> {
    end: E,
    count: u64,
    board: Shared<Board>,
    /// What the kernel says about the other side's thread.
    other: File,
    wakes: u64,
}

impl<E: Signal> Player<E> {
    /// Wakes the other side, which is asleep.
    fn wake(&mut self) {
        until_patiently(|| is_asleep(&self.other).then_some(()));
        self.wakes += 1;
        // Relaxed: the signal comes after it, and it is what is to be relied upon.
        self.board.wakes.store(self.wakes, Ordering::Relaxed);
        self.board.woken_at.store(now(), Ordering::Relaxed);
        self.end.wake();
    }

    /// Sleeps until it is woken: how long that took.
    fn sleep(&mut self) -> u64 {
        self.end.sleep();
        let time = now().saturating_sub(self.board.woken_at.load(Ordering::Relaxed));
        self.wakes += 1;
        let wakes = self.board.wakes.load(Ordering::Relaxed);
        assert!(wakes == self.wakes, "woken {} times, and the other side says {wakes}", self.wakes);
        time
    }
}

/// Whether the thread that this file of the kernel's is about sleeps.
fn is_asleep(file: &File) -> bool {
    // The thread's number, its name in parentheses, and its state: within so many bytes, as a name has at most 15.
    let mut text = [0; 48];
    let length = file.read_at(&mut text, 0).expect("the other side lives");
    let name_end = text[..length].iter().rposition(|byte| *byte == b')').expect("a name in parentheses");
    text[name_end + 2] == b'S'
}

fn ask<E: Signal>(mut player: Player<E>) -> Option<Latency> {
    let count = player.count;
    let mut trip = || {
        player.wake();
        let back = player.sleep();
        player.board.there.load(Ordering::Relaxed) + back
    };
    for _ in 0..warm_up(count) {
        trip();
    }
    Some(Latency::of((0..count).map(|_| trip()).collect()))
}

/// Measures its own way only, and says so to the other.
fn answer<E: Signal>(mut player: Player<E>) -> Option<Latency> {
    for _ in 0..warm_up(player.count) + player.count {
        let there = player.sleep();
        player.board.there.store(there, Ordering::Relaxed);
        player.wake();
    }
    None
}
