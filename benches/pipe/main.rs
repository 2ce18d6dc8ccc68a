//! Pipes and connections: what each operation costs by itself, and what passes between two processes.
//!
//! The one-threaded numbers (`operations.rs`) are of rings in shared memory that this process has to itself: all the instructions, no traffic between caches.
//! The two-process ones (`processes.rs`) are the opposite, and depend on which cores the two run; compare them within one run only.
//! `../instructions.rs` counts the instructions of the first kind, which no load of the machine disturbs. How shmkit compares with others is the business of
//! `../compare`.

mod operations;
mod processes;
#[path = "../repeat.rs"]
mod repeat;
#[path = "../time.rs"]
mod time;

use criterion::{Criterion, criterion_group, criterion_main};
use processes::processes;
use time::{Time, patient};

fn one_thread(criterion: &mut Criterion) {
    let mut time = Time(patient(criterion, "pipe, one thread"));
    operations::all(&mut time);
    time.0.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().without_plots();
    targets = one_thread, processes
}
criterion_main!(benches);
