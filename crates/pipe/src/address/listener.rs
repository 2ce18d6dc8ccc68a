//! Who listens.

use super::{Address, ConnectError, place};
use crate::connection::Connection;
use crate::trust::Stranger;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::SocketFlags;
use rustix::time::Timespec;
use shmkit_segment::{Credentials, crash, forks};
use shmkit_sync::Deadline;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Accepts connections at a path.
///
/// [`AsFd`] gives its socket, which polls readable when somebody has come: to wait for it beside others.
///
/// When it is dropped, its path is removed. If its process is killed, the path stays, those who connect are [refused](ConnectError::Refused), and the next who listens there takes it over. The connections that it has accepted are
/// independent of it.
#[derive(Debug)]
pub struct Listener {
    address: Address,
    socket: OwnedFd,
    /// What it has put at its path: device and inode.
    place: Option<(u64, u64)>,
    /// How many forks there were before it was made: a forked child must not remove its parent's path.
    forks: u64,
}

impl Listener {
    /// Listens at `path`, for this user's programs. See [`Address`] for more.
    ///
    /// # Errors
    /// As [`Address::listen`].
    pub fn bind(path: impl Into<PathBuf>) -> Result<Self, ConnectError> {
        Address::new(path).listen()
    }

    pub(super) fn new(address: &Address) -> Result<Self, ConnectError> {
        let socket = address.socket()?;
        let name = address.address()?;
        let mode = Mode::from_raw_mode(address.mode);
        const PERMISSIONS: &str = "check that this user may write to the directory, and that the mode makes sense";
        // A socket that has a mode before it has a name has at most that mode when it has one.
        rustix::fs::fchmod(&socket, mode).map_err(|cause| address.failed("set the mode of", PERMISSIONS, cause))?;
        let _lock = place::lock(&address.path)?;
        place::clear(&address.path, &name)?;
        crash::site("bind");
        rustix::net::bind(&socket, &name).map_err(|cause| match cause {
            Errno::ADDRINUSE => ConnectError::Taken { path: address.path.clone(), what: "somebody who was faster" },
            _ => address.failed("make a socket at", PERMISSIONS, cause),
        })?;
        // From here on a failure leaves no path behind.
        let place = place::status(&address.path).map(|status| (status.st_dev, status.st_ino));
        let listener = Self { address: address.clone(), socket, place, forks: forks() };
        crash::site("chmod");
        // What the mask of the process has taken away.
        rustix::fs::chmod(&address.path, mode)
            .map_err(|cause| address.failed("set the mode of", PERMISSIONS, cause))?;
        crash::site("listen");
        rustix::net::listen(&listener.socket, BACKLOG)
            .map_err(|cause| address.failed("listen at", "the kernel refused", cause))?;
        Ok(listener)
    }

    /// The path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.address.path
    }

    /// Accepts a connection, and blocks until somebody comes: this end of it, and who has the other one.
    ///
    /// # Errors
    /// Why there is no connection with the one who has come: [`ConnectError::WrongUser`], [`WrongSecret`](ConnectError::WrongSecret), [`Timeout`](ConnectError::Timeout), [`Left`](ConnectError::Left),
    /// [`NotSpoken`](ConnectError::NotSpoken), [`Handover`](ConnectError::Handover), [`Io`](ConnectError::Io). The next one can be accepted.
    pub fn accept(&self) -> Result<(Connection<Stranger>, Credentials), ConnectError> {
        loop {
            if let Some(outcome) = self.accept_until(Deadline::NEVER)? {
                return Ok(outcome);
            }
        }
    }

    /// Accepts a connection if somebody has come. Does not wait for that.
    ///
    /// # Errors
    /// As [`accept`](Self::accept).
    pub fn try_accept(&self) -> Result<Option<(Connection<Stranger>, Credentials)>, ConnectError> {
        self.accept_until(Deadline::after(Duration::ZERO))
    }

    /// Accepts a connection, and blocks for at most `timeout` until somebody comes (not counting the [patience](Address::patience) with one who has come).
    ///
    /// # Errors
    /// As [`accept`](Self::accept).
    pub fn accept_timeout(
        &self,
        timeout: Duration,
    ) -> Result<Option<(Connection<Stranger>, Credentials)>, ConnectError> {
        self.accept_until(Deadline::after(timeout))
    }

    /// Accepts a connection, and blocks until `deadline` at the latest until somebody comes (not counting the [patience](Address::patience) with one who has come).
    ///
    /// # Errors
    /// As [`accept`](Self::accept).
    pub fn accept_deadline(
        &self,
        deadline: Instant,
    ) -> Result<Option<(Connection<Stranger>, Credentials)>, ConnectError> {
        self.accept_until(deadline.into())
    }

    fn accept_until(&self, deadline: Deadline) -> Result<Option<(Connection<Stranger>, Credentials)>, ConnectError> {
        match self.come(deadline)? {
            Some(socket) => self.address.hand_over(socket).map(Some),
            None => Ok(None),
        }
    }

    /// Somebody who has come; `None` when the time is up.
    fn come(&self, deadline: Deadline) -> Result<Option<UnixStream>, ConnectError> {
        const LIMITS: &str = "check the limit on open files (ulimit -n)";
        loop {
            let remaining = deadline.remaining();
            let patience = remaining.and_then(|remaining| Timespec::try_from(remaining).ok());
            match poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], patience.as_ref()) {
                Ok(0) if remaining == Some(Duration::ZERO) => return Ok(None),
                Ok(0) | Err(Errno::INTR) => continue,
                Ok(_) => {}
                Err(cause) => return Err(self.address.failed("wait at", LIMITS, cause)),
            }
            // Somebody else may have the same socket, so that this would block if its client was accepted meanwhile.
            rustix::io::ioctl_fionbio(&self.socket, true)
                .map_err(|cause| self.address.failed("wait at", LIMITS, cause))?;
            match rustix::net::accept_with(&self.socket, SocketFlags::CLOEXEC) {
                Ok(socket) => return Ok(Some(socket.into())),
                Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => {}
                Err(cause) => return Err(self.address.failed("accept a connection at", LIMITS, cause)),
            }
        }
    }
}

/// How many can wait to be accepted.
const BACKLOG: i32 = 128;

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if self.forks != forks() || self.place.is_none() {
            return;
        }
        // Without the lock it stays, and is taken over by the next one.
        if let Ok(_lock) = place::lock(&self.address.path)
            && place::status(&self.address.path).map(|status| (status.st_dev, status.st_ino)) == self.place
        {
            crash::site("unlink");
            // What cannot be removed is taken over by the next one.
            let _ = rustix::fs::unlink(&self.address.path);
        }
    }
}
