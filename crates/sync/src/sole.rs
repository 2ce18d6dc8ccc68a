//! Objects that are one structure on a line of its own, and need no configuration: most of those in this crate.

use crate::Error;
use shmkit_segment::{At, Configuration, Line, Mapped, Memory, Object, PeerId, Plan, Shared};
use std::alloc::Layout;
use std::ops::Deref;

/// What such an object consists of.
pub trait Part: Shared {
    /// As [`Object::KIND`].
    const KIND: u32;

    /// The type whose size and alignment are compared on attaching.
    type Payload;

    /// As [`Object::sweep`].
    fn sweep(&self, _dead: PeerId) {}

    /// As [`Object::wake_all`].
    fn wake_all(&self);
}

/// The object that consists of one part. Its configuration is `Configuration::default()`.
pub struct Sole<P: Part>(Mapped<Line<P>>);

impl<P: Part> Object for Sole<P> {
    const KIND: u32 = P::KIND;
    const HARDENED: bool = true;
    type Parts = At<Line<P>>;

    fn payload() -> Layout {
        Layout::new::<P::Payload>()
    }

    fn plan(_: &Configuration, plan: &mut Plan) -> Result<Self::Parts, Error> {
        plan.one()
    }

    fn attach(memory: &Memory, parts: &Self::Parts) -> Self {
        Self(memory.one(*parts))
    }

    fn sweep(&self, dead: PeerId, _reaper: PeerId) {
        self.0.sweep(dead);
    }

    fn wake_all(&self) {
        self.0.wake_all();
    }
}

impl<P: Part> Deref for Sole<P> {
    type Target = P;

    #[inline]
    fn deref(&self) -> &P {
        &self.0
    }
}
