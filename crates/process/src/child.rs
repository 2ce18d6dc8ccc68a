//! The life of a child, from the first instruction after `exec` to its end.
//!
//! A parent marks its child by the variable [`MARKER`]. Whoever sees the mark in its environment, and finds the socket
//! that it names, is a child: it takes the mark away, says hello, receives its call, makes it, replies and exits,
//! and `main` never runs. Two places look: a hook in the image's list of initialisers, which the C library
//! calls ahead of `main` (feature `hook`), and [`init`](crate::init).
//!
//! A mark that was inherited by accident names a socket that is not there, and makes nobody a child. It stays, and
//! [`is_marked`] makes `spawn` refuse: whatever went wrong, a process that should have become a child and did not
//! can start no further ones.
//!
//! A program that runs with more privileges than its caller (set-user-ID and the like) ignores the mark, since its
//! caller could have set it.

#![allow(unsafe_code)]

use crate::entry::{Call, Completion, Reply};
use crate::error::Refusal;
use crate::lifeline;
use crate::panics;
use crate::wire::{self, Event, Inbox, Patience};
use rustix::io::FdFlags;
use serde::{Deserialize, Serialize};
use std::env;
use std::ffi::{CString, OsStr};
use std::fmt::Display;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::OnceLock;

/// The variable that makes a process a child: the number and the inode of its socket, as `number:inode`.
pub(crate) const MARKER: &str = "SHMKIT_CHILD";

/// The exit code after a panic, as the standard library has it.
const PANICKED: i32 = 101;
/// The exit code of a child that could not call its function, or could not send its result.
const FAILED: i32 = 1;

/// The first part of what a child is told. The arguments follow as the payload.
#[derive(Serialize, Deserialize)]
pub(crate) struct Start {
    pub(crate) call: Call,
    /// The name to show in lists of processes, at most 15 bytes.
    pub(crate) name: CString,
    /// Whether the first descriptor is the read end of a [`lifeline`].
    pub(crate) die_with_parent: bool,
}

/// The value of [`MARKER`] for a child that is given `socket`.
pub(crate) fn mark(socket: BorrowedFd<'_>) -> io::Result<String> {
    Ok(format!("{}:{}", socket.as_raw_fd(), rustix::fs::fstat(socket)?.st_ino))
}

/// Whether this process was marked as a child and has not become one.
pub(crate) fn is_marked() -> bool {
    env::var_os(MARKER).is_some()
}

#[cfg(feature = "hook")]
mod hook {
    // The C library calls every function in this section before `main`, in a process with one thread. The standard
    // library's own initialiser, which makes `env::args` work, has a priority and comes first.
    #[used]
    // SAFETY: the section is an array of pointers to C functions, to which this adds one. The arguments with which
    // some C libraries call them are ignored, which the C calling convention allows.
    #[unsafe(link_section = ".init_array")]
    static HOOK: extern "C" fn() = before_main;

    extern "C" fn before_main() {
        // A panic must not leave an `extern "C"` function; those of the user's function do not come this far.
        if std::panic::catch_unwind(|| super::become_child_if_marked(super::Moment::BeforeMain)).is_err() {
            std::process::abort();
        }
    }
}

/// Who calls [`become_child_if_marked`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    #[cfg_attr(not(feature = "hook"), allow(dead_code))]
    BeforeMain,
    InMain,
}

/// Returns unless this process was marked as a child; otherwise lives the child's life and ends the process.
pub(crate) fn become_child_if_marked(moment: Moment) {
    let Some(mark) = env::var_os(MARKER) else { return };
    let Some(socket) = inherited_socket(&mark) else { return };
    let socket = SOCKET.get_or_init(|| socket).as_fd();
    let code = match live(socket, moment) {
        Ok(code) => code,
        Err(refusal) => {
            reply(socket, Reply::Refused(refusal).into());
            FAILED
        }
    };
    // Runs what was registered to run at exit and writes out what is buffered, as a return from main would.
    std::process::exit(code)
}

/// The child's socket; static so that the last words of an aborting process find it.
static SOCKET: OnceLock<OwnedFd> = OnceLock::new();

/// Everything between the mark and the exit code.
fn live(socket: BorrowedFd<'_>, moment: Moment) -> Result<i32, Refusal> {
    // Before all that could fail or take long: the parent waits only so long for this.
    // If the parent is gone already nobody waits; the next step finds out.
    let _ = wire::send_hello(socket);
    let message = |cause: &dyn Display| Refusal::Message(wire::brief(cause));
    rustix::io::fcntl_setfd(socket, FdFlags::CLOEXEC).map_err(|cause| message(&cause))?;
    if moment == Moment::InMain && !is_single_threaded() {
        return Err(Refusal::ThreadsRunning);
    }
    // SAFETY: no other thread can be reading the environment. In main it was checked that there is none. Before main
    // there are only those that a sanitizer or allocator keeps to itself; the crate's documentation, under "Before
    // `main`", forbids initialisers that start others.
    unsafe { env::remove_var(MARKER) };

    let frame = match Inbox::default().receive(socket, Patience::Wait) {
        Ok(Event::Frame(frame)) => frame,
        Ok(_) => return Err(message(&"the parent is gone")),
        Err(cause) => return Err(message(&cause)),
    };
    let start: Start = frame.header().map_err(|cause| message(&cause))?;
    let mut descriptors = frame.descriptors;
    if start.die_with_parent {
        if descriptors.is_empty() {
            return Err(message(&"the lifeline is missing"));
        }
        lifeline::hold(descriptors.remove(0)).map_err(|cause| Refusal::Lifeline(wire::brief(cause)))?;
    }
    // The kernel named the process after the link that it was started by. Nothing depends on a better name.
    let _ = rustix::thread::set_name(&start.name);
    if moment == Moment::BeforeMain {
        ignore_sigpipe();
    }
    panics::watch(|panic| {
        if let Some(socket) = SOCKET.get() {
            reply(socket.as_fd(), panic.into());
        }
    });

    let completion = start.call.perform(&frame.payload, descriptors);
    let code = match completion.reply {
        Reply::Value => 0,
        Reply::Panicked { .. } => PANICKED,
        Reply::NotEncodable { .. } | Reply::Refused(_) => FAILED,
    };
    Ok(if reply(socket, completion) { code } else { FAILED })
}

/// Sends what came of the call, or why it cannot be sent. Tells whether it was sent as it is.
fn reply(socket: BorrowedFd<'_>, completion: Completion) -> bool {
    let Completion { reply, payload, descriptors } = completion;
    let Err(cause) = wire::send_frame(socket, &reply, &payload, descriptors) else { return true };
    let reason = wire::brief(format_args!("sending it failed: {cause}"));
    // If even this fails the parent is gone, or will see an end without a reply.
    let _ = wire::send_frame(socket, &Reply::NotEncodable { reason }, &[], Vec::new());
    false
}

/// The socket that `mark` names, if this process was really given it and may obey it.
fn inherited_socket(mark: &OsStr) -> Option<OwnedFd> {
    let (number, inode) = mark.to_str()?.split_once(':')?;
    let number: RawFd = number.parse().ok().filter(|&number| number > 2)?;
    let inode: u64 = inode.parse().ok()?;
    // SAFETY: reads a value of the process's auxiliary vector; no memory is involved.
    if unsafe { libc::getauxval(libc::AT_SECURE) } != 0 {
        return None;
    }
    // SAFETY: borrowed for the next call only, which answers with an error if it is not open.
    let candidate = unsafe { BorrowedFd::borrow_raw(number) };
    let status = rustix::fs::fstat(candidate).ok()?;
    let is_socket = rustix::fs::FileType::from_raw_mode(status.st_mode).is_socket();
    if !is_socket || status.st_ino != inode {
        return None;
    }
    // SAFETY: it is the very socket that was made for this process, since no two live sockets share an inode, and
    // nobody else in this process knows of it.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

fn is_single_threaded() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1)
}

/// Makes a write to a closed pipe an error instead of a death, as the standard library does ahead of `main`. A
/// function that runs before that must find the same.
fn ignore_sigpipe() {
    // SAFETY: sets an action that runs no code. Before main there is nobody whose choice it could undo.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}
