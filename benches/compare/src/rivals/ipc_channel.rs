//! `ipc-channel` between processes, which meet as its documentation shows: one makes a one-shot server, and the other connects to its name.
//!
//! Buffers are its regions of shared memory: each message makes one, filled from end to end, and the receiver maps it.

use super::in_place::{InPlace, read, write};
use crate::peers::backoff::until;
use crate::peers::flow::{Inlet, Outlet};
use crate::peers::processes::Ticket;
use crate::peers::shared::{Shared, Words};
use crate::peers::trip::Duplex;
use anyhow::{Context, Result, ensure};
use ipc_channel::ipc::{IpcOneShotServer, IpcReceiver, IpcSender, IpcSharedMemory};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::ops::Range;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

const LONGEST_NAME: usize = 256;
/// The first message, which a server accepts together with the connection; it is not counted.
const HELLO: u64 = u64::MAX;

/// Where the receiver leaves its server's name for the sender.
#[repr(C)]
struct Name {
    /// Zero while there is none.
    length: AtomicUsize,
    bytes: [AtomicU8; LONGEST_NAME],
}

// SAFETY: atomics only, for which zeros are values.
unsafe impl Words for Name {}

impl Name {
    fn post(&self, name: &str) -> Result<()> {
        ensure!(name.len() <= LONGEST_NAME, "the server's name is too long: {name}");
        self.bytes.iter().zip(name.bytes()).for_each(|(place, byte)| place.store(byte, Ordering::Relaxed));
        // Pairs with the acquire load in `wait`.
        self.length.store(name.len(), Ordering::Release);
        Ok(())
    }

    fn wait(&self) -> Result<String> {
        let length = until(|| Some(self.length.load(Ordering::Acquire)).filter(|&length| length > 0));
        let bytes = self.bytes[..length].iter().map(|byte| byte.load(Ordering::Relaxed)).collect();
        String::from_utf8(bytes).context("the server's name")
    }
}

#[derive(Serialize, Deserialize)]
pub struct SendEnd(Shared<Name>);

#[derive(Serialize, Deserialize)]
pub struct ReceiveEnd(Shared<Name>);

/// A channel from one child to another.
pub fn channel() -> Result<(SendEnd, ReceiveEnd)> {
    let name = Shared::<Name>::new()?;
    Ok((SendEnd(name.clone()), ReceiveEnd(name)))
}

/// The same with buffers of so many bytes each.
pub fn buffers(length: usize) -> Result<(InPlace<SendEnd>, InPlace<ReceiveEnd>)> {
    let (sender, receiver) = channel()?;
    Ok((InPlace { end: sender, length }, InPlace { end: receiver, length }))
}

impl SendEnd {
    pub(super) fn connect<T: Serialize>(self, hello: T) -> Result<IpcSender<T>> {
        let sender = IpcSender::connect(self.0.wait()?)?;
        sender.send(hello)?;
        Ok(sender)
    }
}

impl ReceiveEnd {
    /// The receiver, and the first message.
    pub(super) fn accept<T: Serialize + DeserializeOwned>(self) -> Result<(IpcReceiver<T>, T)> {
        let (server, name) = IpcOneShotServer::new()?;
        self.0.post(&name)?;
        Ok(server.accept()?)
    }
}

impl Ticket for SendEnd {
    type End = IpcSender<u64>;

    fn open(self) -> Result<IpcSender<u64>> {
        self.connect(HELLO)
    }
}

impl Ticket for ReceiveEnd {
    type End = IpcReceiver<u64>;

    fn open(self) -> Result<IpcReceiver<u64>> {
        let (receiver, hello) = self.accept()?;
        ensure!(hello == HELLO, "{hello} came before anything was sent");
        Ok(receiver)
    }
}

impl Ticket for InPlace<SendEnd> {
    type End = InPlace<IpcSender<IpcSharedMemory>>;

    fn open(self) -> Result<Self::End> {
        Ok(InPlace { end: self.end.connect(IpcSharedMemory::from_bytes(&[]))?, length: self.length })
    }
}

impl Ticket for InPlace<ReceiveEnd> {
    type End = InPlace<IpcReceiver<IpcSharedMemory>>;

    fn open(self) -> Result<Self::End> {
        let (receiver, hello) = self.end.accept::<IpcSharedMemory>()?;
        ensure!(hello.is_empty(), "{} bytes came before anything was sent", hello.len());
        Ok(InPlace { end: receiver, length: self.length })
    }
}

impl Outlet for IpcSender<u64> {
    fn send_all(&mut self, values: Range<u64>) {
        for value in values {
            self.send(value).expect("the receiver lives");
        }
    }
}

impl Inlet for IpcReceiver<u64> {
    fn receive(&mut self, count: u64, mut take: impl FnMut(u64)) {
        for _ in 0..count {
            take(self.recv().expect("the sender lives"));
        }
    }
}

impl Outlet for InPlace<IpcSender<IpcSharedMemory>> {
    fn send_all(&mut self, values: Range<u64>) {
        for value in values {
            let mut region = IpcSharedMemory::from_byte(0, self.length);
            // SAFETY: the region was made here, and nobody else has it before it is sent.
            write(unsafe { region.deref_mut() }, value);
            self.end.send(region).expect("the receiver lives");
        }
    }
}

impl Inlet for InPlace<IpcReceiver<IpcSharedMemory>> {
    fn receive(&mut self, count: u64, mut take: impl FnMut(u64)) {
        for _ in 0..count {
            // The region goes when it is dropped.
            let region = self.end.recv().expect("the sender lives");
            take(read(&region, self.length));
        }
    }
}

/// Two channels, one for each direction. One side opens them in the order of its fields and the other in the opposite one, or both
/// would wait for each other.
#[derive(Serialize, Deserialize)]
pub struct Side {
    sender: SendEnd,
    receiver: ReceiveEnd,
    sends_first: bool,
}

/// Both sides.
pub fn pair() -> Result<[Side; 2]> {
    let ((to_there, from_here), (to_here, from_there)) = (channel()?, channel()?);
    Ok([
        Side { sender: to_there, receiver: from_there, sends_first: true },
        Side { sender: to_here, receiver: from_here, sends_first: false },
    ])
}

impl Ticket for Side {
    type End = (IpcSender<u64>, IpcReceiver<u64>);

    fn open(self) -> Result<Self::End> {
        if self.sends_first {
            let sender = self.sender.open()?;
            return Ok((sender, self.receiver.open()?));
        }
        let receiver = self.receiver.open()?;
        Ok((self.sender.open()?, receiver))
    }
}

impl Duplex for (IpcSender<u64>, IpcReceiver<u64>) {
    fn send(&mut self, value: u64) {
        self.0.send(value).expect("the other side lives");
    }

    fn receive(&mut self) -> u64 {
        self.1.recv().expect("the other side lives")
    }
}
