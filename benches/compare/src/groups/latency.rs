//! Round trips, between two processes unless that is beyond a contender.

use crate::group::Peers::{Processes, Threads};
use crate::group::{Bound, Contender, Group, Peers, Unit};
use crate::options::Options;
use crate::peers::async_trip;
use crate::peers::pin::{Placement, allowed};
use crate::peers::processes::Ready;
use crate::peers::trip::{Latency, round_trips};
use crate::rivals::limits::{Futex, RawAtomics};
use crate::rivals::pipe::{Both, Pipe, Unbuffered};
use crate::rivals::tokio_mpsc::Channels;
use crate::rivals::{Awaiting, Blocking, Polling, iceoryx, ipc_channel, unix_socket};
use anyhow::Result;
use shmkit::pipe::{self, Reader, Writer};
use shmkit::queue::spsc::{self, Receiver, Sender};

/// Two queues, one for each direction: what one side has, and what the other.
type Ends = [(Sender<u64>, Receiver<u64>); 2];

/// Two pipes in the same way.
type PipeEnds = [(Writer, Reader); 2];

/// They hold one message each, and room costs nothing.
const CAPACITY: usize = 64;

pub fn groups(options: &Options) -> Vec<Group> {
    // Where there is one core, nobody can be pinned apart.
    let apart = (options.pin && allowed().is_ok_and(|cores| cores.len() > 1)).then_some(Placement::Apart);
    vec![spinning(apart), sleeping(apart), futures(apart)]
}

fn queues() -> Result<Ends> {
    let ((to_there, from_here), (to_here, from_there)) = (spsc::channel(CAPACITY)?, spsc::channel(CAPACITY)?);
    Ok([(to_there, from_there), (to_here, from_here)])
}

fn pipes() -> Result<PipeEnds> {
    let ((to_there, from_here), (to_here, from_there)) = (pipe::pipe()?, pipe::pipe()?);
    Ok([(to_there, from_there), (to_here, from_here)])
}

/// A way to make that many round trips.
type Trips = fn(u64, Placement) -> Result<Latency>;

fn add(group: Group, placement: Placement, contenders: &[(&str, Peers, u64, Trips)]) -> Group {
    contenders.iter().fold(group, |group, &(name, peers, items, trips)| {
        let name = format!("{name}{}", placement.suffix());
        group.contender(Contender::new(name, peers, items, move |count| trips(count, placement)))
    })
}

fn spinning(apart: Option<Placement>) -> Group {
    let shmkit: Trips = |count, placement| {
        let [here, there] = queues()?.map(|(sender, receiver)| Ready(Polling(sender, receiver)));
        round_trips(here, there, count, placement)
    };
    let shmkit_pipe: Trips = |count, placement| {
        let [here, there] = pipes()?.map(|(writer, reader)| Ready(Polling(writer, reader)));
        round_trips(here, there, count, placement)
    };
    let shmkit_connection: Trips = |count, placement| {
        let (here, there) = pipe::duplex()?;
        round_trips(Ready(here), Ready(there), count, placement)
    };
    let limit: Trips = |count, placement| {
        let [here, there] = RawAtomics::pair()?.map(Ready);
        round_trips(here, there, count, placement)
    };
    let iceoryx2: Trips = |count, placement| {
        let ((to_there, from_here), (to_here, from_there)) = (iceoryx::service(), iceoryx::service());
        round_trips(Polling(to_there, from_there), Polling(to_here, from_here), count, placement)
    };
    let contenders = [
        ("shmkit", Processes, 300_000, shmkit),
        ("shmkit pipe", Processes, 300_000, shmkit_pipe),
        ("shmkit connection", Processes, 300_000, shmkit_connection),
        ("raw atomics", Processes, 300_000, limit),
        ("iceoryx2", Processes, 20_000, iceoryx2),
    ];
    let about = "A u64 to another process and back, by two spsc queues, two pipes, or a connection; both sides poll without pause. Raw atomics are the limit: two cache lines.";
    let group = Group::new("latency_spin", Unit::Nanoseconds, about);
    [Some(Placement::Free), apart].into_iter().flatten().fold(group, |group, placement| {
        let named = |name: &str| format!("{name}{}", placement.suffix());
        let group =
            add(group, placement, &contenders).compare(named("shmkit"), named("raw atomics"), Bound::AtMost(1.5));
        ["shmkit pipe", "shmkit connection"]
            .into_iter()
            .fold(group, |group, ours| group.compare(named(ours), named("raw atomics"), Bound::None))
            .compare(named("shmkit"), named("iceoryx2"), Bound::None)
    })
}

fn sleeping(apart: Option<Placement>) -> Group {
    const ITEMS: u64 = 10_000;
    let shmkit: Trips = |count, placement| {
        let [here, there] = queues()?.map(|ends| Ready(Blocking(ends)));
        round_trips(here, there, count, placement)
    };
    let shmkit_pipe: Trips = |count, placement| {
        let [here, there] = pipes()?.map(|ends| Ready(Blocking(ends)));
        round_trips(here, there, count, placement)
    };
    let shmkit_connection: Trips = |count, placement| {
        let (here, there) = pipe::duplex()?;
        round_trips(Ready(Blocking(here)), Ready(Blocking(there)), count, placement)
    };
    let limit: Trips = |count, placement| {
        let [here, there] = Futex::pair()?.map(Ready);
        round_trips(here, there, count, placement)
    };
    let pipe: Trips = |count, placement| {
        let (there, here) = (Pipe::new()?, Pipe::new()?);
        let one = Both(there.write_end(), Unbuffered(here.read_end()));
        let other = Both(here.write_end(), Unbuffered(there.read_end()));
        round_trips(one, other, count, placement)
    };
    let socket: Trips = |count, placement| {
        let [here, there] = unix_socket::pair();
        round_trips(here, there, count, placement)
    };
    let ipc_channel: Trips = |count, placement| {
        let [here, there] = ipc_channel::pair()?;
        round_trips(here, there, count, placement)
    };
    let contenders = [
        ("shmkit", Processes, ITEMS, shmkit),
        ("shmkit pipe", Processes, ITEMS, shmkit_pipe),
        ("shmkit connection", Processes, ITEMS, shmkit_connection),
        ("futex", Processes, ITEMS, limit),
        ("pipe", Processes, ITEMS, pipe),
        ("unix socket", Processes, ITEMS, socket),
        ("ipc-channel", Processes, ITEMS, ipc_channel),
    ];
    let about = "A u64 to another process and back, by shmkit's two spsc queues, two pipes, or a connection; both sides sleep until it comes, shmkit after polling for a microsecond. The \
                 futex is the limit: two words and the system calls. As the scheduler has it, and both pinned to one core.";
    let group = Group::new("latency_blocking", Unit::Nanoseconds, about);
    [Some(Placement::Free), Some(Placement::OneCore), apart].into_iter().flatten().fold(group, |group, placement| {
        let named = |name: &str| format!("{name}{}", placement.suffix());
        let group = add(group, placement, &contenders);
        let group = group.compare(named("shmkit"), named("futex"), Bound::AtMost(1.15));
        ["pipe", "unix socket", "ipc-channel"]
            .into_iter()
            .fold(group, |group, rival| group.compare(named("shmkit"), named(rival), Bound::None))
            .compare(named("shmkit pipe"), named("pipe"), Bound::None)
            .compare(named("shmkit connection"), named("ipc-channel"), Bound::None)
    })
}

/// No target is set: what shmkit's futures cost beside those of a runtime's own is of interest, and most of it is the kernel's.
fn futures(apart: Option<Placement>) -> Group {
    const ITEMS: u64 = 10_000;
    let shmkit: Trips = |count, placement| {
        let [here, there] = queues()?.map(|ends| Ready(Awaiting(ends)));
        async_trip::processes(here, there, count, placement)
    };
    let in_process: Trips = |count, placement| async_trip::threads(Ready(queues()?.map(Awaiting)), count, placement);
    let tokio_mpsc: Trips = |count, placement| async_trip::threads(Channels { capacity: CAPACITY }, count, placement);
    let socket: Trips = |count, placement| {
        let [here, there] = unix_socket::pair().map(Awaiting);
        async_trip::processes(here, there, count, placement)
    };
    let contenders = [
        ("shmkit", Processes, ITEMS, shmkit),
        ("shmkit in-process", Threads, ITEMS, in_process),
        ("tokio mpsc", Threads, ITEMS, tokio_mpsc),
        ("unix socket", Processes, ITEMS, socket),
    ];
    let about = "A u64 to the other side and back, by futures; each side has a current-thread runtime of tokio's. shmkit's futures are called by a \
                 thread that sleeps for all of a process, the others by the runtime itself. As the scheduler has it, and everything pinned to one core.";
    let group = Group::new("latency_async", Unit::Nanoseconds, about);
    [Some(Placement::Free), Some(Placement::OneCore), apart].into_iter().flatten().fold(group, |group, placement| {
        let named = |name: &str| format!("{name}{}", placement.suffix());
        add(group, placement, &contenders)
            .compare(named("shmkit in-process"), named("tokio mpsc"), Bound::None)
            .compare(named("shmkit"), named("unix socket"), Bound::None)
    })
}
