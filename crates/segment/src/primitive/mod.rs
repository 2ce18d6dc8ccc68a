//! The one place that chooses where atomics come from.
//!
//! | build                | atomics                                                          |
//! |----------------------|------------------------------------------------------------------|
//! | default              | `std`'s own types, re-exported: nothing is wrapped, nothing costs |
//! | `--cfg crash_points` | the same bytes, every access announced to [`crash`](crate::crash) |
//! | `--cfg loom`         | loom's, so that the code that ships is the code that is explored  |
//!
//! They are `cfg`s and not features: a feature that one crate of a build turns on is on for all of them.
//!
//! Everything in this workspace that touches shared memory goes through the types named here.

#[cfg(not(any(loom, crash_points)))]
pub use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, fence};

#[cfg(all(crash_points, not(loom)))]
mod instrumented;
#[cfg(all(crash_points, not(loom)))]
pub use instrumented::{AtomicU16, AtomicU32, AtomicU64, fence};

#[cfg(loom)]
mod modelled;
#[cfg(loom)]
pub use modelled::{AtomicU16, AtomicU32, AtomicU64, fence};

pub use std::sync::atomic::Ordering;

/// Tells the processor, or the model checker, that this thread waits for another one.
#[inline]
pub fn spin_loop() {
    #[cfg(not(loom))]
    std::hint::spin_loop();
    #[cfg(loom)]
    loom::thread::yield_now();
}

/// Stands between a store that others may be waiting for and the loads that tell whether somebody waits.
///
/// It keeps the compiler from exchanging them. The processor may do the loads before the store is visible, and whoever waits allows it the time
/// (see `event_count.rs` in `shmkit-sync`). Models know no time: there it is a fence.
#[inline]
pub fn written() {
    #[cfg(not(loom))]
    std::sync::atomic::compiler_fence(Ordering::SeqCst);
    #[cfg(loom)]
    fence(Ordering::SeqCst);
}

/// Stands between a sequentially consistent read-modify-write and a sequentially consistent load of something else, which nothing may exchange.
///
/// Nothing does: it is what these orderings say. But models know sequential consistency of fences only, so there it is one.
#[inline]
pub fn exchanged() {
    #[cfg(loom)]
    fence(Ordering::SeqCst);
}

/// The atomic as the kernel sees it, for the one module that sleeps on such words.
#[cfg(not(loom))]
#[inline]
#[must_use]
pub fn futex_word(word: &AtomicU32) -> &std::sync::atomic::AtomicU32 {
    #[cfg(not(crash_points))]
    return word;
    #[cfg(crash_points)]
    word.bare()
}
