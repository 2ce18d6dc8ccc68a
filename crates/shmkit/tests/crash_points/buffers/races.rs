//! Compare-exchanges of a queue of buffers that are lost: see `races.rs`.

use super::{Act, Buffers, COUNT, Death};
use crate::harness::Orders;
use crate::races::{Race, lose_every_exchange};
use crate::traffic::SHORT;
use shmkit::process::JoinHandle;
use std::sync::LazyLock;

/// Uses every buffer and every cell, so that whatever the victim has seen is different. Receivers have said that they wait, and will find nothing.
fn go_round(buffers: &mut Buffers) {
    buffers.drain();
    (0..2 * COUNT).for_each(|_| buffers.pass_one());
    buffers.recv_in_vain(SHORT);
}

/// The victim's end.
fn settle(buffers: Buffers, orders: &Orders, act: Act) {
    buffers.receiver.segment().reap_dead();
    // Also when it came through; then it has told.
    buffers.settle(orders, act, true);
}

struct Sending(Buffers);

impl Race for Sending {
    fn new() -> Self {
        let buffers = Buffers::new(COUNT as u64, 0);
        buffers.recv_in_vain(SHORT);
        Self(buffers)
    }

    fn victim(&self, orders: &Orders) -> JoinHandle<()> {
        self.0.spawn(orders, Act::TrySend)
    }

    fn interfere(&mut self) {
        go_round(&mut self.0);
    }

    fn check(self, orders: &Orders) {
        settle(self.0, orders, Act::TrySend);
    }
}

/// Gives back what it has taken, behind what others send.
struct GivingBack(Buffers);

impl Race for GivingBack {
    fn new() -> Self {
        Self(Buffers::new(COUNT as u64, 1))
    }

    fn victim(&self, orders: &Orders) -> JoinHandle<()> {
        self.0.spawn(orders, Act::Nack)
    }

    fn interfere(&mut self) {
        go_round(&mut self.0);
        // The victim blocks, and others may have had its message.
        self.0.try_send().expect("a buffer is free");
    }

    fn check(self, orders: &Orders) {
        settle(self.0, orders, Act::Nack);
    }
}

struct Receiving(Buffers);

impl Race for Receiving {
    fn new() -> Self {
        let mut buffers = Buffers::new(COUNT as u64, COUNT as u64);
        assert!(!buffers.send_within(SHORT)); // leaves word that somebody waits
        Self(buffers)
    }

    fn victim(&self, orders: &Orders) -> JoinHandle<()> {
        self.0.spawn(orders, Act::TryRecv)
    }

    fn interfere(&mut self) {
        self.0.drain();
        self.0.fill();
        assert!(!self.0.send_within(SHORT));
    }

    fn check(self, orders: &Orders) {
        settle(self.0, orders, Act::TryRecv);
    }
}

/// A receiver has died, and while the victim puts its message back others send, and wait.
struct Reaping(Buffers);

impl Race for Reaping {
    fn new() -> Self {
        static FOUND: LazyLock<u64> = LazyLock::new(|| holder_of_a_message(None).at);
        Self(holder_of_a_message(Some(*FOUND)).happen().0)
    }

    fn victim(&self, orders: &Orders) -> JoinHandle<()> {
        self.0.spawn(orders, Act::Reap)
    }

    fn interfere(&mut self) {
        go_round(&mut self.0);
    }

    fn check(self, orders: &Orders) {
        settle(self.0, orders, Act::Reap);
    }
}

/// A receiver that dies when it has taken a message.
fn holder_of_a_message(at: Option<u64>) -> Death {
    let queue = || Buffers::new(COUNT as u64, 1);
    match at {
        Some(at) => Death { queue: Box::new(queue), act: Act::TryRecv, at },
        None => Death::find(queue, Act::TryRecv, "compare_exchange won", 1),
    }
}

pub(crate) fn every_exchange() {
    lose_every_exchange::<Sending>("race: buffer sender");
    lose_every_exchange::<Receiving>("race: buffer receiver");
    lose_every_exchange::<GivingBack>("race: buffer receiver that gives back");
    lose_every_exchange::<Reaping>("race: reaper of a buffer receiver");
}
