//! Messages on their way out of a ring.

use super::RecvError;
use super::frame::{Frame, Kind};
use super::lane::{DESCRIPTORS_MAX, Lane};
use crate::ring::Consumer;
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The receiving half of a connection.
pub(super) struct Incoming {
    consumer: Consumer,
    /// A long message, as far as it has come, and how long it is to be.
    partial: Option<(Received, usize)>,
    /// Messages that were taken out of the ring and not received yet, the oldest first.
    aside: VecDeque<Received>,
    /// Whether there are such. Shared with those who wait for a message without having the connection.
    has_aside: Arc<AtomicBool>,
    /// What the partial message, and those that were taken out, take up.
    held: usize,
    /// How many descriptors they have brought.
    held_descriptors: usize,
    /// The most bytes of a message, and of `held`.
    pub(super) limit: usize,
}

/// A message in this process's own memory.
pub(super) struct Received {
    pub(super) bytes: Vec<u8>,
    /// What came along, or why it did not.
    pub(super) descriptors: io::Result<Vec<OwnedFd>>,
}

impl Received {
    fn descriptor_count(&self) -> usize {
        self.descriptors.as_ref().map_or(0, Vec::len)
    }
}

/// A message that can be received.
#[derive(Clone, Copy)]
pub(super) enum Found {
    InRing { length: usize, descriptors: u8 },
    Aside { length: usize },
}

impl Incoming {
    /// How much is allotted for a long message before any of it has come.
    const AT_FIRST: usize = 1 << 16;
    /// What a message takes up besides its bytes: an empty one takes up something, too.
    const BESIDES: usize = size_of::<Received>();

    pub(super) fn new(consumer: Consumer, limit: usize) -> Self {
        let has_aside = Arc::new(AtomicBool::new(false));
        Self { consumer, partial: None, aside: VecDeque::new(), has_aside, held: 0, held_descriptors: 0, limit }
    }

    /// Whether all that has come is in the ring.
    pub(super) fn is_clean(&self) -> bool {
        self.partial.is_none() && self.aside.is_empty()
    }

    pub(super) fn has_aside(&self) -> &Arc<AtomicBool> {
        &self.has_aside
    }

    /// The next message, if it is whole. Takes the parts of a long one out of the ring.
    #[inline]
    pub(super) fn look(&mut self, lane: &Lane) -> Result<Option<Found>, RecvError> {
        loop {
            if let Some(aside) = self.aside.front() {
                return Ok(Some(Found::Aside { length: aside.bytes.len() }));
            }
            let Some((frame, size)) = self.header()? else { return Ok(None) };
            match frame.kind {
                Kind::Whole => {
                    let length = self.check_whole(frame)?;
                    return Ok(Some(Found::InRing { length, descriptors: frame.descriptors }));
                }
                Kind::Begin => self.begin(frame, size, lane)?,
                Kind::Part | Kind::Abort => self.go_on(frame, size)?,
            }
        }
    }

    /// Takes messages out of the ring, so that the other side has room: one, and more of them as long as the limit allows.
    pub(super) fn take_in(&mut self, lane: &Lane) -> Result<(), RecvError> {
        while let Some((frame, size)) = self.header()? {
            let wanted = frame.length.saturating_add(Self::BESIDES as u64);
            let has_room = self.is_clean()
                || wanted <= self.limit.saturating_sub(self.held) as u64
                    && usize::from(frame.descriptors) + self.held_descriptors <= DESCRIPTORS_MAX;
            match frame.kind {
                Kind::Whole | Kind::Begin if !has_room => return Ok(()),
                Kind::Whole => {
                    let length = self.check_whole(frame)?;
                    let received = self.copy_out(length, frame.descriptors, lane);
                    self.hold(&received);
                    self.put_aside(received);
                    self.consumer.release(size);
                }
                Kind::Begin => self.begin(frame, size, lane)?,
                Kind::Part | Kind::Abort => self.go_on(frame, size)?,
            }
        }
        Ok(())
    }

    /// The next frame in the ring, and its size.
    #[inline]
    fn header(&mut self) -> Result<Option<(Frame, usize)>, RecvError> {
        match self.consumer.available(Frame::HEADER)? {
            0 => return Ok(None),
            // It was not published as a whole.
            available if available < Frame::HEADER => return Err(RecvError::Corrupt),
            _ => {}
        }
        // Once: what is checked is what is used.
        let frame = Frame::decode(self.consumer.word()).ok_or(RecvError::Corrupt)?;
        let size = frame.size_within(self.consumer.capacity()).ok_or(RecvError::Corrupt)?;
        if self.consumer.available(size)? < size {
            return Err(RecvError::Corrupt);
        }
        Ok(Some((frame, size)))
    }

    /// The length of a message that is in the ring as a whole.
    #[inline]
    fn check_whole(&self, frame: Frame) -> Result<usize, RecvError> {
        // It lies in the ring, so its length is one of this process's memory.
        let length = frame.length as usize;
        match self.partial {
            Some(_) => Err(RecvError::Corrupt),
            None if length > self.limit => Err(RecvError::TooLong { length: frame.length, limit: self.limit }),
            None => Ok(length),
        }
    }

    /// Takes the first frame of a long message out of the ring.
    fn begin(&mut self, frame: Frame, size: usize, lane: &Lane) -> Result<(), RecvError> {
        if self.partial.is_some() {
            return Err(RecvError::Corrupt);
        }
        let limit = self.limit;
        let total = usize::try_from(frame.length).ok().filter(|&total| total <= limit);
        let total = total.ok_or(RecvError::TooLong { length: frame.length, limit })?;
        // As much as comes, not as much as is announced.
        let bytes = Vec::with_capacity(total.min(Self::AT_FIRST));
        // Now, before any other message's: they come in the order of first frames.
        let descriptors = lane.recv(frame.descriptors);
        let received = Received { bytes, descriptors };
        self.hold(&received);
        self.collect(received, total);
        self.consumer.release(size);
        Ok(())
    }

    /// Takes a further frame of a long message out of the ring.
    fn go_on(&mut self, frame: Frame, size: usize) -> Result<(), RecvError> {
        let Some((mut received, total)) = self.partial.take() else { return Err(RecvError::Corrupt) };
        let length = frame.length as usize;
        match frame.kind {
            Kind::Part if length > 0 && length <= total - received.bytes.len() => {
                self.consumer.append(Frame::HEADER, length, &mut received.bytes);
                self.held += length;
                self.collect(received, total);
            }
            Kind::Abort => self.let_go(&received),
            _ => return Err(RecvError::Corrupt),
        }
        self.consumer.release(size);
        Ok(())
    }

    /// Counts what a message takes up.
    fn hold(&mut self, received: &Received) {
        self.held += received.bytes.len() + Self::BESIDES;
        self.held_descriptors += received.descriptor_count();
    }

    fn let_go(&mut self, received: &Received) {
        self.held -= received.bytes.len() + Self::BESIDES;
        self.held_descriptors -= received.descriptor_count();
    }

    /// Puts a long message aside if it is whole, and keeps it for more of it otherwise.
    fn collect(&mut self, received: Received, total: usize) {
        if received.bytes.len() == total {
            self.put_aside(received);
        } else {
            self.partial = Some((received, total));
        }
    }

    /// A copy of the message at the head of the ring, and its descriptors.
    #[inline]
    fn copy_out(&self, length: usize, descriptors: u8, lane: &Lane) -> Received {
        let mut bytes = Vec::new();
        self.consumer.append(Frame::HEADER, length, &mut bytes);
        Received { bytes, descriptors: lane.recv(descriptors) }
    }

    /// Before it is released from the ring, so that whoever sees it gone from there sees it here.
    fn put_aside(&mut self, received: Received) {
        self.aside.push_back(received);
        // Release, but the one that counts is that of the ring's head, which follows.
        self.has_aside.store(true, Ordering::Release);
    }

    /// Receives the message that was found.
    #[inline]
    pub(super) fn take(&mut self, found: Found, lane: &Lane) -> Received {
        match found {
            Found::InRing { length, descriptors } => {
                let received = self.copy_out(length, descriptors, lane);
                // Last: a sender that waits for room waits for room among the descriptors, too.
                self.consumer.release(Frame::size(length));
                received
            }
            Found::Aside { .. } => self.take_aside(),
        }
    }

    /// Receives the message that was found into `bytes`, which are as long: its descriptors.
    #[inline]
    pub(super) fn take_into(&mut self, found: Found, bytes: &mut [u8], lane: &Lane) -> io::Result<Vec<OwnedFd>> {
        match found {
            Found::InRing { descriptors, .. } => {
                self.consumer.get(Frame::HEADER, bytes);
                let descriptors = lane.recv(descriptors);
                self.consumer.release(Frame::size(bytes.len()));
                descriptors
            }
            Found::Aside { .. } => {
                let received = self.take_aside();
                bytes.copy_from_slice(&received.bytes);
                received.descriptors
            }
        }
    }

    /// The message that was taken out first, which was found.
    fn take_aside(&mut self) -> Received {
        let Some(received) = self.aside.pop_front() else { unreachable!("it was found, and nothing was taken since") };
        self.let_go(&received);
        if self.aside.is_empty() {
            self.has_aside.store(false, Ordering::Release);
        }
        received
    }
}
