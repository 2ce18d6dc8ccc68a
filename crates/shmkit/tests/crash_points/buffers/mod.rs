//! A queue of buffers with a victim in it: what the victim does, what this process does meanwhile, and an account of what was sent and what came.

pub(crate) mod races;
pub(crate) mod recovery;

use crate::harness::{Orders, came_through, wait_for_stop};
use crate::queues::number;
use crate::stops::ARMED;
use crate::traffic::VICTIMS;
use serde::{Deserialize, Serialize};
use shmkit::prelude::*;
use shmkit::process::JoinHandle;
use shmkit::queue::buffer::{SendTimeoutError, TrySendError};
use shmkit::queue::{RecvTimeoutError, TryRecvError};
use shmkit::segment::crash;
use std::time::Duration;

/// Buffers of a queue, and cells of its ring: few, so that it goes round soon, and an index moves when it does.
pub(crate) const COUNT: usize = 4;

/// What a victim does.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Act {
    TrySend,
    Send,
    /// Takes a buffer and sends nothing in it.
    ThinkBetter,
    /// Receives a message and acknowledges it.
    TryRecv,
    Recv,
    /// Receives a message and does not acknowledge it.
    Nack,
    Reap,
}

impl Act {
    pub(crate) fn receives(self) -> bool {
        matches!(self, Self::TryRecv | Self::Recv | Self::Nack)
    }
}

/// A sender and a receiver of this process, and what they have done.
pub(crate) struct Buffers {
    sender: buffer::Sender,
    pub(crate) receiver: buffer::Receiver,
    /// Numbered from 1 in the order in which they were sent.
    pub(crate) sent: u64,
    pub(crate) received: Vec<u64>,
}

impl Buffers {
    /// A queue through which `passed` messages have gone, so that new handles begin behind where it is, and in which `waiting` more are.
    pub(crate) fn new(passed: u64, waiting: u64) -> Self {
        let (sender, receiver) = buffer::channel((COUNT, 8)).expect("a queue");
        let mut buffers = Self { sender, receiver, sent: 0, received: Vec::new() };
        (0..passed).for_each(|_| buffers.pass_one());
        (0..waiting).for_each(|_| buffers.try_send().expect("room"));
        buffers
    }

    pub(crate) fn spawn(&self, orders: &Orders, act: Act) -> JoinHandle<()> {
        spawn(victim, (orders.clone(), self.sender.clone(), self.receiver.clone(), act)).expect("a victim")
    }

    pub(crate) fn try_send(&mut self) -> Result<(), TrySendError> {
        let outcome = self.sender.try_send(&(self.sent + 1).to_le_bytes());
        self.sent += u64::from(outcome.is_ok());
        outcome
    }

    /// The next message, if there is one.
    pub(crate) fn try_recv(&mut self) -> Option<u64> {
        match self.receiver.try_recv() {
            Ok(lease) => {
                let item = number(&lease);
                lease.ack();
                self.received.push(item);
                Some(item)
            }
            Err(TryRecvError::Empty) => None,
            Err(other) => panic!("{other}"),
        }
    }

    /// Sends one more, if there is room in time.
    fn send_within(&mut self, time: Duration) -> bool {
        match self.sender.send_timeout(&(self.sent + 1).to_le_bytes(), time) {
            Ok(()) => {
                self.sent += 1;
                true
            }
            Err(SendTimeoutError::Timeout) => false,
            Err(other) => panic!("{other}"),
        }
    }

    /// Finds nothing to receive, and leaves word that somebody waits.
    fn recv_in_vain(&self, time: Duration) {
        match self.receiver.recv_timeout(time) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(lease) => panic!("there is {}", number(&lease)),
            Err(other) => panic!("{other}"),
        }
    }

    /// Sends a message and receives it.
    fn pass_one(&mut self) {
        self.try_send().expect("a buffer is free");
        assert_eq!(self.try_recv(), Some(self.sent));
    }

    /// Sends until no buffer is free, and says how many that were.
    fn fill(&mut self) -> usize {
        let before = self.sent;
        loop {
            match self.try_send() {
                Ok(()) => {}
                Err(TrySendError::Full) => return (self.sent - before) as usize,
                Err(other) => panic!("{other}"),
            }
        }
    }

    /// Everything that is there.
    pub(crate) fn drain(&mut self) -> Vec<u64> {
        std::iter::from_fn(|| self.try_recv()).collect()
    }

    /// Goes on as if nobody else were there, never blocking: rounds of as many messages as there are buffers, or one less if somebody else
    /// has one. Whether somebody has. Nothing must be in the queue.
    pub(crate) fn pass_rounds(&mut self) -> bool {
        let rounds: Vec<bool> = (0..3)
            .map(|_| {
                let first = self.sent + 1;
                let room = self.fill();
                assert!(room + 1 >= COUNT, "room for {room}: a buffer at most is in other hands");
                assert!(self.drain().into_iter().eq(first..=self.sent), "what was sent is there, in order");
                // Singly, so that it comes to every cell in other ways too.
                (0..=COUNT).for_each(|_| self.pass_one());
                room < COUNT
            })
            .collect();
        assert!(rounds.iter().all(|&round| round == rounds[0]), "who is stopped lets go of nothing");
        rounds[0]
    }

    /// Lets somebody else finish, whatever it needs for that: room, or messages.
    pub(crate) fn help_until(&mut self, finished: impl Fn() -> bool, receives: bool) {
        while !finished() {
            match receives {
                true if self.receiver.is_empty() => drop(self.try_send()),
                true => {}
                false => drop(self.try_recv()),
            }
            std::thread::yield_now();
        }
    }

    /// When nobody else uses the queue any more: every message has come once, but for the victim's own, of which it may not have told if it
    /// `died`; and every buffer can be used.
    pub(crate) fn settle(mut self, orders: &Orders, act: Act, died: bool) {
        self.drain();
        assert!(!self.pass_rounds(), "a buffer is missing");
        let noted: Vec<u64> = orders.ledger().into_iter().filter(|&item| item != ARMED).collect();
        let (mut sent, mut received): (Vec<u64>, Vec<u64>) = ((1..=self.sent).collect(), self.received);
        received.extend(noted.iter().filter(|_| act.receives()));
        received.sort_unstable();
        let is_uncertain = died && noted.is_empty();
        match act {
            Act::TrySend | Act::Send if is_uncertain => sent.extend(received.last().filter(|&&item| item == VICTIMS)),
            Act::TrySend | Act::Send => sent.extend(noted),
            Act::TryRecv | Act::Recv if is_uncertain && received.len() < sent.len() => {
                let missing = sent.iter().position(|item| !received.contains(item)).expect("one is missing");
                sent.remove(missing);
            }
            _ => {}
        }
        assert_eq!(received, sent);
    }
}

type Victim = (Orders, buffer::Sender, buffer::Receiver, Act);

fn victim((orders, sender, receiver, act): Victim) {
    let mut ledger = orders.arm();
    ledger.note(ARMED);
    let bytes = VICTIMS.to_le_bytes();
    let taken = |lease: buffer::Lease<'_>| {
        let item = number(&lease);
        lease.ack();
        Some(item)
    };
    let done = match act {
        Act::TrySend => sender.try_send(&bytes).ok().map(|()| VICTIMS),
        Act::Send => sender.send(&bytes).ok().map(|()| VICTIMS),
        Act::ThinkBetter => sender.loan(8).map(drop).ok().and(None),
        Act::TryRecv => receiver.try_recv().ok().and_then(taken),
        Act::Recv => receiver.recv().ok().and_then(taken),
        Act::Nack => receiver.recv().map(buffer::Lease::nack).ok().and(None),
        Act::Reap => {
            receiver.segment().reap_dead();
            None
        }
    };
    crash::disarm();
    done.into_iter().for_each(|item| ledger.note(item));
}

/// How a process comes to die in a queue.
pub(crate) struct Death {
    queue: Box<dyn Fn() -> Buffers>,
    act: Act,
    /// The number of the site. Nobody disturbs the victim, so it is the same one each time.
    at: u64,
}

impl Death {
    /// In a queue like this one, at the `nth` of the queue's own sites with this operation.
    pub(crate) fn find(queue: impl Fn() -> Buffers + 'static, act: Act, operation: &str, nth: usize) -> Self {
        let mut death = Self { queue: Box::new(queue), act, at: 0 };
        let mut seen = 0;
        while seen < nth {
            death.at += 1;
            let site = death.happen().1;
            let is_there = site.starts_with("buffer/") && site.ends_with(&format!(" {operation}"));
            seen += usize::from(is_there);
        }
        death
    }

    /// The queue with the dead process in it, which nobody has reaped, and the name of the site.
    pub(crate) fn happen(&self) -> (Buffers, String) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let buffers = (self.queue)();
        let orders = Orders::to_stop(directory.path(), self.at);
        let victim = buffers.spawn(&orders, self.act);
        assert!(wait_for_stop(&victim), "{:?} has such a site", self.act);
        victim.kill().expect("a child");
        assert!(!came_through(victim));
        (buffers, orders.stopped_at())
    }
}
