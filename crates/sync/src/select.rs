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
    /// When it last looked after peers, in milliseconds.
    looked: u64,
}

/// Something to wait for: a [`Watch`]; with the feature `async`, something to read from a descriptor (`From<BorrowedFd>`), or room to write to one.
pub struct Waitable<'fd>(pub(crate) Entry<'fd>);

pub(crate) enum Entry<'fd> {
    Watch(Watch),
    #[cfg_attr(not(feature = "async"), allow(dead_code, reason = "made by that feature's functions only"))]
    Readable(BorrowedFd<'fd>),
    #[cfg_attr(not(feature = "async"), allow(dead_code, reason = "as above"))]
    Writable(BorrowedFd<'fd>),
}

impl From<Watch> for Waitable<'_> {
    fn from(watch: Watch) -> Self {
        Self(Entry::Watch(watch))
    }
}

/// Something to read.
#[cfg(feature = "async")]
impl<'fd> From<BorrowedFd<'fd>> for Waitable<'fd> {
    fn from(descriptor: BorrowedFd<'fd>) -> Self {
        Self(Entry::Readable(descriptor))
    }
}

#[cfg(feature = "async")]
impl<'fd> Waitable<'fd> {
    /// Room to write to a descriptor.
    #[must_use]
    pub fn writable(descriptor: BorrowedFd<'fd>) -> Self {
        Self(Entry::Writable(descriptor))
    }
}

/// Waits until one or more of several things are worth trying, for at most `timeout` if there is one: their numbers, from 0 on. None, when the time is up.
///
/// As Python's `multiprocessing.connection.wait`. It takes nothing itself. Whoever waits for the same things again and again does so with less work by a [`Select`], which also says what it costs.
///
/// ```
/// use shmkit_sync::{Event, wait};
///
/// let (one, other) = (Event::new()?, Event::new()?);
/// other.set();
/// assert_eq!(wait([one.watch(), other.watch()], None), [1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn wait<'fd, I>(things: I, timeout: Option<Duration>) -> Vec<usize>
where
    I: IntoIterator<Item: Into<Waitable<'fd>>>,
{
    let mut select: Select<'fd> = things.into_iter().collect();
    // It does not know when that was done last; segments do.
    select.look_after_peers();
    match select.wait_until(timeout.map_or(Deadline::NEVER, Deadline::after)) {
        Some(first) => select.ready_with(first),
        None => Vec::new(),
    }
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
        self.enter(Entry::Readable(descriptor))
    }

    /// Waits for room to write to a descriptor, too. Its number.
    #[cfg(feature = "async")]
    pub fn add_writable(&mut self, descriptor: BorrowedFd<'fd>) -> usize {
        self.enter(Entry::Writable(descriptor))
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

    fn look_after_peers(&self) {
        self.entries.iter().filter_map(Entry::watch).for_each(|watch| watch.look_after_peers());
    }

    /// `found`, and the numbers of the others that are worth trying too.
    fn ready_with(&self, found: usize) -> Vec<usize> {
        let is_ready = |number: &usize| {
            let only = std::slice::from_ref(&self.entries[*number]);
            *number == found || wait_from(only, 0, Deadline::after(Duration::ZERO)).is_some()
        };
        (0..self.entries.len()).filter(is_ready).collect()
    }

    fn wait_until(&mut self, deadline: Deadline) -> Option<usize> {
        // Who finds something ready each time never sleeps, and a death is something that it may wait for.
        let now = coarse_milliseconds();
        if now.wrapping_sub(self.looked) >= INTERVAL {
            self.looked = now;
            self.look_after_peers();
        }
        let found = wait_from(&self.entries, self.first, deadline)?;
        self.first = (found + 1) % self.entries.len();
        Some(found)
    }
}

/// How often a [`Select`] looks after peers that may have died, in milliseconds.
const INTERVAL: u64 = 50;

/// On the monotonic clock, to a tick of the kernel. No system call.
fn coarse_milliseconds() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
    now.tv_sec as u64 * 1_000 + now.tv_nsec as u64 / 1_000_000
}

/// The number of one that is worth trying, the next from `first` on; `None` when the time is up.
fn wait_from(entries: &[Entry<'_>], first: usize, deadline: Deadline) -> Option<usize> {
    let watches: Vec<&Watch> = entries.iter().filter_map(Entry::watch).collect();
    #[cfg(feature = "async")]
    if watches.len() < entries.len() {
        return crate::descriptors::wait(entries, first, deadline);
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

/// Waits for all of these, numbered from 0 on.
impl<'fd, W: Into<Waitable<'fd>>> FromIterator<W> for Select<'fd> {
    fn from_iter<I: IntoIterator<Item = W>>(things: I) -> Self {
        Self { entries: things.into_iter().map(|thing| thing.into().0).collect(), first: 0, looked: 0 }
    }
}

impl Entry<'_> {
    pub(crate) fn watch(&self) -> Option<&Watch> {
        match self {
            Self::Watch(watch) => Some(watch),
            _ => None,
        }
    }
}
