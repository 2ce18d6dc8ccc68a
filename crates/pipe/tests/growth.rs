//! A pipe that grows: what was written stays and keeps its order, wherever the reader is, whoever is killed; and where there is no memory, nothing has changed.
#![cfg(not(any(loom, feature = "portable")))]

#[path = "../../sync/tests/company/mod.rs"]
mod company;
mod content;
#[path = "../../segment/tests/harness/mod.rs"]
mod harness;

use company::{buried, kill, start, stay};
use content::{bytes, check};
use harness::{Name, alone};
use shmkit_pipe::{Error, Pipe, Reader, Settings, Stranger, Trust, Writer, pipe_for_strangers, pipe_with, private};
use shmkit_process::spawn;
use shmkit_segment::Options;
use shmkit_sync::Event;
use std::ffi::CString;
use std::fs::File;
use std::io::{BufRead, ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

const FIRST: usize = 64;
/// As often as a pipe can double.
const LAST: usize = FIRST << 14;

fn growing() -> Settings {
    Settings::new(FIRST).up_to(LAST)
}

/// Reads to the end, from `position` on, and checks it: the position of the end.
fn read_from<T: Trust>(reader: &mut Reader<T>, mut position: u64) -> u64 {
    let mut buffer = [0; 3_000];
    for length in (1..=3_000).step_by(37).cycle() {
        let count = reader.read(&mut buffer[..length]).unwrap();
        check(position, &buffer[..count]);
        if count == 0 {
            break;
        }
        position += count as u64;
    }
    position
}

/// Writes as much as there is room for, from `position` on: the position behind it.
fn fill<T: Trust>(writer: &mut Writer<T>, mut position: u64) -> u64 {
    while let Ok(count) = writer.try_write(&bytes(position, 100)) {
        position += count as u64;
    }
    position
}

/// Writes more with each time that it grows, until it can grow no more: the position behind it.
fn write_growing<T: Trust>(writer: &mut Writer<T>) -> u64 {
    let mut position = 0;
    loop {
        for length in [1, 50, 99, 700, 4_000] {
            writer.write_all(&bytes(position, length)).unwrap();
            position += length as u64;
        }
        if writer.grow(2 * writer.capacity()).is_err() {
            return position;
        }
    }
}

#[test]
fn what_was_written_before_and_after_each_growth_is_read_in_order() {
    for step in [1, 2, 5, 14] {
        let (mut writer, mut reader) = private(growing()).unwrap();
        let mut position = 0;
        for doublings in (0..=14).step_by(step) {
            writer.grow(FIRST << doublings).unwrap();
            assert_eq!(writer.capacity(), FIRST << doublings);
            let before = position;
            position = fill(&mut writer, position);
            // All of the new area is free, however much there is in those before.
            assert_eq!(position - before, (FIRST << doublings) as u64);
        }
        drop(writer);
        assert_eq!(read_from(&mut reader, 0), position);
    }
}

#[test]
fn a_reader_that_is_still_in_an_older_area_makes_no_room_in_the_newest() {
    let (mut writer, mut reader) = private(growing()).unwrap();
    assert_eq!(fill(&mut writer, 0), 64);
    writer.grow(128).unwrap();
    assert_eq!(fill(&mut writer, 64), 192);
    assert_eq!(reader.try_read(&mut [0; 64]).unwrap(), 64);
    assert_eq!(writer.try_write(b"x").unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(reader.try_read(&mut [0; 10]).unwrap(), 10);
    assert_eq!(fill(&mut writer, 192), 202);
    drop(writer);
    assert_eq!(read_from(&mut reader, 74), 202);
}

#[test]
fn what_is_looked_at_in_place_stays_while_the_pipe_grows() {
    let (mut writer, mut reader) = private(growing()).unwrap();
    fill(&mut writer, 0);
    let shown = reader.fill_buf().unwrap();
    writer.grow(LAST).unwrap();
    let end = fill(&mut writer, 64);
    assert_eq!(shown, bytes(0, 64));
    reader.consume(63);
    assert_eq!(reader.fill_buf().unwrap(), bytes(63, 1));
    reader.consume(1);
    // Up to the end of the area, at whose beginning the rest is.
    let shown = reader.fill_buf().unwrap();
    check(64, shown);
    assert_eq!(shown.len(), LAST - 64);
    drop(writer);
    assert_eq!(read_from(&mut reader, 64), end);
}

#[test]
fn growing_beyond_what_was_settled_is_an_error_and_changes_nothing() {
    let more = Settings::new(FIRST).up_to(FIRST * 4);
    for (settings, most) in [(more, FIRST * 4), (Settings::new(FIRST), FIRST)] {
        for (mut writer, mut reader) in [private(settings).unwrap(), pipe_with(settings).unwrap()] {
            let end = fill(&mut writer, 0);
            for capacity in [most + 1, most * 2, LAST, LAST * 2, usize::MAX / 2, usize::MAX] {
                assert!(matches!(writer.grow(capacity), Err(Error::Geometry(_))), "{capacity}");
                assert_eq!((writer.capacity(), writer.try_write(b"x").is_err()), (FIRST, true));
            }
            writer.grow(most).unwrap();
            assert!(matches!(writer.grow(most + 1), Err(Error::Geometry(_))));
            assert_eq!(writer.capacity(), most);
            drop(writer);
            assert_eq!(read_from(&mut reader, 0), end);
        }
    }
}

#[test]
fn less_than_there_is_changes_nothing_and_sizes_between_are_rounded_up() {
    let (mut writer, _reader) = private(growing()).unwrap();
    for (asked, capacity) in [(0, 64), (1, 64), (64, 64), (65, 128), (100, 128), (3 * 64, 256), (2, 256), (LAST, LAST)]
    {
        writer.grow(asked).unwrap();
        assert_eq!(writer.capacity(), capacity);
    }
}

#[test]
fn settings_of_growth_that_cannot_be_are_refused() {
    for (capacity, most) in [(64, 32), (64, 0), (64, 96), (64, LAST * 2), (1, 1 << 15), (64, 1 << 63), (64, usize::MAX)]
    {
        let settings = Settings::new(capacity).up_to(most);
        assert!(matches!(private(settings), Err(Error::Geometry(_))), "{capacity} to {most}");
        assert!(matches!(pipe_with(settings), Err(Error::Geometry(_))), "{capacity} to {most}");
    }
    assert!(private(Settings::new(1).up_to(1 << 14)).is_ok());
}

#[test]
fn what_a_pipe_can_grow_by_takes_no_memory_before() {
    const PAGE: u64 = 4096;
    let (mut writer, _reader) = pipe_with(Settings::new(1 << 16).up_to(1 << 28)).unwrap();
    let segment = Arc::clone(writer.segment());
    let taken = || {
        let file = File::from(segment.as_file().unwrap().try_clone_to_owned().unwrap());
        file.metadata().unwrap().blocks() * 512
    };
    let mut before = taken();
    // The header, a place for each peer, the positions, and the first area.
    assert!(before <= (1 << 16) + 16 * PAGE, "{before}");
    for capacity in [1 << 17, 1 << 19, 1 << 20] {
        writer.grow(capacity as usize).unwrap();
        let more = taken() - before;
        assert!((capacity - PAGE..=capacity + PAGE).contains(&more), "{more}");
        before += more;
    }
    assert!(segment.length() > 1 << 28);
}

#[test]
fn a_process_reads_while_the_pipe_grows() {
    fn read<T: Trust>(mut reader: Reader<T>) -> u64 {
        read_from(&mut reader, 0)
    }
    let (mut writer, reader) = pipe_with(growing()).unwrap();
    let child = spawn(read, reader).unwrap();
    let end = write_growing(&mut writer);
    drop(writer);
    assert_eq!(child.join().unwrap(), end);

    let (mut writer, reader) = pipe_for_strangers(growing()).unwrap();
    let child = spawn(read::<Stranger>, reader).unwrap();
    let end = write_growing(&mut writer);
    drop(writer);
    assert_eq!(child.join().unwrap(), end);
}

#[test]
fn a_process_grows_a_pipe_while_it_is_read() {
    fn write(mut writer: Writer) -> u64 {
        write_growing(&mut writer)
    }
    for _ in 0..5 {
        let (writer, mut reader) = pipe_with(growing()).unwrap();
        let child = spawn(write, writer).unwrap();
        let end = read_from(&mut reader, 0);
        assert_eq!(child.join().unwrap(), end);
    }
}

/// Fills it, grows it, and so on, and stays.
fn grow_and_stay((mut writer, here): (Writer, Event)) {
    let position = fill(&mut writer, 0);
    writer.grow(128).unwrap();
    let position = fill(&mut writer, position);
    writer.grow(1024).unwrap();
    assert_eq!(fill(&mut writer, position), 64 + 128 + 1024);
    stay(&here);
}

#[test]
fn a_successor_of_a_killed_writer_goes_on_in_the_area_that_this_one_came_to() {
    for read in [0_u64, 10, 64, 100, 192, 200, 1216] {
        let (writer, mut reader) = pipe_with(growing()).unwrap();
        let (here, segment) = (Event::new().unwrap(), Arc::clone(writer.segment()));
        let child = start(grow_and_stay, (writer, here.clone()));
        here.wait().unwrap();
        let mut found = vec![0; read as usize];
        reader.read_exact(&mut found).unwrap();
        check(0, &found);
        kill(child);
        buried(&segment, 1);
        let mut writer = Writer::claim(&segment).unwrap();
        assert_eq!(writer.capacity(), 1024);
        let end = fill(&mut writer, 1216);
        assert_eq!(end - 1216, read.saturating_sub(192));
        writer.grow(4096).unwrap();
        assert_eq!(fill(&mut writer, end), end + 4096);
        drop(writer);
        assert_eq!(read_from(&mut reader, read), end + 4096);
    }
}

#[test]
fn a_successor_of_a_killed_reader_goes_on_in_the_area_that_this_one_was_in() {
    fn read_and_stay((mut reader, count, here): (Reader, usize, Event)) {
        let mut found = vec![0; count];
        reader.read_exact(&mut found).unwrap();
        check(0, &found);
        stay(&here);
    }
    for read in [0_u64, 10, 64, 100, 192, 200, 1216] {
        let (mut writer, reader) = pipe_with(growing()).unwrap();
        let (here, segment) = (Event::new().unwrap(), Arc::clone(writer.segment()));
        let mut position = fill(&mut writer, 0);
        for capacity in [128, 1024] {
            writer.grow(capacity).unwrap();
            position = fill(&mut writer, position);
        }
        let child = start(read_and_stay, (reader, read as usize, here.clone()));
        here.wait().unwrap();
        kill(child);
        buried(&segment, 1);
        let mut reader = Reader::claim(&segment).unwrap();
        writer.grow(2048).unwrap();
        position = fill(&mut writer, position);
        drop(writer);
        assert_eq!(read_from(&mut reader, read), position);
    }
}

#[test]
fn a_writer_that_is_killed_while_it_grows_has_written_a_prefix_and_its_successor_can_grow_on() {
    fn write(mut writer: Writer) {
        write_growing(&mut writer);
    }
    for taken in (0..60_000).step_by(2_500) {
        let (writer, mut reader) = pipe_with(growing()).unwrap();
        let segment = Arc::clone(writer.segment());
        let child = start(write, writer);
        let mut found = vec![0; taken];
        reader.read_exact(&mut found).unwrap();
        child.kill().unwrap();
        // It may have come to its end.
        let _whatever = child.join();
        buried(&segment, 1);
        reader.read_to_end(&mut found).unwrap();
        check(0, &found);
        let mut writer = Writer::claim(&segment).unwrap();
        writer.grow(LAST).unwrap();
        assert_eq!((writer.capacity(), reader.try_read(&mut [0]).is_err()), (LAST, true));
        writer.write_all(&bytes(0, 10_000)).unwrap();
        drop(writer);
        assert_eq!(read_from(&mut reader, 0), 10_000);
    }
}

#[test]
fn ends_that_were_left_are_claimed_in_the_area_that_they_came_to() {
    let (mut writer, reader) = private(growing()).unwrap();
    let segment = Arc::clone(writer.segment());
    let position = fill(&mut writer, 0);
    writer.grow(256).unwrap();
    drop((writer, reader));
    let mut writer = Writer::claim(&segment).unwrap();
    assert_eq!(writer.capacity(), 256);
    let end = fill(&mut writer, position);
    drop(writer);
    assert_eq!(read_from(&mut Reader::claim(&segment).unwrap(), 0), end);
    assert_eq!(Writer::claim(&segment).unwrap().capacity(), 256);
}

#[test]
fn a_pipe_that_could_grow_beyond_the_limit_on_files_is_not_made_and_one_that_was_made_grows() {
    fn limit(bytes: Option<u64>) {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let maximum = getrlimit(Resource::Fsize).maximum;
        setrlimit(Resource::Fsize, Rlimit { current: bytes, maximum }).unwrap();
    }
    alone(|()| {
        let name = Name::new();
        let make = || Options::new().name(&name.0).create::<Pipe<Stranger>>(growing().into());
        for bytes in [0, 1, 1 << 14, LAST as u64] {
            limit(Some(bytes));
            assert!(matches!(make(), Err(Error::NoSpace { .. })));
            assert!(matches!(pipe_with(growing()), Err(Error::NoSpace { .. })));
            assert!(!name.path().exists());
        }
        limit(None);
        let segment = make().unwrap();
        let (mut writer, mut reader) = (Writer::claim(&segment).unwrap(), Reader::claim(&segment).unwrap());
        limit(Some(0));
        writer.grow(LAST).unwrap();
        let end = fill(&mut writer, 0);
        drop(writer);
        assert_eq!((read_from(&mut reader, 0), end), (end, LAST as u64));
    });
}

/// Gives this process a file system in memory at `place`, of 256 KiB, that nobody else sees.
#[allow(unsafe_code, reason = "system calls")]
fn mount_small(place: &Path) {
    let path = CString::new(place.as_os_str().as_bytes()).unwrap();
    let (none, private) = (std::ptr::null(), libc::MS_PRIVATE | libc::MS_REC);
    // SAFETY: no memory is involved.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNS) }, 0);
    // SAFETY: paths that end with a zero.
    let outcome = unsafe { libc::mount(none, c"/".as_ptr(), none, private, none.cast()) };
    assert_eq!(outcome, 0, "{}", std::io::Error::last_os_error());
    let (tmpfs, size) = (c"tmpfs".as_ptr(), c"size=256k".as_ptr());
    // SAFETY: as above.
    let outcome = unsafe { libc::mount(tmpfs, path.as_ptr(), tmpfs, 0, size.cast()) };
    assert_eq!(outcome, 0, "{}", std::io::Error::last_os_error());
}

fn is_administrator() -> bool {
    const SYS_ADMIN: u64 = 1 << 21;
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let rights = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap().trim();
    u64::from_str_radix(rights, 16).unwrap() & SYS_ADMIN != 0
}

#[test]
fn where_there_is_no_memory_to_grow_nothing_has_changed_and_later_there_may_be() {
    if !is_administrator() {
        println!("skipped: needs root");
        return;
    }
    alone(|()| {
        let directory = tempfile::tempdir().unwrap();
        mount_small(directory.path());
        let free = || rustix::fs::statvfs(directory.path()).unwrap().f_bfree;
        let settings = Settings::new(1 << 14).up_to(1 << 20);
        let segment =
            Options::new().file(directory.path().join("pipe")).create::<Pipe<Stranger>>(settings.into()).unwrap();
        let (mut writer, mut reader) = (Writer::claim(&segment).unwrap(), Reader::claim(&segment).unwrap());
        let mut position = fill(&mut writer, 0);
        let ballast = directory.path().join("ballast");
        std::fs::write(&ballast, vec![1; 128 << 10]).unwrap();
        let before = free();
        for capacity in [1 << 18, 1 << 17, 1 << 20] {
            for _ in 0..3 {
                assert!(matches!(writer.grow(capacity), Err(Error::NoSpace { .. })));
                assert_eq!((writer.capacity(), writer.try_write(b"x").is_err(), free()), (1 << 14, true, before));
            }
        }
        // It goes on as it was, grows where there is room, and where room has come to be.
        let mut found = [0; 100];
        reader.read_exact(&mut found).unwrap();
        check(0, &found);
        position = fill(&mut writer, position);
        writer.grow(1 << 15).unwrap();
        position = fill(&mut writer, position);
        assert!(matches!(writer.grow(1 << 17), Err(Error::NoSpace { .. })));
        std::fs::remove_file(ballast).unwrap();
        writer.grow(1 << 17).unwrap();
        position = fill(&mut writer, position);
        drop(writer);
        assert_eq!(read_from(&mut reader, 100), position);
        assert_eq!(position, 100 + (1 << 14) + (1 << 15) + (1 << 17));
    });
}
