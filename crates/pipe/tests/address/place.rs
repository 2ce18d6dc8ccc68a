//! Whose a path is: nobody's, a living listener's, a dead one's, or something else's.

use crate::company::{kill, start, stay};
use crate::forked::fork;
use crate::harness::alone;
use crate::{Place, cause, has_left, serves};
use rustix::fs::{CWD, FileType, FlockOperation, Mode};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};
use shmkit_pipe::{Address, ConnectError, Listener, connect};
use shmkit_sync::Event;
use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};

fn is_taken(path: impl Into<PathBuf>) -> bool {
    matches!(Listener::bind(path), Err(ConnectError::Taken { .. }))
}

/// Listens, in another process, until it is killed.
fn listen_and_stay((path, here): (PathBuf, Event)) {
    let _listener = Listener::bind(path).unwrap();
    stay(&here);
}

fn listen_and_be_killed(path: PathBuf) {
    let here = Event::new().unwrap();
    let child = start(listen_and_stay, (path, here.clone()));
    here.wait().unwrap();
    kill(child);
}

#[test]
fn a_listener_is_at_its_path_until_it_is_dropped() {
    let place = Place::new();
    assert!(matches!(connect(place.path()), Err(ConnectError::NotFound { .. })));
    for _ in 0..3 {
        let listener = Listener::bind(place.path()).unwrap();
        assert_eq!(listener.path(), place.path());
        assert_eq!(place.entries(), ["socket"]);
        serves(&listener);
        drop(listener);
        assert_eq!(place.entries(), [""; 0]);
        assert!(matches!(connect(place.path()), Err(ConnectError::NotFound { .. })));
    }
}

#[test]
fn the_path_of_a_killed_listener_refuses_and_is_taken_over_by_the_next() {
    let place = Place::new();
    for _ in 0..3 {
        listen_and_be_killed(place.path());
        assert!(matches!(connect(place.path()), Err(ConnectError::Refused { .. })));
        assert_eq!(place.entries(), ["socket"]);
        let listener = Listener::bind(place.path()).unwrap();
        serves(&listener);
        assert_eq!(place.entries(), ["socket"]);
        drop(listener);
        assert_eq!(place.entries(), [""; 0]);
    }
}

#[test]
fn the_path_of_a_living_listener_is_taken_also_in_another_process_and_while_too_many_wait() {
    let place = Place::new();
    let listener = Listener::bind(place.path()).unwrap();
    assert!(is_taken(place.path()));
    assert!(start(is_taken, place.path()).join().unwrap());
    assert_eq!(place.entries(), ["socket"]);
    // They were clients that came and left.
    for _ in 0..2 {
        assert!(has_left(listener.accept()));
    }
    serves(&listener);

    let _waiting = crate::limits::crowd(&place.path());
    assert!(is_taken(place.path()));
}

#[test]
fn a_listener_of_another_kind_is_taken_and_goes_on() {
    let place = Place::new();
    let listener = UnixListener::bind(place.path()).unwrap();
    assert!(is_taken(place.path()));
    let _client = UnixStream::connect(place.path()).unwrap();
    listener.accept().unwrap();
}

#[test]
fn what_is_no_socket_is_taken_and_stays() {
    let place = Place::new();
    let target = Place::new();
    let _living = Listener::bind(target.path()).unwrap();
    type Make<'a> = &'a dyn Fn(&Path);
    let make: [Make<'_>; 5] = [
        &|path| drop(File::create(path).unwrap()),
        &|path| std::fs::create_dir(path).unwrap(),
        &|path| rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap(),
        &|path| std::os::unix::fs::symlink("/nowhere/at/all", path).unwrap(),
        &|path| std::os::unix::fs::symlink(target.path(), path).unwrap(),
    ];
    for (number, make) in make.into_iter().enumerate() {
        let path = place.directory().join(number.to_string());
        make(&path);
        let before = std::fs::symlink_metadata(&path).unwrap().file_type();
        assert!(is_taken(&path), "{number}");
        assert_eq!(std::fs::symlink_metadata(&path).unwrap().file_type(), before);
        match number {
            0..3 => assert!(matches!(connect(&path), Err(ConnectError::Refused { .. })), "{number}"),
            3 => assert!(matches!(connect(&path), Err(ConnectError::NotFound { .. }))),
            // Who connects may come by another name.
            _ => assert!(UnixStream::connect(&path).is_ok()),
        }
    }
}

#[test]
fn sockets_of_other_types_are_taken_and_not_spoken_to() {
    let place = Place::new();
    let _datagrams = UnixDatagram::bind(place.path()).unwrap();
    assert!(is_taken(place.path()));
    assert!(matches!(connect(place.path()), Err(ConnectError::NotSpoken { .. })));

    let path = place.directory().join("packets");
    let packets: OwnedFd = rustix::net::socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
    rustix::net::bind(&packets, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    rustix::net::listen(&packets, 1).unwrap();
    assert!(is_taken(&path));
    assert!(matches!(connect(&path), Err(ConnectError::NotSpoken { .. })));
}

#[test]
fn a_directory_that_is_missing_or_none_is_an_error() {
    let place = Place::new();
    let missing = place.directory().join("missing/socket");
    assert_eq!(cause(Listener::bind(&missing)), ErrorKind::NotFound);
    assert!(matches!(connect(&missing), Err(ConnectError::NotFound { .. })));
    File::create(place.path()).unwrap();
    let within = place.path().join("socket");
    assert_eq!(cause(Listener::bind(&within)), ErrorKind::NotADirectory);
    assert!(matches!(connect(&within), Err(ConnectError::NotFound { .. })));
    assert_eq!(place.entries(), ["socket"]);
}

#[test]
fn a_path_has_as_many_bytes_as_the_kernel_takes_and_not_more() {
    let place = Place::new();
    let with_length = |length: usize| {
        let name = "x".repeat(length - place.directory().as_os_str().len() - 1);
        place.directory().join(name)
    };
    let listener = Listener::bind(with_length(107)).unwrap();
    serves(&listener);
    drop(listener);
    for length in [109, 200, 5_000] {
        let path = with_length(length);
        cause(Listener::bind(&path));
        cause(connect(&path));
    }
    assert_eq!(place.entries(), [""; 0]);
}

#[test]
fn a_path_that_is_none_is_an_error() {
    for path in ["", "with\0zero", "\0abstract"] {
        assert!(Listener::bind(path).is_err(), "{path:?}");
        assert!(connect(path).is_err(), "{path:?}");
    }
}

#[test]
fn a_path_may_be_relative() {
    alone(|()| {
        let place = Place::new();
        std::env::set_current_dir(place.directory()).unwrap();
        let listener = Listener::bind("socket").unwrap();
        assert_eq!(place.entries(), ["socket"]);
        assert!(is_taken("socket"));
        assert!(is_taken(place.path()));
        for _ in 0..2 {
            assert!(has_left(listener.accept()));
        }
        serves(&listener);
        drop(listener);
        assert_eq!(place.entries(), [""; 0]);
    });
}

#[test]
fn a_successor_at_the_same_path_is_not_removed_by_a_listener_that_is_dropped() {
    let place = Place::new();
    let first = Listener::bind(place.path()).unwrap();
    std::fs::remove_file(place.path()).unwrap();
    let second = Listener::bind(place.path()).unwrap();
    drop(first);
    serves(&second);
    // Nor is what is no listener at all.
    std::fs::remove_file(place.path()).unwrap();
    File::create(place.path()).unwrap();
    drop(second);
    assert_eq!(place.entries(), ["socket"]);
}

#[test]
fn a_directory_that_goes_or_is_renamed_takes_its_listener_along() {
    // While another test starts a process, that has the listeners too for an instant.
    alone(|()| {
        let place = Place::new();
        let (here, there) = (place.directory().join("here"), place.directory().join("there"));
        std::fs::create_dir(&here).unwrap();
        let listener = Listener::bind(here.join("socket")).unwrap();
        std::fs::rename(&here, &there).unwrap();
        let client = start(crate::ask, there.join("socket"));
        crate::answer(&mut listener.accept().unwrap().0);
        client.join().unwrap();
        // It is not found where it was.
        drop(listener);
        assert!(there.join("socket").exists());
        let listener = Listener::bind(there.join("socket")).unwrap();
        std::fs::remove_dir_all(&there).unwrap();
        drop(listener);
        assert_eq!(place.entries(), [""; 0]);
    });
}

#[test]
fn a_forked_child_that_drops_its_copy_removes_nothing() {
    alone(|()| {
        let place = Place::new();
        let mut listener = Some(Listener::bind(place.path()).unwrap());
        fork(|| drop(listener.take())).join();
        assert_eq!(place.entries(), ["socket"]);
        let listener = listener.unwrap();
        serves(&listener);
        // One of its own is removed.
        let other = place.directory().join("other");
        fork(|| {
            let listener = Listener::bind(&other).unwrap();
            assert!(other.exists());
            drop(listener);
            assert!(!other.exists());
        })
        .join();
        drop(listener);
        assert_eq!(place.entries(), [""; 0]);
    });
}

#[test]
fn who_keeps_the_directory_locked_makes_those_who_listen_give_up_and_those_who_are_dropped_leave_their_path() {
    // While another test starts a process, that has the listeners too for an instant.
    alone(|()| {
        let place = Place::new();
        let listener = Listener::bind(place.path()).unwrap();
        let directory = File::open(place.directory()).unwrap();
        rustix::fs::flock(&directory, FlockOperation::LockExclusive).unwrap();
        assert!(matches!(Listener::bind(place.directory().join("other")), Err(ConnectError::Busy { .. })));
        serves(&listener);
        drop(listener);
        assert_eq!(place.entries(), ["socket"]);
        drop(directory);
        serves(&Address::new(place.path()).listen().unwrap());
        assert_eq!(place.entries(), [""; 0]);
    });
}
