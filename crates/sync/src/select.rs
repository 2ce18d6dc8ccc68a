//! Waiting for one of several things.

use crate::Deadline;
use crate::event_count::{Armed, EventCount, wait_for_any};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Something that can be waited for, apart from the handle that one has of it: messages in a queue, room in it.
///
/// Implemented by the crates of this toolkit; their handles give it out as a [`Watch`].
pub trait Condition: Send + Sync {
    /// What is notified when it may have come true.
    fn event(&self) -> &EventCount;

    /// Whether an operation of the kind that waits for this is worth trying: it would not be told to wait, unless somebody else is faster. Something that will
    /// never come (all senders are gone) is worth trying too.
    ///
    /// Costs a look at shared memory, of a queue at its next message.
    fn is_met(&self) -> bool;

    /// Whether those who wait for it want different things, so that all of them have to look when there is something.
    fn is_for_all(&self) -> bool {
        false
    }

    /// Looks after peers that may have died, now and then while nothing happens.
    fn look_after_peers(&self);
}

/// A [`Condition`], owned: keeps the memory mapped that it is in, and this process attached, as long as it lives.
pub type Watch = Arc<dyn Condition>;

/// Waits until one of several things is worth trying, like `select` on channels: queues of any kind, either side; with the feature `async`, descriptors too.
///
/// It takes nothing itself. After it has named one, the operation on that handle (`try_recv`, say) may still find that somebody else was faster.
///
/// # When a process dies
///
/// As with an operation that waits for one thing: who waits here notices, within about 50 ms, and something that will never come is named.
///
/// # Cost
///
/// A look at each, up to one that is ready. To sleep: a compare-exchange for each, and a system call (`futex_waitv`, from Linux 5.16 on; before that, and for more
/// than 128 things, a look at all of them every millisecond). With descriptors, a thread sleeps for the rest, as for futures, and this one in `poll`.
#[derive(Default)]
pub struct Select<'fd> {
    entries: Vec<Entry<'fd>>,
    /// The one that is looked at first, so that a busy one does not starve the others.
    first: usize,
}

pub(crate) enum Entry<'fd> {
    Watch(Watch),
    #[cfg_attr(not(feature = "async"), allow(dead_code, reason = "made by that feature's methods only"))]
    Descriptor(BorrowedFd<'fd>, Direction),
}

#[derive(Clone, Copy)]
#[cfg_attr(not(feature = "async"), allow(dead_code, reason = "as above"))]
pub(crate) enum Direction {
    Read,
    Write,
}

impl<'fd> Select<'fd> {
    /// One that waits for nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits for this too. Its number, by which it is named: one more each time, from 0 on.
    pub fn add(&mut self, watch: Watch) -> usize {
        self.enter(Entry::Watch(watch))
    }

    /// Waits for something to read from a descriptor, too. Its number.
    #[cfg(feature = "async")]
    pub fn add_readable(&mut self, descriptor: BorrowedFd<'fd>) -> usize {
        self.enter(Entry::Descriptor(descriptor, Direction::Read))
    }

    /// Waits for room to write to a descriptor, too. Its number.
    #[cfg(feature = "async")]
    pub fn add_writable(&mut self, descriptor: BorrowedFd<'fd>) -> usize {
        self.enter(Entry::Descriptor(descriptor, Direction::Write))
    }

    fn enter(&mut self, entry: Entry<'fd>) -> usize {
        self.entries.push(entry);
        self.entries.len() - 1
    }

    /// The number of one that is worth trying now, if there is any. Never blocks. Of several, the next one behind that which was named last.
    #[must_use]
    pub fn try_wait(&mut self) -> Option<usize> {
        self.wait_until(Deadline::after(Duration::ZERO))
    }

    /// Blocks until one is worth trying: its number. For ever, if there is nothing to wait for.
    pub fn wait(&mut self) -> usize {
        loop {
            if let Some(number) = self.wait_until(Deadline::NEVER) {
                return number;
            }
        }
    }

    /// Blocks until one is worth trying, for at most `timeout`: its number.
    #[must_use]
    pub fn wait_timeout(&mut self, timeout: Duration) -> Option<usize> {
        self.wait_until(Deadline::after(timeout))
    }

    /// Blocks until one is worth trying, until `deadline` at the latest: its number.
    #[must_use]
    pub fn wait_deadline(&mut self, deadline: Instant) -> Option<usize> {
        self.wait_until(deadline.into())
    }

    fn wait_until(&mut self, deadline: Deadline) -> Option<usize> {
        let found = self.wait_from(self.first, deadline)?;
        self.first = (found + 1) % self.entries.len();
        Some(found)
    }

    fn wait_from(&self, first: usize, deadline: Deadline) -> Option<usize> {
        let watches: Vec<&Watch> = self.entries.iter().filter_map(Entry::watch).collect();
        #[cfg(feature = "async")]
        if watches.len() < self.entries.len() {
            return crate::descriptors::wait(&self.entries, first, deadline);
        }
        if watches.is_empty() {
            thread::sleep(deadline.remaining().unwrap_or(Duration::MAX));
            return None;
        }
        let count = watches.len();
        let attempt = || (first..count).chain(0..first).find(|&number| watches[number].is_met());
        if let Some(number) = attempt() {
            return Some(number);
        }
        if deadline.remaining() == Some(Duration::ZERO) {
            return None;
        }
        let mut events: Vec<_> = watches.iter().map(|watch| Armed::new(watch.event())).collect();
        let idle = || watches.iter().for_each(|watch| watch.look_after_peers());
        // No baton where all are woken: it would take W away from under those who are about to sleep.
        let more = |number: usize| !watches[number].is_for_all() && watches[number].is_met();
        wait_for_any(&mut events, deadline, attempt, more, idle)
    }
}

/// Waits for all of these, numbered from 0 on.
impl FromIterator<Watch> for Select<'_> {
    fn from_iter<I: IntoIterator<Item = Watch>>(watches: I) -> Self {
        Self { entries: watches.into_iter().map(Entry::Watch).collect(), first: 0 }
    }
}

impl Entry<'_> {
    pub(crate) fn watch(&self) -> Option<&Watch> {
        match self {
            Self::Watch(watch) => Some(watch),
            Self::Descriptor(..) => None,
        }
    }
}
