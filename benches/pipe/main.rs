//! Pipes and connections: what each operation costs by itself, and what passes between two processes.
//!
//! The one-threaded numbers (`operations.rs`) are of rings in shared memory that this process has to itself: all the instructions, no traffic between caches.
//! The two-process ones (`processes.rs`) are the opposite, and depend on which cores the two run; compare them within one run only.
//! `../instructions.rs` counts the instructions of the first kind, which no load of the machine disturbs. How shmkit compares with others is the business of
//! `../compare`.

mod operations;
mod processes;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use operations::Repeat;
use processes::processes;
use std::fmt::Display;
use std::hint::black_box;
use std::time::Duration;

/// There are many of them, and they take nanoseconds.
fn patient<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    group
}

/// Measures the time an operation takes.
struct Time<'a>(BenchmarkGroup<'a, WallTime>);

impl Repeat for Time<'_> {
    fn repeat<S, R>(&mut self, name: impl Display, state: impl Fn() -> S, mut call: impl FnMut(&mut S) -> R) {
        let mut made = None;
        self.0.bench_function(name.to_string(), |bencher| {
            let state = made.get_or_insert_with(&state);
            bencher.iter(|| call(black_box(state)));
        });
    }
}

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
