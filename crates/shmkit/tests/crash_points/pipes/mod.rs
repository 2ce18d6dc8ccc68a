//! The byte stream and messages over it: writers and readers are killed, and stopped, at every site of their operations, and so are those who take over.

mod claims;
mod messages;
mod readers;
pub(crate) mod stops;
mod writers;

use crate::harness::{Orders, at_every_site, came_through};
use shmkit::pipe::{Family, Pipe, Reader, Settings, Writer, pipe_with};
use shmkit::process::spawn;
use shmkit::segment::{Object, Role, Segment, crash};
use shmkit::sync::{Select, Watch};
use std::io::{ErrorKind, Read, Write};

pub(crate) fn all() {
    writers::all();
    readers::all();
    claims::all();
    messages::all();
    watchers();
}

/// A handle of a pipe's segment in a role that pipes do not use.
type Place = Role<Pipe<Family>>;

/// The byte at `position` of every stream here.
fn byte(position: usize) -> u8 {
    (position * 31 % 251) as u8
}

/// The bytes of the stream from `position` on.
fn bytes(position: usize, count: usize) -> Vec<u8> {
    (position..position + count).map(byte).collect()
}

/// That `found` are the bytes of the stream from `position` on.
fn check(position: usize, found: &[u8]) {
    let wrong = found.iter().enumerate().position(|(index, &byte)| byte != self::byte(position + index));
    assert!(wrong.is_none(), "{} bytes from {position} on: the one at {} is wrong", found.len(), wrong.unwrap_or(0));
}

/// A pipe that has `passed` bytes behind it, so that what comes next goes round the ring.
fn pipe_after(settings: Settings, passed: usize) -> (Writer, Reader) {
    let (mut writer, mut reader) = pipe_with(settings).unwrap();
    let bytes = bytes(0, passed);
    assert_eq!(writer.try_write(&bytes).unwrap(), passed);
    reader.read_exact(&mut vec![0; passed]).unwrap();
    (writer, reader)
}

/// A place in the segment of a pipe, for who is to claim an end.
fn place(writer: &Writer) -> Place {
    writer.segment().role(3)
}

/// Waits as one does beside other things.
fn wait_for(watch: Watch) {
    let mut select = Select::new();
    select.add(watch);
    select.wait();
}

/// Reads what there is, from `position` on, and says how much it was. Nobody writes meanwhile.
fn drain(reader: &mut Reader, position: usize) -> usize {
    let (mut found, mut buffer) = (Vec::new(), vec![0; 5_000]);
    loop {
        match reader.try_read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => found.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    check(position, &found);
    found.len()
}

/// Who only looks, by the watch of an end, and finds something each time. (The first look is not counted: it may be followed by one after the peers.)
fn watchers() {
    fn look(orders: &Orders, watch: Watch) {
        let mut select = Select::new();
        select.add(watch);
        select.wait();
        orders.arm();
        select.wait();
        crash::disarm();
    }
    at_every_site("writer that looks for room", |orders| {
        let (writer, mut reader) = pipe_after(Settings::new(4096), 1_000);
        let watch = |(orders, writer): (Orders, Writer)| look(&orders, writer.watch());
        let done = came_through(spawn(watch, (orders.clone(), writer)).unwrap());
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
        expect_alone(reader.segment());
        done
    });
    at_every_site("reader that looks for bytes", |orders| {
        let (mut writer, reader) = pipe_after(Settings::new(4096), 1_000);
        writer.write_all(&bytes(1_000, 500)).unwrap();
        let watch = |(orders, reader): (Orders, Reader)| look(&orders, reader.watch());
        let done = came_through(spawn(watch, (orders.clone(), reader)).unwrap());
        let mut next = Reader::claim(writer.segment()).expect("the last one is dead");
        assert_eq!(drain(&mut next, 1_000), 500);
        expect_alone(writer.segment());
        done
    });
}

/// That of the other processes nothing is left in the segment.
fn expect_alone<O: Object>(segment: &Segment<O>) {
    segment.reap_dead();
    assert_eq!(segment.peer_count(), 1);
}
