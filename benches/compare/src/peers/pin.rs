//! On which cores the two sides of a ping-pong run. Only latency groups choose; throughput is measured as the scheduler has it.

use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Where the two sides run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// Wherever the scheduler puts them.
    Free,
    /// Both on one core, so that a wake-up needs no second core to come out of its idle state.
    OneCore,
    /// Each on a core of its own.
    Apart,
}

impl Placement {
    /// What it adds to a contender's name.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Free => "",
            Self::OneCore => " pinned",
            Self::Apart => " pinned apart",
        }
    }

    /// The cores of the two sides.
    pub fn cores(self) -> Result<[Option<usize>; 2]> {
        let mut allowed = allowed()?.into_iter();
        let mut next = || allowed.next().context("there is no second core to pin the other side to");
        Ok(match self {
            Self::Free => [None, None],
            Self::OneCore => [Some(next()?); 2],
            Self::Apart => [Some(next()?), Some(next()?)],
        })
    }
}

/// The cores that this process may run on.
pub fn allowed() -> Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect())
}

/// Keeps the calling thread on `core`, if there is one to keep it on.
pub fn pin(core: Option<usize>) -> Result<()> {
    let Some(core) = core else { return Ok(()) };
    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(None, &set)?)
}
