//! How far the other side is trusted.

use shmkit_segment::transfer::Reach;

/// How far those who share a pipe or a connection trust each other: [`Family`] or [`Stranger`].
pub trait Trust: sealed::Sealed + Send + Sync + 'static {
    /// Who is at the other end.
    #[doc(hidden)]
    const REACH: Reach;
    /// Whether the memory can be shared with any program, so that nothing refers to it in place: see
    /// [`Object::HARDENED`](shmkit_segment::Object::HARDENED).
    #[doc(hidden)]
    const IS_HARDENED: bool = matches!(Self::REACH, Reach::Stranger);
    /// A letter for the kind of a segment.
    #[doc(hidden)]
    const LETTER: u8;
}

/// Processes that run this same program and have been given their ends as arguments, results or messages: they keep to the protocol. Bytes can be looked at in place.
#[derive(Debug)]
pub enum Family {}

/// Any program: whatever it writes into the memory that is shared with it, what is read from there are some bytes or an error. Bytes are copied.
#[derive(Debug)]
pub enum Stranger {}

impl Trust for Family {
    const REACH: Reach = Reach::Family;
    const LETTER: u8 = b'F';
}

impl Trust for Stranger {
    const REACH: Reach = Reach::Stranger;
    const LETTER: u8 = b'S';
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Family {}
    impl Sealed for super::Stranger {}
}
