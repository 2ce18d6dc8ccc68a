//! One process puts items into a queue while another takes them out.
//!
//! ```text
//! Produced: 0
//! Produced: 1
//! Consumed: 0
//! Produced: 2
//! Consumed: 1
//! Produced: 3
//! Produced: 4
//! Consumed: 2
//! Consumed: 3
//! Consumed: 4
//! ```
//!
//! The lines of the two processes mix differently each time: both run at once. Every item is consumed all the same,
//! since the consumer does not ask whether the queue is empty, which it may well be before the first item has arrived:
//! it receives until every producer has finished, or died, and nothing is left.
//!
//! With `--items 1000000` the lines give way to a summary; `--quiet` leaves that out, too. The items then travel without
//! system calls: `strace -f -c` counts no `write` and, from a thousand items to a million, hardly more of `read` (a process that
//! waits for the first time asks how many processors there are). What grows is `sched_yield` and `futex`, with how often the
//! queue ran full or empty.

use clap::Parser;
use shmkit::process::spawn;
use shmkit::queue::mpmc::{self, Receiver, Sender};
use std::error::Error;
use std::time::Instant;

fn produce((queue, items, aloud): (Sender<u64>, u64, bool)) {
    for item in 0..items {
        queue.send(item).expect("the consumer receives as long as there is a sender");
        if aloud {
            println!("Produced: {item}");
        }
    }
    // Here the queue's only sender is dropped, and with it ends the consumer's loop.
}

/// Returns how many items there were, and their sum.
fn consume((queue, aloud): (Receiver<u64>, bool)) -> (u64, u64) {
    let (mut items, mut sum) = (0, 0);
    for item in queue.iter() {
        if aloud {
            println!("Consumed: {item}");
        }
        items += 1;
        sum += item;
    }
    (items, sum)
}

fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { items, quiet } = Arguments::parse();
    let aloud = items <= LINES && !quiet;

    let begin = Instant::now();
    let (sender, receiver) = mpmc::channel(1024)?;
    // The ends of the queue go along as arguments; this process keeps neither.
    let producer = spawn(produce, (sender, items, aloud))?;
    let consumer = spawn(consume, (receiver, aloud))?;
    producer.join()?;
    let (consumed, sum) = consumer.join()?;
    let seconds = begin.elapsed().as_secs_f64();

    let expected = (0..items).sum();
    if (consumed, sum) != (items, expected) {
        return Err(format!("{consumed} items with the sum {sum} came of {items} with the sum {expected}").into());
    }
    if !aloud && !quiet {
        println!("items: {items}");
        println!("seconds: {seconds:.3}, with the start and the end of both processes");
        println!("items per second: {:.0}", items as f64 / seconds);
        println!("sum: {sum}, as it should be");
    }
    Ok(())
}

/// Up to so many items there is a line for each.
const LINES: u64 = 20;

/// One process puts numbers into a queue, another one takes them out.
#[derive(Parser)]
struct Arguments {
    /// How many numbers.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(..=u64::from(u32::MAX)))]
    items: u64,
    /// Print nothing; the exit status says whether every item arrived.
    #[arg(long)]
    quiet: bool,
}
