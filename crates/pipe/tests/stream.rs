//! The byte stream between processes and threads: order, volume, and ends that are passed on.
#![cfg(not(any(loom, feature = "portable")))]

#[path = "../../sync/tests/company/mod.rs"]
mod company;
mod content;

use company::{await_stop_of, passed_on, refused, signal, start};
use content::{byte, check, write_pieces};
use shmkit_pipe::{Reader, Stranger, Writer, pipe, pipe_for_strangers, pipe_with, private};
use shmkit_process::spawn;
use shmkit_segment::transfer;
use std::io::{ErrorKind, Read, Write};
use std::thread::{self, yield_now};
use std::time::{Duration, Instant};

const CAPACITIES: [usize; 4] = [1, 2, 64, 4096];

fn length(capacity: usize) -> usize {
    if capacity < 64 { 2_000 } else { 300_000 }
}

fn write_all((mut writer, length): (Writer, usize)) {
    write_pieces(&mut writer, 0, length);
}

/// Reads to the end, in pieces of many sizes, and checks each: how many bytes there were.
fn read_all(mut reader: Reader) -> usize {
    let (mut buffer, mut position) = ([0; 2_000], 0);
    for piece in (1..).map(|turn| turn * 11 % 2_000 + 1) {
        let count = reader.read(&mut buffer[..piece]).unwrap();
        check(position as u64, &buffer[..count]);
        if count == 0 {
            break;
        }
        position += count;
    }
    position
}

#[test]
fn bytes_arrive_in_order_from_a_process_whatever_the_pieces() {
    for capacity in CAPACITIES {
        let (writer, reader) = pipe_with(capacity).unwrap();
        let child = spawn(write_all, (writer, length(capacity))).unwrap();
        assert_eq!(read_all(reader), length(capacity));
        child.join().unwrap();
    }
}

#[test]
fn bytes_arrive_in_order_at_a_process_whatever_the_pieces() {
    for capacity in CAPACITIES {
        let (writer, reader) = pipe_with(capacity).unwrap();
        let child = spawn(read_all, reader).unwrap();
        write_all((writer, length(capacity)));
        assert_eq!(child.join().unwrap(), length(capacity));
    }
}

#[test]
fn bytes_go_from_one_child_to_another_of_which_neither_knows_the_other() {
    let (writer, reader) = pipe_with(64).unwrap();
    let writing = spawn(write_all, (writer, 100_000)).unwrap();
    let reading = spawn(read_all, reader).unwrap();
    writing.join().unwrap();
    assert_eq!(reading.join().unwrap(), 100_000);
}

#[test]
fn bytes_go_from_thread_to_thread() {
    for capacity in CAPACITIES {
        for (writer, reader) in [pipe_with(capacity).unwrap(), private(capacity).unwrap()] {
            let thread = thread::spawn(move || write_all((writer, length(capacity))));
            assert_eq!(read_all(reader), length(capacity));
            thread.join().unwrap();
        }
    }
}

#[test]
fn two_processes_take_turns() {
    fn echo((mut from, mut to): (Reader, Writer)) {
        let mut line = [0; 100];
        loop {
            match from.read(&mut line).unwrap() {
                0 => return,
                count => to.write_all(&line[..count]).unwrap(),
            }
        }
    }
    let (mut question, from) = pipe_with(64).unwrap();
    let (to, mut answer) = pipe_with(64).unwrap();
    let child = spawn(echo, (from, to)).unwrap();
    for turn in 0..2_000 {
        let asked = content::bytes(turn, turn as usize % 200 + 1);
        let mut answered = vec![0; asked.len()];
        for (asked, answered) in asked.chunks(50).zip(answered.chunks_mut(50)) {
            question.write_all(asked).unwrap();
            answer.read_exact(answered).unwrap();
        }
        assert_eq!(asked, answered);
    }
    drop(question);
    assert_eq!(answer.read(&mut [0]).unwrap(), 0);
    child.join().unwrap();
}

#[test]
fn a_million_small_writes_arrive_as_more_small_reads() {
    const WRITES: u64 = 1_000_000;
    fn write_small(mut writer: Writer) -> u64 {
        let mut position = 0;
        for length in (1..=7).cycle().take(WRITES as usize) {
            let small: [u8; 7] = std::array::from_fn(|ahead| byte(position + ahead as u64));
            writer.write_all(&small[..length]).unwrap();
            position += length as u64;
        }
        position
    }
    let (writer, mut reader) = pipe_with(64).unwrap();
    let child = spawn(write_small, writer).unwrap();
    let (mut position, mut reads) = (0, 0);
    for length in (1..=5).cycle() {
        let mut small = [0; 5];
        let count = reader.read(&mut small[..length]).unwrap();
        if count == 0 {
            break;
        }
        check(position, &small[..count]);
        position += count as u64;
        reads += 1;
    }
    assert_eq!(child.join().unwrap(), position);
    assert!(reads > WRITES, "{reads}");
}

/// A checksum that depends on the order.
fn add_to(sum: u64, bytes: &[u8]) -> u64 {
    let words = bytes.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().unwrap()));
    words.fold(sum, |sum, word| (sum.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// The least that both sides' pieces divide, times a number: 300 MB, where the compiler makes something of the checksum.
const VOLUME: usize = if cfg!(debug_assertions) { 24_000_000 } else { 300_000_000 };

fn flood<T: shmkit_pipe::Trust>(mut writer: Writer<T>) -> u64 {
    let (mut piece, mut sum, mut word) = (vec![0; 60_000], 0, 1_u64);
    for _ in 0..VOLUME / piece.len() {
        for bytes in piece.chunks_exact_mut(8) {
            word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
        sum = add_to(sum, &piece);
        writer.write_all(&piece).unwrap();
    }
    sum
}

fn drain<T: shmkit_pipe::Trust>(mut reader: Reader<T>) -> u64 {
    let (mut piece, mut sum) = (vec![0; 40_000], 0);
    for _ in 0..VOLUME / piece.len() {
        reader.read_exact(&mut piece).unwrap();
        sum = add_to(sum, &piece);
    }
    assert_eq!(reader.read(&mut piece).unwrap(), 0);
    sum
}

#[test]
fn hundreds_of_megabytes_arrive_unchanged() {
    let (writer, reader) = pipe_with(1 << 16).unwrap();
    let child = spawn(flood, writer).unwrap();
    let received = drain(reader);
    assert_eq!(child.join().unwrap(), received);
}

#[test]
fn hundreds_of_megabytes_arrive_unchanged_between_strangers() {
    let (writer, reader) = pipe_for_strangers(1 << 16).unwrap();
    let child = spawn(drain::<Stranger>, reader).unwrap();
    assert_eq!(flood(writer), child.join().unwrap());
}

#[test]
fn a_process_that_returns_closes_its_end() {
    let (mut writer, reader) = pipe_with(64).unwrap();
    let child = spawn(|mut reader: Reader| reader.read(&mut [0; 10]).unwrap(), reader).unwrap();
    let error = writer.write_all(&[1; 1_000]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    assert!(child.join().unwrap() > 0);

    let (writer, mut reader) = pipe().unwrap();
    let child = spawn(|mut writer: Writer| writer.write_all(b"all of it").unwrap(), writer).unwrap();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "all of it");
    child.join().unwrap();
}

#[test]
fn a_writer_has_its_deadline_kept_while_the_reader_is_stopped() {
    let (mut writer, reader) = pipe_with(64).unwrap();
    let child = start(read_all, reader);
    writer.write_all(&content::bytes(0, 1_000)).unwrap();
    signal(child.pid(), libc::SIGSTOP);
    await_stop_of(child.pid());
    let mut position = 1_000;
    let limit = Duration::from_millis(2);
    let error = loop {
        let begin = Instant::now();
        match writer.write_timeout(&content::bytes(position, 50), limit) {
            Ok(count) => position += count as u64,
            Err(error) => {
                assert!(begin.elapsed() >= limit);
                break error;
            }
        }
    };
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    signal(child.pid(), libc::SIGCONT);
    write_pieces(&mut writer, position, 1_000);
    drop(writer);
    assert_eq!(child.join().unwrap() as u64, position + 1_000);
}

#[test]
fn an_end_goes_on_where_it_was_when_it_has_been_moved_often() {
    let (mut writer, mut reader) = pipe_with(64).unwrap();
    let (mut written, mut read) = (0, 0);
    for turn in 0..200 {
        written += writer.try_write(&content::bytes(written, turn % 50)).unwrap() as u64;
        writer = passed_on(&writer);
        reader = passed_on(&reader);
        let mut found = [0; 25];
        let count = reader.try_read(&mut found).unwrap_or(0);
        check(read, &found[..count]);
        read += count as u64;
    }
    drop(writer);
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    check(read, &rest);
    assert_eq!(read + rest.len() as u64, written);
}

#[test]
fn ends_come_back_as_results_with_what_they_hold() {
    fn write_some(mut writer: Writer) -> Writer {
        writer.write_all(b"from the child, ").unwrap();
        writer
    }
    fn read_some((mut reader, count): (Reader, usize)) -> (Reader, String) {
        let mut text = vec![0; count];
        reader.read_exact(&mut text).unwrap();
        (reader, String::from_utf8(text).unwrap())
    }
    let (writer, reader) = pipe_with(64).unwrap();
    let mut writer = spawn(write_some, writer).unwrap().join().unwrap();
    writer.write_all(b"from here").unwrap();
    let (mut reader, text) = spawn(read_some, (reader, 10)).unwrap().join().unwrap();
    drop(writer);
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    assert_eq!((&*text, &*rest), ("from the c", "hild, from here"));
}

#[test]
fn an_end_is_passed_on_from_child_to_grandchild() {
    fn pass_on(arguments: (Writer, usize)) {
        spawn(write_all, arguments).unwrap().join().unwrap();
    }
    let (writer, reader) = pipe_with(64).unwrap();
    let child = spawn(pass_on, (writer, 10_000)).unwrap();
    assert_eq!(read_all(reader), 10_000);
    child.join().unwrap();
}

#[test]
fn one_process_can_be_given_both_ends() {
    fn talk_to_itself((mut writer, reader): (Writer, Reader)) -> usize {
        writer.write_all(&content::bytes(0, 64)).unwrap();
        drop(writer);
        read_all(reader)
    }
    assert_eq!(spawn(talk_to_itself, pipe_with(64).unwrap()).unwrap().join().unwrap(), 64);
}

#[test]
fn an_end_that_got_lost_on_its_way_counts_as_gone() {
    let (mut writer, mut reader) = pipe_with(64).unwrap();
    writer.write_all(b"before").unwrap();
    drop(transfer::sending(|| postcard::to_stdvec(&writer).unwrap()));
    while reader.segment().reap_dead() == 0 {
        yield_now();
    }
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "before");

    let (mut writer, reader) = pipe_with(64).unwrap();
    drop(transfer::sending(|| postcard::to_stdvec(&reader).unwrap()));
    while writer.segment().reap_dead() == 0 {
        yield_now();
    }
    assert_eq!(writer.write(b"after").unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn ends_of_a_private_pipe_cannot_be_moved_and_all_ends_stay_of_use_after_a_refusal() {
    let (of_threads, of_processes) = (private(64).unwrap(), pipe_with(64).unwrap());
    refused(&of_threads.0, &of_processes.0);
    refused(&of_threads.1, &of_processes.1);
    for (mut writer, mut reader) in [of_threads, of_processes] {
        writer.write_all(b"here").unwrap();
        let mut text = [0; 4];
        reader.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"here");
    }
}
