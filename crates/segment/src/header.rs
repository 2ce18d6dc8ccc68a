//! How every segment starts: what it is, then who is attached.
//!
//! ```text
//! offset  size
//!      0     8  magic            "shmkit\0" and a zero
//!      8     4  version          of this layout
//!     12     4  architecture     byte order and pointer width, as read by the creator
//!     16     4  kind             what object follows, four letters
//!     20     4  peers            number of entries of the peer table
//!     24     8  payload          size and alignment of the object's payload type, 32 bits each
//!     32     8  tag              a name that users may give their payload type
//!     40     8  length           of the whole segment, in bytes
//!     48    16  sides            for each of four roles: was it ever taken, is it now (see role)
//!     64    64  configuration    eight numbers that the object's layout follows from
//!    128     4  ready            stored last by the creator, loaded first by everybody else
//!    136     8  looked           when somebody last looked after dead peers, in milliseconds; a hint
//!    256   128  peer 0           and so on
//! ```
//!
//! Every field is checked before it is used, and the length that follows from kind, configuration and number of peers is
//! computed again and compared with the stored one and with the file's.

use crate::primitive::{AtomicU32, AtomicU64, Ordering};
use crate::{Configuration, Error, Line, Object, Plan, shared};

pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"shmkit\0\0");
/// The version of the layout that this library writes and reads.
pub const LAYOUT_VERSION: u32 = 1;
/// Reads differently on a machine with another byte order or pointer width.
const ARCHITECTURE: u32 = 0x0102_0000 | usize::BITS;
const READY: u32 = 0x5245_4459;

/// More peers than any table may have.
pub(crate) const MAX_PEERS: usize = 4096;

shared! {
    pub(crate) struct Header {
        pub(crate) magic: AtomicU64,
        pub(crate) version: AtomicU32,
        pub(crate) architecture: AtomicU32,
        pub(crate) kind: AtomicU32,
        pub(crate) peers: AtomicU32,
        pub(crate) payload: AtomicU64,
        pub(crate) tag: AtomicU64,
        pub(crate) length: AtomicU64,
        pub(crate) sides: [AtomicU32; 4],
        pub(crate) configuration: [AtomicU64; 8],
        pub(crate) ready: AtomicU32,
        pub(crate) reserved: AtomicU32,
        pub(crate) looked: AtomicU64,
        pub(crate) rest: [AtomicU64; 14],
    }
}

shared! {
    /// One attachment.
    pub(crate) struct PeerEntry {
        /// FREE, LIVE or REAPING (see peers).
        pub(crate) state: AtomicU32,
        /// For people to read; liveness is the lock's to tell.
        pub(crate) pid: AtomicU32,
        /// For people to read.
        pub(crate) started: AtomicU64,
        /// How many handles of each role this peer has.
        pub(crate) roles: [AtomicU32; 4],
        pub(crate) reserved: [AtomicU64; 12],
    }
}

#[cfg(not(loom))]
const _: () = {
    use std::mem::offset_of;
    assert!(offset_of!(Header, payload) == 24 && offset_of!(Header, length) == 40);
    assert!(offset_of!(Header, sides) == 48 && offset_of!(Header, configuration) == 64);
    assert!(offset_of!(Header, ready) == 128 && offset_of!(Header, looked) == 136 && size_of::<Header>() == 256);
    assert!(size_of::<PeerEntry>() == 128 && offset_of!(PeerEntry, roles) == 16);
};

/// Where a segment's parts are.
pub(crate) struct Layout<O: Object> {
    pub(crate) header: crate::At<Header>,
    pub(crate) table: crate::AtSlice<PeerEntry>,
    pub(crate) parts: O::Parts,
    pub(crate) plan: Plan,
}

impl<O: Object> Layout<O> {
    pub(crate) fn new(configuration: &Configuration, peers: usize) -> Result<Self, Error> {
        if peers == 0 || peers > MAX_PEERS {
            return Err(Error::Geometry("a segment has places for 1 to 4096 peers"));
        }
        let mut plan = Plan::new();
        let header = plan.one()?;
        let table = plan.slice(peers)?;
        plan.one::<Line<AtomicU32>>()?; // the object starts on a line of its own
        let parts = O::plan(configuration, &mut plan)?;
        Ok(Self { header, table, parts, plan })
    }
}

fn payload_word<O: Object>() -> u64 {
    let payload = O::payload();
    (payload.size() as u64) << 32 | payload.align() as u64
}

impl Header {
    /// Fills in everything but `ready`. Nobody else sees the segment yet, so nothing needs an order.
    pub(crate) fn write<O: Object>(&self, configuration: Configuration, peers: usize, length: usize) {
        self.magic.store(MAGIC, Ordering::Relaxed);
        self.version.store(LAYOUT_VERSION, Ordering::Relaxed);
        self.architecture.store(ARCHITECTURE, Ordering::Relaxed);
        self.kind.store(O::KIND, Ordering::Relaxed);
        self.peers.store(peers as u32, Ordering::Relaxed);
        self.payload.store(payload_word::<O>(), Ordering::Relaxed);
        self.tag.store(O::TAG, Ordering::Relaxed);
        self.length.store(length as u64, Ordering::Relaxed);
        for (cell, word) in self.configuration.iter().zip(configuration) {
            cell.store(word, Ordering::Relaxed);
        }
    }

    pub(crate) fn publish(&self) {
        // Release: whoever sees READY (the acquire load in `check`) sees the whole header and the object.
        self.ready.store(READY, Ordering::Release);
    }

    /// What the header says, if it is whole, compatible, of an `O`, and agrees with itself and with the file's `length`.
    pub(crate) fn check<O: Object>(&self, length: usize) -> Result<(Configuration, usize), Error> {
        let ready = self.ready.load(Ordering::Acquire);
        let magic = self.magic.load(Ordering::Relaxed);
        if magic != MAGIC {
            return Err(if magic == 0 && ready == 0 { Error::Incomplete } else { Error::NotASegment { found: magic } });
        }
        if ready != READY {
            return Err(Error::Incomplete);
        }
        let compatible = |what, cell: &AtomicU32, expected: u32| {
            let found = cell.load(Ordering::Relaxed);
            let error = Error::Incompatible { what, found: found.into(), expected: expected.into() };
            if found == expected { Ok(()) } else { Err(error) }
        };
        compatible("layout version", &self.version, LAYOUT_VERSION)?;
        compatible("architecture", &self.architecture, ARCHITECTURE)?;
        let same = |what, found: u64, expected: u64| {
            if found == expected { Ok(()) } else { Err(Error::WrongObject { what, found, expected }) }
        };
        same("kind", self.kind.load(Ordering::Relaxed).into(), O::KIND.into())?;
        same("size and alignment of the payload", self.payload.load(Ordering::Relaxed), payload_word::<O>())?;
        same("tag", self.tag.load(Ordering::Relaxed), O::TAG)?;

        let configuration: Configuration = std::array::from_fn(|i| self.configuration[i].load(Ordering::Relaxed));
        let peers = self.peers.load(Ordering::Relaxed) as usize;
        let computed = Layout::<O>::new(&configuration, peers)?.plan.length();
        if computed != length || self.length.load(Ordering::Relaxed) != length as u64 {
            return Err(Error::Corrupt("its length does not follow from its configuration"));
        }
        Ok((configuration, peers))
    }
}
