//! Queues and channels for many threads: crossbeam's array, which is polled, and the channels, whose users call what blocks.

use crate::peers::backoff::until;
use crate::peers::flow::{Inlet, Outlet};
use crossbeam::channel as crossbeam_channel;
use crossbeam::queue::ArrayQueue;
use std::ops::Range;
use std::sync::Arc;

impl Outlet for Arc<ArrayQueue<u64>> {
    fn send_all(&mut self, values: Range<u64>) {
        for value in values {
            until(|| self.push(value).ok());
        }
    }
}

impl Inlet for Arc<ArrayQueue<u64>> {
    fn receive(&mut self, count: u64, mut take: impl FnMut(u64)) {
        for _ in 0..count {
            take(until(|| self.pop()));
        }
    }
}

macro_rules! channel {
    ($channel:ident) => {
        impl Outlet for $channel::Sender<u64> {
            fn send_all(&mut self, values: Range<u64>) {
                for value in values {
                    self.send(value).expect("the receivers live");
                }
            }
        }

        impl Inlet for $channel::Receiver<u64> {
            fn receive(&mut self, count: u64, mut take: impl FnMut(u64)) {
                for _ in 0..count {
                    take(self.recv().expect("the senders live"));
                }
            }
        }
    };
}
channel!(crossbeam_channel);
channel!(flume);
channel!(kanal);
