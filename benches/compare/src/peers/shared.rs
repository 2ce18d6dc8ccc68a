//! Atomics in memory that processes share, without shmkit: for the gate, and for the contenders that show what bare shared memory does.
//!
//! A memory file, mapped. Children inherit its descriptor, so that in bytes it is a number.

use anyhow::Result;
use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::fs::File;
use std::marker::PhantomData;
use std::ops::Deref;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

/// What may lie there.
///
/// # Safety
/// It consists of atomics, and of what a C library keeps in memory that processes share, in cells and behind pointers only; all-zero bytes are a value
/// of it, it is aligned to no more than a page, and nothing happens on drop.
pub unsafe trait Words: Sync + 'static {}

/// One `T` that every process sees that was given a copy of this.
pub struct Shared<T> {
    file: Arc<File>,
    map: Arc<MmapRaw>,
    holds: PhantomData<fn() -> T>,
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self { file: self.file.clone(), map: self.map.clone(), holds: PhantomData }
    }
}

impl<T: Words> Shared<T> {
    /// A new one, all zero.
    pub fn new() -> Result<Self> {
        let file = File::from(memfd_create("compare", MemfdFlags::empty())?);
        ftruncate(&file, size_of::<T>() as u64)?;
        Ok(Self::map(file)?)
    }

    fn map(file: File) -> std::io::Result<Self> {
        let map = MmapOptions::new().len(size_of::<T>()).map_raw(&file)?;
        Ok(Self { file: Arc::new(file), map: Arc::new(map), holds: PhantomData })
    }
}

impl<T: Words> Deref for Shared<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: `size_of::<T>()` bytes are mapped for as long as `self` lives, aligned to a page. `Words` vouches that any process may
        // write them meanwhile, and that the zeros they began with are a value.
        unsafe { &*self.map.as_ptr().cast::<T>() }
    }
}

impl<T: Words> Serialize for Shared<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Inherited::of(&*self.file).serialize(serializer)
    }
}

impl<'de, T: Words> Deserialize<'de> for Shared<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let file = Inherited::deserialize(deserializer)?.open(File::options().read(true).write(true));
        file.and_then(Self::map).map_err(D::Error::custom)
    }
}

/// A memory file or an end of a pipe that was made without the mark that closes it in children. It must be open when they are
/// started and no longer.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Inherited(RawFd);

impl Inherited {
    /// Names an open file for children that are about to be started.
    pub fn of(file: &impl AsRawFd) -> Self {
        Self(file.as_raw_fd())
    }

    /// Opens the same file again, in a child.
    pub fn open(self, options: &std::fs::OpenOptions) -> std::io::Result<File> {
        options.open(format!("/proc/self/fd/{}", self.0))
    }
}
