//! Buffers handed over in place: what a message costs should not depend on its size.

use crate::group::Peers::Processes;
use crate::group::{Bound, Contender, Group, Unit};
use crate::peers::flow;
use crate::peers::processes::Ready;
use crate::rivals::in_place::InPlace;
use crate::rivals::{Blocking, iceoryx, ipc_channel};
use anyhow::Result;
use shmkit::queue::buffer::{self, Receiver, Sender};

/// Messages of a round, whatever their size.
const ITEMS: u64 = 1_500_000;
const ICEORYX2_ITEMS: u64 = 400_000;
/// The group to whose buffers larger ones are compared.
const SMALLEST: &str = "buffer_64b";
/// A message may cost 1.5 times as much as the smallest, and what is compared are rates.
const LEVEL: Bound = Bound::AtLeast(0.67);

/// A queue's.
#[derive(Clone, Copy)]
struct Buffers {
    count: usize,
    length: usize,
}

macro_rules! about {
    ($buffers:literal) => {
        concat!(
            "Buffers handed from one process to another in place, ",
            $buffers,
            ". The sender writes a number into the first eight bytes, where the receiver reads it. shmkit polled and iceoryx2 poll, \
             shmkit and ipc-channel sleep when they have to wait. iceoryx2 does more: discovery, many subscribers. ipc-channel \
             makes a region of shared memory for each message, and fills all of it."
        )
    };
}

pub fn groups() -> Vec<Group> {
    let small = Buffers { count: 64, length: 64 };
    let middle = Buffers { count: 64, length: 64 << 10 };
    // As many as above would take 64 MiB.
    let large = Buffers { count: 16, length: 1 << 20 };
    vec![
        group(SMALLEST, about!("64 of 64 B"), small, 9_000).compare("shmkit", "iceoryx2", Bound::None),
        group("buffer_64k", about!("64 of 64 KiB"), middle, 4_000)
            .compare("shmkit", "iceoryx2", Bound::AtLeast(3.0))
            .compare_self("shmkit", Some(SMALLEST), "shmkit", Bound::None)
            .compare_self("shmkit polled", Some(SMALLEST), "shmkit polled", Bound::None),
        group("buffer_1m", about!("16 of 1 MiB"), large, 800)
            .compare("shmkit", "iceoryx2", Bound::AtLeast(3.0))
            .compare_self("shmkit", Some(SMALLEST), "shmkit", LEVEL)
            .compare_self("shmkit polled", Some(SMALLEST), "shmkit polled", Bound::None),
    ]
}

/// Everybody, and what is shown of each pair; ipc-channel's rounds depend on the size.
fn group(name: &'static str, about: &'static str, buffers: Buffers, ipc_channel_items: u64) -> Group {
    let Buffers { count, length } = buffers;
    Group::new(name, Unit::MessageRate, about)
        .contender(Contender::new("shmkit", Processes, ITEMS, move |messages| {
            let (sender, receiver) = shmkit(buffers)?;
            let (sender, receiver) = (Ready(Blocking(sender)), Ready(Blocking(receiver)));
            Ok(flow::processes(vec![sender], vec![receiver], messages)?.rate())
        }))
        .contender(Contender::new("shmkit polled", Processes, ITEMS, move |messages| {
            let (sender, receiver) = shmkit(buffers)?;
            Ok(flow::processes(vec![Ready(sender)], vec![Ready(receiver)], messages)?.rate())
        }))
        .contender(Contender::new("iceoryx2", Processes, ICEORYX2_ITEMS, move |messages| {
            let (publisher, subscriber) = iceoryx::buffers(count, length);
            Ok(flow::processes(vec![publisher], vec![subscriber], messages)?.rate())
        }))
        .contender(Contender::new("ipc-channel", Processes, ipc_channel_items, move |messages| {
            let (sender, receiver) = ipc_channel::buffers(length)?;
            Ok(flow::processes(vec![sender], vec![receiver], messages)?.rate())
        }))
        .compare("shmkit polled", "iceoryx2", Bound::None)
        .compare("shmkit", "ipc-channel", Bound::None)
}

fn shmkit(Buffers { count, length }: Buffers) -> Result<(InPlace<Sender>, InPlace<Receiver>)> {
    let (sender, receiver) = buffer::channel((count, length))?;
    Ok((InPlace { end: sender, length }, InPlace { end: receiver, length }))
}
