//! shmkit's queues, many messages at a time.

use super::Batches;
use super::shmkit::{received, sent};
use crate::peers::backoff::until;
use crate::peers::flow::{BATCH, Inlet, Outlet};
use shmkit::queue::{mpmc, spsc};
use std::ops::Range;

impl Outlet for Batches<spsc::Sender<u64>> {
    fn send_all(&mut self, values: Range<u64>) {
        send_batches(values, |batch| sent(self.0.try_send_slice(batch)));
    }
}

/// Read in place, whole batches, as rtrb's are.
impl Inlet for Batches<spsc::Receiver<u64>> {
    fn receive(&mut self, count: u64, mut take: impl FnMut(u64)) {
        for _ in 0..count / BATCH as u64 {
            until(|| {
                let lease = received(self.0.try_lease(BATCH)).filter(|lease| lease.len() == BATCH)?;
                lease.iter().for_each(&mut take);
                lease.ack(BATCH);
                Some(())
            });
        }
    }
}

impl Outlet for Batches<mpmc::Sender<u64>> {
    fn send_all(&mut self, values: Range<u64>) {
        send_batches(values, |batch| sent(self.0.try_send_slice(batch)));
    }
}

impl Inlet for Batches<mpmc::Receiver<u64>> {
    fn receive(&mut self, count: u64, take: impl FnMut(u64)) {
        receive_batches(count, |batch| received(self.0.try_recv_slice(batch)), take);
    }
}

/// Fills batches and sends each whole before the next.
#[inline]
fn send_batches(values: Range<u64>, mut send: impl FnMut(&[u64]) -> Option<usize>) {
    for first in values.step_by(BATCH) {
        let batch: [u64; BATCH] = std::array::from_fn(|index| first + index as u64);
        let mut rest = &batch[..];
        while !rest.is_empty() {
            let sent = until(|| send(rest));
            rest = &rest[sent..];
        }
    }
}

/// Receives what is there, a batch at most, until there were `count`.
#[inline]
fn receive_batches(count: u64, mut receive: impl FnMut(&mut [u64]) -> Option<usize>, mut take: impl FnMut(u64)) {
    let mut batch = [0; BATCH];
    let mut left = count;
    while left > 0 {
        let room = BATCH.min(left as usize);
        let received = until(|| receive(&mut batch[..room]));
        batch[..received].iter().copied().for_each(&mut take);
        left -= received as u64;
    }
}
