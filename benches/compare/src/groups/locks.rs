//! Locks and semaphores of one permit: taken and given back by one peer that has them to itself, and by several that all want them.

use crate::group::Peers::{Processes, Threads};
use crate::group::{Bound, Contender, Group, Peers, Unit};
use crate::peers::flow::Flow;
use crate::peers::processes::{Ready, Ticket};
use crate::peers::turns::{self, Guarded};
use crate::rivals::glibc;
use crate::rivals::number::Beside;
use crate::rivals::raw_sync::RawSync;
use crate::rivals::shmkit_locks::{Reading, one_permit};
use anyhow::Result;
use serde::{Serialize, de::DeserializeOwned};
use shmkit::sync::{Mutex, RwLock, Semaphore};
use std::iter::repeat_n;
use std::sync::Arc;

/// Turns of a round.
const ALONE: u64 = 30_000_000;
const CONTENDED: u64 = 12_000_000;

pub fn groups() -> Vec<Group> {
    vec![
        semaphores(
            "semaphore_uncontended",
            "Takes the only permit, adds one to a number in shared memory, gives the permit back; nobody else wants it. \
             shmkit's semaphore knows whose the permit is, its counting one and sem_t only how many there are. \
             parking_lot has no semaphore: its mutex, for threads.",
            1,
        ),
        mutexes(
            "mutex_uncontended",
            "Locks, adds one to the number that is guarded (rw read: only reads it), unlocks; nobody else wants it. \
             After a holder's death, shmkit and glibc robust let the next one in, and shmkit's number is as it was before; \
             with the others that are between processes all who want the lock are stuck.",
            1,
        ),
        semaphores(
            "semaphore_2p",
            "Two peers that take the only permit, add one to a number and give the permit back, as often as they get it. \
             parking_lot's mutex stands for the semaphore that it does not have.",
            2,
        ),
        semaphores("semaphore_8p", "The same with eight peers.", 8),
        mutexes("mutex_2p", "Two peers that lock, add one to what is guarded and unlock, as often as they get it.", 2),
        mutexes("mutex_8p", "The same with eight peers.", 8),
    ]
}

/// What so many turns of that many peers took.
type Turns = fn(usize, u64) -> Result<Flow>;

/// So many processes that have the same.
fn shared<T>(lock: T, peers: usize, turns: u64) -> Result<Flow>
where
    T: Guarded + Clone + Serialize + DeserializeOwned + 'static,
{
    opened(repeat_n(lock, peers).map(Ready), turns)
}

fn opened<T: Ticket<End: Guarded>>(ends: impl Iterator<Item = T>, turns: u64) -> Result<Flow> {
    turns::processes(ends.collect(), turns)
}

fn in_threads<T: Guarded + Clone + Send>(lock: T, peers: usize, turns: u64) -> Result<Flow> {
    turns::threads(repeat_n(lock, peers).collect(), turns)
}

/// One peer's turns are told by what each of them costs, those of several by how many there were.
fn group(name: &'static str, about: &'static str, peers: usize, contenders: &[(&str, Peers, Turns)]) -> Group {
    let unit = if peers == 1 { Unit::Nanoseconds } else { Unit::OperationRate };
    let items = if peers == 1 { ALONE } else { CONTENDED };
    contenders.iter().fold(Group::new(name, unit, about), |group, &(name, kind, contend)| {
        group.contender(Contender::new(name, kind, items, move |turns| {
            let flow = contend(peers, turns)?;
            Ok(if peers == 1 { flow.cost() } else { flow.rate() })
        }))
    })
}

/// Contention is the scheduler's business as much as the lock's, so nothing is expected of it.
fn expected(peers: usize, bound: Bound) -> Bound {
    if peers == 1 { bound } else { Bound::None }
}

fn semaphores(name: &'static str, about: &'static str, peers: usize) -> Group {
    let contenders: [(&str, Peers, Turns); 4] = [
        ("shmkit", Processes, |peers, turns| shared(Beside::new(Semaphore::new(1)?)?, peers, turns)),
        ("shmkit counting", Processes, |peers, turns| shared(Beside::new(one_permit()?)?, peers, turns)),
        ("glibc", Processes, |peers, turns| shared(Beside::new(glibc::Semaphore::new(1)?)?, peers, turns)),
        ("parking_lot mutex", Threads, |peers, turns| {
            in_threads(Beside::new(Arc::new(parking_lot::Mutex::new(())))?, peers, turns)
        }),
    ];
    group(name, about, peers, &contenders)
        .compare("shmkit", "glibc", expected(peers, Bound::AtMost(1.0)))
        .compare("shmkit counting", "glibc", Bound::None)
        .compare("shmkit", "parking_lot mutex", Bound::None)
}

fn mutexes(name: &'static str, about: &'static str, peers: usize) -> Group {
    let mut contenders: Vec<(&str, Peers, Turns)> =
        vec![("shmkit", Processes, |peers, turns| shared(Mutex::new(0_u64)?, peers, turns))];
    if peers == 1 {
        contenders.push(("shmkit rw read", Processes, |_, turns| {
            let reading = Reading { lock: RwLock::new(0)?, turns: 0 };
            opened([Ready(reading)].into_iter(), turns)
        }));
        contenders.push(("shmkit rw write", Processes, |peers, turns| shared(RwLock::new(0_u64)?, peers, turns)));
    }
    let rivals: [(&str, Peers, Turns); 5] = [
        ("glibc", Processes, |peers, turns| shared(glibc::Mutex::new(false)?, peers, turns)),
        ("glibc robust", Processes, |peers, turns| shared(glibc::Mutex::new(true)?, peers, turns)),
        ("raw_sync", Processes, |peers, turns| opened(repeat_n(RawSync::new()?, peers), turns)),
        ("parking_lot", Threads, |peers, turns| in_threads(Arc::new(parking_lot::Mutex::new(0_u64)), peers, turns)),
        ("std", Threads, |peers, turns| in_threads(Arc::new(std::sync::Mutex::new(0_u64)), peers, turns)),
    ];
    contenders.extend(rivals);
    let group = group(name, about, peers, &contenders)
        .compare("shmkit", "glibc", expected(peers, Bound::AtMost(1.0)))
        .compare("shmkit", "glibc robust", Bound::None)
        .compare("shmkit", "raw_sync", Bound::None)
        .compare("shmkit", "parking_lot", expected(peers, Bound::AtMost(1.3)))
        .compare("shmkit", "std", Bound::None);
    if peers > 1 {
        return group;
    }
    group.compare_self("shmkit rw read", None, "shmkit", Bound::None).compare_self(
        "shmkit rw write",
        None,
        "shmkit",
        Bound::None,
    )
}
