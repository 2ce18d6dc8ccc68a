//! The traits of the crate `futures-io`.

use super::{Reader, Writer};
use crate::trust::{Family, Trust};
use futures_io::{AsyncBufRead, AsyncRead, AsyncWrite};
use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The first that has to wait starts a thread, of which there is one for the process.
impl<T: Trust> AsyncRead for Reader<T> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll(context, |reader| reader.attempt(bytes))
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll(context, |reader| reader.attempt_vectored(slices))
    }
}

/// In place, without copying.
impl AsyncBufRead for Reader<Family> {
    fn poll_fill_buf(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let reader = self.get_mut();
        let available = ready!(reader.poll(context, |reader| reader.attempt_available(1)))?;
        Poll::Ready(Ok(reader.in_place(available)))
    }

    fn consume(self: Pin<&mut Self>, count: usize) {
        self.get_mut().give_back(count);
    }
}

/// The first that has to wait starts a thread, of which there is one for the process.
impl<T: Trust> AsyncWrite for Writer<T> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll(context, |writer| writer.attempt(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll(context, |writer| writer.attempt_vectored(slices))
    }

    /// Does nothing: what was written can be read.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Leaves the pipe: the reader comes to the end of the stream.
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().leave();
        Poll::Ready(Ok(()))
    }
}
