//! Streams: blocks of bytes go from one process to another, as one stream.
//!
//! A block's words say where they belong. One word of each page is written anew for each block, the next one for the next block, so that all of a block differs from those
//! before and most of it stays: the sender must not be busy with making up what it sends. The receiver checks the words that are new, in each block, and now and then all of them.

use super::flow::Flow;
use super::gate::Gate;
use super::now;
use super::processes::{Ticket, finish, start};
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};

/// Bytes that are written and read at a time.
pub const BLOCK: usize = 64 << 10;
/// Of which each has a word that is new.
const PIECE: usize = PAGE;
const WORD: usize = size_of::<u64>();
const WORDS: u64 = (PIECE / WORD) as u64;
/// How often a block is checked from end to end.
const THOROUGH: u64 = 64;
const PAGE: usize = 4096;

/// One side's part.
#[derive(Serialize, Deserialize)]
struct Work<E> {
    gate: Gate,
    end: E,
    blocks: u64,
    offset: usize,
}

/// When it began and when it was done.
type Span = [u64; 2];

/// Moves `blocks` blocks between two processes, whose own buffers lie `offset` bytes behind the start of a page.
pub fn processes<S, R>(sender: S, receiver: R, blocks: u64, offset: usize) -> Result<Flow>
where
    S: Ticket<End: Write>,
    R: Ticket<End: Read>,
{
    let gate = Gate::new(2)?;
    let receiving = start(|work| receive(open(work)), Work { gate: gate.clone(), end: receiver, blocks, offset })?;
    let sending = start(|work| send(open(work)), Work { gate, end: sender, blocks, offset })?;
    Ok(Flow::new(blocks, finish(vec![receiving, sending])?.into_iter()))
}

fn open<T: Ticket>(work: Work<T>) -> Work<T::End> {
    let Work { gate, end, blocks, offset } = work;
    let end = end.open().unwrap_or_else(|error| panic!("a peer cannot open its end: {error:#}"));
    Work { gate, end, blocks, offset }
}

fn send<W: Write>(mut work: Work<W>) -> Span {
    let mut buffer = Buffer::new(work.offset);
    let block = buffer.block();
    work.gate.pass();
    let start = now();
    for number in 0..work.blocks {
        renew(block, number);
        work.end.write_all(block).expect("the receiver lives");
    }
    [start, now()]
}

fn receive<R: Read>(mut work: Work<R>) -> Span {
    let mut buffer = Buffer::new(work.offset);
    let block = buffer.block();
    work.gate.pass();
    let start = now();
    for number in 0..work.blocks {
        work.end.read_exact(block).expect("the sender lives");
        check(block, number);
    }
    [start, now()]
}

/// Memory for a block at a certain place.
struct Buffer {
    memory: Vec<u8>,
    start: usize,
}

impl Buffer {
    fn new(offset: usize) -> Self {
        let memory = vec![0; BLOCK + PAGE + offset];
        let start = memory.as_ptr().align_offset(PAGE) + offset;
        Self { memory, start }
    }

    fn block(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..][..BLOCK]
    }
}

/// What stands in a piece of block `number` where that is new: no two are the same, and none is zero.
fn mark(number: u64, piece: u64) -> u64 {
    number * (BLOCK / PIECE) as u64 + piece + 1
}

/// Makes block `number` of the one before it, or of zeros.
fn renew(block: &mut [u8], number: u64) {
    let place = (number % WORDS) as usize * WORD;
    for (bytes, piece) in block.chunks_exact_mut(PIECE).zip(0..) {
        bytes[place..place + WORD].copy_from_slice(&mark(number, piece).to_ne_bytes());
    }
}

fn check(block: &[u8], number: u64) {
    let place = (number % WORDS) as usize * WORD;
    for (bytes, piece) in block.chunks_exact(PIECE).zip(0..) {
        assert!(word(&bytes[place..]) == mark(number, piece), "block {number} is not the one that was sent");
    }
    if number % THOROUGH == THOROUGH - 1 {
        check_all(block, number);
    }
}

fn check_all(block: &[u8], number: u64) {
    for (bytes, piece) in block.chunks_exact(PIECE).zip(0..) {
        for (bytes, word_number) in bytes.chunks_exact(WORD).zip(0..) {
            // The last block, up to this one, in which the word was new.
            let since = number.checked_sub((number + WORDS - word_number) % WORDS);
            let expected = since.map_or(0, |number| mark(number, piece));
            assert!(word(bytes) == expected, "a part of block {number} is not what was sent");
        }
    }
}

fn word(bytes: &[u8]) -> u64 {
    u64::from_ne_bytes(std::array::from_fn(|index| bytes[index]))
}

#[cfg(test)]
mod tests {
    use super::{BLOCK, Buffer, WORDS, check, renew};

    #[test]
    fn blocks_pass_that_come_as_they_were_sent() {
        for offset in [0, 16] {
            let mut buffer = Buffer::new(offset);
            for number in 0..2 * WORDS {
                renew(buffer.block(), number);
                check(buffer.block(), number);
            }
        }
    }

    #[test]
    #[should_panic(expected = "block 9 is not the one that was sent")]
    fn the_block_before_is_found_out_at_once() {
        let mut block = vec![0; BLOCK];
        renew(&mut block, 8);
        check(&block, 9);
    }

    #[test]
    #[should_panic(expected = "a part of block 191 is not what was sent")]
    fn a_byte_that_is_wrong_is_found_out_sooner_or_later() {
        let mut block = vec![0; BLOCK];
        (0..192).for_each(|number| renew(&mut block, number));
        block[BLOCK - 1] += 1;
        check(&block, 190);
        check(&block, 191);
    }
}
