//! Many listeners at one path, all at once, and killed at any instant.

use crate::company::{LONG, kill, start};
use crate::{Place, serves};
use shmkit_pipe::{ConnectError, Listener, connect};
use shmkit_sync::{Barrier, Event, Shared};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::yield_now;
use std::time::{Duration, Instant};

/// What those who compete need: the path, a barrier, and how many have passed it.
type Start = (PathBuf, Barrier, Shared<AtomicU32>);

const MANY: usize = 3;
const ROUNDS: usize = 500;

/// Listens in each round if nobody else does: in which it did.
fn compete((path, barrier, passed): Start) -> Vec<bool> {
    // As a listener does that is killed. (This process starts no other that could have the socket for an instant.)
    let leave_a_socket = || drop(UnixListener::bind(&path).unwrap());
    let round = |number: usize| {
        barrier.wait_with(|| (0..number % 2).for_each(|_| leave_a_socket())).unwrap();
        // All awake, so that they come at the same instant.
        passed.fetch_add(1, Ordering::Relaxed);
        while (passed.load(Ordering::Relaxed) as usize) < (number + 1) * MANY {
            yield_now();
        }
        let outcome = Listener::bind(&path);
        // Who listens does so until all have tried, and not any more when the next round begins.
        barrier.wait().unwrap();
        match outcome {
            Ok(_) => true,
            Err(ConnectError::Taken { .. }) => false,
            Err(error) => panic!("{error}"),
        }
    };
    (0..ROUNDS).map(round).collect()
}

#[test]
fn of_many_who_listen_at_once_one_does_and_the_others_are_told() {
    let place = Place::new();
    let barrier = Barrier::new(MANY).unwrap();
    let passed: Shared<AtomicU32> = Shared::new().unwrap();
    let children = [(); MANY].map(|()| start(compete, (place.path(), barrier.clone(), passed.clone())));
    let wins = children.map(|child| child.join().unwrap());
    for round in 0..ROUNDS {
        assert_eq!(wins.iter().filter(|wins| wins[round]).count(), 1, "round {round}");
    }
    assert_eq!(place.entries(), [""; 0]);
}

/// Comes and goes as a listener, and now and then serves whoever is there.
fn come_and_go((path, here): (PathBuf, Event)) {
    loop {
        match Listener::bind(&path) {
            Ok(listener) => drop(listener.try_accept()),
            Err(ConnectError::Taken { .. } | ConnectError::Busy { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        here.set();
    }
}

#[test]
fn after_many_were_killed_at_any_instant_the_next_one_listens_and_nothing_else_is_left() {
    const KILLS: u64 = 100;
    const AT_ONCE: u64 = 4;
    let place = Place::new();
    for round in 0..KILLS / AT_ONCE {
        let children = [(); AT_ONCE as usize].map(|()| {
            let here = Event::new().unwrap();
            (start(come_and_go, (place.path(), here.clone())), here)
        });
        for (number, (child, here)) in children.into_iter().enumerate() {
            here.wait_timeout(LONG).unwrap();
            // Somewhere in one of its rounds, of which each takes some tens of microseconds.
            let instant = Instant::now() + Duration::from_micros((round * 37 + number as u64 * 61) % 400);
            while Instant::now() < instant {
                let _ = connect(place.path()).map(drop);
            }
            // Not by a failure of its own.
            kill(child);
        }
        assert!(place.entries().len() <= 1);
        let listener = Listener::bind(place.path()).unwrap();
        assert_eq!(place.entries(), ["socket"]);
        serves(&listener);
        drop(listener);
        assert_eq!(place.entries(), [""; 0]);
    }
}
