//! A segment, this process's attachment to it, and what happens when a peer dies.
//!
//! # Peers
//!
//! A **peer** is one attachment. It has an entry in the segment's table, whose index is its [`PeerId`], and holds that
//! entry's lock (see life) for as long as it lives.
//!
//! ```text
//!            lock taken, then                      byte locked by another peer
//!   FREE ─────────────────────▶ LIVE ───────────────────────────────────────────▶ REAPING
//!    ▲                           │ leaves: sweeps itself                              │ swept, all woken
//!    └───────────────────────────┴────────────────────────────────────────────────────┘
//! ```
//!
//! To **reap** is to try the lock of an entry that is not FREE. Success proves that its peer is dead, gives the exclusive
//! right to recover, and falls by itself if the reaper dies as well; the next one finds LIVE or REAPING and starts again,
//! which sweeps allow. Then: sweep what the dead one owned; take its roles back and close those that nobody has any
//! more; wake everybody, *whether or not* anything was found, as the dead one may have owed a wake; FREE; unlock. An entry
//! is not FREE before all that is done, so a new peer never inherits words that name its predecessor.
//!
//! Who reaps: whoever has slept in vain for a while, whoever finds the table full, and supervisors. No thread, no timeout
//! and no heartbeat is involved: a stopped process is alive.
//!
//! Two threads that share an attachment share its lock holder, so the kernel would let both in: they take turns by a mutex.

use crate::header::{Header, Layout, PeerEntry};
use crate::life::Life;
use crate::primitive::Ordering;
use crate::role::Role;
use crate::{Configuration, Error, Mapped, MappedSlice, Memory, Object};
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

/// Names a peer within its segment. Words in shared memory carry it to say who owns something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(pub(crate) u16);

impl PeerId {
    /// The peer that a word in shared memory names, if there is one: such a number proves nothing.
    #[inline]
    #[must_use]
    pub fn from_number(number: u16) -> Self {
        Self(number)
    }

    /// The id as a number below the segment's number of peers.
    #[inline]
    #[must_use]
    pub fn number(self) -> u16 {
        self.0
    }
}

pub(crate) const FREE: u32 = 0;
pub(crate) const LIVE: u32 = 1;
const REAPING: u32 = 2;

/// How many processes can be attached to a segment at a time unless [`Options::peers`] says otherwise.
/// (Models have three: looking through a table is a branch of the exploration for each entry.)
pub const DEFAULT_PEERS: usize = if cfg!(loom) { 3 } else { 64 };

/// How to create a segment.
#[derive(Clone, Debug)]
pub struct Options {
    peers: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { peers: DEFAULT_PEERS }
    }
}

impl Options {
    /// The defaults: 64 peers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many processes can be attached at a time, 1 to 4096. Each costs 128 bytes.
    #[must_use]
    pub fn peers(mut self, peers: usize) -> Self {
        self.peers = peers;
        self
    }

    /// Creates a segment of this process alone, to be used between its threads.
    ///
    /// # Errors
    /// [`Error::Geometry`] if `configuration` makes no sense; otherwise what the kernel says about memory.
    pub fn private<O: Object>(self, configuration: Configuration) -> Result<Arc<Segment<O>>, Error> {
        let layout = Layout::<O>::new(&configuration, self.peers)?;
        let memory = Memory::private(&layout.plan)?;
        Segment::found(&memory, &layout, configuration, self.peers, Life::table(self.peers), None)
    }

    /// Creates a segment without a name, to be shared with child processes: memory that is allocated in full now, can
    /// neither shrink nor grow, and is gone with the last process that has it.
    ///
    /// # Errors
    /// [`Error::NoSpace`] if the memory cannot be had, [`Error::Geometry`] if `configuration` makes no sense, and
    /// [`Error::System`] when a limit is reached (two descriptors are needed).
    pub fn anonymous<O: Object>(self, configuration: Configuration) -> Result<Arc<Segment<O>>, Error> {
        let layout = Layout::<O>::new(&configuration, self.peers)?;
        let data = crate::sys::sealed_memory(layout.plan.length())?;
        let memory = Memory::shared(&data, layout.plan.length())?;
        let life = Life::Lock(crate::sys::reopen(&data)?);
        Segment::found(&memory, &layout, configuration, self.peers, life, Some(data))
    }
}

/// Memory that holds one object `O`, and this process's attachment to it: one peer.
///
/// Handles keep it by an `Arc`. When the last one goes, the peer leaves: it takes back what it still owned, closes the
/// roles it was the last to have, and wakes whoever waits for that.
pub struct Segment<O: Object> {
    object: O,
    memory: Memory,
    pub(crate) header: Mapped<Header>,
    pub(crate) table: MappedSlice<PeerEntry>,
    life: Life,
    data: Option<OwnedFd>,
    me: PeerId,
    reaping: Mutex<()>,
    /// Set once this attachment no longer counts; from then on nothing shared is touched in its name.
    defunct: AtomicBool,
}

impl<O: Object> Segment<O> {
    /// Writes the header of a new segment and becomes its first peer.
    fn found(
        memory: &Memory,
        layout: &Layout<O>,
        configuration: Configuration,
        peers: usize,
        life: Life,
        data: Option<OwnedFd>,
    ) -> Result<Arc<Self>, Error> {
        let header = memory.one(layout.header);
        header.write::<O>(configuration, peers, layout.plan.length());
        let table = memory.slice(layout.table);
        let me = enter(&table, &life)?.ok_or(Error::TooManyPeers { limit: peers })?;
        header.publish();
        Ok(Self::new(memory, layout, life, data, me))
    }

    fn new(memory: &Memory, layout: &Layout<O>, life: Life, data: Option<OwnedFd>, me: PeerId) -> Arc<Self> {
        let segment = Self {
            object: O::attach(memory, &layout.parts),
            memory: memory.clone(),
            header: memory.one(layout.header),
            table: memory.slice(layout.table),
            life,
            data,
            me,
            reaping: Mutex::new(()),
            defunct: AtomicBool::new(false),
        };
        let entry = &segment.table[usize::from(me.0)];
        entry.pid.store(std::process::id(), Ordering::Relaxed);
        entry.started.store(crate::sys::start_time(), Ordering::Relaxed);
        Arc::new(segment)
    }

    /// Attaches to a received segment as the peer that its sender has already entered, whose lock `life` holds.
    pub(crate) fn adopt(data: OwnedFd, life: OwnedFd, me: u16) -> Result<Arc<Self>, Error> {
        let (memory, layout) = open::<O>(&data)?;
        let table = memory.slice(layout.table);
        if table.get(usize::from(me)).is_none_or(|entry| entry.state.load(Ordering::Acquire) != LIVE) {
            return Err(Error::Corrupt("the place that was kept for this process is not its own"));
        }
        Ok(Self::new(&memory, &layout, Life::Lock(life), Some(data), PeerId(me)))
    }

    /// Checks that `data` is a whole, sealed segment that holds an `O`, without becoming a peer.
    ///
    /// # Errors
    /// Each way in which it is not has an [`Error`] of its own.
    pub fn verify(data: &impl std::os::fd::AsFd) -> Result<Configuration, Error> {
        let length = crate::sys::sealed_length(data.as_fd())?;
        let header = read_header(&data.as_fd(), length)?;
        header.check::<O>(length).map(|(configuration, _)| configuration)
    }

    /// A further, independent peer of this process in the same segment.
    ///
    /// # Errors
    /// [`Error::TooManyPeers`] if all places are taken by living peers; [`Error::System`] when out of descriptors.
    pub fn join(&self) -> Result<Arc<Self>, Error> {
        if let Some(data) = &self.data {
            let data = data.try_clone().map_err(|cause| Error::system("duplicate a descriptor", OPEN_FILES, cause))?;
            let (memory, layout) = open::<O>(&data)?;
            let life = Life::Lock(crate::sys::reopen(&data)?);
            let me = self.admit(&life)?;
            return Ok(Self::new(&memory, &layout, life, Some(data), me));
        }
        let Life::Table(table, _) = &self.life else {
            return Err(Error::NotTransferable("only private segments come without a descriptor"));
        };
        let life = Life::holder(Arc::clone(table));
        let (configuration, peers) = self.header.check::<O>(self.header.length.load(Ordering::Relaxed) as usize)?;
        let layout = Layout::<O>::new(&configuration, peers)?;
        let me = self.admit(&life)?;
        Ok(Self::new(&self.memory, &layout, life, None, me))
    }

    /// Enters a new peer, whose lock `life` will hold; reaps first if the table is full.
    fn admit(&self, life: &Life) -> Result<PeerId, Error> {
        if let Some(peer) = enter(&self.table, life)? {
            return Ok(peer);
        }
        self.reap_dead();
        enter(&self.table, life)?.ok_or(Error::TooManyPeers { limit: self.table.len() })
    }

    /// Enters a peer for a process that may not exist yet; it is alive for as long as the second descriptor is open anywhere.
    pub(crate) fn invite(&self) -> Result<(PeerId, OwnedFd, OwnedFd), Error> {
        let data = self.data.as_ref().ok_or(Error::NotTransferable(
            "a private segment cannot be handed to another process: create it as an anonymous one",
        ))?;
        let life = Life::Lock(crate::sys::reopen(data)?);
        let data = data.try_clone().map_err(|cause| Error::system("duplicate a descriptor", OPEN_FILES, cause))?;
        let peer = self.admit(&life)?;
        let Life::Lock(life) = life else { unreachable!("made above") };
        Ok((peer, data, life))
    }

    /// The object in the segment.
    #[inline]
    pub fn object(&self) -> &O {
        &self.object
    }

    /// This attachment's name within the segment.
    #[inline]
    pub fn me(&self) -> PeerId {
        self.me
    }

    /// The process id that `peer` wrote down, for people to read; 0 if it has not come up yet.
    pub fn pid(&self, peer: PeerId) -> u32 {
        self.table.get(usize::from(peer.0)).map_or(0, |entry| entry.pid.load(Ordering::Relaxed))
    }

    /// How many peers are attached, dead ones that nobody has reaped yet included.
    pub fn peers(&self) -> usize {
        self.table.iter().filter(|entry| entry.state.load(Ordering::Acquire) != FREE).count()
    }

    /// Recovers from the death of every peer that has died, and says how many there were.
    ///
    /// Costs about a microsecond and one system call for each living peer.
    pub fn reap_dead(&self) -> usize {
        (0..self.table.len() as u16).filter(|&slot| self.reap(PeerId(slot))).count()
    }

    /// [`reap_dead`](Self::reap_dead), unless somebody has just done so: for those who wait and look up now and then.
    ///
    /// However many wait, the peers are looked after about a hundred times a second and not that often by each. When that last was stands in
    /// the header, as a hint: whoever dies right after claiming to look delays the next look by 10 ms.
    pub fn look_after_peers(&self) {
        const INTERVAL: u64 = 10;
        let now = crate::sys::milliseconds();
        let last = self.header.looked.load(Ordering::Relaxed);
        // A time that lies ahead comes from another clock (a time namespace, a peer's nonsense) and says nothing.
        if last <= now && now - last < INTERVAL {
            return;
        }
        self.header.looked.store(now, Ordering::Relaxed);
        self.reap_dead();
    }

    /// Recovers from the death of `peer` if it is dead: true if this call did so.
    pub fn reap(&self, peer: PeerId) -> bool {
        let Some(entry) = self.table.get(usize::from(peer.0)) else { return false };
        // Its own lock would let it in.
        if peer == self.me || self.is_defunct() || entry.state.load(Ordering::Acquire) == FREE {
            return false;
        }
        let _turn = self.reaping.lock().unwrap_or_else(PoisonError::into_inner);
        // A peer whose lock cannot be tried counts as alive: to reap a living one would be far worse than to wait.
        if !self.life.try_lock(peer).unwrap_or(false) {
            return false;
        }
        // The lock may have been free because the entry is: reaped by another, or just about to be entered.
        let dead = entry.state.load(Ordering::Acquire) != FREE;
        if dead {
            entry.state.store(REAPING, Ordering::Relaxed);
            self.vacate(peer);
        }
        self.life.unlock(peer);
        dead
    }

    /// Takes back all that `peer` had, wakes everybody, and frees its entry. The caller holds its lock.
    fn vacate(&self, peer: PeerId) {
        let entry = &self.table[usize::from(peer.0)];
        self.object.sweep(peer, self.me);
        for role in 0..entry.roles.len() {
            self.withdraw(role, peer);
        }
        self.object.wake_all();
        entry.pid.store(0, Ordering::Relaxed);
        // Release: whoever enters here next (acquire in `enter`) comes after the sweep.
        entry.state.store(FREE, Ordering::Release);
    }

    /// Takes one handle of role number `role`.
    pub fn role(self: &Arc<Self>, role: usize) -> Role<O> {
        Role::take(Arc::clone(self), role)
    }

    pub(crate) fn is_defunct(&self) -> bool {
        self.defunct.load(std::sync::atomic::Ordering::Acquire)
    }

    /// Lets this attachment die as a kill would: its lock falls, and nothing is tidied up, now or when its handles drop.
    /// For models and tests, where killing a thread is not possible.
    #[doc(hidden)]
    pub fn die(&self) {
        self.defunct.store(true, std::sync::atomic::Ordering::Release);
        self.life.unlock(self.me);
    }
}

impl<O: Object> Drop for Segment<O> {
    fn drop(&mut self) {
        if !self.is_defunct() {
            self.vacate(self.me);
            // The lock falls with the descriptor, or right here in a table.
            self.life.unlock(self.me);
        }
    }
}

/// Finds a free entry, locks it for `life`, and marks it live. `None` if there is none.
fn enter(table: &[PeerEntry], life: &Life) -> Result<Option<PeerId>, Error> {
    for (slot, entry) in table.iter().enumerate() {
        let peer = PeerId(slot as u16);
        if entry.state.load(Ordering::Acquire) != FREE || !life.try_lock(peer)? {
            continue;
        }
        // Between the load and the lock, another peer may have come, died, and left its state behind.
        if entry.state.load(Ordering::Acquire) == FREE {
            // Release: whoever sees LIVE comes after the lock was taken.
            entry.state.store(LIVE, Ordering::Release);
            return Ok(Some(peer));
        }
        life.unlock(peer);
    }
    Ok(None)
}

const OPEN_FILES: &str = "check the limit on open files (ulimit -n)";

fn read_header(data: &impl std::os::fd::AsRawFd, length: usize) -> Result<Mapped<Header>, Error> {
    if length < size_of::<Header>() {
        return Err(Error::Corrupt("it is shorter than a header"));
    }
    let memory = Memory::shared(data, length)?;
    Ok(memory.one(crate::Plan::new().one::<Header>()?))
}

/// Maps a received segment after checking all that can be checked.
fn open<O: Object>(data: &OwnedFd) -> Result<(Memory, Layout<O>), Error> {
    use std::os::fd::AsFd;
    let length = crate::sys::sealed_length(data.as_fd())?;
    let (configuration, peers) = read_header(data, length)?.check::<O>(length)?;
    Ok((Memory::shared(data, length)?, Layout::new(&configuration, peers)?))
}
