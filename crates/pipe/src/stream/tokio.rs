//! The traits of tokio.

use super::{Reader, Writer};
use crate::trust::{Family, Trust};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};

/// The first that has to wait starts a thread, of which there is one for the process.
impl<T: Trust> AsyncRead for Reader<T> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let count = ready!(self.get_mut().poll(context, |reader| reader.attempt(buffer.initialize_unfilled())))?;
        buffer.advance(count);
        Poll::Ready(Ok(()))
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

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Does nothing: what was written can be read.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Leaves the pipe: the reader comes to the end of the stream.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().leave();
        Poll::Ready(Ok(()))
    }
}
