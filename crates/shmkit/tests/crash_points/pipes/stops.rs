//! A process stopped at every site of a byte stream's operations. There is nothing to hold: up to the store of its position nothing was written, or read, from
//! then on all of it; and the other side goes on either way until the pipe is empty, or full, and keeps its deadlines.

use super::{bytes, check, drain, pipe_after, place};
use crate::harness::{Orders, came_through, go_on, stopped_at_every_site, wait_for_stop};
use crate::traffic::{NEVER, SOON};
use shmkit::pipe::{Error, Reader, Settings, Writer};
use shmkit::process::{JoinHandle, spawn};
use shmkit::segment::crash;
use std::io::{BufRead, ErrorKind, Read};

const CAPACITY: usize = 8192;
/// Bytes that have passed before, so that the piece goes round the ring.
const PASSED: usize = 6_000;
const PIECE: usize = 3_000;

/// An operation, of a writer or a reader, that is done at once.
type Writing = fn(&mut Writer);
type Reading = fn(&mut Reader);

fn write((orders, mut writer, nth): (Orders, Writer, usize)) {
    orders.arm();
    WRITING[nth].1(&mut writer);
    crash::disarm();
}

fn read((orders, mut reader, nth): (Orders, Reader, usize)) {
    orders.arm();
    READING[nth].1(&mut reader);
    crash::disarm();
}

const WRITING: [(&str, Writing); 3] = [
    ("pipe write", |writer| assert_eq!(writer.try_write(&bytes(PASSED, PIECE)).unwrap(), PIECE)),
    ("pipe reserve and commit", |writer| {
        let mut room = writer.try_reserve(PIECE).unwrap();
        let count = room.len();
        room.copy_from_slice(&bytes(PASSED, count));
        room.commit(count);
    }),
    ("pipe grow and write", |writer| {
        writer.grow(2 * CAPACITY).unwrap();
        assert_eq!(writer.try_write(&bytes(PASSED, PIECE)).unwrap(), PIECE);
    }),
];

const READING: [(&str, Reading); 2] = [
    ("pipe read", |reader| {
        let mut found = vec![0; PIECE];
        assert_eq!(reader.try_read(&mut found).unwrap(), PIECE);
        check(PASSED, &found);
    }),
    ("pipe fill_buf and consume", |reader| {
        let there = reader.fill_buf().unwrap();
        check(PASSED, there);
        let count = there.len();
        reader.consume(count);
    }),
];

/// A stopped process is not dead: it is not reaped, and its end is not to be had.
fn expect_alive(outcome: Result<(), Error>, victim: &JoinHandle<()>) {
    match outcome {
        Err(Error::RoleTaken { pid, .. }) => assert_eq!(pid, victim.pid()),
        other => panic!("{other:?}"),
    }
}

/// A writer stopped: how many bytes were there. `None` if it came through. The flag says whether it is killed then.
fn stopped_writer(orders: &Orders, nth: usize, killed: bool) -> Option<usize> {
    let (writer, mut reader) = pipe_after(Settings::new(CAPACITY).up_to(2 * CAPACITY), PASSED);
    let place = place(&writer);
    let victim = spawn(write, (orders.clone(), writer, nth)).unwrap();
    let stopped = wait_for_stop(&victim);
    let mut there = 0;
    if stopped {
        there = drain(&mut reader, PASSED);
        assert_eq!(reader.try_read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(reader.read_timeout(&mut [0], SOON).unwrap_err().kind(), ErrorKind::TimedOut);
        expect_alive(Writer::claim(place.segment()).map(drop), &victim);
    }
    if stopped && killed {
        victim.kill().unwrap();
        assert!(!came_through(victim));
    } else {
        go_on(&victim);
        victim.join().unwrap();
    }
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    check(PASSED + there, &rest);
    assert!(!killed || !stopped || rest.is_empty(), "what was not there when it was stopped was never written");
    stopped.then_some(there)
}

/// A reader stopped: how many bytes it had read. `None` if it came through.
fn stopped_reader(orders: &Orders, nth: usize, killed: bool) -> Option<usize> {
    let (mut writer, reader) = pipe_after(Settings::new(CAPACITY), PASSED);
    let mut end = PASSED + writer.try_write(&bytes(PASSED, PIECE)).unwrap();
    let victim = spawn(read, (orders.clone(), reader, nth)).unwrap();
    let stopped = wait_for_stop(&victim);
    let mut taken = 0;
    if stopped {
        end += writer.try_write(&bytes(end, 2 * CAPACITY)).unwrap();
        assert_eq!(writer.try_write(&[0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(writer.write_timeout(&[0], SOON).unwrap_err().kind(), ErrorKind::TimedOut);
        expect_alive(Reader::claim(writer.segment()).map(drop), &victim);
        taken = end - PASSED - CAPACITY;
    }
    if stopped && killed {
        victim.kill().unwrap();
        assert!(!came_through(victim));
        assert_eq!(writer.write_timeout(&[0], NEVER).unwrap_err().kind(), ErrorKind::BrokenPipe);
        // The next one finds all that the dead one had not read.
        let mut reader = Reader::claim(writer.segment()).expect("the last one is dead");
        assert_eq!(drain(&mut reader, PASSED + taken), CAPACITY);
    } else {
        go_on(&victim);
        victim.join().unwrap();
    }
    stopped.then_some(taken)
}

/// Stops a victim at every site: before one store nothing has happened, after it all.
fn stop_at_every_site(name: &str, nth: usize, stopped: fn(&Orders, usize, bool) -> Option<usize>) {
    let outcomes = stopped_at_every_site(name, 1, |orders| {
        let done = stopped(orders, nth, false)?;
        assert_eq!(stopped(orders, nth, true), Some(done), "{name}: the same each time");
        Some(done)
    });
    let all = outcomes.last().map_or(0, |(_, done)| *done);
    let before = outcomes.iter().filter(|(_, done)| *done == 0).count();
    println!("{name:42} {:5} {before:20} {:7}", outcomes.len(), outcomes.len() - before);
    assert!(all > 0 && outcomes.iter().all(|(_, done)| [0, all].contains(done)), "{name}: in one step");
    assert!(outcomes.is_sorted_by_key(|(_, done)| *done), "{name}");
    let store = &outcomes[before - 1].0;
    println!("      from {store} on");
    assert!(store.starts_with("ring/") && store.ends_with(" store"), "{name}: happened at {store}");
}

pub(crate) fn all() {
    println!("{:42} {:>5} {:>20} {:>7}", "stopped in", "sites", "before it happened", "after");
    for (nth, (name, _)) in WRITING.iter().enumerate() {
        stop_at_every_site(name, nth, stopped_writer);
    }
    for (nth, (name, _)) in READING.iter().enumerate() {
        stop_at_every_site(name, nth, stopped_reader);
    }
}
