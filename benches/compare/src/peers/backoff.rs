//! How everybody who polls waits: the same for shmkit and for its rivals.
//!
//! First on the processor, in case the other side is running and just about to act; then by giving the processor away, because with more
//! peers than cores the other side can only act once it has one.

use std::hint::spin_loop;
use std::time::{Duration, Instant};

/// About as long as it takes the other side's core to answer.
const SPINS: u32 = 64;
/// In a ping-pong of two the answer is always on its way, so that giving the processor away would only be noise; unless the other side
/// shares this one's core, which then must not take too long to show.
const HOT_SPINS: u32 = 2_000;
/// Nothing here takes that long unless a peer has died or a queue has lost a message.
const STUCK: Duration = Duration::from_secs(60);
/// Looking at the clock at every turn would itself be work.
const TURNS_PER_LOOK: u64 = 1024;

/// Tries until there is a result.
#[inline(always)]
pub fn until<R>(attempt: impl FnMut() -> Option<R>) -> R {
    poll::<SPINS, R>(attempt)
}

/// Tries until there is a result, which is expected within a microsecond.
#[inline(always)]
pub fn until_soon<R>(attempt: impl FnMut() -> Option<R>) -> R {
    poll::<HOT_SPINS, R>(attempt)
}

/// Tries until there is a result, and gives the processor away in between: where the other side may need this one to come to it.
pub fn until_patiently<R>(attempt: impl FnMut() -> Option<R>) -> R {
    poll::<0, R>(attempt)
}

#[inline(always)]
fn poll<const SPINS: u32, R>(mut attempt: impl FnMut() -> Option<R>) -> R {
    let mut turns = 0_u64;
    let mut since = None;
    loop {
        if let Some(result) = attempt() {
            return result;
        }
        if turns < SPINS as u64 {
            spin_loop();
        } else {
            give_away(turns, &mut since);
        }
        turns += 1;
    }
}

#[cold]
fn give_away(turns: u64, since: &mut Option<Instant>) {
    std::thread::yield_now();
    if turns.is_multiple_of(TURNS_PER_LOOK) {
        let since = since.get_or_insert_with(Instant::now);
        assert!(since.elapsed() < STUCK, "nothing has happened for {STUCK:?}: a peer died, or a message was lost");
    }
}
