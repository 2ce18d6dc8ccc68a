//! Segments in memory that an embedder has mapped: here, files in memory, which each process maps by itself.
#![cfg(not(loom))]

mod forked;
mod harness;
mod journal;
#[path = "../../process/tests/rendezvous/mod.rs"]
mod rendezvous;

use forked::fork;
use harness::{alone, kill};
use journal::Event::{Swept, Woken};
use journal::{Journal, configuration, reopen};
use memmap2::{MmapOptions, MmapRaw};
use rendezvous::{Rendezvous, stay};
use rustix::fs::MemfdFlags;
use shmkit_process::spawn;
use shmkit_segment::{Error, Liveness, Options, PeerId, Raw, Segment, Side, kind, transfer};
use std::cell::RefCell;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::ptr::NonNull;
use std::sync::Arc;
use std::thread;

const PEERS: usize = 4;
/// Of the arenas in these tests.
const LENGTH: usize = 64 << 10;

/// An embedder's memory, mapped for as long as the process lives.
struct Arena {
    file: OwnedFd,
    map: &'static MmapRaw,
}

impl Arena {
    fn new() -> Self {
        let file = File::from(rustix::fs::memfd_create(c"arena", MemfdFlags::CLOEXEC).unwrap());
        file.set_len(LENGTH as u64).unwrap();
        Self::map(file.into())
    }

    fn map(file: OwnedFd) -> Self {
        let map = MmapOptions::new().len(LENGTH).map_raw(file.as_raw_fd()).unwrap();
        Self { file, map: Box::leak(Box::new(map)) }
    }

    /// Where another process finds it while this one lives.
    fn place(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd()).into()
    }

    /// What another process has put in this place.
    fn at(place: &PathBuf) -> Self {
        Self::map(File::options().read(true).write(true).open(place).unwrap().into())
    }

    fn bytes(&self, offset: usize, length: usize) -> NonNull<[u8]> {
        assert!(offset + length <= LENGTH);
        let start = NonNull::new(self.map.as_mut_ptr().wrapping_add(offset)).unwrap();
        NonNull::slice_from_raw_parts(start, length)
    }

    /// For a segment in `length` bytes from `offset` on.
    fn raw(&self, offset: usize, length: usize, liveness: Liveness) -> Raw {
        // SAFETY: it is never unmapped, and these tests do not touch it in any other way while there are segments in it.
        unsafe { Options::new().peers(PEERS).raw(self.bytes(offset, length), liveness) }
    }

    /// For a segment whose peers know each other alive by the arena's own file.
    fn shared(&self, offset: usize) -> Raw {
        self.raw(offset, LENGTH - offset, Liveness::File { file: reopen(&self.file), offset: offset as u64 })
    }

    fn write(&self, offset: usize, bytes: &[u8]) {
        rustix::io::pwrite(&self.file, bytes, offset as u64).unwrap();
    }
}

fn length(entries: u64) -> usize {
    Options::new().peers(PEERS).length::<Journal>(configuration(entries)).unwrap()
}

/// Attaches to the segment at `offset`, arrives, and stays until let go.
fn attend((arena, offset, place): (PathBuf, usize, PathBuf)) {
    let segment = Arena::at(&arena).shared(offset).open::<Journal>().unwrap();
    let _role = segment.role(0);
    stay(place);
}

#[test]
fn processes_share_a_segment_in_memory_that_each_of_them_has_mapped() {
    alone(|()| {
        let (arena, rendezvous) = (Arena::new(), Rendezvous::new());
        // Whatever lay there before.
        arena.write(0, &[0xa5; LENGTH]);
        let segment = arena.shared(0).create::<Journal>(configuration(32)).unwrap();
        assert_eq!((segment.length(), segment.max_peers()), (length(32), PEERS));
        assert!(segment.as_file().is_none() && segment.object().events().is_empty());
        let child = spawn(attend, (arena.place(), 0, rendezvous.place())).unwrap();
        let met = rendezvous.meet();
        assert_eq!((segment.peer_count(), segment.reap_dead(), segment.side(0)), (2, 0, Side::Open));
        assert_eq!(segment.pid(PeerId::from_number(1)), child.pid());
        assert!(segment.peers().iter().all(|peer| peer.is_alive()));
        drop(met);
        child.join().unwrap();
        assert_eq!((segment.peer_count(), segment.side(0)), (1, Side::Closed));

        let child = spawn(attend, (arena.place(), 0, rendezvous.place())).unwrap();
        let _met = rendezvous.meet();
        kill(child);
        assert_eq!(segment.side(0), Side::Open);
        assert_eq!((segment.reap_dead(), segment.peer_count(), segment.side(0)), (1, 1, Side::Closed));
        assert_eq!(segment.object().events().last_chunk(), Some(&[Swept(1, 0), Woken]));
    });
}

#[test]
fn peers_of_two_segments_in_one_file_do_not_disturb_each_other() {
    alone(|()| {
        let (arena, rendezvous) = (Arena::new(), Rendezvous::new());
        // One right after the other, and the first one full.
        let offsets = [0, length(32).next_multiple_of(128)];
        let segments = offsets.map(|offset| arena.shared(offset).create::<Journal>(configuration(32)).unwrap());
        let others: Vec<_> = (1..PEERS).map(|_| segments[0].join().unwrap()).collect();
        assert!(matches!(segments[0].join(), Err(Error::TooManyPeers { limit: PEERS })));
        assert_eq!(segments.each_ref().map(|segment| segment.peer_count()), [PEERS, 1]);
        drop(others);
        for victim in [0, 1] {
            let children = offsets.map(|offset| {
                let child = spawn(attend, (arena.place(), offset, rendezvous.place())).unwrap();
                (child, rendezvous.meet())
            });
            let [first, second] = children;
            let ((dies, _held), (lives, met)) = if victim == 0 { (first, second) } else { (second, first) };
            kill(dies);
            let reaped = segments.each_ref().map(|segment| segment.reap_dead());
            assert_eq!(reaped, if victim == 0 { [1, 0] } else { [0, 1] });
            assert_eq!(segments[victim].peer_count(), 1);
            assert_eq!((segments[1 - victim].peer_count(), segments[1 - victim].side(0)), (2, Side::Open));
            drop(met);
            lives.join().unwrap();
            assert_eq!(segments.each_ref().map(|segment| segment.peer_count()), [1, 1]);
        }
    });
}

#[test]
fn a_file_of_its_own_tells_who_is_alive() {
    alone(|()| {
        let (arena, locks, rendezvous) = (Arena::new(), tempfile::NamedTempFile::new().unwrap(), Rendezvous::new());
        let liveness = |path: &std::path::Path| Liveness::File {
            file: File::options().read(true).write(true).open(path).unwrap().into(),
            offset: 4096,
        };
        let segment = arena.raw(0, LENGTH, liveness(locks.path())).create::<Journal>(configuration(32)).unwrap();
        let attend = |(arena, locks, place): (PathBuf, PathBuf, PathBuf)| {
            let file = File::options().read(true).write(true).open(locks).unwrap().into();
            let arena = Arena::at(&arena);
            let _segment = arena.raw(0, LENGTH, Liveness::File { file, offset: 4096 }).open::<Journal>().unwrap();
            stay(place);
        };
        let child = spawn(attend, (arena.place(), locks.path().to_owned(), rendezvous.place())).unwrap();
        let _met = rendezvous.meet();
        assert_eq!((segment.peer_count(), segment.reap_dead()), (2, 0));
        kill(child);
        assert_eq!((segment.reap_dead(), segment.peer_count()), (1, 1));
        // Nothing was written to it.
        assert_eq!(locks.as_file().metadata().unwrap().len(), 0);
    });
}

#[test]
fn a_full_table_is_an_error_and_the_place_of_the_dead_is_inherited() {
    alone(|()| {
        let (arena, rendezvous) = (Arena::new(), Rendezvous::new());
        let segment = arena.shared(0).create::<Journal>(configuration(32)).unwrap();
        let others = [segment.join().unwrap(), segment.join().unwrap()];
        let child = spawn(attend, (arena.place(), 0, rendezvous.place())).unwrap();
        let _met = rendezvous.meet();
        assert!(matches!(arena.shared(0).open::<Journal>(), Err(Error::TooManyPeers { limit: PEERS })));
        kill(child);
        let heir = arena.shared(0).open::<Journal>().unwrap();
        assert_eq!(
            (heir.me().number(), segment.side(0), segment.object().events()),
            (3, Side::Closed, vec![Swept(3, 3), Woken])
        );
        drop(others);
    });
}

/// The memory itself is left to a fork, as the embedder may need it there.
#[test]
fn a_fork_has_no_part_in_lent_memory() {
    alone(|()| {
        let arena = Arena::new();
        let handles = RefCell::new(Some(arena.shared(0).create::<Journal>(configuration(32)).unwrap()));
        let first = arena.shared(0).open::<Journal>().unwrap();
        let role = first.role(0);
        fork(|| {
            let segment = handles.take().unwrap();
            assert!(segment.is_defunct() && first.is_defunct());
            assert!(matches!(segment.join(), Err(Error::Forked)));
            assert_eq!((segment.reap_dead(), segment.peer_count()), (0, 2));
            assert!(segment.role(2).is_moved() && first.role(0).is_moved() && role.clone().is_moved());
            drop(segment);
            // It comes in by itself like any other process.
            let own = arena.shared(0).open::<Journal>().unwrap();
            assert!(!own.is_defunct() && own.peers().iter().all(|peer| peer.is_alive()));
            assert_eq!((own.me().number(), own.peer_count()), (2, 3));
        })
        .join();
        assert_eq!([0, 1, 2].map(|role| first.side(role)), [Side::Open, Side::Never, Side::Never]);
        assert_eq!((first.peer_count(), first.reap_dead()), (2, 0));
        assert_eq!(first.object().events(), [Swept(2, 2), Woken]);
        drop(role);
        assert_eq!((first.side(0), first.side(2)), (Side::Closed, Side::Never));
    });
}

/// Is alive for as long as the thread that runs it.
fn live_and_die(segment: &Segment<Journal>) -> PeerId {
    let other = segment.join().unwrap();
    let _role = other.role(1);
    other.die();
    other.me()
}

#[test]
fn the_threads_of_a_single_process_join_and_die_and_are_reaped() {
    alone(|()| {
        let arena = Arena::new();
        let segment = arena.raw(0, LENGTH, Liveness::SingleProcess).create::<Journal>(configuration(64)).unwrap();
        let all: [Arc<Segment<Journal>>; PEERS - 1] = std::array::from_fn(|_| segment.join().unwrap());
        assert!(matches!(segment.join(), Err(Error::TooManyPeers { limit: PEERS })));
        assert!(segment.peers().iter().all(|peer| peer.is_alive()));
        drop(all);
        for _ in 0..10 {
            let dead = thread::scope(|scope| scope.spawn(|| live_and_die(&segment)).join().unwrap());
            assert_eq!((segment.peer_count(), segment.side(1)), (2, Side::Open));
            assert!(segment.reap(dead));
            assert_eq!((segment.peer_count(), segment.side(1)), (1, Side::Closed));
        }
        thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(|| live_and_die(&segment)))));
        assert_eq!((segment.reap_dead(), segment.peer_count()), (2, 1));
        assert!(!segment.is_defunct());
    });
}

#[test]
fn the_memory_of_a_single_process_is_not_opened_again() {
    alone(|()| {
        let arena = Arena::new();
        let _segment = arena.raw(0, LENGTH, Liveness::SingleProcess).create::<Journal>(configuration(32)).unwrap();
        let outcome = arena.raw(0, LENGTH, Liveness::SingleProcess).open::<Journal>();
        assert!(matches!(outcome, Err(Error::NotTransferable(why)) if why.contains("`join`")));
    });
}

#[test]
fn handles_to_lent_memory_cannot_be_sent() {
    alone(|()| {
        for offset in [0, LENGTH / 2] {
            let arena = Arena::new();
            let liveness = match offset {
                0 => Liveness::SingleProcess,
                _ => Liveness::File { file: reopen(&arena.file), offset: offset as u64 },
            };
            let segment = arena.raw(offset, LENGTH / 2, liveness).create::<Journal>(configuration(32)).unwrap();
            let (outcome, descriptors) = transfer::sending(|| serde_json::to_string(&segment.role(0)));
            assert!(outcome.is_err());
            assert!(matches!(descriptors, Err(Error::NotTransferable(_))));
            assert_eq!(segment.peer_count(), 1);
        }
    });
}

#[test]
fn memory_that_is_too_small_or_begins_in_the_wrong_place_is_an_error_of_geometry() {
    alone(|()| {
        let arena = Arena::new();
        let geometry = |outcome: Result<_, Error>| matches!(outcome, Err(Error::Geometry(_)));
        let file = || Liveness::File { file: reopen(&arena.file), offset: 0 };
        let exact = length(32);
        for size in [0, 1, 127, 128, 255, 256, exact - 128, exact - 1] {
            assert!(geometry(arena.raw(0, size, file()).create::<Journal>(configuration(32))), "{size}");
            assert!(
                geometry(arena.raw(0, size, Liveness::SingleProcess).create::<Journal>(configuration(32))),
                "{size}"
            );
        }
        for offset in [1, 4, 8, 64, 127] {
            assert!(geometry(arena.raw(offset, LENGTH / 2, file()).create::<Journal>(configuration(32))), "{offset}");
        }
        // Nothing has been written.
        let mut bytes = vec![1; LENGTH];
        rustix::io::pread(&arena.file, &mut bytes[..], 0).unwrap();
        assert!(bytes.iter().all(|&byte| byte == 0));

        let segment = arena.raw(0, exact, file()).create::<Journal>(configuration(32)).unwrap();
        for size in [0, 1, 127, 128, 255, 256, exact - 1] {
            assert!(geometry(arena.raw(0, size, file()).open::<Journal>()), "{size}");
        }
        for offset in [1, 64] {
            assert!(geometry(arena.raw(offset, LENGTH / 2, file()).open::<Journal>()), "{offset}");
        }
        for size in [exact, exact + 1, LENGTH] {
            assert_eq!(arena.raw(0, size, file()).open::<Journal>().unwrap().length(), exact);
        }
        assert_eq!(segment.peer_count(), 1);
    });
}

#[test]
fn a_place_among_locks_that_is_none_is_an_error_of_geometry() {
    alone(|()| {
        let arena = Arena::new();
        for offset in [1, 64, 127, 129, u64::MAX] {
            let liveness = || Liveness::File { file: reopen(&arena.file), offset };
            let create = arena.raw(0, LENGTH, liveness()).create::<Journal>(configuration(32));
            assert!(matches!(create, Err(Error::Geometry(_))), "{offset}");
            let _segment = arena.shared(0).create::<Journal>(configuration(32)).unwrap();
            let open = arena.raw(0, LENGTH, liveness()).open::<Journal>();
            assert!(matches!(open, Err(Error::Geometry(_))), "{offset}");
        }
        // As far out as it gets.
        let liveness = Liveness::File { file: reopen(&arena.file), offset: u64::MAX - 127 };
        let segment = arena.raw(0, LENGTH, liveness).create::<Journal>(configuration(32)).unwrap();
        let other = segment.join().unwrap();
        other.die();
        assert_eq!(segment.reap_dead(), 1);
    });
}

#[test]
fn what_is_not_the_segment_that_was_expected_has_an_error_for_each_case() {
    alone(|()| {
        let arena = Arena::new();
        let open = || arena.shared(0).open::<Journal>();
        assert!(matches!(open(), Err(Error::Incomplete)));
        arena.write(0, b"#!/bin/sh");
        let found = u64::from_le_bytes(*b"#!/bin/s");
        assert!(matches!(open(), Err(Error::NotASegment { found: it }) if it == found));

        let segment = arena.shared(0).create::<Journal>(configuration(32)).unwrap();
        let what = |outcome: Result<(), Error>| match outcome {
            Err(Error::WrongObject { what, .. }) => what,
            other => panic!("{other:?}"),
        };
        const TEST: u32 = kind(b"TEST");
        let other_kind = arena.shared(0).open::<Journal<{ kind(b"ELSE") }>>().map(drop);
        assert_eq!(what(other_kind), "kind");
        assert_eq!(what(arena.shared(0).open::<Journal<TEST, 16>>().map(drop)), "size and alignment of the payload");
        assert_eq!(what(arena.shared(0).open::<Journal<TEST, 8, 1>>().map(drop)), "tag");
        assert_eq!(segment.peer_count(), 1);
        drop(segment);

        // The number of peers, the length, the layout's version, and the mark of completeness.
        let mut whole = vec![0; 256];
        rustix::io::pread(&arena.file, &mut whole[..], 0).unwrap();
        let damage = |at: usize, bytes: &[u8]| {
            arena.write(0, &whole);
            arena.write(at, bytes);
            open().map(drop)
        };
        assert!(matches!(damage(20, &[5]), Err(Error::Corrupt(_))));
        assert!(matches!(damage(40, &[1]), Err(Error::Corrupt(_))));
        assert!(matches!(damage(40, &[0xff; 8]), Err(Error::Corrupt(_) | Error::Geometry(_))));
        assert!(matches!(damage(8, &[99]), Err(Error::Incompatible { what: "layout version", found: 99, .. })));
        assert!(matches!(damage(128, &[0; 4]), Err(Error::Incomplete)));
        assert!(matches!(damage(128, &[1; 4]), Err(Error::Corrupt(_))));
        damage(0, &[]).unwrap();
    });
}

/// Comes to the memory like others at the same time, and stays until let go.
fn come((arena, place): (PathBuf, PathBuf)) {
    let arena = Arena::at(&arena);
    // All at once, as far as processes can.
    stay(place.clone());
    let _segment = arena.shared(0).open_or_create::<Journal>(configuration(16)).unwrap();
    stay(place);
}

#[test]
fn all_who_come_at_once_meet_in_one_segment() {
    alone(|()| {
        let arena = Arena::new();
        // Nothing at first, then what they have left, and then what was never completed.
        for round in 0..3 {
            if round == 2 {
                arena.write(128, &[0; 4]);
            }
            let rendezvous = Rendezvous::new();
            let children: Vec<_> =
                (1..PEERS).map(|_| spawn(come, (arena.place(), rendezvous.place())).unwrap()).collect();
            drop(children.iter().map(|_| rendezvous.meet()).collect::<Vec<_>>());
            let met: Vec<_> = children.iter().map(|_| rendezvous.meet()).collect();
            let segment = arena.shared(0).open::<Journal>().unwrap();
            assert_eq!((segment.peer_count(), segment.side(0)), (PEERS, Side::Never));
            drop(met);
            children.into_iter().for_each(|child| child.join().unwrap());
            assert_eq!(segment.peer_count(), 1);
            drop(segment.role(0));
        }
    });
}

#[test]
fn what_somebody_uses_is_not_made_anew() {
    let arena = Arena::new();
    let first = arena.shared(0).create::<Journal>(configuration(4)).unwrap();
    assert!(matches!(arena.shared(0).create::<Journal>(configuration(4)), Err(Error::Exists { .. })));
    let other = arena.shared(0).open_or_create::<Journal>(configuration(5));
    assert!(matches!(other, Err(Error::WrongObject { what: "configuration[0]", found: 4, expected: 5 })));
    assert_eq!(first.peer_count(), 1);
    drop(first);
    assert_eq!(arena.shared(0).create::<Journal>(configuration(5)).unwrap().object().events(), []);
    arena.write(0, b"not a segment");
    assert!(matches!(arena.shared(0).open_or_create::<Journal>(configuration(5)), Err(Error::NotASegment { .. })));
}
