//! Processes that create, open, replace, remove and leave named segments, and that pass handles over a socket, killed at every site.
//!
//! Whatever the moment: the next one who comes gets a whole segment without clearing up by hand, with every message that was acknowledged.

use crate::harness::{Orders, at_every_site, came_through};
use shmkit::prelude::*;
use shmkit::queue::mpmc::{self, Mpmc};
use shmkit::segment::{self, Error, Named, Options, Segment, crash};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;

type Queue = Mpmc<u64>;

fn named(name: &str) -> Named {
    Options::new().peers(3).name(name)
}

fn open_or_create(named: &Named) -> Result<Arc<Segment<Queue>>, Error> {
    named.open_or_create(mpmc::Settings::new(4).into())
}

/// A name of this process's own, gone with this value.
struct Name(String);

impl Name {
    fn new(what: &str) -> Self {
        Self(format!("crash-{what}-{}", std::process::id()))
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/dev/shm/shmkit-{}", self.0))
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let _ = segment::remove(&self.0);
    }
}

/// What is left after a victim: the name is free, or stands for a whole segment with what was sent and not received. Nothing else.
fn assert_usable(name: &Name, at_least: &[u64], at_most: &[u64]) {
    let segment = open_or_create(&named(&name.0)).unwrap();
    assert_eq!(segment.peer_count(), 1, "the dead were reaped");
    let (sender, receiver) = (mpmc::Sender::of(&segment), mpmc::Receiver::of(&segment));
    sender.send(9).unwrap();
    drop(sender);
    let received: Vec<u64> = receiver.iter().filter(|&item| item != 9).collect();
    assert!(at_least.iter().all(|item| received.contains(item)), "{received:?} lacks one of {at_least:?}");
    assert!(received.iter().all(|item| at_most.contains(item)), "{received:?} has more than {at_most:?}");
}

fn send_one((orders, name): (Orders, String)) {
    let mut ledger = orders.arm();
    let segment = open_or_create(&named(&name)).unwrap();
    let sender = mpmc::Sender::of(&segment);
    sender.clone().send(1).unwrap();
    ledger.note(1);
    assert!(segment.peers().iter().any(|peer| segment.is_alive(peer) && segment.pid(peer.id()) == peer.pid()));
    drop((sender, segment));
    crash::disarm();
}

pub(crate) fn creator() {
    at_every_site("named: creator, sender, leaver", |orders| {
        let name = Name::new("creator");
        let done = came_through(spawn(send_one, (orders.clone(), name.0.clone())).unwrap());
        assert_usable(&name, &orders.ledger(), &[1]);
        done
    });
}

/// Somebody is attached meanwhile, and goes on without noticing anything.
pub(crate) fn opener() {
    at_every_site("named: opener beside another peer", |orders| {
        let name = Name::new("opener");
        let segment = open_or_create(&named(&name.0)).unwrap();
        let done = came_through(spawn(send_one, (orders.clone(), name.0.clone())).unwrap());
        drop(open_or_create(&named(&name.0)).unwrap());
        assert_eq!(segment.peer_count(), 1);
        drop(segment);
        assert_usable(&name, &orders.ledger(), &[1]);
        done
    });
}

/// Everybody has left, and their roles are to begin anew.
pub(crate) fn opener_of_what_was_left() {
    at_every_site("named: opener of what was left", |orders| {
        let name = Name::new("left");
        assert_usable(&name, &[], &[]);
        let done = came_through(spawn(send_one, (orders.clone(), name.0.clone())).unwrap());
        assert_usable(&name, &orders.ledger(), &[1]);
        done
    });
}

/// All places are taken by the dead, so that the victim inherits one.
pub(crate) fn heir() {
    at_every_site("named: heir of a dead peer", |orders| {
        let name = Name::new("heir");
        let die = |name: String| std::mem::forget(open_or_create(&Options::new().peers(1).name(name)).unwrap());
        spawn(die, name.0.clone()).unwrap().join().unwrap();
        let done = came_through(spawn(send_one, (orders.clone(), name.0.clone())).unwrap());
        assert_usable(&name, &orders.ledger(), &[1]);
        done
    });
}

/// A file in which no segment was ever completed.
pub(crate) fn reclaimer() {
    at_every_site("named: reclaimer of what was never completed", |orders| {
        let name = Name::new("reclaimer");
        std::fs::write(name.path(), [0; 4096]).unwrap();
        set_private(&name);
        let done = came_through(spawn(send_one, (orders.clone(), name.0.clone())).unwrap());
        assert_usable(&name, &orders.ledger(), &[1]);
        done
    });
}

fn set_private(name: &Name) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(name.path(), PermissionsExt::from_mode(0o600)).unwrap();
}

fn replace((orders, name): (Orders, String)) {
    orders.arm();
    drop(named(&name).replace_stale(true).create::<Queue>(mpmc::Settings::new(4).into()).unwrap());
    crash::disarm();
}

/// The old segment with its message, or the new one, or none: nothing in between.
pub(crate) fn replacer() {
    at_every_site("named: replacer of a quiet one", |orders| {
        let name = Name::new("replacer");
        mpmc::Sender::of(&open_or_create(&named(&name.0)).unwrap()).send(5).unwrap();
        let done = came_through(spawn(replace, (orders.clone(), name.0.clone())).unwrap());
        assert_usable(&name, &[], &[5]);
        done
    });
}

fn remove((orders, name): (Orders, String)) {
    orders.arm();
    segment::remove(&name).unwrap();
    crash::disarm();
}

pub(crate) fn remover() {
    at_every_site("named: remover", |orders| {
        let name = Name::new("remover");
        mpmc::Sender::of(&open_or_create(&named(&name.0)).unwrap()).send(5).unwrap();
        let done = came_through(spawn(remove, (orders.clone(), name.0.clone())).unwrap());
        assert_usable(&name, &[], &[5]);
        done
    });
}

fn pass((orders, place): (Orders, PathBuf)) {
    let socket = UnixStream::connect(place).unwrap();
    orders.arm();
    let (sender, receiver) = mpmc::channel::<u64>(4).unwrap();
    sender.send(1).unwrap();
    drop(sender);
    segment::send(&socket, &receiver).unwrap();
    drop(receiver);
    crash::disarm();
}

/// The receiver of a handle gets it whole or not at all.
pub(crate) fn passer() {
    at_every_site("socket: sender of a handle", |orders| {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("socket");
        let listener = UnixListener::bind(&place).unwrap();
        let victim = spawn(pass, (orders.clone(), place)).unwrap();
        let socket = listener.accept().unwrap().0;
        let received = segment::recv::<mpmc::Receiver<u64>>(&socket);
        let done = came_through(victim);
        match received {
            Ok(receiver) => assert!(receiver.iter().eq([1])),
            Err(error) => assert!(!done, "{error}"),
        }
        done
    });
}

fn take((orders, place): (Orders, PathBuf)) {
    let mut ledger = orders.arm();
    let socket = UnixStream::connect(place).unwrap();
    let receiver: mpmc::Receiver<u64> = segment::recv(&socket).unwrap();
    receiver.iter().for_each(|item| ledger.note(item));
    crash::disarm();
}

pub(crate) fn taker() {
    at_every_site("socket: receiver of a handle", |orders| {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("socket");
        let listener = UnixListener::bind(&place).unwrap();
        let (sender, receiver) = mpmc::channel::<u64>(4).unwrap();
        sender.send(1).unwrap();
        let victim = spawn(take, (orders.clone(), place)).unwrap();
        let socket = listener.accept().unwrap().0;
        // It may be dead already.
        let _ = segment::send(&socket, &receiver);
        drop((socket, sender));
        let done = came_through(victim);
        receiver.segment().reap_dead();
        assert_eq!(receiver.segment().peer_count(), 1);
        let mut received = orders.ledger();
        received.extend(receiver.iter());
        // A victim can die between acknowledging a message and noting it, or between noting and acknowledging.
        assert!(received == [1] || !done && (received.is_empty() || received == [1, 1]), "{received:?}");
        done
    });
}

/// Who is stopped inside the door keeps others out, who say so after a while; wherever else it is stopped, they come in.
pub(crate) fn stopped_opener_makes_others_busy_and_no_more() {
    let (mut busy, mut rounds) = (0, 0);
    // Every seventh site, since each wait in vain takes two seconds.
    for at in (1..).step_by(7) {
        let name = Name::new("stopped");
        drop(open_or_create(&named(&name.0)).unwrap());
        let directory = tempfile::tempdir().unwrap();
        let orders = Orders::to_stop(directory.path(), at);
        let victim = spawn(send_one, (orders.clone(), name.0.clone())).unwrap();
        let has_stopped = crate::harness::wait_for_stop(&victim);
        match open_or_create(&named(&name.0)) {
            Ok(segment) => assert_eq!(segment.peer_count(), if has_stopped { segment.peer_count() } else { 1 }),
            Err(Error::Busy { .. }) => busy += usize::from(has_stopped),
            Err(error) => panic!("{error}"),
        }
        crate::harness::go_on(&victim);
        victim.join().unwrap();
        assert_usable(&name, &[1], &[1]);
        rounds += 1;
        if !has_stopped {
            break;
        }
    }
    println!("named: stopped at {rounds} sites, {busy} of them inside the door");
    assert!(busy > 0 && busy < rounds, "{busy} of {rounds}");
}
