//! Creating segments and attaching to them: the cold path, paid once for each queue and once for each process that gets it.
//!
//! Anonymous segments cost a memory file, the pages of the whole segment, two mappings and a lock; private ones a mapping.
//! Each number includes letting go of what was made.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use shmkit::queue::buffer::{self, Buffers};
use shmkit::segment::{Configuration, Options};

/// Queues of 16 buffers of these many bytes.
const SIZES: [usize; 3] = [64, 4 << 10, 64 << 10];

fn configurations() -> impl Iterator<Item = (usize, Configuration)> {
    SIZES.into_iter().map(|size| (16 * size, buffer::configuration(16, size)))
}

fn segment(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("segment");
    for (bytes, configuration) in configurations() {
        group.bench_function(BenchmarkId::new("create anonymous", bytes), |bencher| {
            bencher.iter(|| Options::new().anonymous::<Buffers>(configuration).expect("there is memory"));
        });
        group.bench_function(BenchmarkId::new("create private", bytes), |bencher| {
            bencher.iter(|| Options::new().private::<Buffers>(configuration).expect("there is memory"));
        });
        let first = Options::new().anonymous::<Buffers>(configuration).expect("there is memory");
        group.bench_function(BenchmarkId::new("join and leave", bytes), |bencher| {
            bencher.iter(|| first.join().expect("there is a place"));
        });
    }
    group.finish();
}

criterion_group!(benches, segment);
criterion_main!(benches);
