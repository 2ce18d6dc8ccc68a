//! A barrier: where each waits until all have come.
//!
//! ```text
//! at 0  word = generation:32 | since:15 | BROKEN | arrived:16
//!    8  changed, the event count of those who wait
//!
//! arrived + 1, …, all but one ──the last one──▶ arrived = all: its action runs ──▶ generation + 1, arrived 0
//! somebody dies, gives up or aborts ──▶ BROKEN ──reset──▶ generation + 1, arrived 0
//! ```
//!
//! Every step is one compare-exchange of the whole word. So whoever arrives is counted in the very generation that it then waits for, each has an index of its own, and a generation that was broken is never
//! completed: the last one's exchange fails.
//!
//! # Passed or broken
//!
//! A waiter that wakes up may find a later generation, and must know what became of its own. `since` says how many have been passed since the last one that was broken and then reset. If those are all since the
//! waiter's own, that one was passed; if it is one less, the waiter's own was broken. So the generation is looked at before BROKEN: who was let through is told so, although the next generation may be broken already. If one after
//! its own was broken *and* reset, all in its sleep, then it cannot know, and is told that the barrier is broken. `since` counts up to 32,767: whoever sleeps through
//! more generations than that cannot know either.
//!
//! # When somebody dies
//!
//! It may have been on its way to the barrier, waiting, or running the action: for the others it makes no difference, as it will not do its part. So any death breaks the barrier. Who leaves in good
//! order does not.
//!
//! `models/barrier.py` explores it. The reusable barrier with a generation is the field's common one (POSIX, Python's `threading.Barrier`, whose behaviour this one has).

use crate::error::BarrierError;
use crate::handle::handle;
use crate::{Deadline, Error, EventCount};
use shmkit_segment::primitive::{AtomicU64, Ordering};
use shmkit_segment::{At, Configuration, Line, Mapped, Memory, Object, Options, PeerId, Plan, Role, kind, shared};
use std::alloc::Layout;
use std::time::{Duration, Instant};

/// The word, in parts.
#[derive(Clone, Copy)]
struct State(u64);

impl State {
    const BROKEN: u64 = 1 << 16;
    const MOST_SINCE: u64 = 0x7FFF;

    fn new(generation: u32, since: u64) -> Self {
        Self(u64::from(generation) << 32 | since.min(Self::MOST_SINCE) << 17)
    }

    fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    fn since(self) -> u64 {
        self.0 >> 17 & Self::MOST_SINCE
    }

    fn is_broken(self) -> bool {
        self.0 & Self::BROKEN != 0
    }

    fn arrived(self) -> u64 {
        self.0 & 0xFFFF
    }

    /// What has become of `generation`, which was there when this waiter arrived: nothing yet, or passed, or broken.
    fn fate_of(self, generation: u32) -> Option<Result<(), BarrierError>> {
        let age = self.generation().wrapping_sub(generation);
        match (age, self.is_broken()) {
            (0, false) => None,
            (0, true) => Some(Err(BarrierError::Broken)),
            _ if self.since() >= u64::from(age) => Some(Ok(())),
            _ => Some(Err(BarrierError::Broken)),
        }
    }
}

shared! {
    /// A barrier, as it lies in memory.
    pub struct Gathering {
        word: AtomicU64,
        changed: EventCount,
    }
}

#[cfg(not(any(loom, feature = "portable")))]
const _: () = assert!(size_of::<Gathering>() == 16 && std::mem::offset_of!(Gathering, changed) == 8);

/// What is in the segment of a [`Barrier`].
pub struct BarrierObject {
    gathering: Mapped<Line<Gathering>>,
    parties: u64,
}

impl Object for BarrierObject {
    const KIND: u32 = kind(b"BARR");
    const HARDENED: bool = true;
    type Parts = (At<Line<Gathering>>, u16);

    fn payload() -> Layout {
        Layout::new::<()>()
    }

    fn plan(configuration: &Configuration, plan: &mut Plan) -> Result<Self::Parts, Error> {
        match u16::try_from(configuration[0]) {
            Ok(parties @ 1..) => Ok((plan.one()?, parties)),
            _ => Err(Error::Geometry("a barrier is for 1 to 65,535 parties")),
        }
    }

    fn attach(memory: &Memory, parts: &Self::Parts) -> Self {
        Self { gathering: memory.one(parts.0), parties: u64::from(parts.1) }
    }

    fn peer_died(&self) {
        let _ = self.break_up(|_| true);
    }

    fn sweep(&self, _dead: PeerId, _reaper: PeerId) {}

    fn wake_all(&self) {
        self.gathering.changed.rouse();
    }
}

impl BarrierObject {
    /// The configuration of one for `parties`.
    #[must_use]
    pub fn configuration(parties: usize) -> Configuration {
        [parties as u64, 0, 0, 0, 0, 0, 0, 0]
    }

    fn look(&self) -> State {
        // Acquire pairs with the release of those who arrived: what all did before is seen by all after.
        State(self.gathering.word.load(Ordering::Acquire))
    }

    /// Changes the word by `change`, until that gives nothing or the exchange succeeds: the word before, if it was changed.
    fn change(&self, mut change: impl FnMut(State) -> Option<State>) -> Result<State, State> {
        let mut found = self.look();
        loop {
            let Some(next) = change(found) else { return Err(found) };
            // Release pairs with the acquire in `look`, of those who see it; acquire, as this too is a look.
            match self.gathering.word.compare_exchange(found.0, next.0, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(found),
                Err(now) => found = State(now),
            }
        }
    }

    /// Breaks the barrier if it is in a state that is `meant`, and tells everybody: the state in which it is not, or was not.
    fn break_up(&self, meant: impl Fn(State) -> bool) -> Result<State, State> {
        let outcome =
            self.change(|state| (meant(state) && !state.is_broken()).then_some(State(state.0 | State::BROKEN)));
        self.gathering.changed.notify_all();
        outcome
    }
}

/// What one finds on arriving.
enum Arrival {
    /// The `index`-th to come, in a generation that is to be waited for.
    Early {
        index: usize,
        generation: u32,
    },
    /// The last one.
    Last {
        generation: u32,
    },
    Broken,
}

/// Where a number of threads or processes wait until all of them have come. Clones, and handles passed to other processes, are the same barrier.
///
/// ```
/// use shmkit_sync::Barrier;
///
/// let barrier = Barrier::private(3)?; // or `new`, for processes
/// std::thread::scope(|scope| {
///     let threads: Vec<_> = (0..3).map(|_| scope.spawn(|| barrier.wait().unwrap())).collect();
///     let mut indices: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
///     indices.sort_unstable();
///     assert_eq!(indices, [0, 1, 2]);
/// });
/// # Ok::<(), shmkit_sync::Error>(())
/// ```
///
/// Whoever has passed sees what all the others did before they came. It can be used again at once, any number of times.
///
/// # When a process dies
///
/// The barrier is broken for all, whether or not the dead one had come, and even if it only had a handle: those who wait are told within about 50 ms, those who come later at once, until somebody
/// [resets](Self::reset) it. A process that is stopped keeps the others waiting; that is what time-outs are for. A process that ends in good order, or drops its handle, breaks nothing.
///
/// # Signal handlers
///
/// May abort it: that neither locks nor allocates. They must not wait.
pub struct Barrier {
    member: Role<BarrierObject>,
}

handle!(Barrier, BarrierObject);

impl Barrier {
    /// One for `parties` (1 to 65,535) that can be passed to child processes.
    ///
    /// # Errors
    /// [`Error::Geometry`] for another number of parties; [`Error::NoSpace`] and [`Error::System`] if shared memory cannot be had.
    pub fn new(parties: usize) -> Result<Self, Error> {
        Options::new().anonymous(BarrierObject::configuration(parties)).map(|segment| Self::with(segment.role(0)))
    }

    /// One for `parties` threads of this process.
    ///
    /// # Errors
    /// [`Error::Geometry`] for another number than 1 to 65,535.
    pub fn private(parties: usize) -> Result<Self, Error> {
        Options::new().private(BarrierObject::configuration(parties)).map(|segment| Self::with(segment.role(0)))
    }

    fn with(member: Role<BarrierObject>) -> Self {
        Self { member }
    }

    /// How many have to come.
    #[must_use]
    pub fn parties(&self) -> usize {
        self.object().parties as usize
    }

    /// How many are waiting now: a hint.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let state = self.object().look();
        if state.is_broken() { 0 } else { state.arrived() as usize }
    }

    /// Whether it is broken.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.object().look().is_broken()
    }

    /// Blocks until all have come: the index of this one, from 0 in the order of coming; each is given once.
    ///
    /// # Errors
    /// [`BarrierError::Broken`] if it is, or was broken meanwhile; [`BarrierError::Forked`].
    pub fn wait(&self) -> Result<usize, BarrierError> {
        self.wait_until(Deadline::NEVER, || {})
    }

    /// [`wait`](Self::wait)s; the last one to come runs its `action` before anybody goes on. If that panics, the barrier is broken.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_with(&self, action: impl FnOnce()) -> Result<usize, BarrierError> {
        self.wait_until(Deadline::NEVER, action)
    }

    /// [`wait`](Self::wait)s for at most `timeout`. If that is too short, the barrier is broken for all.
    ///
    /// # Errors
    /// [`BarrierError::Timeout`] for whose time it was; otherwise as [`wait`](Self::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<usize, BarrierError> {
        self.wait_until(Deadline::after(timeout), || {})
    }

    /// [`wait`](Self::wait)s until `deadline` at the latest. If that is too early, the barrier is broken for all.
    ///
    /// # Errors
    /// As [`wait_timeout`](Self::wait_timeout).
    pub fn wait_deadline(&self, deadline: Instant) -> Result<usize, BarrierError> {
        self.wait_until(deadline.into(), || {})
    }

    /// [`wait_with`](Self::wait_with) for at most `timeout`. If that is too short, the barrier is broken for all.
    ///
    /// # Errors
    /// As [`wait_timeout`](Self::wait_timeout).
    pub fn wait_with_timeout(&self, timeout: Duration, action: impl FnOnce()) -> Result<usize, BarrierError> {
        self.wait_until(Deadline::after(timeout), action)
    }

    /// Breaks it: those who wait, and those who come later, are told so. Does nothing in a child made by `fork`.
    pub fn abort(&self) {
        if !self.segment().is_defunct() {
            // It may be broken already.
            let _ = self.object().break_up(|_| true);
        }
    }

    /// Makes it as new. Those who wait are told that it was broken. Does nothing in a child made by `fork`.
    pub fn reset(&self) {
        if self.segment().is_defunct() {
            return;
        }
        let fresh = |state: State| {
            (state.is_broken() || state.arrived() > 0).then(|| State::new(state.generation().wrapping_add(1), 0))
        };
        // There may be nothing to do.
        let _ = self.object().change(fresh);
        self.object().gathering.changed.notify_all();
    }

    fn wait_until(&self, deadline: Deadline, action: impl FnOnce()) -> Result<usize, BarrierError> {
        if self.segment().is_defunct() {
            return Err(BarrierError::Forked);
        }
        match self.arrive(deadline)? {
            Arrival::Early { index, generation } => self.gather(generation, deadline).map(|()| index),
            Arrival::Last { generation } => {
                let object = self.object();
                let broken_by_panic = Abort(self);
                action();
                std::mem::forget(broken_by_panic);
                if self.segment().is_defunct() {
                    return Err(BarrierError::Forked);
                }
                let open = |state: State| {
                    let is_whole = state.generation() == generation && !state.is_broken();
                    is_whole.then(|| State::new(generation.wrapping_add(1), state.since() + 1))
                };
                let outcome = object.change(open);
                object.gathering.changed.notify_all();
                outcome.map(|_| self.parties() - 1).map_err(|_| BarrierError::Broken)
            }
            Arrival::Broken => Err(BarrierError::Broken),
        }
    }

    /// Arrives, once those of the last generation are through.
    fn arrive(&self, deadline: Deadline) -> Result<Arrival, BarrierError> {
        let object = self.object();
        let arrive = || {
            let outcome = object
                .change(|state| (!state.is_broken() && state.arrived() < object.parties).then_some(State(state.0 + 1)));
            match outcome {
                Ok(before) if before.arrived() + 1 == object.parties => {
                    Some(Arrival::Last { generation: before.generation() })
                }
                Ok(before) => {
                    Some(Arrival::Early { index: before.arrived() as usize, generation: before.generation() })
                }
                Err(state) if state.is_broken() => Some(Arrival::Broken),
                // Somebody runs the action.
                Err(_) => None,
            }
        };
        let idle = || self.segment().look_after_peers();
        let arrival = arrive().or_else(|| object.gathering.changed.wait_until(deadline, arrive, || false, idle));
        // It has not come, so it breaks nothing.
        arrival.ok_or(BarrierError::Timeout)
    }

    fn gather(&self, generation: u32, deadline: Deadline) -> Result<(), BarrierError> {
        let object = self.object();
        let fate = || object.look().fate_of(generation);
        let idle = || self.segment().look_after_peers();
        if let Some(fate) = object.gathering.changed.wait_until(deadline, fate, || false, idle) {
            return fate;
        }
        match object.break_up(|state| state.generation() == generation) {
            Ok(_) => Err(BarrierError::Timeout),
            // At the last moment.
            Err(state) => state.fate_of(generation).unwrap_or(Err(BarrierError::Timeout)),
        }
    }
}

/// Breaks the barrier if the action panics.
struct Abort<'a>(&'a Barrier);

impl Drop for Abort<'_> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
