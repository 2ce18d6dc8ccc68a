//! The bytes of a segment, and typed views of them.
//!
//! Guarantee: a view refers to bytes that stay mapped for as long as the view exists (it holds the memory), lies within
//! them and is aligned (both checked when it is made, which is the only time), and its type is [`Shared`], so that other
//! threads and processes may write at the same time. This makes everything above it safe code.

#![allow(unsafe_code)]

use crate::plan::{At, AtBlocks, AtBytes, AtRing, AtSlice, Place, Plan};
use crate::{Bytes, Error, Shared, copy};
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;

/// Bytes that are mapped for as long as somebody holds this or a view of it. Cheap to clone.
#[derive(Clone)]
pub struct Memory(Arc<Mapping>);

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes at {:p}", self.0.length, self.0.base)
    }
}

struct Mapping {
    base: NonNull<u8>,
    length: usize,
    #[cfg_attr(loom, allow(dead_code, reason = "kept for its drop"))]
    backing: Backing,
}

// SAFETY: the memory is freed with the mapping and not before, and all access goes through `Shared` types or `Blocks`,
// which say themselves when they may be used.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

/// Whose the bytes are.
#[cfg(not(loom))]
enum Backing {
    /// Unmapped when nobody needs them any more.
    Mapped(#[allow(dead_code, reason = "kept for its drop")] memmap2::MmapRaw),
    /// As above, in another crate's way.
    #[cfg(feature = "portable")]
    Portable(#[allow(dead_code, reason = "kept for its drop")] shared_memory::Shmem),
    /// An embedder's.
    Lent,
}
#[cfg(loom)]
type Backing = LoomBacking;

impl Memory {
    /// Zeroed memory of this process alone, for the parts of `plan`.
    #[cfg(not(loom))]
    pub(crate) fn private(plan: &Plan) -> Result<Self, Error> {
        let map = memmap2::MmapMut::map_anon(plan.length()).map_err(Error::map)?;
        Ok(Self::new(map.into()))
    }

    /// The first `length` bytes of `file`, shared with everyone who maps it, and mapped as the header's `advice` says.
    #[cfg(not(loom))]
    pub(crate) fn shared(file: &impl std::os::fd::AsRawFd, length: usize, advice: u32) -> Result<Self, Error> {
        use crate::header::{DONT_DUMP, HUGE_PAGES};
        use memmap2::Advice;
        let map = memmap2::MmapOptions::new().len(length).map_raw(file.as_raw_fd()).map_err(Error::map)?;
        for (bit, wish) in [(DONT_DUMP, Advice::DontDump), (HUGE_PAGES, Advice::HugePage)] {
            if advice & bit != 0 {
                // A kernel that cannot do it says so, and all works without.
                let _ = map.advise(wish);
            }
        }
        Ok(Self::new(map))
    }

    #[cfg(not(loom))]
    fn new(map: memmap2::MmapRaw) -> Self {
        let base = NonNull::new(map.as_mut_ptr()).unwrap_or(NonNull::dangling());
        Self(Arc::new(Mapping { base, length: map.len(), backing: Backing::Mapped(map) }))
    }

    /// What the crate `shared_memory` has mapped.
    #[cfg(all(feature = "portable", not(loom)))]
    pub(crate) fn portable(map: shared_memory::Shmem) -> Self {
        let base = NonNull::new(map.as_ptr()).unwrap_or(NonNull::dangling());
        Self(Arc::new(Mapping { base, length: map.len(), backing: Backing::Portable(map) }))
    }

    /// Memory that somebody else maps.
    ///
    /// # Safety
    /// It stays mapped, readable and writable, for as long as this or a view of it exists, and all access to it goes through such.
    #[cfg(not(loom))]
    pub(crate) unsafe fn lent(memory: NonNull<[u8]>) -> Self {
        Self(Arc::new(Mapping { base: memory.cast(), length: memory.len(), backing: Backing::Lent }))
    }

    /// The first `length` bytes of memory that somebody else maps.
    #[cfg(not(loom))]
    pub(crate) fn cut(&self, length: usize) -> Result<Self, Error> {
        if length > self.0.length {
            return Err(crate::raw::TOO_SMALL);
        }
        if !self.0.base.addr().get().is_multiple_of(128) {
            return Err(Error::Geometry("the memory does not start on a 128-byte boundary"));
        }
        Ok(Self(Arc::new(Mapping { base: self.0.base, length, backing: Backing::Lent })))
    }

    /// Fills the memory with zeros. Nobody else uses it.
    #[cfg(not(loom))]
    pub(crate) fn clear(&self) {
        // SAFETY: so many bytes are mapped, and whoever makes a new segment in somebody's memory is alone there.
        unsafe { self.0.base.write_bytes(0, self.0.length) };
    }

    /// How many bytes there are.
    pub(crate) fn length(&self) -> usize {
        self.0.length
    }

    /// The range of addresses that this process has mapped for it, if it has, and not borrowed it.
    #[cfg(not(loom))]
    pub(crate) fn mapped_range(&self) -> Option<(usize, usize)> {
        let is_own = !matches!(self.0.backing, Backing::Lent);
        is_own.then(|| (self.0.base.addr().get(), self.0.length))
    }

    /// A view of one `T`.
    #[must_use]
    pub fn one<T: Shared>(&self, at: At<T>) -> Mapped<T> {
        Mapped { cell: self.resolve(&at.0), _memory: self.clone() }
    }

    /// A view of an array.
    #[must_use]
    pub fn slice<T: Shared>(&self, at: AtSlice<T>) -> MappedSlice<T> {
        MappedSlice { cells: NonNull::slice_from_raw_parts(self.resolve(&at.0), at.0.count), _memory: self.clone() }
    }

    /// A view of a ring.
    #[must_use]
    pub fn ring<T: Shared>(&self, at: AtRing<T>) -> Ring<T> {
        assert!(at.0.count.is_power_of_two(), "a plan makes rings of powers of two only");
        Ring {
            first: self.resolve(&at.0),
            mask: at.0.count as u64 - 1,
            lap_shift: at.0.count.trailing_zeros(),
            _memory: self.clone(),
        }
    }

    /// A view of blocks of bytes.
    #[must_use]
    pub fn blocks(&self, at: AtBlocks) -> Blocks {
        Blocks {
            first: self.range(at.offset, at.stride * at.count),
            count: at.count,
            size: at.size,
            stride: at.stride,
            memory: self.clone(),
            #[cfg(loom)]
            guards: self.slice(at.guards),
        }
    }

    /// A view of bytes that are copied in and out, whatever others do meanwhile.
    #[must_use]
    pub fn bytes(&self, at: AtBytes) -> Bytes {
        Bytes::new(self, at)
    }

    /// The address of `bytes` bytes from `offset` on.
    pub(crate) fn range(&self, offset: usize, bytes: usize) -> NonNull<u8> {
        self.check(offset, bytes);
        // SAFETY: `check` found the range to lie within the memory.
        unsafe { self.0.base.add(offset) }
    }

    fn resolve<T: Shared>(&self, place: &Place<T>) -> NonNull<T> {
        let cell = self.range(place.offset, size_of::<T>() * place.count).cast::<T>();
        assert!(cell.is_aligned(), "a plan aligns every part");
        cell
    }

    /// Places come from plans of the same configuration, so a failure here is a fault of this library and not of a peer.
    fn check(&self, offset: usize, bytes: usize) {
        let end = offset.checked_add(bytes);
        assert!(end.is_some_and(|end| end <= self.0.length), "a part lies outside of its segment");
    }
}

/// A view of one `T` in a segment.
pub struct Mapped<T> {
    cell: NonNull<T>,
    _memory: Memory,
}

/// A view of an array in a segment.
pub struct MappedSlice<T> {
    cells: NonNull<[T]>,
    _memory: Memory,
}

/// A view of a power-of-two array, addressed by positions that only grow.
pub struct Ring<T> {
    first: NonNull<T>,
    mask: u64,
    /// `mask` has so many ones; counting them at each operation would cost more than the rest of it.
    lap_shift: u32,
    _memory: Memory,
}

macro_rules! view {
    ($($name:ident),*) => {$(
        // SAFETY: a reference to a `Shared` type in all but name, and `Shared` asks for `Send` and `Sync`.
        unsafe impl<T: Shared> Send for $name<T> {}
        // SAFETY: as above.
        unsafe impl<T: Shared> Sync for $name<T> {}
    )*};
}
view!(Mapped, MappedSlice, Ring);

impl<T> Clone for Mapped<T> {
    fn clone(&self) -> Self {
        Self { cell: self.cell, _memory: self._memory.clone() }
    }
}

impl<T> Clone for MappedSlice<T> {
    fn clone(&self) -> Self {
        Self { cells: self.cells, _memory: self._memory.clone() }
    }
}

impl<T> Clone for Ring<T> {
    fn clone(&self) -> Self {
        Self { first: self.first, mask: self.mask, lap_shift: self.lap_shift, _memory: self._memory.clone() }
    }
}

impl<T: Shared> Deref for Mapped<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: aligned and within memory that `self` keeps mapped; a `Shared` type may be written by others meanwhile.
        unsafe { self.cell.as_ref() }
    }
}

impl<T: Shared> Deref for MappedSlice<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: aligned and within memory that `self` keeps mapped; a `Shared` type may be written by others meanwhile.
        unsafe { self.cells.as_ref() }
    }
}

impl<T: Shared> Ring<T> {
    /// The cell of a position, whatever its lap. Costs one `and`.
    #[inline]
    #[must_use]
    pub fn at(&self, position: u64) -> &T {
        let index = (position & self.mask) as usize;
        // SAFETY: `mask` is less than the number of cells.
        let cell = unsafe { self.first.add(index) };
        // SAFETY: aligned and within memory that `self` keeps mapped; a `Shared` type may be written by others meanwhile.
        unsafe { cell.as_ref() }
    }

    /// Asks for the cell of a position to be brought near, to be read soon. A hint: it has no effect but on time.
    #[inline(always)]
    pub fn prefetch(&self, position: u64) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let cell = self.first.as_ptr().wrapping_add((position & self.mask) as usize);
            // SAFETY: the instruction is part of every x86-64 processor, and takes any address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(cell.cast()) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = position;
    }

    /// The cells of `count` positions from `position` on, in their order: what lies before the end of the ring, and what lies behind, which is
    /// mostly empty. For going through many without masking each position.
    ///
    /// # Panics
    /// If there are not so many cells.
    #[inline]
    #[must_use]
    pub fn run(&self, position: u64, count: usize) -> (&[T], &[T]) {
        assert!(count as u64 <= self.capacity(), "a run is longer than its ring");
        let start = (position & self.mask) as usize;
        let before = count.min(self.capacity() as usize - start);
        // SAFETY: `mask` is less than the number of cells.
        let first = unsafe { self.first.add(start) };
        // SAFETY: aligned, and `start + before` is at most the number of cells, all within memory that `self` keeps mapped; a `Shared` type may
        // be written by others meanwhile.
        let first = unsafe { NonNull::slice_from_raw_parts(first, before).as_ref() };
        // SAFETY: as above, with `count - before`, which is at most `count` and so at most the number of cells.
        let second = unsafe { NonNull::slice_from_raw_parts(self.first, count - before).as_ref() };
        (first, second)
    }

    /// The number of cells, a power of two.
    #[inline]
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.mask + 1
    }

    /// How often the ring was gone round before `position`.
    #[inline]
    #[must_use]
    pub fn lap(&self, position: u64) -> u64 {
        position >> self.lap_shift
    }
}

/// A view of equal blocks of bytes. Which block may be touched by whom is settled by a word beside it.
#[derive(Clone)]
pub struct Blocks {
    first: NonNull<u8>,
    count: usize,
    size: usize,
    stride: usize,
    #[allow(dead_code, reason = "keeps the bytes mapped")]
    memory: Memory,
    #[cfg(loom)]
    guards: MappedSlice<crate::PlainCell<u8>>,
}

// SAFETY: plain bytes; the methods that touch them are `unsafe` and say who may call them.
unsafe impl Send for Blocks {}
// SAFETY: as above.
unsafe impl Sync for Blocks {}

impl Blocks {
    /// Bytes per block.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// The number of blocks.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Copies `bytes` into block `index`, from byte `offset` on.
    ///
    /// # Safety
    /// Nobody else reads or writes those bytes meanwhile.
    ///
    /// # Panics
    /// If there is no such block or it is too small.
    #[cfg_attr(crash_points, track_caller)]
    pub unsafe fn write(&self, index: usize, offset: usize, bytes: &[u8]) {
        #[cfg(loom)]
        self.guards[index].write(1);
        let target = self.range(index, offset, bytes.len());
        // SAFETY: `range` checked the bounds, `bytes` is this process's own, and the caller vouches for the rest.
        unsafe { copy::copy(bytes.as_ptr(), target.as_ptr(), bytes.len()) };
    }

    /// Copies from block `index`, from byte `offset` on, into `bytes`.
    ///
    /// # Safety
    /// Nobody writes those bytes meanwhile.
    ///
    /// # Panics
    /// If there is no such block or it is too small.
    #[cfg_attr(crash_points, track_caller)]
    pub unsafe fn read(&self, index: usize, offset: usize, bytes: &mut [u8]) {
        #[cfg(loom)]
        self.guards[index].read();
        let source = self.range(index, offset, bytes.len());
        // SAFETY: `range` checked the bounds, `bytes` is this process's own, and the caller vouches for the rest.
        unsafe { copy::copy(source.as_ptr(), bytes.as_mut_ptr(), bytes.len()) };
    }

    /// The first `length` bytes of block `index`, in place.
    ///
    /// # Safety
    /// Nobody writes that block for as long as the slice lives.
    ///
    /// # Panics
    /// If there is no such block or it is shorter.
    #[must_use]
    pub unsafe fn bytes(&self, index: usize, length: usize) -> &[u8] {
        #[cfg(loom)]
        self.guards[index].read();
        let first = self.range(index, 0, length);
        // SAFETY: `range` checked the bounds, the memory stays mapped, and the caller vouches that nobody writes.
        unsafe { std::slice::from_raw_parts(first.as_ptr(), length) }
    }

    /// The first `length` bytes of block `index`, in place, for writing.
    ///
    /// # Safety
    /// Nobody else touches that block for as long as the slice lives.
    ///
    /// # Panics
    /// If there is no such block or it is shorter.
    #[must_use]
    #[allow(clippy::mut_from_ref, reason = "the caller vouches that the block is its own")]
    pub unsafe fn bytes_mut(&self, index: usize, length: usize) -> &mut [u8] {
        #[cfg(loom)]
        self.guards[index].write(1);
        let first = self.range(index, 0, length);
        // SAFETY: `range` checked the bounds, the memory stays mapped, and the caller vouches that nobody else touches it.
        unsafe { std::slice::from_raw_parts_mut(first.as_ptr(), length) }
    }

    fn range(&self, index: usize, offset: usize, length: usize) -> NonNull<u8> {
        let inside = offset.checked_add(length).is_some_and(|end| end <= self.size);
        assert!(index < self.count && inside, "block {index} has no {length} bytes from {offset} on");
        // SAFETY: `index < count` and `offset <= size <= stride`, and `count * stride` bytes lie within the memory.
        unsafe { self.first.add(index * self.stride + offset) }
    }
}

/// loom's atomics are neither as small as the real ones nor valid when zeroed, so that under loom the cells of a plan are
/// constructed one by one in ordinary memory, and dropped with it.
#[cfg(loom)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoomCells {
    offset: usize,
    count: usize,
    size: usize,
    construct: fn(*mut u8),
    destroy: fn(*mut u8),
}

#[cfg(loom)]
impl LoomCells {
    pub(crate) fn of<T: Shared>(offset: usize, count: usize) -> Self {
        Self {
            offset,
            count,
            size: size_of::<T>(),
            // SAFETY: called with the aligned place of a `T` that does not exist yet.
            construct: |cell| unsafe { cell.cast::<T>().write(T::default()) },
            // SAFETY: called once, with the place of a `T` that exists.
            destroy: |cell| unsafe { cell.cast::<T>().drop_in_place() },
        }
    }
}

#[cfg(loom)]
struct LoomBacking {
    block: Vec<LoomPage>,
    cells: Vec<LoomCells>,
}

#[cfg(loom)]
#[derive(Clone, Copy)]
#[repr(align(128))]
struct LoomPage(#[allow(dead_code)] [u8; 128]);

#[cfg(loom)]
impl Memory {
    /// loom's atomics cannot lie in mapped bytes.
    pub(crate) fn shared(_file: &impl std::os::fd::AsRawFd, _length: usize, _advice: u32) -> Result<Self, Error> {
        Err(Error::NotTransferable("models have private segments only"))
    }

    pub(crate) fn private(plan: &Plan) -> Result<Self, Error> {
        let mut block = vec![LoomPage([0; 128]); plan.length().div_ceil(128).max(1)];
        let base = NonNull::new(block.as_mut_ptr().cast::<u8>()).expect("a vector's pointer");
        for cells in &plan.cells {
            for index in 0..cells.count {
                // SAFETY: the plan laid the cells out within its length.
                (cells.construct)(unsafe { base.as_ptr().add(cells.offset + index * cells.size) });
            }
        }
        let backing = LoomBacking { block, cells: plan.cells.clone() };
        Ok(Self(Arc::new(Mapping { base, length: plan.length(), backing })))
    }
}

#[cfg(loom)]
impl Drop for LoomBacking {
    fn drop(&mut self) {
        let base = self.block.as_mut_ptr().cast::<u8>();
        for cells in &self.cells {
            for index in 0..cells.count {
                // SAFETY: the plan laid the cells out within its length.
                (cells.destroy)(unsafe { base.add(cells.offset + index * cells.size) });
            }
        }
    }
}
