//! The byte stream and messages over it, explored by loom: every interleaving within the bound, under weak memory, on the code that ships.
//!
//! `ci/loom` runs this, in both configurations (see `primitive`). Each byte of the ring is a cell of loom's, so that two accesses that nothing orders are
//! reported, and a thread that would sleep for ever is reported as a deadlock.
#![cfg(loom)]

use loom::thread;
use shmkit_pipe::{Reader, RecvError, SendError, Settings, Writer, private, private_at, private_duplex};
use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::sync::Arc;

fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    // The shadow doubles the accesses, and one preemption less keeps the time.
    builder.preemption_bound = Some(if cfg!(loom_shadow) { preemptions - 1 } else { preemptions });
    builder.max_branches = 20_000;
    builder.check(model);
}

/// All bytes until the end of the stream, read `size` at a time at most.
fn read_all(reader: &mut Reader, size: usize) -> Vec<u8> {
    let (mut got, mut buffer) = (Vec::new(), vec![0; size]);
    loop {
        match reader.read(&mut buffer).unwrap() {
            0 => return got,
            count => got.extend_from_slice(&buffer[..count]),
        }
    }
}

/// The writer sleeps until there is room for each byte but the first, and the reader until there is one.
#[test]
fn bytes_go_one_by_one_through_a_ring_of_one() {
    explore(3, || {
        let (mut writer, mut reader) = private(1).unwrap();
        let thread = thread::spawn(move || writer.write_all(&[1, 2, 3]).unwrap());
        assert_eq!(read_all(&mut reader, 2), [1, 2, 3]);
        thread.join().unwrap();
    });
}

#[test]
fn bytes_arrive_in_order_whatever_the_pieces() {
    explore(3, || {
        let (mut writer, mut reader) = private(2).unwrap();
        let thread = thread::spawn(move || {
            writer.write_all(&[1]).unwrap();
            writer.write_all(&[2, 3]).unwrap();
        });
        assert_eq!(read_all(&mut reader, 2), [1, 2, 3]);
        thread.join().unwrap();
    });
}

#[test]
fn positions_go_round() {
    explore(2, || {
        let (mut writer, mut reader) = private_at(2, u64::MAX - 1).unwrap();
        let thread = thread::spawn(move || writer.write_all(&[1, 2, 3, 4]).unwrap());
        assert_eq!(read_all(&mut reader, 3), [1, 2, 3, 4]);
        thread.join().unwrap();
    });
}

#[test]
fn slices_are_one_after_the_other() {
    explore(2, || {
        let (mut writer, mut reader) = private(4).unwrap();
        let thread = thread::spawn(move || {
            let written = writer.write_vectored(&[IoSlice::new(&[1]), IoSlice::new(&[2, 3])]).unwrap();
            assert_eq!(written, 3);
        });
        let mut got: Vec<u8> = Vec::new();
        let (mut first, mut second) = ([0; 1], [0; 2]);
        loop {
            let count = reader.read_vectored(&mut [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)]).unwrap();
            if count == 0 {
                break;
            }
            got.extend(first.iter().chain(&second).take(count));
        }
        assert_eq!(got, [1, 2, 3]);
        thread.join().unwrap();
    });
}

/// A reader that does not wait may look between the last byte and the writer's leaving, and at any other time.
#[test]
fn the_end_is_not_told_before_the_last_byte() {
    explore(3, || {
        let (mut writer, mut reader) = private(2).unwrap();
        let thread = thread::spawn(move || writer.try_write(&[7]).unwrap());
        let mut byte = [0];
        let mut got = Vec::new();
        for _ in 0..2 {
            match reader.try_read(&mut byte) {
                Ok(0) => assert_eq!(got, [7], "the end came first"),
                Ok(_) => got.push(byte[0]),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        thread.join().unwrap();
        got.extend(read_all(&mut reader, 1));
        assert_eq!(got, [7]);
    });
}

#[test]
fn a_reader_that_sleeps_is_woken_by_the_end() {
    explore(3, || {
        let (writer, mut reader) = private(1).unwrap();
        let thread = thread::spawn(move || drop(writer));
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
        thread.join().unwrap();
    });
}

#[test]
fn a_writer_that_sleeps_learns_that_the_reader_left() {
    explore(3, || {
        let (mut writer, mut reader) = private(1).unwrap();
        let thread = thread::spawn(move || {
            let mut byte = [0];
            assert_eq!((reader.read(&mut byte).unwrap(), byte), (1, [1]));
        });
        let mut written = 0;
        let error = loop {
            match writer.write(&[written as u8 + 1]) {
                Ok(count) => written += count,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        assert!((1..=2).contains(&written), "{written} bytes went into a pipe of one, of which one was read");
        thread.join().unwrap();
    });
}

#[test]
fn a_pipe_grows_while_it_is_read() {
    explore(3, || {
        let (mut writer, mut reader) = private(Settings::new(1).up_to(2)).unwrap();
        let thread = thread::spawn(move || {
            writer.write_all(&[1]).unwrap();
            writer.grow(2).unwrap();
            writer.write_all(&[2, 3, 4]).unwrap();
            assert_eq!(writer.capacity(), 2);
        });
        assert_eq!(read_all(&mut reader, 3), [1, 2, 3, 4]);
        thread.join().unwrap();
    });
}

/// Twice before anybody looks, once over an area that is never used, and where positions go round.
#[test]
fn a_pipe_that_has_grown_twice_is_read_from_area_to_area() {
    explore(2, || {
        let (mut writer, mut reader) = private_at(Settings::new(1).up_to(8), u64::MAX - 2).unwrap();
        let thread = thread::spawn(move || {
            writer.write_all(&[1]).unwrap();
            writer.grow(2).unwrap();
            writer.write_all(&[2]).unwrap();
            writer.grow(8).unwrap();
            writer.write_all(&[3, 4]).unwrap();
        });
        assert_eq!(read_all(&mut reader, 4), [1, 2, 3, 4]);
        thread.join().unwrap();
    });
}

/// A reader leaves as soon as it has got to the second area, or before that, and the next one goes on there.
#[test]
fn a_reader_that_takes_over_finds_the_area() {
    explore(2, || {
        let (mut writer, mut reader) = private(Settings::new(1).up_to(4)).unwrap();
        let segment = Arc::clone(writer.segment());
        let thread = thread::spawn(move || {
            writer.write_all(&[1]).unwrap();
            writer.grow(4).unwrap();
            writer.write_all(&[2, 3]).unwrap();
            writer
        });
        let (mut got, mut byte) = (Vec::new(), [0]);
        for _ in 0..2 {
            reader.read_exact(&mut byte).unwrap();
            got.push(byte[0]);
        }
        drop(reader);
        let mut reader = Reader::claim(&segment).unwrap();
        drop(thread.join());
        got.extend(read_all(&mut reader, 2));
        assert_eq!(got, [1, 2, 3]);
    });
}

/// What the last holder did is seen by the next, although nothing but the side's word passes between them.
#[test]
fn a_writing_end_that_was_left_is_claimed_by_exactly_one() {
    explore(2, || {
        let (mut writer, mut reader) = private(Settings::new(2).up_to(4)).unwrap();
        let segment = Arc::clone(writer.segment());
        let other = segment.join().unwrap();
        let thread = thread::spawn(move || {
            let mut claimed = Writer::claim(&other).ok();
            claimed.iter_mut().for_each(|writer| assert_eq!(writer.try_write(&[2]).unwrap(), 1));
            (claimed, other)
        });
        writer.grow(4).unwrap();
        assert_eq!(writer.try_write(&[1]).unwrap(), 1);
        drop(writer);
        let mut claimed = Writer::claim(&segment).ok();
        claimed.iter_mut().for_each(|writer| assert_eq!(writer.try_write(&[3]).unwrap(), 1));
        let (others, _other) = thread.join().unwrap();
        let mut got = [0; 3];
        let count = reader.try_read(&mut got).unwrap();
        assert_eq!(got[..count], [1, if claimed.is_some() { 3 } else { 2 }]);
        assert!(others.is_some() != claimed.is_some());
    });
}

#[test]
fn a_reading_end_that_was_left_is_claimed_by_exactly_one() {
    explore(2, || {
        let (mut writer, mut reader) = private(4).unwrap();
        let segment = Arc::clone(writer.segment());
        let other = segment.join().unwrap();
        assert_eq!(writer.write(&[1, 2, 3]).unwrap(), 3);
        let next = |reader: &mut Reader| {
            let mut byte = [0];
            assert_eq!(reader.try_read(&mut byte).unwrap(), 1);
            byte[0]
        };
        let thread = thread::spawn(move || {
            let mut claimed = Reader::claim(&other).ok();
            let got = claimed.as_mut().map(next);
            (claimed, got, other)
        });
        assert_eq!(next(&mut reader), 1);
        drop(reader);
        let mut claimed = Reader::claim(&segment).ok();
        let mine = claimed.as_mut().map(next);
        let (_theirs, others, _other) = thread.join().unwrap();
        assert!([mine, others].contains(&Some(2)) && [mine, others].contains(&None), "{mine:?} {others:?}");
    });
}

/// Each end sends one message, which the other one receives, and one learns that nobody is there any more. (Who waits for room sleeps on two words, of which loom has no
/// model: `models/several.py` has.)
#[test]
fn messages_both_ways_are_whole_and_then_end() {
    explore(3, || {
        let (mut here, mut there) = private_duplex(256).unwrap();
        let thread = thread::spawn(move || {
            there.send_bytes(&[1, 2]).unwrap();
            assert_eq!(there.recv_bytes().unwrap(), [3, 4, 5]);
        });
        here.send_bytes(&[3, 4, 5]).unwrap();
        assert_eq!(here.recv_bytes().unwrap(), [1, 2]);
        assert!(matches!(here.recv_bytes(), Err(RecvError::Disconnected)));
        thread.join().unwrap();
    });
}

/// The receiver may come between any two of its parts.
#[test]
fn a_message_in_parts_is_received_whole() {
    explore(3, || {
        let (mut here, mut there) = private_duplex(256).unwrap();
        let long: Vec<u8> = (0..100).collect();
        let sent = long.clone();
        let thread = thread::spawn(move || {
            there.send_bytes(&sent).unwrap();
            there.send_bytes(&[7]).unwrap();
        });
        assert_eq!(here.recv_bytes().unwrap(), long);
        assert_eq!(here.recv_bytes().unwrap(), [7]);
        assert!(matches!(here.recv_bytes(), Err(RecvError::Disconnected)));
        thread.join().unwrap();
    });
}

#[test]
fn who_sends_learns_that_the_other_end_left() {
    explore(3, || {
        let (mut here, there) = private_duplex(256).unwrap();
        let thread = thread::spawn(move || drop(there));
        let mut buffer = [0; 4];
        let outcome = here.try_send_bytes(&[7; 4]);
        assert!(matches!(outcome, Ok(()) | Err(SendError::Disconnected)), "{outcome:?}");
        assert!(matches!(here.recv_bytes_into(&mut buffer), Err(RecvError::Disconnected)));
        assert!(matches!(here.try_send_bytes(&[7; 4]), Err(SendError::Disconnected)));
        thread.join().unwrap();
    });
}
