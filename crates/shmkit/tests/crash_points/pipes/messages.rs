//! Messages over two rings: senders and receivers are killed at every site, of messages that are one frame, of some that go in parts, and of some with a
//! descriptor. A message arrives whole or not at all, and in order; all that were sent whole arrive; and what was opened for one is open nowhere in the end.

use super::{bytes, expect_alone};
use crate::harness::{Orders, at_every_site, at_every_site_often, came_through};
use serde::{Deserialize, Serialize};
use shmkit::pipe::{Connection, Descriptor, RecvError, SendError, duplex_with_capacity};
use shmkit::process::spawn;
use shmkit::segment::crash;
use std::io::{PipeReader, Read, Write};
use std::os::fd::OwnedFd;

/// Bytes of a ring.
const CAPACITY: usize = 1024;
const SMALL: usize = 100;
/// That many go in parts.
const LARGE: usize = 2_500;
const MESSAGES: usize = 2;

/// How messages are sent and received.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Way {
    Bytes(usize),
    Value(usize),
    /// With the writing end of a pipe.
    Descriptor(usize),
}

/// A value with a descriptor in it.
type Letter = (Descriptor, Vec<u8>);

/// Message number `number`, from 0.
fn message(number: usize, length: usize) -> Vec<u8> {
    bytes(number * 1_000, length)
}

impl Way {
    fn send(self, connection: &mut Connection, number: usize, descriptor: &OwnedFd) -> Result<(), SendError> {
        match self {
            Self::Bytes(length) => connection.send_bytes(&message(number, length)),
            Self::Value(length) => connection.send(&message(number, length)),
            Self::Descriptor(length) => {
                let descriptor = descriptor.try_clone().expect("a descriptor");
                connection.send(&(Descriptor(descriptor), message(number, length)))
            }
        }
    }

    /// Receives a message and uses what came with it: its bytes.
    fn recv(self, connection: &mut Connection) -> Result<Vec<u8>, RecvError> {
        match self {
            Self::Bytes(_) => connection.recv_bytes(),
            Self::Value(_) => connection.recv(),
            Self::Descriptor(_) => {
                let (descriptor, bytes): Letter = connection.recv()?;
                std::fs::File::from(descriptor.0).write_all(&[1]).expect("the pipe is open");
                Ok(bytes)
            }
        }
    }

    fn length(self) -> usize {
        let (Self::Bytes(length) | Self::Value(length) | Self::Descriptor(length)) = self;
        length
    }

    /// Whether it is the way of descriptors.
    fn has_descriptor(self) -> bool {
        matches!(self, Self::Descriptor(_))
    }
}

/// All messages that come, which are the ones from number `first` on, until the other side is gone: the number behind the last.
fn recv_all(connection: &mut Connection, way: Way, first: usize) -> usize {
    for number in first.. {
        match way.recv(connection) {
            Ok(found) => assert!(found == message(number, way.length()), "message {number} of {} bytes", found.len()),
            Err(RecvError::Disconnected) => return number,
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!("messages do not go on for ever")
}

fn send((orders, mut connection, way, descriptor): (Orders, Connection, Way, Descriptor)) {
    let mut ledger = orders.arm();
    for number in 0..MESSAGES {
        way.send(&mut connection, number, &descriptor.0).expect("the parent receives");
        ledger.note(number as u64);
    }
    // Leaving is the same for all.
    if way != Way::Bytes(SMALL) {
        crash::disarm();
    }
    drop(connection);
    crash::disarm();
}

/// How many times somebody has written into a pipe that nobody can write to any more: who could must have closed it.
fn count_to_end(mut pipe: PipeReader) -> usize {
    let mut written = Vec::new();
    pipe.read_to_end(&mut written).expect("a pipe");
    written.len()
}

fn sender(name: &str, often: u64, way: Way) {
    at_every_site_often(name, often, |orders| {
        orders.forget();
        let (here, mut there) = duplex_with_capacity(CAPACITY).unwrap();
        let (pipe, descriptor) = std::io::pipe().unwrap();
        let victim = spawn(send, (orders.clone(), here, way, Descriptor::from(descriptor))).unwrap();
        let received = recv_all(&mut there, way, 0);
        let done = came_through(victim);
        let sent = orders.ledger().len();
        assert!(
            [sent, sent + 1].contains(&received) && (!done || sent == MESSAGES),
            "{sent} sent, {received} received"
        );
        assert!(matches!(way.send(&mut there, 0, &std::io::pipe().unwrap().1.into()), Err(SendError::Disconnected)));
        expect_alone(there.segment());
        drop(there);
        assert_eq!(count_to_end(pipe), if way.has_descriptor() { received } else { 0 });
        done
    });
}

fn recv((orders, mut connection, way): (Orders, Connection, Way)) {
    let mut ledger = orders.arm();
    for number in 0..MESSAGES {
        let found = way.recv(&mut connection).expect("the parent sends");
        assert!(found == message(number, way.length()), "message {number}");
        ledger.note(number as u64);
    }
    if way != Way::Bytes(SMALL) {
        crash::disarm();
    }
    drop(connection);
    crash::disarm();
}

/// The sender sends until the other side is gone, which happens once there is no more room at the latest.
fn receiver(name: &str, way: Way) {
    at_every_site_often(name, 3, |orders| {
        orders.forget();
        let (mut here, there) = duplex_with_capacity(CAPACITY).unwrap();
        let (pipe, descriptor) = std::io::pipe().unwrap();
        let descriptor = OwnedFd::from(descriptor);
        let victim = spawn(recv, (orders.clone(), there, way)).unwrap();
        let error = (0..).find_map(|number| way.send(&mut here, number, &descriptor).err());
        assert!(matches!(error, Some(SendError::Disconnected)), "{error:?}");
        let done = came_through(victim);
        let received = orders.ledger().len();
        assert!(!done || received == MESSAGES);
        assert!(matches!(here.recv_bytes(), Err(RecvError::Disconnected)));
        expect_alone(here.segment());
        drop((here, descriptor));
        if way.has_descriptor() {
            // Those that were under way were closed with the socket.
            let used = count_to_end(pipe);
            assert!([received, received + 1].contains(&used), "{received} received, {used} used");
        }
        done
    });
}

/// Both send more than the rings hold before they receive: the victim takes in what comes while it waits for room.
fn sender_that_makes_way() {
    fn send_and_recv((orders, mut connection): (Orders, Connection)) {
        let mut ledger = orders.arm();
        connection.send_bytes(&message(0, LARGE)).expect("the parent receives");
        ledger.note(0);
        let found = connection.recv_bytes().expect("the parent sends");
        drop(connection);
        crash::disarm();
        assert!(found == message(7, LARGE));
    }
    at_every_site_often("sender that makes way", 3, |orders| {
        orders.forget();
        let (mut here, there) = duplex_with_capacity(CAPACITY).unwrap();
        let victim = spawn(send_and_recv, (orders.clone(), there)).unwrap();
        let outcome = here.send_bytes(&message(7, LARGE));
        assert!(matches!(outcome, Ok(()) | Err(SendError::Disconnected)), "{outcome:?}");
        let received = recv_all(&mut here, Way::Bytes(LARGE), 0);
        let done = came_through(victim);
        assert!(received <= 1 && received >= orders.ledger().len() && (!done || received == 1));
        done
    });
}

/// Messages are there already, more of them than the victim receives.
fn receiver_of_what_is_there() {
    at_every_site("receiver of messages that are there", |orders| {
        let (mut here, there) = duplex_with_capacity(CAPACITY).unwrap();
        (0..MESSAGES).for_each(|number| here.send_bytes(&message(number, SMALL)).unwrap());
        let done = came_through(spawn(recv, (orders.clone(), there, Way::Bytes(SMALL))).unwrap());
        assert!(!done || orders.ledger().len() == MESSAGES);
        assert!(matches!(here.recv_bytes(), Err(RecvError::Disconnected)));
        done
    });
}

pub(crate) fn all() {
    sender("sender of short messages", 1, Way::Bytes(SMALL));
    sender("sender of values", 1, Way::Value(SMALL));
    sender("sender of long messages", 3, Way::Bytes(LARGE));
    sender("sender of descriptors", 1, Way::Descriptor(SMALL));
    sender("sender of long messages with descriptors", 3, Way::Descriptor(LARGE));
    receiver("receiver of short messages", Way::Bytes(SMALL));
    receiver("receiver of values", Way::Value(SMALL));
    receiver("receiver of long messages", Way::Bytes(LARGE));
    receiver("receiver of descriptors", Way::Descriptor(SMALL));
    receiver("receiver of long messages with descriptors", Way::Descriptor(LARGE));
    receiver_of_what_is_there();
    sender_that_makes_way();
}
