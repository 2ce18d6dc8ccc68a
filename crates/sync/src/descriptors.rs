//! Waiting for descriptors beside shared memory, and for shared memory by a descriptor.
//!
//! The kernel has no call that waits for both. So the watcher sleeps for what is in shared memory, as it does for futures, and rings an eventfd, which `poll` waits for with the rest.

use crate::Deadline;
use crate::select::{Entry, Watch};
use crate::watcher::Listing;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;
use rustix::time::Timespec;
use shmkit_segment::primitive::{Ordering, fence};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};
use std::time::Duration;

/// The number of an entry that is worth trying, the next from `first` on; `None` when the time is up.
pub(crate) fn wait(entries: &[Entry<'_>], first: usize, deadline: Deadline) -> Option<usize> {
    let mut listings: Vec<_> = entries.iter().filter_map(Entry::watch).cloned().map(Listing::new).collect();
    let mut bell = None;
    // The first look is without waiting: what is ready need not be listed.
    let mut patience = Duration::ZERO;
    loop {
        let ready = look(entries, bell.as_ref(), patience);
        if let Some(number) = (first..entries.len()).chain(0..first).find(|&number| ready[number]) {
            // What the listings were called for is passed on as they are dropped.
            return Some(number);
        }
        patience = deadline.remaining().unwrap_or(Duration::MAX);
        if patience.is_zero() {
            return None;
        }
        bell = bell.or_else(|| Bell::new().ok());
        let Some(bell) = &bell else {
            // No descriptors are left for one: look again and again.
            patience = patience.min(Duration::from_millis(1));
            continue;
        };
        listings.iter_mut().for_each(Listing::arm);
        // Pairs with what was written before `notify`.
        fence(Ordering::SeqCst);
        if entries.iter().filter_map(Entry::watch).any(|watch| watch.is_met()) {
            patience = Duration::ZERO;
        } else {
            listings.iter_mut().for_each(|listing| listing.enter(&bell.waker));
        }
    }
}

/// Which entries are worth trying, after waiting for at most `patience` for a descriptor or the bell.
fn look(entries: &[Entry<'_>], bell: Option<&Bell>, patience: Duration) -> Vec<bool> {
    let descriptors = entries.iter().filter_map(|entry| match entry {
        Entry::Watch(_) => None,
        Entry::Readable(descriptor) => Some(PollFd::from_borrowed_fd(*descriptor, PollFlags::IN)),
        Entry::Writable(descriptor) => Some(PollFd::from_borrowed_fd(*descriptor, PollFlags::OUT)),
    });
    let mut polled: Vec<_> = descriptors.chain(bell.map(|bell| PollFd::new(&bell.rope.0, PollFlags::IN))).collect();
    // What is too long to be said is for ever.
    let is_broken = match poll(&mut polled, Timespec::try_from(patience).ok().as_ref()) {
        Ok(_) | Err(Errno::INTR) => false,
        // Too many descriptors, or no memory: who tries them is told.
        Err(_) => true,
    };
    let mut results = polled.iter().map(|polled| !polled.revents().is_empty());
    let ready = entries.iter().map(|entry| match entry {
        Entry::Watch(watch) => watch.is_met(),
        Entry::Readable(_) | Entry::Writable(_) => results.next() == Some(true) || is_broken,
    });
    let ready = ready.collect();
    if let Some(bell) = bell
        && results.next() == Some(true)
    {
        bell.silence();
    }
    ready
}

/// How the watcher reaches a thread that waits in `poll`.
struct Bell {
    rope: Arc<Rope>,
    waker: Waker,
}

impl Bell {
    fn new() -> io::Result<Self> {
        let rope = Arc::new(Rope::new()?);
        Ok(Self { waker: Arc::clone(&rope).into(), rope })
    }

    fn silence(&self) {
        self.rope.silence();
    }
}

/// An eventfd: readable from when it is pulled until it is silenced.
struct Rope(OwnedFd);

impl Rope {
    fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    fn pull(&self) {
        // It fails only if it was pulled 2⁶⁴ times and is readable anyway.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    fn silence(&self) {
        // It fails only if it was not pulled.
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

impl Wake for Rope {
    fn wake(self: Arc<Self>) {
        self.pull();
    }
}

/// A descriptor that is readable when something in shared memory is worth trying: a way into `epoll`, tokio's `AsyncFd`, and whatever else waits for descriptors.
///
/// It is readable from the moment when there is something until it is [armed](Self::rearm) anew and there is nothing; now and then for nothing. So after it was readable: try until there is nothing more, then arm it.
///
/// The first one starts a thread, of which there is one for the process, as for futures. It costs a descriptor, and two context switches when something comes.
///
/// ```
/// use rustix::event::{PollFd, PollFlags, poll};
/// use shmkit_sync::{Event, WatchFd};
///
/// let event = Event::new()?;
/// let mut descriptor = WatchFd::new(event.watch())?;
/// event.set();
/// poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], None)?; // epoll would do as well
/// assert!(event.is_set());
/// descriptor.rearm();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct WatchFd(Arc<Armed>);

struct Armed {
    watch: Watch,
    rope: Rope,
    /// Gone when nobody is interested any more.
    listing: Mutex<Option<Listing>>,
}

impl WatchFd {
    /// A descriptor for what `watch` says is worth trying.
    ///
    /// # Errors
    /// As `eventfd(2)`: too many descriptors are open.
    pub fn new(watch: Watch) -> io::Result<Self> {
        let listing = Mutex::new(Some(Listing::new(Arc::clone(&watch))));
        let mut descriptor = Self(Arc::new(Armed { watch, rope: Rope::new()?, listing }));
        descriptor.rearm();
        Ok(descriptor)
    }

    /// Makes it unreadable until there is something the next time; if there is something already, it stays readable. Never blocks.
    ///
    /// Costs a look, a compare-exchange and a system call or two.
    pub fn rearm(&mut self) {
        self.0.rope.silence();
        let mut listing = self.0.listing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(listing) = listing.as_mut() {
            self.0.arm(listing);
        }
    }
}

impl Armed {
    fn arm(self: &Arc<Self>, listing: &mut Listing) {
        listing.arm();
        // Pairs with what was written before `notify`.
        fence(Ordering::SeqCst);
        if self.watch.is_met() {
            listing.leave();
            self.rope.pull();
        } else {
            listing.enter(&Arc::clone(self).into());
        }
    }
}

impl Wake for Armed {
    /// Looks on behalf of who waits for the descriptor, and goes on waiting if there is nothing: the watcher calls once more some time after it was armed, whatever happens.
    fn wake(self: Arc<Self>) {
        match self.listing.try_lock() {
            Ok(mut listing) => {
                if let Some(listing) = listing.as_mut() {
                    self.arm(listing);
                }
            }
            // Somebody is just arming it, perhaps with a look that came too soon.
            Err(_) => self.rope.pull(),
        }
    }
}

impl AsFd for WatchFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.rope.0.as_fd()
    }
}

impl AsRawFd for WatchFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.rope.0.as_raw_fd()
    }
}

impl Drop for WatchFd {
    fn drop(&mut self) {
        // Passes on what it was called for.
        drop(self.0.listing.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl std::fmt::Debug for WatchFd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "descriptor {} for something in shared memory", self.as_raw_fd())
    }
}
