//! Any interleaving of writes and reads, in any form, equals that of a queue of bytes that is as large as the pipe.
//!
//! What is compared is exact: how much is written and read each time, and not only what. So are the places where positions go round, which come after 2⁶⁴ bytes.
#![cfg(not(any(loom, feature = "portable")))]

mod content;

use content::{byte, bytes};
use proptest::prelude::*;
use proptest::sample::select;
use shmkit_pipe::{Family, Pipe, Reader, Settings, Stranger, Trust, Writer, private_at};
use shmkit_segment::Options;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, ErrorKind, IoSlice, IoSliceMut, Read, Seek, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

#[derive(Clone, Debug)]
enum Step {
    Write(usize),
    WriteVectored(Vec<usize>),
    /// So much is reserved, and of what there is, so many sixteenths are committed.
    Reserve(usize, usize),
    /// From a file of so many bytes, so many more at most.
    CopyFrom(usize, usize),
    /// To so many times the first capacity.
    Grow(usize),
    SucceedWriter,
    Read(usize),
    ReadVectored(Vec<usize>),
    /// What there is is looked at, and so many sixteenths of it are consumed.
    Look(usize),
    CopyTo(usize),
    SucceedReader,
}

/// How much, around what there is room for.
fn amount(capacity: usize) -> impl Strategy<Value = usize> {
    prop_oneof![0..=capacity.min(9), 0..=capacity + 1, capacity..=2 * capacity]
}

fn step(capacity: usize) -> impl Strategy<Value = Step> {
    let amounts = || prop::collection::vec(amount(capacity), 0..4);
    let some = || amount(capacity);
    prop_oneof![
        3 => some().prop_map(Step::Write),
        2 => amounts().prop_map(Step::WriteVectored),
        3 => (some(), 0..=16_usize).prop_map(|(most, share)| Step::Reserve(most, share)),
        2 => (some(), 0..3_usize).prop_map(|(most, more)| Step::CopyFrom(most, more)),
        1 => (0..=16_usize).prop_map(Step::Grow),
        1 => Just(Step::SucceedWriter),
        3 => some().prop_map(Step::Read),
        2 => amounts().prop_map(Step::ReadVectored),
        3 => (0..=16_usize).prop_map(Step::Look),
        2 => some().prop_map(Step::CopyTo),
        1 => Just(Step::SucceedReader),
    ]
}

/// A capacity, where positions begin, and what happens.
fn history() -> impl Strategy<Value = (usize, u64, Vec<Step>)> {
    select(vec![1_usize, 2, 64, 4096]).prop_flat_map(|capacity| {
        let near = (0..=2 * capacity as u64).prop_map(|before| u64::MAX - before);
        let position = prop_oneof![Just(0), any::<u64>(), near.clone(), near];
        (Just(capacity), position, prop::collection::vec(step(capacity), 1..80))
    })
}

/// What both kinds of ends can do in a way of their own.
trait Kind: Trust + Sized {
    fn reserve(writer: &mut Writer<Self>, bytes: &[u8], share: usize) -> Option<usize>;
    fn look(reader: &mut Reader<Self>, unread: &VecDeque<u8>, share: usize) -> usize;
}

impl Kind for Family {
    fn reserve(writer: &mut Writer, bytes: &[u8], share: usize) -> Option<usize> {
        let mut room = match writer.try_reserve(bytes.len()) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
            room => room.unwrap(),
        };
        assert!(room.is_empty() == bytes.is_empty() && room.len() <= bytes.len());
        let count = room.len();
        // More is filled than is committed.
        room.copy_from_slice(&bytes[..count]);
        room.commit(count * share / 16);
        Some(count * share / 16)
    }

    fn look(reader: &mut Reader, unread: &VecDeque<u8>, share: usize) -> usize {
        let shown = reader.fill_buf().unwrap();
        assert!(!shown.is_empty() && shown.len() <= unread.len());
        assert!(shown.iter().eq(unread.iter().take(shown.len())));
        let count = shown.len() * share / 16;
        reader.consume(count);
        count
    }
}

/// Has no forms in place.
impl Kind for Stranger {
    fn reserve(writer: &mut Writer<Self>, bytes: &[u8], share: usize) -> Option<usize> {
        let count = bytes.len() * share / 16;
        tried(writer.try_write(&bytes[..count]))
    }

    fn look(reader: &mut Reader<Self>, unread: &VecDeque<u8>, share: usize) -> usize {
        let mut found = vec![0; unread.len() * share / 16];
        let count = reader.read(&mut found).unwrap();
        assert!(found[..count].iter().eq(unread.iter().take(count)));
        count
    }
}

/// What was done, if anything could be.
fn tried(outcome: std::io::Result<usize>) -> Option<usize> {
    match outcome {
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        outcome => Some(outcome.unwrap()),
    }
}

fn file(content: &[u8]) -> File {
    let mut file = File::from(rustix::fs::memfd_create("content", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
    file.write_all(content).unwrap();
    file.rewind().unwrap();
    file
}

struct Tested<T: Trust> {
    writer: Option<Writer<T>>,
    reader: Option<Reader<T>>,
    unread: VecDeque<u8>,
    first: usize,
    capacity: usize,
    /// Bytes that have been written and read, and how many had been written when the writer came to its area.
    written: u64,
    read: u64,
    start: u64,
}

impl<T: Kind> Tested<T> {
    fn new((writer, reader): (Writer<T>, Reader<T>)) -> Self {
        let capacity = writer.capacity();
        let (writer, reader) = (Some(writer), Some(reader));
        Self { writer, reader, unread: VecDeque::new(), first: capacity, capacity, written: 0, read: 0, start: 0 }
    }

    fn room(&self) -> usize {
        self.capacity - (self.written - self.read.max(self.start)) as usize
    }

    /// The next `length` bytes of the stream.
    fn next(&self, length: usize) -> Vec<u8> {
        bytes(self.written, length)
    }

    fn has_written(&mut self, count: usize) {
        self.unread.extend(self.next(count));
        self.written += count as u64;
    }

    fn has_read(&mut self, found: &[u8]) {
        assert!(self.unread.drain(..found.len()).eq(found.iter().copied()));
        self.read += found.len() as u64;
    }

    /// What comes of an attempt at `length` bytes where there are `possible`.
    fn expected(length: usize, possible: usize) -> Option<usize> {
        if length > 0 && possible == 0 { None } else { Some(length.min(possible)) }
    }

    fn write(&mut self, step: &Step) {
        let (room, writer) = (self.room(), self.writer.as_mut().unwrap());
        let written = match step {
            Step::Write(length) => {
                let written = tried(writer.try_write(&bytes(self.written, *length)));
                assert_eq!(written, Self::expected(*length, room));
                written
            }
            Step::WriteVectored(lengths) => {
                let total: usize = lengths.iter().sum();
                let (all, mut slices) = (bytes(self.written, total), Vec::new());
                let mut rest = &all[..];
                for &length in lengths {
                    let (slice, others) = rest.split_at(length);
                    slices.push(IoSlice::new(slice));
                    rest = others;
                }
                // It blocks where there is no room.
                let written = (total == 0 || room > 0).then(|| writer.write_vectored(&slices).unwrap());
                assert_eq!(written, Self::expected(total, room));
                written
            }
            Step::Reserve(most, share) => {
                let written = T::reserve(writer, &bytes(self.written, *most), *share);
                assert!(written.is_some() || room == 0);
                written
            }
            Step::CopyFrom(most, more) if room > 0 => {
                let (length, most) = ((*most).min(room - 1), most + more);
                let copied = writer.copy_from(file(&bytes(self.written, length)), most.min(room) as u64).unwrap();
                assert_eq!(copied as usize, length.min(most));
                Some(length.min(most))
            }
            Step::Grow(times) => {
                let grown = writer.grow(times * self.first);
                let capacity = (times * self.first).next_power_of_two().max(self.capacity);
                // Among what was asked for is less than there is.
                assert_eq!(grown.is_ok(), times * self.first <= self.first * MOST);
                if grown.is_ok() && capacity > self.capacity {
                    (self.capacity, self.start) = (capacity, self.written);
                }
                assert_eq!(writer.capacity(), self.capacity);
                None
            }
            Step::SucceedWriter => {
                let segment = Arc::clone(writer.segment());
                self.writer = None;
                let writer = self.writer.insert(Writer::claim(&segment).unwrap());
                assert_eq!(writer.capacity(), self.capacity);
                None
            }
            _ => None,
        };
        self.has_written(written.unwrap_or(0));
    }

    fn read(&mut self, step: &Step) {
        let (unread, reader) = (self.unread.len(), self.reader.as_mut().unwrap());
        match step {
            Step::Read(length) => {
                let mut found = vec![0; *length];
                let count = tried(reader.try_read(&mut found));
                assert_eq!(count, Self::expected(*length, unread));
                self.has_read(&found[..count.unwrap_or(0)]);
            }
            Step::ReadVectored(lengths) if unread > 0 => {
                let mut parts: Vec<Vec<u8>> = lengths.iter().map(|&length| vec![0; length]).collect();
                let mut slices: Vec<_> = parts.iter_mut().map(|part| IoSliceMut::new(part)).collect();
                let count = reader.read_vectored(&mut slices).unwrap();
                assert_eq!(count, unread.min(lengths.iter().sum()));
                self.has_read(&parts.concat()[..count]);
            }
            Step::Look(share) if unread > 0 => {
                let count = T::look(reader, &self.unread, *share);
                let found: Vec<u8> = self.unread.iter().take(count).copied().collect();
                self.has_read(&found);
            }
            Step::CopyTo(most) => {
                let count = (*most).min(unread);
                let target = file(b"");
                assert_eq!(reader.copy_to(&target, count as u64).unwrap(), count as u64);
                let mut found = vec![0; count];
                target.read_exact_at(&mut found, 0).unwrap();
                assert_eq!(target.metadata().unwrap().len(), count as u64);
                self.has_read(&found);
            }
            Step::SucceedReader => {
                let segment = Arc::clone(reader.segment());
                self.reader = None;
                self.reader = Some(Reader::claim(&segment).unwrap());
            }
            _ => {}
        }
    }

    fn take(mut self, steps: &[Step]) {
        for step in steps {
            let (data, room) = (self.reader.as_ref().unwrap().watch(), self.writer.as_ref().unwrap().watch());
            assert_eq!((data.is_met(), room.is_met()), (!self.unread.is_empty(), self.room() > 0));
            self.write(step);
            self.read(step);
        }
        self.writer = None;
        let mut rest = Vec::new();
        self.reader.as_mut().unwrap().read_to_end(&mut rest).unwrap();
        let first = self.written - self.unread.len() as u64;
        assert!(rest.iter().copied().eq((first..self.written).map(byte)));
    }
}

/// How many times a pipe can grow to its first capacity.
const MOST: usize = 8;

/// A pipe of strangers that is at `position`, which none has come to yet.
fn strangers_at(settings: Settings, position: u64) -> (Writer<Stranger>, Reader<Stranger>) {
    const PEERS: u64 = 4;
    let segment = Options::new().peers(PEERS as usize).anonymous::<Pipe<Stranger>>(settings.into()).unwrap();
    let file = File::from(segment.as_file().unwrap().try_clone_to_owned().unwrap());
    // The tail is the first of the object, which lies behind the peers; the head has the next line.
    let object = 384 + 128 * PEERS;
    for place in [object, object + 128] {
        file.write_all_at(&position.to_ne_bytes(), place).unwrap();
    }
    let mut ends = (Writer::claim(&segment).unwrap(), Reader::claim(&segment).unwrap());
    // It is where it should be.
    assert_eq!((ends.0.try_write(b"x").unwrap(), ends.1.try_read(&mut [0]).unwrap()), (1, 1));
    let mut found = [0; 8];
    file.read_exact_at(&mut found, object).unwrap();
    assert_eq!(u64::from_ne_bytes(found), position.wrapping_add(1));
    ends
}

/// What is slow without optimisation is the comparison.
const CASES: u32 = if cfg!(debug_assertions) { 256 } else { 5_000 };

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn what_a_family_does_with_a_pipe_is_what_a_bounded_vecdeque_does((capacity, position, steps) in history()) {
        let settings = Settings::new(capacity).up_to(MOST * capacity);
        Tested::new(private_at(settings, position).unwrap()).take(&steps);
    }

    #[test]
    fn what_strangers_do_with_a_pipe_is_what_a_bounded_vecdeque_does((capacity, position, steps) in history()) {
        let settings = Settings::new(capacity).up_to(MOST * capacity);
        Tested::new(strangers_at(settings, position)).take(&steps);
    }
}
