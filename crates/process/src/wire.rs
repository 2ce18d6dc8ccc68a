//! What parent and child say to each other, over one socket that keeps message boundaries.
//!
//! ```text
//! parent                                         child
//!   Descriptors …, Frame(start, arguments)  ──▶
//!                                           ◀──  Hello
//!                                           ◀──  Descriptors …, Frame(reply, result)
//! ```
//!
//! A frame is a small header, a payload of any size and any number of descriptors. A socket takes at most 253
//! descriptors with a message and has a limited buffer, so descriptors beyond that number go ahead in messages of their
//! own, and a payload beyond [`INLINE_MAX`] goes as a descriptor of sealed memory.
//!
//! Guarantee: sending never waits. What the socket's buffer does not take at once is an error. In practice it
//! takes everything: each direction carries one frame only, with its bulk outside the buffer.

use crate::memory;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The longest payload that is copied into the message itself.
const INLINE_MAX: usize = 32 * 1024;
/// The longest header. Only a text in an error can come near, and those are cut.
const HEADER_MAX: usize = 16 * 1024;
/// The longest message: a header, a payload and their lengths.
const PACKET_MAX: usize = HEADER_MAX + INLINE_MAX + 64;
/// The kernel's `SCM_MAX_FD`.
const DESCRIPTORS_MAX: usize = 253;

const CONTROL_LEN: usize = rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX));

#[derive(Serialize, Deserialize)]
enum Packet<'a> {
    /// The child is up and about to read its frame.
    Hello,
    /// Nothing but descriptors that belong to the frame that follows.
    Descriptors,
    Frame {
        header: &'a [u8],
        #[serde(borrow)]
        body: Body<'a>,
        /// How many descriptors belong to it, the one of its memory included.
        descriptors: usize,
    },
}

#[derive(Serialize, Deserialize)]
enum Body<'a> {
    Inline(&'a [u8]),
    /// In sealed memory of this length, whose descriptor is the frame's last.
    Memory(u64),
}

/// A received frame.
pub(crate) struct Frame {
    header: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    pub(crate) descriptors: Vec<OwnedFd>,
}

impl Frame {
    pub(crate) fn header<H: DeserializeOwned>(&self) -> io::Result<H> {
        postcard::from_bytes(&self.header).map_err(invalid)
    }
}

/// What [`Inbox::receive`] found.
pub(crate) enum Event {
    Hello,
    Frame(Frame),
    /// Nothing yet. Only said if asked not to wait.
    Nothing,
    /// Nothing more: the other side has closed its socket, or has died.
    Closed,
}

/// Whether to wait for a message.
#[derive(Clone, Copy)]
pub(crate) enum Patience {
    Wait,
    DontWait,
}

pub(crate) fn send_hello(socket: BorrowedFd<'_>) -> io::Result<()> {
    send(socket, &Packet::Hello, &[])
}

/// Sends a frame, without ever waiting.
pub(crate) fn send_frame<H: Serialize>(
    socket: BorrowedFd<'_>,
    header: &H,
    payload: &[u8],
    mut descriptors: Vec<OwnedFd>,
) -> io::Result<()> {
    let header = postcard::to_stdvec(header).map_err(invalid)?;
    if header.len() > HEADER_MAX {
        return Err(Errno::MSGSIZE.into());
    }
    let body = if payload.len() <= INLINE_MAX {
        Body::Inline(payload)
    } else {
        descriptors.push(memory::write(payload)?);
        Body::Memory(payload.len() as u64)
    };
    let borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
    let (ahead, along) = borrowed.split_at(borrowed.len().saturating_sub(DESCRIPTORS_MAX));
    for chunk in ahead.chunks(DESCRIPTORS_MAX) {
        send(socket, &Packet::Descriptors, chunk)?;
    }
    send(socket, &Packet::Frame { header: &header, body, descriptors: borrowed.len() }, along)
}

fn send(socket: BorrowedFd<'_>, packet: &Packet<'_>, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let bytes = postcard::to_stdvec(packet).map_err(invalid)?;
    let mut space = [MaybeUninit::uninit(); CONTROL_LEN];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    // Without NOSIGNAL, writing to a child that has died would raise SIGPIPE.
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    rustix::io::retry_on_intr(|| rustix::net::sendmsg(socket, &[IoSlice::new(&bytes)], &mut control, flags))?;
    Ok(())
}

/// Puts messages together to frames.
#[derive(Default)]
pub(crate) struct Inbox {
    /// Received ahead of their frame.
    descriptors: Vec<OwnedFd>,
}

impl Inbox {
    /// The next thing the other side has said.
    ///
    /// An error means that the other side did not follow the protocol, or that this process could not take in
    /// what it sent (too many descriptors, no memory). The socket is of no use afterwards.
    pub(crate) fn receive(&mut self, socket: BorrowedFd<'_>, patience: Patience) -> io::Result<Event> {
        let mut packet = [0; PACKET_MAX];
        loop {
            let Some(len) = self.receive_packet(socket, &mut packet, patience)? else {
                return Ok(Event::Nothing);
            };
            if len == 0 {
                return Ok(Event::Closed);
            }
            match postcard::from_bytes(&packet[..len]).map_err(invalid)? {
                Packet::Hello => return Ok(Event::Hello),
                Packet::Descriptors => {}
                Packet::Frame { header, body, descriptors } => {
                    let mut received = std::mem::take(&mut self.descriptors);
                    if received.len() != descriptors {
                        return Err(invalid("descriptors were lost on the way"));
                    }
                    let payload = match body {
                        Body::Inline(bytes) => bytes.to_vec(),
                        Body::Memory(len) => {
                            let memory = received.pop().ok_or_else(|| invalid("a payload has no memory"))?;
                            memory::read(memory, len)?
                        }
                    };
                    return Ok(Event::Frame(Frame { header: header.to_vec(), payload, descriptors: received }));
                }
            }
        }
    }

    /// Reads one message and collects its descriptors. `None` if there is none yet, zero if there will be none.
    fn receive_packet(
        &mut self,
        socket: BorrowedFd<'_>,
        packet: &mut [u8],
        patience: Patience,
    ) -> io::Result<Option<usize>> {
        let flags = RecvFlags::CMSG_CLOEXEC
            | match patience {
                Patience::Wait => RecvFlags::empty(),
                Patience::DontWait => RecvFlags::DONTWAIT,
            };
        let mut space = [MaybeUninit::uninit(); CONTROL_LEN];
        let received = loop {
            let mut control = RecvAncillaryBuffer::new(&mut space);
            match rustix::net::recvmsg(socket, &mut [IoSliceMut::new(packet)], &mut control, flags) {
                Ok(received) => {
                    for message in control.drain() {
                        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                            self.descriptors.extend(descriptors);
                        }
                    }
                    break received;
                }
                // The other side closed its socket before it had read everything. That is told once, ahead of what
                // it may have sent earlier, so go on reading.
                Err(Errno::INTR | Errno::CONNRESET) => {}
                Err(Errno::AGAIN) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        };
        if received.flags.contains(ReturnFlags::CTRUNC) {
            // The kernel drops descriptors for which the receiver has no room.
            return Err(Errno::MFILE.into());
        }
        if received.flags.contains(ReturnFlags::TRUNC) {
            return Err(invalid("a message is too long"));
        }
        Ok(Some(received.bytes))
    }
}

/// Cuts a text that comes from elsewhere so that it fits a header.
pub(crate) fn brief(text: impl ToString) -> String {
    const MAX: usize = HEADER_MAX / 4;
    let mut text = text.to_string();
    if text.len() > MAX {
        let end = (0..=MAX).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

fn invalid(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, cause)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    use std::os::unix::fs::MetadataExt;

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
    }

    fn receive(socket: &OwnedFd) -> io::Result<Event> {
        Inbox::default().receive(socket.as_fd(), Patience::DontWait)
    }

    fn send_raw(socket: &OwnedFd, bytes: &[u8]) {
        rustix::net::send(socket, bytes, SendFlags::DONTWAIT).unwrap();
    }

    #[test]
    fn frames_of_every_size_arrive_whole() {
        for len in [0, 1, INLINE_MAX, INLINE_MAX + 1, 5_000_000] {
            let (here, there) = pair();
            let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
            send_frame(here.as_fd(), &"header", &payload, Vec::new()).unwrap();
            let Ok(Event::Frame(frame)) = receive(&there) else { panic!("no frame of {len}") };
            assert_eq!(frame.header::<String>().unwrap(), "header");
            assert!(frame.payload == payload && frame.descriptors.is_empty());
        }
    }

    #[test]
    fn any_number_of_descriptors_arrives_in_order() {
        for count in [1, 252, 253, 254, 600] {
            for payload in [&[7][..], &[7; INLINE_MAX + 1]] {
                let (here, there) = pair();
                let files: Vec<OwnedFd> =
                    (0..count).map(|i| rustix::fs::memfd_create(i.to_string(), MemfdFlags::CLOEXEC).unwrap()).collect();
                let inodes = |files: Vec<OwnedFd>| -> Vec<u64> {
                    files.into_iter().map(|file| std::fs::File::from(file).metadata().unwrap().ino()).collect()
                };
                let copies = files.iter().map(|file| file.try_clone().unwrap()).collect();
                send_frame(here.as_fd(), &(), payload, copies).unwrap();
                let Ok(Event::Frame(frame)) = receive(&there) else { panic!("no frame with {count}") };
                assert_eq!(frame.payload, payload);
                assert_eq!(inodes(frame.descriptors), inodes(files));
            }
        }
    }

    #[test]
    fn nonsense_is_an_error() {
        for bytes in [&[9][..], &[2, 1], &[2, 0, 1, 255, 255, 3, 0], &[2, 0, 1, 4, 0], &[2, 0, 0, 0, 5]] {
            let (here, there) = pair();
            send_raw(&here, bytes);
            assert!(receive(&there).is_err(), "{bytes:?}");
        }
        let (here, there) = pair();
        send_raw(&here, &[1; PACKET_MAX + 1]);
        assert!(receive(&there).is_err());
    }

    #[test]
    fn what_was_sent_before_an_unread_close_is_still_received() {
        let (here, there) = pair();
        send_hello(here.as_fd()).unwrap();
        send_hello(there.as_fd()).unwrap();
        drop(here);
        let mut inbox = Inbox::default();
        assert!(matches!(inbox.receive(there.as_fd(), Patience::DontWait), Ok(Event::Hello)));
        assert!(matches!(inbox.receive(there.as_fd(), Patience::DontWait), Ok(Event::Closed)));
    }

    #[test]
    fn a_full_socket_is_an_error_and_no_wait() {
        let (here, _there) = pair();
        let error = (0..100_000).find_map(|_| send_frame(here.as_fd(), &(), &[0; 1000], Vec::new()).err());
        assert_eq!(error.expect("the buffer is not endless").kind(), io::ErrorKind::WouldBlock);
    }

    use rustix::fs::MemfdFlags;
}
