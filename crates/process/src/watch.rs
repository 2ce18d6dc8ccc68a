//! A child as its parent sees it: what it has said, whether it has ended, and what follows from both.
//!
//! ```text
//!            Hello               Frame
//!   Silent ─────────▶ Working ─────────▶ Replied     the function returned, panicked or was not called
//!     │                  │
//!     │ deadline         │ nonsense on the socket
//!     ▼                  ▼
//!   TooLate ◀─ killed    Broken ◀─ killed
//! ```
//!
//! In each of these states the process may end, and only then there is an outcome: whoever has joined a child knows
//! that it is gone and has released all that it held.
//!
//! No reply is lost. The end of the process is looked for *first* and the socket read *after*: whatever a process
//! sent before it ended is in the socket when its end can be seen. And no wait is endless, since each waits
//! for the process's descriptor, which becomes ready at its end whatever the reason, besides the socket.

use crate::entry::Reply;
use crate::error::{JoinError, StartFailure};
use crate::wire::{Event, Frame, Inbox, Patience};
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus, WaitOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

/// A child process.
pub(crate) struct Child {
    pid: rustix::process::Pid,
    process: OwnedFd,
    /// None when there is nothing more to hear.
    socket: Option<OwnedFd>,
    inbox: Inbox,
    /// How long it may stay silent, and until when that is. No deadline if that is beyond the clock's range.
    allowed: Duration,
    deadline: Option<Instant>,
    state: State,
    end: Option<End>,
}

enum State {
    Silent,
    Working,
    Replied(Reply, Frame),
    TooLate,
    Broken(io::Error),
    /// The outcome was given away.
    Taken,
}

/// How it ended; without a status if somebody else took that.
#[derive(Clone, Copy)]
struct End(Option<ExitStatus>);

/// Children whose handles were dropped while they ran. They are reaped when the next one starts or is dropped.
static ABANDONED: Mutex<Vec<OwnedFd>> = Mutex::new(Vec::new());

impl Child {
    /// Watches the process that was just started as `pid` and holds the other end of `socket`.
    pub(crate) fn new(pid: rustix::process::Pid, socket: OwnedFd, allowed: Duration) -> rustix::io::Result<Self> {
        // The number cannot name another process yet: this one has not been reaped, which is for us to do.
        let process = rustix::process::pidfd_open(pid, PidfdFlags::empty()).inspect_err(|&error| {
            // Nobody would ever look after it. If there is no such process it ended and was reaped: the program
            // ignores SIGCHLD. Then the number may be another's by now.
            if error != Errno::SRCH {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
                let _ = rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(pid), WaitOptions::empty()));
            }
        })?;
        Ok(Child {
            pid,
            process,
            socket: Some(socket),
            inbox: Inbox::default(),
            allowed,
            deadline: Instant::now().checked_add(allowed),
            state: State::Silent,
            end: None,
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    pub(crate) fn process(&self) -> BorrowedFd<'_> {
        self.process.as_fd()
    }

    /// Whether the process has not ended yet.
    pub(crate) fn is_alive(&self) -> bool {
        if self.end.is_some() {
            return false;
        }
        let mut events = [PollFd::new(&self.process, PollFlags::IN)];
        let ready = rustix::io::retry_on_intr(|| rustix::event::poll(&mut events, Some(&Timespec::default())));
        !matches!(ready, Ok(1..))
    }

    /// Sends a signal. To a process that has ended this does nothing.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        match rustix::process::pidfd_send_signal(&self.process, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for the outcome, until `until` or for ever. `None` if there is none by then.
    pub(crate) fn wait(&mut self, until: Option<Instant>) -> Option<Result<Frame, JoinError>> {
        if matches!(self.state, State::Taken) {
            return Some(Err(JoinError::AlreadyJoined));
        }
        loop {
            // This order is what keeps a last reply from being lost.
            self.look_for_end();
            self.listen();
            if let Some(end) = self.end {
                return Some(self.conclude(end));
            }
            let now = Instant::now();
            if matches!(self.state, State::Silent) && self.deadline.is_some_and(|deadline| deadline <= now) {
                self.give_up(State::TooLate);
                continue;
            }
            if until.is_some_and(|until| until <= now) {
                return None;
            }
            let start = self.deadline.filter(|_| matches!(self.state, State::Silent));
            let next = [until, start].into_iter().flatten().min();
            if let Err(source) = self.sleep(next.map(|next| next - now)) {
                return Some(Err(JoinError::Io { step: "wait for the process", source: source.into() }));
            }
        }
    }

    /// Reaps the process if it has ended.
    fn look_for_end(&mut self) {
        if self.end.is_none() {
            self.end = reap(&self.process);
        }
    }

    /// Takes in all that the child has said so far.
    fn listen(&mut self) {
        while let Some(socket) = &self.socket {
            match self.inbox.receive(socket.as_fd(), Patience::DontWait) {
                Ok(Event::Nothing) => return,
                Ok(Event::Hello) if matches!(self.state, State::Silent) => self.state = State::Working,
                Ok(Event::Hello) => {}
                Ok(Event::Closed) => self.socket = None,
                Ok(Event::Frame(frame)) => {
                    self.socket = None;
                    match frame.header() {
                        Ok(reply) => self.state = State::Replied(reply, frame),
                        Err(error) => self.give_up(State::Broken(error)),
                    }
                }
                Err(error) => {
                    self.socket = None;
                    self.give_up(State::Broken(error));
                }
            }
        }
    }

    /// Kills a child from which nothing can be expected.
    fn give_up(&mut self, state: State) {
        // Without permission to signal it (it may have changed its user) waiting for its end is all that is left.
        let _ = self.signal(Signal::KILL);
        self.state = state;
    }

    /// Sleeps until the child says something or ends, at most for `limit`.
    fn sleep(&self, limit: Option<Duration>) -> rustix::io::Result<()> {
        // A limit beyond the range of the type is none.
        let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
        let process = PollFd::new(&self.process, PollFlags::IN);
        let result = match &self.socket {
            Some(socket) => {
                let mut events = [process, PollFd::new(socket, PollFlags::IN)];
                rustix::event::poll(&mut events, limit.as_ref())
            }
            None => rustix::event::poll(&mut [process], limit.as_ref()),
        };
        match result {
            // The caller looks again, and computes what is left of the limit.
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// What it means that the process has ended, in the state reached. Gives the outcome away.
    fn conclude(&mut self, End(status): End) -> Result<Frame, JoinError> {
        Err(match std::mem::replace(&mut self.state, State::Taken) {
            State::Replied(Reply::Value, frame) => return Ok(frame),
            State::Replied(Reply::Panicked { location }, frame) => {
                let message = String::from_utf8_lossy(&frame.payload).into_owned();
                JoinError::Panicked { message, location }
            }
            State::Replied(Reply::NotEncodable { reason }, _) => JoinError::ResultNotEncodable { reason },
            State::Replied(Reply::Refused(refusal), _) => JoinError::NeverStarted(StartFailure::Refused(refusal)),
            State::Working => status.map_or(JoinError::StatusLost, |status| JoinError::Exited { status }),
            State::Silent => JoinError::NeverStarted(StartFailure::Ended { status }),
            State::TooLate => JoinError::NeverStarted(StartFailure::TimedOut { allowed: self.allowed }),
            State::Broken(source) => JoinError::Io { step: "receive what the process sent", source },
            State::Taken => JoinError::AlreadyJoined,
        })
    }
}

impl Drop for Child {
    /// Lets a running child run on, and sees to it that it is reaped some day.
    fn drop(&mut self) {
        self.look_for_end();
        if self.end.is_none() {
            // Only a failed duplication, for want of descriptors, leaves a zombie, until this process ends.
            if let Ok(process) = self.process.try_clone() {
                ABANDONED.lock().push(process);
            }
        }
        reap_abandoned();
    }
}

/// Reaps those children whose handles were dropped and that have ended since. Costs a system call for each that was
/// dropped and still runs.
pub(crate) fn reap_abandoned() {
    ABANDONED.lock().retain(|process| reap(process).is_none());
}

/// Reaps a process if it has ended.
fn reap(process: &OwnedFd) -> Option<End> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    let id = || WaitId::PidFd(process.as_fd());
    match rustix::io::retry_on_intr(|| rustix::process::waitid(id(), options)) {
        Ok(None) => None,
        Ok(Some(status)) => Some(End(Some(exit_status(&status)))),
        // Not, or no longer, a child of this process: somebody waited for it, or the program ignores SIGCHLD.
        Err(_) => Some(End(None)),
    }
}

/// The status as `wait` would have given it.
fn exit_status(status: &WaitIdStatus) -> ExitStatus {
    const CORE_DUMPED: i32 = 0x80;
    ExitStatus::from_raw(match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => (code & 0xff) << 8,
        (None, Some(signal)) if status.dumped() => signal | CORE_DUMPED,
        (None, signal) => signal.unwrap_or(0),
    })
}
