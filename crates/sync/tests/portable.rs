//! Processes that meet in a portable segment, and wake each other there.
#![cfg(all(feature = "portable", not(loom)))]

mod asleep;

use asleep::await_sleep_of;
use shmkit_process::spawn;
use shmkit_segment::primitive::{AtomicU64, Ordering};
use shmkit_segment::{
    At, Configuration, Error, Line, Mapped, Memory, Object, Options, PeerId, Plan, Segment, kind, portable,
};
use shmkit_sync::{Deadline, EventCount};
use std::sync::Arc;

/// A number, and an event count for those who wait for another.
struct Number {
    value: Mapped<AtomicU64>,
    changed: Mapped<Line<EventCount>>,
}

impl Object for Number {
    const KIND: u32 = kind(b"TEST");
    const HARDENED: bool = true;
    type Parts = (At<AtomicU64>, At<Line<EventCount>>);

    fn payload() -> std::alloc::Layout {
        std::alloc::Layout::new::<u64>()
    }

    fn plan(_: &Configuration, plan: &mut Plan) -> Result<Self::Parts, Error> {
        Ok((plan.one()?, plan.one()?))
    }

    fn attach(memory: &Memory, parts: &Self::Parts) -> Self {
        Self { value: memory.one(parts.0), changed: memory.one(parts.1) }
    }

    fn sweep(&self, _: PeerId, _: PeerId) {}

    fn wake_all(&self) {
        self.changed.rouse();
    }
}

impl Number {
    fn await_value(&self, value: u64) {
        let is_there = || (self.value.load(Ordering::Acquire) == value).then_some(());
        self.changed.wait_until(Deadline::NEVER, is_there, || true, || {}).unwrap();
    }

    fn set(&self, value: u64) {
        self.value.store(value, Ordering::Release);
        self.changed.notify_all();
    }
}

/// A segment of a name that no other test has.
struct Meeting {
    name: String,
    segment: Arc<Segment<Number>>,
}

impl Meeting {
    fn new(test: &str) -> Self {
        let name = format!("test-{}-{test}", std::process::id());
        let segment = portable::create(&name, &Options::new(), [0; 8]).unwrap();
        Self { name, segment }
    }
}

impl Drop for Meeting {
    fn drop(&mut self) {
        let _ = portable::remove(&self.name);
    }
}

#[test]
fn two_processes_take_turns() {
    const ROUNDS: u64 = 1_000;
    let meeting = Meeting::new("turns");
    let play = |name: String| {
        let segment = portable::open::<Number>(&name).unwrap();
        for round in 0..ROUNDS {
            segment.object().await_value(2 * round + 1);
            segment.object().set(2 * round + 2);
        }
    };
    let child = spawn(play, meeting.name.clone()).unwrap();
    for round in 0..ROUNDS {
        meeting.segment.object().await_value(2 * round);
        meeting.segment.object().set(2 * round + 1);
    }
    meeting.segment.object().await_value(2 * ROUNDS);
    child.join().unwrap();
}

#[test]
fn processes_that_sleep_are_woken_by_another() {
    let meeting = Meeting::new("sleep");
    let wait = |(name, present): (String, u64)| {
        let segment = portable::open::<Number>(&name).unwrap();
        segment.object().await_value(present);
        segment.object().set(present + 1);
        segment.object().await_value(100);
    };
    let children: Vec<_> = (0..3).map(|present| spawn(wait, (meeting.name.clone(), present)).unwrap()).collect();
    meeting.segment.object().await_value(3);
    children.iter().for_each(|child| await_sleep_of(child.pid()));
    meeting.segment.object().set(100);
    children.into_iter().for_each(|child| child.join().unwrap());
}
