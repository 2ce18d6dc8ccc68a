//! `std`'s atomics in the same bytes, each access announced to [`crash`] before it happens, and each compare-exchange
//! once more, with its outcome, after it.

use crate::crash;
use std::sync::atomic::{self, Ordering};

macro_rules! instrumented {
    ($name:ident, $value:ty) => {
        /// `std`'s atomic of the same name, with crash points.
        #[derive(Debug, Default)]
        #[repr(transparent)]
        pub struct $name(atomic::$name);

        #[allow(missing_docs)]
        impl $name {
            pub const fn new(value: $value) -> Self {
                Self(atomic::$name::new(value))
            }
            #[track_caller]
            pub fn load(&self, order: Ordering) -> $value {
                crash::site("load");
                self.0.load(order)
            }
            #[track_caller]
            pub fn store(&self, value: $value, order: Ordering) {
                crash::site("store");
                self.0.store(value, order);
            }
            #[track_caller]
            pub fn swap(&self, value: $value, order: Ordering) -> $value {
                crash::site("swap");
                self.0.swap(value, order)
            }
            #[track_caller]
            pub fn fetch_add(&self, value: $value, order: Ordering) -> $value {
                crash::site("fetch_add");
                self.0.fetch_add(value, order)
            }
            #[track_caller]
            pub fn fetch_sub(&self, value: $value, order: Ordering) -> $value {
                crash::site("fetch_sub");
                self.0.fetch_sub(value, order)
            }
            #[track_caller]
            pub fn fetch_or(&self, value: $value, order: Ordering) -> $value {
                crash::site("fetch_or");
                self.0.fetch_or(value, order)
            }
            #[track_caller]
            pub fn fetch_max(&self, value: $value, order: Ordering) -> $value {
                crash::site("fetch_max");
                self.0.fetch_max(value, order)
            }
            #[track_caller]
            pub fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                crash::site("compare_exchange");
                let outcome = self.0.compare_exchange(current, new, success, failure);
                crash::site(match outcome {
                    Ok(_) => "compare_exchange won",
                    Err(_) => "compare_exchange lost",
                });
                outcome
            }
        }
    };
}

impl AtomicU32 {
    /// The atomic itself, for the kernel to look at.
    pub(super) fn bare(&self) -> &atomic::AtomicU32 {
        &self.0
    }
}

instrumented!(AtomicU16, u16);
instrumented!(AtomicU32, u32);
instrumented!(AtomicU64, u64);

/// `std`'s fence, with a crash point before it.
#[track_caller]
pub fn fence(order: Ordering) {
    crash::site("fence");
    atomic::fence(order);
}
