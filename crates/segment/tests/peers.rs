//! Who is attached to a segment, who acts in it, and what happens when they are no more.
//!
//! Between attachments of one process first, where `die` does what a kill does, on shared and on private segments alike; then
//! between processes that are really killed and stopped.
#![cfg(not(loom))]

mod harness;
mod journal;
#[path = "../../process/tests/rendezvous/mod.rs"]
mod rendezvous;

use harness::{alone, kill};
use journal::Event::{Swept, Woken};
use journal::{DIE_SWEEPING, Journal, anonymous, configuration, pack, unpack};
use rendezvous::{Rendezvous, arrive, stay};
use rustix::process::{Resource, Rlimit, Signal, WaitId, WaitIdOptions};
use serde::{Deserialize, Deserializer, Serialize};
use shmkit_process::{JoinError, spawn};
use shmkit_segment::primitive::Ordering;
use shmkit_segment::{Error, Options, PeerId, Role, Segment, Side, transfer};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Runs `test` on both kinds of segment, with places for `peers`.
fn on_each_kind(peers: usize, test: fn(Arc<Segment<Journal>>)) {
    test(anonymous(peers));
    test(Options::new().peers(peers).private(configuration(32)).unwrap());
}

#[test]
fn a_peer_counts_from_its_joining_to_its_leaving() {
    on_each_kind(4, |first| {
        assert_eq!(first.peer_count(), 1);
        let second = first.join().unwrap();
        let third = second.join().unwrap();
        assert_eq!([&first, &second, &third].map(|segment| segment.me().number()), [0, 1, 2]);
        assert_eq!(first.peer_count(), 3);
        assert_eq!(first.pid(second.me()), std::process::id());
        drop(second);
        assert_eq!(first.peer_count(), 2);
        assert_eq!(first.pid(PeerId::from_number(1)), 0);
    });
}

#[test]
fn a_full_table_is_an_error_until_somebody_leaves() {
    on_each_kind(2, |first| {
        let second = first.join().unwrap();
        assert!(matches!(first.join(), Err(Error::TooManyPeers { limit: 2 })));
        drop(second);
        assert_eq!(first.join().unwrap().me().number(), 1);
    });
}

#[test]
fn a_number_of_peers_that_cannot_be_is_an_error_of_geometry() {
    for peers in [0, 4097, usize::MAX] {
        let outcome = Options::new().peers(peers).anonymous::<Journal>(configuration(1));
        assert!(matches!(outcome, Err(Error::Geometry(_))), "{peers}");
    }
    assert_eq!(Options::new().peers(4096).anonymous::<Journal>(configuration(1)).unwrap().peer_count(), 1);
}

#[test]
fn who_leaves_sweeps_after_itself_and_wakes_everybody() {
    on_each_kind(4, |first| {
        let second = first.join().unwrap();
        assert!(first.object().events().is_empty());
        drop(second);
        assert_eq!(first.object().events(), [Swept(1, 1), Woken]);
    });
}

#[test]
fn a_dead_peer_is_swept_once_by_whoever_looks_and_then_everybody_is_woken() {
    on_each_kind(4, |first| {
        let (second, third) = (first.join().unwrap(), first.join().unwrap());
        second.die();
        assert_eq!(first.peer_count(), 3);
        assert_eq!(third.reap_dead(), 1);
        assert_eq!(first.object().events(), [Swept(1, 2), Woken]);
        assert_eq!(first.peer_count(), 2);
        assert_eq!((first.reap_dead(), third.reap_dead()), (0, 0));
        // The dead one is not heard of again, whatever its process still drops.
        drop(second);
        assert_eq!(first.object().events(), [Swept(1, 2), Woken]);
    });
}

#[test]
fn the_living_oneself_and_nobody_are_not_reaped() {
    on_each_kind(4, |first| {
        let second = first.join().unwrap();
        for number in [0, 1, 2, 3, 4, u16::MAX] {
            let peer = PeerId::from_number(number);
            assert!(!first.reap(peer) && !second.reap(peer), "{number}");
        }
        second.die();
        assert!(!second.reap(first.me()) && second.reap_dead() == 0);
        assert!(first.reap(second.me()));
        assert_eq!(first.object().events(), [Swept(1, 0), Woken]);
    });
}

#[test]
fn the_place_of_a_dead_peer_is_swept_before_it_is_taken_again() {
    on_each_kind(2, |first| {
        first.join().unwrap().die();
        let heir = first.join().unwrap();
        assert_eq!(heir.me().number(), 1);
        assert_eq!(first.object().events(), [Swept(1, 0), Woken]);
        assert!(matches!(first.join(), Err(Error::TooManyPeers { limit: 2 })));
    });
}

#[test]
fn a_side_is_never_then_open_then_closed_then_open() {
    on_each_kind(2, |first| {
        assert_eq!([0, 1, 2, 3].map(|role| first.side(role)), [Side::Never; 4]);
        for _ in 0..3 {
            let role = first.role(2);
            assert_eq!(first.side(2), Side::Open);
            drop(role);
            assert_eq!(
                [0, 1, 2, 3].map(|role| first.side(role)),
                [Side::Never, Side::Never, Side::Closed, Side::Never]
            );
        }
        // Each time for all who waited for the end.
        assert_eq!(first.object().events(), [Woken; 3]);
    });
}

#[test]
fn a_side_is_open_until_the_last_handle_of_the_last_peer_is_gone() {
    on_each_kind(2, |first| {
        let second = first.join().unwrap();
        let roles = [first.role(0), second.role(0)];
        let clones = roles.clone();
        drop(roles);
        let [ours, theirs] = clones;
        drop(ours);
        assert_eq!((first.side(0), first.object().events()), (Side::Open, vec![]));
        drop(theirs);
        assert_eq!((first.side(0), first.object().events()), (Side::Closed, vec![Woken]));
    });
}

#[test]
fn a_role_that_was_given_away_is_left_once() {
    on_each_kind(2, |first| {
        let (role, other) = (first.role(0), first.role(0));
        assert!(!role.is_moved());
        role.give_away();
        role.give_away();
        assert!(role.is_moved());
        drop(role);
        assert_eq!(first.side(0), Side::Open);
        drop(other);
        assert_eq!(first.side(0), Side::Closed);
    });
}

#[test]
fn the_roles_of_a_dead_peer_close_when_it_is_reaped_unless_others_have_them() {
    on_each_kind(2, |first| {
        let second = first.join().unwrap();
        let roles = (first.role(0), second.role(0), second.role(1), second.role(1));
        second.die();
        assert_eq!((first.side(0), first.side(1)), (Side::Open, Side::Open));
        assert!(first.reap(second.me()));
        assert_eq!((first.side(0), first.side(1)), (Side::Open, Side::Closed));
        drop(roles);
        assert_eq!(first.side(0), Side::Closed);
    });
}

#[test]
fn handles_that_travel_together_share_one_attachment() {
    let first = anonymous(4);
    let roles = (first.role(0), first.role(1));
    let (text, descriptors) = transfer::sending(|| serde_json::to_string(&roles));
    let descriptors = descriptors.unwrap();
    assert_eq!(descriptors.len(), 2);
    drop(roles);
    let arrived: (Role<Journal>, Role<Journal>) =
        transfer::receiving(descriptors, || serde_json::from_str(&text.unwrap())).0.unwrap();
    assert!(Arc::ptr_eq(arrived.0.segment(), arrived.1.segment()));
    assert_eq!((arrived.0.number(), arrived.1.number(), first.peer_count()), (0, 1, 2));
    drop(arrived);
    assert_eq!((first.side(0), first.side(1), first.peer_count()), (Side::Closed, Side::Closed, 1));
}

#[test]
fn a_role_on_its_way_keeps_its_side_open_and_closes_it_if_it_never_arrives() {
    alone(|()| {
        let first = anonymous(2);
        let (_text, descriptors) = pack(&first.role(0));
        assert_eq!((first.side(0), first.peer_count(), first.reap_dead()), (Side::Open, 2, 0));
        drop(descriptors);
        assert_eq!(first.reap_dead(), 1);
        assert_eq!((first.side(0), first.peer_count()), (Side::Closed, 1));
    });
}

#[test]
fn a_private_segment_cannot_be_sent() {
    let segment = Options::new().private::<Journal>(configuration(1)).unwrap();
    let (outcome, descriptors) = transfer::sending(|| serde_json::to_string(&segment.role(0)));
    assert!(outcome.unwrap_err().to_string().contains("private segment"));
    assert!(matches!(descriptors, Err(Error::NotTransferable(_))));
    assert_eq!(segment.peer_count(), 1);
}

#[test]
fn a_role_that_was_given_away_cannot_be_sent() {
    let role = anonymous(2).role(0);
    role.give_away();
    let (outcome, descriptors) = transfer::sending(|| serde_json::to_string(&role));
    assert!(outcome.unwrap_err().to_string().contains("already been moved"));
    assert!(matches!(descriptors, Err(Error::NotTransferable(_))));
}

#[test]
fn an_ordinary_serialiser_is_refused_in_both_directions() {
    let role = anonymous(2).role(0);
    let refusal = serde_json::to_string(&role).unwrap_err();
    assert!(refusal.to_string().contains("not by an ordinary serialiser"), "{refusal}");
    assert_eq!(role.segment().peer_count(), 1);
    let (text, _descriptors) = pack(&role);
    let refusal = serde_json::from_str::<Role<Journal>>(&text).err().unwrap();
    assert!(refusal.to_string().contains("can only be deserialised as an argument"), "{refusal}");
}

#[test]
fn a_handle_that_lies_about_itself_is_an_error() {
    let lies = [
        ("[0,0,4]", "a role that does not exist"),
        ("[0,2,0]", "not its own"),
        ("[0,9,0]", "not its own"),
        ("[1,1,0]", "without its descriptors"),
        ("[7,1,0]", "without its descriptors"),
    ];
    for (text, reason) in lies {
        let (_, descriptors) = pack(&anonymous(3).role(0));
        let error = unpack::<Journal>(text, descriptors).err().unwrap();
        assert!(error.to_string().contains(reason), "{text}: {error}");
    }
}

/// Attaches, arrives, and stays until let go.
fn attend((_role, place): (Role<Journal>, PathBuf)) {
    stay(place);
}

/// What a kill left behind has been recovered: nobody is attached but `segment`, and nobody has the role.
fn assert_recovered(segment: &Segment<Journal>) {
    assert_eq!((segment.peer_count(), segment.side(0)), (1, Side::Closed));
}

#[test]
fn a_killed_process_is_reaped_and_its_role_closes() {
    alone(|()| {
        let (segment, rendezvous) = (anonymous(2), Rendezvous::new());
        let child = spawn(attend, (segment.role(0), rendezvous.place())).unwrap();
        let met = rendezvous.meet();
        assert_eq!((segment.pid(PeerId::from_number(1)), segment.reap_dead()), (met.pid, 0));
        kill(child);
        assert_eq!(segment.side(0), Side::Open);
        assert_eq!(segment.reap_dead(), 1);
        assert_recovered(&segment);
        assert_eq!(segment.object().events(), [Swept(1, 0), Woken]);
    });
}

#[test]
fn a_stopped_process_is_alive() {
    alone(|()| {
        let (segment, rendezvous) = (anonymous(2), Rendezvous::new());
        let child = spawn(attend, (segment.role(0), rendezvous.place())).unwrap();
        let met = rendezvous.meet();
        rustix::process::pidfd_send_signal(child.as_fd(), Signal::STOP).unwrap();
        rustix::process::waitid(WaitId::PidFd(child.as_fd()), WaitIdOptions::STOPPED).unwrap();
        assert_eq!((segment.reap_dead(), segment.side(0)), (0, Side::Open));
        assert!(matches!(segment.join(), Err(Error::TooManyPeers { limit: 2 })));
        rustix::process::pidfd_send_signal(child.as_fd(), Signal::CONT).unwrap();
        drop(met);
        child.join().unwrap();
        // It left by itself.
        assert_eq!(segment.reap_dead(), 0);
        assert_recovered(&segment);
    });
}

/// An argument that is not deserialised before the test lets it.
#[derive(Serialize)]
struct Gate(PathBuf);

impl<'de> Deserialize<'de> for Gate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let place = PathBuf::deserialize(deserializer)?;
        stay(place.clone());
        Ok(Self(place))
    }
}

#[test]
fn a_process_killed_before_it_could_attach_is_reaped() {
    alone(|()| {
        let (segment, rendezvous) = (anonymous(2), Rendezvous::new());
        let child = spawn(|_: (Gate, Role<Journal>)| (), (Gate(rendezvous.place()), segment.role(0))).unwrap();
        let _met = rendezvous.meet();
        assert_eq!((segment.peer_count(), segment.side(0), segment.reap_dead()), (2, Side::Open, 0));
        kill(child);
        assert_eq!(segment.reap_dead(), 1);
        assert_recovered(&segment);
    });
}

#[test]
fn a_reaper_that_dies_is_succeeded_and_the_sweep_repeated() {
    alone(|()| {
        let (segment, rendezvous) = (anonymous(3), Rendezvous::new());
        segment.join().unwrap().die();
        let reap_and_die = |(role, place): (Role<Journal>, PathBuf)| {
            let _met = arrive(&place);
            DIE_SWEEPING.store(true, Ordering::Relaxed);
            role.segment().reap_dead()
        };
        let child = spawn(reap_and_die, (segment.role(0), rendezvous.place())).unwrap();
        rendezvous.meet().await_death();
        assert!(matches!(child.join(), Err(JoinError::Exited { .. })));
        assert_eq!(segment.object().events(), [Swept(1, 2)]);
        assert_eq!(segment.reap_dead(), 2);
        assert_eq!(segment.object().events(), [Swept(1, 2), Swept(1, 0), Woken, Swept(2, 0), Woken]);
        assert_recovered(&segment);
    });
}

/// The delays spread the kills over the life of a child, from before its first instruction to after its last. Where each one falls
/// does not matter to the outcome.
#[test]
fn a_process_killed_at_any_moment_leaves_nothing() {
    alone(|()| {
        let segment = anonymous(2);
        let mut reaped = 0;
        for delay in (0..1000).map(|round| Duration::from_micros(3 * round)) {
            let child = spawn(|role: Role<Journal>| drop(role.clone()), segment.role(0)).unwrap();
            let start = Instant::now();
            while start.elapsed() < delay {
                std::hint::spin_loop();
            }
            child.kill().unwrap();
            // Killed, unless it had ended or at least sent its result.
            let _ = child.join();
            reaped += segment.reap_dead();
            assert_recovered(&segment);
        }
        assert!((1..=1000).contains(&reaped), "{reaped}");
    });
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn fifty_rounds_leave_no_descriptor() {
    alone(|()| {
        let round = || {
            let segment = anonymous(4);
            let other = segment.join().unwrap();
            let fallen = segment.join().unwrap();
            fallen.die();
            drop(pack(&segment.role(0)));
            let (text, parcel) = pack(&segment.role(0));
            assert!(unpack::<Journal<0>>(&text, parcel).is_err());
            drop(fallen);
            assert!(segment.reap_dead() > 0);
            spawn(|role: Role<Journal>| drop(role), other.role(0)).unwrap().join().unwrap();
        };
        round();
        let before = descriptors();
        (0..50).for_each(|_| round());
        assert_eq!(descriptors(), before);
    });
}

/// Runs `attempt` with at most `limit` of `resource`, and expects it to leave no descriptor.
fn limited<R>(resource: Resource, limit: u64, attempt: impl FnOnce() -> R) -> R {
    let before = descriptors();
    let usual = rustix::process::getrlimit(resource);
    rustix::process::setrlimit(resource, Rlimit { current: Some(limit), ..usual }).unwrap();
    let result = attempt();
    rustix::process::setrlimit(resource, usual).unwrap();
    assert_eq!(descriptors(), before);
    result
}

#[test]
fn too_few_descriptors_are_an_error_wherever_they_end() {
    alone(|()| {
        let segment = anonymous(2);
        // The limit is on their numbers, so there must be no gaps among these.
        let count = descriptors();
        let fill: Vec<File> = (0..count).map(|_| File::open("/dev/null").unwrap()).collect();
        let next = fill.iter().map(|file| file.as_raw_fd() as u64 + 1).max().unwrap();
        for more in 0..2 {
            let create = || Options::new().anonymous::<Journal>(configuration(1)).map(drop);
            assert!(matches!(limited(Resource::Nofile, next + more, create), Err(Error::System { .. })));
            // Another peer of this process needs one only.
            let join = || segment.join().map(drop);
            assert_eq!(limited(Resource::Nofile, next + more, join).is_err(), more == 0);
            let role = segment.role(0);
            let send = || transfer::sending(|| serde_json::to_string(&role).map(drop)).0;
            assert!(limited(Resource::Nofile, next + more, send).is_err());
        }
        assert_eq!((segment.peer_count(), segment.side(0)), (1, Side::Closed));
    });
}

#[test]
fn too_little_address_space_is_an_error() {
    alone(|()| {
        const PAGES: u64 = 4 << 10;
        let status = std::fs::read_to_string("/proc/self/statm").unwrap();
        let used: u64 = status.split(' ').next().unwrap().parse().unwrap();
        let create = || Options::new().anonymous::<Journal>(configuration(PAGES * 4096 / 4)).map(drop);
        let outcome = limited(Resource::As, (used + PAGES / 2) * 4096, create);
        assert!(matches!(outcome, Err(Error::System { action: "map the segment", .. })), "{outcome:?}");
        create().unwrap();
    });
}

#[test]
fn a_segment_beyond_the_limit_on_file_sizes_is_an_error() {
    alone(|()| {
        let create = || Options::new().anonymous::<Journal>(configuration(1 << 20)).map(drop);
        let outcome = limited(Resource::Fsize, 1 << 20, create);
        assert!(matches!(outcome, Err(Error::NoSpace { .. })), "{outcome:?}");
        create().unwrap();
    });
}
