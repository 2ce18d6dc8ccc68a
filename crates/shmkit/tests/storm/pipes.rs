//! The byte stream and messages over it: an end is killed, the other one is told, and somebody goes on. What arrives is what was written, without a gap, and all
//! of what was acknowledged.

use crate::contention::report;
use crate::{HANG, kill, kills, random, random_time, succeed};
use serde::{Deserialize, Serialize};
use shmkit::pipe::{Connection, Family, Pipe, Reader, RecvError, Settings, Writer, duplex_with_capacity, pipe_with};
use shmkit::prelude::*;
use shmkit::segment::Role;
use shmkit_segment::primitive::{AtomicU64, Ordering};
use shmkit_segment::shared;
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

const CAPACITY: usize = 1 << 14;
const LARGEST: usize = 1 << 17;
/// Bytes that are written, or read, at a time at most.
const PIECE: usize = 40_000;
/// Kills before there is another pipe, which can grow once more.
const KILLS_A_PIPE: usize = 8;

shared! {
    /// What the ends note, in shared memory, so that it survives them.
    struct Words {
        /// Positions up to which bytes are known to be written, and read.
        written: AtomicU64,
        read: AtomicU64,
        /// How often a survivor has been told of a death.
        told: AtomicU64,
        /// 1 once everybody should stop.
        is_over: AtomicU64,
    }
}

type Notes = Shared<Words>;

/// A handle of the pipe's segment in a role that pipes do not use, for processes that claim an end.
type Place = Role<Pipe<Family>>;

/// The byte at `position` of every stream here: no 32 in a row come again nearby.
fn byte(position: u64) -> u8 {
    (position.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as u8 ^ (position >> 3) as u8
}

fn bytes(position: u64, count: usize) -> Vec<u8> {
    (position..position + count as u64).map(byte).collect()
}

fn check(position: u64, found: &[u8]) {
    let is_right = found.iter().zip(position..).all(|(&found, position)| found == byte(position));
    assert!(is_right, "other bytes than were written, in {} from {position} on", found.len());
}

fn goes_on(notes: &Notes) -> bool {
    notes.is_over.load(Ordering::Acquire) == 0
}

/// Waits until somebody else has noted more than `known`.
fn wait_for_more(word: &AtomicU64, known: u64) {
    let started = Instant::now();
    while word.load(Ordering::Acquire) <= known {
        assert!(started.elapsed() < HANG, "the others hang");
        std::thread::yield_now();
    }
}

/// Writes from `position` on in pieces of all sizes, in every way there is, and survives any number of readers.
fn write((place, notes, position, seed): (Place, Notes, u64, u64)) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut writer = succeed(|| Writer::claim(place.segment()));
    let mut position = position;
    while goes_on(&notes) {
        let length = if random.bool() { random.usize(1..64) } else { random.usize(1..PIECE) };
        let piece = bytes(position, length);
        let outcome = match random.u8(..20) {
            0 => {
                writer.grow(LARGEST).expect("it was made to grow");
                continue;
            }
            1..10 => writer.reserve(length).map(|mut room| {
                let count = room.len();
                room.copy_from_slice(&piece[..count]);
                room.commit(count);
                count
            }),
            _ => writer.write(&piece),
        };
        match outcome {
            Ok(count) => {
                position += count as u64;
                notes.written.store(position, Ordering::Release);
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{error}");
                wait_for_a_reader(&mut writer, &notes, position);
            }
        }
    }
}

/// Notes that the reader has died, and waits for the next one.
fn wait_for_a_reader(writer: &mut Writer, notes: &Notes, position: u64) {
    notes.told.fetch_add(1, Ordering::AcqRel);
    // Whether anybody reads is told before anything is written: nothing is.
    let started = Instant::now();
    while goes_on(notes) {
        match writer.try_reserve(0) {
            Ok(_) => return,
            Err(error) => assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{error} at {position}"),
        }
        assert!(started.elapsed() < HANG, "no reader comes");
        std::thread::yield_now();
    }
}

/// Reads, and finds out where it begins by what it reads: behind what is known to be read, by as much as one operation gives back at most.
fn read((place, notes, seed): (Place, Notes, u64)) {
    /// Bytes that tell a position.
    const ENOUGH: usize = 32;
    let mut random = fastrand::Rng::with_seed(seed);
    let known = notes.read.load(Ordering::Acquire);
    let mut reader = succeed(|| Reader::claim(place.segment()));
    let mut first = [0; ENOUGH];
    let mut count = 0;
    while count < ENOUGH {
        match reader.read(&mut first[count..]).expect("a pipe that is in order") {
            0 if !goes_on(&notes) => return,
            0 => std::thread::yield_now(),
            more => count += more,
        }
    }
    let candidates = bytes(known, PIECE + ENOUGH);
    let places: Vec<usize> =
        candidates.windows(ENOUGH).enumerate().filter(|(_, w)| *w == first).map(|(i, _)| i).collect();
    assert_eq!(places.len(), 1, "the stream goes on where nobody can have been, or has a gap");
    let mut position = known + (places[0] + ENOUGH) as u64;
    notes.read.store(position, Ordering::Release);
    let mut buffer = vec![0; PIECE];
    loop {
        let length = random.usize(1..=PIECE);
        match reader.read(&mut buffer[..length]).expect("a pipe that is in order") {
            0 if !goes_on(&notes) => return,
            0 => {
                // The writer has died; what it had acknowledged has come.
                assert!(position >= notes.written.load(Ordering::Acquire), "bytes are lost that were acknowledged");
                notes.told.fetch_add(1, Ordering::AcqRel);
                // The next one begins here.
                wait_for_more(&notes.written, position);
            }
            count => {
                check(position, &buffer[..count]);
                position += count as u64;
                notes.read.store(position, Ordering::Release);
            }
        }
    }
}

#[test]
fn pipe_successors_go_on_without_a_gap() {
    let mut random = random("pipe with successors");
    let (mut dead, mut passed) = ([0, 0], 0);
    let (mut ends, mut broken) = (Vec::new(), Vec::new());
    while dead[0] + dead[1] < kills() {
        let (writer, reader) = pipe_with(Settings::new(CAPACITY).up_to(LARGEST)).expect("a pipe");
        let place: Place = writer.segment().role(3);
        drop((writer, reader));
        let notes = Notes::new().expect("memory for the notes");
        let next_reader =
            |random: &mut fastrand::Rng| spawn(read, (place.clone(), notes.clone(), random.u64(..))).expect("a reader");
        let next_writer = |random: &mut fastrand::Rng, position: u64| {
            spawn(write, (place.clone(), notes.clone(), position, random.u64(..))).expect("a writer")
        };
        let mut reading = next_reader(&mut random);
        let mut writing = next_writer(&mut random, 0);
        for _ in 0..KILLS_A_PIPE {
            // Both are at work.
            wait_for_more(&notes.read, notes.read.load(Ordering::Acquire));
            random_time(&mut random);
            let told = notes.told.load(Ordering::Acquire);
            let death = Instant::now();
            if random.bool() {
                assert!(kill(writing), "nobody ends by itself");
                wait_for_more(&notes.told, told);
                ends.push(death.elapsed());
                dead[0] += 1;
                writing = next_writer(&mut random, notes.read.load(Ordering::Acquire));
            } else {
                assert!(kill(reading), "nobody ends by itself");
                wait_for_more(&notes.told, told);
                broken.push(death.elapsed());
                dead[1] += 1;
                reading = next_reader(&mut random);
            }
        }
        wait_for_more(&notes.read, notes.read.load(Ordering::Acquire));
        notes.is_over.store(1, Ordering::Release);
        writing.join().expect("a writer ends by itself");
        reading.join().expect("a reader comes to the end");
        assert_eq!(notes.read.load(Ordering::Acquire), notes.written.load(Ordering::Acquire), "read to the end");
        place.segment().reap_dead();
        assert_eq!(place.segment().peer_count(), 1);
        passed += notes.read.load(Ordering::Acquire);
    }
    println!("pipe with successors: {} writers and {} readers killed; {passed} bytes, none lost", dead[0], dead[1]);
    report("from the kill of the writer to the end of the stream", ends);
    report("from the kill of the reader to a broken pipe", broken);
}

/// Messages of all lengths up to several rings.
const RING: usize = 1 << 12;

/// A number, and as many bytes as follow from it.
fn message(number: u64) -> Vec<u8> {
    let length = if number.is_multiple_of(5) { number * 997 % (3 * RING as u64) } else { number * 31 % 200 };
    let mut message = number.to_le_bytes().to_vec();
    message.extend(bytes(number << 20, length as usize));
    message
}

#[derive(Clone, Copy, Serialize, Deserialize)]
enum Part {
    Sends,
    Receives,
}

/// Sends, or receives, until the other side is gone.
fn converse((mut connection, notes, part): (Connection, Notes, Part)) {
    for number in 0.. {
        match part {
            Part::Sends => {
                if connection.send_bytes(&message(number)).is_err() {
                    return;
                }
                notes.written.store(number + 1, Ordering::Release);
            }
            Part::Receives => match connection.recv_bytes() {
                Ok(found) => {
                    assert!(found == message(number), "message {number} is another");
                    notes.read.store(number + 1, Ordering::Release);
                }
                Err(RecvError::Disconnected) => return,
                Err(error) => panic!("{error}"),
            },
        }
    }
}

/// One connection after the other, and one of its ends is killed. A dead sender costs nothing but what it had not sent whole.
#[test]
fn connection_tells_the_survivor() {
    let mut random = random("connection");
    let (mut times, mut messages) = (Vec::new(), 0);
    for _ in 0..kills() {
        let (here, there) = duplex_with_capacity(RING).expect("a connection");
        let notes = Notes::new().expect("memory for the notes");
        let sending = spawn(converse, (here, notes.clone(), Part::Sends)).expect("a sender");
        let receiving = spawn(converse, (there, notes.clone(), Part::Receives)).expect("a receiver");
        wait_for_more(&notes.read, 0);
        random_time(&mut random);
        let is_sender = random.bool();
        let (victim, survivor) = if is_sender { (sending, receiving) } else { (receiving, sending) };
        let death = Instant::now();
        assert!(kill(victim), "nobody ends by itself");
        survivor.join().expect("the survivor is told");
        times.push(death.elapsed());
        let [sent, received] = [&notes.written, &notes.read].map(|word| word.load(Ordering::Acquire));
        // Who is killed may not have noted the last.
        assert!(received <= sent + 1, "{received} received of {sent}");
        assert!(!is_sender || received >= sent, "{received} received of {sent} that were acknowledged");
        messages += received;
    }
    assert!(times.iter().all(|time| *time < Duration::from_secs(60)), "a survivor hangs");
    println!("connection: {} kills; {messages} messages, none lost", kills());
    report("from the kill to the end of the survivor", times);
}
