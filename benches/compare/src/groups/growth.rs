//! How shmkit's cost of a message grows with what should not matter, and with what must: the queue's capacity, the peers attached to it,
//! and the size of a message.
//!
//! There are no rivals here: each row is compared with the smallest of its kind.

use crate::group::Peers::Processes;
use crate::group::{Bound, Contender, Group, Unit};
use crate::machine::last_level_cache;
use crate::peers::flow::{self, CAPACITY, Inlet, Outlet};
use crate::peers::processes::Ready;
use crate::rivals::shmkit_sizes::Sized;
use anyhow::Result;
use serde::{Serialize, de::DeserializeOwned};
use shmkit::queue::{mpmc, spsc};
use shmkit::segment::{Object, Segment};
use std::sync::Arc;

const ITEMS: u64 = 10_000_000;
/// What should not matter may cost this much more than the smallest.
const LEVEL: Bound = Bound::AtMost(1.3);
/// Powers of two: 64 to a million.
const CAPACITIES: [u32; 8] = [6, 8, 10, 12, 14, 16, 18, 20];
/// A queue that is smaller is full or empty all the time, and what that costs would hide any growth: the larger ones are held to this one.
const ORDINARY_CAPACITY: u32 = 10;
/// The two processes at work are the smallest crowd. A queue has room for 64 unless it was made otherwise.
const CROWDS: [usize; 3] = [2, 8, 64];
/// Queues of the largest messages are 16 MiB.
const CAPACITY_OF_SIZES: usize = 256;
/// A slot's bytes, with a value of eight.
const SPSC_SLOT: u64 = 8;
const MPMC_SLOT: u64 = 16;

pub fn groups() -> Vec<Group> {
    let about = "What a message costs two processes that poll, by the queue's capacity, by the peers attached (idle ones beside the \
                 two), and by a message's bytes. Ratios are to the smallest of the kind; capacities above 2^10 are also held to that one, \
                 as long as the queue fits the last-level cache.";
    let mut group = Group::new("growth", Unit::Nanoseconds, about);
    group = capacities(group, "spsc", SPSC_SLOT, |capacity, messages| cost(spsc::channel::<u64>(capacity)?, messages));
    group = capacities(group, "mpmc", MPMC_SLOT, |capacity, messages| cost(mpmc::channel::<u64>(capacity)?, messages));
    group = crowds(group, "spsc", |crowd, messages| {
        let ends = spsc::channel::<u64>(CAPACITY)?;
        let _idle = idle(ends.0.segment(), crowd)?;
        cost(ends, messages)
    });
    group = crowds(group, "mpmc", |crowd, messages| {
        let ends = mpmc::channel::<u64>(CAPACITY)?;
        let _idle = idle(ends.0.segment(), crowd)?;
        cost(ends, messages)
    });
    group = sizes(group, "spsc", [spsc_of::<8>, spsc_of::<64>, spsc_of::<512>, spsc_of::<4096>, spsc_of::<65_536>]);
    group = sizes(group, "mpmc", [mpmc_of::<8>, mpmc_of::<64>, mpmc_of::<512>, mpmc_of::<4096>, mpmc_of::<65_536>]);
    vec![group]
}

/// A message's cost in nanoseconds, between two processes.
fn cost<S, R>((sender, receiver): (S, R), messages: u64) -> Result<f64>
where
    S: Outlet + Serialize + DeserializeOwned + 'static,
    R: Inlet + Serialize + DeserializeOwned + 'static,
{
    Ok(flow::processes(vec![Ready(sender)], vec![Ready(receiver)], messages)?.cost())
}

fn capacities(mut group: Group, queue: &str, slot: u64, round: fn(usize, u64) -> Result<f64>) -> Group {
    let name = |power: u32| format!("shmkit {queue} capacity 2^{power}");
    for power in CAPACITIES {
        let fits = slot << power <= last_level_cache();
        group =
            group.contender(Contender::new(name(power), Processes, ITEMS, move |messages| round(1 << power, messages)));
        if power != CAPACITIES[0] {
            group = group.compare_self(name(power), None, name(CAPACITIES[0]), Bound::None);
        }
        if power > ORDINARY_CAPACITY && fits {
            group = group.compare_self(name(power), None, name(ORDINARY_CAPACITY), LEVEL);
        }
    }
    group
}

fn crowds(mut group: Group, queue: &str, round: fn(usize, u64) -> Result<f64>) -> Group {
    let name = |crowd: usize| format!("shmkit {queue} {crowd} peers");
    for crowd in CROWDS {
        group = group.contender(Contender::new(name(crowd), Processes, ITEMS, move |messages| round(crowd, messages)));
        if crowd != CROWDS[0] {
            group = group.compare_self(name(crowd), None, name(CROWDS[0]), LEVEL);
        }
    }
    group
}

/// So many attachments, of this process, that a crowd of `crowd` is complete with the two at work.
fn idle<O: Object>(segment: &Arc<Segment<O>>, crowd: usize) -> Result<Vec<Arc<Segment<O>>>> {
    let mut idle = Vec::new();
    if crowd > 2 {
        // The one by which the queue was made, which otherwise ends when both ends have gone to their processes.
        idle.push(segment.clone());
        for _ in 3..crowd {
            idle.push(segment.join()?);
        }
    }
    Ok(idle)
}

type RoundOfSize = fn(u64) -> Result<f64>;

fn spsc_of<const N: usize>(messages: u64) -> Result<f64> {
    let (sender, receiver) = spsc::channel::<[u8; N]>(CAPACITY_OF_SIZES)?;
    cost((Sized(sender), Sized(receiver)), messages)
}

fn mpmc_of<const N: usize>(messages: u64) -> Result<f64> {
    let (sender, receiver) = mpmc::channel::<[u8; N]>(CAPACITY_OF_SIZES)?;
    cost((Sized(sender), Sized(receiver)), messages)
}

/// Larger messages cost more and nothing else is expected of them.
fn sizes(mut group: Group, queue: &str, rounds: [RoundOfSize; 5]) -> Group {
    const SIZES: [(&str, u64); 5] =
        [("8 B", ITEMS), ("64 B", 5_000_000), ("512 B", 1_500_000), ("4 KiB", 300_000), ("64 KiB", 15_000)];
    let name = |size: &str| format!("shmkit {queue} message {size}");
    for ((size, items), round) in SIZES.into_iter().zip(rounds) {
        group = group.contender(Contender::new(name(size), Processes, items, round));
        if size != SIZES[0].0 {
            group = group.compare_self(name(size), None, name(SIZES[0].0), Bound::None);
        }
    }
    group
}
