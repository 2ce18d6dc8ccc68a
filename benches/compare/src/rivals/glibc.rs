//! What the C library has for processes: semaphores, mutexes and condition variables in memory that they share.
//!
//! A plain mutex whose holder dies is locked for ever, and a `sem_t` loses its permit; a robust mutex tells the next one, as shmkit's does.

use super::number::{Beside, add_one};
use crate::peers::handover::Signal;
use crate::peers::shared::{Shared, Words};
use crate::peers::turns::Guarded;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::cell::UnsafeCell;
use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU64, Ordering};

/// The library's version.
pub fn version() -> String {
    // SAFETY: it has no conditions.
    let version = unsafe { libc::gnu_get_libc_version() };
    // SAFETY: a string that is part of the library.
    unsafe { CStr::from_ptr(version) }.to_string_lossy().into_owned()
}

/// What calls of the `pthread` kind return.
fn check(code: i32) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }
}

/// An object of the library's.
#[repr(transparent)]
struct Object<T>(UnsafeCell<T>);

// SAFETY: it is accessed by the library's calls for it only, which any thread may make, after a first that is made before anybody else has the memory.
unsafe impl<T> Sync for Object<T> {}

impl<T> Object<T> {
    fn get(&self) -> *mut T {
        self.0.get()
    }
}

impl Object<libc::pthread_mutex_t> {
    /// Makes it, where nobody else has it yet.
    fn make(&self, is_robust: bool) -> Result<()> {
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: there is room for them.
        check(unsafe { libc::pthread_mutexattr_init(attributes.as_mut_ptr()) }).context("pthread_mutexattr_init")?;
        let attributes = attributes.as_mut_ptr();
        // SAFETY: they were made above.
        check(unsafe { libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED) })?;
        if is_robust {
            // SAFETY: as above.
            check(unsafe { libc::pthread_mutexattr_setrobust(attributes, libc::PTHREAD_MUTEX_ROBUST) })?;
        }
        // SAFETY: there is room for it, and as above.
        check(unsafe { libc::pthread_mutex_init(self.get(), attributes) }).context("pthread_mutex_init")
    }

    #[inline(always)]
    fn lock(&self) {
        // SAFETY: it was made before anybody had it.
        check(unsafe { libc::pthread_mutex_lock(self.get()) }).expect("nobody has died");
    }

    #[inline(always)]
    fn unlock(&self) {
        // SAFETY: as for `lock`, and this thread has locked it.
        check(unsafe { libc::pthread_mutex_unlock(self.get()) }).expect("it is locked");
    }
}

/// A mutex, and on the same pair of lines what it guards.
#[repr(C, align(128))]
struct Locked {
    lock: Object<libc::pthread_mutex_t>,
    number: AtomicU64,
}

// SAFETY: an atomic and an object of the library's; zeros are a value of either; aligned to 128 bytes.
unsafe impl Words for Locked {}

/// `pthread_mutex_t`, and a number that it guards.
#[derive(Clone, Serialize, Deserialize)]
pub struct Mutex(Shared<Locked>);

impl Mutex {
    /// A lock that guards zero.
    pub fn new(is_robust: bool) -> Result<Self> {
        let memory = Shared::<Locked>::new()?;
        memory.lock.make(is_robust)?;
        Ok(Self(memory))
    }
}

impl Guarded for Mutex {
    #[inline(always)]
    fn add_one(&mut self, limit: u64) -> bool {
        let Locked { lock, number } = &*self.0;
        lock.lock();
        let value = number.load(Ordering::Relaxed);
        if value < limit {
            number.store(value + 1, Ordering::Relaxed);
        }
        lock.unlock();
        value < limit
    }
}

#[repr(C, align(128))]
struct Counted(Object<libc::sem_t>);

// SAFETY: an object of the library's, for which zeros are a value; aligned to 128 bytes.
unsafe impl Words for Counted {}

/// `sem_t`.
#[derive(Clone, Serialize, Deserialize)]
pub struct Semaphore(Shared<Counted>);

impl Semaphore {
    /// One with so many permits.
    pub fn new(permits: u32) -> Result<Self> {
        const SHARED: i32 = 1;
        let memory = Shared::<Counted>::new()?;
        // SAFETY: there is room for it, and nobody else has it yet.
        match unsafe { libc::sem_init(memory.0.get(), SHARED, permits) } {
            0 => Ok(Self(memory)),
            _ => Err(io::Error::last_os_error()).context("sem_init"),
        }
    }

    #[inline(always)]
    fn wait(&self) {
        // SAFETY: it was made before anybody had it.
        while unsafe { libc::sem_wait(self.0.0.get()) } != 0 {
            // By a signal, and nothing else: it is waited for again.
            assert_eq!(io::Error::last_os_error().kind(), io::ErrorKind::Interrupted);
        }
    }

    #[inline(always)]
    fn post(&self) {
        // SAFETY: as for `wait`.
        let code = unsafe { libc::sem_post(self.0.0.get()) };
        assert!(code == 0, "there is room for a permit");
    }
}

impl Guarded for Beside<Semaphore> {
    #[inline(always)]
    fn add_one(&mut self, limit: u64) -> bool {
        self.lock.wait();
        let is_added = add_one(&self.number, limit);
        self.lock.post();
        is_added
    }
}

/// One side with two semaphores: it posts to its own, and waits for the other's.
#[derive(Serialize, Deserialize)]
pub struct Semaphores {
    own: Semaphore,
    others: Semaphore,
}

impl Semaphores {
    /// Both sides.
    pub fn pair() -> Result<[Self; 2]> {
        let (one, other) = (Semaphore::new(0)?, Semaphore::new(0)?);
        Ok([Self { own: one.clone(), others: other.clone() }, Self { own: other, others: one }])
    }
}

impl Signal for Semaphores {
    fn wake(&mut self) {
        self.own.post();
    }

    fn sleep(&mut self) {
        self.others.wait();
    }
}

/// Whose turn it is, one more than the side's number, so that zero is nobody's.
#[repr(C, align(128))]
struct Whose {
    lock: Object<libc::pthread_mutex_t>,
    changed: Object<libc::pthread_cond_t>,
    turn: AtomicU64,
}

// SAFETY: an atomic and objects of the library's; zeros are a value of all; aligned to 128 bytes.
unsafe impl Words for Whose {}

/// One side of those that say under a `pthread_mutex_t` whose turn it is, and tell by a `pthread_cond_t`.
#[derive(Serialize, Deserialize)]
pub struct Turn {
    memory: Shared<Whose>,
    side: u64,
}

impl Turn {
    /// Both sides; it is nobody's turn.
    pub fn pair() -> Result<[Self; 2]> {
        let memory = Shared::<Whose>::new()?;
        memory.lock.make(false)?;
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: there is room for them.
        check(unsafe { libc::pthread_condattr_init(attributes.as_mut_ptr()) }).context("pthread_condattr_init")?;
        let attributes = attributes.as_mut_ptr();
        // SAFETY: they were made above.
        check(unsafe { libc::pthread_condattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED) })?;
        // SAFETY: there is room for it, nobody else has it yet, and as above.
        check(unsafe { libc::pthread_cond_init(memory.changed.get(), attributes) }).context("pthread_cond_init")?;
        Ok([1, 2].map(|side| Self { memory: memory.clone(), side }))
    }
}

impl Signal for Turn {
    fn wake(&mut self) {
        let Whose { lock, changed, turn } = &*self.memory;
        lock.lock();
        turn.store(3 - self.side, Ordering::Relaxed);
        lock.unlock();
        // SAFETY: it was made before anybody had it.
        check(unsafe { libc::pthread_cond_signal(changed.get()) }).expect("it is a condition variable");
    }

    fn sleep(&mut self) {
        let Whose { lock, changed, turn } = &*self.memory;
        lock.lock();
        while turn.load(Ordering::Relaxed) != self.side {
            // SAFETY: as for `wake`, and this thread has locked the mutex, which is always the same.
            check(unsafe { libc::pthread_cond_wait(changed.get(), lock.get()) }).expect("it is a condition variable");
        }
        lock.unlock();
    }
}
