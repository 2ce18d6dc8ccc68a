//! A child made by `fork` has no part in its parent's pipes: its ends say so, and what it tries does not reach anybody.
#![cfg(not(any(loom, feature = "portable")))]

mod content;
#[path = "../../segment/tests/forked/mod.rs"]
mod forked;
#[path = "../../segment/tests/harness/mod.rs"]
mod harness;

use content::{bytes, check};
use forked::{end_after, fork};
use harness::alone;
use shmkit_pipe::{Error, Reader, Settings, Trust, Writer, pipe_for_strangers, pipe_with, private};
use shmkit_process::spawn;
use shmkit_segment::transfer;
use std::cell::RefCell;
use std::fmt::Debug;
use std::io::{self, BufRead, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(1000);

fn growing() -> Settings {
    Settings::new(64).up_to(256)
}

#[track_caller]
fn is_the_parents<R: Debug>(outcome: io::Result<R>) {
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Other);
    assert!(error.to_string().contains("fork"), "{error}");
}

fn cannot_be_sent(end: &impl serde::Serialize) {
    let (bytes, descriptors) = transfer::sending(|| postcard::to_stdvec(end));
    assert!(bytes.is_err() && descriptors.is_err());
}

fn try_all<T: Trust>(writer: &mut Writer<T>, reader: &mut Reader<T>) {
    let far = Instant::now() + LONG;
    is_the_parents(writer.write(b"x"));
    is_the_parents(writer.try_write(b"x"));
    is_the_parents(writer.write_timeout(b"x", LONG));
    is_the_parents(writer.write_deadline(b"x", far));
    is_the_parents(writer.write_vectored(&[IoSlice::new(b"x")]));
    is_the_parents(writer.copy_from(std::fs::File::open("/dev/zero").unwrap(), 9));
    is_the_parents(reader.read(&mut [0]));
    is_the_parents(reader.try_read(&mut [0]));
    is_the_parents(reader.read_timeout(&mut [0], LONG));
    is_the_parents(reader.read_deadline(&mut [0], far));
    is_the_parents(reader.read_vectored(&mut [IoSliceMut::new(&mut [0])]));
    is_the_parents(reader.copy_to(io::stderr(), 9));
    assert!(matches!(writer.grow(128), Err(Error::Forked)));
    assert!(matches!(Writer::claim(writer.segment()), Err(Error::Forked)));
    assert!(matches!(Reader::claim(writer.segment()), Err(Error::Forked)));
    // Whoever waits for it is told at once.
    assert!(writer.watch().is_met() && reader.watch().is_met());
    cannot_be_sent(writer);
    cannot_be_sent(reader);
    let _shown = (format!("{writer:?}, {reader:?}"), writer.capacity());
}

/// What a fork of this process makes of its ends, and what this one has of them afterwards.
fn belongs_to_the_parent<T: Trust>(make: fn() -> (Writer<T>, Reader<T>), more: fn(&mut Writer<T>, &mut Reader<T>)) {
    // Before anything has passed and later; with the reader behind, and not.
    for (passed, waiting) in [(0, 0), (0, 5), (0, 64), (1_000, 0), (1_000, 64)] {
        let (mut writer, mut reader) = make();
        for position in 0..passed {
            writer.write_all(&bytes(position, 1)).unwrap();
            reader.read_exact(&mut [0]).unwrap();
        }
        writer.write_all(&bytes(passed, waiting)).unwrap();
        let ends = RefCell::new(Some((writer, reader)));
        fork(|| {
            let (mut writer, mut reader) = ends.take().unwrap();
            for _ in 0..3 {
                try_all(&mut writer, &mut reader);
                more(&mut writer, &mut reader);
            }
        })
        .join();
        let (mut writer, mut reader) = ends.take().unwrap();
        let mut found = [0; 100];
        assert_eq!(reader.try_read(&mut found).unwrap_or(0), waiting);
        check(passed, &found[..waiting]);
        writer.write_all(b"last").unwrap();
        drop(writer);
        assert_eq!(
            (reader.read(&mut found).unwrap(), &found[..4], reader.read(&mut [0]).unwrap()),
            (4, &b"last"[..], 0)
        );
    }
}

#[test]
fn the_ends_of_a_pipe_belong_to_the_parent() {
    alone(|()| {
        end_after(100);
        belongs_to_the_parent(
            || pipe_with(growing()).unwrap(),
            |writer, reader| {
                for most in [0, 9] {
                    is_the_parents(writer.try_reserve(most).map(drop));
                    is_the_parents(writer.reserve(most).map(drop));
                    is_the_parents(writer.reserve_timeout(most, LONG).map(drop));
                    is_the_parents(writer.reserve_deadline(most, Instant::now() + LONG).map(drop));
                }
                is_the_parents(reader.fill_buf().map(<[u8]>::len));
                reader.consume(0);
            },
        );
        belongs_to_the_parent(|| pipe_for_strangers(growing()).unwrap(), |_, _| {});
    });
}

#[test]
fn what_was_reserved_and_shown_before_a_fork_is_committed_and_consumed_by_the_parent_alone() {
    alone(|()| {
        end_after(100);
        let (mut writer, mut reader) = pipe_with(growing()).unwrap();
        writer.write_all(b"before, ").unwrap();
        assert_eq!(reader.fill_buf().unwrap(), b"before, ");
        let mut room = writer.reserve(5).unwrap();
        room.copy_from_slice(b"after");
        let in_hand = RefCell::new(Some((room, reader)));
        fork(|| {
            let (mut room, mut reader) = in_hand.take().unwrap();
            room.fill(b'!');
            room.commit(5);
            reader.consume(8);
        })
        .join();
        let (room, mut reader) = in_hand.take().unwrap();
        assert_eq!(reader.fill_buf().unwrap(), b"before, ");
        assert_eq!(&room[..], b"after");
        room.commit(5);
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "before, after");
    });
}

#[test]
fn a_fork_has_a_copy_of_a_private_pipe_as_of_all_memory() {
    alone(|()| {
        end_after(100);
        let (mut writer, mut reader) = private(64).unwrap();
        writer.write_all(b"one").unwrap();
        let ends = RefCell::new(Some((writer, reader)));
        fork(|| {
            let (mut writer, mut reader) = ends.take().unwrap();
            writer.write_all(b"two").unwrap();
            assert_eq!(reader.fill_buf().unwrap(), b"onetwo");
        })
        .join();
        (writer, reader) = ends.take().unwrap();
        drop(writer);
        assert_eq!((reader.read(&mut [0; 9]).unwrap(), reader.read(&mut [0; 9]).unwrap()), (3, 0));
    });
}

#[test]
fn a_fork_can_have_pipes_of_its_own_and_use_them_with_processes_that_it_starts() {
    alone(|()| {
        end_after(100);
        let (mut writer, mut reader) = pipe_with(64).unwrap();
        fork(|| {
            let (writer, mut reader) = pipe_with(64).unwrap();
            let child = spawn(|mut writer: Writer| writer.write_all(&bytes(0, 1_000)).unwrap(), writer).unwrap();
            let mut found = Vec::new();
            reader.read_to_end(&mut found).unwrap();
            assert_eq!(found, bytes(0, 1_000));
            child.join().unwrap();
        })
        .join();
        writer.write_all(b"x").unwrap();
        assert_eq!(reader.read(&mut [0; 9]).unwrap(), 1);
    });
}
