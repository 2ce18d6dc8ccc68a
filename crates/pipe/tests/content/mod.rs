//! The stream that tests send: each byte follows from its position, so that one that is lost, doubled or out of place shows.
#![allow(dead_code, reason = "each test uses a part")]

use std::io::Write;

/// The byte at `position`. No period is short enough for a ring to hide it.
pub(crate) fn byte(position: u64) -> u8 {
    (position.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

/// The `length` bytes from `position` on.
pub(crate) fn bytes(position: u64, length: usize) -> Vec<u8> {
    (0..length as u64).map(|ahead| byte(position + ahead)).collect()
}

/// Checks that `found` is what is at `position`.
#[track_caller]
pub(crate) fn check(position: u64, found: &[u8]) {
    let wrong = found.iter().zip(position..).find(|&(&found, position)| found != byte(position));
    assert_eq!(wrong, None, "a byte that does not belong at its position, of {} from {position} on", found.len());
}

/// Writes `length` bytes from `position` on, in pieces of many sizes.
pub(crate) fn write_pieces(writer: &mut impl Write, position: u64, length: usize) {
    let all = bytes(position, length);
    let mut rest = &all[..];
    for piece in (1..).map(|turn| turn * 7 % 3_000 + 1) {
        if rest.is_empty() {
            return;
        }
        let (now, later) = rest.split_at(piece.min(rest.len()));
        writer.write_all(now).expect("somebody reads");
        rest = later;
    }
}
