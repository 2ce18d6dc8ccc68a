//! Why a buffer could not be had or sent, or its content not be understood.

use std::convert::identity;

macro_rules! errors {
    ($($(#[$attribute:meta])* $name:ident { $($(#[$own:meta])* $variant:ident)? })*) => {$(
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$own])* $variant,)?
            /// The message does not fit into a buffer: create the queue with larger ones, or split it.
            #[error("a message of {length} bytes does not fit into a buffer of {limit}")]
            TooLarge {
                /// Bytes of the message.
                length: usize,
                /// Bytes of the largest buffers.
                limit: usize,
            },
            /// The value cannot be encoded: its own `Serialize` failed, or wants what the format does not have (sequences of unknown length).
            #[error("the value cannot be encoded: its serialisation failed, or has a sequence of unknown length")]
            NotEncodable,
            /// A peer wrote nonsense into the queue: create it again.
            #[error("the queue is corrupt: a peer wrote over it")]
            Corrupt,
            /// Nobody will receive it: the last receiver has left or died.
            #[error("all receivers are gone")]
            Disconnected,
            /// This process is a fork of the one that has the handle.
            #[error("this process was forked from the one that has the handle")]
            Moved,
        }
    )*};
}

errors! {
    /// No buffer could be had at once, or the message could not be sent.
    TrySendError {
        /// Every buffer that is large enough is in use: by messages that wait, by receivers that hold them, or by other senders.
        #[error("all buffers are in use")]
        Full
    }
    /// No buffer could be had in time, or the message could not be sent.
    SendTimeoutError {
        /// Every buffer that is large enough stayed in use.
        #[error("all buffers stayed in use until the time was up")]
        Timeout
    }
    /// The message will never be sent.
    SendError {}
}

/// Turns one error into another that has the same variants.
macro_rules! same {
    ($from:expr, $of:ident => $to:ident, $wrap:expr $(, $own:ident => $instead:expr)?) => {
        match $from {
            $($of::$own => $instead,)?
            $of::TooLarge { length, limit } => $wrap($to::TooLarge { length, limit }),
            $of::NotEncodable => $wrap($to::NotEncodable),
            $of::Corrupt => $wrap($to::Corrupt),
            $of::Disconnected => $wrap($to::Disconnected),
            $of::Moved => $wrap($to::Moved),
        }
    };
}

impl TrySendError {
    /// `None` if waiting may help.
    pub(super) fn settled(self) -> Option<SendTimeoutError> {
        same!(self, Self => SendTimeoutError, Some, Full => None)
    }
}

impl SendTimeoutError {
    /// For waits without a deadline.
    pub(super) fn without_timeout(self) -> SendError {
        same!(self, Self => SendError, identity, Timeout => unreachable!("there was no deadline"))
    }
}

impl From<SendError> for TrySendError {
    fn from(error: SendError) -> Self {
        same!(error, SendError => Self, identity)
    }
}

impl From<SendError> for SendTimeoutError {
    fn from(error: SendError) -> Self {
        same!(error, SendError => Self, identity)
    }
}

/// A message is not a value of the type that it was asked for: the peer sent another type, or bytes that were not encoded, or wrote nonsense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message is not a value of the type it was asked for: {0}")]
pub struct DecodeError(#[source] Misfit);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Misfit {
    #[error(transparent)]
    Format(postcard::Error),
    #[error("{0} bytes are left over")]
    LeftOver(usize),
}

impl DecodeError {
    pub(super) fn of(error: postcard::Error) -> Self {
        Self(Misfit::Format(error))
    }

    pub(super) fn left_over(bytes: usize) -> Self {
        Self(Misfit::LeftOver(bytes))
    }
}
