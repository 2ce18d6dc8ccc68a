//! The permissions of the socket.

use crate::company::start;
use crate::harness::alone;
use crate::{Place, serves};
use rustix::fs::Mode;
use shmkit_pipe::Address;
use shmkit_sync::Event;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

fn mode(path: &PathBuf) -> Option<u32> {
    Some(std::fs::metadata(path).ok()?.permissions().mode() & 0o7777)
}

#[test]
fn the_mode_is_what_was_asked_for_whatever_the_umask() {
    alone(|()| {
        let place = Place::new();
        for mask in [0o000, 0o022, 0o077, 0o777] {
            rustix::process::umask(Mode::from_raw_mode(mask));
            for asked in [None, Some(0o600), Some(0o660), Some(0o606), Some(0o666), Some(0o777)] {
                let address = Address::new(place.path());
                let address = asked.map_or(address.clone(), |mode| address.mode(mode));
                let listener = address.listen().unwrap();
                assert_eq!(mode(&place.path()), Some(asked.unwrap_or(0o600)), "umask {mask:o}");
                serves(&listener);
            }
            // It is this process's as before.
            assert_eq!(rustix::process::umask(Mode::from_raw_mode(mask)).as_raw_mode(), mask);
        }
    });
}

/// Looks at the mode of what is at the path until told to stop: all that it saw.
fn watch((path, is_over): (PathBuf, Event)) -> u32 {
    let mut seen = 0;
    while !is_over.is_set() {
        seen |= mode(&path).unwrap_or(0);
    }
    seen
}

#[test]
fn at_no_moment_is_the_socket_open_to_more_than_was_asked_for() {
    alone(|()| {
        rustix::process::umask(Mode::empty());
        let place = Place::new();
        let is_over = Event::new().unwrap();
        let watcher = start(watch, (place.path(), is_over.clone()));
        for _ in 0..1_000 {
            drop(Address::new(place.path()).mode(0o600).listen().unwrap());
        }
        is_over.set();
        assert_eq!(watcher.join().unwrap() & !0o600, 0);
    });
}
