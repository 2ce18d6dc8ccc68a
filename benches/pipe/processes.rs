//! Bytes and messages between two processes: how many pass when one sends as fast as the other takes, and how long some take there and back.
//!
//! Unlike the operations by themselves this is mostly about what the caches of two cores tell each other, and about the scheduler: compare numbers of one run only.

use crate::patient;
use criterion::{BenchmarkId, Criterion, Throughput};
use shmkit::pipe::{Connection, Reader, Writer, duplex, pipe};
use shmkit::process::spawn;
use std::io::{BufRead, Read, Write};
use std::time::{Duration, Instant};

const BLOCK: usize = 64 << 10;
const LENGTHS: [usize; 2] = [64, 4 << 10];
const ALIVE: &str = "the other side lives";

/// A child's part: a round is its number of blocks, eight bytes, and then the blocks; its answer is how many bytes of them were ones.
fn count_ones((mut blocks, mut answers): (Reader, Writer)) {
    let mut block = vec![0; BLOCK];
    let mut number = [0; 8];
    while blocks.read_exact(&mut number).is_ok() {
        let mut ones = 0;
        for _ in 0..u64::from_ne_bytes(number) {
            blocks.read_exact(&mut block).expect(ALIVE);
            ones += u64::from(block[0] == 1 && block[BLOCK - 1] == 1);
        }
        answers.write_all(&ones.to_ne_bytes()).expect(ALIVE);
    }
}

/// The same with blocks that are looked at where they lie.
fn count_ones_in_place((mut blocks, mut answers): (Reader, Writer)) {
    let mut number = [0; 8];
    while blocks.read_exact(&mut number).is_ok() {
        let mut left = u64::from_ne_bytes(number) as usize * BLOCK;
        let mut ones = 0;
        while left > 0 {
            let bytes = blocks.fill_buf().expect(ALIVE);
            let count = bytes.len().min(left);
            ones += bytes[..count].iter().map(|&byte| u64::from(byte)).sum::<u64>();
            blocks.consume(count);
            left -= count;
        }
        answers.write_all(&(ones / BLOCK as u64).to_ne_bytes()).expect(ALIVE);
    }
}

/// Blocks to a child that does `part`, which `send` is called to write one of.
fn blocks(criterion: &mut Criterion, name: &str, part: fn((Reader, Writer)), send: fn(&mut Writer, &[u8])) {
    let (mut there, blocks) = pipe().expect("there is memory");
    let (answers, mut back) = pipe().expect("there is memory");
    let child = spawn(part, (blocks, answers)).expect("a process can be started");
    let block = vec![1; BLOCK];
    let mut group = patient(criterion, "pipe, two processes");
    group.throughput(Throughput::Bytes(BLOCK as u64));
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|count| {
            let start = Instant::now();
            there.write_all(&count.to_ne_bytes()).expect(ALIVE);
            (0..count).for_each(|_| send(&mut there, &block));
            let mut ones = [0; 8];
            back.read_exact(&mut ones).expect(ALIVE);
            let elapsed = start.elapsed();
            assert_eq!(u64::from_ne_bytes(ones), count);
            elapsed
        });
    });
    group.finish();
    drop(there);
    child.join().expect("it ends with its pipe");
}

fn write_in_place(there: &mut Writer, block: &[u8]) {
    let mut left = block.len();
    while left > 0 {
        let mut room = there.reserve(left.min(BLOCK / 4)).expect(ALIVE);
        let count = room.len();
        room.fill(1);
        room.commit(count);
        left -= count;
    }
}

/// A child's part: each message comes back. Between rounds it sleeps.
fn echo(mut connection: Connection) {
    let mut buffer = vec![0; LENGTHS[1]];
    while let Ok(length) = connection.recv_bytes_into(&mut buffer) {
        connection.send_bytes(&buffer[..length]).expect(ALIVE);
    }
}

/// A child's part: a message of eight bytes is how many follow, of any length; the answer is how many bytes those had.
fn add_up(mut connection: Connection) {
    let mut buffer = vec![0; LENGTHS[1]];
    while let Ok(number) = connection.recv_bytes() {
        let count = u64::from_ne_bytes(number.try_into().expect("a number"));
        let receive = |_| connection.recv_bytes_into(&mut buffer).expect(ALIVE) as u64;
        let sum: u64 = (0..count).map(receive).sum();
        connection.send_bytes(&sum.to_ne_bytes()).expect(ALIVE);
    }
}

fn messages(
    criterion: &mut Criterion,
    name: &str,
    part: fn(Connection),
    round: fn(&mut Connection, &[u8], u64) -> Duration,
) {
    let (mut here, there) = duplex().expect("there is memory");
    let child = spawn(part, there).expect("a process can be started");
    let mut group = patient(criterion, "connection, two processes");
    group.throughput(Throughput::Elements(1));
    for length in LENGTHS {
        let message = vec![7; length];
        group.bench_function(BenchmarkId::new(name, length), |bencher| {
            bencher.iter_custom(|count| round(&mut here, &message, count));
        });
    }
    group.finish();
    drop(here);
    child.join().expect("it ends with its connection");
}

/// Sends to another process as fast as it takes. The time includes the sum's way back, so that no message is still on its way.
fn one_way(here: &mut Connection, message: &[u8], count: u64) -> Duration {
    let start = Instant::now();
    here.send_bytes(&count.to_ne_bytes()).expect(ALIVE);
    (0..count).for_each(|_| here.send_bytes(message).expect(ALIVE));
    let sum = here.recv_bytes().expect(ALIVE);
    let elapsed = start.elapsed();
    assert_eq!(sum, (count * message.len() as u64).to_ne_bytes());
    elapsed
}

/// Sends and waits for the answer, `count` times.
fn round_trips(here: &mut Connection, message: &[u8], count: u64) -> Duration {
    let mut answer = vec![0; message.len()];
    let start = Instant::now();
    for _ in 0..count {
        here.send_bytes(message).expect(ALIVE);
        assert_eq!(here.recv_bytes_into(&mut answer).expect(ALIVE), message.len());
    }
    let elapsed = start.elapsed();
    assert!(answer == message);
    elapsed
}

pub(crate) fn processes(criterion: &mut Criterion) {
    blocks(criterion, "64 KiB, write and read", count_ones, |there, block| there.write_all(block).expect(ALIVE));
    blocks(criterion, "64 KiB, filled and added up in place", count_ones_in_place, write_in_place);
    messages(criterion, "one way", add_up, one_way);
    messages(criterion, "round trip", echo, round_trips);
}
