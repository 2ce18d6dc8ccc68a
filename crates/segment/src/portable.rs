//! Named segments by what other systems have too: mapped by the crate [`shared_memory`], without locks, seals or descriptors.
//!
//! **Not kill-safe.** Nothing here tells whether a peer lives, so nobody is ever found dead:
//!
//! - what a killed process owned is never taken back, and nobody is woken for it: its role stays taken, its messages stay leased, and who waits
//!   for it waits for ever. Its place is never free again, and when all are used up, [`Error::TooManyPeers`] comes instead of a recovery;
//! - a creator that is killed leaves its name behind, with a segment that is never complete. [`remove`] clears it away;
//! - a segment that all have left does not begin anew, as others may be coming in at that moment.
//!
//! What holds as ever: a header is checked before it is believed, of two creators one wins, a full disk or memory limit is an error at
//! creation and not a signal later, a peer that leaves tidies up after itself, and a forked child inherits nothing. Wherever this crate's
//! [`Named`](crate::Named) works, use that.
//!
//! Handles cannot be passed to other processes, which find the segment by its name instead. [`Options::huge_pages`] and [`Options::dump`] have no
//! effect. Its names are apart from those of other segments, and [`list`](crate::list) does not show them. All programs that open one have this feature, as
//! the events that they wake each other by lie in the segment.
//!
//! Tested on Linux only. The rest of this crate does not build elsewhere yet; this module is where a port begins.
//!
//! ```
//! # use shmkit_segment::{Error, Options, Configuration, Memory, Object, PeerId, Plan, portable};
//! # struct Nothing;
//! # impl Object for Nothing {
//! #     const KIND: u32 = 1;
//! #     const HARDENED: bool = true;
//! #     type Parts = ();
//! #     fn payload() -> std::alloc::Layout { std::alloc::Layout::new::<()>() }
//! #     fn plan(_: &Configuration, _: &mut Plan) -> Result<(), Error> { Ok(()) }
//! #     fn attach(_: &Memory, _: &()) -> Self { Self }
//! #     fn sweep(&self, _dead: PeerId, _reaper: PeerId) {}
//! #     fn wake_all(&self) {}
//! # }
//! # type MyObject = Nothing;
//! # let name = format!("doc-{}", std::process::id());
//! let first = portable::create::<MyObject>(&name, &Options::new(), [0; 8])?; // in one process
//! let second = portable::open::<MyObject>(&name)?; // in another one
//! assert_eq!(first.peer_count(), 2);
//! portable::remove(&name)?;
//! # Ok::<(), Error>(())
//! ```
//!
//! # What `shared_memory` 0.12 leaves to its user
//!
//! It maps, and everything else is done here:
//!
//! | it | so here |
//! |---|---|
//! | sets the length and allots nothing: to touch a page for which there is no room is a signal, even to read it | the creator allots all of it by another descriptor before it writes, and an opener does not map what is not [complete](Error::Incomplete) |
//! | sets it without a look at the limit on file sizes, beyond which that is a signal too | the limit is looked at first |
//! | maps whatever length the file has at that moment: none, while it is being made | too short is not complete yet, and is looked at again for a while |
//! | takes the name away when the creator's mapping goes, from whoever has it by then | that is used for a creation that fails, and switched off afterwards |
//! | leaves the name when the creator is killed | [`remove`] does not map, and so clears away segments of any length |
//! | may find the mapping longer than the segment, where lengths are rounded to pages | the header says how long the segment is, and must fit |

use crate::header::{Header, Layout};
use crate::life::Life;
use crate::named::{self, DIRECTORY};
use crate::segment::Opened;
use crate::{Configuration, Error, Memory, Object, Options, Plan, Segment, sys};
use shared_memory::{ShmemConf, ShmemError};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Other segments' files begin with `shmkit-`.
const PREFIX: &str = "shmkit.portable-";
/// The longest name: a file's may have 255 bytes.
const NAME_MAX: usize = 255 - PREFIX.len();

/// For how long a segment may be incomplete before its creator is taken to be dead. It only has to be allotted and filled in meanwhile.
const PATIENCE: Duration = Duration::from_secs(1);
const NAP: Duration = Duration::from_millis(1);

/// Creates a segment for this user's processes, with the number of peers that `options` say.
///
/// Nobody may [`remove`] the name before this has returned: it might be another segment's by then that is allotted, or loses its name.
///
/// # Errors
/// [`Error::Exists`] if the name is taken, be it by a segment that was never completed; [`Error::NoSpace`] if the memory cannot be had;
/// [`Error::Geometry`] if `configuration` makes no sense; [`Error::Name`]; [`Error::File`]. Nothing is left behind by a failure.
pub fn create<O: Object>(
    name: &str,
    options: &Options,
    configuration: Configuration,
) -> Result<Arc<Segment<O>>, Error> {
    const { assert!(O::HARDENED, "this object must not be shared with strangers: see Object::HARDENED") }
    let path = path_of(name)?;
    let layout = Layout::<O>::new(&configuration, options.peers)?;
    let length = layout.plan.length();
    sys::check_file_limit(length)?;
    let mut map = by_name(name).size(length).create().map_err(|error| match error {
        ShmemError::MappingIdExists => Error::Exists { path: path.clone() },
        ShmemError::UnknownOsError(cause) => Error::NoSpace { bytes: length, source: system(cause) },
        other => failed("create", &path, other),
    })?;
    // Until it is allotted in full, its drop takes the name away.
    sys::allocate(&sys::open_file(&path)?, length)?;
    map.set_owner(false);
    // Complete, by a release store, when all else is written.
    Opened::found(Memory::portable(map), layout, configuration, 0, None).settle(Life::Unknown)
}

/// Opens the segment that exists. Its configuration is the one that it was created with.
///
/// Waits for up to a second for a creator that is at it.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Incomplete`] if its creator did not get on, and must have died; [`Error::WrongOwner`] if it is another user's, who could
/// truncate it; one for each way in which what is there is not a segment that holds an `O`; [`Error::TooManyPeers`], for which dead peers count too.
pub fn open<O: Object>(name: &str) -> Result<Arc<Segment<O>>, Error> {
    const { assert!(O::HARDENED, "this object must not be shared with strangers: see Object::HARDENED") }
    let path = path_of(name)?;
    let start = Instant::now();
    loop {
        match attach(name, &path) {
            Err(Error::Incomplete) if start.elapsed() < PATIENCE => std::thread::sleep(NAP),
            outcome => return outcome,
        }
    }
}

/// Takes the name away from what has it, complete or not. Whoever is attached goes on; the memory is given back when the last one leaves.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::File`] if this user may not.
pub fn remove(name: &str) -> Result<(), Error> {
    sys::unlink(&path_of(name)?)
}

/// Becomes a peer of the segment that has the name, if that is complete.
fn attach<O: Object>(name: &str, path: &Path) -> Result<Arc<Segment<O>>, Error> {
    check_complete(path)?;
    let map = by_name(name).open().map_err(|error| failed("open", path, error))?;
    if map.len() < size_of::<Header>() {
        return Err(Error::Incomplete);
    }
    let memory = Memory::portable(map);
    // The mark of completeness is loaded first, with acquire.
    let start = memory.one(Plan::new().one::<Header>()?).start();
    let length = usize::try_from(start.check_origin()?.length).unwrap_or(usize::MAX);
    if length > memory.length() {
        return Err(Error::Corrupt("it is longer than its mapping"));
    }
    let (layout, configuration) = start.check::<O>(length, 1)?;
    Opened { memory, layout, configuration, data: None }.attach(Life::Unknown)
}

/// Looks at the file, without mapping it, for whether its creator is done and has allotted all of it.
fn check_complete(path: &Path) -> Result<(), Error> {
    let file = sys::open_file(path)?;
    let (found, expected) = (sys::status(file.as_fd())?.st_uid, rustix::process::geteuid().as_raw());
    if found != expected {
        return Err(Error::WrongOwner { path: path.into(), found, expected });
    }
    let start = sys::read_start(file.as_fd(), sys::file_length(file.as_fd())?)?;
    if start.was_never_ready() { Err(Error::Incomplete) } else { Ok(()) }
}

fn by_name(name: &str) -> ShmemConf {
    ShmemConf::new().os_id(format!("/{PREFIX}{name}"))
}

/// Where the C library puts a shared memory object.
fn path_of(name: &str) -> Result<PathBuf, Error> {
    named::path_of(name)?;
    if name.len() > NAME_MAX {
        return Err(Error::Name { name: name.to_owned(), rule: "it must not be longer than 239 bytes" });
    }
    Ok(Path::new(DIRECTORY).join(format!("{PREFIX}{name}")))
}

/// What an error of the crate means.
fn failed(action: &'static str, path: &Path, error: ShmemError) -> Error {
    let cause = match error {
        ShmemError::MapOpenFailed(cause) => match cause as i32 {
            libc::ENOENT => return Error::NotFound { path: path.into() },
            // Nothing can be mapped of an empty file.
            libc::EINVAL => return Error::Incomplete,
            _ => system(cause),
        },
        ShmemError::MapCreateFailed(cause) | ShmemError::UnknownOsError(cause) => system(cause),
        other => io::Error::other(other),
    };
    let hint = "check who owns it, and the limits on open files (ulimit -n) and address space (ulimit -v)";
    Error::named(path, action, hint, cause)
}

fn system(cause: u32) -> io::Error {
    io::Error::from_raw_os_error(cause as i32)
}
