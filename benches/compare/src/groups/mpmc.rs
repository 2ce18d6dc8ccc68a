//! Many senders, many receivers.

use crate::group::Peers::{Processes, Threads};
use crate::group::{Bound, Contender, Group, Unit};
use crate::peers::flow::{self, CAPACITY};
use crate::peers::processes::Ready;
use crate::rivals::vyukov::Vyukov;
use crate::rivals::{Batches, Blocking};
use crossbeam::channel as crossbeam_channel;
use crossbeam::queue::ArrayQueue;
use shmkit::queue::mpmc;
use std::iter::repeat_n;
use std::sync::Arc;

const ITEMS: u64 = 10_000_000;
/// It is several times slower than the others.
const FLUME_ITEMS: u64 = 4_000_000;

pub fn groups() -> Vec<Group> {
    vec![
        one_by_one("mpmc_1p1c_u64", "One u64 at a time from one sender to one receiver of a queue for many.", 1),
        one_by_one("mpmc_2p2c_u64", "One u64 at a time from two senders to two receivers.", 2),
        one_by_one("mpmc_4p4c_u64", "One u64 at a time from four senders to four receivers.", 4),
        batches(),
    ]
}

/// `of` clones of each of the two.
fn clones<S: Clone, R: Clone>((sender, receiver): (S, R), of: usize) -> (Vec<S>, Vec<R>) {
    (repeat_n(sender, of).collect(), repeat_n(receiver, of).collect())
}

/// Everybody but shmkit, with one message at a time.
fn rivals(group: Group, sides: usize) -> Group {
    group
        .contender(Contender::new("vyukov", Processes, ITEMS, move |messages| {
            let ring = Vyukov::new()?;
            let (senders, receivers) = clones((ring.clone(), ring), sides);
            let ready = |ends: Vec<Vyukov>| ends.into_iter().map(Ready).collect();
            Ok(flow::processes::<Ready<Vyukov>, Ready<Vyukov>>(ready(senders), ready(receivers), messages)?.rate())
        }))
        .contender(Contender::new("crossbeam ArrayQueue", Threads, ITEMS, move |messages| {
            let queue = Arc::new(ArrayQueue::<u64>::new(CAPACITY));
            let (senders, receivers) = clones((queue.clone(), queue), sides);
            Ok(flow::threads(senders, receivers, messages)?.rate())
        }))
        .contender(Contender::new("crossbeam-channel", Threads, ITEMS, move |messages| {
            let (senders, receivers) = clones(crossbeam_channel::bounded::<u64>(CAPACITY), sides);
            Ok(flow::threads(senders, receivers, messages)?.rate())
        }))
        .contender(Contender::new("kanal", Threads, ITEMS, move |messages| {
            let (senders, receivers) = clones(kanal::bounded::<u64>(CAPACITY), sides);
            Ok(flow::threads(senders, receivers, messages)?.rate())
        }))
        .contender(Contender::new("flume", Threads, FLUME_ITEMS, move |messages| {
            let (senders, receivers) = clones(flume::bounded::<u64>(CAPACITY), sides);
            Ok(flow::threads(senders, receivers, messages)?.rate())
        }))
}

fn one_by_one(name: &'static str, about: &'static str, sides: usize) -> Group {
    let group = Group::new(name, Unit::MessageRate, about)
        .contender(Contender::new("shmkit", Processes, ITEMS, move |messages| {
            let (senders, receivers) = clones(mpmc::channel::<u64>(CAPACITY)?, sides);
            let senders = senders.into_iter().map(Ready).collect();
            let receivers = receivers.into_iter().map(Ready).collect();
            Ok(flow::processes(senders, receivers, messages)?.rate())
        }))
        .contender(Contender::new("shmkit blocking", Processes, ITEMS, move |messages| {
            let (senders, receivers) = clones(mpmc::channel::<u64>(CAPACITY)?, sides);
            let senders = senders.into_iter().map(|sender| Ready(Blocking(sender))).collect();
            let receivers = receivers.into_iter().map(|receiver| Ready(Blocking(receiver))).collect();
            Ok(flow::processes(senders, receivers, messages)?.rate())
        }));
    rivals(group, sides)
        .compare("shmkit", "crossbeam ArrayQueue", Bound::AtLeast(1.2))
        .compare("shmkit", "crossbeam-channel", Bound::AtLeast(2.0))
        .compare("shmkit blocking", "crossbeam-channel", Bound::None)
        .compare("shmkit", "vyukov", Bound::AtLeast(0.8))
        .compare("shmkit blocking", "kanal", Bound::None)
        .compare("shmkit blocking", "flume", Bound::None)
}

fn batches() -> Group {
    let about =
        "u64s from two senders to two receivers: shmkit in batches of 32, the others one by one, as they only do that.";
    let group = Group::new("mpmc_2p2c_u64_batch32", Unit::MessageRate, about).contender(Contender::new(
        "shmkit",
        Processes,
        ITEMS,
        |messages| {
            let (senders, receivers) = clones(mpmc::channel::<u64>(CAPACITY)?, 2);
            let senders = senders.into_iter().map(|sender| Ready(Batches(sender))).collect();
            let receivers = receivers.into_iter().map(|receiver| Ready(Batches(receiver))).collect();
            Ok(flow::processes(senders, receivers, messages)?.rate())
        },
    ));
    rivals(group, 2)
        .compare("shmkit", "crossbeam ArrayQueue", Bound::AtLeast(2.0))
        .compare("shmkit", "crossbeam-channel", Bound::None)
        .compare("shmkit", "vyukov", Bound::None)
        .compare("shmkit", "kanal", Bound::None)
        .compare("shmkit", "flume", Bound::None)
}
