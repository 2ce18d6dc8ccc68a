//! Everything that can go wrong, by the moment at which it is noticed: while starting ([`SpawnError`]) or while
//! waiting for the end ([`JoinError`]).

use serde::{Deserialize, Serialize};
use std::io;
use std::process::ExitStatus;
use std::time::Duration;
use thiserror::Error;

/// Why no process was started. Nothing of it is left behind: no process, no descriptor.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// This process was itself started by `spawn` and runs `main` instead of its function. Starting more from here
    /// could go on without end.
    #[error(
        "refused to start a process from a process that has not become a child yet: {} is set; call \
         shmkit_process::init() first thing in main, or unset the variable if it was left over",
        crate::child::MARKER
    )]
    NestedStart,
    /// The function is not part of the program's own executable but of a shared library, so the new process could not
    /// be told where to find it.
    #[error(
        "the function is outside the executable of this program; wrap it in a function of the program itself, \
         and link shmkit statically"
    )]
    FunctionOutsideImage,
    /// The arguments could not be serialised.
    #[error("the arguments cannot be encoded: {0}; give types that serde can serialise to a binary format")]
    Encode(#[source] postcard::Error),
    /// A handle among the arguments could not be prepared for another process.
    #[error("a handle among the arguments cannot be handed over: {0}")]
    Handle(#[source] shmkit_segment::Error),
    /// A name or variable given to the builder cannot be handed to a process.
    #[error("{what} cannot be given to a process: {rule}")]
    Invalid {
        /// What was given.
        what: String,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// The system refused something.
    #[error("could not {step}: {source}; {}", advice(source))]
    Os {
        /// What was tried.
        step: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl SpawnError {
    pub(crate) fn os(step: &'static str, source: impl Into<io::Error>) -> Self {
        SpawnError::Os { step, source: source.into() }
    }
}

/// Why a process gave no result.
///
/// The process has ended and was reaped when one of these is returned, with two exceptions: for
/// [`AlreadyJoined`](JoinError::AlreadyJoined) that was so before, and [`Io`](JoinError::Io) may mean that even waiting
/// failed, for want of memory; then join again.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The function panicked. The usual text of the panic is on the child's standard error as well.
    #[error("the function panicked{}: {message}", place(location))]
    Panicked {
        /// The panic's message.
        message: String,
        /// Its place as `file:line:column`, if it was raised by `panic!` or the like.
        location: Option<String>,
    },
    /// The process ended by itself or by a signal before the function returned.
    #[error("the process ended before its function returned: {status}")]
    Exited {
        /// The code given to `exit`, or the signal.
        status: ExitStatus,
    },
    /// The process never came to call the function.
    #[error("the process did not start to work: {0}")]
    NeverStarted(#[source] StartFailure),
    /// The function returned, and its result could not be serialised or sent.
    #[error("the result cannot be sent: {reason}; return types that serde can serialise to a binary format")]
    ResultNotEncodable {
        /// What the serialiser or the system said.
        reason: String,
    },
    /// The result arrived and could not be deserialised.
    #[error("the result cannot be decoded: {0}; its Deserialize must accept what its Serialize writes")]
    ResultNotDecodable(#[source] postcard::Error),
    /// The result arrived, and a handle in it could not be brought to life here.
    #[error("a handle in the result cannot be taken over: {0}")]
    Handle(#[source] shmkit_segment::Error),
    /// The process ended without a result, and somebody else took its exit status.
    #[error(
        "the process ended without a result, and its exit status was taken by someone else; do not ignore SIGCHLD \
         and do not wait for any child at once"
    )]
    StatusLost,
    /// The result, or an error, was returned by an earlier call.
    #[error("the outcome of this process was taken by an earlier call")]
    AlreadyJoined,
    /// The system refused something, or what the child sent made no sense. In the latter case the child was killed.
    #[error("could not {step}: {source}; {}", advice(source))]
    Io {
        /// What was tried.
        step: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// Why a process never came to call its function.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartFailure {
    /// It said nothing within the time allowed, and was killed.
    #[error(
        "it said nothing within {allowed:?} and was killed; does main call shmkit_process::init() first? For a very \
         slow machine, set Builder::startup_timeout"
    )]
    TimedOut {
        /// The time that was allowed.
        allowed: Duration,
    },
    /// It ended without having said anything.
    #[error(
        "it ended first{}; does main call shmkit_process::init() first?",
        status.map(|status| format!(" ({status})")).unwrap_or_default()
    )]
    Ended {
        /// How it ended, unless someone else took the status.
        status: Option<ExitStatus>,
    },
    /// It looked at the call and declined.
    #[error("it declined: {0}")]
    Refused(#[source] Refusal),
}

/// Why a child declined to call the function.
#[derive(Debug, Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Refusal {
    /// The child does not execute the same file as its parent.
    #[error("it executes another file than its parent")]
    OtherProgram,
    /// What it was told to call is not a function of the expected type.
    #[error("there is no such function in it")]
    NoSuchFunction,
    /// The arguments could not be deserialised.
    #[error("the arguments cannot be decoded: {0}; their Deserialize must accept what their Serialize writes")]
    Arguments(String),
    /// The message with the call could not be received.
    #[error("the call cannot be received: {0}")]
    Message(String),
    /// [`init`](crate::init) was called too late.
    #[error("init() was called when other threads were running already; call it first thing in main")]
    ThreadsRunning,
    /// It could not be tied to the life of its parent, as was asked.
    #[error("it cannot be made to die with its parent: {0}")]
    Lifeline(String),
}

fn place(location: &Option<String>) -> String {
    location.as_ref().map(|location| format!(" at {location}")).unwrap_or_default()
}

/// What to do about an error of the system.
fn advice(error: &io::Error) -> &'static str {
    use rustix::io::Errno;
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::MFILE | Errno::NFILE | Errno::TOOMANYREFS) => {
            "close descriptors or raise the limit on open files (ulimit -n)"
        }
        Some(Errno::AGAIN) => {
            "too much is under way: join some children first, or raise the limits on processes (ulimit -u) and \
             on socket buffers (net.core.wmem_default)"
        }
        Some(Errno::NOMEM | Errno::NOSPC) => "free some memory or raise the memory limit",
        Some(Errno::TOOBIG) => "the environment is too large",
        Some(Errno::NOENT) => "/proc must be mounted",
        Some(Errno::NOSYS | Errno::INVAL) => "Linux 5.4 or later is needed",
        Some(Errno::ACCESS | Errno::PERM) => "the system's policy forbids it",
        _ => "see the cause",
    }
}
