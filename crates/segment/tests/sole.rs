//! Roles that one handle has at a time: claimed, lost, passed on, and claimed again.
#![cfg(not(loom))]

mod forked;
mod harness;
mod journal;
#[path = "../../process/tests/rendezvous/mod.rs"]
mod rendezvous;

use forked::fork;
use harness::{alone, kill};
use journal::{Journal, anonymous, configuration, pack, reopen, unpack};
use rendezvous::{Rendezvous, stay};
use rustix::process::{Pid, Signal, WaitOptions};
use shmkit_process::spawn;
use shmkit_segment::{Error, Options, Role, Segment, Side};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, yield_now};

/// Runs `test` on both kinds of segment, with places for `peers`.
fn on_each_kind(peers: usize, test: fn(Arc<Segment<Journal>>)) {
    test(anonymous(peers));
    test(Options::new().peers(peers).private(configuration(32)).unwrap());
}

/// The process that has role 0, as who wants it is told.
fn holder(segment: &Arc<Segment<Journal>>) -> u32 {
    match segment.sole_role(0) {
        Err(Error::RoleTaken { pid, .. }) => pid,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("nobody has it"),
    }
}

fn write(segment: &Segment<Journal>, offset: u64, word: u32) {
    let file = reopen(&segment.as_file().unwrap().try_clone_to_owned().unwrap());
    std::fs::File::from(file).write_all_at(&word.to_ne_bytes(), offset).unwrap();
}

/// Takes the role of a segment that was passed along, and stays until let go.
fn hold((role, place): (Role<Journal>, PathBuf)) {
    let _sole = role.segment().sole_role(0).unwrap();
    stay(place);
}

#[test]
fn a_free_role_is_claimed_once_and_again_after_it_was_left() {
    on_each_kind(2, |first| {
        let second = first.join().unwrap();
        for _ in 0..3 {
            for (one, other) in [(&first, &second), (&second, &first), (&first, &first)] {
                let role = one.sole_role(0).unwrap();
                assert_eq!((role.number(), one.side(0), one.side(1)), (0, Side::Open, Side::Never));
                assert_eq!(holder(other), std::process::id());
                drop(role);
                assert_eq!(other.side(0), Side::Closed);
            }
        }
    });
}

#[test]
fn who_has_the_role_is_told_by_pid_and_name() {
    let first = anonymous(2);
    let second = first.join().unwrap();
    second.set_name("the writer");
    let _role = second.sole_role(0).unwrap();
    let error = first.sole_role(0).err().unwrap();
    assert!(
        matches!(&error, Error::RoleTaken { pid, name } if *pid == std::process::id() && name == "the writer"),
        "{error}"
    );
    let message = error.to_string();
    assert!(message.contains(&format!("process {} (the writer)", std::process::id())), "{message}");
    assert!(message.contains("wait until it leaves"), "{message}");
}

#[test]
fn a_refused_claim_changes_nothing_for_the_holder() {
    on_each_kind(2, |first| {
        let role = first.sole_role(0).unwrap();
        let second = first.join().unwrap();
        (0..100).for_each(|_| assert_eq!(holder(&second), std::process::id()));
        assert_eq!(second.side(0), Side::Open);
        drop(second);
        assert_eq!(first.side(0), Side::Open);
        drop(role);
        assert_eq!(first.side(0), Side::Closed);
    });
}

/// Takes and leaves the role `rounds` times, and checks that nobody else has it meanwhile.
fn take_turns(segment: &Arc<Segment<Journal>>, inside: &AtomicU32, rounds: u32) {
    let mut left = rounds;
    while left > 0 {
        match segment.sole_role(0) {
            Ok(role) => {
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two have it");
                assert_eq!(segment.side(0), Side::Open);
                assert_eq!(inside.fetch_sub(1, Ordering::SeqCst), 1);
                drop(role);
                left -= 1;
            }
            Err(Error::RoleTaken { .. }) => yield_now(),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn of_many_that_claim_at_once_one_has_the_role_at_a_time_and_each_gets_it() {
    on_each_kind(4, |first| {
        // Two threads of one peer, and two peers more.
        let segments = [first.clone(), first.clone(), first.join().unwrap(), first.join().unwrap()];
        let inside = AtomicU32::new(0);
        thread::scope(|scope| {
            segments.iter().for_each(|segment| {
                scope.spawn(|| take_turns(segment, &inside, 2_000));
            });
        });
        assert_eq!(first.side(0), Side::Closed);
    });
}

/// Each round, several claim a free role at once. Whoever gets it keeps it until all have tried.
#[test]
fn of_those_that_claim_a_free_role_at_once_exactly_one_gets_it() {
    on_each_kind(3, |first| {
        let segments = [first.clone(), first.clone(), first.join().unwrap(), first.join().unwrap()];
        let barrier = std::sync::Barrier::new(segments.len());
        let winners = AtomicU32::new(0);
        thread::scope(|scope| {
            for segment in &segments {
                scope.spawn(|| {
                    for round in 1..=1_000 {
                        barrier.wait();
                        let role = segment.sole_role(0);
                        winners.fetch_add(u32::from(role.is_ok()), Ordering::SeqCst);
                        barrier.wait();
                        assert_eq!(winners.load(Ordering::SeqCst), round);
                        drop(role);
                    }
                });
            }
        });
    });
}

#[test]
fn the_role_of_a_dead_peer_is_claimed_without_anybody_having_noticed() {
    on_each_kind(3, |first| {
        let (second, third) = (first.join().unwrap(), first.join().unwrap());
        let role = second.sole_role(0).unwrap();
        second.die();
        let _successor = third.sole_role(0).unwrap();
        assert_eq!((first.peer_count(), first.side(0)), (2, Side::Open));
        drop(role);
        assert_eq!(first.side(0), Side::Open);
    });
}

#[test]
fn a_killed_process_loses_its_role_and_a_stopped_one_does_not() {
    alone(|()| {
        let (segment, rendezvous) = (anonymous(4), Rendezvous::new());
        let child = spawn(hold, (segment.role(1), rendezvous.place())).unwrap();
        let met = rendezvous.meet();
        let pid = child.pid();
        assert_eq!(holder(&segment), pid);
        let process = Pid::from_raw(pid as i32).unwrap();
        rustix::process::kill_process(process, Signal::STOP).unwrap();
        rustix::process::waitpid(Some(process), WaitOptions::UNTRACED).unwrap();
        assert_eq!(holder(&segment), pid);
        rustix::process::kill_process(process, Signal::CONT).unwrap();
        assert_eq!(holder(&segment), pid);
        kill(child);
        let _role = segment.sole_role(0).unwrap();
        assert_eq!(segment.side(0), Side::Open);
        drop(met);
    });
}

#[test]
fn a_role_that_is_passed_on_stays_taken_on_its_way_and_there() {
    alone(|()| {
        let segment = anonymous(3);
        let role = segment.sole_role(0).unwrap();
        let (text, descriptors) = pack(&role);
        role.give_away();
        // Nobody has come up there yet.
        assert_eq!(holder(&segment), 0);
        let error = segment.sole_role(0).err().unwrap().to_string();
        assert!(error.contains("has not come up yet"), "{error}");
        let arrived = unpack::<Journal>(&text, descriptors).unwrap();
        assert_eq!(holder(&segment), std::process::id());
        drop(role);
        assert_eq!(holder(&segment), std::process::id());
        drop(arrived);
        drop(segment.sole_role(0).unwrap());
    });
}

#[test]
fn a_role_that_gets_lost_on_its_way_is_free() {
    alone(|()| {
        let segment = anonymous(3);
        let role = segment.sole_role(0).unwrap();
        let (_, descriptors) = pack(&role);
        role.give_away();
        assert_eq!(holder(&segment), 0);
        drop(descriptors);
        let _role = segment.sole_role(0).unwrap();
    });
}

/// Offset of the word of role 0's side, and of peer 1's count of handles of it.
const SIDE: u64 = 144;
const COUNT: u64 = 256 + 128 + 8;
const OPEN: u32 = 1 << 2 | 1;

#[test]
fn a_leaver_that_was_killed_before_it_closed_does_not_keep_the_role() {
    let segment = anonymous(2);
    assert!(segment.as_file().unwrap().as_fd().as_raw_fd() >= 0);
    write(&segment, SIDE, OPEN);
    assert_eq!(segment.side(0), Side::Open);
    let role = segment.sole_role(0).unwrap();
    assert_eq!(holder(&segment), std::process::id());
    drop(role);
    assert_eq!(segment.side(0), Side::Closed);
}

#[test]
fn a_claimer_that_was_killed_on_its_way_does_not_keep_the_role() {
    // Before its move of the side, and after it.
    for side in [0, OPEN] {
        let segment = anonymous(2);
        let victim = segment.join().unwrap();
        write(&segment, COUNT, 1);
        write(&segment, SIDE, side);
        victim.die();
        let role = segment.sole_role(0).unwrap();
        drop(role);
        // What the victim had counted goes with it, if it was not in the way before.
        segment.reap_dead();
        assert_eq!((segment.side(0), segment.peer_count()), (Side::Closed, 1));
        segment.sole_role(0).unwrap();
    }
}

#[test]
fn a_fork_claims_nothing() {
    alone(|()| {
        let segment = anonymous(2);
        fork(|| assert!(matches!(segment.sole_role(0), Err(Error::Forked)))).join();
        assert_eq!(segment.side(0), Side::Never);
        drop(segment.sole_role(0).unwrap());
    });
}
