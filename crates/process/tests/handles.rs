//! Handles to shared memory as arguments and results.
#![cfg(feature = "hook")]

mod rendezvous;

use rendezvous::{Rendezvous, arrive};
use serde::ser::Error as _;
use serde::{Deserialize, Serialize, Serializer};
use shmkit_process::{JoinError, SpawnError, spawn};
use shmkit_segment::primitive::{AtomicU64, Ordering};
use shmkit_segment::{At, Configuration, Error, Mapped, Memory, Object, Options, PeerId, Plan, Role, Side, kind};
use std::alloc::Layout;
use std::io::Read;
use std::path::PathBuf;

/// A number that all peers add to.
struct Counter(Mapped<AtomicU64>);

impl Object for Counter {
    const KIND: u32 = kind(b"TEST");
    type Parts = At<AtomicU64>;

    fn payload() -> Layout {
        Layout::new::<u64>()
    }
    fn plan(_: &Configuration, plan: &mut Plan) -> Result<Self::Parts, Error> {
        plan.one()
    }
    fn attach(memory: &Memory, parts: &Self::Parts) -> Self {
        Self(memory.one(*parts))
    }
    fn sweep(&self, _dead: PeerId, _reaper: PeerId) {}
    fn wake_all(&self) {}
}

/// One who may add to a counter.
#[derive(Serialize, Deserialize)]
struct Adder(Role<Counter>);

impl Adder {
    fn new() -> Self {
        Adder(Options::new().anonymous::<Counter>([0; 8]).unwrap().role(0))
    }

    fn add(&self, n: u64) {
        self.0.segment().object().0.fetch_add(n, Ordering::Relaxed);
    }

    fn sum(&self) -> u64 {
        self.0.segment().object().0.load(Ordering::Relaxed)
    }
}

/// Runs `test` in a process of its own, with one thread.
///
/// For tests that look at whether a peer is dead. While another thread of a process starts a child, that child has
/// all descriptors of the process, for the instant until it executes its program; a peer whose last descriptor
/// is closed in that instant dies at the end of it.
fn alone(test: fn(())) {
    spawn(test, ()).unwrap().join().unwrap();
}

#[test]
fn children_work_on_the_memory_of_the_handles_they_are_given() {
    let adder = Adder::new();
    let add = |(adder, n): (Adder, u64)| adder.add(n);
    let children: Vec<_> = (1..=10).map(|n| spawn(add, (Adder(adder.0.clone()), n)).unwrap()).collect();
    children.into_iter().for_each(|child| child.join().unwrap());
    assert_eq!(adder.sum(), 55);
}

#[test]
fn a_handle_that_a_child_made_outlives_it_as_its_result() {
    let make = |n| {
        let adder = Adder::new();
        adder.add(n);
        adder
    };
    let adder = spawn(make, 7).unwrap().join().unwrap();
    adder.add(1);
    assert_eq!(adder.sum(), 8);
}

#[test]
fn more_handles_than_a_message_can_carry_go_there_and_back() {
    let adders: Vec<Adder> = (0..200).map(|_| Adder::new()).collect();
    let pass = |adders: Vec<Adder>| {
        adders.iter().zip(0..).for_each(|(adder, n)| adder.add(n));
        adders
    };
    let adders = spawn(pass, adders).unwrap().join().unwrap();
    assert!(adders.iter().map(Adder::sum).eq(0..200));
}

#[test]
fn a_handle_that_was_given_to_a_child_is_gone_when_the_child_was_killed() {
    alone(|()| {
        let rendezvous = Rendezvous::new();
        let adder = Adder::new();
        let segment = adder.0.segment().clone();
        let hold = |(_adder, place): (Adder, PathBuf)| {
            arrive(&place).read_to_end(&mut Vec::new()).unwrap();
        };
        let child = spawn(hold, (adder, rendezvous.place())).unwrap();
        let _met = rendezvous.meet();
        assert_eq!(segment.side(0), Side::Open);
        child.kill().unwrap();
        assert!(matches!(child.join(), Err(JoinError::Exited { .. })));
        segment.reap_dead();
        assert_eq!(segment.side(0), Side::Closed);
    });
}

/// A handle, and something that cannot be encoded.
#[derive(Serialize, Deserialize)]
struct Fails(Adder, #[serde(serialize_with = "fail")] ());

fn fail<S: Serializer>(_: &(), _: S) -> Result<S::Ok, S::Error> {
    Err(S::Error::custom("no"))
}

#[test]
fn a_handle_that_could_not_be_sent_is_dropped() {
    alone(|()| {
        let adder = Adder::new();
        let segment = adder.0.segment().clone();
        assert!(matches!(spawn(|_| (), Fails(adder, ())), Err(SpawnError::Encode(_))));
        segment.reap_dead();
        assert_eq!(segment.side(0), Side::Closed);
    });
}
