//! A segment is believed only if everything about it is right: every truncation and every flipped bit of a small one.
//!
//! The segments are made by hand, from the bytes of a real one: its header, a table of two peers, and a little object.
//! `fuzz/` goes on where exhaustion ends.
#![cfg(not(loom))]

mod journal;

use journal::{Journal, anonymous, pack, reopen, unpack};
use rustix::fs::{MemfdFlags, SealFlags};
use shmkit_segment::{Error, LAYOUT_VERSION, Segment, kind};
use std::fs::File;
use std::io::{Read, Write};
use std::ops::Range;
use std::os::fd::OwnedFd;

const PEERS: usize = 2;
const HEADER: usize = 256;
const TABLE: Range<usize> = HEADER..HEADER + PEERS * 128;
/// The state of the entry that is kept for the receiver of [`whole`].
const OWN_STATE: Range<usize> = HEADER + 128..HEADER + 132;

const NO_SEALS: SealFlags = SealFlags::empty();
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// The bytes of a whole segment, and a handle on its way to whoever will be its peer 1.
fn whole() -> (Vec<u8>, String) {
    let (handle, descriptors) = pack(&anonymous(PEERS).role(0));
    let mut bytes = Vec::new();
    File::from(reopen(&descriptors[0])).read_to_end(&mut bytes).unwrap();
    (bytes, handle)
}

fn memory_file(content: &[u8], seals: SealFlags) -> OwnedFd {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = File::from(rustix::fs::memfd_create(c"test", flags).unwrap());
    file.write_all(content).unwrap();
    rustix::fs::fcntl_add_seals(&file, seals).unwrap();
    file.into()
}

fn verify(content: &[u8]) -> Result<(), Error> {
    Segment::<Journal>::verify(&memory_file(content, SEALS)).map(drop)
}

fn flipped(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut flipped = bytes.to_vec();
    flipped[bit / 8] ^= 1 << (bit % 8);
    flipped
}

#[test]
fn a_whole_segment_is_verified_and_its_configuration_read() {
    let (bytes, _) = whole();
    assert_eq!(Segment::<Journal>::verify(&memory_file(&bytes, SEALS)).unwrap(), journal::configuration(32));
}

#[test]
fn every_truncation_is_an_error() {
    let (bytes, handle) = whole();
    for length in 0..bytes.len() {
        let outcome = verify(&bytes[..length]);
        let expected = match length {
            0 => matches!(outcome, Err(Error::Incomplete)),
            1..6 => matches!(outcome, Err(Error::NotASegment { .. })),
            _ => matches!(outcome, Err(Error::Corrupt(_))),
        };
        assert!(expected, "{length}: {outcome:?}");
        let file = memory_file(&bytes[..length], SEALS);
        let life = reopen(&file);
        assert!(unpack::<Journal>(&handle, vec![file, life]).is_err(), "{length}");
    }
}

#[test]
fn a_segment_that_is_too_long_is_corrupt() {
    let (mut bytes, _) = whole();
    for more in [1, 4096] {
        bytes.resize(bytes.len() + more, 0);
        assert!(matches!(verify(&bytes), Err(Error::Corrupt(_))), "{more}");
    }
}

#[test]
fn each_flipped_bit_is_the_error_of_its_field_or_harmless() {
    let (bytes, _) = whole();
    for bit in 0..TABLE.end * 8 {
        let outcome = verify(&flipped(&bytes, bit));
        let expected = match bit / 8 {
            0..8 => matches!(outcome, Err(Error::NotASegment { .. })),
            8..16 => matches!(outcome, Err(Error::Incompatible { .. })),
            16..20 | 24..40 => matches!(outcome, Err(Error::WrongObject { .. })),
            // The numbers that the layout follows from, the length itself, and the mark of completeness.
            20..24 | 64..72 | 40..48 | 128..132 => matches!(outcome, Err(Error::Corrupt(_))),
            48..56 => matches!(outcome, Err(Error::EarlierBoot)),
            // Numbers that this object does not use, when it was created, advice, sides, padding, and who is attached.
            _ => outcome.is_ok(),
        };
        assert!(expected, "bit {} of byte {}: {outcome:?}", bit % 8, bit / 8);
    }
}

/// The rest of a segment changes all the time, so nothing in it can be checked on attaching; it must not be trusted later either.
#[test]
fn whoever_attaches_in_spite_of_a_flipped_bit_can_work_and_leave() {
    let (bytes, handle) = whole();
    for bit in 0..bytes.len() * 8 {
        let content = flipped(&bytes, bit);
        let file = memory_file(&content, SEALS);
        let life = reopen(&file);
        let attached = unpack::<Journal>(&handle, vec![file, life]);
        let expected = verify(&content).is_ok() && !OWN_STATE.contains(&(bit / 8));
        assert_eq!(attached.is_ok(), expected, "bit {} of byte {}: {:?}", bit % 8, bit / 8, attached.err());
        let Ok(role) = attached else { continue };
        // The peer that made the original is not there. If a flip took its entry away, there is nobody to be reaped.
        let segment = role.segment();
        assert!(segment.reap_dead() <= 1);
        assert_eq!(segment.peer_count(), 1);
        let other = segment.join().unwrap();
        assert_eq!(segment.peer_count(), 2);
        drop((other.role(0), role.clone(), other.role(3)));
    }
}

#[test]
fn what_is_not_a_segment_says_what_it_starts_with() {
    let (bytes, _) = whole();
    let text = [b"#!/bin/sh\n".as_slice(), &bytes[10..]].concat();
    let found = u64::from_le_bytes(*b"#!/bin/s");
    assert!(matches!(verify(&text), Err(Error::NotASegment { found: it }) if it == found));
}

#[test]
fn a_segment_whose_creator_died_is_incomplete() {
    let (mut bytes, _) = whole();
    bytes[128..132].fill(0);
    assert!(matches!(verify(&bytes), Err(Error::Incomplete)));
    bytes.fill(0);
    assert!(matches!(verify(&bytes), Err(Error::Incomplete)));
}

#[test]
fn another_version_is_incompatible_and_named() {
    let (mut bytes, _) = whole();
    bytes[8..12].copy_from_slice(&(LAYOUT_VERSION + 1).to_le_bytes());
    let outcome = verify(&bytes);
    let next = u64::from(LAYOUT_VERSION) + 1;
    assert!(matches!(outcome, Err(Error::Incompatible { what: "layout version", found, .. }) if found == next));
}

#[test]
fn another_kind_another_payload_and_another_tag_are_told_apart() {
    let file = memory_file(&whole().0, SEALS);
    let what = |outcome: Result<_, Error>| match outcome {
        Err(Error::WrongObject { what, found, expected }) if found != expected => what,
        other => panic!("{other:?}"),
    };
    const TEST: u32 = kind(b"TEST");
    assert_eq!(what(Segment::<Journal<{ kind(b"ELSE") }>>::verify(&file)), "kind");
    assert_eq!(what(Segment::<Journal<TEST, 16>>::verify(&file)), "size and alignment of the payload");
    assert_eq!(what(Segment::<Journal<TEST, 8, 1>>::verify(&file)), "tag");
}

#[test]
fn a_file_that_can_change_its_size_is_not_sealed() {
    let (bytes, _) = whole();
    let not_sealed = |outcome| matches!(outcome, Err(Error::NotSealed));
    for missing in [SEALS, SealFlags::SHRINK, SealFlags::GROW, SealFlags::SEAL] {
        let file = memory_file(&bytes, SEALS - missing);
        assert!(not_sealed(Segment::<Journal>::verify(&file)), "{missing:?}");
    }
    let mut ordinary = tempfile::tempfile().unwrap();
    ordinary.write_all(&bytes).unwrap();
    assert!(not_sealed(Segment::<Journal>::verify(&ordinary)));
    assert!(not_sealed(Segment::<Journal>::verify(&std::io::pipe().unwrap().0)));
}

#[test]
fn a_file_that_cannot_be_written_cannot_be_attached_to() {
    let (bytes, handle) = whole();
    let refuses = |data: OwnedFd, life| {
        let refusal = unpack::<Journal>(&handle, vec![data, life]).err().unwrap().to_string();
        assert!(refusal.contains("cannot map the segment"), "{refusal}");
    };
    let read_only = memory_file(&bytes, NO_SEALS);
    rustix::fs::fcntl_add_seals(&read_only, SEALS | SealFlags::FUTURE_WRITE).unwrap();
    let life = reopen(&read_only);
    refuses(read_only, life);
    let file = memory_file(&bytes, SEALS);
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
    refuses(File::open(path).unwrap().into(), reopen(&file));
}

#[test]
fn the_lock_of_another_file_is_not_accepted() {
    let (bytes, handle) = whole();
    let (data, other) = (memory_file(&bytes, SEALS), memory_file(&bytes, SEALS));
    let refusal = unpack::<Journal>(&handle, vec![data, other]).err().unwrap().to_string();
    assert!(refusal.contains("the lock of another file"), "{refusal}");
}
