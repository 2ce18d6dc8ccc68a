//! Compare-exchanges that are lost. A victim is stopped just before each of its exchanges; this process then changes what the victim has seen; and
//! the victim goes on, loses, and is killed at the first site after that, the second, and so on; at last it completes.

use crate::harness::{Orders, came_through, go_on, wait_for_stop};
use crate::stops::{ARMED, Form, mpmc::spawn_receiver, mpmc::spawn_sender, mpmc::with_a_dead_claim};
use crate::traffic::{Delays, NEVER, SHORT, Traffic, VICTIMS};
use shmkit::prelude::*;
use shmkit::process::JoinHandle;
use shmkit::queue::mpmc::{Receiver, Sender};
use shmkit::queue::spsc::{Settings, Spsc};
use shmkit::queue::{RecvTimeoutError, TryRecvError};
use shmkit::segment::{Options, Role, Segment, crash};
use std::sync::Arc;

/// What a race is about, and those who are there beside the victim.
pub(crate) trait Race: Sized {
    fn new() -> Self;
    fn victim(&self, orders: &Orders) -> JoinHandle<()>;
    /// Changes whatever the victim may have seen.
    fn interfere(&mut self);
    /// The victim has completed, or is dead.
    fn check(self, orders: &Orders);
}

/// How many sites after an exchange have a victim. The loss has had its consequences by then; other tests kill at the rest.
const AFTER: u64 = 12;

pub(crate) fn lose_every_exchange<R: Race>(name: &str) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (mut exchanges, mut kills) = (0, 0);
    for at in 1.. {
        assert!(at < 10_000, "{name} never completes");
        let orders = Orders::to_stop(directory.path(), at);
        let race = R::new();
        let victim = race.victim(&orders);
        let stopped = wait_for_stop(&victim);
        go_on(&victim);
        victim.join().expect("nobody kills it");
        race.check(&orders);
        if !stopped {
            break;
        }
        if !orders.stopped_at().ends_with(" compare_exchange") {
            continue;
        }
        exchanges += 1;
        for then in (1..=AFTER).map(Some).chain([None]) {
            let orders = match then {
                Some(then) => Orders::to_stop_and_die(directory.path(), at, then),
                None => Orders::to_stop(directory.path(), at),
            };
            orders.forget();
            let mut race = R::new();
            let victim = race.victim(&orders);
            // One that waits may come through before this time.
            if wait_for_stop(&victim) {
                race.interfere();
                go_on(&victim);
            }
            let done = came_through(victim);
            race.check(&orders);
            if done {
                break;
            }
            kills += 1;
        }
    }
    println!("{name}: stopped before {exchanges} exchanges, killed at {kills} sites after them");
    assert!(exchanges > 0 && kills > 0, "{name}");
}

/// After a death, as after none, nobody is delayed, and every message comes once, but for the victim's own, of which it may not have told.
fn settle(mut traffic: Traffic, own: Own, orders: &Orders) {
    traffic.receiver.segment().reap_dead();
    assert_eq!(traffic.probe(0), Delays::Nobody);
    let noted: Vec<u64> = orders.ledger().into_iter().filter(|&item| item != ARMED).collect();
    let mut sent: Vec<u64> = (1..=traffic.sent).collect();
    let mut received = traffic.settle();
    match own {
        Own::Nothing => {}
        Own::Sent => sent.extend(if noted.is_empty() {
            received.iter().copied().find(|&item| item == VICTIMS)
        } else {
            Some(VICTIMS)
        }),
        Own::Received if noted.is_empty() => {
            let missing = sent.iter().copied().find(|item| !received.contains(item));
            received.extend(missing);
        }
        Own::Received => received.extend(noted),
    }
    received.sort_unstable();
    assert_eq!(received, sent);
}

/// What a victim does beside what this process does.
enum Own {
    Nothing,
    Sent,
    Received,
}

struct Sending(Traffic);

impl Race for Sending {
    fn new() -> Self {
        let mut traffic = Traffic::new(4);
        assert_eq!(traffic.recv_within(SHORT), Err(RecvTimeoutError::Timeout)); // leaves word that somebody waits
        Self(traffic)
    }

    fn victim(&self, orders: &Orders) -> JoinHandle<()> {
        spawn_sender(orders, &self.0, Form::Try)
    }

    fn interfere(&mut self) {
        self.0.try_send().unwrap();
        assert_eq!(self.0.drain(), TryRecvError::Empty);
        assert_eq!(self.0.recv_within(SHORT), Err(RecvTimeoutError::Timeout));
    }

    fn check(self, orders: &Orders) {
        settle(self.0, Own::Sent, orders);
    }
}

struct Receiving(Traffic);

impl Race for Receiving {
    fn new() -> Self {
        let mut traffic = Traffic::new(4);
        traffic.fill();
        assert!(traffic.send_within(SHORT).is_err());
        Self(traffic)
    }

    fn victim(&self, orders: &Orders) -> JoinHandle<()> {
        spawn_receiver(orders, &self.0, Form::Try)
    }

    fn interfere(&mut self) {
        self.0.try_recv().unwrap();
        self.0.fill();
        assert!(self.0.send_within(SHORT).is_err());
    }

    fn check(self, orders: &Orders) {
        settle(self.0, Own::Received, orders);
    }
}

/// The victim is about to say that it waits, and another one says so first.
struct Waiting(Traffic);

impl Race for Waiting {
    fn new() -> Self {
        Self(Traffic::new(4))
    }

    fn victim(&self, orders: &Orders) -> JoinHandle<()> {
        spawn_receiver(orders, &self.0, Form::Timeout(SHORT))
    }

    fn interfere(&mut self) {
        assert_eq!(self.0.recv_within(SHORT), Err(RecvTimeoutError::Timeout));
    }

    fn check(self, orders: &Orders) {
        settle(self.0, Own::Received, orders);
    }
}

/// A sender has died in the middle, and another receiver passes its slot first.
struct PassingATomb(Traffic);

impl Race for PassingATomb {
    fn new() -> Self {
        let mut traffic = with_a_dead_claim(false);
        assert_eq!(traffic.receiver.segment().reap_dead(), 1);
        (0..2).for_each(|_| traffic.try_send().unwrap());
        Self(traffic)
    }

    fn victim(&self, orders: &Orders) -> JoinHandle<()> {
        spawn_receiver(orders, &self.0, Form::Try)
    }

    fn interfere(&mut self) {
        self.0.try_recv().unwrap();
    }

    fn check(self, orders: &Orders) {
        settle(self.0, Own::Received, orders);
    }
}

/// A receiver has died in the middle, and another one adopts its message first.
struct Adopting(Traffic);

impl Race for Adopting {
    fn new() -> Self {
        let traffic = with_a_dead_claim(true);
        assert_eq!(traffic.receiver.segment().reap_dead(), 1);
        Self(traffic)
    }

    fn victim(&self, orders: &Orders) -> JoinHandle<()> {
        spawn_receiver(orders, &self.0, Form::Try)
    }

    fn interfere(&mut self) {
        // At a later exchange the victim has it, and wakes somebody.
        if self.0.try_recv().is_err() {
            self.0.try_send().unwrap();
            self.0.try_recv().unwrap();
        }
    }

    fn check(self, orders: &Orders) {
        settle(self.0, Own::Received, orders);
    }
}

fn reap((orders, receiver): (Orders, Receiver<u64>)) {
    orders.arm();
    receiver.segment().reap_dead();
    crash::disarm();
}

/// A process has died, and while another one wakes everybody for it, others come to sleep and are woken.
struct Reaping(Traffic);

impl Race for Reaping {
    fn new() -> Self {
        let traffic = with_a_dead_claim(true);
        Self(traffic)
    }

    fn victim(&self, orders: &Orders) -> JoinHandle<()> {
        spawn(reap, (orders.clone(), self.0.receiver.clone())).unwrap()
    }

    fn interfere(&mut self) {
        while self.0.try_recv().is_ok() {}
        let _ = self.0.recv_within(SHORT);
        self.0.fill();
        assert!(self.0.send_within(SHORT).is_err());
    }

    fn check(self, orders: &Orders) {
        settle(self.0, Own::Nothing, orders);
    }
}

fn come_and_go((orders, receiver): (Orders, Receiver<u64>)) {
    orders.arm();
    drop(Sender::of(receiver.segment()));
    crash::disarm();
}

/// The victim becomes the only sender, and then none; another one becomes a sender at the same moment.
struct TakingARole {
    receiver: Receiver<u64>,
    sender: Option<Sender<u64>>,
}

impl Race for TakingARole {
    fn new() -> Self {
        let (_, receiver) = mpmc::channel(4).unwrap();
        Self { receiver, sender: None }
    }

    fn victim(&self, orders: &Orders) -> JoinHandle<()> {
        spawn(come_and_go, (orders.clone(), self.receiver.clone())).unwrap()
    }

    fn interfere(&mut self) {
        self.sender = Some(Sender::of(self.receiver.segment()));
        // Both event counts change, too.
        assert_eq!(self.receiver.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout));
    }

    fn check(self, _orders: &Orders) {
        self.receiver.segment().reap_dead();
        if let Some(sender) = self.sender {
            assert_eq!(self.receiver.try_recv(), Err(TryRecvError::Empty), "there is a sender");
            sender.send(1).unwrap();
            drop(sender);
            assert_eq!(self.receiver.recv_timeout(NEVER), Ok(1));
        }
        assert_eq!(self.receiver.recv_timeout(NEVER), Err(RecvTimeoutError::Disconnected));
    }
}

type Place = Role<Spsc<u64>>;

fn claim((orders, place): (Orders, Place)) {
    let mut ledger = orders.arm();
    if let Ok(mut sender) = spsc::Sender::claim(place.segment()) {
        sender.try_send(1).unwrap();
        drop(sender);
        crash::disarm();
        ledger.note(1);
    }
    crash::disarm();
}

/// Two claim the same end.
struct Claiming {
    place: Place,
    sender: Option<spsc::Sender<u64>>,
}

impl Race for Claiming {
    fn new() -> Self {
        let settings = Settings::new(4).keep_open();
        let segment: Arc<Segment<Spsc<u64>>> = Options::new().anonymous(settings.into()).unwrap();
        Self { place: segment.role(3), sender: None }
    }

    fn victim(&self, orders: &Orders) -> JoinHandle<()> {
        spawn(claim, (orders.clone(), self.place.clone())).unwrap()
    }

    fn interfere(&mut self) {
        // Not if the victim has it already and is about to leave.
        self.sender = spsc::Sender::claim(self.place.segment()).ok();
    }

    fn check(self, orders: &Orders) {
        // One after the other: had both had it at once, one message would lie over the other.
        let mut sent = orders.ledger();
        if let Some(mut sender) = self.sender {
            sender.try_send(2).unwrap();
            sent.push(2);
        }
        let segment = self.place.segment();
        let mut sender = spsc::Sender::claim(segment).expect("nobody has it any more");
        sender.try_send(3).unwrap();
        let received: Vec<u64> = spsc::Receiver::claim(segment).unwrap().try_iter().collect();
        assert!(received.is_sorted() && received.ends_with(&[3]), "{received:?}");
        assert!(sent.iter().all(|item| received.contains(item)), "{received:?} of {sent:?}");
    }
}

pub(crate) fn every_exchange() {
    lose_every_exchange::<Sending>("race: mpmc sender");
    lose_every_exchange::<Receiving>("race: mpmc receiver");
    lose_every_exchange::<Waiting>("race: mpmc receiver that waits in vain");
    lose_every_exchange::<PassingATomb>("race: mpmc receiver that passes a tomb");
    lose_every_exchange::<Adopting>("race: mpmc receiver that adopts");
    lose_every_exchange::<Reaping>("race: reaper of an mpmc receiver");
    lose_every_exchange::<TakingARole>("race: taking and leaving a role");
    lose_every_exchange::<Claiming>("race: claiming an end of an spsc queue");
}
