//! A child made by `fork` inherits no attachment: its handles say so, it touches nothing shared, and keeps nobody alive.
#![cfg(not(loom))]

mod forked;
mod harness;
mod journal;
#[path = "../../process/tests/rendezvous/mod.rs"]
mod rendezvous;

use forked::{end_after, fork};
use harness::{Name, alone, kill};
use journal::Event::{Swept, Woken};
use journal::{Journal, anonymous, configuration};
use rendezvous::{Rendezvous, arrive, stay};
use shmkit_process::{SpawnError, spawn};
use shmkit_segment::{Error, Options, Peer, PeerId, Role, Segment, Side, send, transfer};
use std::cell::RefCell;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::slice;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

/// Everything that others can see of a segment.
#[derive(Debug, PartialEq)]
struct State {
    sides: [Side; 4],
    events: Vec<journal::Event>,
    peers: Vec<Peer>,
}

fn state(segment: &Segment<Journal>) -> State {
    let sides = [0, 1, 2, 3].map(|role| segment.side(role));
    State { sides, events: segment.object().events(), peers: segment.peers() }
}

/// Everything that a fork can try with an attachment that is not its own.
fn try_everything(segment: &Arc<Segment<Journal>>, roles: &[Role<Journal>]) {
    assert!(segment.is_defunct());
    assert!(matches!(segment.join(), Err(Error::Forked)));
    for role in roles {
        assert!(role.is_moved());
        let (outcome, descriptors) = transfer::sending(|| serde_json::to_string(role));
        assert!(outcome.is_err());
        assert!(matches!(descriptors, Err(Error::NotTransferable(_) | Error::Forked)));
        let (here, _there) = UnixStream::pair().unwrap();
        assert!(matches!(send(&here, role), Err(Error::NotTransferable(_) | Error::Forked)));
        let outcome = spawn(|role: Role<Journal>| drop(role), role.clone()).map(drop);
        assert!(matches!(outcome, Err(SpawnError::Handle(Error::NotTransferable(_) | Error::Forked))), "{outcome:?}");
        assert!(role.clone().is_moved());
        role.give_away();
    }
    // A role of what it sees, which is nobody's business.
    drop(segment.role(3));
    segment.set_name("somebody else");
    assert_eq!(segment.reap_dead(), 0);
    assert!((0..8).all(|number| !segment.reap(PeerId::from_number(number))));
    segment.look_after_peers();
    segment.object().events();
    let _ =
        (segment.peers(), segment.peer_count(), segment.pid(segment.me()), segment.configuration(), segment.length());
}

/// What a process has of a segment.
struct Handles {
    segment: Arc<Segment<Journal>>,
    second: Arc<Segment<Journal>>,
    fallen: Arc<Segment<Journal>>,
    roles: Vec<Role<Journal>>,
}

impl Handles {
    fn of(segment: Arc<Segment<Journal>>) -> Self {
        let (second, fallen) = (segment.join().unwrap(), segment.join().unwrap());
        fallen.die();
        let roles = vec![segment.role(0), segment.role(0), second.role(1)];
        Self { segment, second, fallen, roles }
    }
}

#[test]
fn whatever_a_fork_tries_with_what_it_has_inherited_is_an_error_and_changes_nothing() {
    alone(|()| {
        let name = Name::new();
        let named = Options::new().peers(4).name(&name.0).create(configuration(32)).unwrap();
        for segment in [anonymous(4), named] {
            let handles = RefCell::new(Some(Handles::of(segment)));
            let look = || state(&handles.borrow().as_ref().unwrap().segment);
            let before = look();
            for _ in 0..3 {
                fork(|| {
                    // The parent has its own ones still.
                    let handles = handles.take().unwrap();
                    for segment in [&handles.segment, &handles.second, &handles.fallen] {
                        try_everything(segment, &handles.roles);
                    }
                })
                .join();
                assert_eq!(look(), before);
            }
            let handles = handles.take().unwrap();
            assert_eq!((before.peers.len(), handles.segment.reap_dead()), (3, 1));
            drop((handles.roles, handles.second));
            assert_eq!(handles.segment.peer_count(), 1);
            assert_eq!([0, 1].map(|role| handles.segment.side(role)), [Side::Closed; 2]);
        }
    });
}

#[test]
fn a_fork_of_a_fork_inherits_nothing_either() {
    alone(|()| {
        let name = Name::new();
        let segment = Options::new().name(&name.0).create::<Journal>(configuration(32)).unwrap();
        let role = segment.role(0);
        let before = state(&segment);
        fork(|| {
            let own = Options::new().name(&name.0).open::<Journal>().unwrap();
            let own_role = own.role(1);
            let before = state(&own);
            fork(|| {
                try_everything(&segment, slice::from_ref(&role));
                try_everything(&own, slice::from_ref(&own_role));
                let third = Options::new().name(&name.0).open::<Journal>().unwrap();
                assert_eq!((third.me().number(), third.peer_count()), (2, 3));
            })
            .join();
            try_everything(&segment, slice::from_ref(&role));
            assert_eq!(state(&own), State { events: vec![Swept(2, 2), Woken], ..before });
        })
        .join();
        // The second time for the end of a role, the third for that of the peer that had it.
        let events = vec![Swept(2, 2), Woken, Woken, Swept(1, 1), Woken];
        let sides = [Side::Open, Side::Closed, Side::Never, Side::Never];
        assert_eq!(state(&segment), State { sides, events, ..before });
    });
}

#[test]
fn a_fork_can_attach_anew_by_name_and_start_processes_and_hand_its_own_handles_to_them() {
    alone(|()| {
        let name = Name::new();
        let segment = Options::new().name(&name.0).create::<Journal>(configuration(32)).unwrap();
        fork(|| {
            let own = Options::new().name(&name.0).open::<Journal>().unwrap();
            assert!(!own.is_defunct());
            let pids: Vec<u32> = own.peers().iter().map(|peer| peer.pid()).collect();
            assert_eq!(pids[1], std::process::id());
            assert_ne!(pids[0], pids[1]);
            assert!(own.peers().iter().all(|peer| peer.is_alive()));
            assert!(own.watch(&own.peers()[1]).is_ok());
            let look = |role: Role<Journal>| role.segment().peer_count();
            assert_eq!(spawn(look, own.role(2)).unwrap().join().unwrap(), 3);
            assert_eq!((own.reap_dead(), own.side(2)), (0, Side::Closed));
            assert_eq!(spawn(look, anonymous(2).role(0)).unwrap().join().unwrap(), 2);
        })
        .join();
        assert_eq!((segment.peer_count(), segment.reap_dead()), (1, 0));
    });
}

/// Has the role, and a fork that lives on; both arrive.
fn live_on_in_a_fork((role, place, of_a_fork): (Role<Journal>, PathBuf, bool)) {
    let role = RefCell::new(Some(role));
    let _fork = fork(|| {
        let live_on = || {
            stay(place.clone());
            drop(role.take());
            // Whatever it might have done, it has done.
            drop(arrive(&place));
        };
        if of_a_fork {
            let _fork = fork(live_on);
        } else {
            live_on();
        }
    });
    stay(place.clone());
}

#[test]
fn a_process_that_is_killed_is_dead_even_if_a_fork_of_it_lives_on() {
    alone(|()| {
        for of_a_fork in [false, true] {
            let (segment, rendezvous) = (anonymous(2), Rendezvous::new());
            let child = spawn(live_on_in_a_fork, (segment.role(0), rendezvous.place(), of_a_fork)).unwrap();
            let (parent, forked): (Vec<_>, Vec<_>) =
                [rendezvous.meet(), rendezvous.meet()].into_iter().partition(|met| met.pid == child.pid());
            assert_eq!((parent.len(), forked.len()), (1, 1));
            assert_eq!(segment.reap_dead(), 0);
            kill(child);
            assert_eq!(segment.side(0), Side::Open);
            assert_eq!(segment.reap_dead(), 1);
            assert_eq!((segment.peer_count(), segment.side(0)), (1, Side::Closed));
            assert_eq!(segment.object().events(), [Swept(1, 0), Woken]);
            // The place is somebody else's when the fork drops its copy of the handle.
            let heir = segment.join().unwrap();
            let role = heir.role(0);
            drop(forked);
            rendezvous.meet().await_death();
            assert_eq!((segment.peer_count(), segment.side(0), segment.reap_dead()), (2, Side::Open, 0));
            assert_eq!(segment.object().events().len(), 2);
            drop(role);
        }
    });
}

#[test]
fn a_process_that_leaves_frees_its_place_even_if_a_fork_of_it_lives_on() {
    alone(|()| {
        let (segment, rendezvous) = (anonymous(2), Rendezvous::new());
        let second = segment.join().unwrap();
        let place = rendezvous.place();
        let live_on = fork(|| stay(place.clone()));
        let met = rendezvous.meet();
        drop(second);
        assert_eq!(segment.peer_count(), 1);
        let third = segment.join().unwrap();
        assert_eq!(third.me().number(), 1);
        third.die();
        assert_eq!((segment.reap_dead(), segment.peer_count()), (1, 1));
        drop(met);
        live_on.join();
    });
}

#[test]
fn forking_while_other_threads_attach_and_leave_hangs_neither() {
    alone(|()| {
        end_after(100);
        let name = Name::new();
        let segment = Options::new().name(&name.0).create::<Journal>(configuration(32)).unwrap();
        let (ended, attached) = (AtomicBool::new(false), AtomicU32::new(0));
        thread::scope(|scope| {
            for by_name in [false, true] {
                let (segment, ended, attached, name) = (&segment, &ended, &attached, &name.0);
                scope.spawn(move || {
                    while !ended.load(Ordering::Relaxed) {
                        let other = match by_name {
                            true => Options::new().name(name).open().unwrap(),
                            false => segment.join().unwrap(),
                        };
                        drop(other.role(0));
                        attached.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            for _ in 0..200 {
                fork(|| {
                    assert!(segment.is_defunct());
                    drop(segment.join().map(drop).unwrap_err());
                })
                .join();
            }
            ended.store(true, Ordering::Relaxed);
        });
        assert!(attached.into_inner() > 0);
        assert_eq!((segment.reap_dead(), segment.peer_count()), (0, 1));
    });
}

/// Has itself forked while its other threads attach, and waits for its death.
fn fork_while_attaching((role, place): (Role<Journal>, PathBuf)) {
    const THREADS: usize = 4;
    let start = Barrier::new(THREADS + 1);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let (start, role) = (&start, &role);
            scope.spawn(move || {
                start.wait();
                let _attached: Vec<_> = (0..3).map(|_| role.segment().join().unwrap()).collect();
                start.wait();
                // Until the process is killed.
                loop {
                    thread::park();
                }
            });
        }
        start.wait();
        for _ in 0..3 {
            let _fork = fork(|| stay(place.clone()));
        }
        start.wait();
        stay(place.clone());
    });
}

#[test]
fn a_fork_keeps_nobody_alive_even_if_other_threads_were_just_attaching() {
    alone(|()| {
        end_after(100);
        for _ in 0..100 {
            let (segment, rendezvous) = (anonymous(20), Rendezvous::new());
            let child = spawn(fork_while_attaching, (segment.role(0), rendezvous.place())).unwrap();
            let _met = [(); 4].map(|()| rendezvous.meet());
            assert_eq!((segment.peer_count(), segment.reap_dead()), (14, 0));
            kill(child);
            assert_eq!((segment.reap_dead(), segment.peer_count()), (13, 1));
        }
    });
}
