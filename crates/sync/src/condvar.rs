//! A condition variable: waiting, with a lock given back meanwhile, until somebody says that what it guards has changed.
//!
//! Each waiter has a slot, claimed while it still holds the lock, and an event count of its own, so that a notification wakes whom it is for and nobody else.
//!
//! ```text
//! at   0  ticket, used   64 and 32 bits: the last ticket that was drawn, and up to which slot there was ever a waiter
//!    128  slots[256]     ticket:46 | state:2 | owner:16, see below
//!   2176  called[256]    an event count for each slot
//!
//! FREE ──wait: compare-exchange──▶ WAITING ──notify: compare-exchange──▶ NOTIFIED ──▶ FREE, and the waiter takes the lock again
//!                                     └──its time is up: compare-exchange──▶ FREE
//! ```
//!
//! # Why no notification is lost
//!
//! A slot is claimed before the lock is given back, and whoever changes what the waiter looks at does that under the lock. So if it notifies afterwards, it
//! finds the slot: the lock's release and acquire lie in between. `used`, up to which there can be slots to look at, was raised before the slot was claimed.
//!
//! Of several waiters, a notification is for the one with the smallest ticket; tickets are drawn under the lock. So it is for one who waited already, and
//! nobody who comes later takes it away. A waiter whose time is up leaves by an exchange, which fails if it has been notified; then it says so.
//!
//! # When somebody dies
//!
//! A waiter may be killed after it was notified and before it has acted on it, and a notifier halfway through. So all who wait when a death is noticed are notified, as if by chance: they look at
//! what they wait for again, as they must be prepared to at any time. First the slots of the dead are freed, so that no notification can be for the dead any more. Whoever was passed over for one that was had claimed its
//! slot before that notification; so it is among those that the reaper then finds. (The other way round, a notification could go to the dead between the two, and one that the reaper had not seen sleep on. Found by the
//! model.)
//!
//! `models/condvar.py` explores it. After Birrell, "Implementing Condition Variables with Semaphores" (2004), whose semaphores, one for each waiter, are the slots.

use crate::error::LockError;
use crate::event_count::EventCount;
use crate::handle::handle;
use crate::mutex::MutexGuard;
use crate::owner::mark;
use crate::{Deadline, Error};
use shmkit_segment::primitive::{AtomicU32, AtomicU64, Ordering};
use shmkit_segment::{
    At, AtSlice, Configuration, Line, Mapped, MappedSlice, Memory, Object, Options, PeerId, Plain, Plan, Role, kind,
    shared,
};
use std::alloc::Layout;
use std::time::{Duration, Instant};

/// How many can wait asleep.
#[cfg(not(loom))]
const SLOTS: usize = 256;
#[cfg(loom)]
const SLOTS: usize = 3;

const FREE: u64 = 0;
const WAITING: u64 = 1;
const NOTIFIED: u64 = 2;

/// The word of a waiter's slot.
fn waiting(ticket: u64, peer: PeerId) -> u64 {
    ticket << 18 | WAITING << 16 | u64::from(mark(peer))
}

fn state(slot: u64) -> u64 {
    slot >> 16 & 3
}

fn notified(slot: u64) -> u64 {
    slot & !(3 << 16) | NOTIFIED << 16
}

shared! {
    /// What all waiters have in common.
    pub struct Queue {
        ticket: AtomicU64,
        used: AtomicU32,
    }
}

#[cfg(not(any(loom, feature = "portable")))]
const _: () = assert!(size_of::<Queue>() == 16);

/// What is in the segment of a [`Condvar`]. Its configuration is `Configuration::default()`.
pub struct CondvarObject {
    queue: Mapped<Line<Queue>>,
    slots: MappedSlice<AtomicU64>,
    called: MappedSlice<EventCount>,
}

impl Object for CondvarObject {
    const KIND: u32 = kind(b"COND");
    const HARDENED: bool = true;
    type Parts = (At<Line<Queue>>, AtSlice<AtomicU64>, AtSlice<EventCount>);

    fn payload() -> Layout {
        Layout::new::<()>()
    }

    fn plan(_: &Configuration, plan: &mut Plan) -> Result<Self::Parts, Error> {
        Ok((plan.one()?, plan.slice(SLOTS)?, plan.slice(SLOTS)?))
    }

    fn attach(memory: &Memory, parts: &Self::Parts) -> Self {
        Self { queue: memory.one(parts.0), slots: memory.slice(parts.1), called: memory.slice(parts.2) }
    }

    fn sweep(&self, dead: PeerId, _reaper: PeerId) {
        for slot in &*self.slots {
            if slot.load(Ordering::Relaxed) & 0xFFFF == u64::from(mark(dead)) {
                // A swap, and acquire, for `peer_died`: after whoever may have notified the dead one. Release pairs with the acquire of who claims it next.
                slot.swap(FREE, Ordering::AcqRel);
            }
        }
    }

    fn peer_died(&self) {
        self.notify_all();
    }

    fn wake_all(&self) {
        self.called[..self.used()].iter().for_each(EventCount::rouse);
    }
}

impl CondvarObject {
    /// The number of slots, from the first, that were ever in use.
    fn used(&self) -> usize {
        (self.queue.used.load(Ordering::Relaxed) as usize).min(SLOTS)
    }

    /// Claims a slot, while the lock is held: its number and its word.
    fn enter(&self, me: PeerId) -> Option<(usize, u64)> {
        let word = waiting(self.queue.ticket.fetch_add(1, Ordering::Relaxed) + 1, me);
        for (index, slot) in self.slots.iter().enumerate() {
            if slot.load(Ordering::Relaxed) != FREE {
                continue;
            }
            // Before the claim, for whoever finds the slot by it.
            if index >= self.used() {
                self.queue.used.fetch_max(index as u32 + 1, Ordering::Relaxed);
            }
            // Acquire pairs with the release of whoever had it.
            if slot.compare_exchange(FREE, word, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                return Some((index, word));
            }
        }
        None
    }

    /// Notifies the one that has waited longest: true if there was one.
    fn notify_first(&self) -> bool {
        /// More can only fail if a peer keeps writing over the slots.
        const TRIES: usize = 4 * SLOTS;
        for _ in 0..TRIES {
            let slots = self.slots[..self.used()].iter().map(|slot| slot.load(Ordering::Relaxed)).enumerate();
            let first = slots.filter(|(_, word)| state(*word) == WAITING).min_by_key(|(_, word)| word >> 18);
            let Some((index, word)) = first else { return false };
            if self.call(index, word) {
                return true;
            }
        }
        false
    }

    /// Notifies all who wait: how many there were. Those who come meanwhile may be missed, so it ends even if all come back at once.
    fn notify_all(&self) -> usize {
        let slots = self.slots[..self.used()].iter().map(|slot| slot.load(Ordering::Relaxed)).enumerate();
        slots.filter(|(index, word)| state(*word) == WAITING && self.call(*index, *word)).count()
    }

    /// Notifies the waiter whose slot has that word, if it still waits.
    fn call(&self, index: usize, word: u64) -> bool {
        // Failure: it was notified by somebody else, or its time is up. Release pairs with the acquire of the one that is notified, and with the
        // swap in `sweep` if that one is dead.
        let is_called =
            self.slots[index].compare_exchange(word, notified(word), Ordering::Release, Ordering::Relaxed).is_ok();
        if is_called {
            // There is one waiter.
            self.called[index].notify_all();
        }
        is_called
    }
}

/// Lets holders of a [`Mutex`](crate::Mutex) wait until another one has changed what it guards, across processes. Clones, and handles passed to other processes, are the same condition variable.
///
/// ```
/// use shmkit_sync::{Condvar, Mutex};
///
/// let (jobs, changed) = (Mutex::private(0_u32)?, Condvar::private()?);
/// std::thread::scope(|scope| {
///     scope.spawn(|| {
///         let jobs = changed.wait_while(jobs.lock().unwrap(), |jobs| *jobs == 0).unwrap();
///         assert_eq!(*jobs, 3);
///     });
///     *jobs.lock().unwrap() = 3;
///     changed.notify_one();
/// });
/// # Ok::<(), shmkit_sync::Error>(())
/// ```
///
/// A notification wakes who has waited longest, and exactly as many as it is asked to, while nobody dies. When any process is killed that has the condition variable, all who wait return as if
/// notified; so what one waits for must be looked at again, as `wait_while` does.
///
/// Up to 256 wait asleep, first come, first served. Those beyond return after a millisecond, as if notified.
///
/// # Signal handlers
///
/// May notify: that neither locks nor allocates.
pub struct Condvar {
    member: Role<CondvarObject>,
}

handle!(Condvar, CondvarObject);

/// Why waiting has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wakeup {
    /// It was notified, or what it waits for is so. (Or somebody has died.)
    Notified,
    /// The time was up.
    TimedOut,
}

/// The guard again, or [`LockError::OwnerDied`] with it if somebody was killed with the lock meanwhile.
type Relocked<'a, T, R> = Result<R, LockError<MutexGuard<'a, T>>>;

impl Condvar {
    /// One that can be passed to child processes; 3 KiB.
    ///
    /// # Errors
    /// [`Error::NoSpace`] and [`Error::System`] if shared memory cannot be had.
    pub fn new() -> Result<Self, Error> {
        Options::new().anonymous(Configuration::default()).map(|segment| Self::with(segment.role(0)))
    }

    /// One for the threads of this process alone.
    ///
    /// # Errors
    /// What the kernel says about memory.
    pub fn private() -> Result<Self, Error> {
        Options::new().private(Configuration::default()).map(|segment| Self::with(segment.role(0)))
    }

    fn with(member: Role<CondvarObject>) -> Self {
        Self { member }
    }

    /// Notifies the one that has waited longest: true if there was one (never in a child made by `fork`). Costs a look at each slot that was ever in use, and a system call if somebody is woken.
    pub fn notify_one(&self) -> bool {
        !self.segment().is_defunct() && self.object().notify_first()
    }

    /// Notifies `count` of those who wait, or all if there are fewer: how many there were.
    pub fn notify_many(&self, count: usize) -> usize {
        (0..count).take_while(|_| self.notify_one()).count()
    }

    /// Notifies all who wait: how many there were.
    pub fn notify_all(&self) -> usize {
        if self.segment().is_defunct() { 0 } else { self.object().notify_all() }
    }

    /// Gives the lock back, waits to be notified, and locks again. May return without a notification.
    ///
    /// # Errors
    /// As [`Mutex::lock`](crate::Mutex::lock), of locking again; [`LockError::Forked`], without waiting.
    pub fn wait<'a, T: Plain>(&self, guard: MutexGuard<'a, T>) -> Relocked<'a, T, MutexGuard<'a, T>> {
        self.wait_until(guard, Deadline::NEVER).map(|(guard, _)| guard)
    }

    /// [`wait`](Self::wait)s while `condition` is true of the guarded value.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_while<'a, T: Plain>(
        &self,
        guard: MutexGuard<'a, T>,
        condition: impl FnMut(&mut T) -> bool,
    ) -> Relocked<'a, T, MutexGuard<'a, T>> {
        self.wait_while_until(guard, Deadline::NEVER, condition).map(|(guard, _)| guard)
    }

    /// [`wait`](Self::wait)s for at most `timeout`; locking again can take longer.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_timeout<'a, T: Plain>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> Relocked<'a, T, (MutexGuard<'a, T>, Wakeup)> {
        self.wait_until(guard, Deadline::after(timeout))
    }

    /// [`wait`](Self::wait)s until `deadline` at the latest; locking again can take longer.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_deadline<'a, T: Plain>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: Instant,
    ) -> Relocked<'a, T, (MutexGuard<'a, T>, Wakeup)> {
        self.wait_until(guard, deadline.into())
    }

    /// [`wait`](Self::wait)s while `condition` is true of the guarded value, for at most `timeout` in all, however often it is notified. `TimedOut` if the condition is still true.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_while_timeout<'a, T: Plain>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
        condition: impl FnMut(&mut T) -> bool,
    ) -> Relocked<'a, T, (MutexGuard<'a, T>, Wakeup)> {
        self.wait_while_until(guard, Deadline::after(timeout), condition)
    }

    /// [`wait`](Self::wait)s while `condition` is true of the guarded value, until `deadline` at the latest. `TimedOut` if the condition is still true.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_while_deadline<'a, T: Plain>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: Instant,
        condition: impl FnMut(&mut T) -> bool,
    ) -> Relocked<'a, T, (MutexGuard<'a, T>, Wakeup)> {
        self.wait_while_until(guard, deadline.into(), condition)
    }

    fn wait_while_until<'a, T: Plain>(
        &self,
        mut guard: MutexGuard<'a, T>,
        deadline: Deadline,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> Relocked<'a, T, (MutexGuard<'a, T>, Wakeup)> {
        let mut is_late = false;
        while condition(&mut guard) {
            if is_late {
                return Ok((guard, Wakeup::TimedOut));
            }
            let (locked, wakeup) = self.wait_until(guard, deadline)?;
            guard = locked;
            // Whoever is notified all the time would never be told that its time is up.
            is_late = wakeup == Wakeup::TimedOut || deadline.remaining() == Some(Duration::ZERO);
        }
        Ok((guard, Wakeup::Notified))
    }

    fn wait_until<'a, T: Plain>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: Deadline,
    ) -> Relocked<'a, T, (MutexGuard<'a, T>, Wakeup)> {
        if self.segment().is_defunct() {
            return Err(LockError::Forked);
        }
        let mutex = guard.mutex();
        let slot = self.object().enter(self.segment().me());
        drop(guard);
        let wakeup = match slot {
            Some((index, word)) => self.sleep(index, word, deadline),
            None => no_slot(deadline),
        };
        mutex.lock().map(|guard| (guard, wakeup))
    }

    fn sleep(&self, index: usize, word: u64, deadline: Deadline) -> Wakeup {
        let object = self.object();
        let slot = &object.slots[index];
        // Acquire pairs with the release in `notify`.
        let is_notified = || (slot.load(Ordering::Acquire) != word).then_some(());
        let idle = || self.segment().look_after_peers();
        if object.called[index].wait_until(deadline, is_notified, || false, idle).is_none()
            && slot.compare_exchange(word, FREE, Ordering::Release, Ordering::Relaxed).is_ok()
        {
            return Wakeup::TimedOut;
        }
        slot.store(FREE, Ordering::Release);
        Wakeup::Notified
    }
}

/// For those who have found no slot: a pause, and they look again.
#[cold]
fn no_slot(deadline: Deadline) -> Wakeup {
    const PAUSE: Duration = Duration::from_millis(1);
    match deadline.remaining() {
        Some(remaining) if remaining <= PAUSE => {
            std::thread::sleep(remaining);
            Wakeup::TimedOut
        }
        _ => {
            std::thread::sleep(PAUSE);
            Wakeup::Notified
        }
    }
}
