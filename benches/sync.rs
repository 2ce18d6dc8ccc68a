//! What waiting and locking cost when nobody has to wait: the price of every uncontended lock, of every permit, and of every message's notification.
//!
//! The operations are in `sync/operations.rs`; `instructions.rs` counts the instructions of the same ones, which no load of the machine disturbs. What contention and sleeping cost is the business
//! of `compare`, beside what they cost others.

#[path = "sync/operations.rs"]
mod operations;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use operations::Repeat;
use std::fmt::Display;
use std::hint::black_box;
use std::time::Duration;

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

fn uncontended(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sync, nobody else");
    // There are many of them, and they take nanoseconds.
    group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    let mut time = Time(group);
    operations::all(&mut time);
    time.0.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().without_plots();
    targets = uncontended
}
criterion_main!(benches);
