//! The forms for futures.

use super::{Lease, Receiver, Reservation, Sender};
use crate::error::{RecvError, SendError};
use crate::futures::{Items, Outlet, received, sent};
use futures_core::Stream;
use futures_sink::Sink;
use shmkit_segment::Plain;
use shmkit_sync::{Waiter, until};

/// # Futures
///
/// For any runtime. One that is dropped before it is ready has received nothing, and strands nobody. The first one that has to wait starts a thread, of which there is one for the
/// process. What a deadline is for a thread that blocks, the runtime's timer is for a future.
impl<T: Plain> Receiver<T> {
    /// Receives the next message.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub async fn recv_async(&mut self) -> Result<T, RecvError> {
        until(self, |receiver| received(receiver.try_recv()), |receiver| receiver.watch()).await
    }

    /// Receives what there is, as [`recv_slice`](Self::recv_slice): how many messages stand in the first places of `values`.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub async fn recv_slice_async(&mut self, values: &mut [T]) -> Result<usize, RecvError> {
        until(self, |receiver| received(receiver.try_recv_slice(values)), |receiver| receiver.watch()).await
    }

    /// Up to `most` messages to be looked at while they stay in the queue, as [`lease`](Self::lease).
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub async fn lease_async(&mut self, most: usize) -> Result<Lease<'_, T>, RecvError> {
        let length = until(&mut *self, |receiver| received(receiver.leased(most)), |receiver| receiver.watch()).await?;
        Ok(Lease::new(self, length))
    }

    /// Messages as they come, until the sender is gone and everything was received.
    pub fn stream(&mut self) -> impl Stream<Item = T> + Unpin + '_ {
        let attempt = |receiver: &mut &mut Self| received(receiver.try_recv());
        Items { subject: self, attempt, watch: |receiver| receiver.watch(), waiter: Waiter::new() }
    }
}

/// # Futures
///
/// For any runtime. One that is dropped before it is ready has sent nothing, and strands nobody. The first one that has to wait starts a thread, of which there is one for the
/// process.
impl<T: Plain> Sender<T> {
    /// Sends `value`.
    ///
    /// # Errors
    /// [`SendError`] with the value.
    pub async fn send_async(&mut self, value: T) -> Result<(), SendError<T>> {
        until(self, |sender| sent(sender.try_send(value)), |sender| sender.watch()).await
    }

    /// Up to `most` free places to be filled and then sent together, as [`reserve`](Self::reserve).
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn reserve_async(&mut self, most: usize) -> Result<Reservation<'_, T>, SendError<()>> {
        let length = until(&mut *self, |sender| sent(sender.places(most)), |sender| sender.watch()).await?;
        Ok(Reservation::new(self, length))
    }

    /// Where messages can be fed in. Each is sent when the next one is fed, or when it is flushed; one that was not flushed goes with the sink.
    pub fn sink(&mut self) -> impl Sink<T, Error = SendError<T>> + Unpin + '_ {
        let attempt = |sender: &mut &mut Self, value: &T| sent(sender.try_send(*value));
        Outlet { subject: self, waiting: None, attempt, watch: |sender| sender.watch(), waiter: Waiter::new() }
    }
}
