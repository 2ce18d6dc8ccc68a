//! What the parent holds of a child: the right to its outcome.

use crate::error::JoinError;
use crate::watch::Child;
use crate::wire::Frame;
use rustix::process::Signal;
use serde::de::DeserializeOwned;
use shmkit_segment::transfer;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// A child process and the right to its outcome, as returned by [`spawn`](crate::spawn).
///
/// There is an outcome only when the process has *ended*, not as soon as its function has returned: after a join,
/// everything the child held is released, and what it printed is written.
///
/// **Dropping** the handle lets the child run on, unobserved. It does not stay a zombie for ever: if it has ended
/// by then it is reaped at once, otherwise when this process next spawns a child or drops a handle. When it comes to
/// send its result nobody listens, and it exits as usual.
///
/// [`AsFd`] gives the child's *pidfd*, which polls readable when the child has ended. Use it to wait for a child
/// together with other things; it does not say that a join cannot fail.
///
/// The handle costs two descriptors.
#[must_use = "dropping the handle gives up the result of the process"]
pub struct JoinHandle<R> {
    child: Child,
    result: PhantomData<fn() -> R>,
}

impl<R: DeserializeOwned> JoinHandle<R> {
    /// Waits until the process has ended, and returns its function's result.
    ///
    /// Blocks as long as the function runs; but if the process does not even come up within the time set by
    /// [`Builder::startup_timeout`](crate::Builder::startup_timeout), it is killed. A process that is killed or
    /// exits by itself ends the wait like any other.
    ///
    /// # Errors
    ///
    /// One [`JoinError`] for each way not to give a result, a panic being one of them.
    pub fn join(mut self) -> Result<R, JoinError> {
        match self.child.wait(None) {
            Some(outcome) => finish(outcome),
            // A wait without an end gives an outcome.
            None => Err(JoinError::AlreadyJoined),
        }
    }

    /// Returns the outcome if the process has ended, and `None` if not, without blocking.
    ///
    /// # Errors
    ///
    /// As for [`join`](Self::join). Once an outcome was returned, further calls give [`JoinError::AlreadyJoined`].
    pub fn try_join(&mut self) -> Option<Result<R, JoinError>> {
        self.join_deadline(Instant::now())
    }

    /// Like [`join`](Self::join), but returns `None` if the process has not ended after `timeout`. It runs on, and
    /// can be joined again.
    ///
    /// # Errors
    ///
    /// As for [`join`](Self::join). Once an outcome was returned, further calls give [`JoinError::AlreadyJoined`].
    pub fn join_timeout(&mut self, timeout: Duration) -> Option<Result<R, JoinError>> {
        // A timeout beyond the range of the clock is none.
        self.child.wait(Instant::now().checked_add(timeout)).map(finish)
    }

    /// Like [`join_timeout`](Self::join_timeout), with the moment at which to return `None`.
    ///
    /// # Errors
    ///
    /// As for [`join`](Self::join). Once an outcome was returned, further calls give [`JoinError::AlreadyJoined`].
    pub fn join_deadline(&mut self, deadline: Instant) -> Option<Result<R, JoinError>> {
        self.child.wait(Some(deadline)).map(finish)
    }
}

impl<R> JoinHandle<R> {
    pub(crate) fn new(child: Child) -> Self {
        JoinHandle { child, result: PhantomData }
    }

    /// The process's number. It names this process as long as the handle has not given its outcome; to signal the
    /// process use [`kill`](Self::kill), which cannot hit another.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Whether the process has not ended yet. Does not block; one system call.
    ///
    /// Stopped (SIGSTOP) is alive. A result may have been sent already when this is true.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.child.is_alive()
    }

    /// Kills the process (SIGKILL). It cannot prevent or delay it. Does not wait for the end: join to see it.
    ///
    /// If its function has returned already, a join may still give the result. If it has ended this does nothing.
    ///
    /// # Errors
    ///
    /// If the system forbids it: the child has changed its user.
    pub fn kill(&self) -> io::Result<()> {
        self.child.signal(Signal::KILL)
    }

    /// Asks the process to end (SIGTERM). What it does then is up to it; by default it ends at once.
    ///
    /// # Errors
    ///
    /// As for [`kill`](Self::kill).
    pub fn terminate(&self) -> io::Result<()> {
        self.child.signal(Signal::TERM)
    }
}

impl<R> AsFd for JoinHandle<R> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.child.process()
    }
}

impl<R> fmt::Debug for JoinHandle<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("pid", &self.pid()).finish_non_exhaustive()
    }
}

fn finish<R: DeserializeOwned>(outcome: Result<Frame, JoinError>) -> Result<R, JoinError> {
    let frame = outcome?;
    let (result, handles) = transfer::receiving(frame.descriptors, || postcard::from_bytes(&frame.payload));
    handles.map_err(JoinError::Handle)?;
    result.map_err(JoinError::ResultNotDecodable)
}
