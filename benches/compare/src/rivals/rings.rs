//! `rtrb` and `ringbuf`: rings for two threads, which never wait themselves, and so are polled.

use super::Batches;
use crate::peers::backoff::until;
use crate::peers::flow::{BATCH, Inlet, Outlet};
use ringbuf::traits::{Consumer as _, Producer as _};
use ringbuf::{HeapCons, HeapProd};
use std::ops::Range;

impl Outlet for rtrb::Producer<u64> {
    fn send_all(&mut self, values: Range<u64>) {
        for value in values {
            until(|| self.push(value).ok());
        }
    }
}

impl Inlet for rtrb::Consumer<u64> {
    fn receive(&mut self, count: u64, mut take: impl FnMut(u64)) {
        for _ in 0..count {
            take(until(|| self.pop().ok()));
        }
    }
}

impl Outlet for HeapProd<u64> {
    fn send_all(&mut self, values: Range<u64>) {
        for value in values {
            until(|| self.try_push(value).ok());
        }
    }
}

impl Inlet for HeapCons<u64> {
    fn receive(&mut self, count: u64, mut take: impl FnMut(u64)) {
        for _ in 0..count {
            take(until(|| self.try_pop()));
        }
    }
}

/// Of the ways there are the fastest: whole slices are copied in, and read in place.
impl Outlet for Batches<rtrb::Producer<u64>> {
    fn send_all(&mut self, values: Range<u64>) {
        for first in values.step_by(BATCH) {
            let batch: [u64; BATCH] = std::array::from_fn(|index| first + index as u64);
            until(|| self.0.push_entire_slice(&batch).ok());
        }
    }
}

impl Inlet for Batches<rtrb::Consumer<u64>> {
    fn receive(&mut self, count: u64, mut take: impl FnMut(u64)) {
        for _ in 0..count / BATCH as u64 {
            until(|| {
                let chunk = self.0.read_chunk(BATCH).ok()?;
                let (one, two) = chunk.as_slices();
                one.iter().copied().for_each(&mut take);
                two.iter().copied().for_each(&mut take);
                chunk.commit_all();
                Some(())
            });
        }
    }
}
