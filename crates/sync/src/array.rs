//! Many values under one lock, which stay where they are: guards read and write single elements, or copy ranges.
//!
//! ```text
//! at   0  gate       who may read or write (see gate)
//!    128  words[]    the elements, one after the other, in words of eight bytes
//! ```
//!
//! Words are copied in and out by relaxed atomics, as values elsewhere are. An element that shares a word with others is written by reading the word, changing its part and writing it back, which nobody
//! else does meanwhile, as there is one writer.
//!
//! Unlike a single value under a lock, an array has no second copy: it is changed in place. A writer that is killed leaves what it had written so far, each word whole; so each element of up to eight bytes whose size is a power of two is whole. The
//! others learn by DIED that some may be new and others not.

use crate::Deadline;
use crate::Error;
use crate::error::{LockError, LockTimeoutError, TryLockError};
use crate::gate::Gate;
use crate::handle::{handle, lock_forms};
use crate::owner::DIED;
use shmkit_segment::primitive::{AtomicU64, Ordering};
use shmkit_segment::{
    At, AtSlice, Configuration, Line, Mapped, MappedSlice, Memory, Object, Options, PeerId, Plain, Plan, Role, kind,
};
use std::alloc::Layout;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use zerocopy::IntoBytes;

const WORD: usize = size_of::<u64>();

/// What is in the segment of an [`Array`].
pub struct ArrayObject<T: Plain> {
    gate: Mapped<Line<Gate>>,
    words: MappedSlice<AtomicU64>,
    length: usize,
    _elements: PhantomData<fn() -> T>,
}

impl<T: Plain> Object for ArrayObject<T> {
    const KIND: u32 = kind(b"ARRY");
    const HARDENED: bool = true;
    type Parts = (At<Line<Gate>>, AtSlice<AtomicU64>, usize);

    fn payload() -> Layout {
        Layout::new::<T>()
    }

    fn plan(configuration: &Configuration, plan: &mut Plan) -> Result<Self::Parts, Error> {
        let length = usize::try_from(configuration[0]).ok().filter(|length| *length > 0);
        let bytes = length.and_then(|length| Some((length, length.checked_mul(size_of::<T>())?)));
        match bytes {
            Some((length, bytes)) => Ok((plan.one()?, plan.slice(bytes.div_ceil(WORD))?, length)),
            None => {
                Err(Error::Geometry("an array has at least one element, and as many as an address space has room for"))
            }
        }
    }

    fn attach(memory: &Memory, parts: &Self::Parts) -> Self {
        Self { gate: memory.one(parts.0), words: memory.slice(parts.1), length: parts.2, _elements: PhantomData }
    }

    fn sweep(&self, dead: PeerId, _reaper: PeerId) {
        self.gate.sweep(dead);
    }

    fn wake_all(&self) {
        self.gate.wake_all();
    }
}

impl<T: Plain> ArrayObject<T> {
    /// The configuration of one with so many elements.
    #[must_use]
    pub fn configuration(length: usize) -> Configuration {
        [length as u64, 0, 0, 0, 0, 0, 0, 0]
    }

    /// Which bytes so many elements from `first` on are.
    ///
    /// # Panics
    /// If there are not so many.
    #[track_caller]
    fn bytes(&self, first: usize, count: usize) -> Range<usize> {
        let is_inside = first.checked_add(count).is_some_and(|end| end <= self.length);
        assert!(is_inside, "{count} elements from {first} on, of an array of {}", self.length);
        first * size_of::<T>()..(first + count) * size_of::<T>()
    }

    /// Whether each element is a number of whole words. (Else it may share words with others.)
    const FILLS_WORDS: bool = size_of::<T>().is_multiple_of(WORD);

    /// Copies elements out, which are those bytes.
    #[inline]
    fn read(&self, bytes: Range<usize>, values: &mut [T]) {
        let target = values.as_mut_bytes();
        if Self::FILLS_WORDS {
            return self.read_words(bytes.start / WORD, target);
        }
        let (head, rest) = target.split_at_mut(before_whole_words(&bytes));
        let (whole, tail) = rest.split_at_mut(rest.len() / WORD * WORD);
        let (before, first, after) = places(&bytes, head.len(), whole.len());
        self.read_part(before, head);
        self.read_words(first, whole);
        self.read_part(after, tail);
    }

    /// Copies elements in, which are those bytes. The caller is the one writer.
    #[inline]
    fn write(&self, bytes: Range<usize>, values: &[T]) {
        let source = values.as_bytes();
        if Self::FILLS_WORDS {
            return self.write_words(bytes.start / WORD, source);
        }
        let (head, rest) = source.split_at(before_whole_words(&bytes));
        let (whole, tail) = rest.split_at(rest.len() / WORD * WORD);
        let (before, first, after) = places(&bytes, head.len(), whole.len());
        self.write_part(before, head);
        self.write_words(first, whole);
        self.write_part(after, tail);
    }

    /// Copies whole words out, from number `first` on.
    #[inline]
    fn read_words(&self, first: usize, target: &mut [u8]) {
        for (word, bytes) in self.words[first..].iter().zip(target.as_chunks_mut().0) {
            // Relaxed, here and below: the gate orders it.
            *bytes = word.load(Ordering::Relaxed).to_ne_bytes();
        }
    }

    /// Copies whole words in, from number `first` on.
    #[inline]
    fn write_words(&self, first: usize, source: &[u8]) {
        for (word, bytes) in self.words[first..].iter().zip(source.as_chunks().0) {
            word.store(u64::from_ne_bytes(*bytes), Ordering::Relaxed);
        }
    }

    /// Copies the part of a word out that begins at byte `at`.
    #[inline]
    fn read_part(&self, at: usize, target: &mut [u8]) {
        if !target.is_empty() {
            let bytes = self.words[at / WORD].load(Ordering::Relaxed).to_ne_bytes();
            target.copy_from_slice(&bytes[at % WORD..][..target.len()]);
        }
    }

    /// Copies in the part of a word that begins at byte `at`. The rest of the word stays: nobody else writes it.
    #[inline]
    fn write_part(&self, at: usize, source: &[u8]) {
        if !source.is_empty() {
            let word = &self.words[at / WORD];
            let mut bytes = word.load(Ordering::Relaxed).to_ne_bytes();
            bytes[at % WORD..][..source.len()].copy_from_slice(source);
            word.store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
        }
    }
}

/// How many of the bytes come before the first whole word.
#[inline]
fn before_whole_words(bytes: &Range<usize>) -> usize {
    (bytes.start.next_multiple_of(WORD) - bytes.start).min(bytes.len())
}

/// Where the bytes before the whole words begin, which is the first of those words, and where the bytes after them begin.
#[inline]
fn places(bytes: &Range<usize>, head: usize, whole: usize) -> (usize, usize, usize) {
    (bytes.start, (bytes.start + head) / WORD, bytes.start + head + whole)
}

/// Values that many can read at a time, or one can change, across processes: a large amount of data, of which each holder of the lock touches a part. Clones, and handles passed to other
/// processes, are the same array.
///
/// ```
/// use shmkit_sync::Array;
///
/// let samples = Array::<f32>::new(1000)?; // all zero; pass clones of it to child processes
/// samples.write().unwrap().write_slice(10, &[0.5, 0.25]);
/// let samples = samples.read().unwrap();
/// assert_eq!(samples.get(11), 0.25);
/// assert_eq!(samples.iter().sum::<f32>(), 0.75);
/// # Ok::<(), shmkit_sync::Error>(())
/// ```
///
/// Elements lie as densely as in a slice. A thread that has a read lock and asks for another waits for ever if a writer has come in between, and one that asks for a write lock always does.
///
/// # When a holder dies
///
/// A dead reader's lock is taken back. A dead writer leaves what it has written so far: readers and writers are told by [`LockError::OwnerDied`], until a writer has made the array consistent. Each element whose
/// size is 1, 2, 4 or 8 bytes is whole: the old one or the new. A waiter notices within about 50 ms. Holders that are stopped keep their locks.
///
/// # Signal handlers
///
/// Must not lock it: they may have interrupted its holder.
pub struct Array<T: Plain> {
    member: Role<ArrayObject<T>>,
}

handle!(Array<T: Plain>, ArrayObject<T>);

impl<T: Plain> Array<T> {
    /// `length` elements, all zero, that can be passed to child processes.
    ///
    /// # Errors
    /// [`Error::Geometry`] if `length` is zero, or more than an address space has room for; [`Error::NoSpace`] and [`Error::System`] if shared memory cannot be had.
    pub fn new(length: usize) -> Result<Self, Error> {
        let configuration = ArrayObject::<T>::configuration(length);
        Options::new().anonymous(configuration).map(|segment| Self::with(segment.role(0)))
    }

    /// `length` elements, all zero, for the threads of this process alone.
    ///
    /// # Errors
    /// [`Error::Geometry`] as for [`new`](Self::new); otherwise what the kernel says about memory.
    pub fn private(length: usize) -> Result<Self, Error> {
        let configuration = ArrayObject::<T>::configuration(length);
        Options::new().private(configuration).map(|segment| Self::with(segment.role(0)))
    }

    fn with(member: Role<ArrayObject<T>>) -> Self {
        Self { member }
    }

    /// The number of elements. Never zero.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "it never is")]
    pub fn len(&self) -> usize {
        self.object().length
    }

    lock_forms! {
        ArrayReadGuard<T>, take_to_read, wait_to_read, hold_to_read; try_read, read, read_timeout, read_deadline;
        "If no writer has it: two read-modify-writes in all, on a line that only this process writes."
    }

    lock_forms! {
        ArrayWriteGuard<T>, take_to_write, wait_to_write, hold_to_write; try_write, write, write_timeout, write_deadline;
        "If nobody has it: a compare-exchange, and a look at each place in the peers' table."
    }

    #[inline]
    fn take_to_read(&self) -> Option<u32> {
        self.object().gate.try_read(self.segment())
    }

    #[cold]
    fn wait_to_read(&self, deadline: Deadline) -> Option<u32> {
        self.object().gate.read(self.segment(), deadline)
    }

    #[inline]
    fn take_to_write(&self) -> Option<u32> {
        self.object().gate.try_write(self.segment())
    }

    #[cold]
    fn wait_to_write(&self, deadline: Deadline) -> Option<u32> {
        self.object().gate.write(self.segment(), deadline)
    }

    #[inline]
    fn hold_to_read(&self, word: u32) -> ArrayReadGuard<'_, T> {
        ArrayReadGuard { array: self, word }
    }

    #[inline]
    fn hold_to_write(&self, word: u32) -> ArrayWriteGuard<'_, T> {
        ArrayWriteGuard { array: self, word }
    }
}

/// What both guards can do.
macro_rules! reading {
    ($guard:ident) => {
        impl<T: Plain> $guard<'_, T> {
            /// Whether a writer was killed with the lock, and no other has made the array consistent since.
            #[inline]
            pub fn is_inconsistent(&self) -> bool {
                self.word & DIED != 0
            }

            /// The number of elements. Never zero.
            #[allow(clippy::len_without_is_empty, reason = "it never is")]
            pub fn len(&self) -> usize {
                self.array.len()
            }

            /// A copy of an element.
            ///
            /// # Panics
            /// If there is none at `index`.
            #[inline]
            #[track_caller]
            pub fn get(&self, index: usize) -> T {
                let mut value = [T::new_zeroed()];
                self.read_slice(index, &mut value);
                value[0]
            }

            /// Copies the elements from `first` on into `values`, as many as those are.
            ///
            /// # Panics
            /// If there are not so many.
            #[inline]
            #[track_caller]
            pub fn read_slice(&self, first: usize, values: &mut [T]) {
                let object = self.array.object();
                object.read(object.bytes(first, values.len()), values);
            }

            /// Copies of all elements, one after the other.
            pub fn iter(&self) -> impl ExactSizeIterator<Item = T> + '_ {
                (0..self.len()).map(|index| self.get(index))
            }

            /// A copy of all elements.
            pub fn to_vec(&self) -> Vec<T> {
                let mut values = vec![T::new_zeroed(); self.len()];
                self.read_slice(0, &mut values);
                values
            }
        }

        impl<T: Plain> fmt::Debug for $guard<'_, T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($guard)).field("len", &self.len()).finish_non_exhaustive()
            }
        }
    };
}

/// An [`Array`], held for reading: nobody changes it meanwhile.
///
/// Dropping it costs a read-modify-write and a load, and a system call if a writer waits.
#[must_use = "the lock is given back at once if the guard is not kept"]
pub struct ArrayReadGuard<'a, T: Plain> {
    array: &'a Array<T>,
    word: u32,
}

reading!(ArrayReadGuard);

impl<T: Plain> Drop for ArrayReadGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // A fork's copy of a guard is not the holder's.
        if !self.array.segment().is_defunct() {
            self.array.object().gate.unlock_read(self.array.segment());
        }
    }
}

/// An [`Array`], held for writing, in place: what is written is there at once, for whoever has the lock next.
///
/// Dropping it costs a store and two loads, and a system call or two if somebody waits. A panic changes nothing about what was written.
#[must_use = "the lock is given back at once if the guard is not kept"]
pub struct ArrayWriteGuard<'a, T: Plain> {
    array: &'a Array<T>,
    word: u32,
}

reading!(ArrayWriteGuard);

impl<T: Plain> ArrayWriteGuard<'_, T> {
    /// Says that the elements are in order again after a writer's death: those who lock it next are not told of that any more. Does nothing if none has died.
    pub fn make_consistent(&mut self) {
        self.word &= !DIED;
    }

    /// Changes an element.
    ///
    /// # Panics
    /// If there is none at `index`.
    #[inline]
    #[track_caller]
    pub fn set(&mut self, index: usize, value: T) {
        self.write_slice(index, &[value]);
    }

    /// Copies `values` into the elements from `first` on, as many as those are.
    ///
    /// # Panics
    /// If there are not so many.
    #[inline]
    #[track_caller]
    pub fn write_slice(&mut self, first: usize, values: &[T]) {
        let object = self.array.object();
        object.write(object.bytes(first, values.len()), values);
    }

    /// Makes all elements `value`.
    pub fn fill(&mut self, value: T) {
        (0..self.len()).for_each(|index| self.set(index, value));
    }
}

impl<T: Plain> Drop for ArrayWriteGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // A fork's copy of a guard is not the holder's.
        if !self.array.segment().is_defunct() {
            self.array.object().gate.unlock_write(self.word);
        }
    }
}
