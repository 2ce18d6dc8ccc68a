//! Why a buffer could not be had or sent.

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
                /// Bytes of a buffer.
                limit: usize,
            },
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
        /// Every buffer is in use: by messages that wait, by receivers that hold them, or by other senders.
        #[error("all buffers are in use")]
        Full
    }
    /// No buffer could be had in time, or the message could not be sent.
    SendTimeoutError {
        /// Every buffer stayed in use.
        #[error("all buffers stayed in use until the time was up")]
        Timeout
    }
    /// The message will never be sent.
    SendError {}
}

impl TrySendError {
    /// `None` if waiting may help.
    pub(super) fn settled(self) -> Option<SendTimeoutError> {
        match self {
            Self::Full => None,
            Self::TooLarge { length, limit } => Some(SendTimeoutError::TooLarge { length, limit }),
            Self::Corrupt => Some(SendTimeoutError::Corrupt),
            Self::Disconnected => Some(SendTimeoutError::Disconnected),
            Self::Moved => Some(SendTimeoutError::Moved),
        }
    }
}

impl SendTimeoutError {
    /// For waits without a deadline.
    pub(super) fn without_timeout(self) -> SendError {
        match self {
            Self::Timeout => unreachable!("there was no deadline"),
            Self::TooLarge { length, limit } => SendError::TooLarge { length, limit },
            Self::Corrupt => SendError::Corrupt,
            Self::Disconnected => SendError::Disconnected,
            Self::Moved => SendError::Moved,
        }
    }
}
