//! Streams of bytes between processes, in blocks of 64 KiB.

use crate::group::Peers::Processes;
use crate::group::{Bound, Contender, Group, Unit};
use crate::peers::processes::Ready;
use crate::peers::stream::{self, BLOCK};
use crate::rivals::pipe::{Pipe, Unbuffered};
use crate::rivals::shmkit_pipe::InRing;
use crate::rivals::{memcpy, unix_socket};
use anyhow::Result;
use shmkit::pipe;

/// Blocks of a round.
const ITEMS: u64 = 40_000;
const KERNEL_ITEMS: u64 = 8_000;
/// What pipe(2) can be made to hold by everybody.
const LARGEST: usize = 1 << 20;

macro_rules! about {
    ($place:literal) => {
        concat!(
            "64 KiB at a time written by one process and read by another, out of and into buffers that lie ",
            $place,
            ". All sleep when they have to wait but memcpy, the limit: two processes that copy through a shared buffer as large as shmkit's pipe. \
             In place, shmkit's users copy out of and into its ring by themselves. pipe is the better of 64 KiB and 1 MiB."
        )
    };
}

pub fn groups() -> Vec<Group> {
    vec![
        group("pipe_64k_0", about!("at the start of a page"), 0),
        group("pipe_64k_16", about!("16 bytes behind the start of a page"), 16),
    ]
}

fn group(name: &'static str, about: &'static str, offset: usize) -> Group {
    Group::new(name, Unit::ByteRate, about)
        .contender(Contender::new("shmkit", Processes, ITEMS, move |blocks| {
            let (writer, reader) = pipe::pipe()?;
            Ok(stream::processes(Ready(writer), Ready(reader), blocks, offset)?.throughput(BLOCK))
        }))
        .contender(Contender::new("shmkit in place", Processes, ITEMS, move |blocks| {
            let (writer, reader) = pipe::pipe()?;
            let (writer, reader) = (Ready(InRing(writer)), Ready(InRing(reader)));
            Ok(stream::processes(writer, reader, blocks, offset)?.throughput(BLOCK))
        }))
        .contender(Contender::new("memcpy", Processes, ITEMS, move |blocks| {
            let (input, output) = memcpy::ring()?;
            Ok(stream::processes(Ready(input), Ready(output), blocks, offset)?.throughput(BLOCK))
        }))
        .contender(Contender::new("pipe", Processes, KERNEL_ITEMS, move |blocks| {
            let usual = through(&Pipe::new()?, blocks, offset)?;
            Ok(usual.max(through(&Pipe::of_size(LARGEST)?, blocks, offset)?))
        }))
        .contender(Contender::new("unix socket", Processes, KERNEL_ITEMS, move |blocks| {
            let [sender, receiver] = unix_socket::pair();
            Ok(stream::processes(sender, receiver, blocks, offset)?.throughput(BLOCK))
        }))
        .compare("shmkit", "memcpy", Bound::AtLeast(0.8))
        .compare("shmkit in place", "memcpy", Bound::None)
        .compare("shmkit", "pipe", Bound::AtLeast(5.0))
        .compare("shmkit", "unix socket", Bound::None)
}

fn through(pipe: &Pipe, blocks: u64, offset: usize) -> Result<f64> {
    let (writer, reader) = (pipe.write_end(), Unbuffered(pipe.read_end()));
    Ok(stream::processes(writer, reader, blocks, offset)?.throughput(BLOCK))
}
