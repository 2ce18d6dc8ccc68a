//! The boundaries of messages: of every length, at every place in the ring, in any order of forms, and of any number.
#![cfg(not(loom))]

#[path = "../../sync/tests/company/mod.rs"]
mod company;
mod content;

use company::{LONG, start};
use proptest::prelude::*;
use shmkit_pipe::{Connection, Descriptor, RecvError, SendError, duplex, duplex_with_capacity, private_duplex};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

const EMPTY: u32 = 1_000_000;

#[test]
fn a_million_empty_messages_are_a_million_messages() {
    fn send(mut connection: Connection) {
        (0..EMPTY).for_each(|_| connection.send_bytes(&[]).unwrap());
        connection.send_bytes(b"last").unwrap();
    }
    let (mut here, there) = duplex().unwrap();
    let child = start(send, there);
    for number in 0..EMPTY {
        assert_eq!(here.recv_bytes_into(&mut [0; 8]).unwrap(), 0, "{number}");
    }
    assert_eq!(here.recv_bytes().unwrap(), b"last");
    assert!(matches!(here.recv_bytes(), Err(RecvError::Disconnected)));
    child.join().unwrap();
}

/// The lengths around which anything changes in a ring of `capacity` bytes.
fn lengths(capacity: usize) -> Vec<usize> {
    let edges = [0, 8, capacity / 8, capacity / 4, capacity / 2, capacity - 16, capacity - 8, capacity, 2 * capacity];
    edges.iter().flat_map(|&edge| edge.saturating_sub(9)..edge + 10).collect()
}

#[test]
fn every_length_at_which_something_changes_comes_whole_from_every_place_of_the_ring() {
    for capacity in [256, 512, 1 << 10, 1 << 13] {
        let (mut here, mut there) = private_duplex(capacity).unwrap();
        let all = content::bytes(0, 3 * capacity);
        let sent = lengths(capacity);
        let expected = sent.clone();
        let bytes = all.clone();
        let sending = std::thread::spawn(move || {
            for turn in 0..9 {
                for &length in &sent {
                    here.send_bytes(&bytes[length % 7..][..length]).unwrap();
                }
                // Moves all that follows by a word.
                here.send_bytes(&[turn]).unwrap();
            }
        });
        for turn in 0..9 {
            for &length in &expected {
                assert!(there.recv_bytes().unwrap() == all[length % 7..][..length], "{length} of {capacity}");
            }
            assert_eq!(there.recv_bytes().unwrap(), [turn]);
        }
        assert!(matches!(there.recv_bytes(), Err(RecvError::Disconnected)));
        sending.join().unwrap();
    }
}

#[test]
fn every_length_that_the_ring_can_hold_is_sent_at_once_when_it_is_empty() {
    for capacity in [256, 512, 1 << 10] {
        let (mut here, mut there) = duplex_with_capacity(capacity).unwrap();
        for length in 0..=capacity - 8 {
            let message = content::bytes(length as u64, length);
            here.try_send_bytes(&message).unwrap();
            assert!(there.try_recv_bytes().unwrap() == message, "{length} of {capacity}");
        }
    }
}

/// Bytes that repeat after a prime number of them, and so nowhere at the same place of the ring.
fn pattern(start: u64, length: usize) -> Vec<u8> {
    let mut bytes = content::bytes(start, 65_521).repeat(length.div_ceil(65_521));
    bytes.truncate(length);
    bytes
}

#[test]
fn sixteen_mebibytes_cross_at_once() {
    fn cross((mut connection, number): (Connection, u64)) {
        connection.send_bytes(&[]).unwrap();
        connection.send_bytes(&pattern(number, 1 << 24)).unwrap();
        assert_eq!(connection.recv_bytes().unwrap(), []);
        assert!(connection.recv_bytes().unwrap() == pattern(1 - number, 1 << 24));
    }
    for capacity in [1 << 13, 1 << 16] {
        let (here, there) = duplex_with_capacity(capacity).unwrap();
        let child = start(cross, (there, 1));
        cross((here, 0));
        child.join().unwrap();
    }
}

/// 64 bits that each byte and its place have a part in.
fn checksum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let sum = words.iter().fold(1, |sum: u64, &word| (sum ^ u64::from_le_bytes(word)).wrapping_mul(0x100_0000_01b3));
    rest.iter().fold(sum, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// As long as a debug build can fill and sum up in a second or two; what is built for speed takes a gibibyte.
const HUGE: usize = if cfg!(debug_assertions) { (1 << 27) + 5 } else { (1 << 30) + 5 };

#[test]
fn a_message_of_a_gibibyte_comes_whole() {
    fn receive(mut connection: Connection) -> (usize, u64) {
        connection.set_limit(HUGE);
        let message = connection.recv_bytes().unwrap();
        (message.len(), checksum(&message))
    }
    let (mut here, there) = duplex_with_capacity(1 << 18).unwrap();
    let child = start(receive, there);
    let mut message = vec![0; HUGE];
    for (word, number) in message.as_chunks_mut().0.iter_mut().zip(1_u64..) {
        *word = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    }
    here.send_bytes(&message).unwrap();
    assert_eq!(child.join().unwrap(), (HUGE, checksum(&message)));
}

/// What one end does.
#[derive(Clone, Copy, Debug)]
enum Step {
    Send { end: usize, length: usize, form: u8 },
    Recv { end: usize, form: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    let length = prop_oneof![4 => 0..40_usize, 2 => 40..260_usize, 1 => 0..2_000_usize];
    prop_oneof![
        (0..2_usize, length, 0..4_u8).prop_map(|(end, length, form)| Step::Send { end, length, form }),
        (0..2_usize, 0..5_u8).prop_map(|(end, form)| Step::Recv { end, form }),
    ]
}

/// A message is what it is in the way that it was sent in.
#[derive(Debug, PartialEq)]
enum Message {
    Bytes(Vec<u8>),
    Value(Vec<u8>, usize),
}

fn send(connection: &mut Connection, bytes: &[u8], form: u8) -> (Result<(), SendError>, Message) {
    let files = |count: u8| -> Vec<Descriptor> {
        (0..count).map(|_| std::fs::File::open("/dev/null").unwrap().into()).collect()
    };
    match form {
        0 => (connection.try_send_bytes(bytes), Message::Bytes(bytes.to_vec())),
        1 => (connection.send_bytes_timeout(bytes, Duration::ZERO), Message::Bytes(bytes.to_vec())),
        2 => (connection.try_send(&(bytes.to_vec(), files(1))), Message::Value(bytes.to_vec(), 1)),
        _ => {
            let value = (bytes.to_vec(), files(2));
            (connection.send_deadline(&value, Instant::now()), Message::Value(bytes.to_vec(), 2))
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_forms_at_both_ends_is_two_queues(
        capacity in prop::sample::select(vec![256_usize, 512, 1 << 10]),
        limits in prop::collection::vec(prop::sample::select(vec![0_usize, 64, 3_000, 1 << 20]), 2),
        steps in prop::collection::vec(step(), 1..250),
    ) {
        let (one, other) = duplex_with_capacity(capacity).unwrap();
        let mut ends = [one, other];
        // By who receives them.
        let mut queues: [VecDeque<Message>; 2] = Default::default();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Send { end, length, form } => {
                    ends[end].set_limit(limits[end]);
                    let bytes = content::bytes(number as u64 * 1_000, length);
                    match send(&mut ends[end], &bytes, form) {
                        (Ok(()), message) => queues[1 - end].push_back(message),
                        (Err(SendError::WouldBlock), _) => prop_assert!(form % 2 == 0),
                        // One that is sent in parts does not fit, though there be nothing else.
                        (Err(SendError::Timeout), _) => prop_assert!(form % 2 == 1),
                        (Err(SendError::TooLong { length: told, limit }), _) => {
                            prop_assert!(form % 2 == 0 && told > limit && limit == capacity - 8 && told >= length);
                        }
                        (Err(error), _) => prop_assert!(false, "{error}"),
                    }
                }
                Step::Recv { end, form } => {
                    ends[end].set_limit(1 << 20);
                    match queues[end].pop_front() {
                        None => {
                            let result = ends[end].try_recv_bytes();
                            prop_assert!(matches!(result, Err(RecvError::WouldBlock)), "{result:?}");
                            prop_assert!(!ends[end].poll(Duration::ZERO));
                        }
                        Some(Message::Bytes(bytes)) => {
                            let mut buffer = vec![0; bytes.len()];
                            if let Some(short) = bytes.len().checked_sub(1) && form > 2 {
                                let result = ends[end].try_recv_bytes_into(&mut buffer[..short]);
                                let Err(RecvError::TooShort { length }) = result else { panic!("{result:?}") };
                                prop_assert_eq!(length, bytes.len());
                            }
                            if form == 1 {
                                prop_assert!(ends[end].recv_bytes_into(&mut buffer).unwrap() == bytes.len());
                            } else {
                                buffer = ends[end].recv_bytes_timeout(LONG).unwrap();
                            }
                            prop_assert!(buffer == bytes);
                        }
                        Some(Message::Value(bytes, count)) if form == 0 => {
                            let encoding = ends[end].recv_bytes().unwrap();
                            prop_assert!(encoding.len() > bytes.len() + count);
                        }
                        Some(Message::Value(bytes, count)) => {
                            let (told, files): (Vec<u8>, Vec<Descriptor>) = ends[end].try_recv().unwrap();
                            prop_assert!((told, files.len()) == (bytes, count));
                        }
                    }
                }
            }
        }
        let [one, other] = &mut ends;
        for (end, queue) in [one, other].into_iter().zip(&queues) {
            end.set_limit(1 << 20);
            prop_assert_eq!(std::iter::from_fn(|| end.try_recv_bytes().ok()).count(), queue.len());
        }
    }
}
