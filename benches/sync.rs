//! What waiting and locking cost when nobody has to wait: the price of every uncontended lock, of every permit, and of every message's notification.
//!
//! The operations are in `sync/operations.rs`; `instructions.rs` counts the instructions of the same ones, which no load of the machine disturbs. What contention and sleeping cost is the business
//! of `compare`, beside what they cost others.

#[path = "sync/operations.rs"]
mod operations;
mod repeat;
mod time;

use criterion::{Criterion, criterion_group, criterion_main};
use time::{Time, patient};

fn uncontended(criterion: &mut Criterion) {
    let mut time = Time(patient(criterion, "sync, nobody else"));
    operations::all(&mut time);
    time.0.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().without_plots();
    targets = uncontended
}
criterion_main!(benches);
