//! Who is attached to a segment, and what happens when one of them dies.
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
//! Who reaps: whoever has slept in vain for a while, whoever comes in by name or finds the table full, and supervisors. No thread,
//! no timeout and no heartbeat is involved: a stopped process is alive.
//!
//! Two threads that share an attachment share its lock holder, so the kernel would let both in: they take turns by a mutex.

use crate::header::{NAME, PeerEntry, Signature};
use crate::life::Life;
use crate::primitive::Ordering;
use crate::{Error, Object, Segment, host};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};
use std::borrow::Cow;
use std::os::fd::OwnedFd;
use std::sync::PoisonError;
use std::time::{Duration, Instant, SystemTime};
use zerocopy::{FromBytes, FromZeros};

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

/// How a peer came to be gone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Departure {
    Left,
    Died,
}

/// An attachment as it was when somebody looked: what [`Segment::peers`] lists.
///
/// Pid, start and name were written by the peer, for people to read. Its pid is a number of its own pid namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    id: PeerId,
    generation: u32,
    signature: Signature,
    is_alive: bool,
}

impl Peer {
    /// What an entry says, unless it is free.
    fn of(slot: u16, entry: &PeerEntry, is_alive: impl FnOnce() -> bool) -> Option<Self> {
        if entry.state.load(Ordering::Acquire) == FREE {
            return None;
        }
        let generation = entry.generation.load(Ordering::Relaxed);
        Some(Self { id: PeerId(slot), generation, signature: entry.signature.read(), is_alive: is_alive() })
    }

    /// What the bytes of an entry say, unless it is free.
    #[cfg(not(loom))]
    pub(crate) fn from_bytes(slot: u16, entry: &[u8], is_alive: impl FnOnce() -> bool) -> Option<Self> {
        use std::mem::offset_of;
        let word = |at| u32::read_from_prefix(&entry[at..]).ok().map(|(word, _)| word);
        if word(offset_of!(PeerEntry, state))? == FREE {
            return None;
        }
        let generation = word(offset_of!(PeerEntry, generation))?;
        let (signature, _) = Signature::read_from_prefix(&entry[offset_of!(PeerEntry, signature)..]).ok()?;
        Some(Self { id: PeerId(slot), generation, signature, is_alive: is_alive() })
    }

    /// Which peer it is. The number is given to another one after this one is gone.
    #[must_use]
    pub fn id(&self) -> PeerId {
        self.id
    }

    /// The process's id; 0 if a place is kept for a process that has not come up yet.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.signature.pid
    }

    /// When the process was started.
    #[must_use]
    pub fn started(&self) -> Option<SystemTime> {
        if self.signature.started == 0 { None } else { host::time_of(self.signature.started) }
    }

    /// Whether it was alive; if not, it died and nobody had noticed.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.is_alive
    }

    /// What the peer calls itself: its process's name, unless it [set another](Segment::set_name).
    #[must_use]
    pub fn name(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.signature.name.split(|&byte| byte == 0).next().unwrap_or_default())
    }
}

impl<O: Object> Segment<O> {
    /// All who are attached, those that are dead and not reaped yet included. Costs a system call for each.
    pub fn peers(&self) -> Vec<Peer> {
        let entries = self.table.iter().zip(0..);
        entries.filter_map(|(entry, slot)| Peer::of(slot, entry, || self.has_lock(PeerId(slot)))).collect()
    }

    /// How many peers are attached, dead ones that nobody has reaped yet included.
    pub fn peer_count(&self) -> usize {
        self.table.iter().filter(|entry| entry.state.load(Ordering::Acquire) != FREE).count()
    }

    /// How many peers can be attached at a time.
    pub fn max_peers(&self) -> usize {
        self.table.len()
    }

    /// The process id that `peer` wrote down, for people to read; 0 if it has not come up yet.
    pub fn pid(&self, peer: PeerId) -> u32 {
        self.table.get(usize::from(peer.0)).map_or(0, |entry| entry.signature.read().pid)
    }

    /// Gives this peer a name for people to read, of which the first 32 bytes are kept.
    pub fn set_name(&self, name: &str) {
        let end = (0..=NAME.min(name.len())).rev().find(|&end| name.is_char_boundary(end)).unwrap_or(0);
        let mut bytes = [0; NAME];
        bytes[..end].copy_from_slice(&name.as_bytes()[..end]);
        self.table[usize::from(self.me().0)].signature.write(Signature {
            pid: std::process::id(),
            namespace: host::pid_namespace(),
            started: host::start_time(),
            name: bytes,
        });
    }

    /// Whether `peer` is attached and its process lives (a stopped one does). Costs a system call.
    pub fn is_alive(&self, peer: &Peer) -> bool {
        self.is_present(peer) && self.has_lock(peer.id)
    }

    fn has_lock(&self, peer: PeerId) -> bool {
        // Nobody sees a lock of its own.
        if peer == self.me() { !self.is_defunct() } else { self.life.is_locked(peer) }
    }

    /// Whether the entry of `peer` is still its own, dead or alive.
    fn is_present(&self, peer: &Peer) -> bool {
        self.table.get(usize::from(peer.id.0)).is_some_and(|entry| {
            entry.state.load(Ordering::Acquire) != FREE && entry.generation.load(Ordering::Relaxed) == peer.generation
        })
    }

    /// A descriptor that is readable once the process of `peer` has ended, for an event loop: a pidfd.
    ///
    /// It tells of the end of a process and not of a peer that leaves. After it has, [`reap_dead`](Self::reap_dead) recovers
    /// at once what the others would find out a moment later.
    ///
    /// # Errors
    /// [`Error::System`] if the process is gone already, is in a pid namespace that this process cannot see, or has not come up yet.
    pub fn watch(&self, peer: &Peer) -> Result<OwnedFd, Error> {
        const HINT: &str = "the process is gone, or in another pid namespace: ask `is_alive` now and then instead";
        let failed = |cause: Errno| Error::system("watch a process", HINT, cause);
        let Signature { pid, namespace, started, .. } = peer.signature;
        if namespace != host::pid_namespace() {
            return Err(failed(Errno::SRCH));
        }
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(|| failed(Errno::SRCH))?;
        let pidfd = rustix::process::pidfd_open(number, PidfdFlags::empty()).map_err(failed)?;
        // The pid may be another process's by now. That one started at another time.
        if host::start_time_of(&pid.to_string()) != started {
            return Err(failed(Errno::SRCH));
        }
        Ok(pidfd)
    }

    /// Blocks until `peer` is gone: it has left, or it has died and was reaped, by this call if by nobody else.
    pub fn wait_until_gone(&self, peer: &Peer) {
        while !self.wait_until(peer, None) {}
    }

    /// As [`wait_until_gone`](Self::wait_until_gone), for at most `timeout`: true if it is gone.
    pub fn wait_until_gone_timeout(&self, peer: &Peer, timeout: Duration) -> bool {
        self.wait_until(peer, Instant::now().checked_add(timeout))
    }

    /// As [`wait_until_gone`](Self::wait_until_gone), until `deadline` at the latest: true if it is gone.
    pub fn wait_until_gone_deadline(&self, peer: &Peer, deadline: Instant) -> bool {
        self.wait_until(peer, Some(deadline))
    }

    fn wait_until(&self, peer: &Peer, deadline: Option<Instant>) -> bool {
        // A death is told by the descriptor, if there can be one. That a living process has left is not, so look up now and then.
        const LOOK_UP: Duration = Duration::from_millis(20);
        let mut process = self.watch(peer).ok();
        let mut nap = LOOK_UP;
        loop {
            if !self.is_present(peer) || self.reap(peer.id) {
                return true;
            }
            let remaining = deadline.map_or(LOOK_UP, |deadline| deadline.saturating_duration_since(Instant::now()));
            if remaining.is_zero() {
                return false;
            }
            let mut events: Vec<PollFd<'_>> =
                process.iter().map(|process| PollFd::new(process, PollFlags::IN)).collect();
            let time = Timespec::try_from(nap.min(remaining)).ok();
            if rustix::event::poll(&mut events, time.as_ref()).is_ok_and(|ready| ready > 0) {
                // It may still have its locks for a moment (a child of it that is being executed has them too).
                process = None;
                nap = Duration::from_millis(1);
            }
        }
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
        let now = host::milliseconds();
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
        if peer == self.me() || self.is_defunct() || entry.state.load(Ordering::Acquire) == FREE {
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
            self.vacate(peer, Departure::Died);
        }
        self.life.unlock(peer);
        dead
    }

    /// Takes back all that `peer` had, wakes everybody, and frees its entry. The caller holds its lock.
    pub(crate) fn vacate(&self, peer: PeerId, departure: Departure) {
        let entry = &self.table[usize::from(peer.0)];
        self.object().sweep(peer, self.me());
        if departure == Departure::Died {
            self.object().peer_died();
        }
        for role in 0..entry.roles.len() {
            self.withdraw(role, peer);
        }
        self.object().wake_all();
        entry.signature.write(Signature::new_zeroed());
        // Release: whoever enters here next (acquire in `enter`) comes after the sweep.
        entry.state.store(FREE, Ordering::Release);
    }

    /// Enters a new peer, whose lock `life` will hold; reaps first if the table is full.
    pub(crate) fn admit(&self, life: &Life) -> Result<PeerId, Error> {
        enter_patiently(&self.table, life, || self.reap_dead() > 0)?
            .ok_or(Error::TooManyPeers { limit: self.table.len() })
    }

    /// Takes the place of a dead peer whose lock this one holds: recovers from its death, then lives in its entry.
    pub(crate) fn inherit(&self) {
        self.vacate(self.me(), Departure::Died);
        mark_live(&self.table[usize::from(self.me().0)]);
        self.sign();
    }

    /// Says who this peer is, for people to read.
    pub(crate) fn sign(&self) {
        self.set_name(host::process_name());
    }
}

/// A place for somebody who is not attached yet, whose lock `life` will hold; true if a dead peer is in it.
///
/// Only a peer can sweep. So if all places are taken, that of the first dead peer is locked as it is, to be
/// [inherited](Segment::inherit).
pub(crate) fn find_place(table: &[PeerEntry], life: &Life) -> Result<(PeerId, bool), Error> {
    if let Some(peer) = enter_patiently(table, life, || false)? {
        return Ok((peer, false));
    }
    for peer in (0..table.len() as u16).map(PeerId) {
        if life.try_lock(peer)? {
            return Ok((peer, true));
        }
    }
    Err(Error::TooManyPeers { limit: table.len() })
}

/// Enters a peer; `None` if all places are taken and `make_room` can make none.
fn enter_patiently(table: &[PeerEntry], life: &Life, make_room: impl Fn() -> bool) -> Result<Option<PeerId>, Error> {
    // A peer that leaves frees its entry before its lock falls, and is out of the way in a moment unless it is stopped there.
    const PATIENCE: u32 = 50;
    let mut waited = 0;
    loop {
        let is_being_left = match enter(table, life)? {
            Entry::Entered(peer) => return Ok(Some(peer)),
            Entry::BeingLeft => true,
            Entry::Full => false,
        };
        if make_room() {
            continue;
        }
        if !is_being_left || waited == PATIENCE {
            return Ok(None);
        }
        waited += 1;
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// How [`enter`] ended.
enum Entry {
    /// The new peer.
    Entered(PeerId),
    /// All places are taken, but somebody is about to leave one.
    BeingLeft,
    /// All places are taken.
    Full,
}

/// Finds a free entry, locks it for `life`, and marks it live.
fn enter(table: &[PeerEntry], life: &Life) -> Result<Entry, Error> {
    let mut outcome = Entry::Full;
    for (slot, entry) in table.iter().enumerate() {
        let peer = PeerId(slot as u16);
        if entry.state.load(Ordering::Acquire) != FREE {
            continue;
        }
        if !life.has_locks() {
            // Without locks the entry itself is what is taken, and no death gives it back. Acquire: after the sweep of who left it.
            if entry.state.compare_exchange(FREE, LIVE, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                mark_live(entry);
                return Ok(Entry::Entered(peer));
            }
            continue;
        }
        if !life.try_lock(peer)? {
            outcome = Entry::BeingLeft;
            continue;
        }
        // Between the load and the lock, another peer may have come, died, and left its state behind.
        if entry.state.load(Ordering::Acquire) == FREE {
            mark_live(entry);
            return Ok(Entry::Entered(peer));
        }
        life.unlock(peer);
    }
    Ok(outcome)
}

/// Begins the life of a new peer in an entry that is its own.
fn mark_live(entry: &PeerEntry) {
    let generation = entry.generation.load(Ordering::Relaxed);
    entry.generation.store(generation.wrapping_add(1), Ordering::Relaxed);
    // Release: whoever sees LIVE comes after the lock was taken.
    entry.state.store(LIVE, Ordering::Release);
}
