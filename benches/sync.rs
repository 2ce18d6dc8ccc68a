//! What waiting costs when nobody has to wait: the price of every uncontended acquire, and of every message's notification.

use criterion::{Criterion, criterion_group, criterion_main};
use shmkit::sync::{EventCount, Semaphore};
use std::hint::black_box;

fn semaphore(criterion: &mut Criterion) {
    let semaphore = Semaphore::new(1).expect("there is memory");
    criterion.bench_function("sync/semaphore: acquire and release, uncontended", |bencher| {
        bencher.iter(|| drop(black_box(semaphore.acquire().unwrap())));
    });
    assert_eq!(semaphore.available(), 1);
}

/// No system call and no read-modify-write: a load.
fn event_count(criterion: &mut Criterion) {
    let events = EventCount::default();
    criterion.bench_function("sync/event count: notify, nobody asleep", |bencher| {
        bencher.iter(|| black_box(&events).notify_one());
    });
}

criterion_group!(benches, semaphore, event_count);
criterion_main!(benches);
