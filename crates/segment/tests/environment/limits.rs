//! Limits of a process and of a segment: each is an error, and nothing is left behind.

use crate::entries;
use crate::harness::{Name, alone, kill};
use crate::journal::Event::{Swept, Woken};
use crate::journal::{Journal, configuration};
use crate::rendezvous::{Rendezvous, stay};
use rustix::process::{Resource, Rlimit};
use shmkit_process::spawn;
use shmkit_segment::{Error, Named, Options, Segment, Side, State, inspect};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;

type Outcome = Result<Arc<Segment<Journal>>, Error>;

fn descriptors() -> usize {
    entries("/proc/self/fd".as_ref()).len()
}

/// Runs `attempt` with at most `limit` of `resource`, and expects it to leave no descriptor.
fn limited(resource: Resource, limit: u64, attempt: impl FnOnce() -> Outcome) -> Result<(), Error> {
    let before = descriptors();
    let usual = rustix::process::getrlimit(resource);
    rustix::process::setrlimit(resource, Rlimit { current: Some(limit), ..usual }).unwrap();
    let result = attempt().map(drop);
    rustix::process::setrlimit(resource, usual).unwrap();
    assert_eq!(descriptors(), before);
    result
}

/// Opens files until the descriptors have no gaps, and says the first number that is free then.
fn fill_gaps() -> (Vec<File>, u64) {
    let fill: Vec<File> = (0..descriptors()).map(|_| File::open("/dev/null").unwrap()).collect();
    let next = fill.iter().map(|file| file.as_raw_fd() as u64 + 1).max().unwrap();
    (fill, next)
}

/// How many descriptors `attempt` needs to succeed; with fewer, it is an error.
fn needed(next: u64, attempt: impl Fn() -> Outcome, check: impl Fn()) -> u64 {
    let fails = |more: &u64| {
        let outcome = limited(Resource::Nofile, next + more, &attempt);
        check();
        match outcome {
            Ok(()) => false,
            Err(Error::System { source, .. } | Error::File { source, .. }) => {
                assert_eq!(source.raw_os_error(), Some(rustix::io::Errno::MFILE.raw_os_error()));
                true
            }
            Err(other) => panic!("{other:?}"),
        }
    };
    (0..10).take_while(fails).count() as u64
}

#[test]
fn too_few_descriptors_are_an_error_and_leave_neither_a_name_nor_a_peer() {
    alone(|()| {
        let (name, other) = (Name::new(), Name::new());
        let segment = Options::new().name(&name.0).create::<Journal>(configuration(64)).unwrap();
        let (_fill, next) = fill_gaps();
        let open = || Options::new().name(&name.0).open();
        let check = || assert_eq!((segment.peer_count(), segment.reap_dead()), (1, 0));
        assert_eq!(needed(next, open, check), 3);
        assert_eq!(needed(next, || Options::new().name(&name.0).open_or_create(configuration(64)), check), 3);
        let create = || {
            let outcome = Options::new().name(&other.0).create(configuration(1));
            assert_eq!(other.path().exists(), outcome.is_ok());
            outcome
        };
        assert_eq!(needed(next, create, || drop(std::fs::remove_file(other.path()))), 2);
    });
}

#[test]
fn a_segment_that_was_made_with_the_last_descriptors_is_as_good_as_any() {
    alone(|()| {
        // A fresh process, which has not looked yet what boot of the machine this is.
        let name = Name::new();
        let (fill, next) = fill_gaps();
        let create = || Options::new().name(&name.0).create(configuration(64));
        limited(Resource::Nofile, next + 2, create).unwrap();
        drop(fill);
        assert_eq!(inspect(name.path()).unwrap().state, State::Whole);
        let open = |name: String| drop(Options::new().name(name).open::<Journal>().unwrap());
        open(name.0.clone());
        spawn(open, name.0.clone()).unwrap().join().unwrap();
    });
}

#[test]
fn a_file_beyond_the_limit_on_sizes_is_no_space_and_no_signal() {
    alone(|()| {
        let directory = tempfile::tempdir().unwrap();
        let name = Name::new();
        for named in [Options::new().name(&name.0), Options::new().file(directory.path().join("x"))] {
            for limit in [0, 1, 4096, 1 << 20] {
                let outcome = limited(Resource::Fsize, limit, || named.create(configuration(1 << 20)));
                assert!(matches!(outcome, Err(Error::NoSpace { .. })), "{outcome:?}");
                let outcome = limited(Resource::Fsize, limit, || named.open_or_create(configuration(1 << 20)));
                assert!(matches!(outcome, Err(Error::NoSpace { .. })), "{outcome:?}");
            }
            assert!(!name.path().exists() && entries(directory.path()).is_empty());
            // It is the length of what is made that counts. What there is can be opened.
            let _segment = named.create::<Journal>(configuration(1 << 20)).unwrap();
            limited(Resource::Fsize, 0, || named.open()).unwrap();
            std::fs::remove_file(name.path()).or_else(|_| std::fs::remove_file(directory.path().join("x"))).unwrap();
        }
    });
}

#[test]
fn too_little_address_space_is_an_error_and_leaves_neither_a_name_nor_a_peer() {
    alone(|()| {
        const PAGES: u64 = 4 << 10;
        let name = Name::new();
        let named = Options::new().name(&name.0);
        let short_of_space = |attempt: &dyn Fn() -> Outcome| {
            let status = std::fs::read_to_string("/proc/self/statm").unwrap();
            let used: u64 = status.split(' ').next().unwrap().parse().unwrap();
            let outcome = limited(Resource::As, (used + PAGES / 2) * 4096, attempt);
            assert!(matches!(outcome, Err(Error::System { action: "map the segment", .. })), "{outcome:?}");
        };
        short_of_space(&|| named.create(configuration(PAGES * 1024)));
        assert!(!name.path().exists());
        let segment = named.create::<Journal>(configuration(PAGES * 1024)).unwrap();
        short_of_space(&|| named.open());
        short_of_space(&|| named.open_or_create(configuration(PAGES * 1024)));
        assert_eq!((segment.peer_count(), segment.reap_dead()), (1, 0));
        assert_eq!(named.open::<Journal>().unwrap().peer_count(), 2);
    });
}

/// Attaches by name, arrives, and stays until let go.
fn attend((name, place): (String, PathBuf)) {
    let segment = Options::new().name(name).open::<Journal>().unwrap();
    let _role = segment.role(0);
    stay(place);
}

fn crowd(peers: usize) -> (Name, Named, Rendezvous) {
    let name = Name::new();
    let named = Options::new().peers(peers).name(&name.0);
    (name, named, Rendezvous::new())
}

#[test]
fn a_table_that_is_full_of_the_living_is_an_error_and_a_place_of_the_dead_is_inherited() {
    alone(|()| {
        let (name, named, rendezvous) = crowd(2);
        let segment = named.create::<Journal>(configuration(64)).unwrap();
        let child = spawn(attend, (name.0.clone(), rendezvous.place())).unwrap();
        let _met = rendezvous.meet();
        for _ in 0..3 {
            assert!(matches!(named.open::<Journal>(), Err(Error::TooManyPeers { limit: 2 })));
            let again = named.open_or_create::<Journal>(configuration(64));
            assert!(matches!(again, Err(Error::TooManyPeers { limit: 2 })));
        }
        assert_eq!((segment.peer_count(), segment.side(0), segment.object().events()), (2, Side::Open, vec![]));
        kill(child);
        let heir = named.open::<Journal>().unwrap();
        assert_eq!((heir.me().number(), segment.peer_count(), segment.side(0)), (1, 2, Side::Closed));
        assert_eq!(segment.object().events(), [Swept(1, 1), Woken]);
        assert!(segment.peers().iter().all(|peer| peer.is_alive() && peer.pid() == std::process::id()));
    });
}

#[test]
fn a_table_that_is_full_of_the_dead_is_cleared_by_whoever_comes_next() {
    alone(|()| {
        let (name, named, rendezvous) = crowd(3);
        let segment = named.create::<Journal>(configuration(64)).unwrap();
        let first = spawn(attend, (name.0.clone(), rendezvous.place())).unwrap();
        let _first = rendezvous.meet();
        let second = spawn(attend, (name.0.clone(), rendezvous.place())).unwrap();
        let _second = rendezvous.meet();
        drop(segment);
        let third = spawn(attend, (name.0.clone(), rendezvous.place())).unwrap();
        let _third = rendezvous.meet();
        assert!(matches!(named.open::<Journal>(), Err(Error::TooManyPeers { limit: 3 })));
        [first, second, third].into_iter().for_each(kill);
        let found = inspect(name.path()).unwrap();
        assert_eq!((found.alive, found.dead), (0, 3));
        let heir = named.open::<Journal>().unwrap();
        assert_eq!((heir.me().number(), heir.peer_count(), heir.side(0)), (0, 1, Side::Never));
        let swept: Vec<_> = heir.object().events().into_iter().filter(|event| matches!(event, Swept(..))).collect();
        assert_eq!(swept, [Swept(0, 0), Swept(0, 0), Swept(1, 0), Swept(2, 0)]);
    });
}
