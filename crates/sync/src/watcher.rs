//! The one thread of a process that sleeps on behalf of futures.
//!
//! Started when the first future has to wait, never before, and there for as long as the process is. It sleeps on all event counts that futures of this process wait for at a time, and
//! plays for each the part of a thread in [`EventCount::wait_until`](crate::EventCount::wait_until): it is who gets the wake-ups. Its own word, the bell, wakes it when there is another one to watch.
//!
//! ```text
//! future:   set W            │  watcher, when a word is not as it was:        │  future, called:
//!           fence            │    take the first future off the list          │    condition?  ───▶ done; pass the baton
//!           condition? ─▶ done    set W again, fence                        │    as at first
//!           list, with the   │    call the one it took                        │
//!           word as it is    │                                                │  dropped while it waits:
//!                            │                                                │    condition? pass the baton
//! ```
//!
//! # Why no wake is lost
//!
//! As in `event_count.rs`, of which this keeps each rule:
//!
//! - Whoever is woken sets W before it looks: the watcher sets it, for the future that it then calls, and which looks.
//! - One notification, one look: of several futures that wait for the same condition one is called. If it leaves more behind than it took it passes the baton, which finds W set and so
//!   reaches the watcher again, for the next. (Where they [want different things](Condition::is_for_all), all are called.)
//! - Who consumed a wake and leaves without using it passes it on: a future that is dropped while it waits looks once more (called or not: it may have been called between its last look
//!   and its last listing), and so does the watcher, if it was woken for nobody. No baton is passed where all are woken: to wake one would take W away from under those who are about to
//!   sleep.
//! - The first look after W was set is repeated after 100 µs, should nothing happen, when every store that its notifier did not order has long been visible. The watcher
//!   calls a future then. What counts is when a look began, and not when its future came to list itself.
//! - A future that lists itself with another word than the others has armed the event count anew, and looked since, on behalf of all who wait for the same.
//!
//! `models/watcher.py` explores it, with store buffers and kills; three of these rules were found by it.
//!
//! Peers that may have died are looked after as by a thread that sleeps, so that a future need not be polled for that.
//!
//! # After a fork
//!
//! The child does not have the thread, and may have been born while another held the lock. So it starts a watcher of its own, and leaves the other alone.

use crate::futex::{Futex, Sleep};
use crate::patience::Naps;
use crate::select::Watch;
use shmkit_segment::primitive::{Ordering, fence};
use std::collections::VecDeque;
use std::iter;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::Waker;
use std::thread::{self, yield_now};
use std::time::{Duration, Instant};

/// When every store that its notifier did not order has long been visible.
const LATE: Duration = Duration::from_micros(100);
/// How long a condition stays in sight for which nobody waits: a task that waits for messages comes back soon, and then finds the thread asleep on its word already. The
/// segment stays attached for so long, or until the thread has had its nap.
const LINGER: Duration = Duration::from_millis(10);

/// The watcher of this process, or of the one that this is a fork of.
static CURRENT: Mutex<Option<Arc<Watcher>>> = Mutex::new(None);

/// A future's part in waiting for a condition: its place on the watcher's list. Leaving, and being dropped, passes on what it was called for.
pub(crate) struct Listing {
    watch: Watch,
    /// Its number on the list of this watcher.
    place: Option<(Arc<Watcher>, u64)>,
    /// Its last look, or the one that it is at.
    look: Option<Look>,
}

impl Listing {
    pub(crate) fn new(watch: Watch) -> Self {
        Self { watch, place: None, look: None }
    }

    /// Sets W. A fence and a look at the condition must follow before it [lists itself](Self::enter).
    pub(crate) fn arm(&mut self) {
        let word = self.watch.event().arm();
        // Before the look, which may come late but counts as if it came now.
        let looked = Instant::now();
        let since = self.look.filter(|before| before.word == word).map_or(looked, |before| before.since);
        self.look = Some(Look { word, since, looked });
    }

    /// After a look that was in vain: has `waker` called when there is something.
    pub(crate) fn enter(&mut self, waker: &Waker) {
        let Some(look) = self.look else { return };
        let place = self.take_place();
        let Some(watcher) = place.as_ref().map(|(watcher, _)| Arc::clone(watcher)).or_else(Watcher::current) else {
            // No thread could be had: the runtime has to look again and again.
            waker.wake_by_ref();
            return;
        };
        let number = place.map(|(_, number)| number);
        let number = watcher.enter(&self.watch, look, number, waker);
        self.place = Some((watcher, number));
    }

    /// After a look that was not in vain: takes it off the list. If it was called, and there is more, the next one is.
    pub(crate) fn leave(&mut self) {
        if let Some((watcher, number)) = self.take_place()
            && !watcher.leave(&self.watch, number)
        {
            pass_on(&self.watch);
        }
    }

    /// Its place, if that is with a watcher of this process.
    fn take_place(&mut self) -> Option<(Arc<Watcher>, u64)> {
        self.place.take().filter(|(watcher, _)| watcher.is_here())
    }
}

/// Wakes another one if there is something, on behalf of who was woken for it, or was to look. W is set.
fn pass_on(watch: &Watch) {
    // All are woken where they want different things. To wake one would take W away from under the others.
    if !watch.is_for_all() && watch.is_met() {
        watch.event().notify_one();
    }
}

impl Drop for Listing {
    /// Looks once more, whether it was called or not: it may have been called between its last look and its last [listing](Self::enter).
    fn drop(&mut self) {
        if let Some((watcher, number)) = self.take_place() {
            watcher.leave(&self.watch, number);
            pass_on(&self.watch);
        }
    }
}

/// A look at the condition.
#[derive(Clone, Copy)]
struct Look {
    /// With which W was set.
    word: u32,
    /// It was set with that word no later than then.
    since: Instant,
    /// It came no sooner than then.
    looked: Instant,
}

struct Watcher {
    /// How many forks there were when it was made.
    forks: u64,
    /// Changes to wake the thread.
    bell: Futex,
    list: Mutex<List>,
}

#[derive(Default)]
struct List {
    spots: Vec<Spot>,
    /// The last future's.
    number: u64,
    /// The thread sleeps, on what was listed when it went to sleep.
    is_asleep: bool,
}

/// An event count, and who waits for it.
struct Spot {
    watch: Watch,
    /// With which it is armed.
    word: u32,
    /// Since then at the latest.
    since: Instant,
    /// Somebody looks, or has looked, late enough after that.
    is_settled: bool,
    waiting: VecDeque<(u64, Waker)>,
}

impl Spot {
    fn new(watch: Watch, word: u32, since: Instant) -> Self {
        Self { watch, word, since, is_settled: false, waiting: VecDeque::new() }
    }

    fn rearm(&mut self, word: u32, since: Instant) {
        (self.word, self.since, self.is_settled) = (word, since, false);
    }

    /// From when on a look is late enough.
    fn late(&self) -> Instant {
        self.since + LATE
    }

    /// When there is something to be done for it, if nothing happens.
    fn due(&self, now: Instant) -> Option<Instant> {
        match self.waiting.is_empty() {
            // Whoever comes back until then need not wake the thread.
            true if now < self.late() => Some(self.late()),
            true => Some(self.since + LINGER),
            false => (!self.is_settled).then(|| self.late()),
        }
    }

    fn is_of(&self, watch: &Watch) -> bool {
        std::ptr::eq(self.watch.event(), watch.event())
    }

    /// Takes those off the list who are to look: one, or all if they want different things.
    fn call(&mut self, wakers: &mut Vec<Waker>) {
        let count = if self.watch.is_for_all() { self.waiting.len() } else { 1 };
        wakers.extend(self.waiting.drain(..count.min(self.waiting.len())).map(|(_, waker)| waker));
    }
}

impl Watcher {
    /// The watcher of this process. `None` if there is none and no thread can be had.
    fn current() -> Option<Arc<Self>> {
        // Held for a moment only; but in a fork it may be held for ever, by a thread that does not exist here.
        let lock = |_| match CURRENT.try_lock() {
            Ok(current) => Some(current),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => {
                yield_now();
                None
            }
        };
        let mut current = (0..10_000).find_map(lock)?;
        if let Some(watcher) = current.as_ref().filter(|watcher| watcher.is_here()) {
            return Some(Arc::clone(watcher));
        }
        let watcher = Arc::new(Self { forks: shmkit_segment::forks(), bell: Futex::default(), list: Mutex::default() });
        let for_thread = Arc::clone(&watcher);
        thread::Builder::new().name("shmkit-watcher".into()).spawn(move || for_thread.run()).ok()?;
        *current = Some(Arc::clone(&watcher));
        Some(watcher)
    }

    /// Whether its thread is of this process, and not of one that this is a fork of.
    fn is_here(&self) -> bool {
        self.forks == shmkit_segment::forks()
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a future on the list, or has another waker called for the one with `number` if it is on it still. Its number.
    fn enter(&self, watch: &Watch, look: Look, number: Option<u64>, waker: &Waker) -> u64 {
        let mut called = Vec::new();
        let mut guard = self.list();
        let list = &mut *guard;
        let at = list.spots.iter().position(|spot| spot.is_of(watch)).unwrap_or(list.spots.len());
        let is_new = at == list.spots.len();
        if is_new {
            list.spots.push(Spot::new(Arc::clone(watch), look.word, look.since));
        }
        let spot = &mut list.spots[at];
        let is_changed = spot.word != look.word;
        if is_changed {
            // Who armed it anew has looked since, but only for itself.
            if watch.is_for_all() {
                let itself = spot.waiting.iter().position(|(other, _)| Some(*other) == number);
                let itself = itself.and_then(|at| spot.waiting.remove(at));
                spot.call(&mut called);
                spot.waiting.extend(itself);
            }
            spot.rearm(look.word, look.since);
        }
        spot.is_settled |= look.looked >= spot.late();
        // The thread looks up in time of itself, unless it does not know of this or was there in vain already.
        let is_overdue = spot.waiting.is_empty() && !spot.is_settled && Instant::now() >= spot.late();
        let number = match spot.waiting.iter_mut().find(|(other, _)| Some(*other) == number) {
            Some((number, other)) => {
                other.clone_from(waker);
                *number
            }
            None => {
                list.number += 1;
                spot.waiting.push_back((list.number, waker.clone()));
                list.number
            }
        };
        if is_new || is_changed || is_overdue {
            self.ring(list);
        }
        drop(guard);
        called.into_iter().for_each(Waker::wake);
        number
    }

    /// Takes a future off the list: false if it was called and so is not on it any more.
    fn leave(&self, watch: &Watch, number: u64) -> bool {
        let mut list = self.list();
        let Some(spot) = list.spots.iter_mut().find(|spot| spot.is_of(watch)) else { return false };
        let before = spot.waiting.len();
        spot.waiting.retain(|(other, _)| *other != number);
        spot.waiting.len() < before
    }

    /// Wakes the thread, if it sleeps, to look at the list.
    fn ring(&self, list: &mut List) {
        if list.is_asleep {
            list.is_asleep = false;
            self.bell.fetch_add(1, Ordering::Relaxed);
            self.bell.wake(1);
        }
    }

    fn run(&self) {
        let mut naps = Naps::new();
        loop {
            let mut list = self.list();
            let Found { called, consumed, gone } = list.look();
            if !called.is_empty() || !consumed.is_empty() {
                drop(list);
                naps = Naps::new();
                // Between W, which is set for those who are called, and their look.
                fence(Ordering::SeqCst);
                called.into_iter().for_each(Waker::wake);
                consumed.iter().for_each(pass_on);
                continue;
            }
            let now = Instant::now();
            let due = list.spots.iter().filter_map(|spot| spot.due(now)).min();
            let due = due.map(|due| due.saturating_duration_since(now));
            let is_idle = due.is_none();
            let nap = due.unwrap_or_else(|| if list.spots.is_empty() { Duration::MAX } else { naps.next() });
            let spots: Vec<_> = list.spots.iter().map(|spot| (Arc::clone(&spot.watch), spot.word)).collect();
            let bell = self.bell.load(Ordering::Relaxed);
            list.is_asleep = true;
            drop(list);
            // Not under the lock: it may be the last that keeps a segment.
            drop(gone);
            let words = spots.iter().map(|(watch, word)| (watch.event().futex(), *word));
            let words: Vec<_> = iter::once((&self.bell, bell)).chain(words).collect();
            let sleep = Futex::sleep_any(words.iter().copied(), nap);
            self.list().is_asleep = false;
            if sleep == Sleep::TimedOut && is_idle {
                spots.iter().for_each(|(watch, _)| watch.look_after_peers());
            }
        }
    }
}

/// What a look at the list came to.
struct Found {
    /// Who are to look; they are off the list.
    called: Vec<Waker>,
    /// What the thread was woken for, perhaps, and nobody here waits for any more: W is set, and they are not watched now.
    consumed: Vec<Watch>,
    /// Spots that nobody has come back to.
    gone: Vec<Spot>,
}

impl List {
    fn look(&mut self) -> Found {
        let now = Instant::now();
        let (mut called, mut consumed) = (Vec::new(), Vec::new());
        let gone = self.spots.extract_if(.., |spot| {
            if spot.watch.event().futex().load(Ordering::Relaxed) != spot.word {
                // Whoever looks on account of this must find W set.
                spot.rearm(spot.watch.event().arm(), now);
                if spot.waiting.is_empty() {
                    consumed.push(Arc::clone(&spot.watch));
                    return true;
                }
                spot.call(&mut called);
            } else if !spot.is_settled && !spot.waiting.is_empty() && now >= spot.late() {
                // Whoever is called looks late enough.
                spot.is_settled = true;
                spot.call(&mut called);
            }
            spot.waiting.is_empty() && now >= spot.since + LINGER
        });
        let gone = gone.collect();
        Found { called, consumed, gone }
    }
}
