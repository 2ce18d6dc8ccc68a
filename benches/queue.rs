//! The queues: what an operation costs by itself, and what passes between two processes.
//!
//! The one-threaded numbers are send and receive together, on a queue in shared memory that this process has to itself: all
//! instructions, no traffic between caches. The two-process ones are the opposite, and depend on which cores the two
//! run; compare them within one run only. How shmkit compares with others is the business of `benches/compare`.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use serde::{Serialize, de::DeserializeOwned};
use shmkit::process::spawn;
use shmkit::queue::{buffer, mpmc, spsc};
use std::hint::black_box;
use std::time::Instant;

const CAPACITY: usize = 1024;

fn values(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("queue, one thread, u64");
    let (mut sender, mut receiver) = spsc::channel::<u64>(CAPACITY).expect("there is memory");
    group.bench_function("spsc", |bencher| {
        bencher.iter(|| {
            sender.send(black_box(7)).expect("the receiver lives");
            receiver.recv().expect("the sender lives")
        });
    });
    let (sender, receiver) = mpmc::channel::<u64>(CAPACITY).expect("there is memory");
    group.bench_function("mpmc", |bencher| {
        bencher.iter(|| {
            sender.send(black_box(7)).expect("the receiver lives");
            receiver.recv().expect("the sender lives")
        });
    });
    group.finish();
}

/// Copied: from a slice and into one. In place: nothing is copied, so the length should not matter.
fn buffers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("queue, one thread, buffer");
    for length in [64, 64 << 10] {
        let (sender, receiver) = buffer::channel(16, length).expect("there is memory");
        let message = vec![7; length];
        let mut copy = vec![0; length];
        group.bench_function(BenchmarkId::new("copied", length), |bencher| {
            bencher.iter(|| {
                sender.send(black_box(&message)).expect("the receiver lives");
                let lease = receiver.recv().expect("the sender lives");
                black_box(&mut copy).copy_from_slice(&lease);
                lease.ack();
            });
        });
        assert_eq!(copy, message);
        group.bench_function(BenchmarkId::new("in place", length), |bencher| {
            bencher.iter(|| {
                let mut loan = sender.loan().expect("the receiver lives");
                loan[0] = black_box(7);
                loan.send(length).expect("the receiver lives");
                let lease = receiver.recv().expect("the sender lives");
                let first = lease[0];
                lease.ack();
                first
            });
        });
    }
    group.finish();
}

/// The sending end of either queue.
trait Send64: Serialize + DeserializeOwned + 'static {
    fn send(&mut self, value: u64);
}

/// The receiving end; `None` when the other side is gone.
trait Recv64: Serialize + DeserializeOwned + 'static {
    fn recv(&mut self) -> Option<u64>;
}

impl Send64 for spsc::Sender<u64> {
    fn send(&mut self, value: u64) {
        spsc::Sender::send(self, value).expect("the receiver lives");
    }
}

impl Recv64 for spsc::Receiver<u64> {
    fn recv(&mut self) -> Option<u64> {
        spsc::Receiver::recv(self).ok()
    }
}

impl Send64 for mpmc::Sender<u64> {
    fn send(&mut self, value: u64) {
        mpmc::Sender::send(self, value).expect("the receiver lives");
    }
}

impl Recv64 for mpmc::Receiver<u64> {
    fn recv(&mut self) -> Option<u64> {
        mpmc::Receiver::recv(self).ok()
    }
}

/// The child's part: a round is the number of messages and then the messages; its answer is their sum.
fn add_up<S: Send64, R: Recv64>((mut messages, mut sums): (R, S)) {
    while let Some(count) = messages.recv() {
        sums.send((0..count).map_while(|_| messages.recv()).sum());
    }
}

/// Sends to another process as fast as it takes. The time includes the sum's way back, so that no message is still on its way.
fn throughput<S: Send64, R: Recv64>(criterion: &mut Criterion, name: &str, channel: impl Fn() -> (S, R)) {
    let (mut messages, other_end) = channel();
    let (answers, mut sums) = channel();
    let child = spawn(add_up, (other_end, answers)).expect("a process can be started");
    let mut group = criterion.benchmark_group("queue, two processes, u64");
    group.throughput(Throughput::Elements(1));
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|count| {
            let start = Instant::now();
            messages.send(count);
            (0..count).for_each(|value| messages.send(value));
            let sum = sums.recv();
            let elapsed = start.elapsed();
            assert_eq!(sum, Some((0..count).sum()));
            elapsed
        });
    });
    group.finish();
    drop(messages);
    child.join().expect("it ends with its queue");
}

fn processes(criterion: &mut Criterion) {
    throughput(criterion, "spsc", || spsc::channel::<u64>(CAPACITY).expect("there is memory"));
    throughput(criterion, "mpmc", || mpmc::channel::<u64>(CAPACITY).expect("there is memory"));
}

criterion_group!(benches, values, buffers, processes);
criterion_main!(benches);
