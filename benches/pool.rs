//! What the pool adds to a task: `map` of a function that does nothing, one task a message, results in order.
//!
//! Two workers and this process share the machine's processors; with two of those, that is one process too many, and
//! part of what is measured is the scheduler.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use shmkit::pool::Pool;
use std::time::Instant;

fn map(criterion: &mut Criterion) {
    let pool = Pool::new(2).expect("two workers can be started");
    let mut group = criterion.benchmark_group("pool");
    group.throughput(Throughput::Elements(1));
    group.bench_function("map a trivial function, per task", |bencher| {
        bencher.iter_custom(|tasks| {
            let start = Instant::now();
            let sum: u64 = pool.map(|task: u64| task, 0..tasks).map(|result| result.expect("it only returns")).sum();
            let elapsed = start.elapsed();
            assert_eq!(sum, (0..tasks).sum::<u64>());
            elapsed
        });
    });
    group.finish();
}

criterion_group!(benches, map);
criterion_main!(benches);
