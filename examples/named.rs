//! Two programs that know nothing of each other but a name meet in a queue.
//!
//! ```text
//! receiver: waiting for numbers
//! sender: 3 numbers are in the queue
//! receiver: 0
//! receiver: 1
//! receiver: 2
//! sender: all of them were received
//! receiver: every sender has left; 3 numbers with the sum 3
//! ```
//!
//! Without arguments this program starts itself twice, as the sender and as the receiver. Their lines mix differently each time, as both
//! run at once and either may come first: the other one then finds what is there already. To see it with your own eyes,
//! start them in two terminals, in either order and with a pause as long as you like:
//!
//! ```sh
//! cargo run --example named -- --receive
//! cargo run --example named -- --send 3
//! ```
//!
//! The name stays until somebody removes it, as the programs started by hand do not: `cargo run --example inspect` shows it.

use clap::Parser;
use shmkit::queue::mpmc::{self, Mpmc, Receiver, Sender};
use shmkit::segment::{self, Options, Segment};
use std::error::Error;
use std::process::Command;
use std::sync::Arc;

/// Whoever comes first makes the queue, the other one finds it. Both say what it is to be, and get an error if they disagree.
fn meet(name: &str) -> Result<Arc<Segment<Mpmc<u64>>>, segment::Error> {
    Options::new().name(name).open_or_create(mpmc::Settings::new(1024).into())
}

fn send(name: &str, count: u64) -> Result<(), Box<dyn Error>> {
    let sender = Sender::of(&meet(name)?);
    for number in 0..count {
        // Blocks while the queue is full, be it that the receiver has not come yet.
        sender.send(number)?;
    }
    println!("sender: {count} numbers are in the queue");
    // The queue would keep them. But a receiver that comes after everyone has left does not know of this sender, and waits for another
    // one when it has taken them.
    sender.join()?;
    println!("sender: all of them were received");
    Ok(())
}

fn receive(name: &str) -> Result<(), Box<dyn Error>> {
    let receiver = Receiver::of(&meet(name)?);
    println!("receiver: waiting for numbers");
    let (mut count, mut sum) = (0, 0);
    // Ends when there were senders, all of them have left or died, and nothing remains.
    for number in receiver.iter() {
        println!("receiver: {number}");
        count += 1;
        sum += number;
    }
    println!("receiver: every sender has left; {count} numbers with the sum {sum}");
    Ok(())
}

/// Starts both as programs of their own, which get nothing from this one but the name.
fn both(name: &str) -> Result<(), Box<dyn Error>> {
    let this = std::env::current_exe()?;
    let mut receiver = Command::new(&this).args(["--name", name, "--receive"]).spawn()?;
    let sender = Command::new(&this).args(["--name", name, "--send", "3"]).status();
    if !sender.as_ref().is_ok_and(|status| status.success()) {
        receiver.kill()?; // it may be waiting for a sender that has never come
    }
    let receiver = receiver.wait()?;
    segment::remove(name)?;
    match sender? {
        status if !status.success() => Err(format!("the sender ended with {status}").into()),
        _ if !receiver.success() => Err(format!("the receiver ended with {receiver}").into()),
        _ => Ok(()),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    match Arguments::parse() {
        Arguments { name, send: Some(count), .. } => send(&name, count),
        Arguments { name, receive: true, .. } => receive(&name),
        Arguments { name, .. } => both(&name),
    }
}

/// Two programs meet by name: one sends numbers, the other one receives them. Without arguments, starts both.
#[derive(Parser)]
struct Arguments {
    /// Be the sender, of so many numbers.
    #[arg(long, value_name = "COUNT", conflicts_with = "receive", value_parser = clap::value_parser!(u64).range(..=u64::from(u32::MAX)))]
    send: Option<u64>,
    /// Be the receiver.
    #[arg(long)]
    receive: bool,
    /// Where to meet.
    #[arg(long, default_value = "example-named")]
    name: String,
}
