//! The ways into a pipe of strangers: by a name, by a file, in an embedder's memory, and over a Unix socket; and what a pipe within one program refuses.
#![cfg(not(any(loom, feature = "portable")))]

#[path = "../../sync/tests/arena/mod.rs"]
mod arena;
#[path = "../../sync/tests/company/mod.rs"]
mod company;
mod content;
#[path = "../../segment/tests/harness/mod.rs"]
mod harness;

use arena::Arena;
use company::{kill, start, stay};
use content::{bytes, check, write_pieces};
use harness::{Name, alone, unique};
use shmkit_pipe::{Error, Family, Pipe, Reader, Settings, Stranger, Writer, pipe, pipe_for_strangers};
use shmkit_segment::{Configuration, Object, Options, Segment, recv, send};
use shmkit_sync::{Event, EventObject};
use std::io::{ErrorKind, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::yield_now;

type Strangers = Segment<Pipe<Stranger>>;

const LENGTH: usize = 50_000;
const SETTINGS: fn() -> Settings = || Settings::new(64).up_to(256);

/// Claims the writing end, and writes the stream, in a pipe that grows on the way.
fn write(segment: &Arc<Strangers>) {
    let mut writer = Writer::claim(segment).unwrap();
    write_pieces(&mut writer, 0, LENGTH / 2);
    writer.grow(256).unwrap();
    write_pieces(&mut writer, LENGTH as u64 / 2, LENGTH / 2);
}

fn check_all(mut reader: Reader<Stranger>) {
    let mut found = Vec::new();
    reader.read_to_end(&mut found).unwrap();
    check(0, &found);
    assert_eq!(found.len(), LENGTH);
}

#[test]
fn processes_meet_by_a_name_and_the_reader_may_come_first() {
    fn by_name(name: String) {
        write(&Options::new().name(name).open_or_create(SETTINGS().into()).unwrap());
    }
    alone(|()| {
        let name = Name::new();
        let segment = Options::new().name(&name.0).open_or_create(SETTINGS().into()).unwrap();
        let mut reader = Reader::claim(&segment).unwrap();
        // There has been no writer, so that this is not the end.
        assert_eq!(reader.try_read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        let child = start(by_name, name.0.clone());
        check_all(reader);
        child.join().unwrap();
    });
}

#[test]
fn processes_meet_in_a_file() {
    fn by_path(path: PathBuf) {
        write(&Options::new().file(path).open().unwrap());
    }
    alone(|()| {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pipe");
        let segment = Options::new().file(&path).create(SETTINGS().into()).unwrap();
        let child = start(by_path, path);
        check_all(Reader::claim(&segment).unwrap());
        child.join().unwrap();
    });
}

#[test]
fn processes_meet_in_an_embedders_memory() {
    fn by_place(place: String) {
        write(&Arena::at(place).part(3, SETTINGS().into()));
    }
    alone(|()| {
        let (_memory, place) = arena::create();
        let segment = Arena::at(place.clone()).part(3, SETTINGS().into());
        let child = start(by_place, place);
        check_all(Reader::claim(&segment).unwrap());
        child.join().unwrap();
    });
}

/// A connection with a process that is just coming up, or with the one that has started this.
fn listen() -> (UnixListener, String) {
    let name = unique();
    (UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap(), name)
}

fn connect(name: String) -> UnixStream {
    UnixStream::connect_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap()
}

#[test]
fn ends_go_over_unix_sockets_in_either_direction() {
    fn get_a_writer(name: String) {
        let mut writer: Writer<Stranger> = recv(&connect(name)).unwrap();
        write_pieces(&mut writer, 0, LENGTH);
    }
    fn give_a_writer(name: String) {
        let (writer, reader) = pipe_for_strangers(64).unwrap();
        send(&connect(name), &writer).unwrap();
        check_all(reader);
    }
    alone(|()| {
        let (listener, name) = listen();
        let child = start(get_a_writer, name.clone());
        let (mut writer, reader) = pipe_for_strangers(64).unwrap();
        send(&listener.accept().unwrap().0, &writer).unwrap();
        assert_eq!(writer.write(b"x").unwrap_err().kind(), ErrorKind::Other);
        check_all(reader);
        child.join().unwrap();

        let child = start(give_a_writer, name);
        let mut writer: Writer<Stranger> = recv(&listener.accept().unwrap().0).unwrap();
        write_pieces(&mut writer, 0, LENGTH);
        drop(writer);
        child.join().unwrap();
    });
}

#[test]
fn a_message_that_nobody_reads_is_an_end_that_was_dropped() {
    alone(|()| {
        let (here, there) = UnixStream::pair().unwrap();
        let (writer, mut reader) = pipe_for_strangers(64).unwrap();
        send(&here, &("the end is", writer)).unwrap();
        assert_eq!(reader.try_read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        drop((here, there));
        reader.segment().reap_dead();
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    });
}

#[test]
fn an_end_within_one_program_is_not_sent_to_strangers_and_stays_of_use() {
    let (here, there) = UnixStream::pair().unwrap();
    let (mut writer, mut reader) = pipe().unwrap();
    assert!(matches!(send(&here, &writer), Err(Error::NotTransferable(_))));
    assert!(matches!(send(&here, &reader), Err(Error::NotTransferable(_))));
    writer.write_all(b"here").unwrap();
    assert_eq!(reader.read(&mut [0; 9]).unwrap(), 4);

    // Nor is one accepted from there, whoever has sent it.
    let strangers = pipe_for_strangers(64).unwrap();
    send(&here, &strangers).unwrap();
    assert!(recv::<(Writer<Family>, Reader<Family>)>(&there).is_err());
}

#[test]
fn ends_that_come_over_a_socket_are_what_they_were_sent_as() {
    let (here, there) = UnixStream::pair().unwrap();
    let (writer, reader) = pipe_for_strangers(64).unwrap();
    send(&here, &(writer, reader)).unwrap();
    let (mut writer, mut reader): (Writer<Stranger>, Reader<Stranger>) = recv(&there).unwrap();
    // Both of one process, which is one peer.
    assert_eq!(writer.segment().me(), reader.segment().me());
    writer.write_all(b"both").unwrap();
    assert_eq!(reader.read(&mut [0; 9]).unwrap(), 4);

    // Neither is the other.
    send(&here, &writer).unwrap();
    assert!(recv::<Reader<Stranger>>(&there).is_err());
    send(&here, &reader).unwrap();
    assert!(recv::<Writer<Stranger>>(&there).is_err());

    send(&here, &Event::new().unwrap()).unwrap();
    assert!(matches!(recv::<Writer<Stranger>>(&there), Err(Error::WrongObject { .. })));
}

#[test]
fn what_is_something_else_or_of_another_size_is_not_opened() {
    fn refused<O: Object>(name: &Name, configuration: impl Into<Configuration>) {
        assert!(Options::new().name(&name.0).open_or_create::<O>(configuration.into()).is_err());
    }
    alone(|()| {
        let name = Name::new();
        let _pipe = Options::new().name(&name.0).create::<Pipe<Stranger>>(SETTINGS().into()).unwrap();
        refused::<Pipe<Stranger>>(&name, Settings::new(64));
        refused::<Pipe<Stranger>>(&name, Settings::new(128).up_to(256));
        refused::<EventObject>(&name, [0; 8]);
        assert!(Options::new().name(&name.0).open::<Pipe<Stranger>>().is_ok());

        let event = Name::new();
        let _event = Options::new().name(&event.0).create::<EventObject>([0; 8]).unwrap();
        assert!(matches!(Options::new().name(&event.0).open::<Pipe<Stranger>>(), Err(Error::WrongObject { .. })));
    });
}

#[test]
fn what_was_left_under_a_name_is_found_by_who_comes_later_and_so_is_how_far_the_pipe_has_grown() {
    alone(|()| {
        let name = Name::new();
        let open = || Options::new().name(&name.0).open_or_create::<Pipe<Stranger>>(SETTINGS().into()).unwrap();
        let mut writer = Writer::claim(&open()).unwrap();
        writer.write_all(&bytes(0, 60)).unwrap();
        writer.grow(256).unwrap();
        writer.write_all(&bytes(60, 200)).unwrap();
        drop(writer);
        let mut found = [0; 300];
        assert_eq!(Reader::claim(&open()).unwrap().read(&mut found[..30]).unwrap(), 30);
        let mut writer = Writer::claim(&open()).unwrap();
        assert_eq!((writer.capacity(), writer.try_write(&bytes(260, 99)).unwrap()), (256, 56));
        drop(writer);
        // All have been gone, so that there has been no writer as yet.
        let mut reader = Reader::claim(&open()).unwrap();
        assert_eq!(reader.try_read(&mut found[30..]).unwrap(), 270);
        check(0, &found);
        let mut rest = Vec::from(&found[..16]);
        assert_eq!(reader.try_read(&mut rest).unwrap(), 16);
        check(300, &rest);
        assert_eq!(reader.try_read(&mut rest).unwrap_err().kind(), ErrorKind::WouldBlock);
        drop(Writer::claim(&open()).unwrap());
        assert_eq!(reader.try_read(&mut rest).unwrap(), 0);
    });
}

#[test]
fn a_writer_that_was_killed_under_a_name_has_a_successor_in_another_process() {
    fn write_half((name, here): (String, Event)) {
        let segment = Options::new().name(name).open::<Pipe<Stranger>>().unwrap();
        let mut writer = Writer::claim(&segment).unwrap();
        write_pieces(&mut writer, 0, LENGTH / 2);
        stay(&here);
    }
    fn write_the_other_half(name: String) {
        let segment = Options::new().name(name).open::<Pipe<Stranger>>().unwrap();
        write_pieces(&mut Writer::claim(&segment).unwrap(), LENGTH as u64 / 2, LENGTH / 2);
    }
    alone(|()| {
        let (name, here) = (Name::new(), Event::new().unwrap());
        let segment = Options::new().name(&name.0).create::<Pipe<Stranger>>(SETTINGS().into()).unwrap();
        let child = start(write_half, (name.0.clone(), here.clone()));
        let mut reader = Reader::claim(&segment).unwrap();
        let mut found = vec![0; LENGTH / 2];
        reader.read_exact(&mut found).unwrap();
        here.wait().unwrap();
        assert!(matches!(Writer::claim(&segment), Err(Error::RoleTaken { pid, .. }) if pid == child.pid()));
        kill(child);
        company::buried(&segment, 1);
        // The end, for now.
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
        let child = start(write_the_other_half, name.0.clone());
        let mut rest = vec![0; LENGTH / 2];
        while found.len() < LENGTH {
            match reader.read(&mut rest).unwrap() {
                0 => yield_now(),
                count => found.extend(&rest[..count]),
            }
        }
        child.join().unwrap();
        assert_eq!(reader.read(&mut rest).unwrap(), 0);
        check(0, &found);
    });
}
