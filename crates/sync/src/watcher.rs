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
//!           word as it is    │                                                │  dropped, after it was called:
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
//! - Who consumed a wake and leaves without using it passes it on: a future that was called and is dropped before it looked, does so when it is dropped.
//! - The first look after W was set is repeated after 100 µs, should nothing happen, when every store that its notifier did not order has long been visible. The watcher
//!   calls a future then; one that looks so late says, when it lists itself again, that with this word it is settled.
//! - A future that lists itself with another word than the others has armed the event count anew, and looked since, on behalf of all who wait for the same.
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
    /// With which word it has listed itself, and since when.
    armed: Option<(u32, Instant)>,
}

impl Listing {
    pub(crate) fn new(watch: Watch) -> Self {
        Self { watch, place: None, armed: None }
    }

    /// Sets W. A fence and a look at the condition must follow before it [lists itself](Self::enter).
    pub(crate) fn arm(&mut self) -> u32 {
        self.watch.event().arm()
    }

    /// Has `waker` called when there is something. `word` is what [`arm`](Self::arm) said, before the look that was in vain.
    pub(crate) fn enter(&mut self, word: u32, waker: &Waker) {
        let now = Instant::now();
        let is_settled = match self.armed {
            Some((before, since)) if before == word => now.duration_since(since) >= Naps::UNSETTLED,
            _ => {
                self.armed = Some((word, now));
                false
            }
        };
        let place = self.place.take().filter(|(watcher, _)| watcher.is_here());
        let Some(watcher) = place.as_ref().map(|(watcher, _)| Arc::clone(watcher)).or_else(Watcher::current) else {
            // No thread could be had: the runtime has to look again and again.
            waker.wake_by_ref();
            return;
        };
        let number = watcher.enter(&self.watch, word, is_settled, place.map(|(_, number)| number), waker);
        self.place = Some((watcher, number));
    }

    /// Takes it off the list.
    pub(crate) fn leave(&mut self) {
        let Some((watcher, number)) = self.place.take().filter(|(watcher, _)| watcher.is_here()) else { return };
        // W is set: the watcher has set it before it called.
        if !watcher.leave(&self.watch, number) && self.watch.is_met() {
            self.watch.event().notify_one();
        }
    }
}

impl Drop for Listing {
    fn drop(&mut self) {
        self.leave();
    }
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
    /// The next future's.
    number: u64,
    /// The thread sleeps, on what was listed when it went to sleep.
    is_asleep: bool,
}

/// An event count, and who waits for it.
struct Spot {
    watch: Watch,
    /// With which it is armed.
    word: u32,
    /// Since when.
    since: Instant,
    /// A look that came late enough was in vain, or any that is still to come is late enough.
    is_settled: bool,
    waiting: VecDeque<(u64, Waker)>,
}

impl Spot {
    fn new(watch: Watch, word: u32) -> Self {
        Self { watch, word, since: Instant::now(), is_settled: false, waiting: VecDeque::new() }
    }

    /// Armed with `word` now.
    fn rearm(&mut self, word: u32) {
        (self.word, self.since, self.is_settled) = (word, Instant::now(), false);
    }

    /// When there is something to be done for it, if nothing happens.
    fn due(&self) -> Option<Instant> {
        match (self.is_settled, self.waiting.is_empty()) {
            (false, _) => Some(self.since + Naps::UNSETTLED),
            (true, true) => Some(self.since + LINGER),
            (true, false) => None,
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
    fn enter(&self, watch: &Watch, word: u32, is_settled: bool, number: Option<u64>, waker: &Waker) -> u64 {
        let mut called = Vec::new();
        let mut guard = self.list();
        let list = &mut *guard;
        let at = list.spots.iter().position(|spot| spot.is_of(watch)).unwrap_or(list.spots.len());
        let is_new = at == list.spots.len();
        if is_new {
            list.spots.push(Spot::new(Arc::clone(watch), word));
        }
        let spot = &mut list.spots[at];
        let is_changed = is_new || spot.word != word;
        if is_changed {
            // Who armed it anew has looked since, but only for itself.
            if watch.is_for_all() {
                let itself = spot.waiting.iter().position(|(other, _)| Some(*other) == number);
                let itself = itself.and_then(|at| spot.waiting.remove(at));
                spot.call(&mut called);
                spot.waiting.extend(itself);
            }
            spot.rearm(word);
        }
        spot.is_settled |= is_settled;
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
        if is_changed {
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
            let (wakers, gone) = list.look();
            if !wakers.is_empty() {
                drop(list);
                naps = Naps::new();
                // Between W, which is set for those who are called, and their look.
                fence(Ordering::SeqCst);
                wakers.into_iter().for_each(Waker::wake);
                continue;
            }
            let due = list.spots.iter().filter_map(Spot::due).min();
            let due = due.map(|due| due.saturating_duration_since(Instant::now()));
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

impl List {
    /// Takes those off the list who are to look; and the spots that nobody has come back to.
    fn look(&mut self) -> (Vec<Waker>, Vec<Spot>) {
        let mut called = Vec::new();
        let now = Instant::now();
        let gone = self.spots.extract_if(.., |spot| {
            let is_changed = spot.watch.event().futex().load(Ordering::Relaxed) != spot.word;
            if spot.waiting.is_empty() && (is_changed || now >= spot.since + LINGER) {
                return true;
            }
            if is_changed {
                // Whoever is called must find W set when it looks.
                spot.rearm(spot.watch.event().arm());
                spot.call(&mut called);
            } else if !spot.is_settled && now >= spot.since + Naps::UNSETTLED {
                // Whoever is called, and whoever comes later, looks late enough.
                spot.is_settled = true;
                spot.call(&mut called);
            }
            false
        });
        let gone = gone.collect();
        (called, gone)
    }
}
