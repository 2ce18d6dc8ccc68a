//! Futures on two runtimes, and polled by hand.
#![allow(dead_code, reason = "each test uses a part")]

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver as Heard, Sender as Say};
use std::task::{Context, Poll, Wake, Waker};

/// Runs a future on tokio, with two threads of its own.
pub(crate) fn on_tokio<R: Send + 'static>(future: impl Future<Output = R> + Send + 'static) -> R {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    // In a task, so that it has to be `Send`.
    runtime.block_on(runtime.spawn(future)).unwrap()
}

/// Runs a future on smol's executor, in this thread.
pub(crate) fn on_smol<R>(future: impl Future<Output = R>) -> R {
    let executor = smol::LocalExecutor::new();
    smol::block_on(executor.run(future))
}

/// A waker that tells when it is called.
struct Told(Say<()>);

impl Wake for Told {
    fn wake(self: Arc<Self>) {
        let _ = self.0.send(());
    }
}

pub(crate) fn told() -> (Waker, Heard<()>) {
    let (say, hear) = mpsc::channel();
    (Arc::new(Told(say)).into(), hear)
}

pub(crate) fn poll<F: Future + ?Sized>(future: Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}

/// Polls until it is ready, whenever its waker is called.
pub(crate) fn finish<F: Future + ?Sized>(mut future: Pin<&mut F>, waker: &Waker, called: &Heard<()>) -> F::Output {
    loop {
        if let Poll::Ready(result) = poll(future.as_mut(), waker) {
            return result;
        }
        called.recv().unwrap();
    }
}

/// Awaits a future for so many polls at most.
pub(crate) async fn patiently<F: Future>(future: F, patience: u8) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = patience;
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}
