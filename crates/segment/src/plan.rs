//! Where the parts of an object lie: a plan is made from the object's configuration alone, by its creator and again by
//! everyone who attaches, so that no offset is ever read from shared memory.

use crate::{Error, Shared};
use std::alloc::Layout;
use std::marker::PhantomData;

/// Lays parts out one after the other, each aligned as it needs, and counts the bytes.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    length: usize,
    /// Where what is allotted only on request begins.
    spare: Option<usize>,
    #[cfg(loom)]
    pub(crate) cells: Vec<crate::memory::LoomCells>,
}

/// The place of one `T`.
pub struct At<T>(pub(crate) Place<T>);

/// The place of an array of `T`.
pub struct AtSlice<T>(pub(crate) Place<T>);

/// The place of a power-of-two array of `T`, addressed by positions that only grow.
pub struct AtRing<T>(pub(crate) Place<T>);

/// The place of equal blocks of bytes, each starting on a 64-byte boundary.
#[derive(Clone, Copy, Debug)]
pub struct AtBlocks {
    pub(crate) offset: usize,
    pub(crate) count: usize,
    pub(crate) size: usize,
    pub(crate) stride: usize,
    #[cfg(loom)]
    pub(crate) guards: AtSlice<crate::PlainCell<u8>>,
}

/// The place of bytes that start on a 64-byte boundary.
#[derive(Clone, Copy, Debug)]
pub struct AtBytes {
    pub(crate) offset: usize,
    pub(crate) length: usize,
    #[cfg(loom)]
    pub(crate) cells: AtSlice<crate::PlainCell<u8>>,
}

impl AtBytes {
    /// The place of `length` of these bytes, from `offset` on.
    ///
    /// # Panics
    /// If there are not so many from there.
    #[must_use]
    pub fn part(self, offset: usize, length: usize) -> Self {
        let end = offset.checked_add(length).filter(|&end| end <= self.length);
        assert!(end.is_some(), "there are no {length} bytes from {offset} on among {}", self.length);
        Self {
            offset: self.offset + offset,
            length,
            #[cfg(loom)]
            cells: AtSlice(Place {
                offset: self.cells.0.offset + offset * size_of::<crate::PlainCell<u8>>(),
                count: length,
                _type: PhantomData,
            }),
        }
    }
}

pub(crate) struct Place<T> {
    pub(crate) offset: usize,
    pub(crate) count: usize,
    _type: PhantomData<fn() -> T>,
}

macro_rules! copy_without_bounds {
    ($($name:ident),*) => {$(
        impl<T> Clone for $name<T> {
            fn clone(&self) -> Self {
                *self
            }
        }
        impl<T> Copy for $name<T> {}
    )*};
}
copy_without_bounds!(At, AtSlice, AtRing, Place);

impl<T> std::fmt::Debug for AtSlice<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} × {} at {}", self.0.count, std::any::type_name::<T>(), self.0.offset)
    }
}

impl Plan {
    /// Bytes start on such a boundary, so that copies between them and the usual buffers are fast.
    const BYTES_ALIGN: usize = 64;

    /// An empty plan.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes planned so far.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// How many of them, from the first on, are allotted when the segment is created.
    pub(crate) fn allotted(&self) -> usize {
        self.spare.unwrap_or(self.length)
    }

    /// One `T`.
    ///
    /// # Errors
    /// [`Error::Geometry`] if the whole would not fit into an address space.
    pub fn one<T: Shared>(&mut self) -> Result<At<T>, Error> {
        self.place(1).map(At)
    }

    /// `count` times `T`, one after the other.
    ///
    /// # Errors
    /// [`Error::Geometry`] if the whole would not fit into an address space.
    pub fn slice<T: Shared>(&mut self, count: usize) -> Result<AtSlice<T>, Error> {
        self.place(count).map(AtSlice)
    }

    /// `count` times `T`, to be used as a ring.
    ///
    /// # Errors
    /// [`Error::Geometry`] unless `count` is a power of two, or if the whole would not fit into an address space.
    pub fn ring<T: Shared>(&mut self, count: usize) -> Result<AtRing<T>, Error> {
        if !count.is_power_of_two() {
            return Err(Error::Geometry("the capacity of a ring is a power of two"));
        }
        self.place(count).map(AtRing)
    }

    /// `count` blocks of `size` bytes each.
    ///
    /// # Errors
    /// [`Error::Geometry`] if the whole would not fit into an address space.
    pub fn blocks(&mut self, count: usize, size: usize) -> Result<AtBlocks, Error> {
        let stride = size.checked_next_multiple_of(Self::BYTES_ALIGN).ok_or(TOO_LARGE)?;
        let bytes = stride.checked_mul(count).ok_or(TOO_LARGE)?;
        let layout = Layout::from_size_align(bytes, Self::BYTES_ALIGN).map_err(|_| TOO_LARGE)?;
        let offset = self.reserve(layout)?;
        #[cfg(loom)]
        let guards = self.slice(count)?;
        Ok(AtBlocks {
            offset,
            count,
            size,
            stride,
            #[cfg(loom)]
            guards,
        })
    }

    /// `length` bytes, one after the other.
    ///
    /// # Errors
    /// [`Error::Geometry`] if the whole would not fit into an address space.
    pub fn bytes(&mut self, length: usize) -> Result<AtBytes, Error> {
        let layout = Layout::from_size_align(length, Self::BYTES_ALIGN).map_err(|_| TOO_LARGE)?;
        let offset = self.reserve(layout)?;
        Ok(AtBytes {
            offset,
            length,
            #[cfg(loom)]
            cells: self.slice(length)?,
        })
    }

    /// As [`bytes`](Self::bytes), for which memory is allotted only [on request](crate::Segment::allot). They come last in a segment.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes).
    pub fn spare(&mut self, length: usize) -> Result<AtBytes, Error> {
        let start = self.length;
        let bytes = self.bytes(length)?;
        self.spare.get_or_insert(start);
        Ok(bytes)
    }

    fn place<T: Shared>(&mut self, count: usize) -> Result<Place<T>, Error> {
        let layout = Layout::array::<T>(count).map_err(|_| TOO_LARGE)?;
        let offset = self.reserve(layout)?;
        #[cfg(loom)]
        self.cells.push(crate::memory::LoomCells::of::<T>(offset, count));
        Ok(Place { offset, count, _type: PhantomData })
    }

    fn reserve(&mut self, layout: Layout) -> Result<usize, Error> {
        let offset = self.length.checked_next_multiple_of(layout.align()).ok_or(TOO_LARGE)?;
        let length = offset.checked_add(layout.size()).ok_or(TOO_LARGE)?;
        // The kernel counts file sizes in an i64.
        if i64::try_from(length).is_err() {
            return Err(TOO_LARGE);
        }
        self.length = length;
        Ok(offset)
    }
}

const TOO_LARGE: Error = Error::Geometry("the segment would not fit into an address space");

#[cfg(all(test, not(loom)))]
mod tests {
    use super::Plan;
    use crate::primitive::{AtomicU32, AtomicU64};

    #[test]
    fn parts_follow_one_another_aligned() {
        let mut plan = Plan::new();
        let first = plan.one::<AtomicU32>().unwrap();
        let second = plan.slice::<AtomicU64>(3).unwrap();
        let blocks = plan.blocks(2, 65).unwrap();
        assert_eq!((first.0.offset, second.0.offset), (0, 8));
        assert_eq!((blocks.offset, blocks.stride), (64, 128));
        assert_eq!(plan.length(), 64 + 256);
    }

    #[test]
    fn spare_bytes_are_not_allotted() {
        let mut plan = Plan::new();
        plan.bytes(100).unwrap();
        assert_eq!((plan.length(), plan.allotted()), (100, 100));
        let spare = plan.spare(1_000).unwrap();
        assert_eq!((spare.offset, plan.length(), plan.allotted()), (128, 1_128, 100));
    }

    #[test]
    fn sizes_that_overflow_are_errors() {
        for count in [usize::MAX, usize::MAX / 8, 1 << 62] {
            assert!(Plan::new().slice::<AtomicU64>(count).is_err());
        }
        assert!(Plan::new().blocks(usize::MAX / 64, 65).is_err());
        assert!(Plan::new().blocks(1, usize::MAX).is_err());
        assert!(Plan::new().bytes(usize::MAX).is_err());
        assert!(Plan::new().ring::<AtomicU64>(3).is_err());
        assert!(Plan::new().ring::<AtomicU64>(0).is_err());
    }
}
