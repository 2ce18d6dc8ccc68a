//! The queue with one sender and one receiver: its ends are killed, and a successor claims them, or the survivor is told.

use crate::board::{Board, LEASED};
use crate::{CAPACITY, HANG, kill, kills, random, random_time, succeed, wait_for_recovery};
use serde::{Deserialize, Serialize};
use shmkit::prelude::*;
use shmkit::queue::spsc::{self, Settings, Spsc};
use shmkit::segment::{Options, Role, Segment};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Messages that are sent in one operation.
const BATCH: u64 = 4;
/// After all others.
const END: u64 = u64::MAX;

/// A handle of the segment itself, for processes that claim an end of the queue in it: in a role that the queue does not use.
#[derive(Clone, Serialize, Deserialize)]
#[serde(bound = "")]
struct Place(Role<Spsc<u64>>);

impl Place {
    fn new() -> Self {
        let settings = Settings::new(CAPACITY).keep_open();
        let segment: Arc<Segment<Spsc<u64>>> = Options::new().anonymous(settings.into()).expect("a queue");
        Self(segment.role(3))
    }

    fn segment(&self) -> &Arc<Segment<Spsc<u64>>> {
        self.0.segment()
    }
}

/// Single messages and batches in turn.
fn send_claimed((board, place): (Board, Place)) {
    let mut sender = succeed(|| spsc::Sender::claim(place.segment()));
    let mut row = board.row();
    while board.goes_on() {
        sender.send(row.next(1).start).expect("it is kept open");
        row.note_sent(1);
        let batch: Vec<u64> = row.next(BATCH).collect();
        sender.send_slice(&batch).expect("it is kept open");
        row.note_sent(BATCH);
    }
    sender.send(END).expect("it is kept open");
}

/// Notes half of what it has leased and acknowledges that: the other half comes again, to this one or the next.
fn receive_leased((board, place, me): (Board, Place, usize)) {
    let mut receiver = succeed(|| spsc::Receiver::claim(place.segment()));
    let mut last = 0;
    loop {
        let lease = receiver.lease(LEASED).expect("it is kept open");
        let count = lease.len().div_ceil(2);
        let messages: Vec<u64> = lease.iter().take(count).collect();
        assert!(messages[0] > last && messages.is_sorted_by(|a, b| a < b), "{messages:?} after {last}");
        last = messages[count - 1];
        board.hold(me, messages.iter().copied());
        messages.iter().filter(|&&message| message != END).for_each(|&message| board.note_received(message));
        lease.ack(count);
        board.hold(me, [].into_iter());
        if last == END {
            return;
        }
    }
}

/// A random end is killed, and somebody else goes on with it.
#[test]
fn spsc_successors_lose_nothing() {
    let mut random = random("spsc with successors");
    let (board, place) = (Board::new(kills()), Place::new());
    let next_sender = || spawn(send_claimed, (board.clone(), place.clone())).expect("a sender");
    let mut receivers = 0;
    let mut next_receiver = || {
        receivers += 1;
        spawn(receive_leased, (board.clone(), place.clone(), receivers - 1)).expect("a receiver")
    };
    let (mut sending, mut receiving) = (next_sender(), next_receiver());
    let (mut dead_senders, mut dead_receivers, mut slowest) = (0, 0, Duration::ZERO);
    while dead_senders + dead_receivers < kills() as u64 {
        random_time(&mut random);
        let death = Instant::now();
        if random.bool() {
            assert!(kill(sending), "nobody ends by itself");
            dead_senders += 1;
            sending = next_sender();
        } else {
            assert!(kill(receiving), "nobody ends by itself");
            dead_receivers += 1;
            receiving = next_receiver();
        }
        slowest = slowest.max(wait_for_recovery(&board, death));
    }
    board.stop();
    sending.join().expect("a sender ends by itself");
    receiving.join().expect("a receiver comes to the end");

    let tally = board.tally(BATCH);
    println!(
        "spsc with successors: {dead_senders} senders and {dead_receivers} receivers killed; {tally:?}; slowest recovery {slowest:.1?}, with the start of a process"
    );
    assert!(tally.messages > 0, "nothing was sent");
    assert_eq!((tally.lost, tally.garbage), (0, 0));
    assert_eq!(tally.doubled, 0, "what was acknowledged came again");
    assert!(tally.duplicated <= dead_receivers * LEASED as u64);
}

fn send_ring((board, mut sender): (Board, spsc::Sender<u64>)) {
    let mut row = board.row();
    while sender.send(row.next(1).start).is_ok() {
        row.note_sent(1);
    }
}

fn receive_ring((board, mut receiver): (Board, spsc::Receiver<u64>)) {
    receiver.iter().for_each(|message| board.note_received(message));
}

/// One ring after the other, and one of its ends is killed. A dead sender costs nothing; with a dead receiver goes what it had not received.
#[test]
fn spsc_tells_the_survivor() {
    let mut random = random("spsc");
    let board = Board::new(kills());
    let (mut lost_after_sender, mut slowest) = (0, Duration::ZERO);
    for _ in 0..kills() {
        let rows = board.rows();
        let (sender, receiver) = spsc::channel(CAPACITY).expect("a queue");
        let sending = spawn(send_ring, (board.clone(), sender)).expect("a sender");
        let receiving = spawn(receive_ring, (board.clone(), receiver)).expect("a receiver");
        random_time(&mut random);
        let (victim, survivor, is_sender) =
            if random.bool() { (sending, receiving, true) } else { (receiving, sending, false) };
        let death = Instant::now();
        assert!(kill(victim), "nobody ends by itself");
        survivor.join().expect("the survivor is told");
        slowest = slowest.max(death.elapsed());
        if is_sender {
            lost_after_sender += board.tally_of(rows..board.rows(), 1, &BTreeSet::new()).lost;
        }
    }
    let tally = board.tally(1);
    println!(
        "spsc: {} kills; {tally:?}, {lost_after_sender} of the lost with a living receiver; told after {slowest:.1?} at most",
        kills()
    );
    assert!(slowest < HANG && tally.messages > 0 && tally.garbage == 0 && tally.duplicated == 0);
    assert_eq!(lost_after_sender, 0, "messages were lost");
}
