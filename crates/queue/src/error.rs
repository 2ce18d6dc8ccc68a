//! Why a message could not be sent or received. Values that were not sent come back.

use std::fmt;

/// A message could not be sent at once.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrySendError<T> {
    /// There is no room at the moment: receive, or wait with `send`. Room comes back in the order of the ring, so on a queue with several receivers a slow one can keep
    /// back what others have made.
    #[error("the queue is full")]
    Full(T),
    /// Nobody will receive it: the last receiver has left or died.
    #[error("all receivers are gone")]
    Disconnected(T),
    /// This handle belongs to another process: it was moved there, or this process is a fork of its owner.
    #[error("this handle belongs to another process: it was moved there, or this process was forked from its owner")]
    Moved(T),
    /// A peer wrote nonsense into the queue: create it again.
    #[error("the queue is corrupt: a peer wrote over it")]
    Corrupt(T),
}

/// A message will never be sent.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError<T> {
    /// Nobody will receive it: the last receiver has left or died.
    #[error("all receivers are gone")]
    Disconnected(T),
    /// This handle belongs to another process: it was moved there, or this process is a fork of its owner.
    #[error("this handle belongs to another process: it was moved there, or this process was forked from its owner")]
    Moved(T),
    /// A peer wrote nonsense into the queue: create it again.
    #[error("the queue is corrupt: a peer wrote over it")]
    Corrupt(T),
}

/// A message could not be sent in time.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendTimeoutError<T> {
    /// The queue stayed full.
    #[error("the queue stayed full until the time was up")]
    Timeout(T),
    /// Nobody will receive it: the last receiver has left or died.
    #[error("all receivers are gone")]
    Disconnected(T),
    /// This handle belongs to another process: it was moved there, or this process is a fork of its owner.
    #[error("this handle belongs to another process: it was moved there, or this process was forked from its owner")]
    Moved(T),
    /// A peer wrote nonsense into the queue: create it again.
    #[error("the queue is corrupt: a peer wrote over it")]
    Corrupt(T),
}

/// A slice was sent in part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the slice was sent in part: its first {sent} messages")]
pub struct SendSliceError<E: std::error::Error + 'static> {
    /// How many messages of the slice were sent, from its first on.
    pub sent: usize,
    /// Why not all.
    #[source]
    pub error: E,
}

/// No message could be received at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TryRecvError {
    /// There is none.
    #[error("the queue is empty")]
    Empty,
    /// There is one, but its sender has not finished writing it.
    #[error("the next message is still being written")]
    Busy,
    /// There is none, and all senders have left or died: there never will be.
    #[error("the queue is empty and all senders are gone")]
    Disconnected,
    /// This handle belongs to another process: it was moved there, or this process is a fork of its owner.
    #[error("this handle belongs to another process: it was moved there, or this process was forked from its owner")]
    Moved,
    /// A peer wrote nonsense into the queue: create it again.
    #[error("the queue is corrupt: a peer wrote over it")]
    Corrupt,
}

/// No message will ever be received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecvError {
    /// All senders have left or died, and everything they sent has been received.
    #[error("the queue is empty and all senders are gone")]
    Disconnected,
    /// This handle belongs to another process: it was moved there, or this process is a fork of its owner.
    #[error("this handle belongs to another process: it was moved there, or this process was forked from its owner")]
    Moved,
    /// A peer wrote nonsense into the queue: create it again.
    #[error("the queue is corrupt: a peer wrote over it")]
    Corrupt,
}

/// No message was received in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecvTimeoutError {
    /// None came in time.
    #[error("no message came until the time was up")]
    Timeout,
    /// All senders have left or died, and everything they sent has been received.
    #[error("the queue is empty and all senders are gone")]
    Disconnected,
    /// This handle belongs to another process: it was moved there, or this process is a fork of its owner.
    #[error("this handle belongs to another process: it was moved there, or this process was forked from its owner")]
    Moved,
    /// A peer wrote nonsense into the queue: create it again.
    #[error("the queue is corrupt: a peer wrote over it")]
    Corrupt,
}

/// A queue was not seen to be finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// Something was under way until the time was up.
    #[error("messages were still waiting or being dealt with when the time was up")]
    Timeout,
    /// Messages are left that nobody will receive: the last receiver has left or died.
    #[error("messages are left and all receivers are gone")]
    Disconnected,
    /// This handle belongs to another process: this process is a fork of its owner.
    #[error("this handle belongs to another process: this process was forked from its owner")]
    Moved,
}

/// The message inside need not be printable.
macro_rules! debug_without_the_message {
    ($($name:ident { $($variant:ident),* })*) => {$(
        impl<T> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$variant(_) => concat!(stringify!($variant), "(..)")),*
                })
            }
        }

        impl<T> $name<T> {
            /// The message that was not sent.
            pub fn into_inner(self) -> T {
                match self {
                    $(Self::$variant(value) => value),*
                }
            }
        }
    )*};
}

debug_without_the_message! {
    TrySendError { Full, Disconnected, Moved, Corrupt }
    SendError { Disconnected, Moved, Corrupt }
    SendTimeoutError { Timeout, Disconnected, Moved, Corrupt }
}

impl TrySendError<()> {
    /// The same for a value that was meant.
    pub(crate) fn with<T>(self, value: T) -> TrySendError<T> {
        match self {
            Self::Full(()) => TrySendError::Full(value),
            Self::Disconnected(()) => TrySendError::Disconnected(value),
            Self::Moved(()) => TrySendError::Moved(value),
            Self::Corrupt(()) => TrySendError::Corrupt(value),
        }
    }
}

impl<T> TrySendError<T> {
    /// `None` if waiting may help.
    pub(crate) fn settled(self) -> Option<SendTimeoutError<T>> {
        match self {
            Self::Full(_) => None,
            Self::Disconnected(value) => Some(SendTimeoutError::Disconnected(value)),
            Self::Moved(value) => Some(SendTimeoutError::Moved(value)),
            Self::Corrupt(value) => Some(SendTimeoutError::Corrupt(value)),
        }
    }
}

impl<T> SendTimeoutError<T> {
    /// For waits without a deadline.
    pub(crate) fn without_timeout(self) -> SendError<T> {
        match self {
            Self::Timeout(_) => unreachable!("there was no deadline"),
            Self::Disconnected(value) => SendError::Disconnected(value),
            Self::Moved(value) => SendError::Moved(value),
            Self::Corrupt(value) => SendError::Corrupt(value),
        }
    }
}

impl TryRecvError {
    /// `None` if waiting may help.
    pub(crate) fn settled(self) -> Option<RecvTimeoutError> {
        match self {
            Self::Empty | Self::Busy => None,
            Self::Disconnected => Some(RecvTimeoutError::Disconnected),
            Self::Moved => Some(RecvTimeoutError::Moved),
            Self::Corrupt => Some(RecvTimeoutError::Corrupt),
        }
    }
}

impl RecvTimeoutError {
    /// For waits without a deadline.
    pub(crate) fn without_timeout(self) -> RecvError {
        match self {
            Self::Timeout => unreachable!("there was no deadline"),
            Self::Disconnected => RecvError::Disconnected,
            Self::Moved => RecvError::Moved,
            Self::Corrupt => RecvError::Corrupt,
        }
    }
}
