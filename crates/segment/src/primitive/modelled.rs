//! loom's atomics, optionally with a shadow.
//!
//! loom 0.7 skips interleavings when a thread loads an atomic and then stores or swaps it (tokio-rs/loom #166, #392): a
//! queue with a relaxed publish can pass. Under `--cfg loom_shadow` every operation first does a read-modify-write on a
//! second atomic beside the first, which brings the missing interleavings back. Models run in both configurations.

use loom::sync::atomic;
use std::sync::atomic::Ordering;

macro_rules! modelled {
    ($name:ident, $value:ty) => {
        /// loom's atomic of the same name.
        #[derive(Debug, Default)]
        pub struct $name {
            cell: atomic::$name,
            #[cfg(loom_shadow)]
            shadow: atomic::AtomicU8,
        }

        #[allow(missing_docs)]
        impl $name {
            pub fn new(value: $value) -> Self {
                Self {
                    cell: atomic::$name::new(value),
                    #[cfg(loom_shadow)]
                    shadow: atomic::AtomicU8::new(0),
                }
            }
            fn cell(&self) -> &atomic::$name {
                crate::crash::site("access");
                #[cfg(loom_shadow)]
                self.shadow.fetch_or(0, Ordering::Relaxed);
                &self.cell
            }
            pub fn load(&self, order: Ordering) -> $value {
                self.cell().load(order)
            }
            pub fn store(&self, value: $value, order: Ordering) {
                self.cell().store(value, order);
            }
            pub fn swap(&self, value: $value, order: Ordering) -> $value {
                self.cell().swap(value, order)
            }
            pub fn fetch_add(&self, value: $value, order: Ordering) -> $value {
                self.cell().fetch_add(value, order)
            }
            pub fn fetch_sub(&self, value: $value, order: Ordering) -> $value {
                self.cell().fetch_sub(value, order)
            }
            pub fn fetch_or(&self, value: $value, order: Ordering) -> $value {
                self.cell().fetch_or(value, order)
            }
            pub fn fetch_max(&self, value: $value, order: Ordering) -> $value {
                self.cell().fetch_max(value, order)
            }
            pub fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.cell().compare_exchange(current, new, success, failure)
            }
        }
    };
}

modelled!(AtomicU16, u16);
modelled!(AtomicU32, u32);
modelled!(AtomicU64, u64);

/// loom's fence.
pub fn fence(order: Ordering) {
    crate::crash::site("fence");
    atomic::fence(order);
}
