//! What may lie in a segment: types that are made of cells only.

#![allow(unsafe_code)]

use crate::plain::{Plain, PlainCell};
use crate::primitive::{AtomicU16, AtomicU32, AtomicU64};
use std::ops::Deref;

/// A type that may lie in shared memory: it is made of atomics and [`PlainCell`]s and of nothing else.
///
/// Write one with [`shared!`](crate::shared), which checks each field.
///
/// # Safety
///
/// - `repr(C)` or `repr(transparent)`, with the same layout in every process that attaches;
/// - every byte that is ever accessed lies in an atomic or a [`PlainCell`]: other processes write at any time;
/// - every bit pattern is valid, and all-zero bytes are a safe state;
/// - nothing happens on drop.
pub unsafe trait Shared: Default + Send + Sync + 'static {}

// SAFETY: atomics are cells, valid for every bit pattern.
unsafe impl Shared for AtomicU16 {}
// SAFETY: as above.
unsafe impl Shared for AtomicU32 {}
// SAFETY: as above.
unsafe impl Shared for AtomicU64 {}
// SAFETY: `T: Plain` is valid for every bit pattern, and the cell accesses it by atomics only.
unsafe impl<T: Plain> Shared for PlainCell<T> {}
// SAFETY: an array of cells is laid out as its elements, one after the other.
unsafe impl<T: Shared, const N: usize> Shared for [T; N] where [T; N]: Default {}

/// Keeps `T` on cache lines of its own: 128 bytes, as processors fetch lines in pairs.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub struct Line<T>(T);

// SAFETY: `T` at the start of a larger, aligned block.
unsafe impl<T: Shared> Shared for Line<T> {}

impl<T> Deref for Line<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

/// A default value of a field that has been checked to be [`Shared`]: [`shared!`](crate::shared) builds with it.
#[doc(hidden)]
pub fn checked_default<T: Shared>() -> T {
    T::default()
}

/// Declares a `repr(C)` struct whose fields are all [`Shared`](crate::Shared), which makes it `Shared` itself.
///
/// ```
/// use shmkit_segment::{Line, Plain, PlainCell, primitive::AtomicU64, shared};
///
/// shared! {
///     /// A slot of a queue.
///     pub struct Slot<T: Plain> {
///         /// Who may touch the value.
///         pub word: AtomicU64,
///         /// The value.
///         pub value: PlainCell<T>,
///     }
/// }
/// ```
///
/// A field that is not made of cells is rejected by the compiler:
///
/// ```compile_fail
/// shmkit_segment::shared! {
///     struct Wrong { length: u64 }
/// }
/// ```
#[macro_export]
macro_rules! shared {
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $name:ident $(<$generic:ident : $bound:path>)? {
            $($(#[$field_attribute:meta])* $field_visibility:vis $field:ident : $type:ty),* $(,)?
        }
    ) => {
        $(#[$attribute])*
        #[repr(C)]
        $visibility struct $name $(<$generic: $bound>)? {
            $($(#[$field_attribute])* $field_visibility $field: $type),*
        }

        impl $(<$generic: $bound>)? ::std::default::Default for $name $(<$generic>)? {
            fn default() -> Self {
                Self { $($field: $crate::checked_default::<$type>()),* }
            }
        }

        // SAFETY: `repr(C)`, and `default` above compiles only if each field is `Shared`.
        #[allow(unsafe_code)]
        unsafe impl $(<$generic: $bound>)? $crate::Shared for $name $(<$generic>)? {}
    };
}
