//! Files, pipes and sockets at the ends of a pipe: the kernel moves the bytes, and none is lost, whatever it says.
#![cfg(not(any(loom, feature = "portable")))]

#[path = "../../sync/tests/asleep/mod.rs"]
mod asleep;
mod content;

use asleep::asleep_in;
use content::{bytes, check};
use shmkit_pipe::{Reader, Settings, Stranger, Writer, pipe_for_strangers, pipe_with, private};
use shmkit_process::spawn;
use shmkit_segment::transfer::Descriptor;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread;

/// A file with the first `length` bytes of the stream, at its beginning.
fn file(length: usize) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes(0, length)).unwrap();
    file.rewind().unwrap();
    file
}

/// Checks that `file` holds the first `length` bytes of the stream, and no more.
#[track_caller]
fn holds(mut file: File, length: usize) {
    let mut found = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut found).unwrap();
    check(0, &found);
    assert_eq!(found.len(), length);
}

fn rest(mut reader: Reader) -> Vec<u8> {
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    rest
}

#[test]
fn a_file_goes_through_a_pipe_of_any_size_into_another_file() {
    for (capacity, length) in [(1, 500), (64, 20_000), (4096, 300_000), (1 << 17, 1_000_000)] {
        for (mut writer, mut reader) in [private(capacity).unwrap(), pipe_with(capacity).unwrap()] {
            let source = file(length);
            let thread = thread::spawn(move || writer.copy_from(&source, u64::MAX).unwrap());
            let target = tempfile::tempfile().unwrap();
            assert_eq!(reader.copy_to(&target, u64::MAX).unwrap(), length as u64);
            assert_eq!(thread.join().unwrap(), length as u64);
            holds(target, length);
        }
    }
}

#[test]
fn a_child_copies_a_file_into_the_pipe_and_another_one_out_of_it() {
    fn copy_in((mut writer, source): (Writer<Stranger>, Descriptor)) -> u64 {
        writer.copy_from(source.0, u64::MAX).unwrap()
    }
    fn copy_out((mut reader, target): (Reader<Stranger>, Descriptor)) -> u64 {
        reader.copy_to(target.0, u64::MAX).unwrap()
    }
    const LENGTH: usize = 1_000_000;
    let (writer, reader) = pipe_for_strangers(1 << 14).unwrap();
    let target = tempfile::tempfile().unwrap();
    let writing = spawn(copy_in, (writer, file(LENGTH).into())).unwrap();
    let reading = spawn(copy_out, (reader, target.try_clone().unwrap().into())).unwrap();
    assert_eq!((writing.join().unwrap(), reading.join().unwrap()), (LENGTH as u64, LENGTH as u64));
    holds(target, LENGTH);
}

#[test]
fn no_more_is_taken_from_a_source_or_out_of_the_pipe_than_was_asked_for() {
    let (mut writer, mut reader) = private(64).unwrap();
    let (mut source, mut target) = (file(200), tempfile::tempfile().unwrap());
    let mut position = 0;
    // Once past the end of the ring, and once as much as it holds.
    for most in [0, 1, 40, 40, 64] {
        assert_eq!(writer.copy_from(&source, most).unwrap(), most);
        position += most;
        assert_eq!(source.stream_position().unwrap(), position);
        let half = most / 2;
        assert_eq!(reader.copy_to(&target, half).unwrap(), half);
        assert_eq!(target.stream_position().unwrap(), position - most + half);
        assert_eq!(reader.copy_to(&target, most - half).unwrap(), most - half);
    }
    drop(writer);
    assert_eq!(reader.copy_to(&target, 9).unwrap(), 0);
    holds(target, 145);
}

#[test]
fn a_source_that_ends_gives_what_it_had_and_nothing_is_at_once_the_end() {
    let (mut writer, reader) = private(64).unwrap();
    assert_eq!(writer.copy_from(file(0), 9).unwrap(), 0);
    assert_eq!(writer.copy_from(file(30), 50).unwrap(), 30);
    let (source, mut other) = io::pipe().unwrap();
    other.write_all(&bytes(30, 20)).unwrap();
    drop(other);
    assert_eq!(writer.copy_from(source, u64::MAX).unwrap(), 20);
    drop(writer);
    assert_eq!(rest(reader), bytes(0, 50));
}

#[test]
fn a_copy_sleeps_while_there_is_nothing_and_goes_on_until_the_stream_ends() {
    let (mut writer, mut reader) = private(64).unwrap();
    let target = tempfile::tempfile().unwrap();
    let copied = target.try_clone().unwrap();
    let reading = asleep_in(move || reader.copy_to(copied, u64::MAX).unwrap());
    writer.write_all(&bytes(0, 1_000)).unwrap();
    writer.write_all(&bytes(1_000, 1)).unwrap();
    drop(writer);
    assert_eq!(reading.join().unwrap(), 1_001);
    holds(target, 1_001);
}

#[test]
fn a_copy_into_a_full_pipe_goes_on_when_there_is_room_and_ends_with_the_reader() {
    let (mut writer, mut reader) = private(64).unwrap();
    let source = file(1_000);
    let writing = asleep_in(move || writer.copy_from(source, u64::MAX).unwrap_err().kind());
    let mut found = [0; 500];
    reader.read_exact(&mut found).unwrap();
    check(0, &found);
    drop(reader);
    assert_eq!(writing.join().unwrap(), ErrorKind::BrokenPipe);
}

/// Descriptors that say so where they would block; what goes into the second comes out of the first.
fn pairs() -> [(File, File); 2] {
    let ((from, to), (here, there)) = (io::pipe().unwrap(), UnixStream::pair().unwrap());
    let file = |end: OwnedFd| File::from(end);
    let pairs = [(file(from.into()), file(to.into())), (file(there.into()), file(here.into()))];
    for (from, to) in &pairs {
        rustix::io::ioctl_fionbio(from, true).unwrap();
        rustix::io::ioctl_fionbio(to, true).unwrap();
    }
    pairs
}

#[test]
fn a_source_that_would_block_says_so_and_what_it_gave_before_is_written() {
    for (from, mut to) in pairs() {
        let (mut writer, mut reader) = private(64).unwrap();
        assert_eq!(writer.copy_from(&from, 9).unwrap_err().kind(), ErrorKind::WouldBlock);
        to.write_all(&bytes(0, 30)).unwrap();
        assert_eq!(writer.copy_from(&from, 64).unwrap_err().kind(), ErrorKind::WouldBlock);
        let mut found = [0; 64];
        assert_eq!(reader.try_read(&mut found).unwrap(), 30);
        check(0, &found[..30]);
        to.write_all(&bytes(30, 10)).unwrap();
        assert_eq!(writer.copy_from(&from, 10).unwrap(), 10);
        drop(writer);
        assert_eq!(rest(reader), bytes(30, 10));
    }
}

#[test]
fn a_target_that_is_full_says_so_and_nothing_is_lost() {
    // More than a socket or a pipe takes, unless somebody has set it so.
    const LENGTH: usize = 1 << 21;
    for (mut from, to) in pairs() {
        let (mut writer, mut reader) = private(LENGTH).unwrap();
        writer.write_all(&bytes(0, LENGTH)).unwrap();
        drop(writer);
        let (mut found, mut refusals) = (Vec::new(), 0);
        while found.len() < LENGTH {
            match reader.copy_to(&to, u64::MAX) {
                Ok(_) => {}
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    refusals += 1;
                }
            }
            let before = found.len();
            assert!(from.read_to_end(&mut found).is_err_and(|error| error.kind() == ErrorKind::WouldBlock));
            assert!(found.len() > before);
        }
        check(0, &found);
        assert!(refusals > 0 && found.len() == LENGTH);
        assert_eq!(reader.try_read(&mut [0]).unwrap(), 0);
    }
}

#[test]
fn a_blocking_target_is_waited_for() {
    let (mut writer, mut reader) = private(1 << 16).unwrap();
    let (mut there, here) = UnixStream::pair().unwrap();
    let source = file(1_000_000);
    let writing = thread::spawn(move || writer.copy_from(source, u64::MAX).unwrap());
    let reading = asleep_in(move || reader.copy_to(here, u64::MAX).unwrap());
    let mut found = Vec::new();
    there.read_to_end(&mut found).unwrap();
    check(0, &found);
    assert_eq!((writing.join().unwrap(), reading.join().unwrap(), found.len()), (1_000_000, 1_000_000, 1_000_000));
}

#[test]
fn a_blocking_source_is_waited_for() {
    let (mut writer, mut reader) = private(64).unwrap();
    let (mut there, here) = UnixStream::pair().unwrap();
    let writing = asleep_in(move || writer.copy_from(here, u64::MAX).unwrap());
    for position in 0..10 {
        there.write_all(&bytes(position * 5, 5)).unwrap();
        let mut found = [0; 5];
        reader.read_exact(&mut found).unwrap();
        check(position * 5, &found);
    }
    drop(there);
    assert_eq!((writing.join().unwrap(), reader.read(&mut [0]).unwrap()), (50, 0));
}

#[test]
fn a_target_that_nobody_reads_any_more_is_a_broken_pipe_and_all_stays_in_the_pipe() {
    for (from, to) in pairs() {
        let (mut writer, mut reader) = private(64).unwrap();
        writer.write_all(&bytes(0, 50)).unwrap();
        drop(from);
        assert_eq!(reader.copy_to(to, 64).unwrap_err().kind(), ErrorKind::BrokenPipe);
        drop(writer);
        assert_eq!(rest(reader), bytes(0, 50));
    }
}

#[test]
fn descriptors_that_cannot_be_read_or_written_are_errors_and_change_nothing() {
    let (mut writer, mut reader) = private(Settings::new(64)).unwrap();
    writer.write_all(&bytes(0, 20)).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let (write_only, read_only) = (File::create(&path).unwrap(), File::open(&path).unwrap());
    let (from, to) = io::pipe().unwrap();
    let code = |outcome: io::Result<u64>| outcome.unwrap_err().raw_os_error().unwrap();
    for source in [write_only.as_fd(), to.as_fd()] {
        assert_eq!(code(writer.copy_from(source, 9)), libc::EBADF);
    }
    for target in [read_only.as_fd(), from.as_fd()] {
        assert_eq!(code(reader.copy_to(target, 9)), libc::EBADF);
    }
    assert_eq!(code(writer.copy_from(File::open(directory.path()).unwrap(), 9)), libc::EISDIR);
    assert_eq!(code(reader.copy_to(File::options().write(true).open("/dev/full").unwrap(), 9)), libc::ENOSPC);
    drop(writer);
    assert_eq!(rest(reader), bytes(0, 20));
}
