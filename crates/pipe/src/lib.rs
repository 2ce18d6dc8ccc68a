//! Bytes and messages from one process to another, through memory that both have mapped.
//!
//! | | what passes | ends | choose it for |
//! |---|---|---|---|
//! | [`Writer`], [`Reader`] | a stream of bytes | one writes, one reads | whatever knows [`Read`](std::io::Read) and [`Write`](std::io::Write): compressors, parsers, `io::copy` |
//! | [`Connection`] | messages with boundaries, both ways | two | requests and answers; values, handles and open files |
//! | [`Listener`], [`connect`] | connections | any number of clients | programs that have nothing in common but a path |
//!
//! ```
//! use std::io::{BufRead, Write};
//!
//! let (mut writer, reader) = shmkit_pipe::pipe()?; // either end can be passed to a child process
//! writer.write_all(b"one\ntwo\n")?;
//! drop(writer); // what remains is read, then comes the end of the stream
//! let lines: Vec<String> = reader.lines().collect::<Result<_, _>>()?;
//! assert_eq!(lines, ["one", "two"]);
//!
//! let (mut writer, reader) = shmkit_pipe::pipe()?;
//! drop(reader);
//! let error = writer.write_all(b"nobody reads that").unwrap_err();
//! assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! ```
//! use shmkit_pipe::{Reader, RecvError, duplex, pipe};
//! use std::io::Read;
//! use std::time::Duration;
//!
//! let (mut here, mut there) = duplex()?; // either end can be passed to a child process
//! here.send(&("add", 2_u64, 3_u64))?;
//! let (what, one, other) = there.recv::<(String, u64, u64)>()?;
//! assert_eq!((what.as_str(), one + other), ("add", 5));
//! there.send_bytes(b"five")?; // bytes as they are
//! assert_eq!(here.recv_bytes()?, b"five");
//! assert!(matches!(here.recv_bytes_timeout(Duration::from_millis(1)), Err(RecvError::Timeout)));
//!
//! let (writer, reader) = pipe()?;
//! here.send(&reader)?; // an end of a pipe, a queue, a lock, a connection, an open file
//! drop(writer);
//! assert_eq!(there.recv::<Reader>()?.read(&mut [0; 8])?, 0);
//!
//! drop(here);
//! assert!(matches!(there.recv_bytes(), Err(RecvError::Disconnected)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The ends can be passed to child processes as arguments and results (see `shmkit-process`), and inside of messages; they move there. They are `Send`; each belongs to one thread at a time.
//!
//! # One of several
//!
//! ```
//! use shmkit_pipe::{duplex, wait};
//!
//! let (first, mut its_other_end) = duplex()?;
//! let (mut second, mut the_other_ones) = duplex()?;
//! the_other_ones.send_bytes(b"here")?;
//! assert_eq!(wait([first.watch(), second.watch()], None), [1]);
//! assert_eq!(second.try_recv_bytes()?, b"here");
//! # its_other_end.send_bytes(b"")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `Select` of `shmkit-sync` does the same with less work each time. Both take pipes, connections, queues and locks, and with the feature `async` descriptors, such as that of a [`Listener`]. So one thread serves as many clients as there are: see the
//! example `echo_server` of the repository.
//!
//! # How far the other side is trusted
//!
//! - [`Family`], unless something else is said: processes that run this same program and were given their ends. Bytes can be written and looked at in place: [`Writer::reserve`], [`BufRead`](std::io::BufRead).
//! - [`Stranger`]: any program, as it comes by a path, a name, a file, an embedder's memory or a Unix socket. All is copied, each word that the other side writes is loaded once and checked. What a hostile one can do is to send nonsense, to make
//!   you wait (deadlines are kept), to use up as much memory as you [allow](Connection::set_limit), and to be told that its [connection is corrupt](RecvError::Corrupt).
//!
//! # Guarantees
//!
//! - Bytes and messages come whole, once and in order; each change is one store, so that a kill at any instruction leaves nothing to repair.
//! - Nobody waits for a dead process for longer than about 50 ms.
//! - No system call except to sleep, and to wake somebody who does. No allocation, but of a `Vec` that is received into. No thread, but the one that sleeps for futures when one has to wait.
//!
//! | who was killed | the other side |
//! |---|---|
//! | a writer | reads what was written, of a write that was under way the first part; then the end of the stream |
//! | a reader | gets `BrokenPipe`; what was not read is lost, unless another one [claims](Reader::claim) the end and goes on |
//! | the sender of a message | receives it if `send` had returned, and nothing of one that was under way; then [`RecvError::Disconnected`] |
//! | the receiver of a message | gets [`SendError::Disconnected`]; what was not received is lost with the connection |
//! | a listener | keeps its connection; others are [refused](ConnectError::Refused) until somebody listens at the path again |
//!
//! # Limits
//!
//! - A *stopped* process is not dead: the other side waits, or keeps its deadlines.
//! - The end of a stream does not say whether it was cut off, as on any pipe: that takes a length or a trailer.
//! - Two that send more than the limit for a message to each other before they receive wait for each other for ever.
//! - A pipe has one writer and one reader, a connection two ends. For more, and for messages that come again when their receiver dies, there is `shmkit-queue`.
//!
//! # Cost
//!
//! Writing and reading cost the copying, and for each 16 KiB a store and two loads on either side; a message, two loads and two stores on either side. A pipe takes 9 KiB and its [capacity](Settings::CAPACITY) of shared memory, a connection
//! 10 KiB and twice [`CAPACITY`], of a listener's twice 64 KiB.

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
#[cfg(not(loom))]
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
