//! The one routine that copies bytes into and out of segments.
//!
//! On some processors (Zen 3 with glibc's default tuning, for one) a `memcpy` of 4 KiB or more whose target lies a few bytes
//! off its source, relative to a page, falls from 50 to 2 GB/s: the library switches to `rep movsb`, and that is the case
//! which it handles badly. Large heap buffers usually *are* a little off. Copying in pieces of 1 KiB stays below the switch
//! and keeps full speed at every offset; `cargo bench -p shmkit-benches --bench copy` shows both.

#![allow(unsafe_code)]

use crate::crash;

/// Bytes per piece: below every threshold at which a C library turns to string instructions.
const PIECE: usize = 1024;

/// Copies `length` bytes from `source` to `target`.
///
/// # Safety
///
/// `source` must be readable and `target` writable for `length` bytes, and the two must not overlap. Nobody else may write
/// either range, or read `target`, meanwhile.
#[inline]
#[cfg_attr(crash_points, track_caller)]
pub unsafe fn copy(source: *const u8, target: *mut u8, length: usize) {
    crash::site("copy");
    let mut done = 0;
    while length - done >= PIECE {
        // SAFETY: `done + PIECE <= length`, and the caller vouches for `length` bytes on both sides.
        unsafe { piece(source, target, done, PIECE) };
        // Opaque, because the optimiser, where it knows that the two do not overlap, would make one `memcpy` of the loop again.
        done = std::hint::black_box(done + PIECE);
        crash::site("copy next piece");
    }
    // SAFETY: what remains of `length`.
    unsafe { piece(source, target, done, length - done) };
}

/// Copies `length` bytes that start at `offset` of both.
///
/// # Safety
///
/// As [`copy`], for the range given.
#[inline(always)]
unsafe fn piece(source: *const u8, target: *mut u8, offset: usize, length: usize) {
    // SAFETY: the caller vouches for the range.
    let from = unsafe { source.add(offset) };
    // SAFETY: the caller vouches for the range.
    let to = unsafe { target.add(offset) };
    // SAFETY: the caller vouches for the ranges, that they do not overlap, and that nobody else writes them.
    unsafe { std::ptr::copy_nonoverlapping(from, to, length) };
}
