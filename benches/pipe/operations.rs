//! The operations of pipes and connections, each by itself: one thread has both ends, so that nobody waits and nobody is woken. Written once, for two ways of
//! measuring: the time they take (`main.rs`) and the instructions they execute (`../instructions.rs`).
//!
//! What keeps the numbers honest is what does so for the queues: `../queue/operations.rs`. What is written is read in the same operation, and the ring goes
//! round often, so that looking at the other side's position and splitting a copy in two are in the numbers. All rings are in shared memory.

use crate::repeat::Repeat;
use serde::{Deserialize, Serialize};
use shmkit::pipe::{Connection, Family, Pipe, Reader, Settings, Writer, duplex_with_capacity};
use shmkit::segment::{Object, Options, Segment};
use std::hint::black_box;
use std::io::{BufRead, Read, Write};
use std::sync::Arc;

/// Of a pipe and of each ring of a connection.
const CAPACITY: usize = 1 << 16;
/// Peers that are attached, the one that does the work included, and for pipes places for peers. It must not matter.
const PEERS: [usize; 3] = [1, 8, 64];

const ALIVE: &str = "the other end is there";
const MEMORY: &str = "there is memory";

/// All of them, in the order in which they are best read.
pub(crate) fn all(measure: &mut impl Repeat) {
    streams(measure);
    in_place(measure);
    messages(measure);
    values(measure);
}

/// Bytes in words, so that they lie alike whoever allocates them.
struct Buffer<const LENGTH: usize>(Box<Aligned<LENGTH>>);

#[repr(align(64))]
struct Aligned<const LENGTH: usize>([u8; LENGTH]);

impl<const LENGTH: usize> Buffer<LENGTH> {
    fn of(byte: u8) -> Self {
        Self(Box::new(Aligned([byte; LENGTH])))
    }
}

/// Both ends of a pipe, and what keeps other peers attached.
struct Ends {
    writer: Writer,
    reader: Reader,
    _others: Vec<Arc<Segment<Pipe<Family>>>>,
}

fn pipe(peers: usize) -> Ends {
    let segment: Arc<Segment<Pipe<Family>>> =
        Options::new().peers(peers).anonymous(Settings::new(CAPACITY).into()).expect(MEMORY);
    let writer = Writer::claim(&segment).expect("nobody has it");
    let reader = Reader::claim(&segment).expect("nobody has it");
    Ends { writer, reader, _others: others(&segment, peers) }
}

fn others<O: Object>(segment: &Arc<Segment<O>>, peers: usize) -> Vec<Arc<Segment<O>>> {
    let others = (1..peers).map(|_| segment.join().expect("there is a place")).collect();
    assert_eq!(segment.peer_count(), peers);
    others
}

fn streams(measure: &mut impl Repeat) {
    write_and_read::<8>(measure, "8 B", &[1]);
    write_and_read::<64>(measure, "64 B", &PEERS);
    write_and_read::<{ 4 << 10 }>(measure, "4 KiB", &[1]);
    write_and_read::<{ 64 << 10 }>(measure, "64 KiB", &[1]);
    measure.repeat(
        "pipe try_read, empty",
        || pipe(1),
        |ends| assert!(ends.reader.try_read(&mut [0; 8]).is_err_and(|error| error.kind() == WOULD_BLOCK)),
    );
    measure.repeat(
        "pipe try_write, full",
        || {
            let mut ends = pipe(1);
            ends.writer.write_all(&[7; CAPACITY]).expect(ALIVE);
            ends
        },
        |ends| assert!(ends.writer.try_write(black_box(&[7; 8])).is_err_and(|error| error.kind() == WOULD_BLOCK)),
    );
}

const WOULD_BLOCK: std::io::ErrorKind = std::io::ErrorKind::WouldBlock;

fn write_and_read<const LENGTH: usize>(measure: &mut impl Repeat, length: &str, peers: &[usize]) {
    for &peers in peers {
        measure.repeat(
            format!("pipe write and read, {length}, peers {peers}"),
            || (pipe(peers), Buffer::<LENGTH>::of(7), Buffer::<LENGTH>::of(0)),
            |(ends, sent, received)| {
                assert_eq!(ends.writer.write(&sent.0.0).expect(ALIVE), LENGTH);
                assert_eq!(ends.reader.read(&mut received.0.0).expect(ALIVE), LENGTH);
                assert_eq!(received.0.0[LENGTH - 1], 7);
            },
        );
    }
}

/// Nothing is copied, and one byte touched: the length does not matter.
fn in_place(measure: &mut impl Repeat) {
    for (name, length) in [("64 B", 64), ("16 KiB", 16 << 10)] {
        measure.repeat(
            format!("pipe reserve and commit, fill_buf and consume, {name}"),
            || pipe(1),
            |ends| {
                let mut room = ends.writer.reserve(length).expect(ALIVE);
                room[length - 1] = black_box(7);
                room.commit(length);
                let bytes = ends.reader.fill_buf().expect(ALIVE);
                assert!(bytes.len() == length && bytes[length - 1] == 7);
                ends.reader.consume(length);
            },
        );
    }
}

/// Both ends of a connection, and what keeps other peers attached.
fn connection(peers: usize) -> (Connection, Connection, impl Sized) {
    let (one, other) = duplex_with_capacity(CAPACITY).expect(MEMORY);
    let others = others(one.segment(), peers);
    (one, other, others)
}

fn messages(measure: &mut impl Repeat) {
    send_and_recv::<0>(measure, "0 B", &[1]);
    send_and_recv::<64>(measure, "64 B", &PEERS);
    send_and_recv::<{ 4 << 10 }>(measure, "4 KiB", &[1]);
    measure.repeat(
        "connection send_bytes and recv_bytes, 64 B",
        || connection(1),
        |(one, other, _)| {
            one.send_bytes(black_box(&[7; 64])).expect(ALIVE);
            assert_eq!(other.recv_bytes().expect(ALIVE).last(), Some(&7));
        },
    );
    measure.repeat(
        "connection try_recv_bytes_into, empty",
        || connection(1),
        |(_, other, _)| assert!(other.try_recv_bytes_into(&mut [0; 64]).is_err()),
    );
}

fn send_and_recv<const LENGTH: usize>(measure: &mut impl Repeat, length: &str, peers: &[usize]) {
    for &peers in peers {
        measure.repeat(
            format!("connection send_bytes and recv_bytes_into, {length}, peers {peers}"),
            || (connection(peers), Buffer::<LENGTH>::of(7), Buffer::<LENGTH>::of(0)),
            |((one, other, _), sent, received)| {
                one.send_bytes(&sent.0.0).expect(ALIVE);
                assert_eq!(other.recv_bytes_into(&mut received.0.0).expect(ALIVE), LENGTH);
                assert!(received.0.0.last().is_none_or(|&byte| byte == 7));
            },
        );
    }
}

#[derive(Serialize, Deserialize)]
struct Order {
    number: u64,
    price: u32,
    is_bid: bool,
}

fn values(measure: &mut impl Repeat) {
    measure.repeat(
        "connection send and recv, a struct of three numbers",
        || connection(1),
        |(one, other, _)| {
            one.send(black_box(&Order { number: 1 << 20, price: 77, is_bid: true })).expect(ALIVE);
            let Order { number, price, is_bid } = other.recv().expect(ALIVE);
            assert!(price == 77 && is_bid);
            number
        },
    );
}
