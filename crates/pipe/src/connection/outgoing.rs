//! Messages on their way into a ring.

use super::frame::{Frame, Kind};
use crate::ring::{Corrupt, Producer};

/// The sending half of a connection.
pub(super) struct Outgoing {
    producer: Producer,
    /// A message was begun. If it is not gone on with, it is aborted before the next one.
    pub(super) is_open: bool,
}

/// A message that is being sent.
pub(super) struct Message<'a> {
    bytes: &'a [u8],
    descriptors: u8,
    /// How many bytes have been sent, once it was begun.
    sent: Option<usize>,
}

impl<'a> Message<'a> {
    #[inline]
    pub(super) fn new(bytes: &'a [u8], descriptors: u8) -> Self {
        Self { bytes, descriptors, sent: None }
    }

    #[inline]
    fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether its first frame was sent.
    #[inline]
    pub(super) fn has_begun(&self) -> bool {
        self.sent.is_some()
    }
}

/// How far a message has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Sent,
    /// There is no room for what comes next.
    Full,
}

impl Outgoing {
    pub(super) fn new(producer: Producer, is_open: bool) -> Self {
        Self { producer, is_open }
    }

    /// Bytes of the longest message that is sent as a whole: one that lets the other side read while there is room for another.
    #[inline]
    fn whole(&self) -> usize {
        self.producer.capacity() / 4
    }

    /// Bytes of a part of a longer one.
    fn part(&self) -> usize {
        self.producer.capacity() / 8
    }

    /// Bytes of the longest message that there can ever be room for at once.
    pub(super) fn most(&self) -> usize {
        self.producer.capacity() - Frame::HEADER
    }

    /// Whether there is room for the first frame of a message now: for all of it, if `at_once`. Marks one that was begun and not gone on with as given up.
    #[inline]
    pub(super) fn is_ready_for(&mut self, message: &Message<'_>, at_once: bool) -> Result<bool, Corrupt> {
        if self.is_open {
            if !self.has_room(Frame::HEADER)? {
                return Ok(false);
            }
            self.frame(Kind::Abort, 0, 0, &[]);
            self.is_open = false;
        }
        let is_whole = at_once || message.len() <= self.whole();
        self.has_room(if is_whole { Frame::size(message.len()) } else { Frame::HEADER })
    }

    #[inline]
    fn has_room(&mut self, size: usize) -> Result<bool, Corrupt> {
        self.producer.room(size).map(|room| room >= size)
    }

    /// Sends what there is room for of a message that there was [room](Self::is_ready_for) for the first frame of.
    #[inline]
    pub(super) fn advance(&mut self, message: &mut Message<'_>, at_once: bool) -> Result<Progress, Corrupt> {
        if message.sent.is_none() && (at_once || message.len() <= self.whole()) {
            self.frame(Kind::Whole, message.len(), message.descriptors, message.bytes);
            return Ok(Progress::Sent);
        }
        self.advance_in_parts(message)
    }

    fn advance_in_parts(&mut self, message: &mut Message<'_>) -> Result<Progress, Corrupt> {
        let length = message.len();
        let mut sent = message.sent.unwrap_or_else(|| {
            self.frame(Kind::Begin, length, message.descriptors, &[]);
            self.is_open = true;
            0
        });
        while sent < length {
            let count = self.part().min(length - sent);
            if !self.has_room(Frame::size(count))? {
                message.sent = Some(sent);
                return Ok(Progress::Full);
            }
            self.frame(Kind::Part, count, 0, &message.bytes[sent..sent + count]);
            sent += count;
        }
        self.is_open = false;
        Ok(Progress::Sent)
    }

    /// Publishes a frame, for which there is room.
    #[inline]
    fn frame(&mut self, kind: Kind, length: usize, descriptors: u8, bytes: &[u8]) {
        self.producer.put_word(Frame::new(kind, length, descriptors).encode());
        self.producer.put(Frame::HEADER, bytes);
        self.producer.publish(Frame::size(bytes.len()));
    }
}
