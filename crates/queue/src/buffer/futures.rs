//! The forms for futures.

use super::loan::encoded_length;
use super::{Lease, Loan, Receiver, SendError, SendTimeoutError, Sender, TrySendError};
use crate::error::RecvError;
use crate::futures::{Items, Outlet, received};
use futures_core::Stream;
use futures_sink::Sink;
use serde::Serialize;
use shmkit_segment::Object;
use shmkit_sync::{Waiter, until};

/// What a sender's attempt came to. `None` if it has to wait.
fn sent<R>(outcome: Result<R, TrySendError>) -> Option<Result<R, SendError>> {
    match outcome {
        Ok(sent) => Some(Ok(sent)),
        Err(error) => error.settled().map(|error| Err(SendTimeoutError::without_timeout(error))),
    }
}

fn next<'a, O: Object>(receiver: &mut &'a Receiver<O>) -> Option<Result<Lease<'a, O>, RecvError>> {
    received(receiver.try_recv())
}

/// # Futures
///
/// For any runtime. One that is dropped before it is ready has received nothing, and strands nobody. The first one that has to wait starts a thread, of which there is one for the
/// process. What a deadline is for a thread that blocks, the runtime's timer is for a future.
impl<O: Object> Receiver<O> {
    /// Takes the next message.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub async fn recv_async(&self) -> Result<Lease<'_, O>, RecvError> {
        until(self, |receiver| received(receiver.try_recv()), |receiver| receiver.watch()).await
    }

    /// Messages as they come, until every sender is gone and everything was acknowledged: so let each lease go before the next is asked for.
    pub fn stream(&self) -> impl Stream<Item = Lease<'_, O>> + Unpin {
        Items { subject: self, attempt: next, watch: |receiver| receiver.watch(), waiter: Waiter::new() }
    }
}

/// # Futures
///
/// For any runtime. One that is dropped before it is ready has sent nothing, keeps no buffer, and strands nobody. The first one that has to wait starts a thread, of which there is one
/// for the process.
impl<O: Object> Sender<O> {
    /// A buffer to write a message of `length` bytes into.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn loan_async(&self, length: usize) -> Result<Loan<'_, O>, SendError> {
        until(self, |sender| sent(sender.try_loan(length)), |sender| sender.watch()).await
    }

    /// Copies `bytes` into a buffer and sends it.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn send_async(&self, bytes: &[u8]) -> Result<(), SendError> {
        self.loan_async(bytes.len()).await?.fill(bytes)
    }

    /// Encodes `value` into a buffer and sends it, as [`send_value`](Self::send_value).
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn send_value_async<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), SendError> {
        self.loan_async(encoded_length(value)?).await?.encode(value)
    }

    /// Where messages can be fed in. Each is sent when the next one is fed, or when it is flushed; one that was not flushed goes with the sink.
    pub fn sink<'a, B: AsRef<[u8]> + 'a>(&'a self) -> impl Sink<B, Error = SendError> + Unpin + 'a {
        let attempt = |sender: &mut &Self, bytes: &B| sent(sender.try_send(bytes.as_ref()));
        Outlet { subject: self, waiting: None, attempt, watch: |sender| sender.watch(), waiter: Waiter::new() }
    }
}
