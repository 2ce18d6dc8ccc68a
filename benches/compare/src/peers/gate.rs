//! Where peers wait for each other before the clock starts: attaching, connecting and starting processes is not what is measured.

use super::backoff::until;
use super::shared::{Shared, Words};
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU32, Ordering};

/// Opens when as many peers have come as there are. Good for threads and processes alike.
#[derive(Clone, Serialize, Deserialize)]
pub struct Gate {
    peers: u32,
    arrived: Shared<Arrived>,
}

#[repr(C)]
struct Arrived(AtomicU32);

// SAFETY: one atomic, for which zero is a value.
unsafe impl Words for Arrived {}

impl Gate {
    /// A gate for that many.
    pub fn new(peers: usize) -> Result<Self> {
        Ok(Self { peers: u32::try_from(peers)?, arrived: Shared::new()? })
    }

    /// Waits for the others.
    pub fn pass(&self) {
        self.arrived.0.fetch_add(1, Ordering::AcqRel);
        until(|| (self.arrived.0.load(Ordering::Acquire) >= self.peers).then_some(()));
    }
}
