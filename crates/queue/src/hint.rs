//! What a handle remembers for itself, so that it need not look at shared memory.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number in a handle, such as where it last was. Threads that share the handle share it; it may come from any of them.
///
/// Not in shared memory, and no part of a protocol: not an atomic of models, therefore. Release and acquire, because who starts from a position that another thread has come to
/// has to see what lies before it as that thread did.
#[derive(Debug, Default)]
pub(crate) struct Hint(AtomicU64);

impl Hint {
    #[inline(always)]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    #[inline(always)]
    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Release);
    }
}
