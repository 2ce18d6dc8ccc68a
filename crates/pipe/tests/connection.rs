//! Connections: what each form of sending and receiving does, and what it says when it cannot.
#![cfg(not(loom))]

#[path = "../../sync/tests/asleep/mod.rs"]
mod asleep;
#[path = "../../sync/tests/company/mod.rs"]
mod company;

use asleep::{asleep_in, sound_asleep_in};
use company::{LONG, MOMENT, start};
#[cfg(not(feature = "portable"))]
use company::{buried, kill, stay};
use serde::{Serialize, Serializer};
use shmkit_pipe::{
    CAPACITY, Connection, Error, LIMIT, RecvError, SendError, duplex, duplex_with_capacity, private_duplex,
};
use shmkit_segment::transfer;
#[cfg(not(feature = "portable"))]
use shmkit_sync::Event;
use shmkit_sync::Select;
use std::time::{Duration, Instant};

/// The forms of sending bytes that come back in time, whatever happens.
type Send = fn(&mut Connection, &[u8]) -> Result<(), SendError>;
const SEND: [Send; 8] = [
    |connection, bytes| connection.send_bytes(bytes),
    |connection, bytes| connection.try_send_bytes(bytes),
    |connection, bytes| connection.send_bytes_timeout(bytes, LONG),
    |connection, bytes| connection.send_bytes_deadline(bytes, Instant::now() + LONG),
    |connection, bytes| connection.send(&Raw(bytes)),
    |connection, bytes| connection.try_send(&Raw(bytes)),
    |connection, bytes| connection.send_timeout(&Raw(bytes), LONG),
    |connection, bytes| connection.send_deadline(&Raw(bytes), Instant::now() + LONG),
];

/// The forms of receiving bytes.
type Recv = fn(&mut Connection) -> Result<Vec<u8>, RecvError>;
const RECV: [Recv; 8] = [
    |connection| connection.recv_bytes(),
    |connection| connection.try_recv_bytes(),
    |connection| connection.recv_bytes_timeout(LONG),
    |connection| connection.recv_bytes_deadline(Instant::now() + LONG),
    |connection| into(|buffer| connection.recv_bytes_into(buffer)),
    |connection| into(|buffer| connection.try_recv_bytes_into(buffer)),
    |connection| into(|buffer| connection.recv_bytes_into_timeout(buffer, LONG)),
    |connection| into(|buffer| connection.recv_bytes_into_deadline(buffer, Instant::now() + LONG)),
];

/// The forms of receiving values.
type RecvValue = fn(&mut Connection) -> Result<(u32, String), RecvError>;
const RECV_VALUE: [RecvValue; 4] = [
    |connection| connection.recv(),
    |connection| connection.try_recv(),
    |connection| connection.recv_timeout(LONG),
    |connection| connection.recv_deadline(Instant::now() + LONG),
];

fn into(receive: impl FnOnce(&mut [u8]) -> Result<usize, RecvError>) -> Result<Vec<u8>, RecvError> {
    let mut buffer = vec![0xee; 4096];
    let length = receive(&mut buffer)?;
    assert!(buffer[length..].iter().all(|&byte| byte == 0xee), "it wrote behind the message");
    buffer.truncate(length);
    Ok(buffer)
}

/// A value whose encoding is these bytes and nothing else.
struct Raw<'a>(&'a [u8]);

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeTuple;
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        self.0.iter().try_for_each(|byte| tuple.serialize_element(byte))?;
        tuple.end()
    }
}

/// Some bytes, others for each number.
fn message(number: usize, length: usize) -> Vec<u8> {
    (0..length).map(|place| (number * 7 + place * 31) as u8).collect()
}

/// Sends small messages until there is no room for another: how many that were.
fn fill(connection: &mut Connection) -> usize {
    (0..)
        .find(|&number| match connection.try_send_bytes(&message(number, 8)) {
            Ok(()) => false,
            Err(SendError::WouldBlock) => true,
            Err(error) => panic!("{error}"),
        })
        .unwrap()
}

fn echo(mut connection: Connection) {
    while let Ok(message) = connection.recv_bytes() {
        connection.send_bytes(&message).unwrap();
    }
}

#[test]
fn messages_of_all_lengths_come_back_with_their_boundaries() {
    let (mut here, there) = duplex_with_capacity(1 << 10).unwrap();
    here.set_limit(1 << 26);
    let child = start(echo, there);
    for length in (0..600).chain([1 << 10, 100_000, (1 << 20) + 3]) {
        let message = message(length, length);
        here.send_bytes(&message).unwrap();
        assert!(here.recv_bytes().unwrap() == message, "{length}");
    }
    drop(here);
    child.join().unwrap();
}

#[test]
fn what_is_sent_in_any_form_is_received_in_any_form() {
    let (mut here, mut there) = duplex_with_capacity(1 << 10).unwrap();
    for (number, send) in SEND.iter().enumerate() {
        for (turn, recv) in RECV.iter().enumerate() {
            for length in [0, 1, 7, 8, 9, 200] {
                let bytes = message(number * 100 + turn, length);
                send(&mut here, &bytes).unwrap();
                assert_eq!(recv(&mut there).unwrap(), bytes, "form {number}, received by form {turn}");
            }
        }
    }
    for recv in RECV_VALUE {
        there.send(&(7_u32, "value")).unwrap();
        assert_eq!(recv(&mut here).unwrap(), (7, "value".to_owned()));
    }
}

#[test]
fn a_connection_says_what_it_holds_and_allows() {
    let (here, there) = duplex().unwrap();
    assert_eq!((here.capacity(), there.capacity()), (CAPACITY, CAPACITY));
    assert_eq!(format!("{there:?}"), "end 1 of a connection with rings of 2097152 bytes");
    for wrong in [0, 1, 255, 257, 300, usize::MAX, 1 << 63] {
        assert!(matches!(duplex_with_capacity(wrong), Err(Error::Geometry(_))), "{wrong}");
        assert!(matches!(private_duplex(wrong), Err(Error::Geometry(_))), "{wrong}");
    }
    let (least, _) = duplex_with_capacity(256).unwrap();
    assert_eq!(least.capacity(), 256);
}

#[test]
fn nothing_to_receive_is_told_by_each_form_in_its_way() {
    let (mut here, there) = duplex().unwrap();
    let mut buffer = [0; 8];
    assert!(matches!(here.try_recv_bytes(), Err(RecvError::WouldBlock)));
    assert!(matches!(here.try_recv_bytes_into(&mut buffer), Err(RecvError::WouldBlock)));
    assert!(matches!(here.try_recv::<u8>(), Err(RecvError::WouldBlock)));
    let begin = Instant::now();
    assert!(matches!(here.recv_bytes_timeout(MOMENT), Err(RecvError::Timeout)));
    assert!(matches!(here.recv_bytes_into_timeout(&mut buffer, MOMENT), Err(RecvError::Timeout)));
    assert!(matches!(here.recv_timeout::<u8>(MOMENT), Err(RecvError::Timeout)));
    assert!(!here.poll(MOMENT));
    assert!(begin.elapsed() >= 4 * MOMENT);
    let deadline = Instant::now() + MOMENT;
    assert!(matches!(here.recv_bytes_deadline(deadline), Err(RecvError::Timeout)));
    assert!(Instant::now() >= deadline);
    let deadline = Instant::now() + MOMENT;
    assert!(matches!(here.recv_bytes_into_deadline(&mut buffer, deadline), Err(RecvError::Timeout)));
    assert!(Instant::now() >= deadline);
    let deadline = Instant::now() + MOMENT;
    assert!(matches!(here.recv_deadline::<u8>(deadline), Err(RecvError::Timeout)));
    assert!(Instant::now() >= deadline);
    assert!(matches!(here.recv_bytes_timeout(Duration::ZERO), Err(RecvError::Timeout)));
    drop(there);
}

#[test]
fn no_room_is_told_by_each_form_in_its_way_and_nothing_of_it_is_sent() {
    let (mut here, mut there) = duplex_with_capacity(256).unwrap();
    let count = fill(&mut here);
    assert!(matches!(here.try_send(&1_u64), Err(SendError::WouldBlock)));
    let begin = Instant::now();
    assert!(matches!(here.send_bytes_timeout(b"more", MOMENT), Err(SendError::Timeout)));
    assert!(matches!(here.send_timeout(&1_u64, MOMENT), Err(SendError::Timeout)));
    assert!(begin.elapsed() >= 2 * MOMENT);
    let deadline = Instant::now() + MOMENT;
    assert!(matches!(here.send_bytes_deadline(b"more", deadline), Err(SendError::Timeout)));
    assert!(Instant::now() >= deadline);
    let deadline = Instant::now() + MOMENT;
    assert!(matches!(here.send_deadline(&1_u64, deadline), Err(SendError::Timeout)));
    assert!(Instant::now() >= deadline);
    (0..count).for_each(|number| assert_eq!(there.recv_bytes().unwrap(), message(number, 8)));
    assert!(matches!(there.try_recv_bytes(), Err(RecvError::WouldBlock)));
    here.send_bytes(b"more").unwrap();
    assert_eq!(there.recv_bytes().unwrap(), b"more");
}

#[test]
fn what_the_ring_can_never_hold_at_once_is_too_long_for_the_forms_that_do_not_wait() {
    let (mut here, mut there) = duplex_with_capacity(256).unwrap();
    let longest = message(1, 248);
    for length in [249, 256, 1_000_000] {
        let long = vec![1; length];
        for result in [here.try_send_bytes(&long), here.try_send(&Raw(&long))] {
            assert!(matches!(result, Err(SendError::TooLong { length: told, limit: 248 }) if told == length));
        }
    }
    for _ in 0..100 {
        here.try_send_bytes(&longest).unwrap();
        assert!(matches!(here.try_send_bytes(b""), Err(SendError::WouldBlock)));
        assert_eq!(there.try_recv_bytes().unwrap(), longest);
    }
}

#[test]
fn a_message_beyond_the_limit_is_received_once_the_limit_is_larger() {
    for (send, lengths) in [(SEND[1], [11, 200]), (SEND[0], [11, 10_000])] {
        for length in lengths {
            let (mut here, there) = duplex_with_capacity(256).unwrap();
            let mut there = there;
            let bytes = message(3, length);
            let sending = bytes.clone();
            let thread = std::thread::spawn(move || {
                here.send_bytes(b"before").unwrap();
                send(&mut here, &sending).unwrap();
                here.send_bytes(b"after").unwrap();
                here
            });
            there.set_limit(10);
            assert_eq!(there.recv_bytes().unwrap(), b"before");
            for _ in 0..3 {
                assert!(there.poll(LONG));
                let results = [
                    there.recv_bytes().err(),
                    there.try_recv_bytes().err(),
                    there.recv_bytes_into(&mut [0; 16]).err(),
                    there.recv::<u8>().err(),
                ];
                for error in results {
                    let told = length as u64;
                    assert!(matches!(error, Some(RecvError::TooLong { length, limit: 10 }) if length == told));
                }
            }
            there.set_limit(length);
            assert_eq!(there.recv_bytes().unwrap(), bytes);
            there.set_limit(5);
            assert_eq!(there.recv_bytes().unwrap(), b"after");
            drop(thread.join().unwrap());
        }
    }
    assert_eq!(LIMIT, 1 << 26);
}

#[test]
fn a_message_that_the_buffer_is_too_short_for_waits_for_a_longer_one() {
    // In the ring as a whole, and in parts.
    for length in [20, 600] {
        let (mut here, mut there) = duplex_with_capacity(1 << 10).unwrap();
        let bytes = message(5, length);
        here.send_bytes(&bytes).unwrap();
        for short in [0, 1, length - 1] {
            let mut buffer = vec![0; short];
            let results = [
                there.recv_bytes_into(&mut buffer),
                there.try_recv_bytes_into(&mut buffer),
                there.recv_bytes_into_timeout(&mut buffer, LONG),
                there.recv_bytes_into_deadline(&mut buffer, Instant::now() + LONG),
            ];
            for result in results {
                assert!(matches!(result, Err(RecvError::TooShort { length: told }) if told == length));
            }
            assert!(buffer.iter().all(|&byte| byte == 0));
        }
        let mut buffer = vec![0; length];
        assert_eq!(there.recv_bytes_into(&mut buffer).unwrap(), length);
        assert_eq!(buffer, bytes);
        assert!(matches!(there.try_recv_bytes(), Err(RecvError::WouldBlock)));
    }
}

#[test]
fn who_waits_to_receive_is_woken_by_a_message_and_by_a_part_that_completes_one() {
    for recv in [RECV[0], RECV[2], RECV[3], RECV[4], RECV[6], RECV[7]] {
        for length in [0, 9, 4_000] {
            let (mut here, mut there) = duplex_with_capacity(256).unwrap();
            let receiving = asleep_in(move || recv(&mut there).unwrap());
            here.send_bytes(&message(1, length)).unwrap();
            assert_eq!(receiving.join().unwrap(), message(1, length));
        }
    }
}

#[test]
fn who_waits_to_send_is_woken_by_room() {
    for send in [SEND[0], SEND[2], SEND[3], SEND[4], SEND[6], SEND[7]] {
        for length in [0, 9, 4_000] {
            let (mut here, mut there) = duplex_with_capacity(256).unwrap();
            let count = fill(&mut here);
            let sending = sound_asleep_in(move || {
                send(&mut here, &message(1, length)).unwrap();
                here
            });
            (0..count).for_each(|number| assert_eq!(there.recv_bytes().unwrap(), message(number, 8)));
            assert_eq!(there.recv_bytes().unwrap(), message(1, length));
            sending.join().unwrap();
        }
    }
}

#[test]
fn poll_and_watches_tell_of_a_message_and_take_none() {
    let (mut here, mut there) = duplex_with_capacity(256).unwrap();
    let mut select = Select::new();
    select.add(there.watch());
    assert_eq!(select.try_wait(), None);
    here.send_bytes(b"one").unwrap();
    for _ in 0..3 {
        assert!(there.poll(LONG) && there.poll(Duration::ZERO));
        assert_eq!(select.try_wait(), Some(0));
    }
    assert_eq!(there.recv_bytes().unwrap(), b"one");
    assert_eq!(select.try_wait(), None);
    drop(here);
    assert_eq!(select.wait(), 0);
    assert!(there.poll(LONG));
    assert!(matches!(there.recv_bytes(), Err(RecvError::Disconnected)));
}

#[test]
fn a_message_that_was_taken_in_is_still_watched_for() {
    let (mut here, mut there) = duplex_with_capacity(256).unwrap();
    let mut select = Select::new();
    select.add(there.watch());
    select.add(there.watch_room());
    fill(&mut there);
    assert_eq!(select.try_wait(), None);
    here.send_bytes(b"one").unwrap();
    assert!(matches!(there.send_bytes_timeout(b"more", MOMENT), Err(SendError::Timeout)));
    assert_eq!(select.try_wait(), Some(0));
    assert!(there.poll(Duration::ZERO));
    assert_eq!(there.try_recv_bytes().unwrap(), b"one");
    assert_eq!(select.try_wait(), None);
    while here.try_recv_bytes().is_ok() {}
    assert_eq!(select.try_wait(), Some(1));
}

#[test]
fn what_was_sent_is_received_after_the_sender_was_dropped_and_then_comes_the_end() {
    for recv in RECV {
        let (mut here, mut there) = duplex_with_capacity(256).unwrap();
        here.send_bytes(b"one").unwrap();
        here.send_bytes(&[2; 50]).unwrap();
        drop(here);
        assert_eq!(recv(&mut there).unwrap(), b"one");
        assert_eq!(recv(&mut there).unwrap(), [2; 50]);
        for _ in 0..3 {
            assert!(matches!(recv(&mut there), Err(RecvError::Disconnected)));
        }
    }
}

#[test]
fn sending_to_who_has_left_is_an_error_in_all_forms() {
    for send in SEND {
        let (mut here, there) = duplex_with_capacity(256).unwrap();
        drop(there);
        for _ in 0..3 {
            assert!(matches!(send(&mut here, b"one"), Err(SendError::Disconnected)));
        }
    }
}

#[test]
fn who_waits_is_woken_when_the_other_end_is_dropped() {
    for recv in [RECV[0], RECV[2], RECV[3], RECV[4], RECV[6], RECV[7]] {
        let (here, mut there) = duplex_with_capacity(256).unwrap();
        let receiving = sound_asleep_in(move || recv(&mut there).err());
        drop(here);
        assert!(matches!(receiving.join().unwrap(), Some(RecvError::Disconnected)));
    }
    for send in [SEND[0], SEND[2], SEND[3], SEND[4], SEND[6], SEND[7]] {
        let (mut here, there) = duplex_with_capacity(256).unwrap();
        fill(&mut here);
        let sending = sound_asleep_in(move || send(&mut here, b"one").err());
        drop(there);
        assert!(matches!(sending.join().unwrap(), Some(SendError::Disconnected)));
    }
}

#[cfg(not(feature = "portable"))]
#[test]
fn what_was_sent_is_received_after_the_sender_was_killed_and_then_comes_the_end() {
    fn send((mut connection, here): (Connection, Event)) {
        connection.send_bytes(b"one").unwrap();
        connection.send(&(2_u32, "two")).unwrap();
        connection.send_bytes(&[3; 100]).unwrap();
        stay(&here);
    }
    let (mut connection, there) = duplex_with_capacity(256).unwrap();
    let here = Event::new().unwrap();
    let child = start(send, (there, here.clone()));
    here.wait().unwrap();
    kill(child);
    buried(connection.segment(), 1);
    for send in SEND {
        assert!(matches!(send(&mut connection, b"lost"), Err(SendError::Disconnected)));
    }
    assert_eq!(connection.recv_bytes().unwrap(), b"one");
    assert_eq!(connection.recv::<(u32, String)>().unwrap(), (2, "two".to_owned()));
    assert_eq!(connection.recv_bytes().unwrap(), [3; 100]);
    for recv in RECV {
        assert!(matches!(recv(&mut connection), Err(RecvError::Disconnected)));
    }
}

#[cfg(not(feature = "portable"))]
#[test]
fn who_waits_in_any_form_is_told_that_the_other_side_was_killed() {
    fn hold((_connection, here): (Connection, Event)) {
        stay(&here);
    }
    let receiving = [RECV[0], RECV[2], RECV[3], RECV[4], RECV[6], RECV[7]]
        .map(|recv| move |connection: &mut Connection| matches!(recv(connection), Err(RecvError::Disconnected)));
    let sending = [SEND[0], SEND[2], SEND[3], SEND[4], SEND[6], SEND[7]].map(|send| {
        move |connection: &mut Connection| {
            fill(connection);
            matches!(send(connection, b"more"), Err(SendError::Disconnected))
        }
    });
    let waits = receiving.map(|form| Box::new(form) as Box<dyn FnMut(&mut Connection) -> bool + std::marker::Send>);
    let more = sending.map(|form| Box::new(form) as Box<dyn FnMut(&mut Connection) -> bool + std::marker::Send>);
    for mut wait in waits.into_iter().chain(more) {
        let (mut connection, there) = duplex_with_capacity(256).unwrap();
        let (here, segment) = (Event::new().unwrap(), connection.segment().clone());
        let child = start(hold, (there, here.clone()));
        here.wait().unwrap();
        let waiting = asleep_in(move || wait(&mut connection));
        kill(child);
        // Whoever is faster: it may sleep for an hour if nobody wakes it.
        while segment.reap_dead() == 0 && !waiting.is_finished() {
            std::thread::yield_now();
        }
        assert!(waiting.join().unwrap());
    }
}

#[test]
fn a_message_that_is_no_such_value_is_gone_and_the_next_one_comes() {
    let (mut here, mut there) = duplex_with_capacity(256).unwrap();
    for recv in RECV_VALUE {
        for wrong in [&b""[..], &[1], &[7, 200, 1, 2], &[0xff; 60]] {
            here.send_bytes(wrong).unwrap();
            here.send(&(8_u32, "right")).unwrap();
            assert!(matches!(recv(&mut there), Err(RecvError::Decode(_))));
            assert_eq!(recv(&mut there).unwrap(), (8, "right".to_owned()));
        }
    }
    // A long one, which was taken out of the ring.
    here.try_send_bytes(&[0xff; 200]).unwrap();
    assert!(matches!(there.recv::<String>(), Err(RecvError::Decode(_))));
    let sending = std::thread::spawn(move || here.send_bytes(&[0xff; 2000]).unwrap());
    assert!(matches!(there.recv::<String>(), Err(RecvError::Decode(_))));
    sending.join().unwrap();
}

#[test]
fn a_value_that_cannot_be_encoded_leaves_the_connection_as_it_was() {
    struct Never;
    impl Serialize for Never {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("never"))
        }
    }
    let (mut here, mut there) = duplex_with_capacity(256).unwrap();
    let value = ("begun", Never);
    assert!(matches!(here.send(&value), Err(SendError::Encode(_))));
    assert!(matches!(here.try_send(&value), Err(SendError::Encode(_))));
    assert!(matches!(here.send_timeout(&value, LONG), Err(SendError::Encode(_))));
    assert!(matches!(here.send_deadline(&value, Instant::now() + LONG), Err(SendError::Encode(_))));
    here.send(&"fine").unwrap();
    assert_eq!(there.recv::<String>().unwrap(), "fine");
}

#[test]
fn an_end_that_was_moved_says_so_in_all_forms() {
    let (mut here, mut there) = duplex_with_capacity(256).unwrap();
    let (bytes, descriptors) = transfer::sending(|| postcard::to_stdvec(&here).unwrap());
    for send in SEND {
        assert!(matches!(send(&mut here, b"one"), Err(SendError::Moved)));
    }
    for recv in RECV {
        assert!(matches!(recv(&mut here), Err(RecvError::Moved)));
    }
    assert!(here.poll(LONG));
    let (again, failure) = transfer::sending(|| postcard::to_stdvec(&here));
    assert!(again.is_err() && matches!(failure, Err(Error::NotTransferable(_))));
    drop(here);
    let (moved, _) = transfer::receiving(descriptors.unwrap(), || postcard::from_bytes::<Connection>(&bytes));
    let mut moved = moved.unwrap();
    moved.send_bytes(b"one").unwrap();
    assert_eq!(there.recv_bytes().unwrap(), b"one");
    there.send_bytes(b"two").unwrap();
    assert_eq!(moved.recv_bytes().unwrap(), b"two");
}

#[test]
fn threads_of_one_process_talk_without_shared_memory() {
    let (mut here, there) = private_duplex(256).unwrap();
    let thread = std::thread::spawn(move || echo(there));
    for length in [0, 1, 100, 10_000] {
        here.send_bytes(&message(1, length)).unwrap();
        assert_eq!(here.recv_bytes().unwrap(), message(1, length));
    }
    company::refused(&here, &duplex().unwrap());
    drop(here);
    thread.join().unwrap();
}
