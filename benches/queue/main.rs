//! The queues: what each operation costs by itself, and what passes between two processes.
//!
//! The one-threaded numbers (`operations.rs`) are of queues in shared memory that this process has to itself: all the
//! instructions, no traffic between caches. The two-process ones (`processes.rs`) are the opposite, and depend on which cores
//! the two run; compare them within one run only. `../instructions.rs` counts the instructions of the first kind, which no load of the machine disturbs.
//! How shmkit compares with others is the business of `../compare`.

mod operations;
mod processes;
#[path = "../repeat.rs"]
mod repeat;
#[path = "../time.rs"]
mod time;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use operations::Measure;
use processes::processes;
use shmkit::queue::buffer;
use std::fmt::Display;
use std::hint::black_box;
use std::time::{Duration, Instant};
use time::{Time, patient};

impl Measure for Time<'_> {
    fn stretch<S, R>(
        &mut self,
        name: impl Display,
        calls: usize,
        state: impl Fn() -> S,
        mut prepare: impl FnMut(&mut S),
        mut call: impl FnMut(&mut S) -> R,
    ) {
        let mut made = None;
        self.0.bench_function(name.to_string(), |bencher| {
            let state = made.get_or_insert_with(&state);
            bencher.iter_custom(|count| {
                let (mut left, mut elapsed) = (count, Duration::ZERO);
                while left > 0 {
                    prepare(state);
                    let stretch = left.min(calls as u64);
                    let start = Instant::now();
                    for _ in 0..stretch {
                        black_box(call(black_box(state)));
                    }
                    elapsed += start.elapsed();
                    left -= stretch;
                }
                elapsed
            });
        });
    }
}

fn values(criterion: &mut Criterion) {
    let mut time = Time(patient(criterion, "queue, one thread, u64"));
    operations::all(&mut time);
    time.0.finish();
}

/// Copied: from a slice and into one. In place: nothing is copied, so the length should not matter.
fn buffers(criterion: &mut Criterion) {
    let mut group = patient(criterion, "queue, one thread, buffer");
    for length in [64, 64 << 10] {
        let (sender, receiver) = buffer::channel((16, length)).expect("there is memory");
        let message = vec![7; length];
        let mut copy = vec![0; length];
        group.bench_function(BenchmarkId::new("copied", length), |bencher| {
            bencher.iter(|| {
                sender.send(black_box(&message)).expect("the receiver lives");
                let lease = receiver.recv().expect("the sender lives");
                black_box(&mut copy).copy_from_slice(&lease);
                lease.ack();
            });
            assert_eq!(copy, message);
        });
        group.bench_function(BenchmarkId::new("in place", length), |bencher| {
            bencher.iter(|| {
                let mut loan = sender.loan(length).expect("the receiver lives");
                loan[0] = black_box(7);
                loan.send().expect("the receiver lives");
                let lease = receiver.recv().expect("the sender lives");
                let first = lease[0];
                lease.ack();
                first
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().without_plots();
    targets = values, buffers, processes
}
criterion_main!(benches);
