//! shmkit's queues, many messages at a time.
//!
//! The four functions at the top are the only place that knows how a batch is sent or received. They do it message by message as long as the
//! queues have no operation for many.

use super::Batches;
use super::shmkit::{received, sent};
use crate::peers::backoff::until;
use crate::peers::flow::{BATCH, Inlet, Outlet};
use shmkit::queue::{mpmc, spsc};
use std::ops::Range;

/// Sends as many of `values` as there is room for, and says how many.
#[inline]
fn send_spsc(sender: &mut spsc::Sender<u64>, values: &[u64]) -> usize {
    values.iter().take_while(|&&value| sent(sender.try_send(value)).is_some()).count()
}

/// Receives as many messages as there are, up to the length of `values`, and says how many.
#[inline]
fn receive_spsc(receiver: &mut spsc::Receiver<u64>, values: &mut [u64]) -> usize {
    values.iter_mut().map_while(|place| received(receiver.try_recv()).map(|value| *place = value)).count()
}

/// Sends as many of `values` as there is room for, and says how many.
#[inline]
fn send_mpmc(sender: &mut mpmc::Sender<u64>, values: &[u64]) -> usize {
    values.iter().take_while(|&&value| sent(sender.try_send(value)).is_some()).count()
}

/// Receives as many messages as there are, up to the length of `values`, and says how many.
#[inline]
fn receive_mpmc(receiver: &mut mpmc::Receiver<u64>, values: &mut [u64]) -> usize {
    values.iter_mut().map_while(|place| received(receiver.try_recv()).map(|value| *place = value)).count()
}

macro_rules! ends {
    ($queue:ident, $send:ident, $receive:ident) => {
        impl Outlet for Batches<$queue::Sender<u64>> {
            fn send_all(&mut self, values: Range<u64>) {
                send_batches(values, |batch| $send(&mut self.0, batch));
            }
        }

        impl Inlet for Batches<$queue::Receiver<u64>> {
            fn receive(&mut self, count: u64, take: impl FnMut(u64)) {
                receive_batches(count, |batch| $receive(&mut self.0, batch), take);
            }
        }
    };
}
ends!(spsc, send_spsc, receive_spsc);
ends!(mpmc, send_mpmc, receive_mpmc);

/// Fills batches and sends each whole before the next.
#[inline]
fn send_batches(values: Range<u64>, mut send: impl FnMut(&[u64]) -> usize) {
    for first in values.step_by(BATCH) {
        let batch: [u64; BATCH] = std::array::from_fn(|index| first + index as u64);
        let mut rest = &batch[..];
        while !rest.is_empty() {
            let sent = until(|| Some(send(rest)).filter(|&count| count > 0));
            rest = &rest[sent..];
        }
    }
}

/// Receives what is there, a batch at most, until there were `count`.
#[inline]
fn receive_batches(count: u64, mut receive: impl FnMut(&mut [u64]) -> usize, mut take: impl FnMut(u64)) {
    let mut batch = [0; BATCH];
    let mut left = count;
    while left > 0 {
        let room = BATCH.min(left as usize);
        let received = until(|| Some(receive(&mut batch[..room])).filter(|&count| count > 0));
        batch[..received].iter().copied().for_each(&mut take);
        left -= received as u64;
    }
}
