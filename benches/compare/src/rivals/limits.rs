//! What the machine itself allows: two processes that share two words and nothing else.

use crate::peers::backoff::until_soon;
use crate::peers::handover::Signal;
use crate::peers::shared::{Shared, Words};
use crate::peers::trip::Duplex;
use anyhow::Result;
use rustix::thread::futex;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// On lines of its own.
#[repr(C, align(128))]
struct Line<T>(T);

#[repr(C)]
struct Words64([Line<AtomicU64>; 2]);

// SAFETY: atomics only, for which zeros are values, aligned to 128 bytes.
unsafe impl Words for Words64 {}

#[repr(C)]
struct Words32([Line<AtomicU32>; 2]);

// SAFETY: as above.
unsafe impl Words for Words32 {}

/// One side of a ping-pong on two cache lines: each writes one and watches the other.
///
/// A word holds a value and one more, so that zero is none, and every value differs from the one before.
#[derive(Serialize, Deserialize)]
pub struct RawAtomics {
    words: Shared<Words64>,
    side: usize,
    seen: u64,
}

impl RawAtomics {
    /// Both sides.
    pub fn pair() -> Result<[Self; 2]> {
        let words = Shared::<Words64>::new()?;
        Ok([0, 1].map(|side| Self { words: words.clone(), side, seen: 0 }))
    }
}

impl Duplex for RawAtomics {
    fn send(&mut self, value: u64) {
        self.words.0[self.side].0.store(value + 1, Ordering::Release);
    }

    fn receive(&mut self) -> u64 {
        let word = &self.words.0[1 - self.side].0;
        let last = self.seen;
        self.seen = until_soon(|| Some(word.load(Ordering::Acquire)).filter(|&found| found != last));
        self.seen - 1
    }
}

/// The same with the kernel's help: each sleeps until the other has written, and wakes it after writing.
///
/// Nobody spins, and every answer makes two system calls: the least that sleeping and waking cost.
#[derive(Serialize, Deserialize)]
pub struct Futex {
    words: Shared<Words32>,
    side: usize,
    seen: u32,
}

impl Futex {
    /// Both sides.
    pub fn pair() -> Result<[Self; 2]> {
        let words = Shared::<Words32>::new()?;
        Ok([0, 1].map(|side| Self { words: words.clone(), side, seen: 0 }))
    }
}

impl Duplex for Futex {
    fn send(&mut self, value: u64) {
        let word = &self.words.0[self.side].0;
        // The futex word has 32 bits; rounds are far shorter.
        word.store(value as u32 + 1, Ordering::Release);
        futex::wake(word, futex::Flags::empty(), 1).expect("the word is mapped");
    }

    fn receive(&mut self) -> u64 {
        let word = &self.words.0[1 - self.side].0;
        loop {
            let found = word.load(Ordering::Acquire);
            if found != self.seen {
                self.seen = found;
                return u64::from(found - 1);
            }
            // Refused or interrupted, it is looked at again all the same.
            let _ = futex::wait(word, futex::Flags::empty(), found, None);
        }
    }
}

/// What is sent is how many times something was sent before.
impl Signal for Futex {
    fn wake(&mut self) {
        let sent = self.words.0[self.side].0.load(Ordering::Relaxed);
        self.send(u64::from(sent));
    }

    fn sleep(&mut self) {
        self.receive();
    }
}
