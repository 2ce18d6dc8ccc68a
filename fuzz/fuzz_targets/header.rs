//! Bytes that claim to be a segment: `verify` accepts them or says why not, and does nothing worse.
//!
//! The first byte of an input says what the others are:
//!
//! | first byte | the others | applied to |
//! |---|---|---|
//! | `b` | the whole file | |
//! | `m` | edits | a whole segment that holds an `Mpmc` queue |
//! | `u` | edits | a whole segment that holds a `Buffers` queue |
//!
//! An edit is three bytes: a place (little-endian, modulo the file's length) and the byte to write there. So a small change
//! of the input is one scribble in an otherwise valid segment, which random bytes would never come near.
//!
//! What is accepted must be as long as its numbers say, by arithmetic of the fuzzer's own that cannot overflow. An allocation that
//! follows from an unchecked number would meet the fuzzer's limit on memory.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use shmkit_fuzz::{bytes_of, sealed};
use shmkit_queue::buffer::{self, Buffers};
use shmkit_queue::mpmc::Mpmc;
use shmkit_segment::{Configuration, Error, Object, Options, Segment, transfer};
use std::fs::File;
use std::sync::LazyLock;

type Queue = Mpmc<u64>;

static MPMC: LazyLock<Vec<u8>> = LazyLock::new(|| whole::<Queue>([4, 0, 0, 0, 0, 0, 0, 0]));
static BUFFERS: LazyLock<Vec<u8>> = LazyLock::new(|| whole::<Buffers>(buffer::Settings::new(3, 40).into()));

/// The bytes of a segment as its creator leaves it, with a few places for peers.
fn whole<O: Object>(configuration: Configuration) -> Vec<u8> {
    let segment = Options::new().peers(2).anonymous::<O>(configuration).expect("a small segment");
    // The place that is kept for a peer that never comes is in use as long as the parcel is there.
    let parcel = transfer::sending(|| serde_json::to_string(&segment.role(0)));
    parcel.0.expect("a handle that can be sent");
    bytes_of(&segment)
}

fn edited(whole: &[u8], edits: &[u8]) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for edit in edits.chunks_exact(3) {
        let place = usize::from(u16::from_le_bytes([edit[0], edit[1]]));
        bytes[place % whole.len()] = edit[2];
    }
    bytes
}

fn verify<O: Object>(content: &[u8], file: &File, length: impl Fn(&Configuration) -> u128) {
    match Segment::<O>::verify(file) {
        Ok(configuration) => {
            let peers = u32::from_le_bytes(content[20..24].try_into().expect("four bytes"));
            // The header, the table of peers, and an empty line before the object.
            let before = 256 + 128 * u128::from(peers) + 128;
            assert_eq!(before + length(&configuration), content.len() as u128, "{configuration:?}, {peers} peers");
        }
        Err(
            Error::Corrupt(_)
            | Error::EarlierBoot
            | Error::Incompatible { .. }
            | Error::Incomplete
            | Error::NotASegment { .. }
            | Error::WrongObject { .. },
        ) => {}
        // The others are about the descriptor, which is as it must be, and about things that were not asked for.
        Err(error) => panic!("a strange reason: {error}"),
    }
}

/// Two indices, three event counts, the count of sweeps and the losses, each on a line of its own; then slots of a word and a value.
fn queue_length(&[capacity, ..]: &Configuration) -> u128 {
    7 * 128 + 16 * u128::from(capacity)
}

/// Five words on lines of their own, cells, tags, and buffers of up to seven sizes that start at multiples of 64.
fn buffers_length(&[a, b, c, d, e, f, g, _flags]: &Configuration) -> u128 {
    let classes = [a, b, c, d, e, f, g].map(|class| (u128::from(class >> 32), u128::from(class as u32)));
    let count: u128 = classes.iter().map(|(count, _)| count).sum();
    let cells_and_tags = 8 * count.next_power_of_two() + 24 * count;
    let buffers: u128 = classes.iter().map(|(count, size)| count * size.next_multiple_of(64)).sum();
    5 * 128 + cells_and_tags.next_multiple_of(64) + buffers
}

fuzz_target!(|input: &[u8]| -> Corpus {
    let Some((first, rest)) = input.split_first() else { return Corpus::Reject };
    let content = match first {
        b'b' => rest.to_vec(),
        b'm' => edited(&MPMC, rest),
        b'u' => edited(&BUFFERS, rest),
        _ => return Corpus::Reject,
    };
    let file = sealed(&content);
    verify::<Queue>(&content, &file, queue_length);
    verify::<Buffers>(&content, &file, buffers_length);
    Corpus::Keep
});
