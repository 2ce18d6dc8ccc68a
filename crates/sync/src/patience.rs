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
    left: u32,
}

const YIELDS: u32 = 4;
const SPINS: u32 = 60;
/// Models, and processes that are to be killed on their way to sleep, go there at once.
const NONE: bool = cfg!(any(loom, crash_points));

static ROUNDS: LazyLock<u32> = LazyLock::new(|| {
    // One system call. (The standard library would read files of the process's control group as well.)
    let alone = rustix::thread::sched_getaffinity(None).is_ok_and(|cores| cores.count() == 1);
    match alone {
        _ if NONE => 0,
        true => YIELDS,
        false => SPINS + YIELDS,
    }
});

impl Spin {
    pub(crate) fn new() -> Self {
        Self { left: *ROUNDS }
    }

    /// Waits a moment: false if it is time to sleep.
    pub(crate) fn again(&mut self) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        if self.left < YIELDS {
            yield_now()
        } else {
            spin_loop()
        }
        true
    }
}

/// How long to sleep at a time. A sleeper wakes now and then to see whether somebody it waits for has died, which the kernel does
/// not tell: after 10, 20 and 40 milliseconds and from then on every 50. (Before that, once, for the reason given at the head of
/// `event_count.rs`.)
pub(crate) struct Naps {
    next: Duration,
}

impl Naps {
    /// As long as what a notifier has written may remain unseen, with a large margin. No test can make it longer.
    pub(crate) const UNSETTLED: Duration = Duration::from_micros(100);
    const FIRST: Duration = Duration::from_millis(10);
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
