//! Messages on their way out of a ring.

use super::RecvError;
use super::frame::{Frame, Kind};
use crate::ring::Consumer;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The receiving half of a connection.
pub(super) struct Incoming {
    consumer: Consumer,
    /// A long message, as far as it has come.
    partial: Option<Partial>,
    /// Messages that were taken out of the ring and not received yet, the oldest first.
    aside: VecDeque<Aside>,
    /// Whether there are such. Shared with those who wait for a message without having the connection.
    has_aside: Arc<AtomicBool>,
    /// Bytes of the partial message, and of those that were taken out.
    held: usize,
    /// The most bytes of a message, and of `held`.
    pub(super) limit: usize,
}

struct Partial {
    total: usize,
    descriptors: u8,
    bytes: Vec<u8>,
}

/// A message in this process's own memory.
pub(super) struct Aside {
    pub(super) descriptors: u8,
    pub(super) bytes: Vec<u8>,
}

/// A message that can be received.
#[derive(Clone, Copy)]
pub(super) enum Found {
    InRing { length: usize, descriptors: u8 },
    Aside { length: usize },
}

/// What went wrong with the descriptors of a message that was given up.
pub(super) type Discard<'a> = &'a mut dyn FnMut(u8) -> Result<(), RecvError>;

impl Incoming {
    /// How much is allotted for a long message before any of it has come.
    const AT_FIRST: usize = 1 << 16;

    pub(super) fn new(consumer: Consumer, limit: usize) -> Self {
        let has_aside = Arc::new(AtomicBool::new(false));
        Self { consumer, partial: None, aside: VecDeque::new(), has_aside, held: 0, limit }
    }

    /// Whether all that has come is in the ring.
    pub(super) fn is_clean(&self) -> bool {
        self.partial.is_none() && self.aside.is_empty()
    }

    pub(super) fn has_aside(&self) -> &Arc<AtomicBool> {
        &self.has_aside
    }

    /// The next message, if it is whole. Takes the parts of a long one out of the ring. `discard` gets rid of the descriptors of one that its sender has given up.
    pub(super) fn look(&mut self, discard: Discard<'_>) -> Result<Option<Found>, RecvError> {
        loop {
            if let Some(aside) = self.aside.front() {
                return Ok(Some(Found::Aside { length: aside.bytes.len() }));
            }
            let Some((frame, size)) = self.header()? else { return Ok(None) };
            if frame.kind == Kind::Whole {
                let length = self.check_whole(frame)?;
                return Ok(Some(Found::InRing { length, descriptors: frame.descriptors }));
            }
            self.take_part(frame, size, self.limit, discard)?;
        }
    }

    /// Takes messages out of the ring, so that the other side has room, as long as the limit allows.
    pub(super) fn take_in(&mut self, discard: Discard<'_>) -> Result<(), RecvError> {
        while let Some((frame, size)) = self.header()? {
            let left = self.limit.saturating_sub(self.held);
            if frame.kind == Kind::Whole {
                let length = self.check_whole(frame)?;
                if length > left {
                    return Ok(());
                }
                let mut bytes = Vec::new();
                self.consumer.append(Frame::HEADER, length, &mut bytes);
                self.held += length;
                self.put_aside(Aside { descriptors: frame.descriptors, bytes });
                self.consumer.release(size);
            } else if frame.kind == Kind::Begin && frame.length > left as u64 {
                return Ok(());
            } else {
                self.take_part(frame, size, left, discard)?;
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
        let mut header = [0; Frame::HEADER];
        self.consumer.get(0, &mut header);
        let frame = Frame::decode(header).ok_or(RecvError::Corrupt)?;
        let size = frame.size_within(self.consumer.capacity()).ok_or(RecvError::Corrupt)?;
        if self.consumer.available(size)? < size {
            return Err(RecvError::Corrupt);
        }
        Ok(Some((frame, size)))
    }

    /// The length of a message that is in the ring as a whole.
    fn check_whole(&self, frame: Frame) -> Result<usize, RecvError> {
        // It lies in the ring, so its length is one of this process's memory.
        let length = frame.length as usize;
        match self.partial {
            Some(_) => Err(RecvError::Corrupt),
            None if length > self.limit => Err(RecvError::TooLong { length: frame.length, limit: self.limit }),
            None => Ok(length),
        }
    }

    /// Takes a frame of a long message out of the ring.
    fn take_part(&mut self, frame: Frame, size: usize, limit: usize, discard: Discard<'_>) -> Result<(), RecvError> {
        let mut partial = match (frame.kind, self.partial.take()) {
            (Kind::Begin, None) => {
                let total = usize::try_from(frame.length).ok().filter(|&total| total <= limit);
                let total = total.ok_or(RecvError::TooLong { length: frame.length, limit })?;
                // As much as comes, not as much as is announced.
                let bytes = Vec::with_capacity(total.min(Self::AT_FIRST));
                Partial { total, descriptors: frame.descriptors, bytes }
            }
            (Kind::Part, Some(mut partial)) => {
                let length = frame.length as usize;
                if length == 0 || length > partial.total - partial.bytes.len() {
                    return Err(RecvError::Corrupt);
                }
                self.consumer.append(Frame::HEADER, length, &mut partial.bytes);
                self.held += length;
                partial
            }
            (Kind::Abort, Some(partial)) => {
                self.held -= partial.bytes.len();
                self.consumer.release(size);
                return discard(partial.descriptors);
            }
            _ => return Err(RecvError::Corrupt),
        };
        if partial.bytes.len() == partial.total {
            let bytes = std::mem::take(&mut partial.bytes);
            self.put_aside(Aside { descriptors: partial.descriptors, bytes });
        } else {
            self.partial = Some(partial);
        }
        self.consumer.release(size);
        Ok(())
    }

    /// Before it is released from the ring, so that whoever sees it gone from there sees it here.
    fn put_aside(&mut self, aside: Aside) {
        self.aside.push_back(aside);
        // Release, but the one that counts is that of the ring's head, which follows.
        self.has_aside.store(true, Ordering::Release);
    }

    /// Receives the message that was found first of those that were taken out.
    pub(super) fn take_aside(&mut self) -> Option<Aside> {
        let aside = self.aside.pop_front()?;
        self.held -= aside.bytes.len();
        if self.aside.is_empty() {
            self.has_aside.store(false, Ordering::Release);
        }
        Some(aside)
    }

    /// Appends the message that was found in the ring to `bytes`, and gives its room back.
    #[inline]
    pub(super) fn append(&mut self, length: usize, bytes: &mut Vec<u8>) {
        self.consumer.append(Frame::HEADER, length, bytes);
        self.consumer.release(Frame::size(length));
    }

    /// Copies the message that was found in the ring to `bytes`, which are as long, and gives its room back.
    #[inline]
    pub(super) fn copy(&mut self, bytes: &mut [u8]) {
        self.consumer.get(Frame::HEADER, bytes);
        self.consumer.release(Frame::size(bytes.len()));
    }
}
