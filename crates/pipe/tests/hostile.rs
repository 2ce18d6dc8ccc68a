//! A peer that writes whatever it likes over the pipe, while an honest one works: it gets some bytes, or an error in time, and nothing worse.
//!
//! The lies are of two kinds: random bytes at random places, which mostly make no sense at once, and numbers that nearly could be: positions a little off, areas that there
//! are and are not, starts around the positions. The state from before is put back now and then, so that what comes next is believed for a while.
#![cfg(not(any(loom, feature = "portable")))]

#[path = "../../sync/tests/company/mod.rs"]
mod company;
#[path = "../../segment/tests/harness/mod.rs"]
mod harness;

use company::start;
use fastrand::Rng;
use harness::alone;
use rustix::fs::FallocateFlags;
use shmkit_pipe::{Error, Pipe, Reader, Settings, Stranger, Writer, pipe_for_strangers};
use shmkit_segment::Segment;
use shmkit_sync::Event;
use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::thread::{self, yield_now};
use std::time::{Duration, Instant};

type Strangers = Segment<Pipe<Stranger>>;

/// Where the object is: behind the header and the places for 64 peers.
const OBJECT: u64 = 384 + 128 * 64;
const FIRST: usize = 1 << 12;
const LAST: usize = FIRST << 3;
/// The positions and event counts, before the first area.
const ENDS: usize = 512;
const SEEDS: [u64; 6] = [1, 0x5eed, 0xdead_beef, 0x0123_4567_89ab_cdef, 77_777, u64::MAX / 3];

fn settings() -> Settings {
    Settings::new(FIRST).up_to(LAST)
}

/// A number near one that is believed, or far from all.
fn near(numbers: &mut Rng, number: u64) -> u64 {
    match numbers.u64(..8) {
        0 => number,
        1 | 2 => number.wrapping_add(1 << numbers.u64(..17)),
        3 | 4 => number.wrapping_sub(1 << numbers.u64(..17)),
        5 => number.wrapping_add(numbers.u64(..2 * LAST as u64)),
        6 => number.wrapping_sub(numbers.u64(..2 * LAST as u64)),
        _ => numbers.u64(..),
    }
}

/// One that has the segment's file, as each who is attached has.
struct Liar {
    file: File,
    length: u64,
    numbers: Rng,
    before: [u8; ENDS],
}

impl Liar {
    fn new(segment: &Strangers, seed: u64) -> Self {
        let file = File::from(segment.as_file().unwrap().try_clone_to_owned().unwrap());
        let mut liar = Self { file, length: segment.length() as u64, numbers: Rng::with_seed(seed), before: [0; ENDS] };
        liar.remember();
        liar
    }

    fn remember(&mut self) {
        self.file.read_exact_at(&mut self.before, OBJECT).unwrap();
    }

    fn word(&self, offset: u64) -> u64 {
        let mut word = [0; 8];
        self.file.read_exact_at(&mut word, OBJECT + offset).unwrap();
        u64::from_ne_bytes(word)
    }

    fn put(&self, offset: u64, bytes: &[u8]) {
        self.file.write_all_at(bytes, OBJECT + offset).unwrap();
    }

    fn lie(&mut self) {
        let (tail, head) = (self.word(0), self.word(128));
        let numbers = &mut self.numbers;
        let position = if numbers.u64(..2) == 0 { tail } else { head };
        let position = near(numbers, position).to_ne_bytes();
        let area = match numbers.u64(..8) {
            0 => numbers.u64(..) as u32,
            1 => u32::MAX,
            2 => 14 + numbers.u64(..3) as u32,
            _ => numbers.u64(..6) as u32,
        };
        match numbers.u64(..16) {
            0 | 1 => self.put(0, &position),
            2 | 3 => self.put(128, &position),
            4 => self.put(8, &area.to_ne_bytes()),
            5 => self.put(136, &area.to_ne_bytes()),
            6 => {
                let start = 16 + 8 * numbers.u64(..14);
                self.put(start, &position);
            }
            7 => {
                let (event, word) = (256 + 128 * numbers.u64(..2), numbers.u64(..) as u32);
                self.put(event, &word.to_ne_bytes());
            }
            8 => {
                // Anything, anywhere, mostly where it matters.
                let all = self.length - OBJECT - 64;
                let range = if numbers.u64(..2) == 0 { ENDS as u64 } else { all };
                let place = numbers.u64(..range);
                let bytes: Vec<u8> = (0..=numbers.u64(..63)).map(|_| numbers.u64(..) as u8).collect();
                self.put(place, &bytes);
            }
            9 => {
                // A hole, which is as good as zeros; where the header is not.
                let (hole, page) = (FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 4096);
                let place = 4 * page + page * numbers.u64(..self.length / page - 4);
                rustix::fs::fallocate(&self.file, hole, place, page).unwrap();
            }
            10 => self.put(0, &self.before.clone()),
            11 => self.remember(),
            // What could be.
            _ => {
                let more = numbers.u64(..FIRST as u64);
                self.put(8, &[0; 4]);
                self.put(136, &[0; 4]);
                self.put(0, &head.wrapping_add(more).to_ne_bytes());
            }
        }
    }

    /// As if nothing had ever been written.
    fn clear(&self) {
        self.put(0, &[0; ENDS]);
    }
}

/// How often what came of an attempt.
#[derive(Debug, Default)]
struct Tally {
    done: u32,
    not_in_time: u32,
    corrupt: u32,
}

impl Tally {
    /// An attempt at `most` bytes, with a peer at the other end: nothing else may come of it.
    #[track_caller]
    fn count(&mut self, most: usize, outcome: io::Result<usize>) {
        match outcome.map_err(|error| error.kind()) {
            Ok(count) => {
                assert!((1..=most).contains(&count), "{count} of {most}");
                self.done += 1;
            }
            Err(ErrorKind::WouldBlock | ErrorKind::TimedOut) => self.not_in_time += 1,
            Err(ErrorKind::InvalidData) => self.corrupt += 1,
            Err(other) => panic!("{other}"),
        }
    }
}

fn write(writer: &mut Writer<Stranger>, numbers: &mut Rng, patience: Duration, tally: &mut Tally) {
    let bytes = vec![7; 1 + numbers.u64(..2 * FIRST as u64) as usize];
    let begin = Instant::now();
    let outcome = match numbers.u64(..4) {
        0 => writer.try_write(&bytes),
        1 => writer.write_timeout(&bytes, patience),
        2 => writer.write_deadline(&bytes, begin + patience),
        _ => {
            let capacity = FIRST << numbers.u64(..5);
            assert_eq!(writer.grow(capacity).is_ok(), capacity <= LAST);
            return;
        }
    };
    if matches!(&outcome, Err(error) if error.kind() == ErrorKind::TimedOut) {
        assert!(begin.elapsed() >= patience);
    }
    tally.count(bytes.len(), outcome);
}

fn read(reader: &mut Reader<Stranger>, numbers: &mut Rng, patience: Duration, tally: &mut Tally) {
    let mut bytes = vec![0; 1 + numbers.u64(..2 * FIRST as u64) as usize];
    let (begin, length) = (Instant::now(), bytes.len());
    let outcome = match numbers.u64(..3) {
        0 => reader.try_read(&mut bytes),
        1 => reader.read_timeout(&mut bytes, patience),
        _ => reader.read_deadline(&mut bytes, begin + patience),
    };
    if matches!(&outcome, Err(error) if error.kind() == ErrorKind::TimedOut) {
        assert!(begin.elapsed() >= patience);
    }
    tally.count(length, outcome);
}

/// The end, unless the positions make no sense.
fn judged<E>(claim: Result<E, Error>) -> Option<E> {
    match claim {
        Ok(end) => Some(end),
        Err(Error::Corrupt(_)) => None,
        Err(other) => panic!("{other}"),
    }
}

/// Forms without a deadline, which end when the other end does.
fn use_up(mut writer: Writer<Stranger>, mut reader: Reader<Stranger>, liar: &mut Liar) {
    const MOST: u64 = 3 * LAST as u64;
    let segment = Arc::clone(writer.segment());
    let form = liar.numbers.u64(..2);
    let writing = thread::spawn(move || match form {
        0 => writer.copy_from(File::open("/dev/zero").unwrap(), MOST),
        _ => writer.write_vectored(&[IoSlice::new(&[1; FIRST]), IoSlice::new(&[2; FIRST])]).map(|count| count as u64),
    });
    drop(reader);
    let outcome = writing.join().unwrap().map_err(|error| error.kind());
    assert!(matches!(outcome, Ok(1..=MOST) | Err(ErrorKind::BrokenPipe | ErrorKind::InvalidData)), "{outcome:?}");

    liar.clear();
    (writer, reader) = (Writer::claim(&segment).unwrap(), Reader::claim(&segment).unwrap());
    writer.write_all(&[3; FIRST]).unwrap();
    liar.lie();
    let reading = thread::spawn(move || match form {
        0 => reader.copy_to(File::options().write(true).open("/dev/null").unwrap(), MOST),
        _ => {
            let (mut first, mut second) = ([0; FIRST / 2], [0; FIRST]);
            let mut slices = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
            reader.read_vectored(&mut slices).map(|count| count as u64)
        }
    });
    drop(writer);
    let outcome = reading.join().unwrap().map_err(|error| error.kind());
    assert!(matches!(outcome, Ok(0..=MOST) | Err(ErrorKind::InvalidData)), "{outcome:?}");
}

#[test]
fn each_lie_between_two_operations_makes_some_bytes_or_an_error() {
    const TURNS: u32 = if cfg!(debug_assertions) { 6_000 } else { 20_000 };
    alone(|()| {
        let (mut writing, mut reading, mut refused) = (Tally::default(), Tally::default(), 0);
        for seed in SEEDS {
            let (mut writer, mut reader) = pipe_for_strangers(settings()).unwrap();
            let segment = Arc::clone(writer.segment());
            let (mut liar, mut numbers) = (Liar::new(&segment, seed), Rng::with_seed(!seed));
            for turn in 0..TURNS {
                (0..numbers.u64(..3)).for_each(|_| liar.lie());
                write(&mut writer, &mut numbers, Duration::ZERO, &mut writing);
                (0..numbers.u64(..3)).for_each(|_| liar.lie());
                read(&mut reader, &mut numbers, Duration::ZERO, &mut reading);
                let _hints = (writer.watch().is_met(), reader.watch().is_met());
                if turn % 10 == 9 {
                    // Successors, who know nothing but what is there; all zeros are a state as good as any.
                    drop((writer, reader));
                    liar.lie();
                    let claims = judged(Writer::claim(&segment)).zip(judged(Reader::claim(&segment)));
                    (writer, reader) = claims.unwrap_or_else(|| {
                        refused += 1;
                        liar.clear();
                        (Writer::claim(&segment).unwrap(), Reader::claim(&segment).unwrap())
                    });
                }
            }
            liar.lie();
            use_up(writer, reader, &mut liar);
        }
        // They have come far, and met what makes no sense.
        for Tally { done, not_in_time, corrupt } in [&writing, &reading] {
            assert!(
                [done, not_in_time, corrupt, &refused].into_iter().all(|&count| count > TURNS / 100),
                "{writing:?}, {reading:?}, {refused}"
            );
        }
    });
}

/// What lies at `place` is `lie` for as long as `attempt` is tried, which must notice.
#[track_caller]
fn noticed(liar: &Liar, place: u64, lie: &[u8], mut attempt: impl FnMut() -> io::Result<usize>) {
    let mut truth = vec![0; lie.len()];
    liar.file.read_exact_at(&mut truth, OBJECT + place).unwrap();
    liar.put(place, lie);
    for _ in 0..2 {
        assert_eq!(attempt().unwrap_err().kind(), ErrorKind::InvalidData);
    }
    liar.put(place, &truth);
}

#[test]
fn positions_and_areas_that_cannot_be_are_noticed_and_it_goes_on_when_they_are_as_they_were() {
    const ALL: usize = 4 * FIRST;
    let (mut writer, mut reader) = pipe_for_strangers(settings()).unwrap();
    let segment = Arc::clone(writer.segment());
    let liar = Liar::new(&segment, 0);
    writer.write_all(&[1; 100]).unwrap();
    reader.read_exact(&mut [0; 10]).unwrap();
    // The reader knows of 90 more. A position before those, one that there is no room for, and one that is nowhere near.
    for tail in [9_u64, 10, 99, 10 + FIRST as u64 + 1, 10 + 2 * FIRST as u64 + 1, 1 << 40, u64::MAX] {
        noticed(&liar, 0, &tail.to_ne_bytes(), || reader.try_read(&mut [0; ALL]));
    }
    for area in [4_u32, 14, 15, 16, 31, 32, 64, u32::MAX] {
        noticed(&liar, 8, &area.to_ne_bytes(), || reader.try_read(&mut [0; ALL]));
    }
    assert_eq!(reader.try_read(&mut [0; ALL]).unwrap(), 90);

    assert_eq!(writer.try_write(&[2; ALL]).unwrap(), FIRST);
    let tail = 100 + FIRST as u64;
    // A position before the one that the writer knows of, and one ahead of its own.
    for head in [0, 99, tail + 1, tail + FIRST as u64, 1 << 40, u64::MAX] {
        noticed(&liar, 128, &head.to_ne_bytes(), || writer.try_write(&[2]));
    }
    assert_eq!(writer.try_write(&[2]).unwrap_err().kind(), ErrorKind::WouldBlock);
    // One that leaves less room than it knows of.
    assert_eq!((reader.try_read(&mut [0; 50]).unwrap(), writer.try_write(&[2; 10]).unwrap()), (50, 10));
    noticed(&liar, 128, &120_u64.to_ne_bytes(), || writer.try_write(&[2; ALL]));
    assert_eq!(writer.try_write(&[2; ALL]).unwrap(), 40);
    let tail = tail + 50;

    writer.grow(LAST).unwrap();
    assert_eq!(writer.try_write(&[3; 20]).unwrap(), 20);
    assert_eq!(reader.try_read(&mut [0; FIRST + 10]).unwrap(), FIRST + 10);
    // Back into an area that the reader has left.
    for area in [0_u32, 2] {
        noticed(&liar, 8, &area.to_ne_bytes(), || reader.try_read(&mut [0; ALL]));
    }
    assert_eq!(reader.try_read(&mut [0; ALL]).unwrap(), 10);

    // Who comes later finds out at once.
    drop((writer, reader));
    for (place, lie) in [(0, tail + 19 + 2 * LAST as u64 + 21), (128, tail + 21), (128, 1 << 40)] {
        let truth = liar.word(place);
        liar.put(place, &lie.to_ne_bytes());
        assert!(
            judged(Writer::claim(&segment)).is_none() && judged(Reader::claim(&segment)).is_none(),
            "{place}: {lie}"
        );
        liar.put(place, &truth.to_ne_bytes());
    }
    assert!(judged(Writer::claim(&segment)).is_some() && judged(Reader::claim(&segment)).is_some());
}

const PATIENCE: Duration = Duration::from_millis(1);
const OPERATIONS: u32 = 120;

fn lie_for_ever(liar: &mut Liar, here: &Event, mut meanwhile: impl FnMut()) {
    loop {
        liar.lie();
        here.set();
        if liar.numbers.u64(..4) == 0 {
            meanwhile();
        }
    }
}

/// Works with an end while somebody lies, and with a successor of it when that made no sense any more.
fn work<E>(end: E, claim: impl Fn() -> Result<E, Error>, mut operate: impl FnMut(&mut E, &mut Tally)) {
    let (mut end, mut tally) = (Some(end), Tally::default());
    for _ in 0..OPERATIONS {
        let corrupt = tally.corrupt;
        let owned = end.get_or_insert_with(|| {
            // Now and then the liar puts there what could be.
            loop {
                match judged(claim()) {
                    Some(end) => break end,
                    None => yield_now(),
                }
            }
        });
        operate(owned, &mut tally);
        if tally.corrupt > corrupt {
            end = None;
        }
    }
}

#[test]
fn a_writer_has_its_deadlines_kept_by_a_reader_that_lies_without_pause() {
    fn lie((mut reader, here, seed): (Reader<Stranger>, Event, u64)) {
        let mut liar = Liar::new(reader.segment(), seed);
        lie_for_ever(&mut liar, &here, || drop(reader.try_read(&mut [0; FIRST])));
    }
    alone(|()| {
        for seed in SEEDS {
            let (writer, reader) = pipe_for_strangers(settings()).unwrap();
            let (here, segment, mut numbers) =
                (Event::new().unwrap(), Arc::clone(writer.segment()), Rng::with_seed(!seed));
            let child = start(lie, (reader, here.clone(), seed));
            here.wait().unwrap();
            work(writer, || Writer::claim(&segment), |writer, tally| write(writer, &mut numbers, PATIENCE, tally));
            company::kill(child);
        }
    });
}

#[test]
fn a_reader_has_its_deadlines_kept_by_a_writer_that_lies_without_pause() {
    fn lie((mut writer, here, seed): (Writer<Stranger>, Event, u64)) {
        let mut liar = Liar::new(writer.segment(), seed);
        lie_for_ever(&mut liar, &here, || drop(writer.try_write(&[0; FIRST])));
    }
    alone(|()| {
        for seed in SEEDS {
            let (writer, reader) = pipe_for_strangers(settings()).unwrap();
            let (here, segment, mut numbers) =
                (Event::new().unwrap(), Arc::clone(reader.segment()), Rng::with_seed(!seed));
            let child = start(lie, (writer, here.clone(), seed));
            here.wait().unwrap();
            work(reader, || Reader::claim(&segment), |reader, tally| read(reader, &mut numbers, PATIENCE, tally));
            company::kill(child);
        }
    });
}
