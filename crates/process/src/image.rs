//! The loaded image of this program: which addresses belong to it, and which file it came from.
//!
//! A function travels to another process as its distance from the first byte of the image. The distance
//! survives address-space randomisation, which moves an image as a whole, and it means the same function in every
//! process that executes the same file. The two ends of the image are symbols that every ELF linker provides:
//! `__ehdr_start`, the file header at its lowest address, and `_end`, the first byte after its data.
//!
//! Guarantees: an [`Offset`] made by [`Offset::of`] lies inside the image, and [`Offset::locate`] gives no
//! address outside of it, whatever number a message contained. That such an address is really a function of the
//! type expected is for [`crate::entry`] to check.

use serde::{Deserialize, Serialize};
use std::io;

// The linker's own symbols. Nothing is ever read through them: they are positions, not variables.
#[allow(unsafe_code)]
mod bounds {
    // SAFETY: both are defined by the linker for every ELF image, and only their addresses are taken.
    unsafe extern "C" {
        pub(super) safe static __ehdr_start: u8;
        pub(super) safe static _end: u8;
    }
}

/// Address of the first byte of the image.
fn start() -> usize {
    (&raw const bounds::__ehdr_start).expose_provenance()
}

/// Bytes from the first of the image to the last.
fn len() -> usize {
    (&raw const bounds::_end).addr().saturating_sub(start())
}

/// A position in the image, as bytes from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Offset(u64);

impl Offset {
    /// The position of `address`, or `None` if it lies outside the image (in a shared library, in generated code).
    pub(crate) fn of(address: *const ()) -> Option<Self> {
        let offset = address.addr().checked_sub(start())?;
        (offset < len()).then_some(Offset(offset as u64))
    }

    /// The position as a number, to be sent.
    pub(crate) fn to_bits(self) -> u64 {
        self.0
    }

    /// A position that was sent: any number, which [`locate`](Self::locate) may find to be outside.
    pub(crate) fn from_bits(bits: u64) -> Self {
        Offset(bits)
    }

    /// The address of this position in this process, if `size` bytes from there lie in the image and it is a
    /// multiple of `align`.
    pub(crate) fn locate(self, size: usize, align: usize) -> Option<*const ()> {
        let offset = usize::try_from(self.0).ok()?;
        let end = offset.checked_add(size)?;
        let address = start().checked_add(offset)?;
        // The linker, not Rust, made the image one object: its bytes are all reachable from the exposed start.
        (end <= len() && address.is_multiple_of(align)).then(|| std::ptr::with_exposed_provenance(address))
    }
}

/// Which file this process executes.
///
/// Device, inode and size are enough. The child executes what `/proc/self/exe` names, the very inode that its
/// parent executes, and the kernel lets nobody write to a file that is being executed. The time of change is left
/// out on purpose: it would only add a false alarm when somebody `touch`es the program between two starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
    size: u64,
}

impl Identity {
    /// Looks at the file this process executes, also when its name is gone or names another file by now.
    pub(crate) fn of_this_process() -> io::Result<Self> {
        use std::os::unix::fs::MetadataExt;
        let file = std::fs::metadata(crate::launch::PROGRAM)?;
        Ok(Identity { device: file.dev(), inode: file.ino(), size: file.size() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static INSIDE: u64 = 7;

    #[test]
    fn a_static_of_this_program_is_found_again_at_its_address() {
        let address = (&raw const INSIDE).cast::<()>();
        let offset = Offset::of(address).expect("a static lies in the image");
        assert_eq!(offset.locate(8, 8), Some(address));
    }

    #[test]
    fn a_stack_or_heap_address_is_not_of_the_image() {
        let local = 1_u8;
        let boxed = Box::new(1_u8);
        assert_eq!(Offset::of((&raw const local).cast()), None);
        assert_eq!(Offset::of((&raw const *boxed).cast()), None);
    }

    #[test]
    fn numbers_that_lead_outside_or_astride_the_end_are_refused() {
        let len = len() as u64;
        for offset in [len, len - 1, len + 1, u64::MAX, u64::MAX - 7, 1 << 63] {
            assert_eq!(Offset(offset).locate(8, 1), None, "{offset:#x}");
        }
        assert_eq!(Offset(1).locate(1, 8), None, "misaligned");
    }
}
