//! How every segment starts: what it is, then who is attached.
//!
//! ```text
//! offset  size
//!      0     8  magic            "shmkit\0" and a zero
//!      8     4  version          of this layout
//!     12     4  architecture     byte order and pointer width, as read by the creator; bit 15, it has the feature `portable`
//!     16     4  kind             what object follows, four letters
//!     20     4  peers            number of entries of the peer table
//!     24     8  payload          size and alignment of the object's payload type, 32 bits each
//!     32     8  tag              a name that users may give their payload type
//!     40     8  length           of the whole segment, in bytes
//!     48     8  boot             of the machine, in which it was created; 0 if its creator could not learn it
//!     56     8  created          in milliseconds since 1970, for people to read
//!     64    64  configuration    eight numbers that the object's layout follows from
//!    128     4  ready            stored last by the creator
//!    132     4  advice           how to map it: bit 0, leave it out of core dumps; bit 1, huge pages are welcome
//!    136     8  looked           when somebody last looked after dead peers, in milliseconds; a hint
//!    144    16  sides            for each of four roles: was it ever taken, is it now (see role)
//!    256   128  peer 0           and so on
//! ```
//!
//! The first 128 bytes never change once the segment is ready: its [`Identity`]. They are copied out and every field is checked
//! before it is used, and the length that follows from kind, configuration and number of peers is computed again and compared
//! with the stored one and with the file's. `docs/layout.md` draws it; a test holds that page to this file.

use crate::primitive::{AtomicU32, AtomicU64, Ordering};
use crate::{Configuration, Error, Line, Object, PlainCell, Plan, shared};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"shmkit\0\0");
/// The version of the layout that this library writes and reads.
pub const LAYOUT_VERSION: u32 = 1;
/// Reads differently on a machine with another byte order or pointer width, and in a program that wakes others in another way.
const ARCHITECTURE: u32 = 0x0102_0000 | usize::BITS | if cfg!(feature = "portable") { 0x8000 } else { 0 };
pub(crate) const READY: u32 = 0x5245_4459;

/// More peers than any table may have.
pub(crate) const MAX_PEERS: usize = 4096;
/// Bytes of a peer's name.
pub(crate) const NAME: usize = 32;

/// [`Header::advice`]: leave the segment out of core dumps.
pub(crate) const DONT_DUMP: u32 = 1;
/// [`Header::advice`]: back the segment by huge pages where that is possible.
pub(crate) const HUGE_PAGES: u32 = 2;

/// What a segment is, for as long as it exists.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Identity {
    pub(crate) magic: u64,
    pub(crate) version: u32,
    pub(crate) architecture: u32,
    pub(crate) kind: u32,
    pub(crate) peers: u32,
    pub(crate) payload: u64,
    pub(crate) tag: u64,
    pub(crate) length: u64,
    pub(crate) boot: u64,
    pub(crate) created: u64,
    pub(crate) configuration: Configuration,
}

/// The part of a header that is read before anything is mapped.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Start {
    pub(crate) identity: Identity,
    pub(crate) ready: u32,
    pub(crate) advice: u32,
}

shared! {
    pub(crate) struct Header {
        pub(crate) identity: PlainCell<Identity>,
        pub(crate) ready: AtomicU32,
        pub(crate) advice: AtomicU32,
        pub(crate) looked: AtomicU64,
        pub(crate) sides: [AtomicU32; 4],
        pub(crate) reserved: [AtomicU64; 12],
    }
}

shared! {
    /// One attachment.
    pub(crate) struct PeerEntry {
        /// FREE, LIVE or REAPING (see peers).
        pub(crate) state: AtomicU32,
        /// How many peers have had this entry.
        pub(crate) generation: AtomicU32,
        /// How many handles of each role this peer has.
        pub(crate) roles: [AtomicU32; 4],
        pub(crate) signature: PlainCell<Signature>,
        pub(crate) reserved: [AtomicU64; 7],
    }
}

/// Who a peer says it is. For people to read: liveness is the lock's to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Signature {
    /// 0 until the process has come up.
    pub(crate) pid: u32,
    /// The pid namespace that `pid` is a number of, by its inode; 0 if unknown.
    pub(crate) namespace: u32,
    /// When the process started, in clock ticks since boot.
    pub(crate) started: u64,
    /// UTF-8, ends at the first zero.
    pub(crate) name: [u8; NAME],
}

#[cfg(not(loom))]
const _: () = {
    use std::mem::offset_of;
    assert!(offset_of!(Identity, payload) == 24 && offset_of!(Identity, length) == 40);
    assert!(offset_of!(Identity, boot) == 48 && offset_of!(Identity, created) == 56);
    assert!(offset_of!(Identity, configuration) == 64 && size_of::<Identity>() == 128);
    assert!(offset_of!(Start, ready) == 128 && offset_of!(Header, ready) == 128);
    assert!(offset_of!(Start, advice) == 132 && offset_of!(Header, advice) == 132);
    assert!(offset_of!(Header, looked) == 136 && offset_of!(Header, sides) == 144 && size_of::<Header>() == 256);
    assert!(offset_of!(PeerEntry, generation) == 4 && offset_of!(PeerEntry, roles) == 8);
    assert!(offset_of!(PeerEntry, signature) == 24 && size_of::<PeerEntry>() == 128);
    assert!(offset_of!(Signature, started) == 8 && offset_of!(Signature, name) == 16 && size_of::<Signature>() == 48);
};

/// Where a segment's parts are.
pub(crate) struct Layout<O: Object> {
    pub(crate) header: crate::At<Header>,
    pub(crate) table: crate::AtSlice<PeerEntry>,
    pub(crate) parts: O::Parts,
    pub(crate) plan: Plan,
}

impl<O: Object> Clone for Layout<O> {
    fn clone(&self) -> Self {
        Self { header: self.header, table: self.table, parts: self.parts, plan: self.plan.clone() }
    }
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
    pub(crate) fn write<O: Object>(&self, configuration: Configuration, peers: usize, length: usize, advice: u32) {
        self.identity.write(Identity {
            magic: MAGIC,
            version: LAYOUT_VERSION,
            architecture: ARCHITECTURE,
            kind: O::KIND,
            peers: peers as u32,
            payload: payload_word::<O>(),
            tag: O::TAG,
            length: length as u64,
            boot: crate::host::boot(),
            created: crate::host::milliseconds_since_1970(),
            configuration,
        });
        self.advice.store(advice, Ordering::Relaxed);
    }

    pub(crate) fn publish(&self) {
        // Release: whoever sees READY (the acquire load in `start`) sees the whole header and the object.
        self.ready.store(READY, Ordering::Release);
    }

    /// The start of the header, copied out.
    pub(crate) fn start(&self) -> Start {
        let ready = self.ready.load(Ordering::Acquire);
        Start { identity: self.identity.read(), ready, advice: self.advice.load(Ordering::Relaxed) }
    }
}

impl Start {
    /// Whether its creator died before the segment was complete (or it never was a segment).
    pub(crate) fn was_never_ready(&self) -> bool {
        (self.identity.magic == MAGIC || self.identity.magic == 0) && self.ready == 0
    }

    /// What the header says, if it is whole, of this library's version and this machine's present boot.
    pub(crate) fn check_origin(&self) -> Result<Identity, Error> {
        let identity = self.identity;
        if self.was_never_ready() {
            return Err(Error::Incomplete);
        }
        if identity.magic != MAGIC {
            return Err(Error::NotASegment { found: identity.magic });
        }
        if self.ready != READY {
            return Err(Error::Corrupt("its mark of completeness is none"));
        }
        let compatible = |what, found: u32, expected: u32| {
            let error = Error::Incompatible { what, found: found.into(), expected: expected.into() };
            if found == expected { Ok(()) } else { Err(error) }
        };
        compatible("layout version", identity.version, LAYOUT_VERSION)?;
        compatible("architecture", identity.architecture, ARCHITECTURE)?;
        // One that is unknown (0) is no other: what is whole must not be replaced because somebody could not learn what boot this is.
        let boot = crate::host::boot();
        if identity.boot != boot && identity.boot != 0 && boot != 0 {
            return Err(Error::EarlierBoot);
        }
        Ok(identity)
    }

    /// The layout of the `O` that the segment holds, if everything about it is right and agrees with the `length` of its memory, which
    /// is allotted in multiples of `granule` bytes.
    pub(crate) fn check<O: Object>(&self, length: usize, granule: usize) -> Result<(Layout<O>, Configuration), Error> {
        let identity = self.check_origin()?;
        let same = |what, found: u64, expected: u64| {
            if found == expected { Ok(()) } else { Err(Error::WrongObject { what, found, expected }) }
        };
        same("kind", identity.kind.into(), O::KIND.into())?;
        same("size and alignment of the payload", identity.payload, payload_word::<O>())?;
        same("tag", identity.tag, O::TAG)?;

        let layout =
            Layout::<O>::new(&identity.configuration, identity.peers as usize).map_err(|error| match error {
                Error::Geometry(what) => Error::Corrupt(what),
                other => other,
            })?;
        if layout.plan.length().checked_next_multiple_of(granule) != Some(length) || identity.length != length as u64 {
            return Err(Error::Corrupt("its length does not follow from its configuration"));
        }
        Ok((layout, identity.configuration))
    }
}
