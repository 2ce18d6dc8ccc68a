//! Any sequence of operations at the two ends of a pipe is the same sequence at a queue of bytes.
//!
//! The first byte of an input says how large the pipe is and whether it can grow, the second how near its positions are to where they go round; each further two are an operation and a number.
//!
//! What must hold: the bytes that come out are those that went in, in order; as many go in as there is room for; as many come out as there are; a view in place shows what is next; and what is
//! larger than the pipe was made for is refused.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use shmkit_pipe::{Error, Reader, Settings, Writer, private_at};
use std::collections::VecDeque;
use std::io::{BufRead, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::time::Duration;

/// What the pipe holds, and how much of it there is room for.
struct Model {
    bytes: VecDeque<u8>,
    capacity: usize,
    most: usize,
    /// How many bytes were written since it has had this capacity.
    since: usize,
    next: u8,
}

impl Model {
    fn room(&self) -> usize {
        self.capacity - self.bytes.len().min(self.since)
    }

    /// The next bytes to write: no two that are a few apart are the same.
    fn fresh(&self, count: usize) -> Vec<u8> {
        (0..count).map(|ahead| self.next.wrapping_add(ahead as u8).wrapping_mul(167)).collect()
    }

    fn wrote(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        self.since += bytes.len();
        self.next = self.next.wrapping_add(bytes.len() as u8);
    }

    fn took(&mut self, bytes: &[u8]) {
        assert!(bytes.iter().eq(self.bytes.range(..bytes.len())), "other bytes came out");
        self.bytes.drain(..bytes.len());
    }
}

fn write(writer: &mut Writer, model: &mut Model, form: u8, count: usize) {
    let bytes = model.fresh(count);
    let expected = count.min(model.room());
    let (first, second) = bytes.split_at(count / 3);
    let result = match form {
        0 => writer.try_write(&bytes),
        1 => writer.write_timeout(&bytes, Duration::ZERO),
        2 if expected > 0 => writer.write_vectored(&[IoSlice::new(first), IoSlice::new(&[]), IoSlice::new(second)]),
        _ if expected > 0 => writer.write(&bytes),
        _ => writer.try_write(&bytes),
    };
    match result {
        Ok(written) => {
            assert_eq!(written, expected);
            model.wrote(&bytes[..written]);
        }
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
            assert!(expected == 0 && count > 0);
        }
    }
}

fn reserve(writer: &mut Writer, model: &mut Model, count: usize) {
    match writer.try_reserve(count) {
        Ok(mut reservation) => {
            let length = reservation.len();
            assert!(length <= count.min(model.room()) && (length > 0 || count == 0));
            let used = length - length / 4;
            let bytes = model.fresh(used);
            reservation[..used].copy_from_slice(&bytes);
            reservation.commit(used);
            model.wrote(&bytes);
        }
        Err(error) => assert!(error.kind() == ErrorKind::WouldBlock && model.room() == 0, "{error}"),
    }
}

fn read(reader: &mut Reader, model: &mut Model, form: u8, count: usize) {
    let mut bytes = vec![0; count];
    let expected = count.min(model.bytes.len());
    let (first, second) = bytes.split_at_mut(count / 3);
    let result = match form {
        0 => reader.try_read(&mut bytes),
        1 => reader.read_timeout(&mut bytes, Duration::ZERO),
        2 if expected > 0 => reader.read_vectored(&mut [IoSliceMut::new(first), IoSliceMut::new(second)]),
        _ if expected > 0 => reader.read(&mut bytes),
        _ => reader.try_read(&mut bytes),
    };
    match result {
        Ok(taken) => {
            assert_eq!(taken, expected);
            model.took(&bytes[..taken]);
        }
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
            assert!(expected == 0 && count > 0);
        }
    }
}

fn look(reader: &mut Reader, model: &mut Model, count: usize) {
    if model.bytes.is_empty() {
        return;
    }
    let bytes = reader.fill_buf().expect("there are some");
    assert!(!bytes.is_empty() && bytes.iter().eq(model.bytes.range(..bytes.len())));
    let used = count.min(bytes.len());
    reader.consume(used);
    model.bytes.drain(..used);
}

fn grow(writer: &mut Writer, model: &mut Model, capacity: usize) {
    match writer.grow(capacity) {
        Ok(()) if capacity > model.capacity => {
            model.capacity = capacity.next_power_of_two();
            model.since = 0;
        }
        Ok(()) => {}
        Err(error) => assert!(matches!(error, Error::Geometry(_)) && capacity > model.most, "{error}"),
    }
    assert_eq!(writer.capacity(), model.capacity);
    assert!(model.capacity <= model.most);
}

fuzz_target!(|input: &[u8]| -> Corpus {
    let [size, position, operations @ ..] = input else { return Corpus::Reject };
    let capacity = 1 << (size % 8);
    let most = capacity << (size / 8 % 5);
    let position = u64::from(*position).wrapping_sub(128);
    let (mut writer, mut reader) = private_at(Settings::new(capacity).up_to(most), position).expect("a small pipe");
    let mut model = Model { bytes: VecDeque::new(), capacity, most, since: 0, next: 0 };
    for operation in operations.chunks_exact(2) {
        let count = usize::from(operation[1]) * if operation[0] & 128 == 0 { 1 } else { 9 };
        match operation[0] % 16 {
            form @ 0..=3 => write(&mut writer, &mut model, form, count),
            4..=6 => reserve(&mut writer, &mut model, count),
            form @ 7..=10 => read(&mut reader, &mut model, form - 7, count),
            11..=13 => look(&mut reader, &mut model, count),
            _ => grow(&mut writer, &mut model, count),
        }
    }
    drop(writer);
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).expect("an end");
    assert!(rest.iter().eq(&model.bytes));
    Corpus::Keep
});
