//! Bytes and messages from one process to another, through memory that both have mapped.
#![deny(unsafe_code)]

#[cfg(not(loom))]
mod address;
mod connection;
mod end;
mod ring;
mod stream;
mod trust;

#[cfg(not(loom))]
pub use address::{Address, ConnectError, Listener, connect};
pub use connection::{
    CAPACITY, Connection, Duplex, LIMIT, RecvError, SendError, duplex, duplex_with_capacity, private_duplex,
};
pub use shmkit_segment::Credentials;
pub use shmkit_segment::Error;
pub use shmkit_segment::transfer::Descriptor;
#[cfg(feature = "async")]
pub use shmkit_sync::WatchFd;
pub use shmkit_sync::{Waitable, wait};
#[cfg(not(loom))]
pub use stream::Reservation;
pub use stream::{Pipe, Reader, Settings, Writer, pipe, pipe_for_strangers, pipe_with, private, private_at};
pub use trust::{Family, Stranger, Trust};
