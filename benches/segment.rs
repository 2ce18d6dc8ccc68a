//! Creating segments, attaching to them, passing them on: the cold path, paid once for each queue and once for each process that gets it.
//!
//! Anonymous segments cost a memory file, the pages of the whole segment, a mapping and a lock; private ones a mapping; those with
//! a name the same as anonymous ones and the file's name. To come in by name looks after every peer in turn, with a system call for each, so
//! that is measured with one peer and with many. Each number includes letting go of what was made.

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, criterion_group, criterion_main};
use shmkit::queue::buffer::{self, Buffers};
use shmkit::queue::mpmc::{self, Mpmc, Sender};
use shmkit::segment::{self, Configuration, Named, Options, Segment};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

/// Queues of 16 buffers of these many bytes.
const SIZES: [usize; 3] = [64, 4 << 10, 64 << 10];
/// How many peers are attached already, of this process: that makes no difference to the locks.
const ATTACHED: [usize; 2] = [1, 64];
/// Places for them and for one more, whether they are taken or not.
const PLACES: usize = 65;

/// The messages of a queue that is small beside its table of peers.
const CAPACITY: usize = 64;

type Queue = Segment<Mpmc<u64>>;

fn configurations() -> impl Iterator<Item = (usize, Configuration)> {
    SIZES.into_iter().map(|size| (16 * size, buffer::Settings::new(16, size).into()))
}

/// A name that is this process's own, and does not outlive it, unless it is killed.
struct Name(String);

impl Name {
    fn new(purpose: &str) -> Self {
        Self(format!("bench-{}-{purpose}", std::process::id()))
    }

    fn named(&self) -> Named {
        Options::new().peers(PLACES).name(&self.0)
    }

    fn remove(&self) -> Result<(), segment::Error> {
        segment::remove(&self.0)
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        // It may never have come to it.
        let _ = self.remove();
    }
}

/// As many peers as that, the first one included.
fn crowd(first: Arc<Queue>, attached: usize) -> Vec<Arc<Queue>> {
    let more: Vec<_> = (1..attached).map(|_| first.join().expect("there is a place")).collect();
    assert_eq!(first.peer_count(), attached);
    more.into_iter().chain([first]).collect()
}

fn create(group: &mut BenchmarkGroup<'_, WallTime>) {
    for (bytes, configuration) in configurations() {
        group.bench_function(BenchmarkId::new("create anonymous", bytes), |bencher| {
            bencher.iter(|| Options::new().anonymous::<Buffers>(configuration).expect("there is memory"));
        });
        group.bench_function(BenchmarkId::new("create private", bytes), |bencher| {
            bencher.iter(|| Options::new().private::<Buffers>(configuration).expect("there is memory"));
        });
    }
    let (name, configuration) = (Name::new("create"), mpmc::Settings::new(CAPACITY).into());
    let named = name.named();
    group.bench_function("create by name, and remove it", |bencher| {
        bencher.iter(|| {
            let segment = named.create::<Mpmc<u64>>(configuration).expect("the name is free");
            name.remove().expect("it is there");
            segment
        });
    });
    group.bench_function("open_or_create by a free name, and remove it", |bencher| {
        bencher.iter(|| {
            let segment = named.open_or_create::<Mpmc<u64>>(configuration).expect("the name is free");
            name.remove().expect("it is there");
            segment
        });
    });
}

/// By the number of peers that are attached already.
fn attach(group: &mut BenchmarkGroup<'_, WallTime>) {
    let (name, configuration) = (Name::new("attach"), mpmc::Settings::new(CAPACITY).into());
    let named = name.named();
    for attached in ATTACHED {
        let first = named.open_or_create::<Mpmc<u64>>(configuration).expect("nobody else has the name");
        let peers = crowd(first, attached);
        group.bench_function(BenchmarkId::new("open by name and leave, peers", attached), |bencher| {
            bencher.iter(|| named.open::<Mpmc<u64>>().expect("there is a place"));
        });
        group.bench_function(BenchmarkId::new("open_or_create by name and leave, peers", attached), |bencher| {
            bencher.iter(|| named.open_or_create::<Mpmc<u64>>(configuration).expect("there is a place"));
        });
        drop(peers);
        let first = Options::new().peers(PLACES).anonymous::<Mpmc<u64>>(configuration).expect("there is memory");
        let peers = crowd(first, attached);
        group.bench_function(BenchmarkId::new("join and leave, peers", attached), |bencher| {
            bencher.iter(|| peers[0].join().expect("there is a place"));
        });
    }
}

/// From one end of a socket to the other within this process: entering the peer, both system calls, checking and mapping.
/// What a child costs in which to receive it is in `process`.
fn pass(group: &mut BenchmarkGroup<'_, WallTime>) {
    let (here, there) = UnixStream::pair().expect("a pair of sockets can be had");
    let (sender, _receiver) = mpmc::channel::<u64>(CAPACITY).expect("there is memory");
    group.bench_function("pass a handle over a Unix socket", |bencher| {
        bencher.iter(|| {
            segment::send(&here, &sender).expect("the other end is open");
            segment::recv::<Sender<u64>>(&there).expect("it was sent")
        });
    });
    group.bench_function("pass a number over a Unix socket", |bencher| {
        bencher.iter(|| {
            segment::send(&here, &7_u64).expect("the other end is open");
            segment::recv::<u64>(&there).expect("it was sent")
        });
    });
}

fn segments(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("segment");
    // There are many of them, and they take microseconds.
    group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    create(&mut group);
    attach(&mut group);
    pass(&mut group);
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().without_plots();
    targets = segments
}
criterion_main!(benches);
