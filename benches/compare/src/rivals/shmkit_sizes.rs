//! shmkit's queues with messages of any size, copied in and out as a whole.

use super::shmkit::{received, sent};
use crate::peers::backoff::until;
use crate::peers::flow::{Inlet, Outlet};
use serde::{Deserialize, Serialize};
use shmkit::queue::{mpmc, spsc};
use std::ops::Range;

/// Carries each value at both ends of an array, so that half a message would be noticed.
#[derive(Serialize, Deserialize)]
pub struct Sized<T>(pub T);

macro_rules! ends {
    ($queue:ident) => {
        impl<const N: usize> Outlet for Sized<$queue::Sender<[u8; N]>> {
            fn send_all(&mut self, values: Range<u64>) {
                let mut message = [0; N];
                for value in values {
                    message[..8].copy_from_slice(&value.to_ne_bytes());
                    message[N - 8..].copy_from_slice(&value.to_ne_bytes());
                    until(|| sent(self.0.try_send(message)));
                }
            }
        }

        impl<const N: usize> Inlet for Sized<$queue::Receiver<[u8; N]>> {
            fn receive(&mut self, count: u64, mut take: impl FnMut(u64)) {
                for _ in 0..count {
                    let message = until(|| received(self.0.try_recv()));
                    assert!(message[..8] == message[N - 8..], "half a message came");
                    take(u64::from_ne_bytes(std::array::from_fn(|index| message[index])));
                }
            }
        }
    };
}
ends!(spsc);
ends!(mpmc);
