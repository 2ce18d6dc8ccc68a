//! A segment, and this process's attachment to it.
//!
//! To attach: check the header's bytes without mapping them, map, lock a place in the table of [peers](crate::peers), and view
//! the object. Nothing that is read is believed before it was checked, and a failure anywhere leaves nothing behind.

use crate::fork::{self, LockFile, Registration};
use crate::header::{Header, Layout, PeerEntry};
use crate::life::Life;
use crate::peers::{Departure, LIVE, find_place};
use crate::primitive::Ordering;
use crate::role::Role;
use crate::{AtBytes, Configuration, Error, Mapped, MappedSlice, Memory, Object, PeerId, sys};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex};

/// Memory that holds one object `O`, and this process's attachment to it: one peer.
///
/// Handles keep it by an `Arc`. When the last one goes, the peer leaves: it takes back what it still owned, closes the
/// roles it was the last to have, and wakes whoever waits for that.
///
/// A child made by `fork` does not inherit the attachment: what it tries to do with its copies of handles is an error, and their
/// drops touch nothing shared.
pub struct Segment<O: Object> {
    object: O,
    memory: Memory,
    layout: Layout<O>,
    configuration: Configuration,
    pub(crate) header: Mapped<Header>,
    pub(crate) table: MappedSlice<PeerEntry>,
    pub(crate) life: Life,
    /// The file, if there is one that other processes can map.
    data: Option<Arc<OwnedFd>>,
    me: PeerId,
    pub(crate) reaping: Mutex<()>,
    /// Whether this attachment still counts; if not, nothing shared is touched in its name.
    registration: Registration,
}

/// A segment's memory, checked and mapped, and how it is laid out.
pub(crate) struct Opened<O: Object> {
    pub(crate) memory: Memory,
    pub(crate) layout: Layout<O>,
    pub(crate) configuration: Configuration,
    pub(crate) data: Option<Arc<OwnedFd>>,
}

/// What there must be against a file that shrinks, which would be a signal to whoever has it mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// Seals.
    Sealed,
    /// Trust: in the parent process, or in those who may open a name.
    Trusted,
}

impl<O: Object> Opened<O> {
    /// Maps the segment in `data` after checking all that can be checked.
    #[cfg(not(loom))]
    pub(crate) fn file(data: OwnedFd, size: Size) -> Result<Self, Error> {
        let (layout, configuration, length, advice) = check_file(data.as_fd(), size)?;
        let memory = Memory::shared(&data, length, advice)?;
        Ok(Self { memory, layout, configuration, data: Some(Arc::new(data)) })
    }

    #[cfg(loom)]
    pub(crate) fn file(_data: OwnedFd, _size: Size) -> Result<Self, Error> {
        Err(Error::NotTransferable("models have private segments only"))
    }

    /// Writes the header of a new segment.
    pub(crate) fn found(
        memory: Memory,
        layout: Layout<O>,
        configuration: Configuration,
        advice: u32,
        data: Option<Arc<OwnedFd>>,
    ) -> Self {
        let (header, peers) = (memory.one(layout.header), memory.slice(layout.table).len());
        header.write::<O>(configuration, peers, memory.length(), advice);
        Self { memory, layout, configuration, data }
    }

    /// Becomes the first peer of a new segment, which is whole from then on.
    pub(crate) fn settle(self, life: Life) -> Result<Arc<Segment<O>>, Error> {
        let header = self.memory.one(self.layout.header);
        let segment = self.attach(life)?;
        header.publish();
        Ok(segment)
    }

    /// Becomes a peer of a segment at whose door this process is, recovers from deaths that nobody has noticed, and begins anew if nobody
    /// else is there.
    #[cfg(not(loom))]
    pub(crate) fn come_in(self, life: Life) -> Result<Arc<Segment<O>>, Error> {
        let segment = self.attach(life)?;
        segment.reap_dead();
        if segment.peer_count() == 1 {
            segment.begin_anew();
        }
        Ok(segment)
    }

    /// Becomes a peer, in a free place or that of a dead peer.
    pub(crate) fn attach(self, life: Life) -> Result<Arc<Segment<O>>, Error> {
        let table = self.memory.slice(self.layout.table);
        let (me, is_inherited) = find_place(&table, &life)?;
        let segment = Segment::new(self, life, me);
        if is_inherited {
            segment.inherit();
        }
        Ok(segment)
    }
}

/// The layout of the segment in `data`, its configuration, length and advice on mapping it.
#[cfg(not(loom))]
fn check_file<O: Object>(data: BorrowedFd<'_>, size: Size) -> Result<(Layout<O>, Configuration, usize, u32), Error> {
    let length = match size {
        Size::Sealed => sys::sealed_length(data)?,
        Size::Trusted => sys::file_length(data)?,
    };
    let start = sys::read_start(data, length)?;
    let (layout, configuration) = start.check::<O>(length, sys::granule(data))?;
    Ok((layout, configuration, length, start.advice))
}

impl<O: Object> Segment<O> {
    fn new(opened: Opened<O>, life: Life, me: PeerId) -> Arc<Self> {
        let Opened { memory, layout, configuration, data } = opened;
        let registration = fork::register(&memory, &life);
        let segment = Self {
            object: O::attach(&memory, &layout.parts),
            header: memory.one(layout.header),
            table: memory.slice(layout.table),
            memory,
            layout,
            configuration,
            life,
            data,
            me,
            reaping: Mutex::new(()),
            registration,
        };
        segment.sign();
        Arc::new(segment)
    }

    /// Attaches to a received segment as the peer that its sender has already entered, whose lock `life` holds.
    pub(crate) fn adopt(data: OwnedFd, life: OwnedFd, me: u16, size: Size) -> Result<Arc<Self>, Error> {
        let (file, lock) = (sys::status(data.as_fd())?, sys::status(life.as_fd())?);
        if (file.st_dev, file.st_ino) != (lock.st_dev, lock.st_ino) {
            return Err(Error::Corrupt("it came with the lock of another file"));
        }
        let opened = Opened::<O>::file(data, size)?;
        let table = opened.memory.slice(opened.layout.table);
        if table.get(usize::from(me)).is_none_or(|entry| entry.state.load(Ordering::Acquire) != LIVE) {
            return Err(Error::Corrupt("the place that was kept for this process is not its own"));
        }
        Ok(Self::new(opened, Life::lock(LockFile::received(life), 0), PeerId(me)))
    }

    /// Checks that `data` is a whole, sealed segment that holds an `O`, without mapping it or becoming a peer.
    ///
    /// # Errors
    /// Each way in which it is not has an [`Error`] of its own.
    #[cfg(not(loom))]
    pub fn verify(data: &impl AsFd) -> Result<Configuration, Error> {
        check_file::<O>(data.as_fd(), Size::Sealed).map(|(_, configuration, ..)| configuration)
    }

    /// A further, independent peer of this process in the same segment. Costs a lock, and a descriptor if it has a file.
    ///
    /// # Errors
    /// [`Error::TooManyPeers`] if all places are taken by living peers; [`Error::System`] when out of descriptors; [`Error::Forked`].
    pub fn join(&self) -> Result<Arc<Self>, Error> {
        self.check_not_forked()?;
        let life = self.life.another()?;
        let me = self.admit(&life)?;
        let opened = Opened {
            memory: self.memory.clone(),
            layout: self.layout.clone(),
            configuration: self.configuration,
            data: self.data.clone(),
        };
        Ok(Self::new(opened, life, me))
    }

    /// Enters a peer for a process that may not exist yet; it is alive for as long as the second descriptor is open anywhere.
    pub(crate) fn invite(&self) -> Result<(PeerId, OwnedFd, OwnedFd), Error> {
        self.check_not_forked()?;
        let data = self.data.as_ref().ok_or(Error::NotTransferable(
            "a private segment, like one in an embedder's memory or a portable one, cannot be handed to another process: create it as an anonymous one",
        ))?;
        let life = self.life.another()?;
        let data = sys::duplicate(data)?;
        let peer = self.admit(&life)?;
        let Life::Lock(lock, _) = life else { unreachable!("a segment with a file has locks") };
        Ok((peer, data, lock.into_file()))
    }

    /// The object in the segment.
    #[inline]
    pub fn object(&self) -> &O {
        &self.object
    }

    /// The numbers that the object was created with.
    pub fn configuration(&self) -> Configuration {
        self.configuration
    }

    /// Bytes of the whole segment: header, peers and object.
    pub fn length(&self) -> usize {
        self.memory.length()
    }

    /// Allots memory for [spare](crate::Plan::spare) bytes, after which they can be touched. Idempotent.
    ///
    /// Costs a system call, and time for each page; nothing where memory is not of a file.
    ///
    /// # Errors
    /// [`Error::NoSpace`] if it cannot be had; [`Error::Forked`].
    pub fn allot(&self, spare: AtBytes) -> Result<(), Error> {
        self.check_not_forked()?;
        match &self.data {
            Some(data) => sys::allot(data.as_fd(), spare.offset, spare.length),
            None => Ok(()),
        }
    }

    /// The segment's file, if it has one: a sealed memory file, or the one that its name stands for.
    pub fn as_file(&self) -> Option<BorrowedFd<'_>> {
        self.data.as_ref().map(|data| data.as_fd())
    }

    /// This attachment's name within the segment.
    #[inline]
    pub fn me(&self) -> PeerId {
        self.me
    }

    /// Takes one handle of role number `role`.
    pub fn role(self: &Arc<Self>, role: usize) -> Role<O> {
        Role::take(Arc::clone(self), role)
    }

    /// Whether this attachment no longer counts, because this process is a fork of the one that made it.
    #[inline]
    pub fn is_defunct(&self) -> bool {
        self.registration.is_defunct()
    }

    fn check_not_forked(&self) -> Result<(), Error> {
        if self.is_defunct() { Err(Error::Forked) } else { Ok(()) }
    }

    /// Lets this attachment die as a kill would: its lock falls, and nothing is tidied up, now or when its handles drop.
    /// For models and tests, where killing a thread is not possible.
    #[doc(hidden)]
    pub fn die(&self) {
        self.registration.make_defunct();
        self.life.unlock(self.me);
    }
}

impl<O: Object> Drop for Segment<O> {
    fn drop(&mut self) {
        self.registration.end();
        if !self.is_defunct() {
            self.vacate(self.me, Departure::Left);
            // The lock falls with the descriptor, or right here in a table.
            self.life.unlock(self.me);
        }
    }
}
