//! Time and interruptions: what a wait must not depend on. Signals that interrupt it, clocks that differ from one process to another, and a clock that somebody sets.
//!
//! Deadlines lie on the monotonic clock of the process that has them, and nothing of them is written into shared memory, so no other's clock matters. What is written there is
//! when somebody last looked after the peers, as a hint; `apart.rs` has processes for which that lies an hour ahead or behind. That no sleep depends on the
//! real-time clock is seen from outside, by what a process asks the kernel for: `calls.rs`.
#![cfg(not(any(loom, feature = "portable")))]
#![allow(unsafe_code, reason = "signals, namespaces and tracing are system calls")]

mod apart;
#[path = "../asleep/mod.rs"]
mod asleep;
#[cfg(target_env = "gnu")]
mod calls;
#[path = "../company/mod.rs"]
mod company;
#[path = "../../../segment/tests/harness/mod.rs"]
mod harness;
mod signals;
