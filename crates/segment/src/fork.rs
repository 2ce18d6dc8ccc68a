//! What becomes of attachments in a child made by `fork`.
//!
//! The child has copies of all handles and of their locks' descriptors. Left alone, it would keep its parent alive in the eyes of all
//! others after the parent's death, and both would act as one peer. So, in the child, before `fork` returns:
//!
//! - the descriptor that holds the lock is replaced by a harmless one: the parent's death is seen as ever. It is known here from the moment
//!   it is opened, since another thread may fork while one attaches;
//! - the segment's memory is replaced by zeros of the child's own, in which every role is closed: operations that are in a hurry and
//!   do not ask find an empty object whose other side is gone, and nothing that the child does reaches anybody;
//! - the attachment is marked defunct: operations that ask say [`Error::Forked`](crate::Error::Forked) or that the handle is another
//!   process's, and drops touch nothing shared.
//!
//! `posix_spawn` and `vfork` do not come here and need not: they execute another program at once, which closes the descriptors.
//! A bare `clone` system call does not come here either, and is not supported. Memory that an embedder mapped is left as it is.
//!
//! Not covered is a handle that another thread is just passing on: if its receiver dies, it counts as alive until the fork ends or executes
//! another program.

#![allow(unsafe_code)]

use crate::life::Life;
use crate::{Error, Memory, sys};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How many forks lie between the first call in the program, or in a program that this process is a fork of, and this process: for what a forked child has copies of and
/// must not use. Costs a load.
#[cfg(not(loom))]
#[must_use]
pub fn forks() -> u64 {
    list::prepare_for_forks();
    list::FORKS.load(Ordering::Relaxed)
}

/// An attachment's entry in the list of those that a forked child must give up. Ends with [`end`](Self::end).
pub(crate) struct Registration {
    is_defunct: Arc<AtomicBool>,
}

impl Registration {
    #[inline]
    pub(crate) fn is_defunct(&self) -> bool {
        self.is_defunct.load(Ordering::Acquire)
    }

    pub(crate) fn make_defunct(&self) {
        self.is_defunct.store(true, Ordering::Release);
    }
}

/// Enters an attachment. Private segments have nothing that a child must give up: it has a copy of them, like of all memory.
#[cfg(not(loom))]
pub(crate) fn register(memory: &Memory, life: &Life) -> Registration {
    let is_defunct = Arc::new(AtomicBool::new(false));
    if !matches!(life, Life::Table(..)) {
        list::enter(list::Attachment { is_defunct: Arc::clone(&is_defunct), range: memory.mapped_range() });
    }
    Registration { is_defunct }
}

#[cfg(loom)]
pub(crate) fn register(_memory: &Memory, _life: &Life) -> Registration {
    Registration { is_defunct: Arc::new(AtomicBool::new(false)) }
}

#[cfg(loom)]
impl Registration {
    pub(crate) fn end(&self) {}
}

#[cfg(not(loom))]
impl Registration {
    /// Takes the attachment off the list, before its memory is unmapped.
    pub(crate) fn end(&self) {
        list::leave(&self.is_defunct);
    }
}

/// The descriptor that a peer's lock hangs on. A forked child has a harmless one in its place.
pub(crate) struct LockFile(Option<OwnedFd>);

impl LockFile {
    /// Opens `file` by a description of its own.
    pub(crate) fn reopen(file: BorrowedFd<'_>) -> Result<Self, Error> {
        #[cfg(not(loom))]
        return list::open_lock(|| sys::reopen(file)).map(|file| Self(Some(file)));
        #[cfg(loom)]
        sys::reopen(file).map(|file| Self(Some(file)))
    }

    /// One that was opened elsewhere, and came here by a socket.
    pub(crate) fn received(file: OwnedFd) -> Self {
        #[cfg(not(loom))]
        let Ok(file) = list::open_lock(|| Ok::<_, std::convert::Infallible>(file));
        Self(Some(file))
    }

    /// The descriptor, which is to go to another process.
    pub(crate) fn into_file(mut self) -> OwnedFd {
        let Some(file) = self.0.take() else { unreachable!("it has ended") };
        #[cfg(not(loom))]
        list::release_lock(&file);
        file
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        #[cfg(not(loom))]
        self.0.take().into_iter().for_each(list::close_lock);
    }
}

impl AsFd for LockFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // It is taken by `into_file` and by the drop, both of which are the end of it.
        self.0.as_ref().map(AsFd::as_fd).unwrap_or_else(|| unreachable!("it has ended"))
    }
}

#[cfg(not(loom))]
mod list {
    use crate::header::Header;
    use crate::role::CLOSED;
    use std::cell::RefCell;
    use std::mem::offset_of;
    use std::os::fd::{AsRawFd, OwnedFd, RawFd};
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};

    pub(super) struct Attachment {
        pub(super) is_defunct: Arc<AtomicBool>,
        /// Address and length of its memory.
        pub(super) range: Option<(usize, usize)>,
    }

    /// What a forked child must give up.
    struct Lists {
        attachments: Vec<Attachment>,
        /// What peers' locks hang on, or are about to.
        locks: Vec<RawFd>,
    }

    static LISTS: Mutex<Lists> = Mutex::new(Lists { attachments: Vec::new(), locks: Vec::new() });

    pub(super) static FORKS: AtomicU64 = AtomicU64::new(0);

    thread_local! {
        /// Held by the thread that forks, so that the child finds the lists whole.
        static HELD: RefCell<Option<MutexGuard<'static, Lists>>> = const { RefCell::new(None) };
    }

    fn lists() -> MutexGuard<'static, Lists> {
        LISTS.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn prepare_for_forks() {
        static HANDLERS: Once = Once::new();
        // SAFETY: the functions are of the right type and never go away. If there is no memory for them, a fork is as it would be without.
        HANDLERS.call_once(|| unsafe {
            libc::pthread_atfork(Some(before), Some(after_in_parent), Some(after_in_child));
        });
    }

    pub(super) fn enter(attachment: Attachment) {
        prepare_for_forks();
        lists().attachments.push(attachment);
    }

    /// Opens what a lock will hang on, while nobody forks.
    pub(super) fn open_lock<E>(open: impl FnOnce() -> Result<OwnedFd, E>) -> Result<OwnedFd, E> {
        prepare_for_forks();
        let mut lists = lists();
        let lock = open()?;
        lists.locks.push(lock.as_raw_fd());
        Ok(lock)
    }

    /// Takes a lock off the list, as another process gets it.
    pub(super) fn release_lock(lock: &OwnedFd) {
        lists().locks.retain(|&other| other != lock.as_raw_fd());
    }

    /// Closes a lock, while nobody forks.
    pub(super) fn close_lock(lock: OwnedFd) {
        let mut lists = lists();
        lists.locks.retain(|&other| other != lock.as_raw_fd());
        drop(lock);
    }

    pub(super) fn leave(is_defunct: &Arc<AtomicBool>) {
        let attachments = &mut lists().attachments;
        if let Some(index) = attachments.iter().position(|other| Arc::ptr_eq(&other.is_defunct, is_defunct)) {
            attachments.swap_remove(index);
        }
    }

    extern "C" fn before() {
        let guard = lists();
        // A thread that is being torn down has no such cell any more; then the list is not held, which is no worse than a race.
        let _ = HELD.try_with(|held| *held.borrow_mut() = Some(guard));
    }

    extern "C" fn after_in_parent() {
        let _ = HELD.try_with(|held| held.borrow_mut().take());
    }

    extern "C" fn after_in_child() {
        FORKS.fetch_add(1, Ordering::Relaxed);
        let _ = HELD.try_with(|held| {
            let Some(mut lists) = held.borrow_mut().take() else { return };
            lists.locks.drain(..).for_each(drop_lock);
            for attachment in lists.attachments.drain(..) {
                attachment.is_defunct.store(true, Ordering::Release);
                if let Some((address, length)) = attachment.range {
                    replace_memory(address, length);
                }
            }
        });
    }

    /// Puts a harmless descriptor, an event that nobody knows, in the place of the one that holds the lock. What is closed in the end is that.
    fn drop_lock(life: RawFd) {
        // First closed, so that the limit on descriptors leaves room for the event.
        // SAFETY: system calls on descriptors only. `life` is open and belongs to an attachment that can no longer use it.
        unsafe { libc::close(life) };
        // SAFETY: as above.
        let harmless = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if harmless >= 0 && harmless != life {
            // SAFETY: as above.
            unsafe { libc::dup3(harmless, life, libc::O_CLOEXEC) };
            // SAFETY: as above.
            unsafe { libc::close(harmless) };
        }
    }

    /// Maps zeros over a segment, in this process alone, and closes all its roles.
    fn replace_memory(address: usize, length: usize) {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE;
        // SAFETY: the range is this library's own mapping, and cells may change at any time, to zero too.
        let memory = unsafe { libc::mmap(std::ptr::without_provenance_mut(address), length, protection, flags, -1, 0) };
        if memory == libc::MAP_FAILED {
            return;
        }
        let sides = memory.wrapping_byte_add(offset_of!(Header, sides)).cast::<u32>();
        for side in 0..crate::ROLES {
            // SAFETY: within the header, with which every segment starts; the child has one thread.
            unsafe { sides.wrapping_add(side).write(CLOSED) };
        }
    }
}
