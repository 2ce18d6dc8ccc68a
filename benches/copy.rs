//! The segment's copy routines against one plain `memcpy`, by length and by how far the target is off its source: the one for memory that nobody else touches
//! meanwhile (`segment`), and the ones for bytes that others may touch, by which pipes copy (`Bytes write`, `Bytes read`).
//!
//! The offset is the point: on some processors a long `memcpy` to a target that lies up to 16 bytes off its source, relative to
//! a page, is more than ten times slower than any other. There the segment's stay level and `memcpy` does not; on other
//! processors all do. Both buffers are warm, so that this measures the routine and, above the cache's size, memory.

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use shmkit::segment::{AtBytes, Bytes, Configuration, Error, Memory, Object, Options, PeerId, Plan, kind};
use std::alloc::Layout;
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

/// Bytes in a segment, as a pipe has them.
struct Area(Bytes);

impl Object for Area {
    const KIND: u32 = kind(b"AREA");
    type Parts = AtBytes;

    fn payload() -> Layout {
        Layout::new::<u8>()
    }

    fn plan(&[length, ..]: &Configuration, plan: &mut Plan) -> Result<AtBytes, Error> {
        plan.bytes(length as usize)
    }

    fn attach(memory: &Memory, parts: &AtBytes) -> Self {
        Self(memory.bytes(*parts))
    }

    fn sweep(&self, _dead: PeerId, _reaper: PeerId) {}

    fn wake_all(&self) {}
}

/// The number of the first byte that lies at the start of a page.
fn first_page(bytes: &Bytes) -> usize {
    // SAFETY: nobody writes them while the address is asked for.
    unsafe { bytes.slice(0, 1) }.as_ptr().align_offset(PAGE)
}

/// Copying out of this process's memory into a segment, and back: the target is `offset` bytes off its source in both directions.
fn measure_racing(group: &mut BenchmarkGroup<'_, WallTime>) {
    let most = LENGTHS[LENGTHS.len() - 1] + 2 * PAGE;
    let segment = Options::new().anonymous::<Area>([most as u64, 0, 0, 0, 0, 0, 0, 0]).expect("there is memory");
    let Area(shared) = segment.object();
    let page = first_page(shared);
    for length in LENGTHS {
        for offset in OFFSETS {
            group.throughput(Throughput::Bytes(length as u64));
            let (mut from, mut to) = (Vec::new(), Vec::new());
            let (source, target) = (at_offset(&mut from, 0, length), at_offset(&mut to, offset, length));
            group.bench_function(BenchmarkId::new("Bytes write", format!("{length}+{offset}")), |bencher| {
                bencher.iter(|| black_box(shared).write(page + offset, black_box(&*source)));
            });
            source.fill(7);
            shared.write(page, source);
            group.bench_function(BenchmarkId::new("Bytes read", format!("{length}+{offset}")), |bencher| {
                bencher.iter(|| black_box(shared).read(page, black_box(&mut *target)));
            });
            // Also where only the other direction was measured.
            shared.read(page, target);
            assert_eq!(source, target);
        }
    }
}

fn copy(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("copy");
    // There are many of them, and they differ by factors.
    group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1)).nresamples(10_000);
    measure(&mut group, "segment", segment);
    measure_racing(&mut group);
    measure(&mut group, "memcpy", memcpy);
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().without_plots();
    targets = copy
}
criterion_main!(benches);
