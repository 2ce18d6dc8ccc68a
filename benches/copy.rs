//! The segment's copy routine against one plain `memcpy`, by length and by how far the target is off its source.
//!
//! The offset is the point: on some processors a long `memcpy` to a target that lies up to 16 bytes off its source, relative to
//! a page, is more than ten times slower than any other. There `segment` stays level and `memcpy` does not; on other
//! processors both do. Both buffers are warm, so that this measures the routine and, above the cache's size, memory.

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::time::Duration;

const PAGE: usize = 4096;
const OFFSETS: [usize; 4] = [0, 8, 16, 64];
const LENGTHS: [usize; 4] = [1 << 10, 8 << 10, 64 << 10, 1 << 20];

/// `length` bytes that start `offset` bytes behind the start of a page.
fn at_offset(memory: &mut Vec<u8>, offset: usize, length: usize) -> &mut [u8] {
    memory.resize(length + 2 * PAGE, 1);
    let page = memory.as_ptr().align_offset(PAGE);
    &mut memory[page + offset..][..length]
}

fn segment(source: &[u8], target: &mut [u8]) {
    assert_eq!(source.len(), target.len());
    // SAFETY: two borrowed slices of the same length, the target exclusively, so they do not overlap and nobody writes them.
    unsafe { shmkit::segment::copy(source.as_ptr(), target.as_mut_ptr(), source.len()) };
}

fn memcpy(source: &[u8], target: &mut [u8]) {
    target.copy_from_slice(source);
}

fn measure(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, routine: fn(&[u8], &mut [u8])) {
    for length in LENGTHS {
        for offset in OFFSETS {
            let (mut from, mut to) = (Vec::new(), Vec::new());
            let (source, target) = (at_offset(&mut from, 0, length), at_offset(&mut to, offset, length));
            group.throughput(Throughput::Bytes(length as u64));
            group.bench_function(BenchmarkId::new(name, format!("{length}+{offset}")), |bencher| {
                bencher.iter(|| routine(black_box(&*source), black_box(&mut *target)));
            });
            assert_eq!(source, target);
        }
    }
}

fn copy(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("copy");
    // There are many of them, and they differ by factors.
    group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1)).nresamples(10_000);
    measure(&mut group, "segment", segment);
    measure(&mut group, "memcpy", memcpy);
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().without_plots();
    targets = copy
}
criterion_main!(benches);
