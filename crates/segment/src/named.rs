//! Segments that processes find by name: in `/dev/shm`, or in a file.
//!
//! A segment gets its name when it is whole. It is made in a file without one, which is gone if its creator dies, and `link` puts the
//! name to it only if the name is free. So a half-made segment is never found, and of two creators one wins.
//!
//! A named segment that nobody is attached to is **kept**, with its messages. Whoever opens it next recovers from the deaths that
//! nobody has noticed, and begins anew: roles that were left are as if never taken, so that who comes first waits for the other.
//!
//! Replaced are only those that cannot be used: never completed (a file that somebody else made), or from an earlier boot of the
//! machine; and on request those that nobody uses (`replace_stale`).
//!
//! # The door
//!
//! To come in by name, to replace, and to remove take turns by a lock on the segment's own file, its door. Inside, everyone first
//! compares the file with the one that has the name, and starts over if they differ. Nobody takes a name away except inside the door of
//! the file that has it; so while one is inside and they agree, they go on agreeing. Hence nobody attaches to a file
//! that has just lost its name, and nobody takes a name from the new file that has just got it. The lock falls with its holder, and
//! one that is stopped inside costs the others [`Error::Busy`].

use crate::fork::LockFile;
use crate::header::{Identity, Layout, MAX_PEERS};
use crate::life::{self, Door, Life};
use crate::segment::{Opened, Size};
use crate::{Configuration, Error, Memory, Object, Options, Segment, sys};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Where named segments are, and how their files' names begin.
pub(crate) const DIRECTORY: &str = "/dev/shm";
pub(crate) const PREFIX: &str = "shmkit-";
/// The longest name: a file's may have 255 bytes.
const NAME_MAX: usize = 255 - PREFIX.len();

/// How often to start over when others create, replace and remove the same name all the time.
const ATTEMPTS: usize = 1000;

/// A segment to be created or opened by name, or in a file. See [`Options::name`] and [`Options::file`].
///
/// ```
/// # use shmkit_segment::{Error, Options, Configuration, Memory, Object, PeerId, Plan};
/// # struct Nothing;
/// # impl Object for Nothing {
/// #     const KIND: u32 = 1;
/// #     const HARDENED: bool = true;
/// #     type Parts = ();
/// #     fn payload() -> std::alloc::Layout { std::alloc::Layout::new::<()>() }
/// #     fn plan(_: &Configuration, _: &mut Plan) -> Result<(), Error> { Ok(()) }
/// #     fn attach(_: &Memory, _: &()) -> Self { Self }
/// #     fn sweep(&self, _dead: PeerId, _reaper: PeerId) {}
/// #     fn wake_all(&self) {}
/// # }
/// # type MyObject = Nothing;
/// # let name = format!("doc-{}", std::process::id());
/// let named = Options::new().name(&name).mode(0o600);
/// let first = named.open_or_create::<MyObject>([0; 8])?; // in one process
/// let second = named.open::<MyObject>()?; // in another one
/// assert_eq!(first.peer_count(), 2);
///
/// assert!(matches!(named.create::<MyObject>([0; 8]), Err(Error::Exists { .. })));
/// shmkit_segment::remove(&name)?;
/// # Ok::<(), Error>(())
/// ```
///
/// # Who can open it
///
/// By default this user's processes alone: the file has the mode 0600, and one that belongs to another user or lets in more is refused, since
/// that user could have taken the name first. To share it with others, say so on both sides: [`mode`](Self::mode) and
/// [`owner`](Self::owner).
///
/// Whoever may write to the file can also truncate it, which would end the processes attached to it by a signal: share named segments only with users
/// whom you trust that far. An anonymous segment that is passed over a Unix socket cannot be truncated by anybody.
#[derive(Clone, Debug)]
#[must_use = "nothing happens until it is created or opened"]
pub struct Named {
    options: Options,
    place: Place,
    mode: u32,
    owner: Owner,
    replace_stale: bool,
}

#[derive(Clone, Debug)]
enum Place {
    Name(String),
    Path(PathBuf),
}

#[derive(Clone, Copy, Debug)]
enum Owner {
    User(u32),
    Anyone,
}

impl Named {
    pub(crate) fn by_name(options: Options, name: String) -> Self {
        Self::at(options, Place::Name(name))
    }

    pub(crate) fn by_path(options: Options, path: PathBuf) -> Self {
        Self::at(options, Place::Path(path))
    }

    fn at(options: Options, place: Place) -> Self {
        let owner = Owner::User(rustix::process::geteuid().as_raw());
        Self { options, place, mode: 0o600, owner, replace_stale: false }
    }

    /// Who may open it, as bits of a file's mode: 0600 (this user) by default. Not subject to the umask.
    ///
    /// For opening: a segment whose mode lets in more is refused.
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode & 0o777;
        self
    }

    /// The user, by id, whose segment may be opened: the one of this process by default.
    pub fn owner(mut self, user: u32) -> Self {
        self.owner = Owner::User(user);
        self
    }

    /// Opens it whoever created it.
    pub fn any_owner(mut self) -> Self {
        self.owner = Owner::Anyone;
        self
    }

    /// Whether to replace a segment that is whole but that no living process is attached to. Off by default: it is opened, with what it holds.
    pub fn replace_stale(mut self, yes: bool) -> Self {
        self.replace_stale = yes;
        self
    }

    /// Creates the segment.
    ///
    /// # Errors
    /// [`Error::Exists`] if there is a whole one (with [`replace_stale`](Self::replace_stale): if somebody uses it). Also all those of creating an
    /// anonymous segment and of opening a file: [`Error::NoSpace`], [`Error::File`], [`Error::NotAFile`], [`Error::WrongOwner`],
    /// [`Error::Busy`]. Nothing is left behind by a failure, or a kill.
    pub fn create<O: Object>(&self, configuration: Configuration) -> Result<Arc<Segment<O>>, Error> {
        let path = self.path()?;
        until_settled(&path, || {
            self.clear_the_way(&path)?;
            self.found(&path, configuration)
        })
    }

    /// Opens the segment that exists. Its configuration is the one that it was created with.
    ///
    /// # Errors
    /// [`Error::NotFound`]; one for each way in which what is there is not a segment that holds an `O` and may be trusted;
    /// [`Error::TooManyPeers`]; [`Error::Busy`].
    pub fn open<O: Object>(&self) -> Result<Arc<Segment<O>>, Error> {
        let path = self.path()?;
        until_settled(&path, || self.attach(&path))
    }

    /// Opens the segment if there is one, and creates it otherwise. One that was never completed or is from an earlier boot is replaced.
    ///
    /// # Errors
    /// As [`open`](Self::open) and [`create`](Self::create); [`Error::WrongObject`] if there is one with another configuration.
    pub fn open_or_create<O: Object>(&self, configuration: Configuration) -> Result<Arc<Segment<O>>, Error> {
        let path = self.path()?;
        let make_room = || match self.clear_the_way(&path) {
            Err(Error::Exists { .. }) => Ok(false),
            outcome => outcome,
        };
        until_settled(&path, || {
            if self.replace_stale {
                make_room()?;
            }
            match self.attach::<O>(&path) {
                Ok(Some(segment)) => of_configuration(segment, &configuration).map(Some),
                Ok(None) => Ok(None),
                Err(Error::NotFound { .. }) => self.found(&path, configuration),
                Err(Error::Incomplete | Error::EarlierBoot) => {
                    make_room()?;
                    self.found(&path, configuration)
                }
                Err(error) => Err(error),
            }
        })
    }

    fn path(&self) -> Result<PathBuf, Error> {
        match &self.place {
            Place::Name(name) => path_of(name),
            Place::Path(path) => Ok(path.clone()),
        }
    }

    /// Creates the segment unless the name is taken.
    fn found<O: Object>(&self, path: &Path, configuration: Configuration) -> Result<Option<Arc<Segment<O>>>, Error> {
        const { assert!(O::HARDENED, "this object must not be shared with strangers: see Object::HARDENED") }
        let layout = Layout::<O>::new(&configuration, self.options.peers)?;
        let length = layout.plan.length();
        let data = Arc::new(sys::unnamed_file(path, self.mode)?);
        sys::provide(&data, &layout.plan)?;
        let memory = Memory::shared(&data, length, self.options.advice())?;
        let life = Life::lock(LockFile::reopen(data.as_fd())?, 0);
        let advice = self.options.advice();
        let segment = Opened::found(memory, layout, configuration, advice, Some(Arc::clone(&data))).settle(life)?;
        Ok(sys::link(data.as_fd(), path)?.then_some(segment))
    }

    /// Becomes a peer of the segment that has the name; `None` if that is another one by now.
    fn attach<O: Object>(&self, path: &Path) -> Result<Option<Arc<Segment<O>>>, Error> {
        const { assert!(O::HARDENED, "this object must not be shared with strangers: see Object::HARDENED") }
        let data = self.open_file(path)?;
        let life = Life::lock(LockFile::reopen(data.as_fd())?, 0);
        let Some(_inside) = enter(&data, path)? else { return Ok(None) };
        Opened::<O>::file(data, Size::Trusted)?.come_in(life).map(Some)
    }

    /// Takes the name away from a segment that may be replaced: false if there is none. [`Error::Exists`] if it may not.
    pub(crate) fn clear_the_way(&self, path: &Path) -> Result<bool, Error> {
        let outcome = until_settled(path, || {
            let file = self.open_file(path)?;
            let Some(_inside) = enter(&file, path)? else { return Ok(None) };
            let may_go = match sys::read_identity(file.as_fd()) {
                Err(Error::Incomplete | Error::EarlierBoot) => true,
                Ok(_) | Err(Error::Incompatible { .. }) => self.replace_stale,
                // Nobody knows what it is.
                Err(error) => return Err(error),
            };
            if !may_go || life::is_anyone_alive(file.as_fd(), 0, MAX_PEERS) {
                return Err(Error::Exists { path: path.into() });
            }
            sys::unlink(path).map(|()| Some(true))
        });
        match outcome {
            Err(Error::NotFound { .. }) => Ok(false),
            outcome => outcome,
        }
    }

    /// Opens the file that has the name, if it is one and belongs to whom it should.
    fn open_file(&self, path: &Path) -> Result<OwnedFd, Error> {
        let file = sys::open_file(path)?;
        let status = sys::status(file.as_fd())?;
        if let Owner::User(expected) = self.owner
            && expected != status.st_uid
        {
            return Err(Error::WrongOwner { path: path.into(), found: status.st_uid, expected });
        }
        let found = status.st_mode & 0o777;
        if found & !self.mode != 0 {
            return Err(Error::WiderMode { path: path.into(), found, allowed: self.mode });
        }
        Ok(file)
    }
}

/// `segment`, if it was created with this configuration.
pub(crate) fn of_configuration<O: Object>(
    segment: Arc<Segment<O>>,
    expected: &Configuration,
) -> Result<Arc<Segment<O>>, Error> {
    const WHAT: [&str; 8] = [
        "configuration[0]",
        "configuration[1]",
        "configuration[2]",
        "configuration[3]",
        "configuration[4]",
        "configuration[5]",
        "configuration[6]",
        "configuration[7]",
    ];
    let found = segment.configuration();
    match (0..8).find(|&i| found[i] != expected[i]) {
        None => Ok(segment),
        Some(i) => Err(Error::WrongObject { what: WHAT[i], found: found[i], expected: expected[i] }),
    }
}

/// The file that stands for a name.
pub(crate) fn path_of(name: &str) -> Result<PathBuf, Error> {
    let rule = if name.is_empty() {
        "it must not be empty"
    } else if name.contains(['/', '\0']) {
        "it must not contain a slash or a zero byte (for a path, use `file`)"
    } else if name.len() > NAME_MAX {
        "it must not be longer than 248 bytes"
    } else {
        return Ok(Path::new(DIRECTORY).join(format!("{PREFIX}{name}")));
    };
    Err(Error::Name { name: name.to_owned(), rule })
}

/// Tries until it comes to an end. `None` says that somebody else has changed what the name stands for meanwhile.
pub(crate) fn until_settled<R>(path: &Path, mut attempt: impl FnMut() -> Result<Option<R>, Error>) -> Result<R, Error> {
    let start = Instant::now();
    for _ in 0..ATTEMPTS {
        if let Some(result) = attempt()? {
            return Ok(result);
        }
    }
    Err(Error::Busy { path: path.into(), waited: start.elapsed() })
}

/// Enters the door of a file; `None` if the file has lost its name.
pub(crate) fn enter(file: &OwnedFd, path: &Path) -> Result<Option<Door>, Error> {
    let status = sys::status(file.as_fd())?;
    Door::enter(file.as_fd(), 0, path, || sys::is_named(&status, path))
}

/// What a file that has a segment's name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// A whole segment.
    Whole,
    /// A segment that was never completed, or a file to which nothing was ever written.
    NeverReady,
    /// A segment from an earlier boot of the machine.
    EarlierBoot,
    /// A segment of another version of this toolkit, or of a machine of another kind.
    Incompatible,
    /// Not a segment, or one that has been damaged.
    Other,
    /// This user may not read it.
    Unreadable,
}

impl State {
    /// What a header says, or why it says nothing.
    pub(crate) fn of(header: &Result<Identity, Error>) -> Self {
        match header {
            Ok(_) => Self::Whole,
            Err(Error::Incomplete) => Self::NeverReady,
            Err(Error::EarlierBoot) => Self::EarlierBoot,
            Err(Error::Incompatible { .. }) => Self::Incompatible,
            Err(_) => Self::Other,
        }
    }
}
