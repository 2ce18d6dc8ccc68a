//! Four processes count together, by a lock and without one; one of them is killed while it changes the count.
//!
//! ```text
//! killed: process 3, with the lock, when it had made the count 18446744073709551615
//! told: process 1, that the last holder of the lock was killed; the count is 50000, nothing of that change
//! process 0: counted 26530
//! process 1: counted 24407
//! process 2: counted 27118
//! process 3: counted 21945, until it was killed
//! by the lock: 100000
//! without one: 100000
//! ```
//!
//! `Mutex<u64>`: whoever holds the lock works on a copy of the count, which becomes the count when the lock is given back. So the change of a
//! holder that is killed is as if it had never been begun. The next holder is told by `OwnerDied`, as *other* things that are done under the
//! lock may be half done; it looks, says that all is well by `make_consistent`, and nobody is told any more.
//!
//! `Shared<AtomicU64>`: adding to it is one instruction, before or after which one is killed. There is nothing to be told, and nothing to wait
//! for. But one instruction is all it can do: that each process stops at the same count, for instance, takes a look and a change without
//! anybody in between.

use clap::Parser;
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use shmkit::process::{Builder, JoinHandle};
use shmkit::segment::primitive::{AtomicU64, Ordering};
use shmkit::sync::{LockError, Mutex, OnceLock, Shared};
use std::error::Error;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

#[derive(Clone, Serialize, Deserialize)]
struct Counter {
    process: u64,
    /// How far to count, together.
    end: u64,
    locked: Mutex<u64>,
    unlocked: Shared<AtomicU64>,
    /// Who is to be killed: whoever is to count beyond the middle first.
    victim: OnceLock<u64>,
}

/// Returns how much of it this process has counted.
fn count(Counter { process, end, locked, unlocked, victim }: Counter) -> Result<u64, String> {
    for counted in 0.. {
        let mut count = match locked.lock() {
            Ok(count) => count,
            Err(LockError::OwnerDied(mut count)) => {
                println!(
                    "told: process {process}, that the last holder of the lock was killed; the count is {}, nothing of \
                     that change",
                    *count
                );
                count.make_consistent();
                count
            }
            Err(error) => return Err(error.to_string()),
        };
        if *count == end {
            return Ok(counted);
        }
        if *count == end / 2 && victim.get().is_none() {
            *count = u64::MAX;
            victim.set(process).map_err(|error| error.to_string())?;
            loop {
                thread::park();
            }
        }
        *count += 1;
        drop(count); // written, and the lock given back
        unlocked.fetch_add(1, Ordering::Relaxed); // its value is all that matters, so it orders nothing
    }
    unreachable!("somebody comes to the end first")
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("shared_counter: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(Arguments { processes, end }: &Arguments) -> Result<(), Box<dyn Error>> {
    let counter =
        Counter { process: 0, end: *end, locked: Mutex::new(0)?, unlocked: Shared::new()?, victim: OnceLock::new()? };
    // The handles go along; each process has the same lock, and the same count.
    let start = |process| Builder::new().die_with_parent(true).spawn(count, Counter { process, ..counter.clone() });
    let children = (0..*processes).map(start).collect::<Result<Vec<_>, _>>()?;
    let progress = ProgressBar::new(*end);

    let victim = wait_for_victim(&counter, &children, &progress)?;
    let is_killed = |process: u64| process == victim;
    // Said before it is done: the others may notice at once.
    progress.suspend(|| {
        println!("killed: process {victim}, with the lock, when it had made the count {}", u64::MAX);
    });
    children[victim as usize].kill()?;

    let mut shares = Vec::new();
    for (process, mut child) in (0..).zip(children) {
        let outcome = loop {
            match child.join_timeout(Duration::from_millis(100)) {
                Some(outcome) => break outcome,
                None => progress.set_position(counter.unlocked.load(Ordering::Relaxed)),
            }
        };
        // What a process would have returned dies with it.
        shares.push(if is_killed(process) { 0 } else { outcome?? });
    }
    progress.finish_and_clear();
    // What nobody else has counted was its share.
    shares[victim as usize] = end - shares.iter().sum::<u64>();
    for (process, share) in (0..).zip(shares) {
        println!("process {process}: counted {share}{}", if is_killed(process) { ", until it was killed" } else { "" });
    }
    println!("by the lock: {}", *counter.locked.lock().map_err(|error| error.to_string())?);
    println!("without one: {}", counter.unlocked.load(Ordering::Relaxed));
    Ok(())
}

/// Waits for the one that is to be killed; in vain, if a process has ended before its time.
fn wait_for_victim(
    counter: &Counter,
    children: &[JoinHandle<Result<u64, String>>],
    progress: &ProgressBar,
) -> Result<u64, Box<dyn Error>> {
    loop {
        match counter.victim.wait_timeout(Duration::from_millis(100)) {
            Ok(process) => return Ok(process),
            Err(_) if children.iter().all(JoinHandle::is_alive) => {
                progress.set_position(counter.unlocked.load(Ordering::Relaxed));
            }
            Err(_) => return Err("a process has ended too early: somebody else may have killed it".into()),
        }
    }
}

/// Several processes count together; one of them is killed in the middle of a change.
#[derive(Parser)]
struct Arguments {
    /// How many processes count; one of them does not survive it.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(2..=32))]
    processes: u64,
    /// How far they count, together.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..u64::MAX))]
    end: u64,
}
