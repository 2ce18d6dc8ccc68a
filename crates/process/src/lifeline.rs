//! Dying with the parent, by a pipe in which nothing is ever written.
//!
//! The parent process holds the only write end, for as long as it lives. A child that is to die with it holds a
//! read end, and asks the kernel for a SIGKILL when anything happens to it. The only thing that can happen is that
//! the write end closes, and the kernel closes it however the parent ends. No thread waits for that and nobody's
//! cooperation is needed: it works while the function computes, blocks or is stopped.
//!
//! Why not `PR_SET_PDEATHSIG`: it fires when the *thread* that called `spawn` ends, which may be long before.
//!
//! One pipe serves all children of a process, but each needs an open file of its own: owner and signal are
//! properties of the open file, so on a shared one the child that came last would take the signal from all others. The
//! parent therefore opens the read end anew for each.
//!
//! Limits: a copy of the parent made by a bare `fork` that never executes anything holds the write end too, and a
//! child that replaces itself by another program (`exec`) loses its read end.

#![allow(unsafe_code)]

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, Signal};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// The pipe of one process.
struct Pipe {
    /// Whose it is. A forked copy of that process needs a pipe of its own.
    owner: Pid,
    read: OwnedFd,
    /// Closed by the end of the process, and by nothing else.
    _write: OwnedFd,
}

static PIPE: Mutex<Option<Pipe>> = Mutex::new(None);

/// In the parent: a read end for one child to give to [`hold`]. Made once, the pipe costs two descriptors.
pub(crate) fn read_end() -> io::Result<OwnedFd> {
    let mut pipe = PIPE.lock();
    let owner = rustix::process::getpid();
    let pipe = match &mut *pipe {
        Some(pipe) if pipe.owner == owner => pipe,
        stale => {
            let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
            stale.insert(Pipe { owner, read, _write: write })
        }
    };
    let path = format!("/proc/self/fd/{}", pipe.read.as_raw_fd());
    // A pipe opened for reading waits for a writer. There is one, so this does not wait.
    Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

/// In the child: die when every write end of the pipe is closed, or now if that has happened.
///
/// Costs five system calls, once.
pub(crate) fn hold(read: OwnedFd) -> io::Result<()> {
    let this = rustix::process::getpid();
    // Kernel headers name it, the libc crate does not.
    const F_SETSIG: libc::c_int = 10;
    fcntl(&read, libc::F_SETOWN, this.as_raw_nonzero().get())?;
    fcntl(&read, F_SETSIG, Signal::KILL.as_raw())?;
    rustix::fs::fcntl_setfl(&read, rustix::fs::fcntl_getfl(&read)? | OFlags::ASYNC)?;
    // From here on a closing end is signalled. One that closed before is found by looking.
    let mut events = [PollFd::new(&read, PollFlags::empty())];
    let no_wait = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    let closed = rustix::io::retry_on_intr(|| rustix::event::poll(&mut events, Some(&no_wait)))? > 0;
    if closed {
        rustix::process::kill_process(this, Signal::KILL)?;
    }
    // It must stay open as long as the process lives.
    std::mem::forget(read);
    Ok(())
}

/// `fcntl` with a number as its argument.
fn fcntl(descriptor: &OwnedFd, command: libc::c_int, argument: libc::c_int) -> io::Result<()> {
    // SAFETY: the descriptor is open, and both commands used here take a number and touch no memory.
    let result = unsafe { libc::fcntl(descriptor.as_raw_fd(), command, argument) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
