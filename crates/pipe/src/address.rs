//! Where programs meet that have nothing but a path in common: a Unix socket, over which a connection is handed.
//!
//! The listener makes the shared memory of each connection, sealed, and gives one end of it away; what is sent later goes through that. The socket stays, as the way of the connection's descriptors.
//!
//! ```text
//! listener                                                      who connects
//! magic "shmc", version, is there a secret, 32 random bytes s ──▶
//!                                                              ◀── 32 random bytes c, mac("connects", s, c)      only if there
//! mac("listens", s, c)                                         ──▶                                               is a secret
//! an end of the connection (see `shmkit_segment::send`)        ──▶ checks seals, header, version, layout
//! ```
//!
//! # Who is let in
//!
//! The socket has its [mode](Address::mode) from the moment it exists. Both sides look at the user of the other, as the kernel noted it, and proceed only with those they expect. With a [secret](Address::secret), both
//! prove that they know it, by a MAC of what both have chosen at random, and without it being sent; each with a word of its own, so that nobody can be given his own proof back.
//!
//! # Whose the path is
//!
//! Who comes to listen holds a lock (`flock`) on the directory while it looks whether somebody listens there, removes a socket that nobody has, and puts its own there, listening. So a path at which a connection is refused is
//! one that was left by a listener that was killed. It is removed by the next one, or by nobody.

use crate::connection::{Connection, Duplex, end_of};
use crate::trust::Stranger;
use handshake::Secret;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use shmkit_segment::{Credentials, DeadlineSocket, Options, Role};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

mod error;
mod handshake;
mod listener;
mod place;

pub use error::ConnectError;
pub use listener::Listener;

/// A path at which one program listens and others connect, and what they expect of each other.
///
/// ```
/// use shmkit_pipe::Address;
///
/// let directory = tempfile::tempdir()?;
/// let address = Address::new(directory.path().join("meter"));
/// let listener = address.listen()?; // in one program
/// # let mut client = std::thread::scope(|scope| -> Result<_, Box<dyn std::error::Error>> {
/// # let client = scope.spawn(|| address.connect().unwrap());
/// let (mut connection, who) = listener.accept()?;
/// println!("process {} of user {}", who.pid, who.user);
/// connection.send(&"hello")?;
/// # Ok(client.join().unwrap()) })?;
/// // let mut client = address.connect()?; // in another one
/// assert_eq!(client.recv::<String>()?, "hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Address {
    path: PathBuf,
    mode: u32,
    owner: Option<u32>,
    capacity: usize,
    patience: Duration,
    secret: Option<Secret>,
}

impl Address {
    /// Bytes that each ring of a connection holds unless something else is said: 64 KiB, as a listener can have many.
    pub const CAPACITY: usize = 1 << 16;

    /// For this user's programs (mode 0600), without a secret.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            mode: 0o600,
            owner: None,
            capacity: Self::CAPACITY,
            patience: Duration::from_secs(10),
            secret: None,
        }
    }

    /// For a listener: who may connect, as the permissions of a file say it; write permission is what counts. If others than the owner may, users are not compared. 0600 unless something else is said.
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// For who connects: whose the listener must be. This user's or root's unless something else is said, as anybody could take a path in a directory that is open to all.
    pub fn owner(mut self, user: u32) -> Self {
        self.owner = Some(user);
        self
    }

    /// For a listener: how many bytes each ring of a connection holds: a power of two, at least 256. [`CAPACITY`](Self::CAPACITY) unless something else is said.
    pub fn capacity(mut self, bytes: usize) -> Self {
        self.capacity = bytes;
        self
    }

    /// How long the other side may take for its part in connecting. 10 s unless something else is said. A listener waits for a client only if there is a secret, and for one at a time.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Both sides must know this secret, and prove it (HMAC-SHA-256). It is not sent. What is sent afterwards is as visible to who may look into these processes as it is without one.
    #[cfg(feature = "secret")]
    pub fn secret(mut self, secret: impl Into<Vec<u8>>) -> Self {
        self.secret = Some(Secret::new(secret.into()));
        self
    }

    /// The path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Listens. The path must be free, or have been left by a listener that is gone. It is removed when the listener is dropped.
    ///
    /// # Errors
    /// [`ConnectError::Taken`] if somebody listens there (which it finds out by connecting: that listener's next `accept` says [`Left`](ConnectError::Left)), or it is something else than a socket; [`ConnectError::Io`] if the kernel refuses; [`ConnectError::Busy`] if other listeners keep the directory locked.
    pub fn listen(&self) -> Result<Listener, ConnectError> {
        Listener::new(self)
    }

    /// Connects to who listens. Blocks until that has accepted, for as long as the [patience](Self::patience) lasts.
    ///
    /// # Errors
    /// [`ConnectError::NotFound`], [`Refused`](ConnectError::Refused) if nobody listens; [`WrongUser`](ConnectError::WrongUser), [`WrongSecret`](ConnectError::WrongSecret); [`Timeout`](ConnectError::Timeout);
    /// [`NotSpoken`](ConnectError::NotSpoken) if something else listens there, or another version; [`Handover`](ConnectError::Handover) if the memory cannot be had; [`Io`](ConnectError::Io).
    pub fn connect(&self) -> Result<Connection<Stranger>, ConnectError> {
        let socket = self.socket()?;
        // Connecting blocks while too many others wait to be accepted. Zero would be for ever.
        let patience = self.patience.max(Duration::from_millis(1));
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(patience))
            .map_err(|cause| self.failed("set a time-out of", "choose another one", cause))?;
        rustix::net::connect(&socket, &self.address()?).map_err(|cause| place::not_connected(&self.path, cause))?;
        let socket = UnixStream::from(socket);
        let listener = self.credentials(&socket)?;
        if self.owner.map_or(!is_own(listener.user), |owner| owner != listener.user) {
            let expected = self.owner.unwrap_or_else(own_user);
            return Err(ConnectError::WrongUser { path: self.path.clone(), found: listener.user, expected });
        }
        let deadline = self.deadline();
        let mut timed = DeadlineSocket::new(&socket, Some(deadline));
        handshake::as_client(&mut timed, self.secret.as_ref()).map_err(|failure| failure.at(&self.path))?;
        let role: Role<Duplex<Stranger>> = shmkit_segment::recv_deadline(&socket, deadline)
            .map_err(|error| ConnectError::handover(&self.path, error))?;
        if role.number() != 1 {
            return Err(ConnectError::NotSpoken { path: self.path.clone() });
        }
        end_of(role, socket).map_err(|error| ConnectError::handover(&self.path, error))
    }

    /// The listener's part.
    fn hand_over(&self, socket: UnixStream) -> Result<(Connection<Stranger>, Credentials), ConnectError> {
        let client = self.credentials(&socket)?;
        if self.mode & 0o077 == 0 && !is_own(client.user) {
            return Err(ConnectError::WrongUser { path: self.path.clone(), found: client.user, expected: own_user() });
        }
        // What a listener sends fits into a socket that nobody reads from.
        let mut timed = DeadlineSocket::new(&socket, Some(self.deadline()));
        handshake::as_listener(&mut timed, self.secret.as_ref()).map_err(|failure| failure.at(&self.path))?;
        let handover = |error| ConnectError::handover(&self.path, error);
        let segment = Options::new()
            .peers(PEERS)
            .anonymous::<Duplex<Stranger>>([self.capacity as u64, 0, 0, 0, 0, 0, 0, 0])
            .map_err(handover)?;
        let theirs = segment.role(1);
        shmkit_segment::send(&socket, &theirs).map_err(handover)?;
        drop(theirs);
        Ok((end_of(segment.role(0), socket).map_err(handover)?, client))
    }

    fn socket(&self) -> Result<OwnedFd, ConnectError> {
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .map_err(|cause| self.failed("make a Unix socket", "check the limit on open files (ulimit -n)", cause))
    }

    fn address(&self) -> Result<SocketAddrUnix, ConnectError> {
        SocketAddrUnix::new(&self.path)
            .map_err(|cause| self.failed("use", "the path of a socket has at most 107 bytes: use a shorter one", cause))
    }

    /// When the patience with who has come is at its end.
    fn deadline(&self) -> Instant {
        // For ever is a year.
        const YEAR: Duration = Duration::from_secs(365 * 86_400);
        Instant::now() + self.patience.min(YEAR)
    }

    fn credentials(&self, socket: &UnixStream) -> Result<Credentials, ConnectError> {
        shmkit_segment::credentials(socket).map_err(|error| ConnectError::handover(&self.path, error))
    }

    fn failed(&self, action: &'static str, hint: &'static str, source: impl Into<std::io::Error>) -> ConnectError {
        ConnectError::Io { path: self.path.clone(), action, hint, source: source.into() }
    }
}

/// Places for peers in the segment of a connection: the two ends, and those who are about to take over from them.
const PEERS: usize = 8;

/// Connects to who listens at `path`: a program of this user's or root's. See [`Address`] for more.
///
/// # Errors
/// As [`Address::connect`].
pub fn connect(path: impl Into<PathBuf>) -> Result<Connection<Stranger>, ConnectError> {
    Address::new(path).connect()
}

fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Root can be anybody, so it need not be asked.
fn is_own(user: u32) -> bool {
    user == own_user() || user == 0
}
