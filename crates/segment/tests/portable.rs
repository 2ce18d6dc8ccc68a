//! Named segments of the portable backend: meeting by name, what the crate that maps them leaves to its user, and that nobody is ever
//! found dead.
#![cfg(all(feature = "portable", not(loom)))]

mod harness;
mod journal;
#[path = "../../process/tests/rendezvous/mod.rs"]
mod rendezvous;

use harness::{Name, unique};
use journal::Event::{Swept, Woken};
use journal::{Journal, configuration};
use rendezvous::{Rendezvous, arrive, stay};
use rustix::process::{Resource, Rlimit};
use shmkit_process::spawn;
use shmkit_segment::{Error, Options, Role, Segment, Side, list, portable, transfer};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// How the files' names begin.
const PREFIX: &str = "shmkit.portable-";

fn new_name() -> Name {
    Name::of(unique(), PREFIX)
}

impl Name {
    fn file(&self) -> File {
        File::options().read(true).write(true).open(self.path()).unwrap()
    }

    fn create(&self) -> Result<Arc<Segment<Journal>>, Error> {
        create(&self.0, 32)
    }

    fn open(&self) -> Result<Arc<Segment<Journal>>, Error> {
        portable::open(&self.0)
    }
}

fn create(name: &str, entries: u64) -> Result<Arc<Segment<Journal>>, Error> {
    portable::create(name, &Options::new().peers(8), configuration(entries))
}

#[test]
fn two_processes_meet_by_name() {
    let come_and_go = |(name, place): (String, PathBuf)| {
        let segment = portable::open::<Journal>(&name).unwrap();
        let role = segment.role(0);
        stay(place);
        drop(role);
        (segment.me().number(), segment.configuration()[0])
    };
    let name = new_name();
    let segment = name.create().unwrap();
    let rendezvous = Rendezvous::new();
    let child = spawn(come_and_go, (name.0.clone(), rendezvous.place())).unwrap();
    let met = rendezvous.meet();
    assert_eq!((segment.peer_count(), segment.side(0), segment.side(1)), (2, Side::Open, Side::Never));
    let peers = segment.peers();
    assert_eq!(peers.iter().map(|peer| peer.pid()).collect::<Vec<_>>(), [std::process::id(), met.pid]);
    assert!(peers.iter().all(|peer| segment.is_alive(peer)));
    drop(met);
    assert_eq!(child.join().unwrap(), (1, 32));
    assert_eq!((segment.peer_count(), segment.side(0)), (1, Side::Closed));
    assert_eq!(segment.object().events(), [Woken, Swept(1, 1), Woken]);
}

#[test]
fn what_is_not_there_is_not_found_and_what_is_there_is_not_made_again() {
    let name = new_name();
    assert!(matches!(name.open(), Err(Error::NotFound { path }) if path == name.path()));
    assert!(matches!(portable::remove(&name.0), Err(Error::NotFound { .. })));
    let first = name.create().unwrap();
    assert!(matches!(name.create(), Err(Error::Exists { path }) if path == name.path()));
    assert!(matches!(portable::open::<Journal<1>>(&name.0), Err(Error::WrongObject { what: "kind", .. })));
    assert_eq!(first.peer_count(), 1);
}

#[test]
fn one_of_many_creators_wins_and_the_others_can_open() {
    fn come(name: String) -> (bool, u16) {
        match create(&name, 32) {
            Ok(segment) => (true, std::mem::ManuallyDrop::new(segment).me().number()),
            Err(Error::Exists { .. }) => {
                let segment = portable::open::<Journal>(&name).unwrap();
                (false, std::mem::ManuallyDrop::new(segment).me().number())
            }
            Err(other) => panic!("{other}"),
        }
    }
    let name = new_name();
    let children: Vec<_> = (0..6).map(|_| spawn(come, name.0.clone()).unwrap()).collect();
    let mut outcomes: Vec<_> = children.into_iter().map(|child| child.join().unwrap()).collect();
    outcomes.sort_unstable_by_key(|&(_, number)| number);
    // All are still entered, so no two had the same place; the creator was the first.
    let expected: Vec<_> = (0..6).map(|number| (number == 0, number)).collect();
    assert_eq!(outcomes, expected);
}

#[test]
fn no_two_peers_are_in_one_place_however_many_come_and_go() {
    let name = new_name();
    // Places to spare: who looks through the table while others come and go might find each one taken when its turn comes.
    let segment = portable::create::<Journal>(&name.0, &Options::new().peers(16), configuration(0)).unwrap();
    let taken: [AtomicBool; 16] = Default::default();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..10_000 {
                    let peer = if round % 100 == 0 { name.open() } else { segment.join() }.unwrap();
                    let place = &taken[usize::from(peer.me().number())];
                    assert!(!place.swap(true, Ordering::Relaxed));
                    thread::yield_now();
                    place.store(false, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(segment.peer_count(), 1);
}

#[test]
fn names_are_apart_from_those_of_other_segments() {
    let name = new_name();
    let portable = name.create().unwrap();
    let named = Options::new().name(&name.0).create::<Journal>(configuration(32)).unwrap();
    assert_eq!((portable.peer_count(), named.peer_count()), (1, 1));
    assert!(list().unwrap().iter().all(|listing| listing.path != name.path()));
    shmkit_segment::remove(&name.0).unwrap();
    assert!(name.path().exists());
}

#[test]
fn names_that_cannot_be_are_refused() {
    for name in ["", "a/b", "a\0b", &"n".repeat(240)] {
        assert!(matches!(create(name, 1), Err(Error::Name { .. })), "{name:?}");
        assert!(matches!(portable::open::<Journal>(name), Err(Error::Name { .. })), "{name:?}");
        assert!(matches!(portable::remove(name), Err(Error::Name { .. })), "{name:?}");
    }
    let name = new_name();
    let longest = Name::of(format!("{}{}", name.0, "n".repeat(239 - name.0.len())), PREFIX);
    longest.create().unwrap();
    portable::remove(&longest.0).unwrap();
}

#[test]
fn all_memory_is_allotted_at_creation() {
    let name = new_name();
    let segment = create(&name.0, 1 << 20).unwrap();
    let status = fs::metadata(name.path()).unwrap();
    assert_eq!(status.len(), segment.length() as u64);
    assert!(status.blocks() * 512 >= status.len());
    assert_eq!(status.mode() & 0o077, 0);
}

#[test]
fn more_memory_than_there_is_is_an_error_that_leaves_nothing() {
    let name = new_name();
    let shm = rustix::fs::statvfs("/dev/shm").unwrap();
    if shm.f_blocks == 0 {
        // No limit, so no error.
        return;
    }
    let outcome = create(&name.0, shm.f_blocks * shm.f_frsize / 4 + 1);
    assert!(matches!(outcome, Err(Error::NoSpace { .. })), "{:?}", outcome.err());
    assert!(!name.path().exists());
    name.create().unwrap();
}

#[test]
fn a_segment_beyond_the_limit_on_file_sizes_is_an_error_and_not_a_signal() {
    let limited = |name: String| {
        let usual = rustix::process::getrlimit(Resource::Fsize);
        rustix::process::setrlimit(Resource::Fsize, Rlimit { current: Some(1 << 20), ..usual }).unwrap();
        matches!(create(&name, 1 << 20), Err(Error::NoSpace { .. }))
    };
    let name = new_name();
    assert!(spawn(limited, name.0.clone()).unwrap().join().unwrap());
    assert!(!name.path().exists());
}

#[test]
fn what_is_never_completed_is_not_touched_beyond_its_end_and_said_so() {
    let attempts = [0, 1, 127, 4096, 1 << 20].map(|length| {
        thread::spawn(move || {
            let name = new_name();
            File::create(name.path()).unwrap().set_len(length).unwrap();
            assert!(matches!(name.open(), Err(Error::Incomplete)), "{length}");
            // Reading has not even allotted a page.
            assert_eq!(fs::metadata(name.path()).unwrap().blocks(), 0, "{length}");
            // As after a creator that was killed: the name is in the way until it is removed.
            assert!(matches!(name.create(), Err(Error::Exists { .. })), "{length}");
            portable::remove(&name.0).unwrap();
            name.create().unwrap();
        })
    });
    attempts.into_iter().for_each(|attempt| attempt.join().unwrap());
}

#[test]
fn who_comes_while_a_segment_is_made_waits_for_it() {
    let (whole, slow) = (new_name(), new_name());
    drop(whole.create().unwrap());
    let content = fs::read(whole.path()).unwrap();
    const READY: usize = 128;
    let file = File::create_new(slow.path()).unwrap();
    thread::scope(|scope| {
        let opening = scope.spawn(|| slow.open().map(|segment| segment.peer_count()));
        // The steps of a creator, each long enough to be seen. Whatever is seen, it is never an error.
        let pause = || thread::sleep(Duration::from_millis(5));
        pause();
        file.set_len(content.len() as u64).unwrap();
        pause();
        file.write_all_at(&content[..READY], 0).unwrap();
        file.write_all_at(&content[READY + 4..], READY as u64 + 4).unwrap();
        pause();
        file.write_all_at(&content[READY..READY + 4], READY as u64).unwrap();
        assert_eq!(opening.join().unwrap().unwrap(), 1);
    });
}

#[test]
fn a_mapping_may_be_longer_than_the_segment_and_never_shorter() {
    let name = new_name();
    let segment = name.create().unwrap();
    let length = segment.length() as u64;
    drop(segment);
    name.file().set_len(length.next_multiple_of(4096)).unwrap();
    assert_eq!(name.open().unwrap().configuration(), configuration(32));
    name.file().set_len(length - 1).unwrap();
    assert!(matches!(name.open(), Err(Error::Corrupt(_))));
}

#[test]
fn a_header_is_checked_before_it_is_believed() {
    let name = new_name();
    drop(name.create().unwrap());
    const LENGTH: u64 = 40;
    let length = fs::metadata(name.path()).unwrap().len();
    for wrong in [0, length - 1, length + 1, u64::MAX] {
        name.file().write_all_at(&wrong.to_le_bytes(), LENGTH).unwrap();
        assert!(matches!(name.open(), Err(Error::Corrupt(_))), "{wrong}");
    }
    name.file().write_all_at(&length.to_le_bytes(), LENGTH).unwrap();
    assert!(name.open().is_ok());
    name.file().write_all_at(b"nonsense", 0).unwrap();
    assert!(matches!(name.open(), Err(Error::NotASegment { .. })));
}

#[test]
fn a_build_that_wakes_in_another_way_does_not_attach() {
    let name = new_name();
    drop(name.create().unwrap());
    const ARCHITECTURE: u64 = 12;
    let mut word = [0; 4];
    name.file().read_exact_at(&mut word, ARCHITECTURE).unwrap();
    let ours = u32::from_le_bytes(word);
    name.file().write_all_at(&(ours & !0x8000).to_le_bytes(), ARCHITECTURE).unwrap();
    let outcome = name.open().err();
    assert!(
        matches!(outcome, Some(Error::Incompatible { found, expected, .. }) if found + 0x8000 == expected),
        "{outcome:?}"
    );
}

#[test]
fn a_name_stays_when_its_creator_leaves_and_goes_when_it_is_removed() {
    let name = new_name();
    let first = name.create().unwrap();
    drop(first.role(0));
    drop(first);
    let second = name.open().unwrap();
    // Nothing begins anew: others may be coming in.
    assert_eq!((second.me().number(), second.side(0)), (0, Side::Closed));
    portable::remove(&name.0).unwrap();
    assert!(matches!(name.open(), Err(Error::NotFound { .. })));
    assert_eq!(second.join().unwrap().peer_count(), 2);

    // A successor of the same name is another segment, and keeps it when the old one goes.
    let successor = name.create().unwrap();
    assert_eq!(successor.object().events(), []);
    drop(second);
    assert_eq!(name.open().unwrap().peer_count(), 2);
}

#[test]
fn a_creator_that_is_killed_leaves_its_name_and_is_not_found_dead() {
    let create_and_stay = |(name, place): (String, PathBuf)| {
        let segment = create(&name, 32).unwrap();
        let _role = segment.role(0);
        stay(place);
    };
    let name = new_name();
    let rendezvous = Rendezvous::new();
    let child = spawn(create_and_stay, (name.0.clone(), rendezvous.place())).unwrap();
    let met = rendezvous.meet();
    child.kill().unwrap();
    assert!(child.join().is_err());
    met.await_death();

    let segment = name.open().unwrap();
    assert_eq!((segment.me().number(), segment.reap_dead(), segment.side(0)), (1, 0, Side::Open));
    let dead = &segment.peers()[0];
    assert!(segment.is_alive(dead) && !segment.reap(dead.id()));
    assert!(!segment.wait_until_gone_timeout(dead, Duration::from_millis(30)));
    assert_eq!(segment.object().events(), []);
    portable::remove(&name.0).unwrap();
    assert!(!name.path().exists());
}

#[test]
fn when_all_places_are_taken_nobody_comes_in_even_if_all_are_dead() {
    let name = new_name();
    let segment = portable::create::<Journal>(&name.0, &Options::new().peers(2), configuration(1)).unwrap();
    segment.die();
    drop(segment);
    let second = name.open().unwrap();
    assert!(matches!(name.open(), Err(Error::TooManyPeers { limit: 2 })));
    assert!(matches!(second.join(), Err(Error::TooManyPeers { limit: 2 })));
    drop(second);
    assert_eq!(name.open().unwrap().me().number(), 1);
}

#[test]
fn handles_cannot_be_passed_on() {
    fn refused(role: &Role<Journal>) {
        let (text, descriptors) = transfer::sending(|| serde_json::to_string(role));
        assert!(text.is_err());
        assert!(matches!(descriptors, Err(Error::NotTransferable(_))));
    }
    let name = new_name();
    let segment = name.create().unwrap();
    assert!(segment.as_file().is_none());
    refused(&segment.role(0));
    assert_eq!(segment.peer_count(), 1);
}

#[test]
fn a_forked_child_inherits_nothing() {
    let fork = |name: String| {
        let segment = create(&name, 32).unwrap();
        let role = segment.role(0);
        // SAFETY: the child has one thread, and does nothing but look at its handles and end.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let is_defunct = segment.is_defunct() && matches!(segment.join(), Err(Error::Forked));
            // Nothing of this reaches the parent.
            drop((role, segment));
            // SAFETY: ends the process.
            unsafe { libc::_exit(if is_defunct { 0 } else { 1 }) };
        }
        let mut status = 0;
        // SAFETY: `status` outlives the call.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        let events = segment.object().events().len();
        (status, segment.peer_count(), segment.side(0) == Side::Open, events)
    };
    let name = new_name();
    assert_eq!(spawn(fork, name.0.clone()).unwrap().join().unwrap(), (0, 1, true, 0));
}

#[test]
fn nothing_is_left_behind_in_a_process() {
    fn resources() -> (usize, usize) {
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let mapped = maps.lines().filter(|line| line.contains("shmkit.portable-")).count();
        (fs::read_dir(Path::new("/proc/self/fd")).unwrap().count(), mapped)
    }
    let rounds = |(name, place): (String, PathBuf)| {
        let _connection = arrive(&place);
        let before = resources();
        for _ in 0..20 {
            let segment = create(&name, 32).unwrap();
            let second = portable::open::<Journal>(&name).unwrap();
            let view = second.join().unwrap();
            drop((segment, second, view));
            portable::remove(&name).unwrap();
        }
        before == resources()
    };
    let name = new_name();
    let rendezvous = Rendezvous::new();
    let child = spawn(rounds, (name.0.clone(), rendezvous.place())).unwrap();
    drop(rendezvous.meet());
    assert!(child.join().unwrap());
}
