//! Bytes and messages from one process to another, through memory that both have mapped.
#![deny(unsafe_code)]

mod connection;
mod end;
mod ring;
mod stream;
mod trust;

pub use connection::{
    CAPACITY, Connection, Duplex, LIMIT, RecvError, SendError, duplex, duplex_with_capacity, private_duplex,
};
pub use shmkit_segment::Error;
pub use shmkit_segment::transfer::Descriptor;
#[cfg(not(loom))]
pub use stream::Reservation;
pub use stream::{Pipe, Reader, Settings, Writer, pipe, pipe_for_strangers, pipe_with, private, private_at};
pub use trust::{Family, Stranger, Trust};
