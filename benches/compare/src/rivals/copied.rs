//! What is common to those through which messages of some length are copied: a message's number, which is its first word and its last.

use serde::{Deserialize, Serialize};

const NUMBER: usize = size_of::<u64>();

/// An end of a channel whose messages have `length` bytes each.
#[derive(Serialize, Deserialize)]
pub struct Copied<T> {
    pub end: T,
    pub length: usize,
}

impl<T> Copied<T> {
    /// Room for a message.
    pub fn buffer(&self) -> Vec<u8> {
        vec![0; self.length]
    }
}

/// Makes the buffer, which is written nowhere else, message `value`.
#[inline(always)]
pub fn write(message: &mut [u8], value: u64) {
    let number = value.to_ne_bytes();
    message[..NUMBER].copy_from_slice(&number);
    let last = message.len() - NUMBER;
    message[last..].copy_from_slice(&number);
}

/// The message's number, if it is as long as it should be, and all of it has come.
#[inline(always)]
pub fn read(message: &[u8], length: usize) -> u64 {
    assert!(message.len() == length, "{} bytes came instead of {length}", message.len());
    let number = |at: usize| u64::from_ne_bytes(std::array::from_fn(|index| message[at + index]));
    let [first, last] = [number(0), number(length - NUMBER)];
    assert!(first == last, "a message begins as {first} and ends as {last}");
    first
}
