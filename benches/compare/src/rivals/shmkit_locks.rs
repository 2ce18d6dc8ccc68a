//! shmkit's locks, semaphores, events and condition variables.

use super::number::{Beside, add_one};
use crate::peers::handover::Signal;
use crate::peers::turns::Guarded;
use anyhow::Result;
use serde::{Deserialize, Serialize};
use shmkit::sync::{Condvar, CountingSemaphore, Event, Mutex, RwLock, Semaphore};
use std::ops::DerefMut;

const ALIVE: &str = "nobody has died";

/// Adds one to a number that a guard gives access to, unless it has reached `limit`.
#[inline(always)]
pub fn add_one_under(mut guard: impl DerefMut<Target = u64>, limit: u64) -> bool {
    let is_below = *guard < limit;
    if is_below {
        *guard += 1;
    }
    is_below
}

impl Guarded for Mutex<u64> {
    #[inline(always)]
    fn add_one(&mut self, limit: u64) -> bool {
        add_one_under(self.lock().expect(ALIVE), limit)
    }
}

impl Guarded for RwLock<u64> {
    #[inline(always)]
    fn add_one(&mut self, limit: u64) -> bool {
        add_one_under(self.write().expect(ALIVE), limit)
    }
}

/// A lock that is only read, by a single peer: it counts the turns itself, and reads how many were taken before.
#[derive(Serialize, Deserialize)]
pub struct Reading {
    pub lock: RwLock<u64>,
    pub turns: u64,
}

impl Guarded for Reading {
    #[inline(always)]
    fn add_one(&mut self, limit: u64) -> bool {
        let turns = self.turns + *self.lock.read().expect(ALIVE);
        self.turns = turns + 1;
        turns < limit
    }
}

impl Guarded for Beside<Semaphore> {
    #[inline(always)]
    fn add_one(&mut self, limit: u64) -> bool {
        let _permit = self.lock.acquire().expect(ALIVE);
        add_one(&self.number, limit)
    }
}

impl Guarded for Beside<CountingSemaphore> {
    #[inline(always)]
    fn add_one(&mut self, limit: u64) -> bool {
        self.lock.acquire().expect(ALIVE);
        let is_added = add_one(&self.number, limit);
        self.lock.post().expect("there is room for a permit");
        is_added
    }
}

/// A semaphore with one permit, which is posted and acquired.
pub fn one_permit() -> Result<CountingSemaphore> {
    let semaphore = CountingSemaphore::new(1)?;
    semaphore.post()?;
    Ok(semaphore)
}

/// One side of those that have one for each side: it gives its own, and waits for the other's.
#[derive(Serialize, Deserialize)]
pub struct Each<T> {
    own: T,
    others: T,
}

impl<T: Clone> Each<T> {
    /// Both sides.
    pub fn pair(one: T, other: T) -> [Self; 2] {
        [Self { own: one.clone(), others: other.clone() }, Self { own: other, others: one }]
    }
}

impl Signal for Each<CountingSemaphore> {
    fn wake(&mut self) {
        self.own.post().expect("there is room for a permit");
    }

    fn sleep(&mut self) {
        self.others.acquire().expect(ALIVE);
    }
}

impl Signal for Each<Event> {
    fn wake(&mut self) {
        self.own.set();
    }

    fn sleep(&mut self) {
        self.others.wait().expect(ALIVE);
        // Before it is answered, so before it is set again.
        self.others.clear();
    }
}

/// One side of those that say under a lock whose turn it is.
#[derive(Serialize, Deserialize)]
pub struct Turn {
    turn: Mutex<u64>,
    changed: Condvar,
    side: u64,
}

impl Turn {
    /// Both sides; it is nobody's turn.
    pub fn pair() -> Result<[Self; 2]> {
        let (turn, changed) = (Mutex::new(u64::MAX)?, Condvar::new()?);
        Ok([0, 1].map(|side| Self { turn: turn.clone(), changed: changed.clone(), side }))
    }
}

impl Signal for Turn {
    fn wake(&mut self) {
        *self.turn.lock().expect(ALIVE) = 1 - self.side;
        self.changed.notify_one();
    }

    fn sleep(&mut self) {
        let turn = self.turn.lock().expect(ALIVE);
        drop(self.changed.wait_while(turn, |turn| *turn != self.side).expect(ALIVE));
    }
}
