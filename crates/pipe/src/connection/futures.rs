//! The forms for futures.

use super::incoming::Found;
use super::outgoing::Message;
use super::{Connection, RecvError, SendError, Step, encode};
use crate::trust::Trust;
use serde::Serialize;
use serde::de::DeserializeOwned;
use shmkit_sync::{Waiter, until};
use std::future::poll_fn;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};

/// # Futures
///
/// For any runtime. The first one that has to wait starts a thread, of which there is one for the process. What a deadline is for a thread that blocks, the runtime's timer is for a future.
///
/// A future that receives and is dropped before it is ready has received nothing. One that sends has not sent its message: of a long one, its receiver drops what has come.
impl<T: Trust> Connection<T> {
    /// Sends a message.
    ///
    /// # Errors
    /// As [`send_bytes`](Self::send_bytes).
    pub async fn send_bytes_async(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        self.send_with_patience(bytes, &[]).await
    }

    /// Sends a value, with the handles in it.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_async<V: Serialize + ?Sized>(&mut self, value: &V) -> Result<(), SendError> {
        let (encoded, descriptors) = encode::<T, V>(value, std::mem::take(&mut self.encoded))?;
        let outcome = self.send_with_patience(&encoded, &descriptors).await;
        self.keep(encoded);
        outcome
    }

    async fn send_with_patience(&mut self, bytes: &[u8], descriptors: &[OwnedFd]) -> Result<(), SendError> {
        let mut message = Message::new(bytes, descriptors.len() as u8);
        let (mut for_room, mut for_messages) = (Waiter::new(), Waiter::new());
        poll_fn(|context: &mut Context<'_>| {
            let mut attempt = |connection: &mut Self| match connection.attempt_send(&mut message, descriptors, false) {
                Ok(Step::Sent) => Some(Ok(())),
                Ok(Step::Wait) => {
                    connection.make_way();
                    None
                }
                Err(error) => Some(Err(error)),
            };
            // As a thread would, it waits for both: see the module's head.
            match for_room.poll(context, self, &mut attempt, |connection| connection.watch_room()) {
                Poll::Pending => for_messages.poll(context, self, &mut attempt, |connection| connection.watch()),
                outcome => outcome,
            }
        })
        .await
    }

    /// Receives a message.
    ///
    /// # Errors
    /// As [`recv_bytes`](Self::recv_bytes).
    pub async fn recv_bytes_async(&mut self) -> Result<Vec<u8>, RecvError> {
        let found = self.find_with_patience().await?;
        self.take(found)
    }

    /// Receives a message into the first bytes of `buffer`: how long it is.
    ///
    /// # Errors
    /// As [`recv_bytes_into`](Self::recv_bytes_into).
    pub async fn recv_bytes_into_async(&mut self, buffer: &mut [u8]) -> Result<usize, RecvError> {
        let found = self.find_with_patience().await?;
        self.take_into(found, buffer)
    }

    /// Receives a value, with the handles in it.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub async fn recv_async<V: DeserializeOwned>(&mut self) -> Result<V, RecvError> {
        let found = self.find_with_patience().await?;
        self.decode(found)
    }

    async fn find_with_patience(&mut self) -> Result<Found, RecvError> {
        until(&mut *self, |connection| connection.attempt_find(), |connection| connection.watch()).await
    }
}
