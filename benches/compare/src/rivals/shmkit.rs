//! shmkit's queues, one message at a time: polled, and with the calls that sleep.

use super::{Blocking, Polling};
use crate::peers::backoff::{until, until_soon};
use crate::peers::flow::{Inlet, Outlet};
use crate::peers::trip::Duplex;
use shmkit::queue::{TryRecvError, TrySendError, mpmc, spsc};
use std::ops::Range;

/// What an attempt to send came to: `None` if it is worth another.
#[inline(always)]
pub fn sent<R, T>(outcome: Result<R, TrySendError<T>>) -> Option<R> {
    match outcome {
        Ok(sent) => Some(sent),
        Err(TrySendError::Full(_)) => None,
        Err(error) => panic!("a message cannot be sent: {error}"),
    }
}

/// What an attempt to receive came to: `None` if it is worth another.
#[inline(always)]
pub fn received<T>(outcome: Result<T, TryRecvError>) -> Option<T> {
    match outcome {
        Ok(value) => Some(value),
        Err(TryRecvError::Empty | TryRecvError::Busy) => None,
        Err(error) => panic!("no message can be received: {error}"),
    }
}

/// The queues' handles have the same methods, but do not share a trait, and only one takes itself mutably.
macro_rules! ends {
    ($queue:ident) => {
        impl Outlet for $queue::Sender<u64> {
            fn send_all(&mut self, values: Range<u64>) {
                for value in values {
                    until(|| sent(self.try_send(value)));
                }
            }
        }

        impl Inlet for $queue::Receiver<u64> {
            fn receive(&mut self, count: u64, mut take: impl FnMut(u64)) {
                for _ in 0..count {
                    take(until(|| received(self.try_recv())));
                }
            }
        }

        impl Outlet for Blocking<$queue::Sender<u64>> {
            fn send_all(&mut self, values: Range<u64>) {
                for value in values {
                    self.0.send(value).expect("the receivers live");
                }
            }
        }

        impl Inlet for Blocking<$queue::Receiver<u64>> {
            fn receive(&mut self, count: u64, mut take: impl FnMut(u64)) {
                for _ in 0..count {
                    take(self.0.recv().expect("the senders live"));
                }
            }
        }
    };
}
ends!(spsc);
ends!(mpmc);

impl Duplex for Polling<spsc::Sender<u64>, spsc::Receiver<u64>> {
    fn send(&mut self, value: u64) {
        until_soon(|| sent(self.0.try_send(value)));
    }

    fn receive(&mut self) -> u64 {
        until_soon(|| received(self.1.try_recv()))
    }
}

impl Duplex for Blocking<(spsc::Sender<u64>, spsc::Receiver<u64>)> {
    fn send(&mut self, value: u64) {
        self.0.0.send(value).expect("the other side lives");
    }

    fn receive(&mut self) -> u64 {
        self.0.1.recv().expect("the other side lives")
    }
}
