//! Each form of writing and reading: when it blocks and for how long, what it gives then, and what it says when there is nobody left or the end is not here any more.
#![cfg(not(loom))]

#[path = "../../sync/tests/asleep/mod.rs"]
mod asleep;
mod content;
#[path = "../../queue/tests/handed/mod.rs"]
mod handed;

use asleep::asleep_in;
use content::{bytes, check};
use handed::hand_over;
use shmkit_pipe::{Error, Reader, Settings, Stranger, Trust, Writer, pipe_for_strangers, pipe_with, private};
use shmkit_segment::Side;
use shmkit_sync::Select;
use std::fmt::Debug;
use std::io::{self, BufRead, BufReader, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

const MOMENT: Duration = Duration::from_millis(2);

#[track_caller]
fn fails<R: Debug>(kind: ErrorKind, outcome: io::Result<R>) {
    assert_eq!(outcome.map_err(|error| error.kind()).unwrap_err(), kind);
}

/// Checks that a wait fails, and not before its time.
#[track_caller]
fn times_out<R: Debug>(wait: impl FnOnce(Duration) -> io::Result<R>) {
    let begin = Instant::now();
    fails(ErrorKind::TimedOut, wait(MOMENT));
    assert!(begin.elapsed() >= MOMENT);
}

/// As [`times_out`], for one that is told until when.
#[track_caller]
fn ends_at_its_deadline<R: Debug>(wait: impl FnOnce(Instant) -> io::Result<R>) {
    let deadline = Instant::now() + MOMENT;
    fails(ErrorKind::TimedOut, wait(deadline));
    assert!(Instant::now() >= deadline);
}

/// Everything that is still to come.
fn rest<T: Trust>(mut reader: Reader<T>) -> Vec<u8> {
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    rest
}

fn full<T: Trust>((mut writer, reader): (Writer<T>, Reader<T>)) {
    assert_eq!((writer.capacity(), writer.try_write(&bytes(0, 100)).unwrap()), (64, 64));
    fails(ErrorKind::WouldBlock, writer.try_write(b"x"));
    times_out(|timeout| writer.write_timeout(b"x", timeout));
    ends_at_its_deadline(|deadline| writer.write_deadline(b"x", deadline));
    fails(ErrorKind::TimedOut, writer.write_timeout(b"x", Duration::ZERO));
    fails(ErrorKind::TimedOut, writer.write_deadline(b"x", Instant::now()));
    drop(writer);
    assert_eq!(rest(reader), bytes(0, 64));
}

fn empty<T: Trust>((mut writer, mut reader): (Writer<T>, Reader<T>)) {
    // Once before anything has passed, and once after.
    for position in [0, 1] {
        fails(ErrorKind::WouldBlock, reader.try_read(&mut [0]));
        times_out(|timeout| reader.read_timeout(&mut [0], timeout));
        ends_at_its_deadline(|deadline| reader.read_deadline(&mut [0], deadline));
        fails(ErrorKind::TimedOut, reader.read_timeout(&mut [0], Duration::ZERO));
        fails(ErrorKind::TimedOut, reader.read_deadline(&mut [0], Instant::now()));
        assert_eq!(writer.write(&bytes(position, 1)).unwrap(), 1);
        let mut found = [0; 9];
        assert_eq!(reader.read(&mut found).unwrap(), 1);
        check(position, &found[..1]);
    }
}

#[test]
fn a_full_pipe_says_so_in_time_and_nothing_was_written() {
    full(private(64).unwrap());
    full(pipe_with(64).unwrap());
    full::<Stranger>(pipe_for_strangers(64).unwrap());
}

#[test]
fn an_empty_pipe_says_so_in_time() {
    empty(private(64).unwrap());
    empty(pipe_with(64).unwrap());
    empty::<Stranger>(pipe_for_strangers(64).unwrap());
}

#[test]
fn a_deadline_that_has_passed_still_lets_through_what_is_possible_at_once() {
    let (mut writer, mut reader) = private(4).unwrap();
    let past = Instant::now();
    assert_eq!(writer.write_deadline(b"ab", past).unwrap(), 2);
    assert_eq!(writer.write_timeout(b"cd", Duration::ZERO).unwrap(), 2);
    assert_eq!(reader.read_deadline(&mut [0; 3], past).unwrap(), 3);
    assert_eq!(reader.read_timeout(&mut [0; 3], Duration::ZERO).unwrap(), 1);
    assert_eq!(writer.reserve_deadline(4, past).unwrap().len(), 4);
}

#[test]
fn the_longest_timeout_waits_until_there_is_something() {
    let (mut writer, mut reader) = private(1).unwrap();
    let reading = asleep_in(move || (reader.read_timeout(&mut [0; 9], Duration::MAX).unwrap(), reader));
    writer.write_all(b"a").unwrap();
    let (count, mut reader) = reading.join().unwrap();
    assert_eq!(count, 1);
    writer.write_all(b"b").unwrap();
    let writing = asleep_in(move || writer.write_timeout(b"cd", Duration::MAX).unwrap());
    assert_eq!(reader.read(&mut [0]).unwrap(), 1);
    assert_eq!(writing.join().unwrap(), 1);
}

#[test]
fn who_sleeps_in_any_form_of_reading_is_woken_by_the_first_byte() {
    type Form = fn(&mut Reader) -> Vec<u8>;
    let forms: [Form; 5] = [
        |reader| vec![reader.read(&mut [0; 9]).unwrap() as u8],
        |reader| vec![reader.read_deadline(&mut [0; 9], Instant::now() + Duration::from_secs(1_000)).unwrap() as u8],
        |reader| {
            vec![reader.read_vectored(&mut [IoSliceMut::new(&mut []), IoSliceMut::new(&mut [0; 9])]).unwrap() as u8]
        },
        |reader| vec![reader.fill_buf().unwrap().len() as u8],
        |reader| vec![reader.copy_to(tempfile::tempfile().unwrap(), 1).unwrap() as u8],
    ];
    for form in forms {
        let (mut writer, mut reader) = private(64).unwrap();
        let reading = asleep_in(move || form(&mut reader));
        writer.write_all(b"x").unwrap();
        assert_eq!(reading.join().unwrap(), [1]);
    }
}

#[test]
fn who_sleeps_in_any_form_of_writing_is_woken_by_the_first_room() {
    type Form = fn(&mut Writer) -> usize;
    let forms: [Form; 5] = [
        |writer| writer.write(b"xy").unwrap(),
        |writer| writer.write_deadline(b"xy", Instant::now() + Duration::from_secs(1_000)).unwrap(),
        |writer| writer.write_vectored(&[IoSlice::new(b""), IoSlice::new(b"xy")]).unwrap(),
        |writer| writer.reserve(9).unwrap().len(),
        |writer| writer.copy_from(std::fs::File::open("/dev/zero").unwrap(), 1).unwrap() as usize,
    ];
    for form in forms {
        let (mut writer, mut reader) = private(64).unwrap();
        writer.write_all(&[0; 64]).unwrap();
        let writing = asleep_in(move || form(&mut writer));
        assert_eq!(reader.read(&mut [0]).unwrap(), 1);
        assert_eq!(writing.join().unwrap(), 1);
    }
}

/// All forms in which nothing is to be written or read.
fn do_nothing(writer: &mut Writer, reader: &mut Reader) {
    let (mut none, now) = ([], Instant::now());
    assert_eq!((writer.write(&none).unwrap(), writer.try_write(&none).unwrap()), (0, 0));
    assert_eq!((writer.write_timeout(&none, MOMENT).unwrap(), writer.write_deadline(&none, now).unwrap()), (0, 0));
    assert_eq!(writer.write_vectored(&[]).unwrap(), 0);
    assert_eq!(writer.write_vectored(&[IoSlice::new(&none), IoSlice::new(&none)]).unwrap(), 0);
    assert_eq!(writer.copy_from(io::stderr(), 0).unwrap(), 0);
    writer.flush().unwrap();
    assert_eq!((reader.read(&mut none).unwrap(), reader.try_read(&mut none).unwrap()), (0, 0));
    assert_eq!(
        (reader.read_timeout(&mut none, MOMENT).unwrap(), reader.read_deadline(&mut none, now).unwrap()),
        (0, 0)
    );
    assert_eq!(reader.read_vectored(&mut []).unwrap(), 0);
    assert_eq!(reader.read_vectored(&mut [IoSliceMut::new(&mut []), IoSliceMut::new(&mut [])]).unwrap(), 0);
    assert_eq!(reader.copy_to(io::stdin(), 0).unwrap(), 0);
    reader.consume(0);
}

#[test]
fn nothing_is_written_and_read_at_once_whatever_the_state_of_the_pipe() {
    let (mut writer, mut reader) = private(2).unwrap();
    do_nothing(&mut writer, &mut reader);
    writer.write_all(b"ab").unwrap();
    do_nothing(&mut writer, &mut reader);
    assert_eq!((writer.try_reserve(0).unwrap().len(), writer.reserve(0).unwrap().len()), (0, 0));
    writer.reserve_timeout(0, MOMENT).unwrap().commit(0);
    writer.reserve_deadline(0, Instant::now()).unwrap().commit(0);
    let ((mut lonely, other), (another, mut last)) = (private(2).unwrap(), private(2).unwrap());
    drop((other, another));
    do_nothing(&mut lonely, &mut last);
    drop(writer);
    assert_eq!(rest(reader), b"ab");
}

#[test]
fn slices_are_gathered_and_scattered_as_far_as_there_is_room_and_something() {
    let (mut writer, mut reader) = private(8).unwrap();
    let three = [IoSlice::new(b"abc"), IoSlice::new(b""), IoSlice::new(b"defg"), IoSlice::new(b"hijk")];
    assert_eq!(writer.write_vectored(&three).unwrap(), 8);
    let (mut first, mut second) = ([0; 2], [0; 4]);
    let mut slices = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut []), IoSliceMut::new(&mut second)];
    assert_eq!(reader.read_vectored(&mut slices).unwrap(), 6);
    assert_eq!((&first, &second), (b"ab", b"cdef"));
    assert_eq!(writer.write_vectored(&three[..1]).unwrap(), 3);
    let (mut first, mut second) = ([0; 3], [b'.'; 4]);
    assert_eq!(reader.read_vectored(&mut [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)]).unwrap(), 5);
    assert_eq!((&first, &second), (b"gha", b"bc.."));
}

#[test]
fn the_end_of_the_stream_comes_after_the_last_byte_in_all_forms_and_again_and_again() {
    let (mut writer, mut reader) = private(8).unwrap();
    writer.write_all(b"last").unwrap();
    drop(writer);
    assert_eq!(reader.try_read(&mut [0]).unwrap(), 1);
    assert_eq!(reader.fill_buf().unwrap(), b"ast");
    assert_eq!(reader.read_timeout(&mut [0; 9], MOMENT).unwrap(), 3);
    for _ in 0..3 {
        assert_eq!((reader.read(&mut [0]).unwrap(), reader.try_read(&mut [0]).unwrap()), (0, 0));
        assert_eq!(reader.read_timeout(&mut [0], MOMENT).unwrap(), 0);
        assert_eq!(reader.read_deadline(&mut [0], Instant::now()).unwrap(), 0);
        assert_eq!(reader.read_vectored(&mut [IoSliceMut::new(&mut [0])]).unwrap(), 0);
        assert_eq!((reader.fill_buf().unwrap().len(), reader.copy_to(io::stderr(), 9).unwrap()), (0, 0));
        reader.consume(0);
    }
}

#[test]
fn a_sleeper_wakes_when_the_other_end_is_dropped() {
    let (writer, mut reader) = private(8).unwrap();
    let reading = asleep_in(move || reader.read(&mut [0]).unwrap());
    drop(writer);
    assert_eq!(reading.join().unwrap(), 0);
    let (mut writer, reader) = private(8).unwrap();
    let writing = asleep_in(move || writer.write_all(&[0; 9]).unwrap_err().kind());
    drop(reader);
    assert_eq!(writing.join().unwrap(), ErrorKind::BrokenPipe);
}

#[test]
fn writing_without_a_reader_is_a_broken_pipe_in_all_forms() {
    let (mut writer, reader) = private(Settings::new(8).up_to(16)).unwrap();
    writer.write_all(b"lost").unwrap();
    drop(reader);
    let zeros = std::fs::File::open("/dev/zero").unwrap();
    fails(ErrorKind::BrokenPipe, writer.write(b"x"));
    fails(ErrorKind::BrokenPipe, writer.try_write(b"x"));
    fails(ErrorKind::BrokenPipe, writer.write_timeout(b"x", MOMENT));
    fails(ErrorKind::BrokenPipe, writer.write_deadline(b"x", Instant::now()));
    fails(ErrorKind::BrokenPipe, writer.write_vectored(&[IoSlice::new(b"x")]));
    fails(ErrorKind::BrokenPipe, writer.copy_from(zeros, 9));
    for most in [0, 9] {
        fails(ErrorKind::BrokenPipe, writer.try_reserve(most).map(drop));
        fails(ErrorKind::BrokenPipe, writer.reserve(most).map(drop));
        fails(ErrorKind::BrokenPipe, writer.reserve_timeout(most, MOMENT).map(drop));
        fails(ErrorKind::BrokenPipe, writer.reserve_deadline(most, Instant::now()).map(drop));
    }
    // For a successor of the reader.
    writer.grow(16).unwrap();
    assert_eq!((writer.capacity(), writer.segment().side(1)), (16, Side::Closed));
}

#[test]
fn what_is_committed_is_written_and_what_is_dropped_is_not() {
    let (mut writer, mut reader) = private(8).unwrap();
    let mut room = writer.reserve(6).unwrap();
    room[..3].copy_from_slice(b"abc");
    assert_eq!(room.len(), 6);
    room.commit(2);
    writer.try_reserve(6).unwrap().fill(b'!');
    // Up to the end of the ring, and then what is at its beginning.
    let mut room = writer.reserve(100).unwrap();
    assert_eq!(room.len(), 6);
    room.copy_from_slice(b"cdefgh");
    room.commit(6);
    fails(ErrorKind::WouldBlock, writer.try_reserve(1).map(drop));
    times_out(|timeout| writer.reserve_timeout(1, timeout).map(drop));
    ends_at_its_deadline(|deadline| writer.reserve_deadline(1, deadline).map(drop));
    assert_eq!(reader.read(&mut [0; 3]).unwrap(), 3);
    let mut room = writer.reserve_timeout(2, MOMENT).unwrap();
    room.copy_from_slice(b"ij");
    room.commit(2);
    drop(writer);
    assert_eq!(rest(reader), b"defghij");
}

#[test]
#[should_panic = "3 bytes are committed, of 2 that there are"]
fn committing_more_than_was_reserved_panics() {
    private(8).unwrap().0.reserve(2).unwrap().commit(3);
}

#[test]
#[should_panic = "3 bytes were consumed, of 2 that there are"]
fn consuming_more_than_was_shown_panics() {
    let (mut writer, mut reader) = private(8).unwrap();
    writer.write_all(b"ab").unwrap();
    assert_eq!(reader.fill_buf().unwrap(), b"ab");
    reader.consume(3);
}

#[test]
fn lines_are_read_in_place_and_across_the_end_of_the_ring() {
    let (mut writer, mut reader) = private(8).unwrap();
    writer.write_all(b"abcde\n").unwrap();
    assert_eq!((reader.fill_buf().unwrap().len(), reader.fill_buf().unwrap()), (6, &b"abcde\n"[..]));
    let mut line = String::new();
    assert_eq!((reader.read_line(&mut line).unwrap(), &*line), (6, "abcde\n"));
    writer.write_all(b"fgh\ni\n").unwrap();
    assert_eq!(reader.fill_buf().unwrap(), b"fg");
    reader.consume(1);
    assert_eq!(reader.fill_buf().unwrap(), b"g");
    let reading = asleep_in(move || reader.lines().map(Result::unwrap).collect::<Vec<_>>());
    writer.write_all(b"a long line, ").unwrap();
    writer.write_all(b"and no end").unwrap();
    drop(writer);
    assert_eq!(reading.join().unwrap(), ["gh", "i", "a long line, and no end"]);
}

#[test]
fn strangers_read_lines_through_a_buffer_of_their_own() {
    let (mut writer, reader) = pipe_for_strangers(8).unwrap();
    let reading = asleep_in(move || BufReader::new(reader).lines().map(Result::unwrap).collect::<Vec<_>>());
    writeln!(writer, "a line that is longer than the pipe").unwrap();
    write!(writer, "{}", 7).unwrap();
    drop(writer);
    assert_eq!(reading.join().unwrap(), ["a line that is longer than the pipe", "7"]);
}

#[test]
fn a_watch_is_met_when_there_is_something_and_when_there_never_will_be() {
    let (mut writer, mut reader) = private(Settings::new(2).up_to(4)).unwrap();
    let (data, room) = (reader.watch(), writer.watch());
    let mut select = Select::from_iter([Arc::clone(&data), Arc::clone(&room)]);
    assert_eq!((data.is_met(), room.is_met(), select.try_wait()), (false, true, Some(1)));
    writer.write_all(b"ab").unwrap();
    assert_eq!((data.is_met(), room.is_met(), select.try_wait()), (true, false, Some(0)));
    writer.grow(4).unwrap();
    assert!(room.is_met());
    writer.write_all(b"cdef").unwrap();
    assert!(!room.is_met());
    let selecting = asleep_in(move || Select::from_iter([room]).wait());
    assert_eq!(reader.read(&mut [0; 3]).unwrap(), 3);
    assert_eq!(selecting.join().unwrap(), 0);
    assert_eq!(reader.read(&mut [0; 4]).unwrap(), 3);
    assert!(!data.is_met());
    let selecting = asleep_in(move || Select::from_iter([data]).wait());
    drop(writer);
    assert_eq!(selecting.join().unwrap(), 0);
}

#[test]
fn a_writer_that_was_moved_is_of_no_use_here_and_works_there() {
    let (mut writer, mut reader) = pipe_with(Settings::new(64).up_to(128)).unwrap();
    writer.write_all(b"before, ").unwrap();
    let mut moved = hand_over(&writer);
    let zeros = std::fs::File::open("/dev/zero").unwrap();
    fails(ErrorKind::Other, writer.write(b"x"));
    fails(ErrorKind::Other, writer.try_write(b"x"));
    fails(ErrorKind::Other, writer.write_timeout(b"x", MOMENT));
    fails(ErrorKind::Other, writer.write_vectored(&[IoSlice::new(b"x")]));
    fails(ErrorKind::Other, writer.reserve(9).map(drop));
    fails(ErrorKind::Other, writer.try_reserve(0).map(drop));
    fails(ErrorKind::Other, writer.copy_from(zeros, 9));
    assert!(matches!(writer.grow(128), Err(Error::NotTransferable(_))));
    assert!(matches!(Writer::claim(writer.segment()), Err(Error::RoleTaken { .. })));
    moved.grow(128).unwrap();
    drop(writer);
    moved.write_all(b"after").unwrap();
    assert_eq!(reader.read(&mut [0; 8]).unwrap(), 8);
    drop(moved);
    assert_eq!(rest(reader), b"after");
}

#[test]
fn a_reader_that_was_moved_is_of_no_use_here_and_works_there() {
    let (mut writer, mut reader) = pipe_with(64).unwrap();
    writer.write_all(b"before, ").unwrap();
    // It knows of all of them; they must not be read twice.
    assert_eq!(reader.fill_buf().unwrap(), b"before, ");
    let mut moved = hand_over(&reader);
    reader.consume(3);
    fails(ErrorKind::Other, reader.read(&mut [0]));
    fails(ErrorKind::Other, reader.try_read(&mut [0]));
    fails(ErrorKind::Other, reader.read_timeout(&mut [0], MOMENT));
    fails(ErrorKind::Other, reader.read_vectored(&mut [IoSliceMut::new(&mut [0])]));
    fails(ErrorKind::Other, reader.fill_buf().map(<[u8]>::len));
    fails(ErrorKind::Other, reader.copy_to(io::stderr(), 9));
    // Nor is what it knows of given back for another one.
    assert_eq!(writer.try_write(&bytes(0, 64)).unwrap(), 56);
    drop(reader);
    assert_eq!(moved.read(&mut [0; 8]).unwrap(), 8);
    writer.write_all(b"after").unwrap();
    drop(writer);
    assert_eq!(rest(moved), [&bytes(0, 56)[..], b"after"].concat());
}

#[test]
fn ends_say_what_they_are_and_belong_to_threads() {
    fn check<E: Debug + Send + 'static>(end: &E, name: &str) {
        let shown = format!("{end:?}");
        assert!(shown.starts_with(name) && shown.ends_with("bytes"), "{shown}");
    }
    let (writer, reader) = private(64).unwrap();
    check(&writer, "Writer");
    check(&reader, "Reader");
    let (writer, reader) = pipe_for_strangers(64).unwrap();
    check(&writer, "Writer");
    check(&reader, "Reader");
}

#[test]
fn a_capacity_that_is_no_power_of_two_is_an_error() {
    for capacity in [0, 3, 6, 1000, usize::MAX, 1 << 63] {
        assert!(matches!(private(capacity), Err(Error::Geometry(_))), "{capacity}");
        assert!(matches!(pipe_with(capacity), Err(Error::Geometry(_))), "{capacity}");
        assert!(matches!(pipe_for_strangers(capacity), Err(Error::Geometry(_))), "{capacity}");
    }
    assert_eq!(
        (Settings::default(), Settings::from(64)),
        (Settings::new(Settings::CAPACITY), Settings::new(64).up_to(64))
    );
}
