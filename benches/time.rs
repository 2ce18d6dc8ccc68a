//! The time that operations take, one by one.

use crate::repeat::Repeat;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};
use std::fmt::Display;
use std::hint::black_box;
use std::time::Duration;

/// There are many of them, and they take nanoseconds.
pub(crate) fn patient<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    group
}

/// Measures the time an operation takes.
pub(crate) struct Time<'a>(pub(crate) BenchmarkGroup<'a, WallTime>);

impl Repeat for Time<'_> {
    fn repeat<S, R>(&mut self, name: impl Display, state: impl Fn() -> S, mut call: impl FnMut(&mut S) -> R) {
        let mut made = None;
        self.0.bench_function(name.to_string(), |bencher| {
            let state = made.get_or_insert_with(&state);
            bencher.iter(|| call(black_box(state)));
        });
    }
}
