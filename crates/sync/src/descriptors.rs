//! Waiting for descriptors beside shared memory.
//!
//! The kernel has no call that waits for both. So the watcher sleeps for what is in shared memory, as it does for futures, and calls by a byte in a pipe, which `poll` waits for with the rest.

use crate::Deadline;
use crate::select::{Direction, Entry};
use crate::watcher::Listing;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::time::Timespec;
use shmkit_segment::primitive::{Ordering, fence};
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::sync::Arc;
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
        bell = bell.or_else(Bell::new);
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
        Entry::Descriptor(descriptor, Direction::Read) => Some(PollFd::from_borrowed_fd(*descriptor, PollFlags::IN)),
        Entry::Descriptor(descriptor, Direction::Write) => Some(PollFd::from_borrowed_fd(*descriptor, PollFlags::OUT)),
    });
    let mut polled: Vec<_> =
        descriptors.chain(bell.map(|bell| PollFd::new(&bell.rope.reader, PollFlags::IN))).collect();
    // What is too long to be said is for ever.
    let is_broken = match poll(&mut polled, Timespec::try_from(patience).ok().as_ref()) {
        Ok(_) | Err(Errno::INTR) => false,
        // Too many descriptors, or no memory: who tries them is told.
        Err(_) => true,
    };
    let mut results = polled.iter().map(|polled| !polled.revents().is_empty());
    let ready = entries.iter().map(|entry| match entry {
        Entry::Watch(watch) => watch.is_met(),
        Entry::Descriptor(..) => results.next() == Some(true) || is_broken,
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
    fn new() -> Option<Self> {
        let (reader, writer) = pipe().ok()?;
        let rope = Arc::new(Rope { reader, writer });
        Some(Self { waker: Arc::clone(&rope).into(), rope })
    }

    /// Takes what is in the pipe, which is something.
    fn silence(&self) {
        // A failure shows again when it is polled.
        let _ = (&self.rope.reader).read(&mut [0; 64]);
    }
}

/// What the watcher pulls: both ends, so that nobody ever writes into a pipe that is not read, which is a signal.
struct Rope {
    reader: PipeReader,
    writer: PipeWriter,
}

impl Wake for Rope {
    fn wake(self: Arc<Self>) {
        // One byte for each time that somebody has listed itself: there is room. A failure would show in `poll`.
        let _ = (&self.writer).write(&[1]);
    }
}
