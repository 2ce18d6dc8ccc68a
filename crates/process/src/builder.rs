//! Starting a child, from the parent's side.
//!
//! Everything that can fail is done before the process exists: arguments are encoded and already lie in the socket
//! when the child comes up. So the parent never waits for the child to read, and a failure leaves nothing behind.

use crate::child::{self, Start};
use crate::entry::Call;
use crate::error::SpawnError;
use crate::handle::JoinHandle;
use crate::watch::{self, Child};
use crate::{launch, lifeline, wire};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use serde::{Serialize, de::DeserializeOwned};
use shmkit_segment::transfer;
use std::env;
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::Duration;

/// How long a child may take to come up, unless it is set.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(10);
/// The kernel keeps this much of a process's name.
const NAME_MAX: usize = 15;

/// Runs `f(args)` in a new process, which executes this same program, and returns a handle to its result.
///
/// `f` is a function or a closure that captures nothing; what it needs goes into `args`. Arguments and result may be
/// of any size, and may hold handles to shared memory, whose descriptors then travel along.
///
/// Returns when the program was executed, in about a millisecond, whatever the memory of this process. It does not
/// wait for the function to begin: whether the process came up is seen by [`join`](JoinHandle::join).
///
/// # Errors
///
/// One [`SpawnError`] for each reason not to start a process. None is left behind then; the arguments are dropped.
pub fn spawn<A, R>(f: fn(A) -> R, args: A) -> Result<JoinHandle<R>, SpawnError>
where
    A: Serialize + DeserializeOwned + 'static,
    R: Serialize + DeserializeOwned + 'static,
{
    Builder::new().spawn(f, args)
}

/// Settings of a process to be started. Can be used for several.
///
/// ```
/// # shmkit_process::init();
/// use shmkit_process::Builder;
///
/// let greet = |name: String| format!("{} {name}", std::env::var("GREETING").unwrap());
/// let child = Builder::new().name("greeter").env("GREETING", "Hello").spawn(greet, "world".into())?;
/// assert_eq!(child.join()?, "Hello world");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until spawn is called"]
pub struct Builder {
    name: Option<OsString>,
    /// In order; the last of a key counts.
    variables: Vec<(OsString, OsString)>,
    die_with_parent: bool,
    startup_timeout: Duration,
}

impl Default for Builder {
    fn default() -> Self {
        Builder { name: None, variables: Vec::new(), die_with_parent: false, startup_timeout: STARTUP_TIMEOUT }
    }
}

impl Builder {
    /// The settings that [`spawn`] uses: this process's name and environment, and a life of its own.
    pub fn new() -> Self {
        Self::default()
    }

    /// Names the process, in lists of processes (its first 15 bytes) and as its first argument. Otherwise it is named
    /// like this one.
    pub fn name(mut self, name: impl AsRef<OsStr>) -> Self {
        self.name = Some(name.as_ref().to_owned());
        self
    }

    /// Sets a variable of the process's environment, besides those that it gets from this process.
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.variables.push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Whether the process is killed (SIGKILL) when this process ends, however it ends. Off by default.
    ///
    /// What counts is the process, not the thread that spawns; the child is gone a moment later. The child's own
    /// children are not, unless they were started in the same way. A child that replaces itself by another program
    /// (`exec`) gets free. Costs two descriptors for all such children together.
    pub fn die_with_parent(mut self, yes: bool) -> Self {
        self.die_with_parent = yes;
        self
    }

    /// How long the process may take to come up, 10 seconds by default.
    ///
    /// It counts from the start, not to the end of the function but until the process reports that it is about to
    /// receive its call. A process that is silent longer is killed *by a join*, which then gives
    /// [`StartFailure::TimedOut`](crate::StartFailure::TimedOut).
    pub fn startup_timeout(mut self, timeout: Duration) -> Self {
        self.startup_timeout = timeout;
        self
    }

    /// Runs `f(args)` in a new process. See [`spawn`](crate::spawn()).
    ///
    /// # Errors
    ///
    /// One [`SpawnError`] for each reason not to start a process.
    pub fn spawn<A, R>(&self, f: fn(A) -> R, args: A) -> Result<JoinHandle<R>, SpawnError>
    where
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + 'static,
    {
        // Before the arguments are serialised, which may move handles out of them.
        let prepared = self.prepare(Call::of(f)?)?;
        let (payload, descriptors) = transfer::sending(|| postcard::to_stdvec(&args));
        let descriptors = descriptors.map_err(SpawnError::Handle)?;
        let child = prepared.start(&payload.map_err(SpawnError::Encode)?, descriptors)?;
        Ok(JoinHandle::new(child))
    }

    /// All that does not depend on the arguments.
    fn prepare(&self, call: Call) -> Result<Prepared, SpawnError> {
        if child::is_marked() {
            return Err(SpawnError::NestedStart);
        }
        watch::reap_abandoned();
        let lifeline = match self.die_with_parent {
            true => Some(lifeline::read_end().map_err(|cause| SpawnError::os("tie a child to this process", cause))?),
            false => None,
        };
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .map_err(|cause| SpawnError::os("make a socket for a child", cause))?;
        let theirs =
            above_standard_streams(theirs).map_err(|cause| SpawnError::os("make a socket for a child", cause))?;
        let argument = self.argument()?;
        let start = Start { call, name: short_name(&argument), die_with_parent: lifeline.is_some() };
        let environment = self.environment(&theirs)?;
        Ok(Prepared { start, lifeline, argument, environment, ours, theirs, startup_timeout: self.startup_timeout })
    }

    /// The child's first argument.
    fn argument(&self) -> Result<CString, SpawnError> {
        let name = self.name.clone().or_else(|| env::args_os().next()).unwrap_or_else(|| launch::PROGRAM.into());
        CString::new(name.into_vec()).map_err(|error| SpawnError::Invalid {
            what: format!("the name {:?}", OsString::from_vec(error.into_vec())),
            rule: "it must not contain a zero byte",
        })
    }

    /// The child's environment: this process's, what was set, and the mark that makes it a child.
    fn environment(&self, socket: &OwnedFd) -> Result<Vec<CString>, SpawnError> {
        for (key, value) in &self.variables {
            let bytes = key.as_bytes();
            let rule = if bytes.is_empty() || bytes.contains(&b'=') || bytes.contains(&0) {
                "its name must not be empty nor contain '=' or a zero byte"
            } else if value.as_bytes().contains(&0) {
                "its value must not contain a zero byte"
            } else if key == child::MARKER {
                "shmkit uses it itself"
            } else {
                continue;
            };
            return Err(SpawnError::Invalid { what: format!("the variable {key:?}"), rule });
        }
        let mark = child::mark(socket.as_fd()).map_err(|cause| SpawnError::os("look at a socket", cause))?;
        let inherited = env::vars_os().filter(|(key, _)| !self.variables.iter().any(|(set, _)| set == key));
        let set = self.variables.iter().enumerate().filter(|(at, (key, _))| {
            let later = &self.variables[at + 1..];
            !later.iter().any(|(other, _)| other == key)
        });
        Ok(inherited
            .chain(set.map(|(_, variable)| variable.clone()))
            .chain([(child::MARKER.into(), mark.into())])
            .filter_map(|(key, value)| {
                let entry = [key.as_bytes(), b"=", value.as_bytes()].concat();
                // What was set was checked, and what came from the environment holds no zero byte.
                CString::new(entry).ok()
            })
            .collect())
    }
}

/// A process that needs only its arguments to be started.
struct Prepared {
    start: Start,
    lifeline: Option<OwnedFd>,
    argument: CString,
    environment: Vec<CString>,
    ours: OwnedFd,
    theirs: OwnedFd,
    startup_timeout: Duration,
}

impl Prepared {
    fn start(self, payload: &[u8], descriptors: Vec<OwnedFd>) -> Result<Child, SpawnError> {
        let descriptors = self.lifeline.into_iter().chain(descriptors).collect();
        wire::send_frame(self.ours.as_fd(), &self.start, payload, descriptors)
            .map_err(|cause| SpawnError::os("hand the arguments to a child", cause))?;
        let pid = launch::launch(&self.argument, &self.environment, self.theirs.as_fd())
            .map_err(|cause| SpawnError::os("execute this program", cause))?;
        // With our copy of its end gone, the end of the child closes it.
        drop(self.theirs);
        Child::new(pid, self.ours, self.startup_timeout).map_err(|cause| SpawnError::os("watch a child", cause))
    }
}

/// Moves a descriptor away from the numbers of standard input, output and error, which are free in a program
/// that closed them. The child would take the socket for its output.
fn above_standard_streams(descriptor: OwnedFd) -> rustix::io::Result<OwnedFd> {
    if descriptor.as_raw_fd() > 2 { Ok(descriptor) } else { rustix::io::fcntl_dupfd_cloexec(&descriptor, 3) }
}

/// The last part of a path, as far as the kernel keeps it.
fn short_name(argument: &CString) -> CString {
    let path = argument.as_bytes();
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
    // It has no zero byte, as a part of a C string.
    CString::new(&name[..name.len().min(NAME_MAX)]).unwrap_or_default()
}
