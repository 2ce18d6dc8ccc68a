//! What the kill of either side, at any moment, means to the other one and to a successor.
#![cfg(not(any(loom, feature = "portable")))]

#[path = "../../sync/tests/asleep/mod.rs"]
mod asleep;
#[path = "../../sync/tests/company/mod.rs"]
mod company;
mod content;

use asleep::asleep_in;
use company::{MOMENT, buried, kill, start, stay};
use content::{check, write_pieces};
use shmkit_pipe::{Error, Pipe, Reader, Trust, Writer, pipe_with};
use shmkit_process::JoinHandle as Child;
use shmkit_segment::Segment;
use shmkit_sync::Event;
use std::io::{self, BufRead, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::sync::Arc;
use std::thread::{JoinHandle, yield_now};

/// Waits until somebody has noticed a death: this thread, or that one, which may be asleep for an hour if it was not woken.
fn noticed<T: Trust, R>(segment: &Segment<Pipe<T>>, thread: &JoinHandle<R>) {
    while segment.reap_dead() == 0 && !thread.is_finished() {
        yield_now();
    }
}

/// Kills a process wherever it is, which may be on its way to its first instruction, or to its last.
fn strike(child: Child<()>) {
    child.kill().unwrap();
    let _whatever = child.join();
}

fn write_and_stay((mut writer, here): (Writer, Event)) {
    writer.write_all(b"before").unwrap();
    stay(&here);
}

fn read_and_stay((mut reader, here): (Reader, Event)) {
    reader.read_exact(&mut [0; 6]).unwrap();
    stay(&here);
}

fn write_for_ever(mut writer: Writer) {
    let mut position = 0;
    while let Ok(count) = writer.write(&content::bytes(position, position as usize % 300 + 1)) {
        position += count as u64;
    }
}

fn read_for_ever(mut reader: Reader) {
    let mut buffer = [0; 300];
    for length in (1..=300).cycle() {
        if reader.read(&mut buffer[..length]).unwrap() == 0 {
            return;
        }
    }
}

#[test]
fn the_reader_gets_what_was_written_before_the_writer_was_killed_and_then_the_end() {
    let (writer, mut reader) = pipe_with(64).unwrap();
    let here = Event::new().unwrap();
    let child = start(write_and_stay, (writer, here.clone()));
    here.wait().unwrap();
    kill(child);
    buried(reader.segment(), 1);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "before");
    assert_eq!((reader.try_read(&mut [0]).unwrap(), reader.fill_buf().unwrap()), (0, &[][..]));
}

#[test]
fn a_reader_that_sleeps_in_any_form_wakes_when_the_writer_is_killed() {
    type Form = fn(&mut Reader) -> io::Result<usize>;
    let forms: [Form; 4] = [
        |reader| reader.read(&mut [0; 9]),
        |reader| reader.read_vectored(&mut [IoSliceMut::new(&mut [0; 9]), IoSliceMut::new(&mut [0; 9])]),
        |reader| Ok(reader.fill_buf()?.len()),
        |reader| Ok(reader.copy_to(io::stderr(), 9)? as usize),
    ];
    for form in forms {
        let (writer, mut reader) = pipe_with(64).unwrap();
        let (here, segment) = (Event::new().unwrap(), Arc::clone(reader.segment()));
        let child = start(write_and_stay, (writer, here.clone()));
        here.wait().unwrap();
        reader.read_exact(&mut [0; 6]).unwrap();
        let reading = asleep_in(move || form(&mut reader).unwrap());
        kill(child);
        noticed(&segment, &reading);
        assert_eq!(reading.join().unwrap(), 0);
    }
}

#[test]
fn a_writer_that_sleeps_in_any_form_gets_a_broken_pipe_when_the_reader_is_killed() {
    type Form = fn(&mut Writer) -> io::Result<usize>;
    let forms: [Form; 4] = [
        |writer| writer.write(b"more"),
        |writer| writer.write_vectored(&[IoSlice::new(b"more"), IoSlice::new(b"and more")]),
        |writer| Ok(writer.reserve(4)?.len()),
        |writer| Ok(writer.copy_from(std::fs::File::open("/dev/zero")?, 4)? as usize),
    ];
    for form in forms {
        let (mut writer, reader) = pipe_with(64).unwrap();
        let (here, segment) = (Event::new().unwrap(), Arc::clone(writer.segment()));
        let child = start(read_and_stay, (reader, here.clone()));
        writer.write_all(b"before").unwrap();
        here.wait().unwrap();
        writer.write_all(&[0; 64]).unwrap();
        let writing = asleep_in(move || form(&mut writer).unwrap_err().kind());
        kill(child);
        noticed(&segment, &writing);
        assert_eq!(writing.join().unwrap(), ErrorKind::BrokenPipe);
    }
}

/// Calls it until it gives something else than that nothing came of it in time.
fn outlast(mut wait: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match wait() {
            Err(error) if error.kind() == ErrorKind::TimedOut => {}
            outcome => return outcome,
        }
    }
}

#[test]
fn who_waits_finds_out_about_a_death_without_anybodys_help() {
    let (writer, mut reader) = pipe_with(64).unwrap();
    let here = Event::new().unwrap();
    let child = start(write_and_stay, (writer, here.clone()));
    here.wait().unwrap();
    reader.read_exact(&mut [0; 6]).unwrap();
    kill(child);
    assert_eq!(outlast(|| reader.read_timeout(&mut [0], MOMENT)).unwrap(), 0);

    let (mut writer, reader) = pipe_with(64).unwrap();
    let here = Event::new().unwrap();
    let child = start(read_and_stay, (reader, here.clone()));
    writer.write_all(&[0; 70]).unwrap();
    here.wait().unwrap();
    kill(child);
    assert_eq!(outlast(|| writer.write_timeout(b"x", MOMENT)).unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn a_writer_that_was_killed_in_the_middle_has_written_a_prefix_of_what_it_would_have() {
    for taken in [0, 1, 63, 64, 65, 1_000, 50_000] {
        let (writer, mut reader) = pipe_with(64).unwrap();
        let child = start(write_for_ever, writer);
        let mut found = vec![0; taken];
        reader.read_exact(&mut found).unwrap();
        strike(child);
        buried(reader.segment(), 1);
        reader.read_to_end(&mut found).unwrap();
        check(0, &found);
        assert!((taken..=taken + 64).contains(&found.len()));
    }
}

#[test]
fn a_successor_of_a_reader_that_was_killed_in_the_middle_goes_on_where_that_one_was() {
    for before in [64, 65, 1_000, 50_000] {
        let (mut writer, reader) = pipe_with(64).unwrap();
        let segment = Arc::clone(writer.segment());
        let child = start(read_for_ever, reader);
        write_pieces(&mut writer, 0, before);
        strike(child);
        buried(&segment, 1);
        assert_eq!(writer.write(b"lost?").unwrap_err().kind(), ErrorKind::BrokenPipe);
        let mut reader = Reader::claim(&segment).unwrap();
        drop(writer);
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).unwrap();
        assert!(rest.len() <= 64);
        check((before - rest.len()) as u64, &rest);
    }
}

#[test]
fn a_successor_of_a_writer_that_was_killed_in_the_middle_goes_on_where_that_one_was() {
    for before in [0, 1, 64, 1_000, 50_000] {
        let (writer, mut reader) = pipe_with(64).unwrap();
        let segment = Arc::clone(reader.segment());
        let child = start(write_for_ever, writer);
        let mut found = vec![0; before];
        reader.read_exact(&mut found).unwrap();
        strike(child);
        buried(&segment, 1);
        // How far that one was, only those know who have read it all.
        let mut rest = [0; 64];
        let mut writer = Writer::claim(&segment).unwrap();
        let count = reader.try_read(&mut rest).unwrap_or(0);
        found.extend(&rest[..count]);
        let position = found.len();
        write_pieces(&mut writer, position as u64, 64);
        drop(writer);
        reader.read_to_end(&mut found).unwrap();
        check(0, &found);
        assert_eq!(found.len(), position + 64);
    }
}

#[test]
fn both_ends_are_taken_over_after_both_processes_were_killed() {
    for _ in 0..5 {
        let (writer, reader) = pipe_with(64).unwrap();
        let segment = Arc::clone(writer.segment());
        let reading = start(read_for_ever, reader);
        let writing = start(write_for_ever, writer);
        strike(writing);
        strike(reading);
        buried(&segment, 1);
        let mut writer = Writer::claim(&segment).unwrap();
        let mut reader = Reader::claim(&segment).unwrap();
        while reader.try_read(&mut [0; 64]).is_ok() {}
        write_pieces(&mut writer, 0, 64);
        assert_eq!(writer.try_write(b"more").unwrap_err().kind(), ErrorKind::WouldBlock);
        let mut found = [0; 64];
        reader.read_exact(&mut found).unwrap();
        check(0, &found);
    }
}

#[test]
fn an_end_is_taken_for_as_long_as_its_process_lives_and_not_longer() {
    let (writer, reader) = pipe_with(64).unwrap();
    let (here, segment) = (Event::new().unwrap(), Arc::clone(reader.segment()));
    let child = start(write_and_stay, (writer, here.clone()));
    here.wait().unwrap();
    assert!(matches!(Writer::claim(&segment), Err(Error::RoleTaken { pid, .. }) if pid == child.pid()));
    kill(child);
    // Who claims it finds out about the death by itself, once the kernel has taken the lock away.
    let mut writer = loop {
        match Writer::claim(&segment) {
            Ok(writer) => break writer,
            Err(error) => assert!(matches!(error, Error::RoleTaken { .. }), "{error}"),
        }
        yield_now();
    };
    writer.write_all(b" and after").unwrap();
    assert!(matches!(Reader::claim(&segment), Err(Error::RoleTaken { pid, .. }) if pid == std::process::id()));
    drop((writer, reader));
    let mut text = String::new();
    Reader::claim(&segment).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "before and after");
}
