//! `parking_lot`'s mutex and the standard library's, which know only threads.

use super::number::{Beside, add_one};
use super::shmkit_locks::add_one_under;
use crate::peers::turns::Guarded;
use std::sync::Arc;

impl Guarded for Arc<parking_lot::Mutex<u64>> {
    #[inline(always)]
    fn add_one(&mut self, limit: u64) -> bool {
        add_one_under(self.lock(), limit)
    }
}

impl Guarded for Arc<std::sync::Mutex<u64>> {
    #[inline(always)]
    fn add_one(&mut self, limit: u64) -> bool {
        add_one_under(self.lock().expect("nobody has panicked"), limit)
    }
}

/// In the place of a semaphore with one permit, which it does not have.
impl Guarded for Beside<Arc<parking_lot::Mutex<()>>> {
    #[inline(always)]
    fn add_one(&mut self, limit: u64) -> bool {
        let _permit = self.lock.lock();
        add_one(&self.number, limit)
    }
}
