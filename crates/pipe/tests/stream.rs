//! The byte stream, between processes.

use shmkit_pipe::{Error, Reader, Writer, pipe};
use shmkit_process::spawn;
use std::io::{ErrorKind, Read, Write};

/// The byte at `position` of the test's stream.
fn byte(position: usize) -> u8 {
    (position * 31 % 251) as u8
}

fn write_in_pieces((mut writer, length): (Writer, usize)) {
    let bytes: Vec<u8> = (0..length).map(byte).collect();
    let mut rest = &bytes[..];
    for piece in (1..).map(|i| i * 7 % 3_000 + 1) {
        if rest.is_empty() {
            return;
        }
        let (now, later) = rest.split_at(piece.min(rest.len()));
        writer.write_all(now).expect("the parent reads");
        rest = later;
    }
}

#[test]
fn bytes_arrive_in_order_whatever_the_pieces() {
    for capacity in [1, 64, 4096] {
        let length = if capacity == 1 { 1_000 } else { 300_000 };
        let (writer, mut reader) = pipe(capacity).unwrap();
        let child = spawn(write_in_pieces, (writer, length)).unwrap();
        let mut received = Vec::new();
        reader.read_to_end(&mut received).unwrap();
        child.join().unwrap();
        assert_eq!(received.len(), length);
        assert!(received.iter().enumerate().all(|(position, &found)| found == byte(position)));
    }
}

#[test]
fn the_writer_learns_that_the_reader_is_gone() {
    let (mut writer, reader) = pipe(64).unwrap();
    let child = spawn(|mut reader: Reader| reader.read(&mut [0; 10]).unwrap(), reader).unwrap();
    let error = writer.write_all(&[1; 1_000]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    assert!(child.join().unwrap() > 0);
}

#[test]
fn the_reader_gets_what_was_written_before_the_writer_was_killed() {
    fn write_and_wait(mut writer: Writer) {
        writer.write_all(b"before").expect("the parent reads");
        loop {
            std::thread::park();
        }
    }
    let (writer, mut reader) = pipe(64).unwrap();
    let child = spawn(write_and_wait, writer).unwrap();
    let mut text = [0; 6];
    reader.read_exact(&mut text).unwrap();
    child.kill().unwrap();
    assert_eq!((&text, reader.read(&mut [0; 1]).unwrap()), (b"before", 0));
    assert!(child.join().is_err());
}

#[test]
fn a_capacity_that_is_no_power_of_two_is_an_error() {
    for capacity in [0, 3, 100] {
        assert!(matches!(pipe(capacity), Err(Error::Geometry(_))));
    }
}
