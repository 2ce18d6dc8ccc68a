//! Executes this program once more, by `posix_spawn`.
//!
//! Why not `std::process::Command`: what has to happen between fork and exec, to keep one descriptor open, would make
//! it fall back to `fork`, whose cost grows with the memory of the parent. `posix_spawn` borrows the parent's
//! memory instead and takes about a millisecond whatever its size.
//!
//! The new process has the environment it is given, a fresh signal mask, the default action for SIGPIPE, standard
//! input, output and error of its parent, and one socket. Every other descriptor of this crate is close-on-exec.

#![allow(unsafe_code)]

use rustix::process::Pid;
use std::ffi::{CStr, CString, c_char, c_int};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

/// The running program, even if its file was renamed, replaced or removed since it started.
pub(crate) const PROGRAM: &str = "/proc/self/exe";
const PROGRAM_C: &CStr = c"/proc/self/exe";

/// Starts this program with `name` as its only argument, `environment` (of the form `KEY=value`) and `socket`, which
/// has the same number there as here.
///
/// Returns when the program was executed or could not be: about a millisecond.
pub(crate) fn launch(name: &CStr, environment: &[CString], socket: BorrowedFd<'_>) -> io::Result<Pid> {
    let mut actions = FileActions::new()?;
    actions.keep(socket)?;
    let mut attributes = Attributes::new()?;
    attributes.reset_signals()?;

    let arguments = [name.as_ptr().cast_mut(), ptr::null_mut()];
    let mut variables: Vec<*mut c_char> = environment.iter().map(|entry| entry.as_ptr().cast_mut()).collect();
    variables.push(ptr::null_mut());

    let mut pid = 0;
    // SAFETY: the path is a C string, both arrays end with a null pointer and hold pointers to C strings that
    // live until after the call, and actions and attributes are initialised. Nothing is written through any of them.
    check(unsafe {
        libc::posix_spawn(
            &raw mut pid,
            PROGRAM_C.as_ptr(),
            &raw const *actions.0,
            &raw const *attributes.0,
            arguments.as_ptr(),
            variables.as_ptr(),
        )
    })?;
    Pid::from_raw(pid).ok_or_else(|| io::ErrorKind::Other.into())
}

/// Turns the error number that these functions return into a result.
fn check(errno: c_int) -> io::Result<()> {
    if errno == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(errno)) }
}

/// Boxed because POSIX does not say that an initialised one may be moved.
struct FileActions(Box<libc::posix_spawn_file_actions_t>);

impl FileActions {
    fn new() -> io::Result<Self> {
        let mut actions = Box::new(MaybeUninit::uninit());
        // SAFETY: the pointer is to writable memory of the right type.
        check(unsafe { libc::posix_spawn_file_actions_init(actions.as_mut_ptr()) })?;
        // SAFETY: the call above initialised it.
        Ok(FileActions(unsafe { actions.assume_init() }))
    }

    /// Leaves `descriptor` open in the new process, under the same number.
    fn keep(&mut self, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        let number = descriptor.as_raw_fd();
        // A duplicate onto itself is how POSIX asks to clear close-on-exec, in the child only: no other thread that
        // executes something at this moment can pass the descriptor on.
        // SAFETY: the actions are initialised, as every value of this type.
        check(unsafe { libc::posix_spawn_file_actions_adddup2(&raw mut *self.0, number, number) })
    }
}

impl Drop for FileActions {
    fn drop(&mut self) {
        // SAFETY: initialised, and not used after this. It cannot fail.
        unsafe { libc::posix_spawn_file_actions_destroy(&raw mut *self.0) };
    }
}

/// Boxed for the same reason.
struct Attributes(Box<libc::posix_spawnattr_t>);

impl Attributes {
    fn new() -> io::Result<Self> {
        let mut attributes = Box::new(MaybeUninit::uninit());
        // SAFETY: the pointer is to writable memory of the right type.
        check(unsafe { libc::posix_spawnattr_init(attributes.as_mut_ptr()) })?;
        // SAFETY: the call above initialised it.
        Ok(Attributes(unsafe { attributes.assume_init() }))
    }

    /// Blocks no signal in the new process, and gives SIGPIPE, which Rust programs ignore, its default action, as
    /// every program expects to find it when it is executed.
    fn reset_signals(&mut self) -> io::Result<()> {
        let nothing = signals(&[]);
        // SAFETY: both pointers are to initialised values.
        check(unsafe { libc::posix_spawnattr_setsigmask(&raw mut *self.0, &raw const nothing) })?;
        let default = signals(&[libc::SIGPIPE]);
        // SAFETY: both pointers are to initialised values.
        check(unsafe { libc::posix_spawnattr_setsigdefault(&raw mut *self.0, &raw const default) })?;
        let flags = libc::POSIX_SPAWN_SETSIGMASK | libc::POSIX_SPAWN_SETSIGDEF;
        // SAFETY: the attributes are initialised. Both flags are small numbers.
        check(unsafe { libc::posix_spawnattr_setflags(&raw mut *self.0, flags as _) })
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: initialised, and not used after this. It cannot fail.
        unsafe { libc::posix_spawnattr_destroy(&raw mut *self.0) };
    }
}

/// The set of `members`.
fn signals(members: &[c_int]) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the pointer is to writable memory of the right type; the call cannot fail.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: the call above initialised it.
    let mut set = unsafe { set.assume_init() };
    for &member in members {
        // SAFETY: the set is initialised. The call fails only for numbers that are no signal, and changes nothing.
        unsafe { libc::sigaddset(&raw mut set, member) };
    }
    set
}
