//! Handles over a Unix socket, between programs that need not know each other.
//!
//! One message carries any value that serde can carry, with the handles in it:
//!
//! ```text
//! "shmk"  4 bytes │ version  u16 │ descriptors  u16 │ length  u32 │ length bytes (postcard)
//! ```
//!
//! The descriptors travel with the first byte. What arrives is believed only after it was checked: the number of descriptors, and of
//! each segment the type, size and seals of its file and its header, before it is mapped.

use crate::transfer::{Reach, receiving_from, sending_to};
use crate::{Error, crash};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::{Serialize, de::DeserializeOwned};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

const MAGIC: [u8; 4] = *b"shmk";
const VERSION: u16 = 1;
const HEADER: usize = 12;
/// The longest message. It holds references to segments and not what is in them.
const LENGTH_MAX: usize = 1 << 20;
/// The kernel's `SCM_MAX_FD`.
const DESCRIPTORS_MAX: usize = 253;

/// Sends `value`, and the handles in it, to the process at the other end of `socket`, which gets it by [`recv`].
///
/// Blocks while the socket's buffer is full. A handle of which there are many is cloned: this process keeps its own. One that exists
/// once moves. If the message is never read, what was in it counts as dropped.
///
/// The receiver can be any program, so handles must be of objects that are [hardened](crate::Object::HARDENED), in anonymous segments.
///
/// ```
/// # use shmkit_segment::{recv, send};
/// # use std::os::unix::net::UnixStream;
/// let (here, there) = UnixStream::pair()?;
/// send(&here, &("ticks", 7_u32))?; // a queue's ends would go along in the same way
/// assert_eq!(recv::<(String, u32)>(&there)?, ("ticks".to_owned(), 7));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::NotTransferable`] if a handle cannot be sent so; [`Error::System`] if the socket fails (the other side is gone, or it has a
/// timeout). After the latter, the socket is of no use.
pub fn send<T: Serialize>(socket: &UnixStream, value: &T) -> Result<(), Error> {
    let (bytes, descriptors) = sending_to(Reach::Stranger, || postcard::to_stdvec(value));
    let descriptors = descriptors?;
    let bytes =
        bytes.map_err(|cause| failed("encode a message", io::Error::new(io::ErrorKind::InvalidInput, cause)))?;
    if bytes.len() > LENGTH_MAX || descriptors.len() > DESCRIPTORS_MAX {
        return Err(Error::NotTransferable(
            "a message takes 1 MiB and 126 segments at most: send several, or the bulk through a segment",
        ));
    }
    let mut message = Vec::with_capacity(HEADER + bytes.len());
    message.extend(MAGIC);
    message.extend(VERSION.to_le_bytes());
    message.extend((descriptors.len() as u16).to_le_bytes());
    message.extend((bytes.len() as u32).to_le_bytes());
    message.extend(bytes);

    let borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
    let mut along = &borrowed[..];
    let mut rest = &message[..];
    while !rest.is_empty() {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !along.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(along));
        }
        crash::site("sendmsg");
        // Without NOSIGNAL, writing to somebody who is gone would raise SIGPIPE.
        let sent = rustix::io::retry_on_intr(|| {
            rustix::net::sendmsg(socket, &[IoSlice::new(rest)], &mut control, SendFlags::NOSIGNAL)
        });
        rest = &rest[sent.map_err(|cause| failed("send a message", cause.into()))?..];
        along = &[];
    }
    Ok(())
}

/// Receives what the process at the other end of `socket` [sends](send), and blocks until it does.
///
/// Whoever that is, the worst that it can do is to send nonsense, which is an error, or nothing, for which sockets have timeouts.
/// [`credentials`] says who it is. Handles that were received are of sealed segments and hardened objects.
///
/// # Errors
/// [`Error::System`] with `UnexpectedEof` if the other side is gone, `InvalidData` if what it sent is not a `T`, or what the socket says; the
/// errors of attaching if a segment is not as it should be. After an error, the socket is of no use.
pub fn recv<T: DeserializeOwned>(socket: &UnixStream) -> Result<T, Error> {
    receive(DeadlineSocket::new(socket, None))
}

/// As [`recv`], and blocks until `deadline` at the latest, however little comes at a time.
///
/// It sets the socket's time-out for reading.
///
/// # Errors
/// As [`recv`]; [`Error::System`] with `WouldBlock` or `TimedOut` when the time is up.
pub fn recv_deadline<T: DeserializeOwned>(socket: &UnixStream, deadline: Instant) -> Result<T, Error> {
    receive(DeadlineSocket::new(socket, Some(deadline)))
}

/// A socket that is read from until a deadline at the latest, however little comes at a time.
///
/// Reading sets the socket's time-out for that. Writing does not wait for the deadline: it is for what fits into the socket. Nobody at the other end is an error, and no signal.
pub struct DeadlineSocket<'a> {
    socket: &'a UnixStream,
    deadline: Option<Instant>,
}

impl<'a> DeadlineSocket<'a> {
    /// One with a deadline, or with none.
    #[must_use]
    pub fn new(socket: &'a UnixStream, deadline: Option<Instant>) -> Self {
        Self { socket, deadline }
    }

    /// Sets the time-out of the next read to what is left.
    fn hurry(&self) -> io::Result<()> {
        let Some(deadline) = self.deadline else { return Ok(()) };
        match deadline.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
            remaining => self.socket.set_read_timeout(Some(remaining)),
        }
    }
}

impl Read for DeadlineSocket<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.hurry()?;
        self.socket.read(bytes)
    }
}

impl Write for DeadlineSocket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Without NOSIGNAL, writing to somebody who is gone could raise SIGPIPE.
        Ok(rustix::net::send(self.socket, bytes, SendFlags::NOSIGNAL)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn receive<T: DeserializeOwned>(socket: DeadlineSocket<'_>) -> Result<T, Error> {
    let mut header = [0; HEADER];
    let mut descriptors = Vec::new();
    let mut filled = 0;
    while filled < HEADER {
        socket.hurry().map_err(|cause| failed("receive a message", cause))?;
        filled += receive_some(socket.socket, &mut header[filled..], &mut descriptors)?;
    }
    let number = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    let length = u32::from_le_bytes([header[8], header[9], header[10], header[11]]) as usize;
    let expected = usize::from(number(6));
    if header[..4] != MAGIC || number(4) != VERSION || length > LENGTH_MAX || expected > DESCRIPTORS_MAX {
        return Err(nonsense("what arrived is not a message of this toolkit"));
    }
    if descriptors.len() != expected {
        return Err(nonsense("descriptors were lost on the way: check the limit on open files (ulimit -n)"));
    }
    // As much as arrives, not as much as was announced.
    let mut bytes = Vec::new();
    let read = socket.take(length as u64).read_to_end(&mut bytes);
    let read = read.map_err(|cause| failed("receive a message", cause))?;
    if read < length {
        return Err(failed("receive a message", io::ErrorKind::UnexpectedEof.into()));
    }
    let (value, handles) = receiving_from(Reach::Stranger, descriptors, || postcard::from_bytes(&bytes));
    handles?;
    value.map_err(|cause| failed("decode a message", io::Error::new(io::ErrorKind::InvalidData, cause)))
}

/// Reads some bytes of a header, and the descriptors that come with them.
fn receive_some(socket: &UnixStream, bytes: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> Result<usize, Error> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    crash::site("recvmsg");
    let received = rustix::io::retry_on_intr(|| {
        rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut *bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)
    })
    .map_err(|cause| failed("receive a message", cause.into()))?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(more) = message {
            descriptors.extend(more);
        }
    }
    match received.bytes {
        0 => Err(failed("receive a message", io::ErrorKind::UnexpectedEof.into())),
        _ if received.flags.contains(ReturnFlags::CTRUNC) => {
            Err(nonsense("descriptors were lost on the way: check the limit on open files (ulimit -n)"))
        }
        read => Ok(read),
    }
}

fn nonsense(what: &'static str) -> Error {
    failed("receive a message", io::Error::new(io::ErrorKind::InvalidData, what))
}

fn failed(action: &'static str, cause: io::Error) -> Error {
    Error::system(action, "the socket is of no use any more: connect anew", cause)
}

/// Who is at the other end of a Unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Credentials {
    /// Its process, or 0 if that is in a pid namespace that this process cannot see.
    pub pid: u32,
    /// Its user.
    pub user: u32,
    /// Its group.
    pub group: u32,
}

/// Who is at the other end of `socket`, as the kernel noted it when it was connected.
///
/// # Errors
/// [`Error::System`] if the socket is not connected.
pub fn credentials(socket: &UnixStream) -> Result<Credentials, Error> {
    let credentials = rustix::net::sockopt::socket_peercred(socket)
        .map_err(|cause| failed("ask who is at the other end of a socket", cause.into()))?;
    Ok(Credentials {
        pid: credentials.pid.as_raw_nonzero().get().unsigned_abs(),
        user: credentials.uid.as_raw(),
        group: credentials.gid.as_raw(),
    })
}
