//! Queues with several senders and receivers: two of each, one of them killed and replaced again and again.

use crate::board::{Board, Tally};
use crate::hand::{self, Hand, Message};
use crate::{CAPACITY, kill, kills, random, random_time, wait_for_recovery};
use serde::{Deserialize, Serialize};
use shmkit::prelude::*;
use shmkit::queue::mpmc::Settings;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A queue of one kind, and a way to use it, as seen by a storm.
trait Queue {
    type Sender: Clone + Serialize + for<'de> Deserialize<'de> + 'static;
    type Receiver: Clone + Serialize + for<'de> Deserialize<'de> + 'static;
    /// Messages that are sent, and at most received, in one operation.
    const BATCH: usize = 1;
    /// Whether messages are noted before they are acknowledged, and so may come again. Else the queue acknowledges what it gives out, into a hand.
    const NOTED_FIRST: bool = false;
    /// Whether the queue loses what a receiver was just receiving when it died.
    const AT_MOST_ONCE: bool = false;

    fn channel() -> (Self::Sender, Self::Receiver);
    fn send(sender: &Self::Sender, messages: &[Message]);
    /// Receives messages and notes them; false at the end.
    fn recv(receiver: &Self::Receiver, ledger: &mut Ledger) -> bool;
    /// How many lost messages the queue has counted.
    fn lost(_receiver: &Self::Receiver) -> u64 {
        0
    }
}

/// Where a receiver notes what it has received.
struct Ledger {
    board: Board,
    me: usize,
    hand: Hand,
}

impl Ledger {
    /// Notes the first messages in the hand, which is then free again. `None` at the end.
    fn note_hand<E>(&mut self, count: Result<usize, E>) -> bool {
        let Ok(count) = count else { return false };
        for message in self.hand.messages(count) {
            self.board.note_received(u64::from_le_bytes(*message));
            *message = [0; 8];
        }
        true
    }
}

/// Batches of `BATCH` messages.
struct Mpmc<const BATCH: usize>;

impl<const BATCH: usize> Queue for Mpmc<BATCH> {
    type Sender = mpmc::Sender<Message>;
    type Receiver = mpmc::Receiver<Message>;
    const BATCH: usize = BATCH;

    fn channel() -> (Self::Sender, Self::Receiver) {
        mpmc::channel(CAPACITY).expect("a queue")
    }

    fn send(sender: &Self::Sender, messages: &[Message]) {
        match messages {
            [message] => sender.send(*message).expect("the parent keeps a receiver"),
            messages => sender.send_slice(messages).expect("the parent keeps a receiver"),
        }
    }

    fn recv(receiver: &Self::Receiver, ledger: &mut Ledger) -> bool {
        let count = receiver.recv_slice(ledger.hand.messages(BATCH));
        ledger.note_hand(count)
    }
}

struct MpmcAtMostOnce;

impl Queue for MpmcAtMostOnce {
    type Sender = mpmc::Sender<Message>;
    type Receiver = mpmc::Receiver<Message>;
    const BATCH: usize = 5;
    const AT_MOST_ONCE: bool = true;

    fn channel() -> (Self::Sender, Self::Receiver) {
        mpmc::channel(Settings::new(CAPACITY).at_most_once()).expect("a queue")
    }

    fn send(sender: &Self::Sender, messages: &[Message]) {
        Mpmc::<5>::send(sender, messages);
    }

    fn recv(receiver: &Self::Receiver, ledger: &mut Ledger) -> bool {
        Mpmc::<5>::recv(receiver, ledger)
    }

    fn lost(receiver: &Self::Receiver) -> u64 {
        receiver.statistics().lost
    }
}

struct Buffers;

impl Queue for Buffers {
    type Sender = buffer::Sender;
    type Receiver = buffer::Receiver;
    const NOTED_FIRST: bool = true;

    fn channel() -> (Self::Sender, Self::Receiver) {
        buffer::channel((CAPACITY, 8)).expect("a queue")
    }

    fn send(sender: &Self::Sender, messages: &[Message]) {
        sender.send(&messages[0]).expect("the parent keeps a receiver");
    }

    fn recv(receiver: &Self::Receiver, ledger: &mut Ledger) -> bool {
        let Ok(lease) = receiver.recv() else { return false };
        let message = u64::from_le_bytes((*lease).try_into().expect("eight bytes"));
        ledger.board.hold(ledger.me, [message].into_iter());
        ledger.board.note_received(message);
        lease.ack();
        ledger.board.hold(ledger.me, [].into_iter());
        true
    }
}

fn send_all<Q: Queue>((board, sender): (Board, Q::Sender)) {
    let mut row = board.row();
    while board.goes_on() {
        let messages: Vec<Message> = row.next(Q::BATCH as u64).map(u64::to_le_bytes).collect();
        Q::send(&sender, &messages);
        row.note_sent(Q::BATCH as u64);
    }
}

fn receive_all<Q: Queue>((board, receiver, me, hands): (Board, Q::Receiver, usize, PathBuf)) {
    let mut ledger = Ledger { board, me, hand: Hand::of(&hands, me) };
    while Q::recv(&receiver, &mut ledger) {}
}

/// Two senders and two receivers; again and again a random one of them is killed and replaced.
fn storm<Q: Queue + 'static>(name: &str) {
    const { assert!(Q::BATCH <= hand::SIZE) };
    let hands = tempfile::tempdir().expect("a temporary directory");
    let mut random = random(name);
    let board = Board::new(kills());
    let (sender, receiver) = Q::channel();
    let next_sender = || spawn(send_all::<Q>, (board.clone(), sender.clone())).expect("a sender");
    let mut receivers = 0;
    let mut next_receiver = || {
        receivers += 1;
        spawn(receive_all::<Q>, (board.clone(), receiver.clone(), receivers - 1, hands.path().to_owned()))
            .expect("a receiver")
    };
    let mut processes = vec![next_sender(), next_sender(), next_receiver(), next_receiver()];
    let (mut dead_senders, mut dead_receivers, mut slowest) = (0, 0, Duration::ZERO);
    while dead_senders + dead_receivers < kills() as u64 {
        random_time(&mut random);
        let index = random.usize(..4);
        let replacement = if index < 2 { next_sender() } else { next_receiver() };
        let victim = std::mem::replace(&mut processes[index], replacement);
        let death = Instant::now();
        assert!(kill(victim), "nobody ends by itself");
        *if index < 2 { &mut dead_senders } else { &mut dead_receivers } += 1;
        slowest = slowest.max(wait_for_recovery(&board, death));
    }
    board.stop();
    let receiving = processes.split_off(2);
    processes.into_iter().for_each(|process| process.join().expect("a sender ends by itself"));
    drop(sender);
    receiving.into_iter().for_each(|process| process.join().expect("a receiver ends by itself"));

    let in_hands = (0..receivers).flat_map(|me| hand::left_by(hands.path(), me)).collect();
    let tally = board.tally_of(0..board.rows(), Q::BATCH as u64, &in_hands);
    println!(
        "{name}: {dead_senders} senders and {dead_receivers} receivers killed; {tally:?}; slowest recovery {slowest:.1?}"
    );
    check::<Q>(tally, dead_receivers, Q::lost(&receiver));
}

fn check<Q: Queue>(tally: Tally, dead_receivers: u64, counted: u64) {
    assert!(tally.messages > 0, "nothing was sent");
    assert_eq!((tally.garbage, tally.doubled), (0, 0));
    assert!(tally.in_hand <= dead_receivers * Q::BATCH as u64);
    if Q::NOTED_FIRST {
        assert!(tally.duplicated <= dead_receivers, "more was delivered again than was unacknowledged");
    } else {
        assert_eq!(tally.duplicated, 0, "the queue gave a message out twice");
    }
    if Q::AT_MOST_ONCE {
        println!("    {counted} were counted as lost by the queue: those, and what had come into a hand already");
        assert!(
            tally.lost + tally.in_hand <= dead_receivers * Q::BATCH as u64,
            "more than one batch was lost with a receiver"
        );
    } else {
        assert_eq!(tally.lost, 0, "messages were lost");
    }
}

#[test]
fn mpmc_loses_nothing() {
    storm::<Mpmc<1>>("mpmc");
}

#[test]
fn mpmc_loses_no_batch() {
    storm::<Mpmc<5>>("mpmc in batches");
}

#[test]
fn mpmc_delivers_at_most_once_if_told_so() {
    storm::<MpmcAtMostOnce>("mpmc at most once");
}

#[test]
fn buffer_loses_nothing() {
    storm::<Buffers>("buffer");
}
