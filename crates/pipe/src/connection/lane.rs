//! The way of descriptors: a Unix socket beside the rings, since memory cannot carry them.
//!
//! A message with descriptors is one byte in the socket, which they go along with, and *then* its frame in the ring. Both are first in, first out, and the frame says how many there are; so who has
//! come to the frame finds them at the head of the socket, without waiting. A sender that is killed in between leaves a byte that no frame ever comes for, and nothing else comes after it. Nothing but descriptors passes through the socket.

use super::SendError;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use shmkit_segment::crash;
use shmkit_segment::transfer::Descriptor;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// The kernel's `SCM_MAX_FD`.
pub(super) const DESCRIPTORS_MAX: usize = 253;

/// One end of the socket.
pub(super) struct Lane(pub(super) Descriptor);

impl Lane {
    /// Two ends.
    pub(super) fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = UnixStream::pair()?;
        Ok((one.into(), other.into()))
    }

    /// Sends descriptors that belong to a message: false if too many are under way. Never blocks.
    pub(super) fn send(&self, descriptors: &[OwnedFd]) -> Result<bool, SendError> {
        let borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&borrowed));
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        crash::site("sendmsg");
        match rustix::io::retry_on_intr(|| rustix::net::sendmsg(&self.0.0, &[IoSlice::new(&[0])], &mut control, flags))
        {
            Ok(_) => Ok(true),
            Err(Errno::AGAIN) => Ok(false),
            // The kernel knows of a death before it is noticed here.
            Err(Errno::PIPE | Errno::CONNRESET) => Err(SendError::Disconnected),
            Err(error) => Err(SendError::Descriptors(error.into())),
        }
    }

    /// Receives the `count` descriptors that belong to a message which has come. Never blocks.
    #[inline]
    pub(super) fn recv(&self, count: u8) -> io::Result<Vec<OwnedFd>> {
        if count == 0 { Ok(Vec::new()) } else { self.recv_some(count) }
    }

    #[cold]
    fn recv_some(&self, count: u8) -> io::Result<Vec<OwnedFd>> {
        let mut descriptors = Vec::new();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let mut byte = [0];
        crash::site("recvmsg");
        let received = rustix::io::retry_on_intr(|| {
            rustix::net::recvmsg(&self.0.0, &mut [IoSliceMut::new(&mut byte)], &mut control, flags)
        })?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(more) = message {
                descriptors.extend(more);
            }
        }
        if received.bytes == 0
            || received.flags.contains(ReturnFlags::CTRUNC)
            || descriptors.len() != usize::from(count)
        {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "they are not as many as the message says"));
        }
        Ok(descriptors)
    }
}

impl From<UnixStream> for Lane {
    fn from(socket: UnixStream) -> Self {
        Self(OwnedFd::from(socket).into())
    }
}
