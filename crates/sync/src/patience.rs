//! How long to wait before doing something else: spinning before sleeping, and sleeping before looking after the others.

use shmkit_segment::primitive::spin_loop;
use std::sync::LazyLock;
use std::thread::yield_now;
use std::time::Duration;

/// Waits a little, in the hope that sleeping can be avoided: first on the processor, then by giving it away.
///
/// On a single core nobody else makes progress while this thread spins, so there it only gives the processor away, which is cheaper than
/// to sleep and be woken if the other side is about to act.
pub(crate) struct Spin {
    spins: u32,
    yields: u32,
}

const YIELDS: u32 = 4;
const SPINS: u32 = 60;
/// For about as long as a store can take to become visible, several times over.
const SETTLING: u32 = 30;
/// Models, and processes that are to be killed on their way to sleep, go there at once.
const NONE: bool = cfg!(any(loom, crash_points));

static IS_ALONE: LazyLock<bool> = LazyLock::new(|| {
    // One system call. (The standard library would read files of the process's control group as well.)
    rustix::thread::sched_getaffinity(None).is_ok_and(|cores| cores.count() == 1)
});

impl Spin {
    /// For who would rather not sleep.
    pub(crate) fn new() -> Self {
        Self::of(SPINS, YIELDS)
    }

    /// For who is going to sleep, and has said so: while what others wrote before they could see that becomes visible.
    pub(crate) fn settling() -> Self {
        Self::of(SETTLING, 0)
    }

    fn of(spins: u32, yields: u32) -> Self {
        match NONE {
            true => Self { spins: 0, yields: 0 },
            false => Self { spins: if *IS_ALONE { 0 } else { spins }, yields },
        }
    }

    /// Waits a moment: false if it is time to sleep.
    pub(crate) fn again(&mut self) -> bool {
        if self.spins > 0 {
            self.spins -= 1;
            spin_loop();
        } else if self.yields > 0 {
            self.yields -= 1;
            yield_now();
        } else {
            return false;
        }
        true
    }
}

/// How long to sleep at a time. A sleeper wakes now and then to see whether somebody it waits for has died, which the kernel does
/// not tell: after 10, 20 and 40 milliseconds and from then on every 50. (And the first time after 10 in any case, for the reason given at the head of
/// `event_count.rs`.)
pub(crate) struct Naps {
    next: Duration,
}

impl Naps {
    const FIRST: Duration = Duration::from_millis(10);
    /// How long the first sleep is at most. No test can make it longer.
    ///
    /// Less would do, but not for less: a timer that ends before the kernel's next tick (every 1 to 10 ms) has to be set in hardware, and taken back if the sleeper is woken. On a virtual machine these two took 11 µs of a hand-over that
    /// takes 5.
    pub(crate) const UNSETTLED: Duration = Self::FIRST;
    const LONGEST: Duration = Duration::from_millis(50);

    pub(crate) fn new() -> Self {
        Self { next: FIXED.unwrap_or(Self::FIRST) }
    }

    /// The length of the next sleep.
    pub(crate) fn next(&mut self) -> Duration {
        let now = self.next;
        self.next = FIXED.unwrap_or((now * 2).min(Self::LONGEST));
        now
    }
}

/// `SHMKIT_NAP_MS` sets the length of all those sleeps. With an hour, a wake-up that was lost shows as a hang instead of as a delay, which is
/// how the test suite runs.
static FIXED: LazyLock<Option<Duration>> =
    LazyLock::new(|| std::env::var("SHMKIT_NAP_MS").ok()?.parse().ok().map(Duration::from_millis));
