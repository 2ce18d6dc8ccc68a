//! The routines that copy bytes into and out of segments: [`copy`] where nobody else touches them meanwhile, [`copy_in`] and [`copy_out`] where somebody might.
//!
//! On some processors (Zen 3 with glibc's default tuning, for one) a `memcpy` of 4 KiB or more whose target lies a few bytes
//! off its source, relative to a page, falls from 50 to 2 GB/s: the library switches to `rep movsb`, and that is the case
//! which it handles badly. Large heap buffers usually *are* a little off. Copying in pieces of 1 KiB stays below the switch
//! and keeps full speed at every offset; `cargo bench -p shmkit-benches --bench copy` shows both.

#![allow(unsafe_code)]

use crate::crash;

#[cfg(not(loom))]
pub(crate) use racing::{copy_in, copy_out};

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

/// Copying between this process's own memory and bytes that others may access at the same time.
///
/// The result is as if each byte, or each aligned word of eight, were loaded and stored by relaxed atomics: whatever others write meanwhile, what arrives is some bytes.
/// Wider steps are what makes it fast, because a processor can have only so many stores under way: with those of eight bytes, lines that must come from
/// another core come one after the other. The compiler may not join atomic accesses, so where it pays this is written in assembly. Nothing relies on a word not
/// being torn: values are read when an index says that they are whole, and any bytes at all are a value of a plain type.
#[cfg(not(loom))]
mod racing {
    #[cfg(not(target_arch = "x86_64"))]
    pub(crate) use by_words::{copy_in, copy_out};
    #[cfg(target_arch = "x86_64")]
    pub(crate) use wide::{copy_in, copy_out};

    #[cfg(target_arch = "x86_64")]
    mod wide {
        use std::arch::asm;

        /// Copies `length` bytes of this process's own into shared memory.
        ///
        /// # Safety
        /// So many bytes can be read at `source`, which nobody writes, and written at `target`; the two do not overlap.
        #[inline]
        pub(crate) unsafe fn copy_in(source: *const u8, target: *mut u8, length: usize) {
            if length < AHEAD {
                // SAFETY: the caller vouches for it.
                unsafe { copy::<0>(source, target, length) };
            } else {
                // SAFETY: as above.
                unsafe { copy_far_in(source, target, length) };
            }
        }

        /// Lines that another core has had last are asked for so many bytes before they are written, which lets a writer get ahead of its reader: what has left its
        /// core's own cache by the time that it is read comes several times faster. (Measured: 3 million messages of 4 KiB a second without it, 4 to 6 with it.)
        const AHEAD: usize = 1024;

        /// As [`copy_in`], for much.
        ///
        /// # Safety
        /// As [`copy_in`].
        #[inline(never)]
        unsafe fn copy_far_in(source: *const u8, target: *mut u8, length: usize) {
            // SAFETY: the caller vouches for it.
            unsafe { copy::<AHEAD>(source, target, length) };
        }

        /// Copies `length` bytes of shared memory to this process's own.
        ///
        /// # Safety
        /// So many bytes can be read at `source`, and written at `target`, which nobody else accesses; the two do not overlap.
        #[inline]
        pub(crate) unsafe fn copy_out(source: *const u8, target: *mut u8, length: usize) {
            // SAFETY: the caller vouches for it.
            unsafe { copy::<0>(source, target, length) };
        }

        /// # Safety
        /// So many bytes can be read at `source` and written at `target`, which do not overlap. What is this process's own of them is not accessed by anybody else meanwhile.
        #[inline(always)]
        unsafe fn copy<const AHEAD: usize>(mut source: *const u8, mut target: *mut u8, mut length: usize) {
            while length >= 64 {
                if AHEAD > 0 {
                    // SAFETY: a hint, for any address.
                    unsafe {
                        asm!("prefetchw [{target} + {ahead}]", target = in(reg) target, ahead = const AHEAD, options(nostack, preserves_flags, readonly))
                    };
                }
                // SAFETY: 64 bytes are left. Only the registers named are changed, and the memory at `target`.
                unsafe {
                    asm!(
                        "movups {a}, [{source}]",
                        "movups {b}, [{source} + 16]",
                        "movups {c}, [{source} + 32]",
                        "movups {d}, [{source} + 48]",
                        "movups [{target}], {a}",
                        "movups [{target} + 16], {b}",
                        "movups [{target} + 32], {c}",
                        "movups [{target} + 48], {d}",
                        source = in(reg) source,
                        target = in(reg) target,
                        a = out(xmm_reg) _,
                        b = out(xmm_reg) _,
                        c = out(xmm_reg) _,
                        d = out(xmm_reg) _,
                        options(nostack, preserves_flags)
                    );
                }
                (source, target) = (source.wrapping_add(64), target.wrapping_add(64));
                length -= 64;
            }
            while length >= 8 {
                // SAFETY: 8 bytes are left. Only the register named is changed, and the memory at `target`.
                unsafe {
                    asm!(
                        "mov {word}, [{source}]",
                        "mov [{target}], {word}",
                        source = in(reg) source,
                        target = in(reg) target,
                        word = out(reg) _,
                        options(nostack, preserves_flags)
                    );
                }
                (source, target) = (source.wrapping_add(8), target.wrapping_add(8));
                length -= 8;
            }
            for _ in 0..length {
                // SAFETY: a byte is left. Only the register named is changed, and the memory at `target`.
                unsafe {
                    asm!(
                        "mov {byte}, [{source}]",
                        "mov [{target}], {byte}",
                        source = in(reg) source,
                        target = in(reg) target,
                        byte = out(reg_byte) _,
                        options(nostack, preserves_flags)
                    );
                }
                (source, target) = (source.wrapping_add(1), target.wrapping_add(1));
            }
        }
    }

    /// For processors whose assembly is not written here: words where the shared side is aligned, bytes around them.
    #[cfg(any(test, not(target_arch = "x86_64")))]
    mod by_words {
        use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

        /// How many bytes lie before the first whole aligned word of `length` bytes from `shared` on, and how many words there are.
        fn parts(shared: *const u8, length: usize) -> (usize, usize) {
            let before = shared.align_offset(8).min(length);
            (before, (length - before) / 8)
        }

        /// Copies `length` bytes of this process's own into shared memory.
        ///
        /// # Safety
        /// So many bytes can be read at `source`, which nobody writes, and written at `target`; the two do not overlap.
        pub(crate) unsafe fn copy_in(source: *const u8, target: *mut u8, length: usize) {
            let (before, words) = parts(target, length);
            for byte in (0..before).chain(before + words * 8..length) {
                // SAFETY: within the range that the caller vouches for.
                let value = unsafe { source.wrapping_add(byte).read() };
                // SAFETY: as above.
                unsafe { AtomicU8::from_ptr(target.wrapping_add(byte)) }.store(value, Ordering::Relaxed);
            }
            for word in (0..words).map(|word| before + word * 8) {
                // SAFETY: within the range that the caller vouches for.
                let value = unsafe { source.wrapping_add(word).cast::<u64>().read_unaligned() };
                // SAFETY: as above, and aligned.
                unsafe { AtomicU64::from_ptr(target.wrapping_add(word).cast()) }.store(value, Ordering::Relaxed);
            }
        }

        /// Copies `length` bytes of shared memory to this process's own.
        ///
        /// # Safety
        /// So many bytes can be read at `source`, and written at `target`, which nobody else accesses; the two do not overlap.
        pub(crate) unsafe fn copy_out(source: *const u8, target: *mut u8, length: usize) {
            let (before, words) = parts(source, length);
            let source = source.cast_mut();
            for byte in (0..before).chain(before + words * 8..length) {
                // SAFETY: within the range that the caller vouches for.
                let value = unsafe { AtomicU8::from_ptr(source.wrapping_add(byte)) }.load(Ordering::Relaxed);
                // SAFETY: as above.
                unsafe { target.wrapping_add(byte).write(value) };
            }
            for word in (0..words).map(|word| before + word * 8) {
                // SAFETY: within the range that the caller vouches for, and aligned.
                let value = unsafe { AtomicU64::from_ptr(source.wrapping_add(word).cast()) }.load(Ordering::Relaxed);
                // SAFETY: as above.
                unsafe { target.wrapping_add(word).cast::<u64>().write_unaligned(value) };
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::{by_words, copy_in, copy_out};

        #[test]
        fn every_length_and_alignment_is_copied_and_nothing_around_it() {
            type Copy = unsafe fn(*const u8, *mut u8, usize);
            let routines: [Copy; 4] = [copy_in, copy_out, by_words::copy_in, by_words::copy_out];
            for copy in routines {
                for (length, from, to) in (0..200).flat_map(|length| (0..9).map(move |i| (length, i, i * 5 % 9))) {
                    let source: Vec<u8> = (0..220).map(|i| i as u8).collect();
                    let mut target = [255; 220];
                    // SAFETY: at most 9 + 199 of 220 bytes, of two arrays.
                    unsafe { copy(source[from..].as_ptr(), target[to..].as_mut_ptr(), length) };
                    assert_eq!(target[to..to + length], source[from..from + length]);
                    assert!(target[..to].iter().chain(&target[to + length..]).all(|&byte| byte == 255));
                }
            }
        }
    }
}
