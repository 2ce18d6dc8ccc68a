//! Waiting without a thread that sleeps: for any runtime that polls futures.

use crate::select::Watch;
use crate::watcher::Listing;
use shmkit_segment::primitive::{Ordering, fence};
use std::future::{Future, poll_fn};
use std::task::{Context, Poll};

/// A future's part in waiting: what futures, streams and sinks of this toolkit are made of.
///
/// Dropping it at any time strands nobody: a wake-up that it has consumed is passed on.
#[derive(Default)]
pub struct Waiter {
    /// Its place among those that wait, once it had to.
    listing: Option<Listing>,
}

impl Waiter {
    /// One that does not wait yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Tries: what came of it, or `Pending`, in which case the context's waker is called when what `watch` is notified of happens. After a result it can be used anew.
    ///
    /// `attempt` is called once or twice; it must not wait for anything but what the watch is notified of. `watch` is asked once, if waiting is necessary.
    ///
    /// Costs no more than `attempt` if that succeeds at once. Otherwise a compare-exchange, a system call to tell the thread that sleeps for all futures of this process (which the first
    /// one starts), and two context switches when it is called. If no thread can be started, the waker is called at once, each time.
    pub fn poll<S: ?Sized, R>(
        &mut self,
        context: &mut Context<'_>,
        subject: &mut S,
        mut attempt: impl FnMut(&mut S) -> Option<R>,
        watch: impl FnOnce(&S) -> Watch,
    ) -> Poll<R> {
        if let Some(result) = attempt(subject) {
            // What it was called for is used now; if there is more, the next one is called.
            self.listing.iter_mut().for_each(Listing::leave);
            return Poll::Ready(result);
        }
        let listing = self.listing.get_or_insert_with(|| Listing::new(watch(subject)));
        listing.arm();
        // Pairs with what was written before `notify`.
        fence(Ordering::SeqCst);
        if let Some(result) = attempt(subject) {
            listing.leave();
            return Poll::Ready(result);
        }
        listing.enter(context.waker());
        Poll::Pending
    }
}

/// A future that is ready when `attempt` gives a result: see [`Waiter::poll`], which it calls.
///
/// `attempt` is called while the future is polled, and never otherwise: a future that is dropped has done nothing that it has not told.
pub fn until<S, R>(
    mut subject: S,
    mut attempt: impl FnMut(&mut S) -> Option<R>,
    watch: impl Fn(&S) -> Watch,
) -> impl Future<Output = R> {
    let mut waiter = Waiter::new();
    poll_fn(move |context| waiter.poll(context, &mut subject, &mut attempt, &watch))
}
