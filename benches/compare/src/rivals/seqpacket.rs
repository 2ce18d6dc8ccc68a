//! A pair of Unix sockets that keep the boundaries of messages: each is a system call on either side.

use super::copied::{Copied, read, write};
use crate::peers::flow::{Inlet, Outlet};
use anyhow::Result;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};
use shmkit::pipe::Descriptor;
use std::ops::Range;

/// Two ends, for messages of so many bytes each.
pub fn pair(length: usize) -> Result<[Copied<Descriptor>; 2]> {
    let (one, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    Ok([one, other].map(|end| Copied { end: end.into(), length }))
}

impl Outlet for Copied<Descriptor> {
    fn send_all(&mut self, values: Range<u64>) {
        let mut message = self.buffer();
        for value in values {
            write(&mut message, value);
            let sent = send(&self.end.0, &message, SendFlags::empty()).expect("the receiver lives");
            assert!(sent == self.length, "{sent} bytes were sent");
        }
    }
}

impl Inlet for Copied<Descriptor> {
    fn receive(&mut self, count: u64, mut take: impl FnMut(u64)) {
        let mut buffer = self.buffer();
        for _ in 0..count {
            let (_, length) = recv(&self.end.0, &mut *buffer, RecvFlags::empty()).expect("the sender lives");
            take(read(&buffer[..length], self.length));
        }
    }
}
