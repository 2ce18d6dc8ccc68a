//! The second kill: who takes an end over from a dead one is killed too, at every site, and so is who reaps.

use super::{Place, bytes, check, drain, expect_alone, pipe_after, place};
use crate::harness::{Ledger, Orders, at_every_site, came_through};
use shmkit::pipe::{Pipe, Reader, Settings, Stranger, Writer};
use shmkit::process::spawn;
use shmkit::segment::{Configuration, Options, crash, remove};
use std::io::Read;

const PIECE: usize = 1_500;
const CAPACITY: usize = 8192;

/// Grows the pipe, writes a piece, and notes the position behind it.
fn grow_and_write(mut writer: Writer, position: usize, mut ledger: Ledger) {
    writer.grow(CAPACITY).expect("it was made to grow");
    assert_eq!(writer.try_write(&bytes(position, PIECE)).expect("the parent reads"), PIECE);
    crash::disarm();
    ledger.note((position + PIECE) as u64);
}

fn write((orders, writer, position): (Orders, Writer, usize)) {
    let ledger = orders.arm();
    grow_and_write(writer, position, ledger);
}

/// Claims the writing end, to go on with it at `position`.
fn claim_and_write((orders, place, position): (Orders, Place, usize)) {
    let ledger = orders.arm();
    grow_and_write(Writer::claim(place.segment()).expect("the last one is dead"), position, ledger);
}

/// A writer at each site, and over its death another one at each site; the reader and a third writer find a stream without a gap.
fn writers() {
    let settings = Settings::new(2048).up_to(CAPACITY);
    at_every_site("writer that grows its pipe, then its successor at every site", |orders| {
        let mut all_done = false;
        at_every_site("  successor", |second_orders| {
            orders.forget();
            let (writer, mut reader) = pipe_after(settings, 1_000);
            let place = place(&writer);
            all_done = came_through(spawn(write, (orders.clone(), writer, 1_000)).unwrap());
            let first = 1_000 + drain(&mut reader, 1_000);
            assert!(first >= known(orders, 1_000), "what was written is lost");
            let second_done = came_through(spawn(claim_and_write, (second_orders.clone(), place, first)).unwrap());
            let second = first + drain(&mut reader, first);
            assert!(second >= known(second_orders, first), "what was written is lost");
            let mut writer = Writer::claim(reader.segment()).expect("the last one is dead");
            writer.grow(CAPACITY).unwrap();
            assert_eq!(writer.try_write(&bytes(second, CAPACITY)).unwrap(), CAPACITY);
            assert_eq!(drain(&mut reader, second), CAPACITY);
            expect_alone(reader.segment());
            second_done
        });
        all_done
    });
}

/// The position that a victim knows to have got to.
fn known(orders: &Orders, position: usize) -> usize {
    orders.ledger().last().map_or(position, |&known| known as usize)
}

fn read((orders, mut reader): (Orders, Reader)) {
    let mut found = vec![0; PIECE];
    let mut ledger = orders.arm();
    reader.read_exact(&mut found).expect("there are more");
    crash::disarm();
    check(1_000, &found);
    ledger.note((1_000 + PIECE) as u64);
}

/// Claims the reading end, and reads on to `position`.
fn claim_and_read((orders, place, position): (Orders, Place, usize)) {
    let mut found = Vec::new();
    let mut ledger = orders.arm();
    let mut reader = Reader::claim(place.segment()).expect("the last one is dead");
    let mut buffer = [0; 700];
    while let Ok(count @ 1..) = reader.try_read(&mut buffer) {
        found.extend_from_slice(&buffer[..count]);
    }
    crash::disarm();
    check(position - found.len(), &found);
    ledger.note(position as u64);
}

/// The same for readers, of a pipe that has grown.
fn readers() {
    let settings = Settings::new(1024).up_to(CAPACITY);
    at_every_site("reader of a pipe that has grown, then its successor at every site", |orders| {
        let mut all_done = false;
        at_every_site("  successor", |second_orders| {
            orders.forget();
            let (mut writer, reader) = pipe_after(settings, 1_000);
            let mut end = 1_000;
            for (capacity, count) in [(1024, 1_000), (2048, 1_500), (CAPACITY, 2_000)] {
                writer.grow(capacity).unwrap();
                end += writer.try_write(&bytes(end, count)).unwrap();
            }
            assert_eq!(end, 5_500);
            all_done = came_through(spawn(read, (orders.clone(), reader)).unwrap());
            let place = place(&writer);
            let second_done = came_through(spawn(claim_and_read, (second_orders.clone(), place, end)).unwrap());
            let mut reader = Reader::claim(writer.segment()).expect("the last one is dead");
            assert_eq!(writer.try_write(&bytes(end, 100)).unwrap(), 100);
            drop(writer);
            let mut found = Vec::new();
            reader.read_to_end(&mut found).unwrap();
            let from = end + 100 - found.len();
            check(from, &found);
            assert!(from <= end && (!second_done || from == end));
            assert!(from >= known(orders, 1_000), "what was read comes again");
            expect_alone(reader.segment());
            second_done
        });
        all_done
    });
}

/// Whoever reaps a dead writer is killed over it, and the reader comes to the end all the same.
fn reapers() {
    fn reap((orders, place): (Orders, Place)) {
        orders.arm();
        place.segment().reap_dead();
        crash::disarm();
    }
    fn die(writer: Writer) {
        std::mem::forget(writer);
        crash::arm(1, crate::harness::SIGKILL, tempfile::tempfile().expect("a temporary file"));
        crash::site("the end of a writer");
    }
    at_every_site("reaper of a writer", |orders| {
        let (mut writer, mut reader) = pipe_after(Settings::new(4096), 1_000);
        assert_eq!(writer.try_write(&bytes(1_000, 500)).unwrap(), 500);
        let place = place(&writer);
        assert!(!came_through(spawn(die, writer).unwrap()));
        let done = came_through(spawn(reap, (orders.clone(), place)).unwrap());
        let mut found = Vec::new();
        reader.read_to_end(&mut found).unwrap();
        assert!(found == bytes(1_000, 500));
        expect_alone(reader.segment());
        done
    });
}

/// Strangers that meet by a name, and claim their ends.
fn strangers() {
    fn write((orders, name): (Orders, String)) {
        let mut ledger = orders.arm();
        let segment = Options::new().name(&*name).open::<Pipe<Stranger>>().expect("it is there");
        let mut writer = Writer::claim(&segment).expect("nobody has it");
        assert_eq!(writer.try_write(&bytes(0, PIECE)).expect("the pipe is new"), PIECE);
        ledger.note(PIECE as u64);
        crash::disarm();
    }
    at_every_site("stranger that opens a pipe and writes", |orders| {
        let name = format!("crash-pipe-{}", std::process::id());
        let segment = Options::new().name(&*name).create::<Pipe<Stranger>>(Settings::new(4096).into()).unwrap();
        let mut reader = Reader::claim(&segment).unwrap();
        let done = came_through(spawn(write, (orders.clone(), name.clone())).unwrap());
        // Before a first writer has come there is no end.
        let mut next = Writer::claim(&segment).expect("the last one is dead");
        next.try_write(&[99]).unwrap();
        drop(next);
        let mut found = Vec::new();
        reader.read_to_end(&mut found).unwrap();
        assert_eq!(found.pop(), Some(99));
        check(0, &found);
        assert!([0, PIECE].contains(&found.len()) && found.len() >= known(orders, 0));
        remove(&name).unwrap();
        done
    });
}

/// One that creates a pipe which can grow, in a file of its own: it is there whole, or not at all.
fn creators() {
    fn settings() -> Configuration {
        Settings::new(2048).up_to(CAPACITY).into()
    }
    fn create_and_write((orders, name): (Orders, String)) {
        let mut ledger = orders.arm();
        let segment = Options::new().name(&*name).open_or_create::<Pipe<Stranger>>(settings()).expect("a pipe");
        let mut writer = Writer::claim(&segment).expect("nobody has it");
        writer.grow(CAPACITY).expect("it was made to grow");
        assert_eq!(writer.try_write(&bytes(0, PIECE)).expect("nobody has come to read yet"), PIECE);
        ledger.note(PIECE as u64);
        crash::disarm();
    }
    at_every_site("stranger that creates a pipe that can grow", |orders| {
        let name = format!("crash-new-pipe-{}", std::process::id());
        let done = came_through(spawn(create_and_write, (orders.clone(), name.clone())).unwrap());
        let segment = Options::new().name(&*name).open_or_create::<Pipe<Stranger>>(settings()).unwrap();
        let mut writer = Writer::claim(&segment).expect("the last one is dead");
        writer.grow(CAPACITY).unwrap();
        assert_eq!(writer.try_write(&[99]).unwrap(), 1);
        drop(writer);
        let mut found = Vec::new();
        Reader::claim(&segment).unwrap().read_to_end(&mut found).unwrap();
        assert_eq!(found.pop(), Some(99));
        check(0, &found);
        assert!([0, PIECE].contains(&found.len()) && found.len() >= known(orders, 0));
        remove(&name).unwrap();
        done
    });
}

pub(crate) fn all() {
    writers();
    readers();
    reapers();
    strangers();
    creators();
}
