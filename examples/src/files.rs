//! From paths to jobs: which files are meant, and how they are shared out.
//!
//! A job is worth the trouble of sending it to another process if it takes some milliseconds, and should not take so long
//! that others idle at the end. So small files go together and large ones are cut into parts.

use crate::words::{self, Tally};
use ignore::WalkBuilder;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A job has at most about so many bytes to count, unless it is a file that cannot be cut.
const BYTES: u64 = 4 << 20;

/// A job has at most so many files, and fewer if there are not enough of such jobs.
const FILES: usize = 64;

/// So many jobs a worker let all of them end at nearly the same time.
const JOBS_A_WORKER: usize = 8;

/// And their paths at most so many bytes: an argument of a pool's task has a limit, of 64 KiB if nothing else is set.
const PATHS: usize = 32 << 10;

/// The files below some paths, and what could not be listed.
#[derive(Debug, Default)]
pub struct Listing {
    /// Each file with its length at that time.
    pub files: Vec<(PathBuf, u64)>,
    /// What could not be looked at, and why.
    pub skipped: Vec<(OsString, String)>,
}

impl Listing {
    /// Lists the regular files at and below `paths`.
    ///
    /// Below a directory, `.git` and whatever a `.gitignore` names is left out, and symbolic links are not followed. What is
    /// named itself is taken in any case, and a link among these stands for what it leads to. A file that is named twice
    /// is listed twice.
    #[must_use]
    pub fn of(paths: &[PathBuf]) -> Self {
        let mut listing = Self::default();
        for path in paths {
            match fs::metadata(path) {
                Ok(metadata) if metadata.is_dir() => listing.walk(path),
                Ok(metadata) if metadata.is_file() => listing.files.push((path.clone(), metadata.len())),
                Ok(_) => listing.skip(path, "neither a file nor a directory"),
                Err(error) => listing.skip(path, error),
            }
        }
        listing
    }

    fn walk(&mut self, root: &Path) {
        // Of the rules that `ignore` knows only those that come with the files, so that everybody counts the same.
        let mut walk = WalkBuilder::new(root);
        walk.standard_filters(false).git_ignore(true).parents(true).require_git(false);
        walk.filter_entry(|entry| entry.file_name() != ".git");
        walk.sort_by_file_name(Ord::cmp);
        for entry in walk.build() {
            let entry = match entry {
                Ok(entry) => entry,
                // The error names the place itself.
                Err(error) => {
                    self.skip(root, error);
                    continue;
                }
            };
            if !entry.file_type().is_some_and(|kind| kind.is_file()) {
                continue;
            }
            match entry.metadata() {
                Ok(metadata) => self.files.push((entry.into_path(), metadata.len())),
                Err(error) => self.skip(entry.path(), error),
            }
        }
    }

    fn skip(&mut self, path: &Path, reason: impl ToString) {
        self.skipped.push((path.into(), reason.to_string()));
    }
}

/// What one task counts. Paths are `OsString`s, as serde takes no `Path` that is not Unicode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Job {
    /// Whole files.
    Files(Vec<OsString>),
    /// One of the parts of a large file. They come one after the other.
    Part {
        /// The file.
        path: OsString,
        /// The part's first byte.
        start: u64,
        /// The byte after the part, or the largest number: the last part has no end but the file's.
        end: u64,
    },
}

impl Job {
    /// Shares out files among `workers`.
    #[must_use]
    pub fn plan(files: &[(PathBuf, u64)], workers: usize) -> Vec<Job> {
        let most = files.len().div_ceil(workers.max(1) * JOBS_A_WORKER).clamp(1, FILES);
        let mut jobs = Vec::new();
        let mut batch = Vec::new();
        let (mut bytes, mut paths) = (0, 0);
        for (path, length) in files {
            if *length > 2 * BYTES {
                jobs.extend(Job::parts(path, *length, BYTES));
                continue;
            }
            let full = batch.len() == most || bytes + length > BYTES || paths + path.as_os_str().len() > PATHS;
            if full && !batch.is_empty() {
                jobs.push(Job::Files(std::mem::take(&mut batch)));
                (bytes, paths) = (0, 0);
            }
            bytes += length;
            paths += path.as_os_str().len();
            batch.push(path.into());
        }
        if !batch.is_empty() {
            jobs.push(Job::Files(batch));
        }
        jobs
    }

    /// Cuts a file into parts of about `size` bytes, each of which can be counted as if it were a file: cuts are behind
    /// characters that belong to no word.
    #[must_use]
    pub fn parts(path: &Path, length: u64, size: u64) -> Vec<Job> {
        // A file that cannot be read is left in one piece; whoever gets the job will say what is wrong with it.
        let mut bounds = cuts(path, length, size).unwrap_or_default();
        bounds.insert(0, 0);
        bounds.push(u64::MAX);
        bounds.windows(2).map(|pair| Job::Part { path: path.into(), start: pair[0], end: pair[1] }).collect()
    }

    /// How many files are done when this is.
    #[must_use]
    pub fn files(&self) -> u64 {
        match self {
            Job::Files(paths) => paths.len() as u64,
            Job::Part { end, .. } => u64::from(*end == u64::MAX),
        }
    }

    /// Does it. A file that cannot be counted is skipped, and the result says so.
    #[must_use]
    pub fn count(&self) -> Tally {
        let mut tally = Tally::default();
        let mut add = |path: &OsString, outcome: io::Result<Tally>| match outcome {
            Ok(counted) => tally.merge(counted),
            Err(error) => tally.skipped.push((path.clone(), error.to_string())),
        };
        match self {
            Job::Files(paths) => paths.iter().for_each(|path| add(path, count_file(path.as_ref()))),
            Job::Part { path, start, end } => add(path, count_part(path.as_ref(), *start, *end)),
        }
        tally
    }
}

/// Counts a whole file.
///
/// # Errors
///
/// If it cannot be read, or is not UTF-8.
pub fn count_file(path: &Path) -> io::Result<Tally> {
    words::count(File::open(path)?, 0)
}

fn count_part(path: &Path, start: u64, end: u64) -> io::Result<Tally> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(start))?;
    words::count(file.take(end - start), start)
}

/// Where to cut a file: behind the first byte, from each multiple of `size` on, that is ASCII and neither letter nor digit.
///
/// Such a byte is never inside a word, nor inside a longer character. So the file is UTF-8 if and only if its parts are, and no
/// word is in two of them. Where there is none nearby, there is no cut.
fn cuts(path: &Path, length: u64, size: u64) -> io::Result<Vec<u64>> {
    let file = File::open(path)?;
    let mut window = [0; 4096];
    let mut cuts = Vec::new();
    let mut near = size;
    while near < length {
        let read = file.read_at(&mut window, near)?;
        let separator = |byte: &u8| byte.is_ascii() && !byte.is_ascii_alphanumeric();
        cuts.extend(window[..read].iter().position(separator).map(|at| near + at as u64 + 1));
        near += size;
    }
    cuts.dedup();
    Ok(cuts)
}

/// Puts the parts of each file together again, when all jobs of a plan are given in order.
///
/// A file of which one part cannot be counted must not be counted at all.
#[derive(Debug, Default)]
pub struct Assembly {
    total: Tally,
    /// The parts so far of a file that is not complete.
    parts: Tally,
}

impl Assembly {
    /// Adds the outcome of the next job.
    pub fn add(&mut self, job: &Job, tally: Tally) {
        match job {
            Job::Files(_) => self.total.merge(tally),
            Job::Part { end, .. } => {
                self.parts.merge(tally);
                if *end == u64::MAX {
                    let mut file = std::mem::take(&mut self.parts);
                    if file.skipped.is_empty() {
                        file.files = 1;
                        self.total.merge(file);
                    } else {
                        self.total.skipped.extend(file.skipped.drain(..1));
                    }
                }
            }
        }
    }

    /// What was counted.
    #[must_use]
    pub fn finish(self) -> Tally {
        self.total
    }
}
