//! What can go wrong with a message: one type for each direction, whatever the form. Which of them come from which form is said there.

use crate::Error;
use crate::ring::Corrupt;
use std::io;

/// A message was not sent.
///
/// If a part of it had been sent already, its receiver drops that. Handles in it that exist once are gone with it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The other end was dropped, or its process has died.
    #[error("the other end of the connection has left or died")]
    Disconnected,
    /// There is no room now.
    #[error("there is no room for the message now: come again, or wait with `send`")]
    WouldBlock,
    /// The time is up.
    #[error("there was no room for the message in time")]
    Timeout,
    /// There can never be room for it at once.
    #[error(
        "the message has {length} bytes, and only {limit} can be sent without waiting: use a form that waits, or a larger capacity"
    )]
    TooLong {
        /// Bytes of the message.
        length: usize,
        /// Bytes that there can be room for.
        limit: usize,
    },
    /// This end was moved to another process.
    #[error("this end of the connection has been moved to another process")]
    Moved,
    /// This process is a fork of the one that has the connection.
    #[error(
        "this process was forked from the one that has the connection: connect anew, or start processes with `spawn`"
    )]
    Forked,
    /// A peer wrote over the connection.
    #[error("the connection is corrupt: a peer wrote over it; connect anew")]
    Corrupt,
    /// The value cannot be encoded.
    #[error("the value cannot be encoded")]
    Encode(#[source] postcard::Error),
    /// A handle in the value cannot be sent.
    #[error("a handle in the message cannot be sent")]
    Handle(#[source] Error),
    /// The descriptors that belong to the message cannot be sent.
    #[error("the descriptors that belong to the message cannot be sent: are too many open, or under way?")]
    Descriptors(#[source] io::Error),
}

/// No message was received. Unless another thing is said, the message that could not be received is still there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecvError {
    /// The other end was dropped, or its process has died, and all that it had sent was received.
    #[error("the other end of the connection has left or died, and there is no message left")]
    Disconnected,
    /// There is none now.
    #[error("there is no message now: come again, or wait with `recv`")]
    WouldBlock,
    /// The time is up.
    #[error("no message came in time")]
    Timeout,
    /// The message is longer than the [limit](super::Connection::set_limit).
    #[error(
        "the message has {length} bytes, and {limit} are allowed: set a larger limit to receive it, or drop the connection"
    )]
    TooLong {
        /// Bytes of the message.
        length: u64,
        /// Bytes that are allowed.
        limit: usize,
    },
    /// The buffer is shorter than the message.
    #[error("the message has {length} bytes, more than the buffer")]
    TooShort {
        /// Bytes of the message.
        length: usize,
    },
    /// This end was moved to another process.
    #[error("this end of the connection has been moved to another process")]
    Moved,
    /// This process is a fork of the one that has the connection.
    #[error(
        "this process was forked from the one that has the connection: connect anew, or start processes with `spawn`"
    )]
    Forked,
    /// A peer wrote over the connection.
    #[error("the connection is corrupt: a peer wrote over it; connect anew")]
    Corrupt,
    /// The message is not such a value. It is gone.
    #[error("the message is not a value of the type that was asked for")]
    Decode(#[source] postcard::Error),
    /// A handle in the message cannot be had. It is gone.
    #[error("a handle in the message cannot be had")]
    Handle(#[source] Error),
    /// The descriptors that belong to the message cannot be had. It is gone.
    #[error("the descriptors that belong to the message did not come: check the limit on open files (ulimit -n)")]
    Descriptors(#[source] io::Error),
}

impl From<Corrupt> for SendError {
    fn from(_: Corrupt) -> Self {
        Self::Corrupt
    }
}

impl From<Corrupt> for RecvError {
    fn from(_: Corrupt) -> Self {
        Self::Corrupt
    }
}
