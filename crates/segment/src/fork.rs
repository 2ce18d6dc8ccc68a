//! What becomes of attachments in a child made by `fork`.
//!
//! The child has copies of all handles and of their locks' descriptors. Left alone, it would keep its parent alive in the eyes of all
//! others after the parent's death, and both would act as one peer. So, in the child, before `fork` returns:
//!
//! - the descriptor that holds the lock is replaced by a harmless one: the parent's death is seen as ever;
//! - the segment's memory is replaced by zeros of the child's own, in which every role is closed: operations that are in a hurry and
//!   do not ask find an empty object whose other side is gone, and nothing that the child does reaches anybody;
//! - the attachment is marked defunct: operations that ask say [`Error::Forked`](crate::Error::Forked) or that the handle is another
//!   process's, and drops touch nothing shared.
//!
//! `posix_spawn` and `vfork` do not come here and need not: they execute another program at once, which closes the descriptors.
//! A bare `clone` system call does not come here either, and is not supported. Memory that an embedder mapped is left as it is.

#![allow(unsafe_code)]

use crate::Memory;
use crate::life::Life;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// An attachment's entry in the list of those that a forked child must give up. Ends with [`end`](Self::end).
pub(crate) struct Registration {
    is_defunct: Arc<AtomicBool>,
}

impl Registration {
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
    if let Life::Lock(life, _) = life {
        use std::os::fd::AsRawFd;
        list::enter(list::Attachment {
            is_defunct: Arc::clone(&is_defunct),
            life: life.as_raw_fd(),
            range: memory.mapped_range(),
        });
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
    /// Takes the attachment off the list, before its memory is unmapped and its descriptors are closed.
    pub(crate) fn end(&self) {
        list::leave(&self.is_defunct);
    }
}

#[cfg(not(loom))]
mod list {
    use crate::header::Header;
    use crate::role::CLOSED;
    use std::cell::RefCell;
    use std::mem::offset_of;
    use std::os::fd::RawFd;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};

    pub(super) struct Attachment {
        pub(super) is_defunct: Arc<AtomicBool>,
        /// What holds its lock.
        pub(super) life: RawFd,
        /// Address and length of its memory.
        pub(super) range: Option<(usize, usize)>,
    }

    static ATTACHMENTS: Mutex<Vec<Attachment>> = Mutex::new(Vec::new());

    thread_local! {
        /// Held by the thread that forks, so that the child finds the list whole.
        static HELD: RefCell<Option<MutexGuard<'static, Vec<Attachment>>>> = const { RefCell::new(None) };
    }

    fn attachments() -> MutexGuard<'static, Vec<Attachment>> {
        ATTACHMENTS.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn enter(attachment: Attachment) {
        static HANDLERS: Once = Once::new();
        // SAFETY: the functions are of the right type and never go away. If there is no memory for them, a fork is as it would be without.
        HANDLERS.call_once(|| unsafe {
            libc::pthread_atfork(Some(before), Some(after_in_parent), Some(after_in_child));
        });
        attachments().push(attachment);
    }

    pub(super) fn leave(is_defunct: &Arc<AtomicBool>) {
        let mut attachments = attachments();
        if let Some(index) = attachments.iter().position(|other| Arc::ptr_eq(&other.is_defunct, is_defunct)) {
            attachments.swap_remove(index);
        }
    }

    extern "C" fn before() {
        let guard = attachments();
        // A thread that is being torn down has no such cell any more; then the list is not held, which is no worse than a race.
        let _ = HELD.try_with(|held| *held.borrow_mut() = Some(guard));
    }

    extern "C" fn after_in_parent() {
        let _ = HELD.try_with(|held| held.borrow_mut().take());
    }

    extern "C" fn after_in_child() {
        let _ = HELD.try_with(|held| {
            let Some(mut attachments) = held.borrow_mut().take() else { return };
            for attachment in attachments.drain(..) {
                attachment.is_defunct.store(true, Ordering::Release);
                drop_lock(attachment.life);
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
