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
/// A message may cost 1.5 times as much as one of the smallest, and what is compared are rates: 1 / 1.5, rounded up.
const LEVEL: Bound = Bound::AtLeast(0.67);

/// A queue's, whatever their size.
const BUFFERS: usize = 64;

macro_rules! about {
    ($length:literal) => {
        concat!(
            "Buffers handed from one process to another in place, 64 of ",
            $length,
            ". The sender writes a number into the first eight bytes, where the receiver reads it. shmkit and iceoryx2 poll, \
             shmkit blocking and ipc-channel sleep when they have to wait. iceoryx2 does more: discovery, many subscribers. \
             ipc-channel makes a region of shared memory for each message, and fills all of it."
        )
    };
}

pub fn groups() -> Vec<Group> {
    vec![
        group(SMALLEST, about!("64 B"), 64, 9_000).compare("shmkit", "iceoryx2", Bound::None),
        group("buffer_64k", about!("64 KiB"), 64 << 10, 4_000)
            .compare("shmkit", "iceoryx2", Bound::AtLeast(3.0))
            .compare_self("shmkit", Some(SMALLEST), "shmkit", Bound::None)
            .compare_self("shmkit blocking", Some(SMALLEST), "shmkit blocking", Bound::None),
        group("buffer_1m", about!("1 MiB"), 1 << 20, 800)
            .compare("shmkit", "iceoryx2", Bound::AtLeast(3.0))
            .compare_self("shmkit", Some(SMALLEST), "shmkit", LEVEL)
            .compare_self("shmkit blocking", Some(SMALLEST), "shmkit blocking", Bound::None),
    ]
}

/// Everybody, and what is shown of each pair; ipc-channel's rounds depend on the size.
fn group(name: &'static str, about: &'static str, length: usize, ipc_channel_items: u64) -> Group {
    Group::new(name, Unit::MessageRate, about)
        .contender(Contender::new("shmkit", Processes, ITEMS, move |messages| {
            let (sender, receiver) = shmkit(length)?;
            Ok(flow::processes(vec![Ready(sender)], vec![Ready(receiver)], messages)?.rate())
        }))
        .contender(Contender::new("shmkit blocking", Processes, ITEMS, move |messages| {
            let (sender, receiver) = shmkit(length)?;
            let (sender, receiver) = (Ready(Blocking(sender)), Ready(Blocking(receiver)));
            Ok(flow::processes(vec![sender], vec![receiver], messages)?.rate())
        }))
        .contender(Contender::new("iceoryx2", Processes, ICEORYX2_ITEMS, move |messages| {
            let (publisher, subscriber) = iceoryx::buffers(BUFFERS, length);
            Ok(flow::processes(vec![publisher], vec![subscriber], messages)?.rate())
        }))
        .contender(Contender::new("ipc-channel", Processes, ipc_channel_items, move |messages| {
            let (sender, receiver) = ipc_channel::buffers(length)?;
            Ok(flow::processes(vec![sender], vec![receiver], messages)?.rate())
        }))
        .compare("shmkit blocking", "iceoryx2", Bound::None)
        .compare("shmkit blocking", "ipc-channel", Bound::None)
}

fn shmkit(length: usize) -> Result<(InPlace<Sender>, InPlace<Receiver>)> {
    let (sender, receiver) = buffer::channel((BUFFERS, length))?;
    Ok((InPlace { end: sender, length }, InPlace { end: receiver, length }))
}
