//! Messages with boundaries, by connections: one way, between processes.

use crate::group::Peers::Processes;
use crate::group::{Bound, Contender, Group, Unit};
use crate::peers::flow;
use crate::peers::processes::Ready;
use crate::rivals::copied::Copied;
use crate::rivals::shmkit_connection::Allocating;
use crate::rivals::{ipc_bytes, seqpacket};
use anyhow::Result;
use shmkit::pipe::{Connection, duplex};

macro_rules! about {
    ($length:literal) => {
        concat!(
            "Messages of ",
            $length,
            " from one process to another, copied in and out; all sleep when they have to wait. shmkit (recv_bytes) and ipc-channel \
             receive into memory that is allocated for each message, shmkit into and unix seqpacket (recv_bytes_into, recv) into a buffer that they are given. ipc-channel's is its channel of bytes, \
             which does not encode them. With 4 KiB, a receiver that is faster than the sender, as one with its own buffer may be, reads what is still in the sender's cache, and both are slowed down; one \
             that falls behind for a moment is not. So shmkit into has fast rounds and slow ones."
        )
    };
}

pub fn groups() -> Vec<Group> {
    vec![group("message_64b", about!("64 B"), 64, 4_000_000), group("message_4k", about!("4 KiB"), 4 << 10, 500_000)]
}

/// Everybody; shmkit's rounds depend on the length.
fn group(name: &'static str, about: &'static str, length: usize, items: u64) -> Group {
    const IPC_CHANNEL_ITEMS: u64 = 80_000;
    const SOCKET_ITEMS: u64 = 200_000;
    Group::new(name, Unit::MessageRate, about)
        .contender(Contender::new("shmkit", Processes, items, move |messages| {
            let [sender, receiver] = connection(length)?;
            Ok(flow::processes(vec![Ready(sender)], vec![Ready(Allocating(receiver))], messages)?.rate())
        }))
        .contender(Contender::new("shmkit into", Processes, items, move |messages| {
            let [sender, receiver] = connection(length)?.map(Ready);
            Ok(flow::processes(vec![sender], vec![receiver], messages)?.rate())
        }))
        .contender(Contender::new("ipc-channel", Processes, IPC_CHANNEL_ITEMS, move |messages| {
            let (sender, receiver) = ipc_bytes::messages(length)?;
            Ok(flow::processes(vec![sender], vec![receiver], messages)?.rate())
        }))
        .contender(Contender::new("unix seqpacket", Processes, SOCKET_ITEMS, move |messages| {
            let [sender, receiver] = seqpacket::pair(length)?.map(Ready);
            Ok(flow::processes(vec![sender], vec![receiver], messages)?.rate())
        }))
        .compare("shmkit", "ipc-channel", Bound::AtLeast(10.0))
        .compare("shmkit into", "ipc-channel", Bound::None)
        .compare("shmkit into", "unix seqpacket", Bound::None)
}

fn connection(length: usize) -> Result<[Copied<Connection>; 2]> {
    let (one, other) = duplex()?;
    Ok([one, other].map(|end| Copied { end, length }))
}
