//! The forms for futures.

use super::{Receiver, Sender, Task};
use crate::error::{JoinError, RecvError, SendError};
use crate::futures::{Items, Outlet, received, sent};
use futures_core::Stream;
use futures_sink::Sink;
use shmkit_segment::Plain;
use shmkit_sync::{Waiter, until};
use std::future::Future;

/// # Futures
///
/// For any runtime. One that is dropped before it is ready has received nothing, and strands nobody. The first one that has to wait starts a thread, of which there is one for the
/// process. What a deadline is for a thread that blocks, the runtime's timer is for a future.
impl<T: Plain> Receiver<T> {
    /// A future of the next message.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn recv_async(&self) -> impl Future<Output = Result<T, RecvError>> + '_ {
        until(self, |receiver| received(receiver.try_recv()), |receiver| receiver.watch())
    }

    /// A future of what there is, as [`recv_slice`](Self::recv_slice): how many messages stand in the first places of `values`.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn recv_slice_async<'a>(&'a self, values: &'a mut [T]) -> impl Future<Output = Result<usize, RecvError>> + 'a {
        until(self, |receiver| received(receiver.try_recv_slice(values)), |receiver| receiver.watch())
    }

    /// A future of the next message as a [task](Self::try_recv_task).
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn recv_task_async(&self) -> impl Future<Output = Result<Task<T>, RecvError>> + '_ {
        until(self, |receiver| received(receiver.try_recv_task()), |receiver| receiver.watch())
    }

    /// Messages as they come, until every sender is gone and everything was received.
    pub fn stream(&self) -> impl Stream<Item = T> + Unpin + '_ {
        let attempt = |receiver: &mut &Self| received(receiver.try_recv());
        Items { subject: self, attempt, watch: |receiver| receiver.watch(), waiter: Waiter::new() }
    }
}

/// # Futures
///
/// For any runtime. One that is dropped before it is ready has sent nothing, and strands nobody. The first one that has to wait starts a thread, of which there is one for the
/// process.
impl<T: Plain> Sender<T> {
    /// A future of `value`'s being sent.
    ///
    /// # Errors
    /// [`SendError`] with the value.
    pub fn send_async(&self, value: T) -> impl Future<Output = Result<(), SendError<T>>> + '_ {
        until(self, move |sender| sent(sender.try_send(value)), |sender| sender.watch())
    }

    /// A future of the instant at which everything has been received and every task is done: see [`join`](Self::join).
    ///
    /// # Errors
    /// [`JoinError::Disconnected`] if something is left and there is nobody to receive it; [`JoinError::Moved`].
    pub fn join_async(&self) -> impl Future<Output = Result<(), JoinError>> + '_ {
        until(self, |sender| sender.try_join(), |sender| sender.watch_drained())
    }

    /// Where messages can be fed in. Each is sent when the next one is fed, or when it is flushed; one that was not flushed goes with the sink.
    pub fn sink(&self) -> impl Sink<T, Error = SendError<T>> + Unpin + '_ {
        let attempt = |sender: &mut &Self, value: &T| sent(sender.try_send(*value));
        Outlet { subject: self, waiting: None, attempt, watch: |sender| sender.watch(), waiter: Waiter::new() }
    }
}
