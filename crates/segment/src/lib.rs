//! Memory shared by processes, and who is attached to it.
//!
//! A [`Segment`] is a range of memory that holds one [`Object`] (a queue, a semaphore) and knows its **peers**: the attachments that
//! processes have to it. A peer is alive for as long as it holds a kernel file lock. When one dies, at whatever instruction, the
//! first to notice takes back what it owned and wakes everyone: nothing depends on what the dead process still had to do.
//!
//! This crate is the floor that the other `shmkit` crates stand on, and nearly all their `unsafe` code is here. Use it directly
//! to put an object of your own into shared memory:
//!
//! ```
//! use shmkit_segment::primitive::{AtomicU64, Ordering};
//! use shmkit_segment::{At, Configuration, Error, Mapped, Memory, Object, Options, PeerId, Plan, kind};
//!
//! /// A number that all peers add to.
//! struct Counter(Mapped<AtomicU64>);
//!
//! impl Object for Counter {
//!     const KIND: u32 = kind(b"CNTR");
//!     const HARDENED: bool = true; // whatever others write into it is a number
//!     type Parts = At<AtomicU64>;
//!
//!     fn payload() -> std::alloc::Layout { std::alloc::Layout::new::<u64>() }
//!     fn plan(_: &Configuration, plan: &mut Plan) -> Result<At<AtomicU64>, Error> { plan.one() }
//!     fn attach(memory: &Memory, parts: &At<AtomicU64>) -> Self { Self(memory.one(*parts)) }
//!     fn sweep(&self, _dead: PeerId, _reaper: PeerId) {} // an addition is one instruction: nothing is ever half done
//!     fn wake_all(&self) {} // and nobody waits
//! }
//! # impl Counter { fn sum(&self) -> u64 { self.0.load(Ordering::Relaxed) } }
//!
//! let segment = Options::new().anonymous::<Counter>([0; 8])?;
//! let same = segment.join()?; // a second peer, here in the same process
//! segment.object().0.fetch_add(2, Ordering::Relaxed);
//! same.object().0.fetch_add(3, Ordering::Relaxed);
//! assert_eq!(segment.object().sum(), 5);
//! assert_eq!(segment.peer_count(), 2);
//!
//! // All places taken is an error, not a hang.
//! let crowded = Options::new().peers(1).anonymous::<Counter>([0; 8])?;
//! assert!(matches!(crowded.join(), Err(Error::TooManyPeers { limit: 1 })));
//! # Ok::<(), Error>(())
//! ```
//!
//! # Ways in
//!
//! | | for |
//! |---|---|
//! | [`Options::anonymous`] | children, to which handles are passed as arguments; other programs, to which they are [sent](send) over a Unix socket |
//! | [`Options::name`], [`Options::file`] | programs that meet by a [name](Named) |
//! | [`Options::raw`] | an embedder's own memory |
//! | [`Options::private`] | the threads of one process |
//! | the module `portable`, with the feature of that name | programs that meet by a name, where nobody is killed |
//!
//! What is shared with any program but this very one must be an object that withstands whatever they write:
//! [`Object::HARDENED`].
//!
//! # Guarantees
//!
//! - Memory is allocated in full at creation (or on request, what is [spare](Plan::spare)): a full disk or memory limit is an [`Error`] there and never a signal later.
//! - A descriptor is checked before it is mapped, a header before it is believed; nothing read from shared memory is used as a pointer
//!   or an unchecked length.
//! - Nothing is left behind: anonymous segments go with their last process, however it ends. A named one is whole or not there, whenever its
//!   creator is killed, and is kept until somebody [removes](remove) it.
//! - The end of a process is seen, recovered from, and told to whoever [waits for it](Segment::wait_until_gone). A stopped process is not dead.
//! - No threads, no signal handlers, and no files but those that you name.
//!
//! # Limits
//!
//! - Linux 5.3 or later, 64-bit, with `/proc` mounted.
//! - Peers are trusted as far as integrity and progress go: a malicious one can write nonsense, which others meet as wrong values or
//!   [`Error::Corrupt`], but not as undefined behaviour.
//! - Whoever may open a named segment can truncate it, which ends those who are attached by a signal. Anonymous segments are sealed against it.
//! - A child made by `fork` inherits no attachment: its handles give errors, and touch nothing shared. A bare `clone` system call is not noticed.
//! - A memory file is limited by the machine's memory and by memory cgroups: where those kill instead of refusing (the OOM killer), creation cannot
//!   make an error of it. `/dev/shm` has a limit of its own, which is an error.

#![deny(unsafe_code)]

mod bytes;
mod cells;
mod copy;
pub mod crash;
mod error;
mod fork;
#[cfg(not(loom))]
pub use fork::forks;
mod header;
mod host;
#[cfg(all(test, not(loom)))]
mod layout_page;
mod life;
mod memory;
mod object;
mod options;
mod peers;
mod plain;
mod plan;
#[cfg(all(feature = "portable", not(loom)))]
pub mod portable;
pub mod primitive;
mod role;
mod segment;
mod sys;
mod tally;
pub mod transfer;

// Models have private segments only.
#[cfg(not(loom))]
mod listing;
#[cfg(not(loom))]
mod named;
#[cfg(not(loom))]
mod raw;
#[cfg(not(loom))]
mod socket;

pub use bytes::Bytes;
#[doc(hidden)]
pub use cells::checked_default;
pub use cells::{Line, Shared};
pub use copy::copy;
pub use error::Error;
pub use header::LAYOUT_VERSION;
#[cfg(not(loom))]
pub use listing::{Listing, inspect, list, remove, remove_stale};
pub use memory::{Blocks, Mapped, MappedSlice, Memory, Ring};
#[cfg(not(loom))]
pub use named::{Named, State};
pub use object::{Configuration, Object, kind};
pub use options::{DEFAULT_PEERS, Options};
pub use peers::{Peer, PeerId};
pub use plain::{Plain, PlainCell};
pub use plan::{At, AtBlocks, AtBytes, AtRing, AtSlice, Plan};
#[cfg(not(loom))]
pub use raw::{Liveness, Raw};
pub use role::{ROLES, Role, Side, Sides};
pub use segment::Segment;
#[cfg(not(loom))]
pub use socket::{Credentials, DeadlineSocket, credentials, recv, recv_deadline, send};
