//! One sender, one receiver.

use crate::group::Peers::{Processes, Threads};
use crate::group::{Bound, Contender, Group, Unit};
use crate::peers::flow::{self, CAPACITY};
use crate::peers::processes::Ready;
use crate::rivals::{Batches, Blocking};
use crossbeam::channel as crossbeam_channel;
use ringbuf::HeapRb;
use ringbuf::traits::Split;
use shmkit::queue::spsc;

pub fn groups() -> Vec<Group> {
    vec![polled(), batches(), blocking()]
}

/// Also in the groups that compare it with other things between processes.
pub fn shmkit(items: u64) -> Contender {
    Contender::new("shmkit", Processes, items, |messages| {
        let (sender, receiver) = spsc::channel(CAPACITY)?;
        Ok(flow::processes(vec![Ready(sender)], vec![Ready(receiver)], messages)?.rate())
    })
}

/// See [`shmkit`].
pub fn shmkit_blocking(name: &str, items: u64) -> Contender {
    Contender::new(name, Processes, items, |messages| {
        let (sender, receiver) = spsc::channel(CAPACITY)?;
        let (sender, receiver) = (Ready(Blocking(sender)), Ready(Blocking(receiver)));
        Ok(flow::processes(vec![sender], vec![receiver], messages)?.rate())
    })
}

fn polled() -> Group {
    const ITEMS: u64 = 30_000_000;
    Group::new("spsc_u64", Unit::MessageRate, "One u64 at a time from one sender to one receiver; all are polled.")
        .contender(shmkit(ITEMS))
        .contender(Contender::new("rtrb", Threads, ITEMS, |messages| {
            let (producer, consumer) = rtrb::RingBuffer::new(CAPACITY);
            Ok(flow::threads(vec![producer], vec![consumer], messages)?.rate())
        }))
        .contender(Contender::new("ringbuf", Threads, ITEMS, |messages| {
            let (producer, consumer) = HeapRb::new(CAPACITY).split();
            Ok(flow::threads(vec![producer], vec![consumer], messages)?.rate())
        }))
        .compare("shmkit", "rtrb", Bound::AtLeast(1.2))
        .compare("shmkit", "ringbuf", Bound::None)
}

fn batches() -> Group {
    const ITEMS: u64 = 60_000_000;
    let about = "u64s in batches of 32 from one sender to one receiver; all are polled.";
    Group::new("spsc_u64_batch32", Unit::MessageRate, about)
        .contender(Contender::new("shmkit", Processes, ITEMS, |messages| {
            let (sender, receiver) = spsc::channel(CAPACITY)?;
            let (sender, receiver) = (Ready(Batches(sender)), Ready(Batches(receiver)));
            Ok(flow::processes(vec![sender], vec![receiver], messages)?.rate())
        }))
        .contender(Contender::new("rtrb", Threads, ITEMS, |messages| {
            let (producer, consumer) = rtrb::RingBuffer::new(CAPACITY);
            Ok(flow::threads(vec![Batches(producer)], vec![Batches(consumer)], messages)?.rate())
        }))
        .compare("shmkit", "rtrb", Bound::AtLeast(1.2))
        .compare_self("shmkit", Some("spsc_u64"), "shmkit", Bound::AtLeast(3.0))
}

fn blocking() -> Group {
    const ITEMS: u64 = 5_000_000;
    let about = "One u64 at a time from one sender to one receiver; all sleep when they have to wait.";
    Group::new("spsc_u64_blocking", Unit::MessageRate, about)
        .contender(shmkit_blocking("shmkit", ITEMS))
        .contender(Contender::new("crossbeam-channel", Threads, ITEMS, |messages| {
            let (sender, receiver) = crossbeam_channel::bounded(CAPACITY);
            Ok(flow::threads(vec![sender], vec![receiver], messages)?.rate())
        }))
        .contender(Contender::new("kanal", Threads, ITEMS, |messages| {
            let (sender, receiver) = kanal::bounded(CAPACITY);
            Ok(flow::threads(vec![sender], vec![receiver], messages)?.rate())
        }))
        .compare("shmkit", "crossbeam-channel", Bound::AtLeast(3.0))
        .compare("shmkit", "kanal", Bound::None)
}
