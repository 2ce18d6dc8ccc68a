//! Values that may lie in shared memory, and the cell that holds one.
//!
//! A peer can write any bytes at any time. [`Plain`] says that any bytes are a valid value; [`PlainCell`] copies values
//! in and out word by word with relaxed atomics, so that even a peer that breaks the protocol causes a wrong value and
//! never a data race. Which thread may copy when is the business of the protocol around the cell.

#![allow(unsafe_code)]

use crate::crash;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A value that can be copied into and out of shared memory: every bit pattern is valid, and there is no padding that
/// could leak what was in memory before.
///
/// Derive zerocopy's traits for a `repr(C)` struct and it is `Plain`:
///
/// ```
/// # use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};
/// #[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
/// #[repr(C)]
/// struct Tick { price: u64, volume: u32, venue: u32 }
///
/// fn takes<T: shmkit_segment::Plain>() {}
/// takes::<Tick>();
/// takes::<[u8; 32]>();
/// ```
pub trait Plain: FromBytes + IntoBytes + Immutable + KnownLayout + Copy + Send + 'static {}

impl<T: FromBytes + IntoBytes + Immutable + KnownLayout + Copy + Send + 'static> Plain for T {}

#[cfg(not(loom))]
pub use in_memory::PlainCell;
#[cfg(loom)]
pub use modelled::PlainCell;

#[cfg(not(loom))]
mod in_memory {
    use super::{Plain, crash};
    use crate::copy::{copy_in, copy_out};
    use std::cell::UnsafeCell;
    use std::mem::{MaybeUninit, size_of};
    use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

    /// Room for one [`Plain`] value in shared memory.
    ///
    /// Aligned to eight bytes, so that copying goes by words whatever the value's own alignment is.
    #[repr(C, align(8))]
    pub struct PlainCell<T>(UnsafeCell<T>);

    // SAFETY: every access goes through relaxed atomics (below), and a `Plain` value may move between threads.
    unsafe impl<T: Plain> Sync for PlainCell<T> {}

    impl<T: Plain> PlainCell<T> {
        const WORDS: usize = size_of::<T>() / 8;

        /// Copies `value` in.
        #[inline]
        #[cfg_attr(crash_points, track_caller)]
        pub fn write(&self, value: T) {
            crash::site("write value");
            let source = (&raw const value).cast::<u8>();
            for word in (0..Self::WORDS).map(|index| index * 8) {
                // SAFETY: within `value`; read unaligned, as `T` may be. `T: IntoBytes` has no uninitialised padding.
                let bits = unsafe { source.wrapping_add(word).cast::<u64>().read_unaligned() };
                self.word(word).store(bits, Ordering::Relaxed);
            }
            for byte in Self::WORDS * 8..size_of::<T>() {
                // SAFETY: within `value`, all of whose bytes are initialised.
                let bits = unsafe { source.wrapping_add(byte).read() };
                self.byte(byte).store(bits, Ordering::Relaxed);
            }
        }

        /// Copies the value out.
        #[inline]
        #[cfg_attr(crash_points, track_caller)]
        pub fn read(&self) -> T {
            crash::site("read value");
            let mut value = MaybeUninit::<T>::uninit();
            let target = value.as_mut_ptr().cast::<u8>();
            for word in (0..Self::WORDS).map(|index| index * 8) {
                let bits = self.word(word).load(Ordering::Relaxed);
                // SAFETY: within `value`; written unaligned, as `T` may be.
                unsafe { target.wrapping_add(word).cast::<u64>().write_unaligned(bits) };
            }
            for byte in Self::WORDS * 8..size_of::<T>() {
                let bits = self.byte(byte).load(Ordering::Relaxed);
                // SAFETY: within `value`.
                unsafe { target.wrapping_add(byte).write(bits) };
            }
            // SAFETY: all `size_of::<T>()` bytes were written, and `T: FromBytes` is valid for any of them.
            unsafe { value.assume_init() }
        }

        /// Copies `values` into as many cells.
        ///
        /// # Panics
        /// If there are not as many.
        #[inline]
        #[cfg_attr(crash_points, track_caller)]
        pub fn write_all(cells: &[Self], values: &[T]) {
            assert_eq!(cells.len(), values.len(), "there is a cell for each value");
            if Self::IS_DENSE {
                crash::site("write values");
                // SAFETY: cells lie as densely as the values, word for word; `values` is this process's own, and `T: IntoBytes` has no uninitialised bytes.
                unsafe { copy_in(values.as_ptr().cast(), cells.as_ptr().cast_mut().cast(), size_of_val(values)) };
            } else {
                cells.iter().zip(values).for_each(|(cell, value)| cell.write(*value));
            }
        }

        /// Copies the values of as many cells out.
        ///
        /// # Panics
        /// If there are not as many.
        #[inline]
        #[cfg_attr(crash_points, track_caller)]
        pub fn read_all(cells: &[Self], values: &mut [T]) {
            assert_eq!(cells.len(), values.len(), "there is a cell for each value");
            if Self::IS_DENSE {
                crash::site("read values");
                // SAFETY: as above; any bytes are a `T: FromBytes`.
                unsafe { copy_out(cells.as_ptr().cast(), values.as_mut_ptr().cast(), size_of_val(values)) };
            } else {
                cells.iter().zip(values).for_each(|(cell, value)| *value = cell.read());
            }
        }

        /// Whether values fill their cells, so that many lie in memory like an array of them.
        const IS_DENSE: bool = size_of::<T>() == size_of::<Self>();

        /// The eight bytes from `offset`, which is a multiple of eight with eight bytes of value from there.
        #[inline(always)]
        fn word(&self, offset: usize) -> &AtomicU64 {
            let word = self.0.get().cast::<u8>().wrapping_add(offset);
            // SAFETY: within the cell, which is aligned to eight bytes, and always accessed as this same word, atomically.
            unsafe { AtomicU64::from_ptr(word.cast()) }
        }

        /// A byte behind the last whole word.
        #[inline(always)]
        fn byte(&self, offset: usize) -> &AtomicU8 {
            // SAFETY: within the cell, and always accessed as this same byte, atomically.
            unsafe { AtomicU8::from_ptr(self.0.get().cast::<u8>().wrapping_add(offset)) }
        }
    }

    impl<T: Plain> Default for PlainCell<T> {
        fn default() -> Self {
            Self(UnsafeCell::new(T::new_zeroed()))
        }
    }
}

#[cfg(loom)]
mod modelled {
    use super::{Plain, crash};
    use loom::cell::UnsafeCell;

    /// Room for one [`Plain`] value; loom reports two accesses that nothing orders, if one of them writes.
    pub struct PlainCell<T>(UnsafeCell<T>);

    // SAFETY: loom checks each access; a `Plain` value may move between threads.
    unsafe impl<T: Plain> Sync for PlainCell<T> {}

    impl<T: Plain> PlainCell<T> {
        /// Copies `value` in.
        pub fn write(&self, value: T) {
            crash::site("write value");
            // SAFETY: the pointer is valid within the closure, and loom rejects a concurrent access.
            self.0.with_mut(|cell| unsafe { *cell = value });
        }

        /// Copies the value out.
        pub fn read(&self) -> T {
            crash::site("read value");
            // SAFETY: the pointer is valid within the closure, and loom rejects a concurrent write.
            self.0.with(|cell| unsafe { *cell })
        }
    }

    impl<T: Plain> PlainCell<T> {
        /// Copies `values` into as many cells.
        pub fn write_all(cells: &[Self], values: &[T]) {
            cells.iter().zip(values).for_each(|(cell, value)| cell.write(*value));
        }

        /// Copies the values of as many cells out.
        pub fn read_all(cells: &[Self], values: &mut [T]) {
            cells.iter().zip(values).for_each(|(cell, value)| *value = cell.read());
        }
    }

    impl<T: Plain> Default for PlainCell<T> {
        fn default() -> Self {
            Self(UnsafeCell::new(T::new_zeroed()))
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::PlainCell;

    #[test]
    fn values_of_odd_sizes_come_back_whole() {
        let cell = PlainCell::<[u8; 13]>::default();
        assert_eq!(cell.read(), [0; 13]);
        let value = std::array::from_fn(|i| i as u8 * 19);
        cell.write(value);
        assert_eq!(cell.read(), value);

        let cell = PlainCell::<(/* no bytes at all */)>::default();
        cell.write(());
        cell.read();
    }
}
