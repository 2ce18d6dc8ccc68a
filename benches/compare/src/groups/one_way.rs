//! One sender and one receiver again, among those that work between processes.

use super::spsc::{shmkit, shmkit_blocking};
use crate::group::Peers::Processes;
use crate::group::{Bound, Contender, Group, Unit};
use crate::peers::flow;
use crate::rivals::pipe::Pipe;
use crate::rivals::{iceoryx, ipc_channel};

pub fn groups() -> Vec<Group> {
    let about = "One u64 at a time from one process to another. shmkit and iceoryx2 are polled, and iceoryx2 does more: discovery, \
                 many subscribers, loans. ipc-channel and the pipe sleep, as does shmkit blocking.";
    let group = Group::new("one_way_u64", Unit::MessageRate, about)
        .contender(shmkit(20_000_000))
        .contender(shmkit_blocking("shmkit blocking", 10_000_000))
        .contender(Contender::new("iceoryx2", Processes, 400_000, |messages| {
            let (publisher, subscriber) = iceoryx::service();
            Ok(flow::processes(vec![publisher], vec![subscriber], messages)?.rate())
        }))
        .contender(Contender::new("ipc-channel", Processes, 100_000, |messages| {
            let (sender, receiver) = ipc_channel::channel()?;
            Ok(flow::processes(vec![sender], vec![receiver], messages)?.rate())
        }))
        .contender(Contender::new("pipe", Processes, 500_000, |messages| {
            let pipe = Pipe::new()?;
            Ok(flow::processes(vec![pipe.write_end()], vec![pipe.read_end()], messages)?.rate())
        }))
        .compare("shmkit", "iceoryx2", Bound::AtLeast(20.0))
        .compare("shmkit", "ipc-channel", Bound::AtLeast(100.0))
        .compare("shmkit blocking", "ipc-channel", Bound::None)
        .compare("shmkit", "pipe", Bound::None)
        .compare("shmkit blocking", "pipe", Bound::None);
    vec![group]
}
