//! What is common to those who hand over buffers in place: a message's number, which is written into the buffer and read from it there.

use serde::{Deserialize, Serialize};

const NUMBER: usize = size_of::<u64>();

/// An end of a queue of buffers, whose messages have `length` bytes each.
#[derive(Serialize, Deserialize)]
pub struct InPlace<T> {
    pub end: T,
    pub length: usize,
}

/// Makes the buffer, which is written nowhere else, message `value`.
#[inline(always)]
pub fn write(buffer: &mut [u8], value: u64) {
    buffer[..NUMBER].copy_from_slice(&value.to_ne_bytes());
}

/// The message's number, if it is as long as it should be.
#[inline(always)]
pub fn read(buffer: &[u8], length: usize) -> u64 {
    assert!(buffer.len() == length, "{} bytes came instead of {length}", buffer.len());
    u64::from_ne_bytes(std::array::from_fn(|index| buffer[index]))
}
