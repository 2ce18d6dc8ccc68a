//! Streams and sinks, of whatever queue.

use crate::error::{RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError};
use futures_core::Stream;
use futures_sink::Sink;
use shmkit_sync::{Waiter, Watch};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// What a receiver's attempt came to. `None` if it has to wait.
pub(crate) fn received<R>(outcome: Result<R, TryRecvError>) -> Option<Result<R, RecvError>> {
    match outcome {
        Ok(received) => Some(Ok(received)),
        Err(error) => error.settled().map(|error| Err(RecvTimeoutError::without_timeout(error))),
    }
}

/// What a sender's attempt came to. `None` if it has to wait.
pub(crate) fn sent<R, V>(outcome: Result<R, TrySendError<V>>) -> Option<Result<R, SendError<V>>> {
    match outcome {
        Ok(sent) => Some(Ok(sent)),
        Err(error) => error.settled().map(|error| Err(SendTimeoutError::without_timeout(error))),
    }
}

/// What `attempt` gives, one after the other, until it fails for good.
pub(crate) struct Items<S, A> {
    pub(crate) subject: S,
    pub(crate) attempt: A,
    pub(crate) watch: fn(&S) -> Watch,
    pub(crate) waiter: Waiter,
}

/// Nothing here is ever pinned.
impl<S, A> Unpin for Items<S, A> {}

impl<S, A, T, E> Stream for Items<S, A>
where
    A: FnMut(&mut S) -> Option<Result<T, E>>,
{
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let Self { subject, attempt, watch, waiter } = self.get_mut();
        waiter.poll(context, subject, attempt, watch).map(Result::ok)
    }
}

/// Takes a message, and tries to send it when the next one comes, or when it is flushed. `attempt` gets the message, and says nothing if there is no room for it.
///
/// What was taken and not flushed goes with the sink.
pub(crate) struct Outlet<S, V, A> {
    pub(crate) subject: S,
    pub(crate) waiting: Option<V>,
    pub(crate) attempt: A,
    pub(crate) watch: fn(&S) -> Watch,
    pub(crate) waiter: Waiter,
}

/// Nothing here is ever pinned.
impl<S, V, A> Unpin for Outlet<S, V, A> {}

impl<S, V, A, E> Sink<V> for Outlet<S, V, A>
where
    A: FnMut(&mut S, &V) -> Option<Result<(), E>>,
{
    type Error = E;

    fn poll_ready(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), E>> {
        self.poll_flush(context)
    }

    fn start_send(self: Pin<&mut Self>, value: V) -> Result<(), E> {
        self.get_mut().waiting = Some(value);
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), E>> {
        let Self { subject, waiting, attempt, watch, waiter } = self.get_mut();
        let Some(value) = waiting else { return Poll::Ready(Ok(())) };
        let outcome = ready!(waiter.poll(context, subject, |subject| attempt(subject, value), watch));
        *waiting = None;
        Poll::Ready(outcome)
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), E>> {
        self.poll_flush(context)
    }
}
