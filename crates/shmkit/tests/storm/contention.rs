//! A storm over something that several processes want at once: who notes what, who is killed, and how long the others wait then.
//!
//! Each worker has notes of its own, so what it had completed is known whenever it dies, and at most its last operation is in doubt.

use crate::{HANG, kill, kills, random, random_time};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use shmkit::prelude::*;
use shmkit::sync::{Deadline, EventCount};
use shmkit_segment::primitive::{AtomicU64, Ordering};
use shmkit_segment::shared;
use std::time::{Duration, Instant};

/// How many want it at a time.
pub(crate) const WORKERS: usize = 4;

shared! {
    /// What one worker notes.
    struct Record {
        /// Changes that it has begun, and those that it has completed.
        begun: AtomicU64,
        completed: AtomicU64,
        /// How often it has had what it wants.
        had: AtomicU64,
        /// Zero until it is to begin; then which one of those at work it is, from 1.
        seat: AtomicU64,
        starts: EventCount,
    }
}

shared! {
    /// What they note in common.
    struct Common {
        is_over: AtomicU64,
        /// Who had it last.
        holder: AtomicU64,
        /// The highest value that was completed.
        highest: AtomicU64,
        /// How often one was told that a holder has died.
        told: AtomicU64,
    }
}

/// What the workers note, in shared memory, so that it survives them.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Notes {
    records: SharedSlice<Record>,
    common: Shared<Common>,
}

/// A worker's own.
pub(crate) struct Own<'a> {
    notes: &'a Notes,
    number: u64,
}

impl Notes {
    fn new(workers: usize) -> Self {
        let records = SharedSlice::new(workers).expect("memory for the notes");
        Self { records, common: Shared::new().expect("memory for the notes") }
    }

    /// Waits for the worker's turn to begin: so it is ready when that comes.
    pub(crate) fn begin(&self, number: u64) -> Own<'_> {
        let record = &self.records[number as usize];
        let has_started = || (record.seat.load(Ordering::Acquire) > 0).then_some(());
        record.starts.wait_until(Deadline::NEVER, has_started, || false, || {});
        Own { notes: self, number }
    }

    fn start(&self, number: u64, seat: usize) {
        let record = &self.records[number as usize];
        record.seat.store(seat as u64 + 1, Ordering::Release);
        record.starts.notify_all();
    }

    pub(crate) fn goes_on(&self) -> bool {
        self.common.is_over.load(Ordering::Acquire) == 0
    }

    /// A value that somebody has completed: nobody may find a smaller one from now on.
    pub(crate) fn highest(&self) -> u64 {
        self.common.highest.load(Ordering::Acquire)
    }

    /// Somebody was told that a holder has died.
    pub(crate) fn told(&self) {
        self.common.told.fetch_add(1, Ordering::AcqRel);
    }

    fn times_told(&self) -> u64 {
        self.common.told.load(Ordering::Acquire)
    }

    fn had(&self, number: u64) -> u64 {
        self.records[number as usize].had.load(Ordering::Acquire)
    }

    /// How many changes of those on the seats that `counts` were completed, and how many may have been.
    pub(crate) fn changes(&self, counts: impl Fn(u64) -> bool) -> (u64, u64) {
        let records = self.records.iter().filter(|record| counts(record.seat.load(Ordering::Acquire)));
        let both = records.map(|record| [&record.completed, &record.begun].map(|count| count.load(Ordering::Acquire)));
        both.fold((0, 0), |sum, [completed, begun]| (sum.0 + completed, sum.1 + begun))
    }
}

impl Own<'_> {
    fn record(&self) -> &Record {
        &self.notes.records[self.number as usize]
    }

    /// Which of those at work it is, from 1: whoever takes the place of a dead one has its seat.
    pub(crate) fn seat(&self) -> u64 {
        self.record().seat.load(Ordering::Acquire)
    }

    /// It has what it wants.
    pub(crate) fn has_it(&self) {
        self.notes.common.holder.store(self.number, Ordering::Release);
        self.record().had.fetch_add(1, Ordering::AcqRel);
    }

    /// It is about to complete a change.
    pub(crate) fn begins(&self) {
        self.record().begun.fetch_add(1, Ordering::AcqRel);
    }

    /// It has completed the change, which led to `value`.
    pub(crate) fn has_completed(&self, value: u64) {
        self.record().completed.fetch_add(1, Ordering::AcqRel);
        self.notes.common.highest.fetch_max(value, Ordering::AcqRel);
    }
}

/// The median, the slowest of a hundred, and the slowest of all.
pub(crate) fn report(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let Some(&slowest) = times.last() else { return };
    let [half, most] = [50, 99].map(|percent| times[(times.len() - 1) * percent / 100]);
    println!("  {what}: {} times, p50 {half:.1?}, p99 {most:.1?}, max {slowest:.1?}", times.len());
}

/// Waits until `is_so`, which nothing but a hang keeps from coming.
fn wait_until(what: &str, is_so: impl Fn() -> bool) -> Duration {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < HANG, "{what}");
        std::thread::yield_now();
    }
    since.elapsed()
}

type Worker = (u64, JoinHandle<()>);

/// Keeps [`WORKERS`] processes at `work`, and kills one after the other, every other time the one that had it last, and measures how long it takes until
/// another one has what all want. At the end each of the living must have had it once more; then `end` is to make those who wait stop.
pub(crate) fn storm<A: Clone + Serialize + DeserializeOwned + 'static>(
    name: &str,
    work: fn((A, Notes, u64)),
    all: &A,
    end: impl FnOnce(),
) -> Notes {
    let mut random = random(name);
    let notes = Notes::new(kills() + WORKERS + 1);
    let mut numbers = 0..;
    let mut next = || {
        let number = numbers.next().expect("numbers without end");
        (number, spawn(work, (all.clone(), notes.clone(), number)).expect("a worker"))
    };
    let mut workers: Vec<Worker> = (0..WORKERS).map(|_| next()).collect();
    for (seat, (number, _)) in workers.iter().enumerate() {
        notes.start(*number, seat);
    }
    let had = |(number, _): &Worker| notes.had(*number);
    wait_until("nobody begins", || workers.iter().any(|worker| had(worker) > 0));
    let (mut with_it, mut without) = (Vec::new(), Vec::new());
    let mut spare = next();
    for _ in 0..kills() {
        random_time(&mut random);
        let holder = notes.common.holder.load(Ordering::Acquire);
        let holder = workers.iter().position(|(number, _)| *number == holder).filter(|_| random.bool());
        let seat = holder.unwrap_or_else(|| random.usize(..WORKERS));
        let (_, victim) = std::mem::replace(&mut workers[seat], spare);
        let told = notes.times_told();
        victim.kill().expect("a child can be killed");
        // The one that takes its place has not begun.
        let before: u64 = workers.iter().map(had).sum();
        let time = wait_until("the others hang", || workers.iter().map(had).sum::<u64>() > before);
        if notes.times_told() > told { &mut with_it } else { &mut without }.push(time);
        assert!(kill(victim), "nobody ends by itself");
        notes.start(workers[seat].0, seat);
        spare = next();
    }
    let before: Vec<u64> = workers.iter().map(had).collect();
    let stranded = || workers.iter().zip(&before).filter(|(worker, before)| had(worker) == **before).count();
    wait_until("somebody is stranded", || stranded() == 0);
    let stranded = stranded();
    notes.common.is_over.store(1, Ordering::Release);
    end();
    notes.start(spare.0, 0);
    workers.push(spare);
    workers.into_iter().for_each(|(_, worker)| worker.join().expect("a worker ends by itself"));
    println!("{name}: {} kills, {stranded} waiters stranded; from a kill until somebody else has it", kills());
    report("killed with the lock", with_it.clone());
    report("killed without", without.clone());
    report("all", [with_it, without].concat());
    assert!(notes.times_told() <= kills() as u64, "more deaths were told than there were");
    notes
}
