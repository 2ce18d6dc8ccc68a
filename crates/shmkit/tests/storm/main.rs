//! Kill storms: processes in every role under load, killed at random instants, and a ledger of what was sent against what was received.
//!
//! `SHMKIT_STORM_KILLS` sets how many are killed in each storm (200 if it is not set), `SHMKIT_STORM_SEED` repeats one. The long run:
//!
//! ```sh
//! SHMKIT_STORM_KILLS=1000 cargo test --release -p shmkit --test storm -- --nocapture --test-threads 1
//! ```
//!
//! Each of queues prints kills, messages, how many were lost, duplicated (only ever what a killed receiver had not acknowledged), and the
//! slowest recovery: the time from a kill until the others, who may have met what the dead had claimed, had received two queues full. Each of locks prints
//! kills, waiters that were stranded (none), what became of the changes that were completed, and how long it took from a kill until somebody else had
//! the lock; each of pipes prints kills, what has passed, and how long it took from a kill until the other end was told:
//!
//! ```sh
//! SHMKIT_STORM_KILLS=10000 cargo test --release -p shmkit --test storm locks::mutex -- --nocapture
//! ```

mod board;
mod contention;
mod hand;
mod locks;
mod others;
mod pipes;
mod queues;
mod soak;
mod spsc;

use board::Board;
use shmkit::prelude::*;
use shmkit::segment::Error;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

const SIGKILL: i32 = 9;
/// Messages in a queue.
const CAPACITY: usize = 16;
/// Nothing takes this long but a hang.
const HANG: Duration = Duration::from_secs(60);

fn kills() -> usize {
    std::env::var("SHMKIT_STORM_KILLS").map_or(200, |kills| kills.parse().expect("a number of kills"))
}

fn random(storm: &str) -> fastrand::Rng {
    let seed =
        std::env::var("SHMKIT_STORM_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().expect("a seed"));
    println!("{storm}: SHMKIT_STORM_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}

/// Lets a random time pass, during which whoever is to be killed works. The instant is the input of the test: nothing waits for it.
fn random_time(random: &mut fastrand::Rng) {
    let until = Instant::now() + Duration::from_micros(random.u64(..3_000));
    while Instant::now() < until {
        std::thread::yield_now();
    }
}

/// Kills a process: true unless it had ended by itself.
fn kill(victim: JoinHandle<()>) -> bool {
    victim.kill().expect("a child can be killed");
    match victim.join() {
        Ok(()) => false,
        Err(JoinError::Exited { status }) if status.signal() == Some(SIGKILL) => true,
        // Before it came to life.
        Err(JoinError::NeverStarted(_)) => true,
        Err(other) => panic!("the victim failed in another way: {other}"),
    }
}

/// Claims an end whose last holder is dead, which the kernel may show a moment late: see [`Segment::sole_role`].
fn succeed<End>(claim: impl Fn() -> Result<End, Error>) -> End {
    let started = Instant::now();
    loop {
        match claim() {
            Ok(end) => return end,
            Err(Error::RoleTaken { .. }) if started.elapsed() < HANG => std::thread::yield_now(),
            Err(other) => panic!("{other}"),
        }
    }
}

/// Waits until so many messages more were received that whatever the dead had claimed was passed, and says how long it took since `death`.
fn wait_for_recovery(board: &Board, death: Instant) -> Duration {
    let goal = board.received() + 2 * CAPACITY as u64;
    while board.received() < goal {
        assert!(death.elapsed() < HANG, "the others hang");
        std::thread::yield_now();
    }
    death.elapsed()
}
