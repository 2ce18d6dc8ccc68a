//! The segments that have names: what there is, and clearing up.

use crate::header::{MAX_PEERS, PeerEntry};
use crate::life;
use crate::named::{DIRECTORY, PREFIX, State, enter, path_of, until_settled};
use crate::{Error, Options, Peer, sys};
use std::fmt;
use std::fs::Metadata;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A segment that has a name, as [`list`] found it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Listing {
    /// Its name.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
    /// Whether it can be used.
    pub state: State,
    /// What object it holds, four letters; empty unless it is whole.
    pub kind: String,
    /// Bytes.
    pub size: u64,
    /// The user, by id, to whom it belongs.
    pub owner: u32,
    /// Who may open it, as a file's mode.
    pub mode: u32,
    /// How many peers are attached and alive.
    pub alive: usize,
    /// How many have died and were not noticed yet.
    pub dead: usize,
    /// Who is attached.
    pub peers: Vec<Peer>,
    /// How long ago it was created.
    pub age: Duration,
}

/// All segments that have names, sorted by them.
///
/// Looks and changes nothing: nobody is reaped, and nobody's operation is delayed. Costs an open file and a system call a peer for each.
///
/// # Errors
/// [`Error::File`] if the directory cannot be read. A segment that cannot be read is listed with what can be known.
pub fn list() -> Result<Vec<Listing>, Error> {
    let directory = Path::new(DIRECTORY);
    let failed = |cause| Error::named(directory, "list the directory of", "check that /dev/shm is mounted", cause);
    let mut listings = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let file_name = entry.file_name().to_string_lossy().into_owned();
        let Some(name) = file_name.strip_prefix(PREFIX) else { continue };
        // It may be gone by now.
        if let Ok(status) = entry.path().symlink_metadata() {
            listings.push(describe(name.to_owned(), entry.path(), &status));
        }
    }
    listings.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(listings)
}

/// The segment in the file at `path`, whatever its name. The rest is as for [`list`].
///
/// # Errors
/// [`Error::File`] if there is no such file.
pub fn inspect(path: impl AsRef<Path>) -> Result<Listing, Error> {
    let path = path.as_ref();
    let status = path.symlink_metadata().map_err(|cause| {
        Error::named(path, "look at", "check the path, and that this user may search its directory", cause)
    })?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(describe(name, path.to_owned(), &status))
}

/// Takes away the name of a segment. Whoever is attached goes on; the memory is given back when the last one leaves.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::NotAFile`] if something else has the name; [`Error::File`] if this user may not remove it;
/// [`Error::Busy`] if somebody who is opening it is stopped.
pub fn remove(name: &str) -> Result<(), Error> {
    let path = path_of(name)?;
    until_settled(&path, || {
        let file = sys::open_file(&path)?;
        let Some(_inside) = enter(&file, &path)? else { return Ok(None) };
        sys::unlink(&path).map(Some)
    })
}

/// Removes the named segments of this user that nobody can use any more (never completed, or from an earlier boot), and those that
/// nobody living is attached to as well if `quiet`: what they hold is lost. Returns their names.
///
/// # Errors
/// [`Error::File`] if the directory cannot be read. A segment that cannot be removed is left.
pub fn remove_stale(quiet: bool) -> Result<Vec<String>, Error> {
    let me = rustix::process::geteuid().as_raw();
    let mut removed = Vec::new();
    for listing in list()?.into_iter().filter(|listing| listing.owner == me && listing.alive == 0) {
        // Its door decides, and whether it may be replaced.
        let named = Options::new().name(listing.name.as_str()).mode(0o777).replace_stale(quiet);
        if named.clear_the_way(&listing.path).unwrap_or(false) {
            removed.push(listing.name);
        }
    }
    Ok(removed)
}

fn describe(name: String, path: PathBuf, status: &Metadata) -> Listing {
    let file_age = status.modified().ok().and_then(|time| time.elapsed().ok()).unwrap_or_default();
    let mut listing = Listing {
        name,
        path,
        state: State::Unreadable,
        kind: String::new(),
        size: status.len(),
        owner: status.uid(),
        mode: status.mode() & 0o777,
        alive: 0,
        dead: 0,
        peers: Vec::new(),
        age: file_age,
    };
    let file = match sys::open_file(&listing.path) {
        Ok(file) => file,
        Err(Error::NotAFile { .. }) => {
            listing.state = State::Other;
            return listing;
        }
        Err(_) => return listing,
    };
    let header = sys::read_identity(file.as_fd());
    listing.state = State::of(&header);
    if let Ok(identity) = header {
        listing.kind = identity.kind.to_le_bytes().escape_ascii().to_string();
        listing.age = Duration::from_millis(crate::host::milliseconds_since_1970().saturating_sub(identity.created));
        listing.peers = read_peers(file.as_fd(), identity.peers as usize);
        listing.alive = listing.peers.iter().filter(|peer| peer.is_alive()).count();
        listing.dead = listing.peers.len() - listing.alive;
    }
    listing
}

/// Copies the table of peers out of a file, as far as it goes.
fn read_peers(file: BorrowedFd<'_>, peers: usize) -> Vec<Peer> {
    const TABLE: usize = size_of::<crate::header::Header>();
    const ENTRY: usize = size_of::<PeerEntry>();
    let length = sys::file_length(file).unwrap_or(0);
    let places = peers.min(MAX_PEERS).min(length.saturating_sub(TABLE) / ENTRY);
    let mut table = vec![0; places * ENTRY];
    if sys::read_at(file, &mut table, TABLE as u64).is_err() {
        return Vec::new();
    }
    let entries = table.chunks_exact(ENTRY).enumerate();
    entries
        .filter_map(|(slot, entry)| Peer::from_bytes(slot as u16, entry, || life::is_alive(file, slot as u16)))
        .collect()
}

impl fmt::Display for Listing {
    /// One line: name, kind, size, owner, peers alive and dead, age.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, kind, size, owner, mode, alive, dead, .. } = self;
        let kind = if kind.is_empty() { "-" } else { kind };
        let (state, age) = (self.state, self.age.as_secs());
        write!(
            f,
            "{name:<24} {kind:<4} {size:>12} B  user {owner} ({mode:03o})  {alive} alive, {dead} dead  {age} s old  {state}"
        )
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Whole => "whole",
            Self::NeverReady => "never completed",
            Self::EarlierBoot => "from an earlier boot",
            Self::Incompatible => "of another version",
            Self::Other => "not a segment",
            Self::Unreadable => "not readable by this user",
        })
    }
}
