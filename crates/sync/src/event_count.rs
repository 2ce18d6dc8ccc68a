//! The event count: how anything in this toolkit sleeps until a condition in shared memory holds.
//!
//! ```text
//! word = epoch:30 | CALLED | W        W: somebody may be asleep, or about to be
//!                                     CALLED: one of them was woken, and has not set W again yet
//!
//! wait:    set W            │  notify:  (the condition was made true before)
//!          fence SeqCst     │           W and CALLED clear? ───▶ done
//!          condition?  ───▶ done        CALLED? fence SeqCst, W still clear? ───▶ done
//!          sleep while the  │           epoch + 1, W clear  (one compare-exchange)
//!          word is this,    │           wake one, which leaves CALLED, or all
//!          at first 10 ms   │
//!          again            │
//! ```
//!
//! # Why no wake is lost
//!
//! Suppose first that the notifier had a fence too, between making the condition true and looking at W. The two fences are totally
//! ordered. If the waiter's comes first, the notifier's load sees W (or a later word, below); if the notifier's comes first, the
//! waiter's look at the condition sees it true. In the first case the notifier changes the word before it wakes, so a waiter that has
//! not gone to sleep yet is refused by the kernel, which compares the word, and looks again.
//!
//! It has none: that fence would be the most expensive part of an operation that wakes nobody (it costs a queue between two processes
//! two thirds of its rate; see ARCHITECTURE.md). Time takes its place. What can go wrong without it is that the notifier's load is done
//! before its store is visible: it sees W clear, and the waiter, meanwhile, the condition false. But a store leaves its core within a microsecond,
//! whatever becomes of the thread. So the waiter goes on looking for about that long after it has set W (unless it has but one core, where a notifier that does not run has no stores under way), and then the **first** sleep on a word
//! is 10 ms at most. If it ends with the word as it was, then W has been
//! set for that long: every notifier that missed it has made its condition visible since, and the waiter's next look sees that; every
//! later one sees W. Sleeps after that one can be long. The look makes a lost race rare, and the bound makes it a delay instead of a loss: what is right does not hang on how long a microsecond is.
//!
//! That holds for the waiter whose first sleep it was. Others who sleep on must not depend on it, and do in one case: of several sleepers one was woken, and before it sets W again there comes another
//! notification. It finds W clear, and leaves it to the one that was woken to see both events and to pass the second one on (the baton, below); but that one
//! has just looked, the second event was still under way, and nobody calls the next sleeper. (Found by the model.) So a notification that wakes one leaves CALLED until the one that was
//! woken sets W, and a notifier that finds it does have its fence. That is rare, and wakes are expensive anyway. If the wake found nobody, CALLED goes at once: then nobody sleeps, and who was
//! about to is refused by the kernel and begins again with a first sleep. Nor is it needed when all are woken, for the same reason.
//!
//! Nothing in a memory model says how long a store takes, so there the fence is real, and the first sleep is a sleep like others: what
//! `tests/loom` explores is the protocol with fences. `models/eventcount.py` has the one with store buffers and time.
//!
//! The notifier may find W gone, or lose its exchange, because another notifier came first and cleared it. That one wakes a
//! sleeper, which sets W again *before* it looks at the condition. It will see what both notifiers did. But if only one sleeper was
//! woken for two events, it takes one of them, and the other would wait for a further notification, while a second sleeper
//! sleeps. So a waiter that has slept and then got what it wanted asks whether there is `more`, and if so wakes the next: the
//! baton. W was set before that look, so an event that comes after it finds W and wakes somebody itself.
//!
//! The baton must be passed for lasting conditions too, such as "closed", even by a waiter that they send away: `notify_all` does nothing
//! while W is clear, and between another's `notify_one` and the moment at which the one that it woke sets W again, it is clear although
//! others sleep. (Found by loom in a queue with two receivers, of which the second slept on after the last sender had left.)
//!
//! A waiter whose time is up looks at the condition once more before it goes. A wake that was meant for it is either used then, or
//! was for something that somebody else has taken.
//!
//! Clearing W only when a wake found nobody, the obvious variant, deadlocks without any crash: the wake and the clearing are two
//! steps, and a sleeper that comes between them is forgotten.
//!
//! # Killed in between
//!
//! A notifier killed after its exchange has woken nobody; a sleeper killed after it was chosen has taken the wake with it. In both cases
//! whoever reaps the dead process [rouses](EventCount::rouse) everyone, unconditionally. `models/eventcount.py` explores all of this with kills at every
//! step, `tests/loom` this very code with weak memory.
//!
//! A process that is stopped is not dead, and nobody rouses on its behalf. If it was chosen by a wake of one, it takes that wake-up with it, and CALLED stays until it goes on; the others come up by themselves
//! when their nap ends, after 50 ms at most.
//!
//! After Dmitry Vyukov's eventcount and folly's `EventCount`, with the counter and the flag in one word that a kernel can compare.

use crate::Deadline;
use crate::futex::{Futex, Sleep};
use crate::patience::{Naps, Spin};
use shmkit_segment::primitive::{Ordering, fence, written};
use shmkit_segment::shared;
use std::time::Duration;

const W: u32 = 1;
const CALLED: u32 = 2;
const EPOCH: u32 = 4;

shared! {
    /// Sleeping until a condition in shared memory holds; 4 bytes (128 with the feature `portable`).
    ///
    /// A condition is anything that becomes true by what others write. They call [`notify_one`](Self::notify_one) after writing it, and
    /// if nobody sleeps that costs a load.
    ///
    /// ```
    /// use shmkit_segment::primitive::{AtomicU32, Ordering};
    /// use shmkit_sync::{Deadline, EventCount};
    ///
    /// // In shared memory, these are parts of an `Object`, whose `wake_all` rouses the event count.
    /// let (door, opened) = (AtomicU32::new(0), EventCount::default());
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| {
    ///         let is_open = || (door.load(Ordering::Acquire) == 1).then_some(());
    ///         opened.wait_until(Deadline::NEVER, is_open, || false, || {}).expect("there is no deadline");
    ///     });
    ///     door.store(1, Ordering::Release);
    ///     opened.notify_all(); // after the condition was made true
    /// });
    /// ```
    pub struct EventCount {
        word: Futex,
    }
}

#[cfg(not(any(loom, feature = "portable")))]
const _: () = assert!(size_of::<EventCount>() == 4);
/// Objects give it a line of its own.
#[cfg(all(feature = "portable", not(loom)))]
const _: () = assert!(size_of::<shmkit_segment::Line<EventCount>>() == 128);

impl EventCount {
    /// Wakes one waiter, if there is one: for conditions that one waiter makes false again.
    ///
    /// Costs a load if nobody waits; else a compare-exchange and a system call, or, while somebody who was woken has not come up yet, a fence.
    #[inline]
    pub fn notify_one(&self) {
        self.notify(1);
    }

    /// Wakes all waiters: for conditions that stay true, where waiters of one event count want different things, and where there is only one, as it never costs a fence.
    #[inline]
    pub fn notify_all(&self) {
        self.notify(i32::MAX as u32);
    }

    /// Whether somebody may be asleep or about to be: for who would have to find out first whether there is something to notify of. Costs a load.
    #[inline]
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        written();
        self.word.load(Ordering::Relaxed) & W != 0
    }

    /// Wakes everyone who sleeps or is about to, whatever the word says: after a death, when the word cannot be trusted to tell.
    ///
    /// The dead process may have cleared W without waking anybody, or have made a condition true without moving the epoch. So the epoch
    /// moves even if W is clear, which turns back a waiter that has looked already, and W stays set, in case this process
    /// dies before it wakes them.
    ///
    /// Costs a compare-exchange and a system call.
    #[cold]
    pub fn rouse(&self) {
        let mut word = self.word.load(Ordering::Relaxed);
        // SeqCst: what was written before is seen by whoever reads this word afterwards and then passes its fence.
        while let Err(found) = self.word.compare_exchange(
            word,
            word.wrapping_add(EPOCH) & !CALLED | W,
            Ordering::SeqCst,
            Ordering::Relaxed,
        ) {
            word = found;
        }
        self.word.wake(i32::MAX as u32);
    }

    #[inline]
    fn notify(&self, count: u32) {
        // Takes the place of a partner of the fence in `wait_until`.
        written();
        let word = self.word.load(Ordering::Relaxed);
        if word & (W | CALLED) != 0 {
            self.wake(word, count);
        }
    }

    #[cold]
    fn wake(&self, mut word: u32, count: u32) {
        loop {
            if word & W == 0 {
                if word & CALLED == 0 {
                    return;
                }
                // Pairs with the fence in `wait_until`: whoever was called sees what was written before, or has set W.
                fence(Ordering::SeqCst);
                word = self.word.load(Ordering::Relaxed);
                if word & W == 0 {
                    return;
                }
            }
            let called = if count == 1 { CALLED } else { 0 };
            let next = word.wrapping_add(EPOCH) & !(W | CALLED) | called;
            // Release: what the waiter is to see was written before, and it passes its fence after it was woken or refused.
            match self.word.compare_exchange(word, next, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => {
                    if self.word.wake(count) == 0 && called != 0 {
                        // Failure: somebody has come to sleep, or to wake.
                        let _ = self.word.compare_exchange(next, next & !CALLED, Ordering::Relaxed, Ordering::Relaxed);
                    }
                    return;
                }
                Err(found) => word = found,
            }
        }
    }

    /// Waits until `attempt` gives a result, at most until `deadline`, after which it is tried once more: `None` if it fails
    /// then too.
    ///
    /// `attempt` is called at any time and any number of times. `more` is asked after a success that came from a sleep: is there
    /// something for the next waiter, a lasting condition included? (With `notify_all` only, or a single waiter, `|| false` will do.) `idle` is called now and then while
    /// nothing happens, to look after peers that may have died.
    ///
    /// Spins for about a microsecond, unless there is but one core, before it sleeps.
    pub fn wait_until<R>(
        &self,
        deadline: Deadline,
        attempt: impl FnMut() -> Option<R>,
        more: impl Fn() -> bool,
        idle: impl FnMut(),
    ) -> Option<R> {
        wait_for_any(&mut [Armed::new(self)], deadline, attempt, |_| more(), idle)
    }

    /// As [`wait_until`](Self::wait_until), for what any of several event counts is notified of. Either there is one waiter of each, or it is notified by [`notify_all`](Self::notify_all).
    ///
    /// To sleep on more than one costs a compare-exchange for each, and a system call (`futex_waitv`, from Linux 5.16 on; before that, a look every millisecond).
    pub fn wait_any<R, const N: usize>(
        events: [&Self; N],
        deadline: Deadline,
        attempt: impl FnMut() -> Option<R>,
        idle: impl FnMut(),
    ) -> Option<R> {
        wait_for_any(&mut events.map(Armed::new), deadline, attempt, |_| false, idle)
    }

    /// The word, for who sleeps on behalf of others.
    #[cfg(feature = "async")]
    pub(crate) fn futex(&self) -> &Futex {
        &self.word
    }

    /// Sets W, and says what the word is then. A fence and a look at the condition must follow before anybody sleeps.
    pub(crate) fn arm(&self) -> u32 {
        let mut word = self.word.load(Ordering::Relaxed);
        while word & W == 0 {
            let armed = word & !CALLED | W;
            // Relaxed: the fence that follows orders it before the look.
            match self.word.compare_exchange(word, armed, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return armed,
                Err(found) => word = found,
            }
        }
        word
    }
}

/// An event count that somebody waits for.
pub(crate) struct Armed<'a> {
    event: &'a EventCount,
    /// With which it was armed.
    word: u32,
    /// With which a first sleep has passed undisturbed.
    settled: Option<u32>,
}

impl<'a> Armed<'a> {
    pub(crate) fn new(event: &'a EventCount) -> Self {
        Self { event, word: 0, settled: None }
    }
}

/// [`EventCount::wait_until`] for what any of several event counts is notified of. `more` is asked of each, by its number.
pub(crate) fn wait_for_any<R>(
    events: &mut [Armed<'_>],
    deadline: Deadline,
    mut attempt: impl FnMut() -> Option<R>,
    more: impl Fn(usize) -> bool,
    mut idle: impl FnMut(),
) -> Option<R> {
    let mut spin = Spin::new();
    while spin.again() {
        if let Some(result) = attempt() {
            return Some(result);
        }
    }
    let mut naps = Naps::new();
    let mut slept = false;
    loop {
        // All of them, each time: a sleep on several words may have taken the wake-ups of more than one.
        events.iter_mut().for_each(|armed| armed.word = armed.event.arm());
        // Before the attempt, so that there is one after the deadline.
        let remaining = deadline.remaining();
        // Pairs with what was written before `notify`.
        fence(Ordering::SeqCst);
        let is_first = events.iter().any(|armed| armed.settled != Some(armed.word));
        let mut settling = Spin::settling();
        loop {
            if let Some(result) = attempt() {
                let concerned = events.iter().enumerate().filter(|(index, _)| slept && more(*index));
                concerned.for_each(|(_, armed)| armed.event.notify_one());
                return Some(result);
            }
            if remaining == Some(Duration::ZERO) {
                return None;
            }
            if !is_first || !settling.again() {
                break;
            }
        }
        let nap = if is_first { Naps::UNSETTLED } else { naps.next() };
        let nap = remaining.map_or(nap, |remaining| nap.min(remaining));
        match Futex::sleep_any(events.iter().map(|armed| (&armed.event.word, armed.word)), nap) {
            Sleep::Woken => slept = true,
            Sleep::TimedOut => {
                events.iter_mut().for_each(|armed| armed.settled = Some(armed.word));
                idle();
            }
            Sleep::Again => {}
        }
    }
}
