//! Whatever can lie in the ring of a connection, received as messages from a stranger: what comes of it is what a second reading of the same bytes, written down here once more, says.
//!
//! | byte | what it says |
//! |---|---|
//! | 0 | the most bytes that a message may have, divided by 16 |
//! | 1 | where in the ring the content begins, divided by 8; and so where it goes round the end |
//! | 2 | in which forms is received, in turn |
//! | 3 | how many descriptors the socket beside the ring holds, each with a byte of its own |
//! | others | the content of the ring, at most as much as it holds |
//!
//! What must hold: each message, and what comes in the place of one that cannot be received, is as foretold; after the end each further attempt gets the same; and no more memory is
//! needed than the limit, twice, as what is received grows by doubling, and a constant.

#![no_main]

#[path = "../../crates/pipe/tests/counting/mod.rs"]
mod counting;

use counting::peak;
use libfuzzer_sys::{Corpus, fuzz_target};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use shmkit_pipe::{Connection, Descriptor, Duplex, RecvError, Stranger};
use shmkit_segment::transfer::{Reach, receiving_from, sending_to};
use shmkit_segment::{Options, Role};
use std::fs::File;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

const CAPACITY: usize = 1 << 12;
const PEERS: usize = 3;
/// Of the ring that end 0 receives by: behind the header, the entries of the peers and the other ring.
const RING: u64 = 384 + 128 * PEERS as u64 + ENDS + CAPACITY as u64;
/// Bytes of a ring before its content.
const ENDS: u64 = 512;

/// An end of a connection, as another program hands it over, after `position` bytes, with `content` in its ring.
fn received(position: u64, content: &[u8]) -> (Connection<Stranger>, UnixStream, Role<Duplex<Stranger>>) {
    let segment = Options::new()
        .peers(PEERS)
        .anonymous::<Duplex<Stranger>>([CAPACITY as u64, 0, 0, 0, 0, 0, 0, 0])
        .expect("a small segment");
    let file =
        File::from(segment.as_file().expect("a segment with a file").try_clone_to_owned().expect("a descriptor"));
    let write = |offset, bytes: &[u8]| file.write_all_at(bytes, offset).expect("an open file");
    let place = position as usize % CAPACITY;
    let (before, after) = content.split_at(content.len().min(CAPACITY - place));
    write(RING + ENDS + place as u64, before);
    write(RING + ENDS, after);
    write(RING + 128, &position.to_ne_bytes());
    write(RING, &position.wrapping_add(content.len() as u64).to_ne_bytes());
    let (lane, theirs) = UnixStream::pair().expect("two sockets");
    let parts = (&segment.role(0), Descriptor::from(theirs), false);
    let (bytes, descriptors) = sending_to(Reach::Stranger, || serde_json::to_string(&parts).expect("numbers"));
    let descriptors = descriptors.expect("a hardened handle");
    let (connection, why) = receiving_from(Reach::Stranger, descriptors, || serde_json::from_str(&bytes));
    why.expect("a whole segment");
    (connection.expect("positions that can be"), lane, segment.role(1))
}

/// Sends a byte with a descriptor.
fn slip(lane: &UnixStream) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptor = [lane.as_fd()];
    control.push(SendAncillaryMessage::ScmRights(&descriptor));
    rustix::net::sendmsg(lane, &[IoSlice::new(&[0])], &mut control, SendFlags::NOSIGNAL).expect("room");
}

/// What is received.
#[derive(Debug, PartialEq)]
enum Outcome {
    Message(Vec<u8>),
    /// The message is gone, as what should have come along has not.
    NoDescriptors,
    TooLong(u64),
    Corrupt,
    Nothing,
}

/// What will be received, in order, up to what stays. The socket holds messages of one descriptor each.
fn foretold(content: &[u8], limit: usize, mut socket: usize) -> Vec<Outcome> {
    // The long one that has begun: its bytes so far, of how many, and whether its descriptors have come.
    let mut long: Option<(Vec<u8>, usize, bool)> = None;
    let (mut rest, mut outcomes) = (content, Vec::new());
    let last = loop {
        let Some((header, behind)) = rest.split_first_chunk::<8>() else {
            break if rest.is_empty() { Outcome::Nothing } else { Outcome::Corrupt };
        };
        let [kind, count, length @ ..] = *header;
        let length = length.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte));
        // As many as are in the socket come with the messages that want some, a byte of it for each.
        let mut are_there = || {
            let is_one = count > 0 && socket > 0;
            socket -= usize::from(is_one);
            count == 0 || (is_one && count == 1)
        };
        let mut done = None;
        let taken = match (kind, &mut long) {
            (1, long) => {
                let Ok(length) = usize::try_from(length) else { break Outcome::Corrupt };
                let Some(bytes) = behind.get(..length.min(usize::MAX - 8).next_multiple_of(8)) else {
                    break Outcome::Corrupt;
                };
                match long {
                    Some(_) => break Outcome::Corrupt,
                    None if length > limit => break Outcome::TooLong(length as u64),
                    None => done = Some((bytes[..length].to_vec(), are_there())),
                }
                bytes.len()
            }
            (2, None) if length > limit as u64 => break Outcome::TooLong(length),
            (2, long @ None) => {
                *long = Some((Vec::new(), length as usize, are_there()));
                0
            }
            (3, Some((bytes, total, _))) => {
                let here = usize::try_from(length).ok().filter(|&here| here > 0 && here <= *total - bytes.len());
                let Some(padded) = here.and_then(|here| behind.get(..here.next_multiple_of(8))) else {
                    break Outcome::Corrupt;
                };
                bytes.extend(&padded[..length as usize]);
                padded.len()
            }
            (4, long @ Some(_)) => {
                *long = None;
                0
            }
            _ => break Outcome::Corrupt,
        };
        if let Some((bytes, _, is_complete)) = long.take_if(|(bytes, total, _)| bytes.len() == *total) {
            done = Some((bytes, is_complete));
        }
        outcomes.extend(done.map(
            |(bytes, is_complete)| {
                if is_complete { Outcome::Message(bytes) } else { Outcome::NoDescriptors }
            },
        ));
        rest = &behind[taken..];
    };
    outcomes.push(last);
    outcomes
}

fn receive(connection: &mut Connection<Stranger>, form: u8) -> Outcome {
    let mut buffer = [0; 16 * 255];
    let result = match form % 4 {
        0 => connection.try_recv_bytes(),
        1 => connection.recv_bytes_timeout(Duration::ZERO),
        2 => connection.try_recv_bytes_into(&mut buffer).map(|length| buffer[..length].to_vec()),
        _ => {
            let is_there = connection.poll(Duration::ZERO);
            let result = connection.recv_bytes_into_timeout(&mut buffer, Duration::ZERO);
            assert_eq!(is_there, !matches!(result, Err(RecvError::Timeout)));
            result.map(|length| buffer[..length].to_vec())
        }
    };
    match result {
        Ok(message) => Outcome::Message(message),
        Err(RecvError::Descriptors(_)) => Outcome::NoDescriptors,
        Err(RecvError::TooLong { length, .. }) => Outcome::TooLong(length),
        Err(RecvError::Corrupt) => Outcome::Corrupt,
        Err(RecvError::WouldBlock | RecvError::Timeout) => Outcome::Nothing,
        Err(error) => panic!("a strange reason: {error}"),
    }
}

fuzz_target!(|input: &[u8]| -> Corpus {
    let [limit, position, form, socket, content @ ..] = input else { return Corpus::Reject };
    if content.len() > CAPACITY {
        return Corpus::Reject;
    }
    let limit = 16 * usize::from(*limit);
    // Near to where positions go round, too.
    let position = (u64::from(*position) * 8).wrapping_sub(if socket & 1 == 0 { 0 } else { CAPACITY as u64 });
    let socket = usize::from(socket >> 1) % 8;
    let (mut connection, lane, _role) = received(position, content);
    (0..socket).for_each(|_| slip(&lane));
    connection.set_limit(limit);
    let outcomes = foretold(content, limit, socket);
    let mut form = (*form..=u8::MAX).chain(0..=u8::MAX).cycle();
    let needed = peak(|| {
        for outcome in &outcomes {
            assert_eq!(receive(&mut connection, form.next().unwrap_or(0)), *outcome);
        }
        let last = outcomes.last().expect("there is an end");
        (0..8).for_each(|form| assert_eq!(receive(&mut connection, form), *last));
    });
    assert!(needed <= 2 * limit + 16_384, "{needed} bytes for messages of {limit}");
    Corpus::Keep
});
