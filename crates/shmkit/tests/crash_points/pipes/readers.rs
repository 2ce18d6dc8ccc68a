//! Readers that are killed at every site: the writer learns of it, and the next reader goes on behind what they gave back. They give nothing back that they
//! had not copied, and know of all but the last that they gave back.

use super::{bytes, check, drain, expect_alone, pipe_after, wait_for};
use crate::harness::{Orders, at_every_site_often, came_through};
use crate::traffic::NEVER;
use serde::{Deserialize, Serialize};
use shmkit::pipe::{Reader, Settings};
use shmkit::process::spawn;
use shmkit::segment::crash;
use std::fs::File;
use std::io::{BufRead, ErrorKind, IoSliceMut, Read, Write};
use std::path::{Path, PathBuf};

/// What a reader does.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Way {
    Read,
    Vectored,
    InPlace,
    ToFile,
    /// It waits for bytes beside other things.
    Watched,
}

/// Bytes at a time.
const PIECE: usize = 2_500;

/// Reads until the end from `position` on, and notes the position behind each piece: if in place, before it is given back.
fn read((orders, mut reader, position, way, target): (Orders, Reader, usize, Way, PathBuf)) {
    let target = File::create(target).expect("a writable directory");
    let mut buffer = vec![0; PIECE];
    let mut ledger = orders.arm();
    let mut done = position;
    loop {
        let count = match way {
            Way::Read => reader.read(&mut buffer).expect("the parent writes"),
            Way::Vectored => {
                let (first, second) = buffer.split_at_mut(700);
                let mut slices = [IoSliceMut::new(first), IoSliceMut::new(second)];
                reader.read_vectored(&mut slices).expect("the parent writes")
            }
            Way::InPlace => {
                let there = reader.fill_buf().expect("the parent writes");
                let count = there.len().min(PIECE);
                check(done, &there[..count]);
                ledger.note((done + count) as u64);
                reader.consume(count);
                count
            }
            Way::Watched => {
                wait_for(reader.watch());
                reader.try_read(&mut buffer).expect("there is something, or the end")
            }
            Way::ToFile => reader.copy_to(&target, PIECE as u64).expect("the parent writes") as usize,
        };
        if count == 0 {
            break;
        }
        if let Way::Read | Way::Vectored | Way::Watched = way {
            check(done, &buffer[..count]);
        }
        done += count;
        if way != Way::InPlace {
            ledger.note(done as u64);
        }
    }
    // Leaving is the same for all.
    if way != Way::Read {
        crash::disarm();
    }
    drop(reader);
    crash::disarm();
}

/// What `way` says of a reader that began at `position`, beside its ledger: the least and the most that it can have given back.
fn given_back(orders: &Orders, position: usize, way: Way, target: &Path) -> (usize, usize) {
    let mut notes = orders.ledger().into_iter().map(|note| note as usize).rev();
    match way {
        // Noted just before.
        Way::InPlace => {
            let last = notes.next().unwrap_or(position);
            (notes.next().unwrap_or(position), last)
        }
        Way::ToFile => {
            let written = std::fs::read(target).unwrap_or_default();
            check(position, &written);
            (notes.next().unwrap_or(position), position + written.len())
        }
        Way::Read | Way::Vectored | Way::Watched => {
            let least = notes.next().unwrap_or(position);
            (least, least + PIECE)
        }
    }
}

/// A reader that begins behind `passed` bytes. `pieces` are written before it begins, each after the pipe has grown to so much; `later` as it reads.
fn reader(
    name: &str,
    often: u64,
    settings: Settings,
    passed: usize,
    pieces: &[(usize, usize)],
    later: usize,
    way: Way,
) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let target = directory.path().join("target");
    at_every_site_often(name, often, |orders| {
        orders.forget();
        let (mut writer, reader) = pipe_after(settings, passed);
        let segment = writer.segment().clone();
        let mut end = passed;
        for &(capacity, count) in pieces {
            writer.grow(capacity).unwrap();
            assert_eq!(writer.try_write(&bytes(end, count)).unwrap(), count);
            end += count;
        }
        let victim = spawn(read, (orders.clone(), reader, passed, way, target.clone())).unwrap();
        let all = bytes(end, later);
        let mut rest = &all[..];
        while !rest.is_empty() {
            match writer.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
                Err(error) => panic!("{error}"),
            }
        }
        end += later - rest.len();
        drop(writer);
        let done = came_through(victim);
        expect_alone(&segment);
        let (least, most) = given_back(orders, passed, way, &target);
        let mut reader = Reader::claim(&segment).expect("the last one is dead");
        // It begins where the dead one was.
        let mut found = Vec::new();
        reader.read_to_end(&mut found).unwrap();
        let from = end - found.len();
        check(from, &found);
        assert!(least <= from && from <= most, "{from} bytes were given back; the dead one knew of {least} and {most}");
        assert!(!done || found.is_empty());
        done
    });
}

/// The writer waits for room when the reader dies.
fn reader_for_whom_the_writer_waits() {
    fn read_one((orders, mut reader): (Orders, Reader)) {
        orders.arm();
        reader.read_exact(&mut [0; 700]).expect("there are more");
        crash::disarm();
        drop(reader);
    }
    at_every_site_often("reader for whom the writer waits", 2, |orders| {
        let (mut writer, reader) = pipe_after(Settings::new(1024), 500);
        let mut end = 500 + writer.try_write(&bytes(500, 1024)).unwrap();
        let victim = spawn(read_one, (orders.clone(), reader)).unwrap();
        let error = loop {
            match writer.write_timeout(&bytes(end, 100), NEVER) {
                Ok(count) => end += count,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        let done = came_through(victim);
        let mut next = Reader::claim(writer.segment()).expect("the last one is dead");
        let from = if end > 1524 { 1200 } else { 500 };
        assert!(end <= 1524 + 700);
        // It may have been killed just behind the store that gave them back.
        let mut found = vec![0; 4_096];
        let count = next.try_read(&mut found).unwrap();
        let begun = end - count;
        check(begun, &found[..count]);
        assert!([500, 1200].contains(&begun) && begun >= from && (!done || begun == 1200), "{begun}");
        // And the writer goes on.
        writer.write_all(&bytes(end, 50)).unwrap();
        assert_eq!(drain(&mut next, end), 50);
        done
    });
}

pub(crate) fn all() {
    let large = Settings::new(8192);
    reader("reader", 1, large, 5_000, &[(0, 6_000)], 0, Way::Read);
    reader("reader of several slices", 1, large, 5_000, &[(0, 6_000)], 0, Way::Vectored);
    reader("reader in place", 1, large, 5_000, &[(0, 6_000)], 0, Way::InPlace);
    reader("reader into a file", 1, large, 5_000, &[(0, 6_000)], 0, Way::ToFile);
    let growing = Settings::new(2048).up_to(16_384);
    let grown = [(0, 1_000), (4096, 3_000), (16_384, 7_000)];
    reader("reader of a pipe that has grown", 1, growing, 1_500, &grown, 0, Way::Read);
    reader("reader in place of a pipe that has grown", 1, growing, 1_500, &grown, 0, Way::InPlace);
    let small = Settings::new(1024);
    reader("reader that must wait", 3, small, 500, &[], 4_000, Way::Read);
    reader("reader in place that must wait", 3, small, 500, &[], 4_000, Way::InPlace);
    reader("reader that waits for bytes by its watch", 3, small, 500, &[], 4_000, Way::Watched);
    reader("reader into a file that must wait", 3, small, 500, &[], 4_000, Way::ToFile);
    reader_for_whom_the_writer_waits();
}
