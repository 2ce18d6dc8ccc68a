//! Values without a lock: what is made of atomics needs none.

use crate::Error;
use crate::handle::handle;
use shmkit_segment::{AtSlice, Configuration, MappedSlice, Memory, Object, Options, PeerId, Plan, Role, kind};
use std::alloc::Layout;
use std::ops::Deref;

/// What is in the segment of a [`Shared`] or a [`SharedSlice`]: so many `T`.
pub struct Cells<T: shmkit_segment::Shared>(MappedSlice<T>);

impl<T: shmkit_segment::Shared> Object for Cells<T> {
    const KIND: u32 = kind(b"CELL");
    const HARDENED: bool = true;
    type Parts = AtSlice<T>;

    fn payload() -> Layout {
        Layout::new::<T>()
    }

    fn plan(configuration: &Configuration, plan: &mut Plan) -> Result<Self::Parts, Error> {
        match usize::try_from(configuration[0]) {
            Ok(count @ 1..) => plan.slice(count),
            _ => Err(Error::Geometry("there is at least one shared value")),
        }
    }

    fn attach(memory: &Memory, parts: &Self::Parts) -> Self {
        Self(memory.slice(*parts))
    }

    /// Each access is one instruction: nothing is ever half done.
    fn sweep(&self, _dead: PeerId, _reaper: PeerId) {}

    /// Nobody waits.
    fn wake_all(&self) {}
}

impl<T: shmkit_segment::Shared> Cells<T> {
    /// The configuration of so many.
    #[must_use]
    pub fn configuration(count: usize) -> Configuration {
        [count as u64, 0, 0, 0, 0, 0, 0, 0]
    }
}

/// A value made of atomics, or of whatever else may be accessed by all at any time, that several processes share. It is zero at first. Clones, and handles passed to other processes, are the same value.
///
/// ```
/// use shmkit_segment::primitive::{AtomicU64, Ordering};
/// use shmkit_sync::Shared;
///
/// let total = Shared::<AtomicU64>::new()?; // pass clones of it to child processes
/// total.fetch_add(5, Ordering::Relaxed);
/// assert_eq!(total.load(Ordering::Relaxed), 5);
/// # Ok::<(), shmkit_sync::Error>(())
/// ```
///
/// For values of which several parts change together, there is a [`Mutex`](crate::Mutex). A structure of your own is declared with [`shared!`](shmkit_segment::shared).
///
/// In a child made by `fork`, it is zero, and what is done to it reaches nobody.
pub struct Shared<T: shmkit_segment::Shared> {
    member: Role<Cells<T>>,
}

handle!(Shared<T: shmkit_segment::Shared>, Cells<T>);

impl<T: shmkit_segment::Shared> Shared<T> {
    /// One that can be passed to child processes.
    ///
    /// # Errors
    /// [`Error::NoSpace`] and [`Error::System`] if shared memory cannot be had.
    pub fn new() -> Result<Self, Error> {
        Options::new().anonymous(Cells::<T>::configuration(1)).map(|segment| Self::with(segment.role(0)))
    }

    fn with(member: Role<Cells<T>>) -> Self {
        Self { member }
    }
}

impl<T: shmkit_segment::Shared> Deref for Shared<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.object().0[0]
    }
}

/// Many values made of atomics, as [`Shared`] is one.
///
/// ```
/// use shmkit_segment::primitive::{AtomicU32, Ordering};
/// use shmkit_sync::SharedSlice;
///
/// let histogram = SharedSlice::<AtomicU32>::new(256)?; // pass clones of it to child processes
/// histogram[b'x' as usize].fetch_add(1, Ordering::Relaxed);
/// assert_eq!(histogram.iter().map(|count| count.load(Ordering::Relaxed)).sum::<u32>(), 1);
/// # Ok::<(), shmkit_sync::Error>(())
/// ```
pub struct SharedSlice<T: shmkit_segment::Shared> {
    member: Role<Cells<T>>,
}

handle!(SharedSlice<T: shmkit_segment::Shared>, Cells<T>);

impl<T: shmkit_segment::Shared> SharedSlice<T> {
    /// `count` values, all zero, that can be passed to child processes.
    ///
    /// # Errors
    /// [`Error::Geometry`] if `count` is zero, or more than an address space has room for; [`Error::NoSpace`] and [`Error::System`] if shared memory cannot be had.
    pub fn new(count: usize) -> Result<Self, Error> {
        Options::new().anonymous(Cells::<T>::configuration(count)).map(|segment| Self::with(segment.role(0)))
    }

    fn with(member: Role<Cells<T>>) -> Self {
        Self { member }
    }
}

impl<T: shmkit_segment::Shared> Deref for SharedSlice<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        &self.object().0
    }
}
