//! An object for tests that writes down what is done to it, and the ways in which a handle travels, taken apart.

#![allow(dead_code)]

use shmkit_segment::primitive::{AtomicU32, Ordering};
use shmkit_segment::{
    At, AtSlice, Configuration, Error, Mapped, MappedSlice, Memory, Object, Options, PeerId, Plan, Role, Segment, kind,
    transfer,
};
use std::alloc::Layout;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// What was done to a [`Journal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The second swept what the first had owned.
    Swept(u16, u16),
    /// Everybody was woken.
    Woken,
}

const WOKEN: u32 = 1;
const SWEPT: u32 = 2;

impl Event {
    fn pack(self) -> u32 {
        match self {
            Self::Swept(dead, reaper) => SWEPT | u32::from(dead) << 4 | u32::from(reaper) << 18,
            Self::Woken => WOKEN,
        }
    }

    fn unpack(word: u32) -> Self {
        match word & 0xf {
            WOKEN => Self::Woken,
            _ => Self::Swept((word >> 4) as u16 & 0x3fff, (word >> 18) as u16),
        }
    }
}

/// The object: remembers as many events as its configuration says, the first ones.
pub(crate) struct Journal<const KIND: u32 = { kind(b"TEST") }, const PAYLOAD: usize = 8, const TAG: u64 = 0> {
    written: Mapped<AtomicU32>,
    entries: MappedSlice<AtomicU32>,
}

/// Makes this process die in the middle of its next sweep.
pub(crate) static DIE_SWEEPING: AtomicBool = AtomicBool::new(false);

impl<const KIND: u32, const PAYLOAD: usize, const TAG: u64> Object for Journal<KIND, PAYLOAD, TAG> {
    const KIND: u32 = KIND;
    const TAG: u64 = TAG;
    const HARDENED: bool = true;
    type Parts = (At<AtomicU32>, AtSlice<AtomicU32>);

    fn payload() -> Layout {
        Layout::from_size_align(PAYLOAD, 8).unwrap()
    }

    fn plan(configuration: &Configuration, plan: &mut Plan) -> Result<Self::Parts, Error> {
        let entries = usize::try_from(configuration[0]).map_err(|_| Error::Geometry("too many entries"))?;
        Ok((plan.one()?, plan.slice(entries)?))
    }

    fn attach(memory: &Memory, parts: &Self::Parts) -> Self {
        Self { written: memory.one(parts.0), entries: memory.slice(parts.1) }
    }

    fn sweep(&self, dead: PeerId, reaper: PeerId) {
        self.write(Event::Swept(dead.number(), reaper.number()));
        if DIE_SWEEPING.load(Ordering::Relaxed) {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
        }
    }

    fn wake_all(&self) {
        self.write(Event::Woken);
    }
}

impl<const KIND: u32, const PAYLOAD: usize, const TAG: u64> Journal<KIND, PAYLOAD, TAG> {
    fn write(&self, event: Event) {
        let index = self.written.fetch_add(1, Ordering::Relaxed) as usize;
        if let Some(entry) = self.entries.get(index) {
            entry.store(event.pack(), Ordering::Release);
        }
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        let written = self.written.load(Ordering::Relaxed) as usize;
        self.entries.iter().take(written).map(|entry| Event::unpack(entry.load(Ordering::Acquire))).collect()
    }
}

/// Room for `entries` events.
pub(crate) fn configuration(entries: u64) -> Configuration {
    [entries, 0, 0, 0, 0, 0, 0, 0]
}

/// A segment that other processes can have, with a journal for 32 events.
pub(crate) fn anonymous(peers: usize) -> Arc<Segment<Journal>> {
    Options::new().peers(peers).anonymous(configuration(32)).unwrap()
}

/// A handle as it leaves a process: its bytes and its descriptors.
///
/// In JSON, which keeps the text of an error.
pub(crate) fn pack<O: Object>(role: &Role<O>) -> (String, Vec<OwnedFd>) {
    let (text, descriptors) = transfer::sending(|| serde_json::to_string(role));
    (text.unwrap(), descriptors.unwrap())
}

/// A handle as it arrives.
pub(crate) fn unpack<O: Object>(text: &str, descriptors: Vec<OwnedFd>) -> serde_json::Result<Role<O>> {
    transfer::receiving(descriptors, || serde_json::from_str(text)).0
}

/// The same file by an open file description of its own.
pub(crate) fn reopen(file: &OwnedFd) -> OwnedFd {
    File::options().read(true).write(true).open(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap().into()
}
