//! The byte stream under weak memory, with a thread that dies at every access, explored by loom: `ci/loom` runs this with
//! `--cfg loom --cfg crash_points`.
//!
//! The victim is a peer of its own. It runs an operation in which the n-th access unwinds instead of happening, for n = 1, 2, … until the operation
//! completes in every interleaving; then its lock falls, and a survivor reaps it or takes its end over.
#![cfg(all(loom, crash_points))]

#[path = "../../segment/tests/every_site/mod.rs"]
mod every_site;

use every_site::{kill_at_every_site, survives};
use loom::thread;
use shmkit_pipe::{Family, Pipe, Reader, Settings, Writer, private, private_at};
use shmkit_segment::Segment;
use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What there is to read now, and then the end or nothing.
fn read_what_is_there(reader: &mut Reader) -> Vec<u8> {
    let (mut got, mut byte) = (Vec::new(), [0]);
    while matches!(reader.try_read(&mut byte), Ok(1)) {
        got.push(byte[0]);
    }
    got
}

/// Its bytes are written together or not at all, and the next writer goes on behind them.
#[test]
fn writer_of_two_bytes() {
    kill_at_every_site("writer of two bytes", 3, |n| {
        let (writer, mut reader) = private_at(4, u64::MAX).unwrap();
        let segment = Arc::clone(reader.segment());
        drop(writer);
        let victim = segment.join().unwrap();
        let mut end = Writer::claim(&victim).unwrap();
        let thread = thread::spawn(move || {
            let completed = survives(n, || assert_eq!(end.write(&[1, 2]).unwrap(), 2));
            victim.die();
            (completed, end)
        });
        let mut got = read_what_is_there(&mut reader);
        let (completed, _end) = thread.join().unwrap();
        let written = Writer::claim(&segment).unwrap().try_write(&[3, 4, 5]).unwrap();
        got.extend(read_what_is_there(&mut reader));
        assert_eq!(reader.try_read(&mut [0]).unwrap(), 0);
        let (before, after) = got.split_at(if got[0] == 1 { 2 } else { 0 });
        assert!(before == [1, 2] || before.is_empty() && !completed, "{got:?}");
        assert!(*after == [3, 4, 5][..written] && written >= 2, "{got:?}");
        completed
    });
}

/// The reader sleeps when the writer dies, perhaps between the byte and the wake-up: it gets the byte, and the end.
#[test]
fn writer_for_whom_the_reader_waits() {
    kill_at_every_site("writer for whom the reader waits", 2, |n| {
        let (writer, mut reader) = private(1).unwrap();
        let segment = Arc::clone(reader.segment());
        drop(writer);
        let victim = segment.join().unwrap();
        let mut end = Writer::claim(&victim).unwrap();
        let thread = thread::spawn(move || {
            let completed = survives(n, || end.write_all(&[1, 2]).unwrap());
            victim.die();
            segment.reap_dead();
            (completed, end)
        });
        let mut got = Vec::new();
        reader.read_to_end(&mut got).unwrap();
        let (completed, _end) = thread.join().unwrap();
        assert!(got == [1, 2] || [1, 2].starts_with(&got) && !completed, "{got:?}");
        completed
    });
}

/// What it had not given back comes again to the next reader; and it gives nothing back that it has not copied.
#[test]
fn reader_of_one_byte() {
    kill_at_every_site("reader of one byte", 3, |n| {
        let (mut writer, reader) = private_at(2, u64::MAX).unwrap();
        let segment = Arc::clone(writer.segment());
        drop(reader);
        let victim = segment.join().unwrap();
        let mut end = Reader::claim(&victim).unwrap();
        assert_eq!(writer.try_write(&[1, 2]).unwrap(), 2);
        let thread = thread::spawn(move || {
            let mut noted = [0];
            let completed = survives(n, || assert_eq!(end.read(&mut noted).unwrap(), 1));
            victim.die();
            (completed, noted[0], end)
        });
        let written = writer.try_write(&[3]).is_ok();
        let (completed, noted, _end) = thread.join().unwrap();
        let got = read_what_is_there(&mut Reader::claim(&segment).unwrap());
        let (again, rest) = got.split_at(usize::from(got[0] == 1));
        assert!(rest == if written { &[2, 3][..] } else { &[2] }, "{got:?}");
        assert!(again.is_empty() && noted == 1 || !again.is_empty() && !completed && !written, "{got:?} {noted}");
        completed
    });
}

/// The writer sleeps when the reader dies, perhaps between the room and the wake-up: it uses the room, or learns of the death.
#[test]
fn reader_for_whom_the_writer_waits() {
    kill_at_every_site("reader for whom the writer waits", 3, |n| {
        let (mut writer, reader) = private(1).unwrap();
        let segment = Arc::clone(writer.segment());
        drop(reader);
        let victim = segment.join().unwrap();
        let mut end = Reader::claim(&victim).unwrap();
        assert_eq!(writer.write(&[1]).unwrap(), 1);
        let thread = thread::spawn(move || {
            let mut got = [0];
            let completed = survives(n, || end.read_exact(&mut got).unwrap());
            victim.die();
            segment.reap_dead();
            (completed, end)
        });
        let mut written = 1;
        let error = loop {
            match writer.write(&[written + 1]) {
                Ok(_) => written += 1,
                Err(error) => break error,
            }
        };
        assert!(error.kind() == ErrorKind::BrokenPipe && written <= 2, "{error} after {written}");
        let (completed, _end) = thread.join().unwrap();
        // What the dead one had not read waits for the next.
        let got = read_what_is_there(&mut Reader::claim(writer.segment()).unwrap());
        assert!([&[1][..], &[2], &[]].contains(&&got[..]) && (got != [1] || !completed), "{got:?}");
        assert_eq!(written == 2, got == [2]);
        completed
    });
}

/// It has grown the pipe or it has not; whichever, the next writer can grow it, further too, and no byte is lost.
#[test]
fn writer_that_grows() {
    kill_at_every_site("writer that grows", 3, |n| {
        let (writer, mut reader) = private_at(Settings::new(1).up_to(8), u64::MAX).unwrap();
        let segment = Arc::clone(reader.segment());
        drop(writer);
        let victim = segment.join().unwrap();
        let mut end = Writer::claim(&victim).unwrap();
        assert_eq!(end.try_write(&[1]).unwrap(), 1);
        let thread = thread::spawn(move || {
            let completed = survives(n, || {
                end.grow(4).unwrap();
                assert_eq!(end.try_write(&[2, 3]).unwrap(), 2);
            });
            victim.die();
            (completed, end)
        });
        let mut got = read_what_is_there(&mut reader);
        let (completed, _end) = thread.join().unwrap();
        let mut writer = Writer::claim(&segment).unwrap();
        assert!([1, 4].contains(&writer.capacity()));
        writer.grow(8).unwrap();
        assert_eq!((writer.capacity(), writer.try_write(&[4, 5, 6]).unwrap()), (8, 3));
        drop(writer);
        got.extend(read_what_is_there(&mut reader));
        assert!(got == [1, 2, 3, 4, 5, 6] || got == [1, 4, 5, 6] && !completed, "{got:?}");
        completed
    });
}

/// Two die one after the other over the same growth, each at each site; what the first has noted of it is not the second one's.
#[test]
fn writer_that_grows_after_one_that_died_of_it() {
    /// Grows and writes a byte, on behalf of a peer that dies of it, or after it: whether it completed.
    fn grow(segment: &Segment<Pipe<Family>>, n: u64, byte: u8) -> bool {
        let victim = segment.join().unwrap();
        let mut end = Writer::claim(&victim).unwrap();
        let completed = survives(n, || {
            end.grow(4).unwrap();
            assert_eq!(end.try_write(&[byte]).unwrap(), 1);
        });
        victim.die();
        completed
    }
    static FIRST_COMPLETED: AtomicBool = AtomicBool::new(false);
    let name = "writer that grows after one that died of it";
    for n in (1..).take_while(|_| !FIRST_COMPLETED.load(Ordering::Relaxed)) {
        kill_at_every_site(name, 3, move |then| {
            let (writer, mut reader) = private(Settings::new(1).up_to(4)).unwrap();
            let segment = Arc::clone(reader.segment());
            drop(writer);
            let first = grow(&segment, n, 1);
            FIRST_COMPLETED.store(first, Ordering::Relaxed);
            let mut got = read_what_is_there(&mut reader);
            let second = grow(&segment, then, 2);
            got.extend(read_what_is_there(&mut reader));
            let mut writer = Writer::claim(&segment).unwrap();
            writer.grow(4).unwrap();
            assert_eq!(writer.try_write(&[3, 4]).unwrap(), 2);
            got.extend(read_what_is_there(&mut reader));
            assert!(got.is_sorted() && got.ends_with(&[3, 4]), "{got:?}");
            assert!((!first || got.contains(&1)) && (!second || got.contains(&2)), "{got:?}");
            second
        });
    }
}

/// It dies on its way from area to area, and the next reader goes on in the right one.
#[test]
fn reader_of_a_pipe_that_has_grown() {
    kill_at_every_site("reader of a pipe that has grown", 3, |n| {
        let (mut writer, reader) = private_at(Settings::new(1).up_to(4), u64::MAX).unwrap();
        let segment = Arc::clone(writer.segment());
        drop(reader);
        let victim = segment.join().unwrap();
        let mut end = Reader::claim(&victim).unwrap();
        assert_eq!(writer.try_write(&[1]).unwrap(), 1);
        let thread = thread::spawn(move || {
            let mut noted = [0; 3];
            let completed = survives(n, || assert!(end.read(&mut noted).unwrap() >= 1));
            victim.die();
            (completed, end)
        });
        writer.grow(2).unwrap();
        assert_eq!(writer.try_write(&[2]).unwrap(), 1);
        writer.grow(4).unwrap();
        assert_eq!(writer.try_write(&[3, 4]).unwrap(), 2);
        let (completed, _end) = thread.join().unwrap();
        let got = read_what_is_there(&mut Reader::claim(&segment).unwrap());
        assert!([1, 2, 3, 4].ends_with(&got) && !got.is_empty() && (got.len() < 4 || !completed), "{got:?}");
        completed
    });
}
