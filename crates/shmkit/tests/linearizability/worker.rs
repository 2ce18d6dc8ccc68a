//! What the processes do: they send, or receive, in all forms at random, and write down each operation.

use crate::history::Outcome;
use crate::journal::Journal;
use serde::{Deserialize, Serialize};
use shmkit::prelude::*;
use shmkit::queue::{RecvError, RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError};
use std::time::{Duration, Instant};

/// A message is its value, `WORDS` times: the more of them, the longer its place is being written and read.
pub(crate) type Message<const WORDS: usize> = [u64; WORDS];

/// Words of a large message, of 4 KiB.
pub(crate) const LARGE: usize = 512;

/// Words of a huge message, of 16 KiB: most of the time of an operation goes into copying it.
pub(crate) const HUGE: usize = 2048;

/// Which of the three forms of an operation.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form {
    /// Does not wait.
    Try,
    /// Waits.
    Wait,
    /// Waits for some time at most.
    For(Duration),
}

impl Form {
    pub(crate) fn random(random: &mut fastrand::Rng) -> Self {
        match random.u8(..4) {
            0 | 1 => Self::Try,
            2 => Self::Wait,
            _ => Self::For(Duration::from_micros(random.u64(..100))),
        }
    }
}

/// Sends `value`, on the record.
pub(crate) fn send<const WORDS: usize>(
    journal: &Journal,
    sender: &mpmc::Sender<Message<WORDS>>,
    value: u64,
    form: Form,
) -> Outcome {
    let message = [value; WORDS];
    journal.sends(value, || match form {
        Form::Try => match sender.try_send(message) {
            Ok(()) => Outcome::Sent(value),
            Err(TrySendError::Full(_)) => Outcome::Full,
            Err(other) => panic!("{other}"),
        },
        Form::Wait => sender.send(message).map_or_else(|error| panic!("{error}"), |()| Outcome::Sent(value)),
        Form::For(time) => match sender.send_deadline(message, Instant::now() + time) {
            Ok(()) => Outcome::Sent(value),
            Err(SendTimeoutError::Timeout(_)) => Outcome::Full,
            Err(other) => panic!("{other}"),
        },
    })
}

/// Receives, on the record: what, or `None` if nothing will ever come again, which is recorded as a queue that is empty.
pub(crate) fn receive<const WORDS: usize>(
    journal: &Journal,
    receiver: &mpmc::Receiver<Message<WORDS>>,
    form: Form,
) -> Option<Outcome> {
    let mut end = false;
    let mut at_the_end = || {
        end = true;
        Outcome::Empty
    };
    let outcome = journal.receives(|| match form {
        Form::Try => match receiver.try_recv() {
            Ok(message) => Outcome::Received(value(message)),
            Err(TryRecvError::Empty) => Outcome::Empty,
            Err(TryRecvError::Busy) => Outcome::Busy,
            Err(TryRecvError::Disconnected) => at_the_end(),
            Err(other) => panic!("{other}"),
        },
        Form::Wait => match receiver.recv() {
            Ok(message) => Outcome::Received(value(message)),
            Err(RecvError::Disconnected) => at_the_end(),
            Err(other) => panic!("{other}"),
        },
        Form::For(time) => match receiver.recv_deadline(Instant::now() + time) {
            Ok(message) => Outcome::Received(value(message)),
            Err(RecvTimeoutError::Timeout) => Outcome::Late,
            Err(RecvTimeoutError::Disconnected) => at_the_end(),
            Err(other) => panic!("{other}"),
        },
    });
    (!end).then_some(outcome)
}

fn value<const WORDS: usize>(message: Message<WORDS>) -> u64 {
    assert!(message.iter().all(|&word| word == message[0]), "the message was torn");
    message[0]
}

/// What a process is started with.
#[derive(Serialize, Deserialize)]
#[serde(bound(serialize = "End: Serialize", deserialize = "End: Deserialize<'de>"))]
pub(crate) struct Start<End> {
    pub(crate) journal: Journal,
    pub(crate) end: End,
    pub(crate) seed: u64,
    /// How many messages a sender sends at most.
    pub(crate) messages: u32,
    /// How many operations may fail, after which only the form that waits is used.
    pub(crate) failures: usize,
}

/// Sends all messages, unless the journal is full before.
pub(crate) fn send_all<const WORDS: usize>(start: Start<mpmc::Sender<Message<WORDS>>>) {
    let Start { journal, end: sender, seed, messages, mut failures } = start;
    let mut random = fastrand::Rng::with_seed(seed);
    let mut number = 0;
    while number < messages && journal.room() > 0 {
        let form = if failures > 0 { Form::random(&mut random) } else { Form::Wait };
        match send(&journal, &sender, journal.message(number), form) {
            Outcome::Sent(_) => number += 1,
            _ => failures -= 1,
        }
    }
}

/// Receives until nothing will ever come again, or the journal is full.
pub(crate) fn receive_all<const WORDS: usize>(start: Start<mpmc::Receiver<Message<WORDS>>>) {
    let Start { journal, end: receiver, seed, mut failures, .. } = start;
    let mut random = fastrand::Rng::with_seed(seed);
    while journal.room() > 0 {
        let form = if failures > 0 { Form::random(&mut random) } else { Form::Wait };
        match receive(&journal, &receiver, form) {
            Some(Outcome::Received(_)) => {}
            Some(_) => failures -= 1,
            None => return,
        }
    }
}
