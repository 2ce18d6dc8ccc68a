//! Segments that are found by name or by path: creating, opening, keeping, replacing, removing, and the races between them.
#![cfg(not(loom))]

mod harness;
mod journal;
#[path = "../../process/tests/rendezvous/mod.rs"]
mod rendezvous;

use harness::{Name, alone};
use journal::Event::{Swept, Woken};
use journal::{Journal, configuration};
use rendezvous::{Rendezvous, arrive, stay};
use shmkit_process::{JoinHandle, spawn};
use shmkit_segment::{
    Error, LAYOUT_VERSION, Named, Options, PeerId, Segment, Side, State, inspect, list, remove, remove_stale,
};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

impl Name {
    fn named(&self) -> Named {
        named(&self.0)
    }

    /// Puts a file in its place that no creator of a segment would leave.
    fn write(&self, content: &[u8]) {
        fs::write(self.path(), content).unwrap();
        fs::set_permissions(self.path(), PermissionsExt::from_mode(0o600)).unwrap();
    }

    fn overwrite(&self, offset: u64, content: &[u8]) {
        File::options().write(true).open(self.path()).unwrap().write_all_at(content, offset).unwrap();
    }
}

fn named(name: &str) -> Named {
    Options::new().peers(8).name(name)
}

fn open(named: &Named) -> Result<Arc<Segment<Journal>>, Error> {
    named.open()
}

fn create(named: &Named) -> Result<Arc<Segment<Journal>>, Error> {
    named.create(configuration(32))
}

fn open_or_create(named: &Named) -> Result<Arc<Segment<Journal>>, Error> {
    named.open_or_create(configuration(32))
}

#[test]
fn one_creates_and_others_open() {
    let name = Name::new();
    assert!(matches!(open(&name.named()), Err(Error::NotFound { path }) if path == name.path()));
    let first = create(&name.named()).unwrap();
    assert!(matches!(create(&name.named()), Err(Error::Exists { path }) if path == name.path()));
    let second = open(&name.named()).unwrap();
    let third = open_or_create(&name.named()).unwrap();
    assert_eq!([&first, &second, &third].map(|segment| segment.me().number()), [0, 1, 2]);
    assert_eq!((first.peer_count(), third.configuration()), (3, configuration(32)));
    drop(second);
    assert_eq!(first.object().events(), [Swept(1, 1), Woken]);
}

#[test]
fn another_configuration_and_another_object_are_not_opened() {
    let name = Name::new();
    let _first = create(&name.named()).unwrap();
    let other = name.named().open_or_create::<Journal>(configuration(31));
    assert!(matches!(other, Err(Error::WrongObject { what: "configuration[0]", found: 32, expected: 31 })));
    assert!(matches!(name.named().open::<Journal<1>>(), Err(Error::WrongObject { what: "kind", .. })));
    assert_eq!(_first.peer_count(), 1);
}

#[test]
fn a_segment_in_a_file_is_found_by_its_path() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("orders");
    let first = create(&Options::new().file(&path)).unwrap();
    assert_eq!(open(&Options::new().file(&path)).unwrap().peer_count(), 2);
    assert_eq!(fs::metadata(&path).unwrap().len(), first.length() as u64);
    drop(first);
    assert_eq!(open_or_create(&Options::new().file(&path)).unwrap().peer_count(), 1);
    assert_eq!(inspect(&path).unwrap().state, State::Whole);
}

#[test]
fn what_nobody_uses_is_kept_and_its_roles_begin_anew() {
    let name = Name::new();
    let first = create(&name.named()).unwrap();
    drop((first.role(0), first.role(1)));
    assert_eq!([0, 1, 2].map(|role| first.side(role)), [Side::Closed, Side::Closed, Side::Never]);
    // While somebody is there, what was left stays left.
    assert_eq!(open(&name.named()).unwrap().side(0), Side::Closed);
    drop(first);
    let again = open_or_create(&name.named()).unwrap();
    assert_eq!(again.object().events(), [Woken, Woken, Swept(1, 1), Woken, Swept(0, 0), Woken]);
    assert_eq!(again.side(0), Side::Never);
    drop(again.role(0));
    assert_eq!(again.side(0), Side::Closed);
}

#[test]
fn who_comes_next_reaps_the_dead() {
    let name = Name::new();
    let die = |name: String| {
        let segment = create(&named(&name)).unwrap();
        std::mem::forget((segment.role(2), segment));
    };
    spawn(die, name.0.clone()).unwrap().join().unwrap();
    let listing = inspect(name.path()).unwrap();
    assert_eq!((listing.alive, listing.dead, listing.state), (0, 1, State::Whole));
    let next = open(&name.named()).unwrap();
    assert_eq!((next.peer_count(), next.side(2)), (1, Side::Never));
    assert_eq!(next.object().events(), [Swept(0, 1), Woken]);
}

#[test]
fn the_place_of_a_dead_peer_is_inherited_when_all_are_taken() {
    let name = Name::new();
    let one_place = |name: &str| open_or_create(&Options::new().peers(1).name(name));
    spawn(
        |name: String| std::mem::forget(open_or_create(&Options::new().peers(1).name(name)).unwrap()),
        name.0.clone(),
    )
    .unwrap()
    .join()
    .unwrap();
    let heir = one_place(&name.0).unwrap();
    assert_eq!((heir.me().number(), heir.pid(heir.me()), heir.peer_count()), (0, std::process::id(), 1));
    assert_eq!(heir.object().events(), [Swept(0, 0), Woken]);
    assert!(matches!(one_place(&name.0), Err(Error::TooManyPeers { limit: 1 })));
}

#[test]
fn what_was_never_completed_is_replaced() {
    for content in [&[][..], &[0; 100], &[0; 100_000]] {
        let name = Name::new();
        name.write(content);
        assert!(matches!(open(&name.named()), Err(Error::Incomplete)));
        assert_eq!(inspect(name.path()).unwrap().state, State::NeverReady);
        assert_eq!(open_or_create(&name.named()).unwrap().peer_count(), 1);
        name.write(content);
        assert_eq!(create(&name.named()).unwrap().peer_count(), 1);
    }
}

#[test]
fn what_is_from_an_earlier_boot_is_replaced() {
    let name = Name::new();
    for make in [create, open_or_create] {
        drop(open_or_create(&name.named()).unwrap());
        name.overwrite(48, b"earlier!");
        assert!(matches!(open(&name.named()), Err(Error::EarlierBoot)));
        assert_eq!(inspect(name.path()).unwrap().state, State::EarlierBoot);
        assert_eq!(make(&name.named()).unwrap().object().events(), []);
    }
}

#[test]
fn what_is_not_a_segment_is_never_replaced() {
    let name = Name::new();
    let text = "not a segment, but long enough to be one: ".repeat(20);
    name.write(text.as_bytes());
    for named in [name.named(), name.named().replace_stale(true)] {
        assert!(matches!(open(&named), Err(Error::NotASegment { .. })));
        assert!(matches!(open_or_create(&named), Err(Error::NotASegment { .. })));
        assert!(matches!(create(&named), Err(Error::NotASegment { .. })));
    }
    assert_eq!(inspect(name.path()).unwrap().state, State::Other);
    assert_eq!(fs::read(name.path()).unwrap(), text.as_bytes());
    name.write(b"too short, too");
    assert!(matches!(open(&name.named()), Err(Error::NotASegment { .. })));
    assert_eq!(remove_stale_here(&name, true), 0);
}

#[test]
fn another_version_is_replaced_on_request_only() {
    let name = Name::new();
    drop(create(&name.named()).unwrap());
    name.overwrite(8, &(LAYOUT_VERSION + 1).to_le_bytes());
    assert!(matches!(open_or_create(&name.named()), Err(Error::Incompatible { .. })));
    assert!(matches!(create(&name.named()), Err(Error::Exists { .. })));
    assert_eq!(inspect(name.path()).unwrap().state, State::Incompatible);
    assert!(create(&name.named().replace_stale(true)).is_ok());
}

#[test]
fn what_nobody_uses_is_replaced_on_request_and_what_somebody_uses_is_not() {
    let name = Name::new();
    let stale = name.named().replace_stale(true);
    let first = create(&name.named()).unwrap();
    assert!(matches!(create(&stale), Err(Error::Exists { .. })));
    assert_eq!(open_or_create(&stale).unwrap().peer_count(), 2);
    drop(first);
    assert_eq!(open_or_create(&stale).unwrap().object().events(), []);
    drop(open(&name.named()).unwrap());
    assert_eq!(create(&stale).unwrap().object().events(), []);
}

#[test]
fn who_is_attached_goes_on_when_the_name_is_removed() {
    let name = Name::new();
    let (first, second) = (create(&name.named()).unwrap(), open(&name.named()).unwrap());
    remove(&name.0).unwrap();
    assert!(matches!(remove(&name.0), Err(Error::NotFound { .. })));
    let other = create(&name.named()).unwrap();
    drop(second);
    assert_eq!((first.object().events(), other.object().events()), (vec![Swept(1, 1), Woken], vec![]));
    assert_eq!((first.join().unwrap().peer_count(), other.peer_count()), (2, 1));
}

#[test]
fn names_that_cannot_be_are_refused() {
    for name in ["", "a/b", "/", "a\0b", &"x".repeat(249)] {
        assert!(matches!(create(&named(name)), Err(Error::Name { .. })), "{name:?}");
        assert!(matches!(remove(name), Err(Error::Name { .. })), "{name:?}");
    }
    let name = Name::of(format!("{:x>248}", std::process::id()), "shmkit-");
    assert!(create(&name.named()).is_ok());
    let name = Name::of(format!("naïve name, {} 名", std::process::id()), "shmkit-");
    assert!(create(&name.named()).is_ok());
    assert!(list().unwrap().iter().any(|listing| listing.name == name.0));
}

#[test]
fn the_list_tells_who_is_attached() {
    let name = Name::new();
    let first = name.named().mode(0o640).create::<Journal>(configuration(32)).unwrap();
    first.set_name("the first of all those that are attached");
    let second = first.join().unwrap();
    second.die();
    let all = list().unwrap();
    let listing = all.iter().find(|listing| listing.name == name.0).unwrap();
    assert_eq!((listing.alive, listing.dead, listing.peers.len()), (1, 1, 2));
    assert_eq!((listing.kind.as_str(), listing.size, listing.mode), ("TEST", first.length() as u64, 0o640));
    assert_eq!(listing.owner, rustix::process::geteuid().as_raw());
    assert!(listing.age < Duration::from_secs(3600));
    let peer = &listing.peers[0];
    assert_eq!((peer.pid(), &*peer.name()), (std::process::id(), "the first of all those that are "));
    assert!(peer.is_alive() && !listing.peers[1].is_alive());
    assert!(peer.started().is_some_and(|started| started <= std::time::SystemTime::now()));
    assert_eq!(first.peers(), listing.peers);
    assert!(listing.to_string().contains("1 alive, 1 dead"), "{listing}");
}

fn remove_stale_here(name: &Name, quiet: bool) -> usize {
    remove_stale(quiet).unwrap().iter().filter(|removed| **removed == name.0).count()
}

#[test]
fn clearing_up_removes_what_nobody_can_use_and_on_request_what_nobody_does() {
    // In a process of its own user's only, so that no other test's segments are cleared away: without `quiet`, there are none such.
    let (never_ready, quiet, used) = (Name::new(), Name::new(), Name::new());
    never_ready.write(&[0; 4096]);
    drop(create(&quiet.named()).unwrap());
    let _used = create(&used.named()).unwrap();
    assert_eq!([&never_ready, &quiet, &used].map(|name| remove_stale_here(name, false)), [1, 0, 0]);
    assert!(quiet.path().exists() && used.path().exists() && !never_ready.path().exists());
}

/// Six processes that do the same at the same time: each passes the [`gate`] together with all others.
fn crowd(name: &Name, rendezvous: &Rendezvous, f: fn((String, PathBuf)) -> u32) -> Vec<JoinHandle<u32>> {
    let children: Vec<_> = (0..6).map(|_| spawn(f, (name.0.clone(), rendezvous.place())).unwrap()).collect();
    let met: Vec<_> = children.iter().map(|_| rendezvous.meet()).collect();
    drop(met);
    children
}

fn gate(place: &PathBuf) {
    arrive(place).read_to_end(&mut Vec::new()).unwrap();
}

fn results(children: Vec<JoinHandle<u32>>) -> Vec<u32> {
    children.into_iter().map(|child| child.join().unwrap()).collect()
}

#[test]
fn of_many_creators_one_wins() {
    let create_it = |(name, place): (String, PathBuf)| {
        gate(&place);
        match create(&named(&name)) {
            Ok(_) => 1,
            Err(Error::Exists { .. }) => 0,
            Err(error) => panic!("{error}"),
        }
    };
    for _ in 0..10 {
        let (name, rendezvous) = (Name::new(), Rendezvous::new());
        assert_eq!(results(crowd(&name, &rendezvous, create_it)).iter().sum::<u32>(), 1);
        assert_eq!(open(&name.named()).unwrap().peer_count(), 1);
    }
}

#[test]
fn all_who_come_at_once_meet_in_one_segment() {
    let come = |(name, place): (String, PathBuf)| {
        gate(&place);
        let segment = open_or_create(&named(&name)).unwrap();
        stay(place);
        u32::from(segment.me().number())
    };
    for content in [None, Some(&[][..]), Some(&[0; 5000])] {
        for _ in 0..5 {
            let (name, rendezvous) = (Name::new(), Rendezvous::new());
            if let Some(content) = content {
                name.write(content);
            }
            let children = crowd(&name, &rendezvous, come);
            let met: Vec<_> = children.iter().map(|_| rendezvous.meet()).collect();
            assert_eq!(inspect(name.path()).unwrap().alive, 6);
            drop(met);
            let mut numbers = results(children);
            numbers.sort_unstable();
            assert_eq!(numbers, [0, 1, 2, 3, 4, 5]);
        }
    }
}

#[test]
fn replacing_all_the_time_leaves_one_whole_segment() {
    let come_and_replace = |(name, place): (String, PathBuf)| {
        gate(&place);
        for _ in 0..50 {
            let segment = open_or_create(&named(&name).replace_stale(true)).unwrap();
            // It has this name, or had it until this process came: nobody attaches to one that had lost it before.
            assert!(segment.peers().iter().any(|peer| peer.id() == segment.me() && peer.is_alive()));
        }
        0
    };
    let (name, rendezvous) = (Name::new(), Rendezvous::new());
    results(crowd(&name, &rendezvous, come_and_replace));
    assert_eq!(open(&name.named()).unwrap().peer_count(), 1);
}

/// The delays spread the kills over what a child does, which comes and goes all the time. Where each one falls does not matter to the outcome.
#[test]
fn a_thousand_kills_leave_a_segment_that_opens() {
    // In a process of its own, which has no other threads whose descriptors would be counted.
    alone(|()| kill_a_thousand());
}

fn kill_a_thousand() {
    let (name, rendezvous) = (Name::new(), Rendezvous::new());
    let come_and_go = |(name, place): (String, PathBuf)| {
        let _here = arrive(&place);
        for round in 0.. {
            let named = named(&name).replace_stale(round % 3 == 0);
            let segment = open_or_create(&named).unwrap();
            drop((segment.role(0), segment.join().unwrap()));
            if round % 5 == 0 {
                let _ = remove(&name);
            }
        }
    };
    let round = |delay: u64| {
        let child = spawn(come_and_go, (name.0.clone(), rendezvous.place())).unwrap();
        let met = rendezvous.meet();
        let start = Instant::now();
        while start.elapsed() < Duration::from_micros(delay) {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        assert!(child.join().is_err());
        drop(met);
        let dead = inspect(name.path()).map_or(0, |listing| listing.dead);
        let start = Instant::now();
        let segment = open_or_create(&name.named()).unwrap();
        assert_eq!((segment.peer_count(), segment.side(0)), (1, Side::Never));
        (dead, start.elapsed())
    };
    round(0);
    let before = fs::read_dir("/proc/self/fd").unwrap().count();
    let (dead, times): (Vec<_>, Vec<_>) = (0..1000).map(|number| round(3 * number)).unzip();
    let (dead, slowest) = (dead.iter().sum::<usize>(), times.iter().max().unwrap());
    println!("1000 kills, {dead} dead peers found, slowest open {slowest:?}");
    assert!(dead > 0, "are they killed while they are attached?");
    remove(&name.0).unwrap();
    assert_eq!(fs::read_dir("/proc/self/fd").unwrap().count(), before);
    assert!(!list().unwrap().iter().any(|listing| listing.name == name.0));
}

/// Sealed ones have this test in header.rs.
#[test]
fn every_truncation_and_flipped_bit_of_a_file_is_an_error_or_harmless() {
    let name = Name::new();
    let small = || Options::new().peers(2).name(&name.0);
    drop(small().create::<Journal>(configuration(4)).unwrap());
    let whole = fs::read(name.path()).unwrap();
    for length in 0..whole.len() {
        name.write(&whole[..length]);
        let outcome = open(&small());
        let expected = match length {
            0 => matches!(outcome, Err(Error::Incomplete)),
            1..6 => matches!(outcome, Err(Error::NotASegment { .. })),
            _ => matches!(outcome, Err(Error::Corrupt(_))),
        };
        assert!(expected, "{length}: {:?}", outcome.err());
    }
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        name.write(&flipped);
        let expected = match bit / 8 {
            0..8 => "NotASegment",
            8..16 => "Incompatible",
            16..20 | 24..40 => "WrongObject",
            20..24 | 40..48 | 64..72 | 128..132 => "Corrupt",
            48..56 => "EarlierBoot",
            _ => "",
        };
        match open(&small()) {
            Ok(segment) => {
                assert_eq!((segment.peer_count(), expected), (1, ""), "bit {} of byte {}", bit % 8, bit / 8);
                drop((segment.role(0), segment.join().unwrap()));
            }
            Err(error) => assert!(format!("{error:?}").starts_with(expected) && !expected.is_empty(), "{error:?}"),
        }
    }
}

/// Attaches by name, arrives, and stays until let go.
fn attend((name, place): (String, PathBuf)) {
    let _segment = open(&named(&name)).unwrap();
    stay(place);
}

#[test]
fn a_death_is_seen_by_asking_by_waiting_and_by_a_descriptor() {
    use rustix::event::{PollFd, PollFlags};
    let (name, rendezvous) = (Name::new(), Rendezvous::new());
    let first = create(&name.named()).unwrap();
    let child = spawn(attend, (name.0.clone(), rendezvous.place())).unwrap();
    let _met = rendezvous.meet();
    let peer = first.peers().into_iter().find(|peer| peer.id() == PeerId::from_number(1)).unwrap();
    assert_eq!((peer.pid(), peer.is_alive(), first.is_alive(&peer)), (child.pid(), true, true));
    assert!(!first.wait_until_gone_timeout(&peer, Duration::from_millis(1)));
    let end = first.watch(&peer).unwrap();
    child.kill().unwrap();
    let mut events = [PollFd::new(&end, PollFlags::IN)];
    rustix::event::poll(&mut events, None).unwrap();
    first.wait_until_gone(&peer);
    assert_eq!((first.peer_count(), first.is_alive(&peer)), (1, false));
    assert_eq!(first.object().events(), [Swept(1, 0), Woken]);
    assert!(child.join().is_err());
    assert!(matches!(first.watch(&peer), Err(Error::System { .. })));
    // Whoever gets the place next is somebody else.
    let next = first.join().unwrap();
    assert_eq!(next.me(), peer.id());
    assert!(!first.is_alive(&peer) && first.wait_until_gone_timeout(&peer, Duration::ZERO));
}

#[test]
fn a_peer_that_leaves_is_gone_though_its_process_lives() {
    let name = Name::new();
    let (first, second) = (create(&name.named()).unwrap(), open(&name.named()).unwrap());
    let peer = first.peers().remove(1);
    let waiter = std::thread::spawn({
        let (first, peer) = (Arc::clone(&first), peer.clone());
        move || first.wait_until_gone(&peer)
    });
    assert!(first.is_alive(&peer));
    drop(second);
    waiter.join().unwrap();
    assert_eq!(first.peer_count(), 1);
}
