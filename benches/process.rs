//! Starting a process that does nothing and waiting for its end: `spawn` against `std::process::Command`.
//!
//! Both execute this very program. The child of `spawn` receives a function, calls it and sends its result back; the child of
//! `Command` returns from the first line of `main`, which is the least a program can do.

use criterion::{Criterion, criterion_group};
use std::process::Command;

/// The argument at which this program returns at once.
const NOTHING: &str = "do-nothing";

fn start(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("process");
    group.bench_function("spawn and join", |bencher| {
        bencher.iter(|| {
            let child = shmkit::process::spawn(|n: u32| n + 1, 1).expect("a process can be started");
            assert_eq!(child.join().expect("it only adds"), 2);
        });
    });
    let program = std::env::current_exe().expect("this program has a path");
    group.bench_function("Command of the same program", |bencher| {
        bencher.iter(|| {
            let status = Command::new(&program).arg(NOTHING).status().expect("a process can be started");
            assert!(status.success());
        });
    });
    group.finish();
}

criterion_group!(benches, start);

fn main() {
    if std::env::args().nth(1).is_some_and(|argument| argument == NOTHING) {
        return;
    }
    benches();
    Criterion::default().configure_from_args().final_summary();
}
