//! Too many who wait, and too few descriptors.

use crate::asleep::asleep_in;
use crate::company::{LONG, start};
use crate::harness::alone;
use crate::{Place, answer, ask, has_left, serves, talk};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use shmkit_pipe::{Address, ConnectError, Error, Listener};
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// As many clients as can wait to be accepted.
pub(crate) fn crowd(path: &Path) -> Vec<OwnedFd> {
    let address = SocketAddrUnix::new(path).unwrap();
    let mut waiting = Vec::new();
    loop {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        match connect(&socket, &address) {
            Ok(()) => waiting.push(socket),
            Err(Errno::AGAIN) => return waiting,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn who_finds_too_many_waiting_keeps_its_patience_and_not_more() {
    let place = Place::new();
    let listener = Listener::bind(place.path()).unwrap();
    let waiting = crowd(&place.path());
    assert!(waiting.len() >= 128);
    let patience = Duration::from_millis(20);
    let begin = Instant::now();
    assert!(matches!(Address::new(place.path()).patience(patience).connect(), Err(ConnectError::Timeout { .. })));
    assert!(begin.elapsed() >= patience);

    let path = place.path();
    let patient = asleep_in(move || Address::new(path).patience(LONG).connect().unwrap());
    for _ in &waiting {
        drop(listener.accept().unwrap());
    }
    let (mut connection, _) = listener.accept().unwrap();
    talk(&mut connection, &mut patient.join().unwrap());
    assert!(listener.try_accept().unwrap().is_none());
}

#[test]
fn who_is_not_accepted_keeps_its_patience_and_not_more() {
    let place = Place::new();
    let listener = Listener::bind(place.path()).unwrap();
    for patience in [Duration::ZERO, Duration::from_millis(20)] {
        let begin = Instant::now();
        assert!(matches!(Address::new(place.path()).patience(patience).connect(), Err(ConnectError::Timeout { .. })));
        assert!(begin.elapsed() >= patience);
        assert!(has_left(listener.accept()));
    }
    serves(&listener);
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Opens files until the descriptors have no gaps, and says the first number that is free then.
fn fill_gaps() -> (Vec<File>, u64) {
    let fill: Vec<File> = (0..descriptors()).map(|_| File::open("/dev/null").unwrap()).collect();
    let next = fill.iter().map(|file| file.as_raw_fd() as u64 + 1).max().unwrap();
    (fill, next)
}

/// Runs `attempt` with `more` descriptors to be had, and expects that it leaves none open.
fn with_few<R>(next: u64, more: u64, attempt: impl FnOnce() -> Result<R, ConnectError>) -> Result<(), ConnectError> {
    let before = descriptors();
    let usual = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(next + more), ..usual }).unwrap();
    let outcome = attempt().map(drop);
    setrlimit(Resource::Nofile, usual).unwrap();
    assert_eq!(descriptors(), before);
    outcome
}

/// Whether it was for want of descriptors.
fn is_want(error: &ConnectError) -> bool {
    let (ConnectError::Io { source, .. } | ConnectError::Handover { source: Error::System { source, .. }, .. }) = error
    else {
        return false;
    };
    source.raw_os_error() == Some(Errno::MFILE.raw_os_error())
        // Of those that come with a message the kernel drops what there is no room for.
        || source.to_string().contains("ulimit")
}

/// Connects until it is served: how often it was not.
fn insist(path: PathBuf) -> usize {
    (0..)
        .find(|_| match shmkit_pipe::connect(&path) {
            Ok(mut connection) => connection.send(&41_u64).is_ok() && connection.recv::<u64>().is_ok(),
            Err(ConnectError::Left { .. }) => false,
            Err(error) => panic!("{error}"),
        })
        .unwrap()
}

#[test]
fn a_listener_with_too_few_descriptors_says_so_and_serves_when_there_are_enough() {
    alone(|()| {
        let place = Place::new();
        let listener = Listener::bind(place.path()).unwrap();
        let client = start(insist, place.path());
        let (fill, next) = fill_gaps();
        let (mut failures, mut failures_of_client) = (0, 0);
        for more in 0.. {
            match with_few(next, more, || listener.accept()) {
                Ok(()) => break,
                Err(error) => {
                    assert!(is_want(&error), "{error:?}");
                    // Who was not accepted goes on waiting.
                    failures_of_client += usize::from(!matches!(error, ConnectError::Io { .. }));
                }
            }
            failures += 1;
        }
        // For the socket, the segment's file, and what shows that somebody lives.
        assert!((3..10).contains(&failures), "{failures}");
        drop(fill);
        answer(&mut listener.accept().unwrap().0);
        // The connection that was dropped above was its too.
        assert_eq!(client.join().unwrap(), failures_of_client + 1);
        serves(&listener);
    });
}

#[test]
fn who_connects_or_listens_with_too_few_descriptors_is_told_and_nothing_is_left() {
    alone(|()| {
        fn serve_all((path, here): (PathBuf, shmkit_sync::Event)) {
            let listener = Listener::bind(path).unwrap();
            here.set();
            loop {
                let _ = listener.accept().map(|(mut connection, _)| {
                    let _ = connection.recv::<u64>().map(|number| connection.send(&(number + 1)));
                });
            }
        }
        let place = Place::new();
        let here = shmkit_sync::Event::new().unwrap();
        let server = start(serve_all, (place.path(), here.clone()));
        here.wait().unwrap();
        let other = place.directory().join("other");
        let (_fill, next) = fill_gaps();
        type Attempt<'a> = &'a dyn Fn() -> Result<(), ConnectError>;
        let attempts: [Attempt<'_>; 2] =
            [&|| shmkit_pipe::connect(place.path()).map(drop), &|| Listener::bind(&other).map(drop)];
        for attempt in attempts {
            let fails = |more: &u64| match with_few(next, *more, attempt) {
                Ok(()) => false,
                Err(error) => {
                    assert!(is_want(&error), "{error:?}");
                    true
                }
            };
            let needed = (0..).take_while(fails).count();
            assert!((1..10).contains(&needed), "{needed}");
            assert_eq!(place.entries(), ["socket"]);
        }
        ask(place.path());
        crate::company::kill(server);
    });
}
