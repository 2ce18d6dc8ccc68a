//! Writers that are killed at every site: the reader gets all that they knew to be written, and perhaps what they were writing, as far as one store
//! published it; then the end of the stream; and the next writer goes on behind that.

use super::{byte, bytes, check, drain, expect_alone, pipe_after, wait_for};
use crate::harness::{Orders, at_every_site, at_every_site_often, came_through};
use serde::{Deserialize, Serialize};
use shmkit::pipe::{Settings, Writer};
use shmkit::process::spawn;
use shmkit::segment::crash;
use std::io::{IoSlice, Read, Seek, SeekFrom, Write};

/// What a writer does.
#[derive(Clone, Copy, Serialize, Deserialize)]
enum Way {
    Write,
    Vectored,
    InPlace,
    /// It grows the pipe to this before its second piece.
    Growing(usize),
    FromFile,
    /// It waits for room beside other things.
    Watched,
}

/// Bytes of a piece, and pieces.
const PIECE: usize = 3_000;
const PIECES: usize = 2;

/// Writes the pieces from `position` on, and notes the position behind each.
fn write((orders, mut writer, position, way): (Orders, Writer, usize, Way)) {
    let pieces: Vec<Vec<u8>> = (0..PIECES).map(|piece| bytes(position + piece * PIECE, PIECE)).collect();
    let mut source = tempfile::tempfile().expect("a temporary file");
    source.write_all(&pieces.concat()).and_then(|()| source.seek(SeekFrom::Start(0))).expect("a writable file");
    let mut ledger = orders.arm();
    let mut done = position;
    for piece in &pieces {
        let until = done + PIECE;
        match way {
            Way::Growing(capacity) if done > position => writer.grow(capacity).expect("it was made to grow"),
            _ => {}
        }
        while done < until {
            let rest = &piece[PIECE - (until - done)..];
            done += match way {
                Way::Write | Way::Growing(_) => writer.write(rest).expect("the parent reads"),
                Way::Vectored => {
                    let (first, second) = rest.split_at(rest.len() / 3);
                    writer.write_vectored(&[IoSlice::new(first), IoSlice::new(second)]).expect("the parent reads")
                }
                Way::InPlace => {
                    let mut room = writer.reserve(rest.len()).expect("the parent reads");
                    let count = room.len();
                    room.copy_from_slice(&rest[..count]);
                    room.commit(count);
                    count
                }
                Way::Watched => {
                    wait_for(writer.watch());
                    writer.try_write(rest).expect("there is room")
                }
                Way::FromFile => writer.copy_from(&source, rest.len() as u64).expect("the parent reads") as usize,
            };
            ledger.note(done as u64);
        }
    }
    // Leaving is the same for all.
    if !matches!(way, Way::Write) {
        crash::disarm();
    }
    drop(writer);
    crash::disarm();
}

/// A writer that begins behind `passed` bytes in a pipe of these settings.
fn writer(name: &str, often: u64, settings: Settings, passed: usize, way: Way) {
    at_every_site_often(name, often, |orders| {
        orders.forget();
        let (writer, mut reader) = pipe_after(settings, passed);
        let victim = spawn(write, (orders.clone(), writer, passed, way)).unwrap();
        let mut received = Vec::new();
        reader.read_to_end(&mut received).unwrap();
        let done = came_through(victim);
        check(passed, &received);
        let (end, known) = (passed + received.len(), orders.ledger().last().map_or(passed, |&known| known as usize));
        assert!(known <= end && end <= passed + PIECE * PIECES, "{known} bytes were known to be written, {end} came");
        assert!(!done || known == passed + PIECE * PIECES);
        // Who comes next goes on.
        expect_alone(reader.segment());
        let mut writer = Writer::claim(reader.segment()).expect("the last one is dead");
        assert_eq!(writer.try_write(&bytes(end, 1_000)).unwrap(), 1_000);
        assert_eq!(drain(&mut reader, end), 1_000);
        if let Way::Growing(capacity) = way {
            writer.grow(capacity).unwrap();
            assert_eq!(writer.try_write(&bytes(end + 1_000, capacity)).unwrap(), capacity);
            assert_eq!(drain(&mut reader, end + 1_000), capacity);
        }
        drop(writer);
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
        done
    });
}

/// The reader does not read before the writer is dead: what was in place, and not committed, is never seen.
fn reservation_that_is_given_up() {
    fn reserve((orders, mut writer, position): (Orders, Writer, usize)) {
        let mut ledger = orders.arm();
        let mut room = writer.try_reserve(PIECE).expect("there is room");
        room.fill(!byte(position));
        drop(room);
        let mut room = writer.try_reserve(PIECE).expect("there is room");
        let count = room.len().min(1_000);
        room[..count].copy_from_slice(&bytes(position, count));
        room.commit(count);
        crash::disarm();
        ledger.note(count as u64);
    }
    at_every_site("writer in place that thinks better of it", |orders| {
        let (writer, mut reader) = pipe_after(Settings::new(4096), 2_000);
        let done = came_through(spawn(reserve, (orders.clone(), writer, 2_000)).unwrap());
        let received = drain(&mut reader, 2_000);
        assert!([0, 1_000].contains(&received) && (orders.ledger().is_empty() || received == 1_000));
        done
    });
}

pub(crate) fn all() {
    // Room for all of it, and once round.
    let large = Settings::new(8192);
    writer("writer", 1, large, 5_000, Way::Write);
    writer("writer of several slices", 1, large, 5_000, Way::Vectored);
    writer("writer in place", 1, large, 5_000, Way::InPlace);
    writer("writer of a file", 1, large, 5_000, Way::FromFile);
    writer("writer that grows its pipe", 1, Settings::new(4096).up_to(16_384), 1_500, Way::Growing(16_384));
    // Each of which it has to wait for.
    let small = Settings::new(1024);
    writer("writer that must wait", 3, small, 500, Way::Write);
    writer("writer in place that must wait", 3, small, 500, Way::InPlace);
    writer("writer that waits for room by its watch", 3, small, 500, Way::Watched);
    writer("writer of a file that must wait", 3, small, 500, Way::FromFile);
    reservation_that_is_given_up();
}
