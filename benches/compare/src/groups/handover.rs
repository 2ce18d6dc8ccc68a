//! Waking somebody who sleeps, between two processes.

use crate::group::Peers::Processes;
use crate::group::{Bound, Contender, Group, Unit};
use crate::options::Options;
use crate::peers::handover::round_trips;
use crate::peers::pin::{Placement, allowed};
use crate::peers::processes::Ready;
use crate::peers::trip::Latency;
use crate::rivals::glibc;
use crate::rivals::limits::Futex;
use crate::rivals::shmkit_locks::{Each, Turn};
use anyhow::Result;
use shmkit::sync::{CountingSemaphore, Event};

const ITEMS: u64 = 5_000;

/// A way to make that many round trips.
type Trips = fn(u64, Placement) -> Result<Latency>;

pub fn groups(options: &Options) -> Vec<Group> {
    // Where there is one core, nobody can be pinned apart.
    let apart = (options.pin && allowed().is_ok_and(|cores| cores.len() > 1)).then_some(Placement::Apart);
    let contenders: [(&str, Trips); 6] = [
        ("shmkit semaphore", |count, placement| {
            let ends = Each::pair(CountingSemaphore::new(1)?, CountingSemaphore::new(1)?);
            round_trips(ends.map(Ready), count, placement)
        }),
        ("shmkit event", |count, placement| {
            round_trips(Each::pair(Event::new()?, Event::new()?).map(Ready), count, placement)
        }),
        ("shmkit mutex+condvar", |count, placement| round_trips(Turn::pair()?.map(Ready), count, placement)),
        ("futex", |count, placement| round_trips(Futex::pair()?.map(Ready), count, placement)),
        ("glibc", |count, placement| round_trips(glibc::Semaphores::pair()?.map(Ready), count, placement)),
        ("glibc mutex+condvar", |count, placement| round_trips(glibc::Turn::pair()?.map(Ready), count, placement)),
    ];
    let about = "One process wakes another, which wakes the first: a round trip, from the call that wakes to the return \
                 of the one that sleeps, there and back. Each is asleep for certain when it is woken; the wait until it is \
                 does not count. The futex is the limit: two words and the system calls. glibc is two sem_t, shmkit semaphore \
                 two counting ones. As the scheduler has it, and both pinned to one core.";
    let group = Group::new("handover_sleeping", Unit::Nanoseconds, about);
    let placements = [Some(Placement::Free), Some(Placement::OneCore), apart].into_iter().flatten();
    vec![placements.fold(group, |group, placement| {
        let named = |name: &str| format!("{name}{}", placement.suffix());
        let group = contenders.iter().fold(group, |group, &(name, trips)| {
            group.contender(Contender::new(named(name), Processes, ITEMS, move |count| trips(count, placement)))
        });
        // Where a wake-up has to bring another core out of its idle state, that is most of the time, and it varies.
        let bound = if placement == Placement::OneCore { Bound::AtMost(1.15) } else { Bound::None };
        group
            .compare(named("shmkit semaphore"), named("futex"), bound)
            .compare(named("shmkit semaphore"), named("glibc"), Bound::None)
            .compare(named("shmkit event"), named("futex"), Bound::None)
            .compare(named("shmkit mutex+condvar"), named("glibc mutex+condvar"), Bound::None)
    })]
}
