//! What every contender runs on, so that only the queue between the peers differs.
//!
//! Peers are threads of this process or processes of their own. They meet at a [`Gate`](gate::Gate), move the same values by the same
//! loop, check what arrives, and say on the machine's common clock when they began and when they were done.

pub mod async_trip;
pub mod backoff;
pub mod flow;
pub mod gate;
pub mod handover;
pub mod pin;
pub mod processes;
pub mod shared;
pub mod stream;
pub mod trip;
pub mod turns;

/// Nanoseconds on the monotonic clock, which is the same in all processes.
pub fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    // The clock counts from the start of the machine, so neither part is negative.
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
