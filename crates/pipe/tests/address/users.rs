//! Programs of several users.

use crate::company::{kill, start, stay};
use crate::nobody::{NOBODY, become_nobody};
use crate::{Place, answer, as_root, ask, cause, serves};
use shmkit_pipe::{Address, ConnectError, Listener, connect};
use shmkit_sync::Event;
use std::fs::{Permissions, set_permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// A place in a directory with this mode.
fn place_for(mode: u32) -> Place {
    let place = Place::new();
    set_permissions(place.directory(), Permissions::from_mode(mode)).unwrap();
    place
}

fn ask_as_nobody(path: PathBuf) {
    become_nobody();
    ask(path);
}

/// Listens as nobody, for everybody, and answers whoever comes until it is killed.
fn serve_as_nobody((path, here): (PathBuf, Event)) {
    become_nobody();
    let listener = Address::new(path).mode(0o666).listen().unwrap();
    here.set();
    loop {
        if let Ok((mut connection, _)) = listener.accept() {
            let _ = connection.recv::<u64>().map(|number| connection.send(&(number + 1)));
        }
    }
}

#[test]
fn the_mode_keeps_another_user_out() {
    as_root(|()| {
        let place = place_for(0o755);
        for mode in [0o600, 0o660, 0o644] {
            let listener = Address::new(place.path()).mode(mode).listen().unwrap();
            let outcome = |path: PathBuf| {
                become_nobody();
                assert_eq!(cause(connect(path)), ErrorKind::PermissionDenied);
            };
            start(outcome, place.path()).join().unwrap();
            assert!(listener.try_accept().unwrap().is_none());
            serves(&listener);
        }
    });
}

#[test]
fn the_mode_lets_another_user_in_who_is_known() {
    as_root(|()| {
        let place = place_for(0o755);
        let listener = Address::new(place.path()).mode(0o666).listen().unwrap();
        let client = start(ask_as_nobody, place.path());
        let (mut connection, who) = listener.accept().unwrap();
        assert_eq!((who.pid, who.user, who.group), (client.pid(), NOBODY, NOBODY));
        answer(&mut connection);
        client.join().unwrap();
    });
}

#[test]
fn another_user_who_comes_in_although_the_mode_lets_nobody_in_is_sent_away() {
    as_root(|()| {
        let place = place_for(0o755);
        let listener = Listener::bind(place.path()).unwrap();
        set_permissions(place.path(), Permissions::from_mode(0o666)).unwrap();
        let outcome = |path: PathBuf| {
            become_nobody();
            assert!(matches!(connect(path), Err(ConnectError::Left { .. })));
        };
        let client = start(outcome, place.path());
        let found = listener.accept();
        assert!(matches!(found, Err(ConnectError::WrongUser { found: NOBODY, expected: 0, .. })), "{found:?}");
        client.join().unwrap();
        serves(&listener);
    });
}

#[test]
fn who_connects_does_so_to_its_own_user_or_root_or_whom_it_names_and_to_nobody_else() {
    as_root(|()| {
        let place = place_for(0o777);
        let here = Event::new().unwrap();
        let server = start(serve_as_nobody, (place.path(), here.clone()));
        here.wait().unwrap();
        let outcome = connect(place.path());
        assert!(matches!(outcome, Err(ConnectError::WrongUser { found: NOBODY, expected: 0, .. })), "{outcome:?}");
        let outcome = Address::new(place.path()).owner(1).connect();
        assert!(matches!(outcome, Err(ConnectError::WrongUser { found: NOBODY, expected: 1, .. })), "{outcome:?}");
        let mut connection = Address::new(place.path()).owner(NOBODY).connect().unwrap();
        connection.send(&1_u64).unwrap();
        assert_eq!(connection.recv::<u64>().unwrap(), 2);
        start(ask_as_nobody, place.path()).join().unwrap();
        kill(server);

        // Root's.
        std::fs::remove_file(place.path()).unwrap();
        let listener = Address::new(place.path()).mode(0o666).listen().unwrap();
        let outcome = |path: PathBuf| {
            become_nobody();
            let outcome = Address::new(&path).owner(NOBODY).connect();
            assert!(matches!(outcome, Err(ConnectError::WrongUser { found: 0, expected: NOBODY, .. })), "{outcome:?}");
            ask(path);
        };
        let client = start(outcome, place.path());
        // The one that it did not want may have been handed over before it left.
        let _unwanted = listener.accept();
        answer(&mut listener.accept().unwrap().0);
        client.join().unwrap();
    });
}

#[test]
fn a_path_that_another_user_has_is_taken_and_stays() {
    as_root(|()| {
        // As in /tmp: everybody may put something there, and remove only what is his.
        let place = place_for(0o1777);
        let try_all = |path: PathBuf| {
            become_nobody();
            let outcome = Listener::bind(path);
            assert!(matches!(outcome, Err(ConnectError::Taken { .. })), "{outcome:?}");
        };
        let listener = Listener::bind(place.path()).unwrap();
        start(try_all, place.path()).join().unwrap();
        serves(&listener);
        drop(listener);

        let here = Event::new().unwrap();
        let leave = |(path, here): (PathBuf, Event)| {
            let _listener = Listener::bind(path).unwrap();
            stay(&here);
        };
        let child = start(leave, (place.path(), here.clone()));
        here.wait().unwrap();
        kill(child);
        start(try_all, place.path()).join().unwrap();
        assert_eq!(place.entries(), ["socket"]);
        // Root's own, left by a listener that let everybody in, cannot be removed by others either.
        set_permissions(place.path(), Permissions::from_mode(0o666)).unwrap();
        let cannot = |path: PathBuf| {
            become_nobody();
            assert_eq!(cause(Listener::bind(path)), ErrorKind::PermissionDenied);
        };
        start(cannot, place.path()).join().unwrap();
        assert_eq!(place.entries(), ["socket"]);
        serves(&Listener::bind(place.path()).unwrap());
    });
}

#[test]
fn a_directory_that_this_user_may_not_write_to_or_read_is_an_error_and_stays_empty() {
    as_root(|()| {
        for mode in [0o755, 0o555, 0o711, 0o700] {
            let place = place_for(mode);
            let attempt = |path: PathBuf| {
                become_nobody();
                assert_eq!(cause(Listener::bind(path)), ErrorKind::PermissionDenied);
            };
            start(attempt, place.path()).join().unwrap();
            assert_eq!(place.entries(), [""; 0]);
        }
    });
}
