//! From a function pointer to a message, and from a message back to a call.
//!
//! For every pair of argument and result types the compiler makes one [`Entry`]: a constant in the image that
//! holds a magic number, the identity of the function's type, and the *trampoline*, a function that decodes the
//! arguments, calls, and encodes the result. A [`Call`] names such an entry and the function to call, both as
//! positions in the image, and is all that has to travel.
//!
//! The receiver turns positions into pointers only after these checks, each of which fails with a [`Refusal`]:
//!
//! 1. both processes execute the same file, so that equal positions hold equal bytes;
//! 2. both positions are in the image, and the entry's is aligned for an [`Entry`];
//! 3. the entry begins with the magic number;
//! 4. the entry's function type is the one the sender meant.
//!
//! The first alone is a proof. The others catch a damaged message before it becomes a jump.

#![allow(unsafe_code)]

use crate::error::{Refusal, SpawnError};
use crate::image::{Identity, Offset};
use crate::panics::{self, Panic};
use crate::wire::brief;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use shmkit_segment::transfer;
use std::any::TypeId;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::fd::OwnedFd;

/// "shmkitfn", read as a little-endian number.
const MAGIC: u64 = u64::from_le_bytes(*b"shmkitfn");

/// What the image holds for each type of function that is spawned. The magic number comes first, so that it can be
/// looked at before the rest is believed.
#[repr(C)]
struct Entry {
    magic: u64,
    signature: fn() -> u64,
    /// Callable only with the address of a function whose type has this entry's signature.
    run: unsafe fn(*const (), &[u8], Vec<OwnedFd>) -> Completion,
}

impl Entry {
    fn of<A, R>() -> &'static Entry
    where
        A: DeserializeOwned + 'static,
        R: Serialize + 'static,
    {
        const { &Entry { magic: MAGIC, signature: signature::<A, R>, run: run::<A, R> } }
    }
}

/// A number that tells function types apart, the same in every process of one build.
fn signature<A: 'static, R: 'static>() -> u64 {
    // `TypeId` cannot be sent, but it can be hashed, and this hasher has no random key.
    let mut hasher = DefaultHasher::new();
    TypeId::of::<fn(A) -> R>().hash(&mut hasher);
    hasher.finish()
}

/// How a call ended, in the form in which it is sent back.
pub(crate) struct Completion {
    pub(crate) reply: Reply,
    /// The encoded result of a [`Reply::Value`], the message of a [`Reply::Panicked`].
    pub(crate) payload: Vec<u8>,
    /// What travels along with a result that holds handles.
    pub(crate) descriptors: Vec<OwnedFd>,
}

/// The kinds of end that a child can still report itself.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Value,
    Panicked { location: Option<String> },
    NotEncodable { reason: String },
    Refused(Refusal),
}

impl From<Reply> for Completion {
    fn from(reply: Reply) -> Self {
        Completion { reply, payload: Vec::new(), descriptors: Vec::new() }
    }
}

impl From<Panic> for Completion {
    fn from(panic: Panic) -> Self {
        Completion {
            reply: Reply::Panicked { location: panic.location.map(brief) },
            payload: panic.message.into_bytes(),
            descriptors: Vec::new(),
        }
    }
}

/// A function to call in another process that executes the same file, and where that file is.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Call {
    program: Identity,
    remote: Remote,
}

/// A function, by its place in the program: what remains of `fn(A) -> R` when it is sent to another process of the same program.
///
/// [`spawn`](crate::spawn) sends it once. Something that sends many, such as a pool, checks once that both processes execute the same
/// file, by spawning the one from the other, and then sends `Remote`s.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Remote {
    entry: Offset,
    function: Offset,
    signature: u64,
}

/// Why a call by [`Remote::call`] has no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The function panicked.
    #[error("the function panicked: {message}")]
    Panicked {
        /// The panic's message.
        message: String,
        /// Its place, as `file:line:column`, in a process that was [`spawn`](crate::spawn)ed.
        location: Option<String>,
    },
    /// The result could not be serialised.
    #[error("the result cannot be encoded: {reason}")]
    ResultNotEncodable {
        /// What the serialiser said.
        reason: String,
    },
    /// The function was not called.
    #[error("the function was not called: {0}")]
    Refused(#[source] Refusal),
}

impl Call {
    /// Describes a call of `function`.
    pub(crate) fn of<A, R>(function: fn(A) -> R) -> Result<Self, SpawnError>
    where
        A: DeserializeOwned + 'static,
        R: Serialize + 'static,
    {
        let program =
            Identity::of_this_process().map_err(|cause| SpawnError::os("look at the file of this program", cause))?;
        Ok(Call { program, remote: Remote::of(function)? })
    }

    /// Makes the call, if it was described by a process of this build.
    ///
    /// A panic of the function is caught and reported. Whatever else the function does to its process, such as
    /// exiting, it does.
    pub(crate) fn perform(self, arguments: &[u8], descriptors: Vec<OwnedFd>) -> Completion {
        match Identity::of_this_process() {
            Ok(program) if program == self.program => self.remote.perform(arguments, descriptors),
            _ => Reply::Refused(Refusal::OtherProgram).into(),
        }
    }
}

impl Remote {
    /// Bytes of a remote as it is sent.
    pub const LENGTH: usize = 24;

    /// Describes `function`.
    ///
    /// # Errors
    ///
    /// [`SpawnError::FunctionOutsideImage`] if it does not belong to the program's executable.
    pub fn of<A, R>(function: fn(A) -> R) -> Result<Self, SpawnError>
    where
        A: DeserializeOwned + 'static,
        R: Serialize + 'static,
    {
        let entry = Entry::of::<A, R>();
        let inside = |address| Offset::of(address).ok_or(SpawnError::FunctionOutsideImage);
        Ok(Remote {
            entry: inside((&raw const *entry).cast())?,
            function: inside(function as *const ())?,
            signature: signature::<A, R>(),
        })
    }

    /// The remote as bytes to send.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        let words = [self.entry.to_bits(), self.function.to_bits(), self.signature];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(words) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// The remote that was sent. Any bytes are accepted; calling one that was damaged is refused.
    #[must_use]
    pub fn from_bytes(bytes: [u8; Self::LENGTH]) -> Self {
        let word = |index: usize| u64::from_le_bytes(std::array::from_fn(|byte| bytes[index * 8 + byte]));
        Remote { entry: Offset::from_bits(word(0)), function: Offset::from_bits(word(1)), signature: word(2) }
    }

    /// Calls the function here on an argument encoded by postcard, and returns its encoded result. Handles cannot be among either.
    ///
    /// # Errors
    ///
    /// [`CallError`]. A panic is caught; whatever else the function does to this process, such as exiting, it does.
    pub fn call(self, argument: &[u8]) -> Result<Vec<u8>, CallError> {
        let done = self.perform(argument, Vec::new());
        match done.reply {
            Reply::Value => Ok(done.payload),
            Reply::Panicked { location } => {
                let message = String::from_utf8_lossy(&done.payload).into_owned();
                Err(CallError::Panicked { message, location })
            }
            Reply::NotEncodable { reason } => Err(CallError::ResultNotEncodable { reason }),
            Reply::Refused(refusal) => Err(CallError::Refused(refusal)),
        }
    }

    fn perform(self, arguments: &[u8], descriptors: Vec<OwnedFd>) -> Completion {
        match self.resolve() {
            // SAFETY: `resolve` has shown that `function` is a function of the type `entry` was made for.
            Ok((entry, function)) => unsafe { (entry.run)(function, arguments, descriptors) },
            Err(refusal) => Reply::Refused(refusal).into(),
        }
    }

    /// Finds the entry and the function, by the checks in the order in which the module head lists them.
    fn resolve(self) -> Result<(&'static Entry, *const ()), Refusal> {
        let address = self.entry.locate(size_of::<Entry>(), align_of::<Entry>());
        let entry = address.ok_or(Refusal::NoSuchFunction)?.cast::<Entry>();
        // SAFETY: `entry`, whose first field is its magic number, is aligned and its bytes lie in the image. The sender, which executes the same file, took
        // this position from one of its constant entries, so it is mapped and readable; for a message that was
        // damaged on the way this reads some other bytes of the image as a number, and any bytes are a number.
        let magic = unsafe { entry.cast::<u64>().read() };
        if magic != MAGIC {
            return Err(Refusal::NoSuchFunction);
        }
        // SAFETY: as above, and the magic number shows that an entry is here. Entries are constants: they are
        // never written and live as long as the image.
        let entry = unsafe { &*entry };
        if (entry.signature)() != self.signature {
            return Err(Refusal::NoSuchFunction);
        }
        let function = self.function.locate(1, 1).ok_or(Refusal::NoSuchFunction)?;
        Ok((entry, function))
    }
}

/// The trampoline: decodes the arguments, calls `function` and encodes its result.
///
/// # Safety
///
/// `function` is the address of an `fn(A) -> R`.
unsafe fn run<A, R>(function: *const (), arguments: &[u8], descriptors: Vec<OwnedFd>) -> Completion
where
    A: DeserializeOwned + 'static,
    R: Serialize + 'static,
{
    // SAFETY: the caller's promise.
    let function = unsafe { std::mem::transmute::<*const (), fn(A) -> R>(function) };
    // Everything of the user's runs inside: its decoding, the function, its encoding, the result's destructor.
    let outcome = panics::catch(|| {
        let (arguments, handles) = transfer::receiving(descriptors, || postcard::from_bytes::<A>(arguments));
        let arguments = match (arguments, handles) {
            (Ok(arguments), Ok(())) => arguments,
            (_, Err(cause)) => return Reply::Refused(Refusal::Arguments(brief(cause))).into(),
            (Err(cause), _) => return Reply::Refused(Refusal::Arguments(brief(cause))).into(),
        };
        let result = function(arguments);
        let (encoded, descriptors) = transfer::sending(|| postcard::to_stdvec(&result));
        match (encoded, descriptors) {
            (Ok(payload), Ok(descriptors)) => Completion { reply: Reply::Value, payload, descriptors },
            (_, Err(cause)) => Reply::NotEncodable { reason: brief(cause) }.into(),
            (Err(cause), _) => Reply::NotEncodable { reason: brief(cause) }.into(),
        }
    });
    outcome.unwrap_or_else(Completion::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn double(x: u32) -> u64 {
        u64::from(x) * 2
    }

    #[test]
    fn a_described_call_can_be_made() {
        let call = Call::of(double as fn(u32) -> u64).unwrap();
        let done = call.perform(&postcard::to_stdvec(&21_u32).unwrap(), Vec::new());
        assert!(matches!(done.reply, Reply::Value));
        assert_eq!(postcard::from_bytes::<u64>(&done.payload), Ok(42));
    }

    #[test]
    fn a_call_that_was_damaged_is_refused_and_not_made() {
        let remote = Remote::of(double as fn(u32) -> u64).unwrap();
        let other = Remote::of((|_| ()) as fn(String)).unwrap();
        let damaged = [
            Remote { entry: remote.function, ..remote },
            Remote { entry: other.entry, ..remote },
            Remote { signature: !remote.signature, ..remote },
        ];
        for remote in damaged {
            let refused = Remote::from_bytes(remote.to_bytes()).call(&[0]);
            assert!(matches!(refused, Err(CallError::Refused(Refusal::NoSuchFunction))), "{remote:?}");
        }
    }

    #[test]
    fn arguments_that_cannot_be_decoded_are_refused() {
        let call = Call::of(double as fn(u32) -> u64).unwrap();
        let done = call.perform(&[], Vec::new());
        assert!(matches!(done.reply, Reply::Refused(Refusal::Arguments(_))));
    }
}
