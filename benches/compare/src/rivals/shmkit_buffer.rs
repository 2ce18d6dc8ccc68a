//! shmkit's queue of buffers, which are written and read in place: polled, and with the calls that sleep.

use super::Blocking;
use super::in_place::{InPlace, read, write};
use super::shmkit::received;
use crate::peers::backoff::until;
use crate::peers::flow::{Inlet, Outlet};
use shmkit::queue::buffer::{Receiver, Sender, TrySendError};
use std::ops::Range;

/// What an attempt to get a buffer came to: `None` if it is worth another.
#[inline(always)]
fn loaned<L>(outcome: Result<L, TrySendError>) -> Option<L> {
    match outcome {
        Ok(loan) => Some(loan),
        Err(TrySendError::Full) => None,
        Err(error) => panic!("no buffer can be had: {error}"),
    }
}

impl Outlet for InPlace<Sender> {
    fn send_all(&mut self, values: Range<u64>) {
        for value in values {
            let mut loan = until(|| loaned(self.end.try_loan(self.length)));
            write(&mut loan, value);
            loan.send().expect("the receiver lives");
        }
    }
}

impl Inlet for InPlace<Receiver> {
    fn receive(&mut self, count: u64, mut take: impl FnMut(u64)) {
        for _ in 0..count {
            let lease = until(|| received(self.end.try_recv()));
            take(read(&lease, self.length));
            lease.ack();
        }
    }
}

impl Outlet for Blocking<InPlace<Sender>> {
    fn send_all(&mut self, values: Range<u64>) {
        for value in values {
            let mut loan = self.0.end.loan(self.0.length).expect("the receiver lives");
            write(&mut loan, value);
            loan.send().expect("the receiver lives");
        }
    }
}

impl Inlet for Blocking<InPlace<Receiver>> {
    fn receive(&mut self, count: u64, mut take: impl FnMut(u64)) {
        for _ in 0..count {
            let lease = self.0.end.recv().expect("the sender lives");
            take(read(&lease, self.0.length));
            lease.ack();
        }
    }
}
