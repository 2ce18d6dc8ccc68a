//! What this process does with an mpmc queue while another one is stopped in it: always with deadlines, and with an account of what was sent and
//! what came.

use shmkit::prelude::*;
use shmkit::queue::mpmc::Settings;
use shmkit::queue::{RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError};
use std::time::{Duration, Instant};

/// Messages from here on are victims'.
pub(crate) const VICTIMS: u64 = 1000;
/// A deadline that is meant to pass.
pub(crate) const SOON: Duration = Duration::from_millis(2);
/// For a victim that is to wait in vain.
pub(crate) const SHORT: Duration = Duration::from_micros(200);
/// One that is not: only a hang comes to it.
pub(crate) const NEVER: Duration = Duration::from_secs(60);

/// A sender and a receiver of this process, and what they have done.
pub(crate) struct Traffic {
    pub(crate) sender: mpmc::Sender<u64>,
    pub(crate) receiver: mpmc::Receiver<u64>,
    /// Numbered from 1 in the order in which they were sent.
    pub(crate) sent: u64,
    pub(crate) received: Vec<u64>,
}

/// Whom a stopped process keeps from going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delays {
    Nobody,
    Receivers,
    Senders,
}

impl Traffic {
    pub(crate) fn new(settings: impl Into<Settings>) -> Self {
        let (sender, receiver) = mpmc::channel(settings).expect("a queue");
        Self { sender, receiver, sent: 0, received: Vec::new() }
    }

    pub(crate) fn try_send(&mut self) -> Result<(), TrySendError<u64>> {
        let outcome = self.sender.try_send(self.sent + 1);
        self.sent += u64::from(outcome.is_ok());
        outcome
    }

    pub(crate) fn send_within(&mut self, time: Duration) -> Result<(), SendTimeoutError<u64>> {
        let outcome = kept(time, || self.sender.send_timeout(self.sent + 1, time));
        self.sent += u64::from(outcome.is_ok());
        outcome
    }

    pub(crate) fn try_recv(&mut self) -> Result<u64, TryRecvError> {
        let outcome = self.receiver.try_recv();
        self.received.extend(outcome);
        outcome
    }

    pub(crate) fn recv_within(&mut self, time: Duration) -> Result<u64, RecvTimeoutError> {
        let outcome = kept(time, || self.receiver.recv_timeout(time));
        self.received.extend(outcome);
        outcome
    }

    /// Sends until the queue is full, and says how many that were.
    pub(crate) fn fill(&mut self) -> u64 {
        let before = self.sent;
        loop {
            match self.try_send() {
                Ok(()) => {}
                Err(TrySendError::Full(_)) => return self.sent - before,
                Err(other) => panic!("{other}"),
            }
        }
    }

    /// Receives until nothing is there, and says why.
    pub(crate) fn drain(&mut self) -> TryRecvError {
        loop {
            if let Err(error) = self.try_recv() {
                return error;
            }
        }
    }

    /// Finds out whom a stopped process delays that claims `claims` slots, and that whoever is delayed keeps its deadlines and whoever is not gets on.
    pub(crate) fn probe(&mut self, claims: u64) -> Delays {
        let capacity = self.sender.capacity() as u64;
        match self.drain() {
            TryRecvError::Empty => {}
            TryRecvError::Busy => {
                assert_eq!(self.recv_within(SOON), Err(RecvTimeoutError::Timeout));
                assert_eq!(self.receiver.recv_deadline(Instant::now()), Err(RecvTimeoutError::Timeout));
                assert_eq!(self.fill(), capacity - claims, "senders go on until the queue is full");
                self.expect_full();
                assert_eq!(self.try_recv(), Err(TryRecvError::Busy));
                return Delays::Receivers;
            }
            other => panic!("{other}"),
        }
        for _ in 0..3 * capacity {
            if self.try_send().is_err() {
                // Whoever is stopped while it receives has the first message that was ever sent, and all were sent here.
                assert_eq!(self.sent, capacity, "senders go once round");
                self.expect_full();
                assert_eq!(self.recv_within(SOON), Err(RecvTimeoutError::Timeout), "all else was received");
                return Delays::Senders;
            }
            assert_eq!(self.try_recv(), Ok(self.sent));
        }
        assert_eq!(self.send_within(NEVER), Ok(()));
        assert_eq!(self.recv_within(NEVER), Ok(self.sent));
        Delays::Nobody
    }

    fn expect_full(&mut self) {
        assert!(matches!(self.send_within(SOON), Err(SendTimeoutError::Timeout(_))));
        let late = self.sender.send_deadline(0, Instant::now());
        assert!(matches!(late, Err(SendTimeoutError::Timeout(0))));
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

    /// Everything that is still to come, when nobody else uses the queue any more. What was received in all, sorted.
    pub(crate) fn settle(mut self) -> Vec<u64> {
        drop(self.sender);
        self.received.extend(self.receiver.iter());
        self.received.sort_unstable();
        self.received
    }
}

/// The outcome of an operation that has `time`: with a bound that only tells a deadline from a hang.
fn kept<R>(time: Duration, operation: impl FnOnce() -> R) -> R {
    let started = Instant::now();
    let outcome = operation();
    assert!(started.elapsed() < time + NEVER, "a deadline was not kept");
    outcome
}
