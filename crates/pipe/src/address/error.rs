//! What can go wrong where programs meet.

use crate::Error;
use std::io;
use std::path::{Path, PathBuf};

/// Why there is no listener, or no connection. A listener that could not accept one can accept the next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// There is nothing at that path.
    #[error("nobody listens at {}: check the path, or start who is to listen", path.display())]
    NotFound {
        /// The path.
        path: PathBuf,
    },
    /// Nobody listens any more.
    #[error("nobody listens at {} any more: its listener has died, or is just coming up; start it, or come again", path.display())]
    Refused {
        /// The path.
        path: PathBuf,
    },
    /// The path is used for something.
    #[error("{} is taken by {what}: choose another path", path.display())]
    Taken {
        /// The path.
        path: PathBuf,
        /// By what.
        what: &'static str,
    },
    /// The directory is locked by others who are about to listen.
    #[error("others keep the directory of {} locked: is one of them stopped?", path.display())]
    Busy {
        /// The path.
        path: PathBuf,
    },
    /// The other side is another user's program than was expected.
    #[error("who is at the other side of {} is of user {found}, and {expected} was expected: say `owner({found})`, or give the listener a wider `mode`, if that is right", path.display())]
    WrongUser {
        /// The path.
        path: PathBuf,
        /// Whose it is.
        found: u32,
        /// Whose it should be.
        expected: u32,
    },
    /// The other side does not know the secret, or only one of the two has one.
    #[error("who is at the other side of {} does not know the secret, or only one side has one", path.display())]
    WrongSecret {
        /// The path.
        path: PathBuf,
    },
    /// What the other side says makes no sense.
    #[error("what listens or connects at {} is another program, or uses another version of shmkit", path.display())]
    NotSpoken {
        /// The path.
        path: PathBuf,
    },
    /// The other side left before the connection was made.
    #[error("who was at the other side of {} left before there was a connection", path.display())]
    Left {
        /// The path.
        path: PathBuf,
    },
    /// The time is up.
    #[error("who is at the other side of {} did not do its part in time", path.display())]
    Timeout {
        /// The path.
        path: PathBuf,
    },
    /// The connection could not be made or handed over.
    #[error("the connection at {} could not be handed over", path.display())]
    Handover {
        /// The path.
        path: PathBuf,
        /// Why.
        source: Error,
    },
    /// A system call failed.
    #[error("cannot {action} {}: {hint}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What to do about it.
        hint: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl ConnectError {
    pub(super) fn handover(path: &Path, error: Error) -> Self {
        let path = path.into();
        match &error {
            Error::System { source, .. } if is_late(source) => Self::Timeout { path },
            Error::System { source, .. } if is_end(source) => Self::Left { path },
            _ => Self::Handover { path, source: error },
        }
    }
}

/// Of a socket with a time-out.
pub(super) fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Of a socket whose other end is closed.
pub(super) fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | BrokenPipe | ConnectionReset)
}
