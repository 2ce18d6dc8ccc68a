//! A number that a lock or a permit guards without knowing of it, on cache lines of its own.

use crate::peers::shared::{Shared, Words};
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering};

/// On a line of its own.
#[repr(C, align(128))]
pub struct Number(AtomicU64);

// SAFETY: an atomic, for which zero is a value, aligned to 128 bytes.
unsafe impl Words for Number {}

impl Number {
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// What a holder of the lock does, with two accesses that nobody may come between: adds one, unless the number has reached `limit`.
#[inline(always)]
pub fn add_one(number: &Number, limit: u64) -> bool {
    let value = number.value();
    if value < limit {
        number.set(value + 1);
    }
    value < limit
}

/// A lock, and a number that it guards.
#[derive(Clone, Serialize, Deserialize)]
pub struct Beside<L> {
    pub lock: L,
    pub number: Shared<Number>,
}

impl<L> Beside<L> {
    /// Zero, guarded by `lock`.
    pub fn new(lock: L) -> Result<Self> {
        Ok(Self { lock, number: Shared::new()? })
    }
}
