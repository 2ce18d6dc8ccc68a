//! How messages lie in a ring.
//!
//! ```text
//! frame  = header: u64, then `length` bytes, then zeros or leftovers up to a multiple of 8
//! header = kind:8 | descriptors:8 | length:48           (from the least significant bit on)
//!
//! message, short   WHOLE(length, descriptors) bytes
//! message, long    BEGIN(length of all, descriptors)  PART(n) bytes  PART(n) bytes  …   until all have come
//! message, given up by its sender                     PART(n) bytes  ABORT
//! ```
//!
//! A frame is published as a whole, so that who sees its header sees all of it. Headers start at multiples of eight, so none goes round the end of the ring. Zero is no kind: a ring that somebody has
//! filled with zeros is corrupt and not full of empty messages.

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Whole = 1,
    Begin = 2,
    Part = 3,
    Abort = 4,
}

/// A header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    /// How many descriptors come with the message, beside the ring.
    pub(super) descriptors: u8,
    /// Of what follows; of a `Begin`, of the whole message.
    pub(super) length: u64,
}

impl Frame {
    pub(super) const HEADER: usize = 8;
    #[inline]
    pub(super) fn new(kind: Kind, length: usize, descriptors: u8) -> Self {
        Self { kind, descriptors, length: length as u64 }
    }

    #[inline]
    pub(super) fn encode(self) -> u64 {
        self.kind as u64 | u64::from(self.descriptors) << 8 | self.length << 16
    }

    /// What the header says, if it can be one.
    #[inline]
    pub(super) fn decode(word: u64) -> Option<Self> {
        let kind = match word as u8 {
            1 => Kind::Whole,
            2 => Kind::Begin,
            3 => Kind::Part,
            4 => Kind::Abort,
            _ => return None,
        };
        Some(Self { kind, descriptors: (word >> 8) as u8, length: word >> 16 })
    }

    /// Bytes of a frame with so many after its header.
    #[inline]
    pub(super) const fn size(length: usize) -> usize {
        Self::HEADER + length.next_multiple_of(8)
    }

    /// Bytes of this frame, of which there cannot be more than `most`.
    #[inline]
    pub(super) fn size_within(self, most: usize) -> Option<usize> {
        let length = match self.kind {
            Kind::Whole | Kind::Part => self.length,
            Kind::Begin | Kind::Abort => 0,
        };
        let length = usize::try_from(length).ok().filter(|&length| length <= most)?;
        Some(Self::size(length)).filter(|&size| size <= most)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{Frame, Kind};

    const LONGEST: u64 = (1 << 48) - 1;

    #[test]
    fn headers_come_back_as_they_were() {
        for kind in [Kind::Whole, Kind::Begin, Kind::Part, Kind::Abort] {
            for (descriptors, length) in [(0, 0), (253, 1), (255, LONGEST)] {
                let frame = Frame { kind, descriptors, length };
                assert_eq!(Frame::decode(frame.encode()), Some(frame));
            }
        }
    }

    #[test]
    fn what_is_no_kind_is_no_header() {
        for kind in (5..=255).chain([0]) {
            assert_eq!(Frame::decode(1 << 16 | kind), None);
        }
    }

    #[test]
    fn frames_that_cannot_lie_in_the_ring_have_no_size() {
        let frame = |kind, length| Frame { kind, descriptors: 0, length };
        assert_eq!(frame(Kind::Whole, 13).size_within(64), Some(24));
        assert_eq!(frame(Kind::Whole, 57).size_within(64), None);
        assert_eq!(frame(Kind::Part, LONGEST).size_within(1 << 20), None);
        assert_eq!(frame(Kind::Begin, LONGEST).size_within(64), Some(8));
    }
}
