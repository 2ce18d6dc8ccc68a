//! Dmitry Vyukov's bounded queue for many senders and receivers, bare, in shared memory between processes.
//!
//! It shows what safety costs: a sender that is killed between its claim of a position and its store of the turn blocks that
//! position, and with it the queue, for ever. Nobody sleeps and nobody is told that a peer has gone.

use crate::peers::backoff::until;
use crate::peers::flow::{CAPACITY, Inlet, Outlet};
use crate::peers::shared::{Shared, Words};
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

const MASK: u64 = CAPACITY as u64 - 1;
const _: () = assert!(CAPACITY.is_power_of_two());

/// Processors fetch lines in pairs.
#[repr(C, align(128))]
struct Line(AtomicU64);

#[repr(C)]
struct Slot {
    /// The position whose sender may write this slot; one more, when its receiver may read it.
    turn: AtomicU64,
    value: AtomicU64,
}

#[repr(C)]
struct Ring {
    tail: Line,
    head: Line,
    slots: [Slot; CAPACITY],
}

// SAFETY: atomics only, for which zeros are values, aligned to 128 bytes.
unsafe impl Words for Ring {}

/// Either end.
#[derive(Clone, Serialize, Deserialize)]
pub struct Vyukov(Shared<Ring>);

impl Vyukov {
    /// An empty queue.
    pub fn new() -> Result<Self> {
        let ring = Shared::<Ring>::new()?;
        for (slot, position) in ring.slots.iter().zip(0..) {
            // Relaxed: others come to it by way of the kernel.
            slot.turn.store(position, Ordering::Relaxed);
        }
        Ok(Self(ring))
    }

    #[inline]
    fn try_push(&self, value: u64) -> Option<()> {
        let ring = &*self.0;
        let mut position = ring.tail.0.load(Ordering::Relaxed);
        loop {
            let slot = &ring.slots[(position & MASK) as usize];
            // Acquire pairs with the store of the receiver that freed the slot.
            let ahead = slot.turn.load(Ordering::Acquire).wrapping_sub(position).cast_signed();
            if ahead < 0 {
                return None;
            }
            if ahead > 0 {
                position = ring.tail.0.load(Ordering::Relaxed);
                continue;
            }
            match ring.tail.0.compare_exchange_weak(position, position + 1, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    slot.value.store(value, Ordering::Relaxed);
                    slot.turn.store(position + 1, Ordering::Release);
                    return Some(());
                }
                Err(found) => position = found,
            }
        }
    }

    #[inline]
    fn try_pop(&self) -> Option<u64> {
        let ring = &*self.0;
        let mut position = ring.head.0.load(Ordering::Relaxed);
        loop {
            let slot = &ring.slots[(position & MASK) as usize];
            // Acquire pairs with the store of the sender that filled the slot.
            let ahead = slot.turn.load(Ordering::Acquire).wrapping_sub(position + 1).cast_signed();
            if ahead < 0 {
                return None;
            }
            if ahead > 0 {
                position = ring.head.0.load(Ordering::Relaxed);
                continue;
            }
            match ring.head.0.compare_exchange_weak(position, position + 1, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    let value = slot.value.load(Ordering::Relaxed);
                    slot.turn.store(position + CAPACITY as u64, Ordering::Release);
                    return Some(value);
                }
                Err(found) => position = found,
            }
        }
    }
}

impl Outlet for Vyukov {
    fn send_all(&mut self, values: Range<u64>) {
        for value in values {
            until(|| self.try_push(value));
        }
    }
}

impl Inlet for Vyukov {
    fn receive(&mut self, count: u64, mut take: impl FnMut(u64)) {
        for _ in 0..count {
            take(until(|| self.try_pop()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CAPACITY, Vyukov};

    #[test]
    fn the_ring_is_full_at_its_capacity_and_gives_back_in_order_lap_after_lap() {
        let ring = Vyukov::new().unwrap();
        for lap in 0..3 {
            let values = || (0..CAPACITY as u64).map(|value| value + lap);
            assert!(values().all(|value| ring.try_push(value).is_some()));
            assert_eq!(ring.try_push(0), None);
            assert!(values().eq(std::iter::from_fn(|| ring.try_pop())));
        }
    }
}
