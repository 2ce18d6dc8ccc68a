//! Eight processes read the files of this tree, and never more than three of them at a time.
//!
//! ```text
//! $ cargo run --example semaphore -- --kill-one
//! killed: process 5, pid 4713, with a permit, in the middle of ./crates/queue/src/mpmc/word.rs
//! again: ./crates/queue/src/mpmc/word.rs, by process 2, after pid 4713
//! files: 389, of 2523062 bytes
//! sum of their checksums: 829739711939
//! at once: 3 at most, of 8 processes
//! permits: 3 of 3 are free again
//! ```
//!
//! That is what one does with downloads, or with whatever else gets slower for all if everybody does it at once. Here a file is read and its
//! checksum is taken, the one that `cksum` prints; so `git ls-files | xargs cksum | awk '{ sum += $1 } END { printf "%d\n", sum }'` says the
//! same of a clean checkout.
//!
//! A process has a permit while it reads. When it is killed, the permit comes back without its help, and the file, of which it had a lease,
//! goes to another process. The *number* of those who read does not come back: it is plain memory in which the dead process has counted itself
//! in. So it is good for a display such as this one, after it was put right, and nothing should depend on it.

use clap::Parser;
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use shmkit::process::{Builder, JoinHandle};
use shmkit::queue::buffer::{self, Receiver};
use shmkit::segment::primitive::{AtomicU32, AtomicU64, Ordering};
use shmkit::segment::shared;
use shmkit::sync::{OnceLock, Semaphore, Shared};
use shmkit_examples::files::Listing;
use std::error::Error;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

shared! {
    /// What all processes add to, and the parent prints in the end: numbers to look at, which order nothing.
    struct Totals {
        /// How many read at this moment, and how many that were at most.
        reading: AtomicU32,
        most: AtomicU32,
        files: AtomicU64,
        bytes: AtomicU64,
        sum: AtomicU64,
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct Reader {
    process: u32,
    files: Receiver,
    permits: Semaphore,
    totals: Shared<Totals>,
    /// Who is to be killed: the first to have the file of this number says so here.
    victim: OnceLock<u32>,
    fatal: Option<u64>,
}

fn read_files(Reader { process, files, permits, totals, victim, fatal }: Reader) -> Result<(), String> {
    for lease in files.iter() {
        let (number, path, length): (u64, OsString, u64) = lease.value().map_err(|error| error.to_string())?;
        let path = Path::new(&path);
        if let Some(dead) = lease.previous_holder() {
            println!("again: {}, by process {process}, after pid {dead}", path.display());
        }

        let permit = permits.acquire().map_err(|error| error.to_string())?;
        let reading = totals.reading.fetch_add(1, Ordering::Relaxed) + 1;
        totals.most.fetch_max(reading, Ordering::Relaxed);
        if fatal == Some(number) && lease.deliveries() == 1 {
            // It would be of no use to anybody, so it does not matter whether that works.
            let _ = File::open(path).and_then(|file| checksum(file.take(length / 2)));
            victim.set(process).map_err(|error| error.to_string())?;
            loop {
                thread::park();
            }
        }
        let outcome = File::open(path).and_then(checksum);
        totals.reading.fetch_sub(1, Ordering::Relaxed);
        drop(permit);

        match outcome {
            Ok((bytes, checksum)) => {
                totals.files.fetch_add(1, Ordering::Relaxed);
                totals.bytes.fetch_add(bytes, Ordering::Relaxed);
                totals.sum.fetch_add(checksum.into(), Ordering::Relaxed);
            }
            Err(error) => eprintln!("skipped: {}: {error}", path.display()),
        }
        lease.ack();
    }
    Ok(())
}

/// The length of what there is to read, and what the program `cksum` says of it.
fn checksum(mut bytes: impl Read) -> io::Result<(u64, u32)> {
    let (mut length, mut sum, mut buffer) = (0, 0, vec![0; 1 << 16]);
    loop {
        match bytes.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                length += count as u64;
                sum = buffer[..count].iter().fold(sum, add);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    // The length as well, without the zeros at its end.
    let significant = (u64::BITS - length.leading_zeros()).div_ceil(8) as usize;
    Ok((length, !length.to_le_bytes()[..significant].iter().fold(sum, add)))
}

/// A step of the cyclic redundancy check of POSIX.
fn add(sum: u32, byte: &u8) -> u32 {
    sum << 8 ^ TABLE[(sum >> 24 ^ u32::from(*byte)) as usize]
}

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let (mut value, mut bit) = ((index as u32) << 24, 0);
        while bit < 8 {
            value = value << 1 ^ if value >> 31 == 1 { 0x04C1_1DB7 } else { 0 };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
};

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("semaphore: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(Arguments { paths, permits, processes, kill_one }: &Arguments) -> Result<(), Box<dyn Error>> {
    if *kill_one && *processes < 2 {
        return Err("with a single process, nobody would be left to read the files".into());
    }
    let listing = Listing::of(paths);
    for (path, reason) in &listing.skipped {
        eprintln!("skipped: {}: {reason}", path.display());
    }
    if listing.files.is_empty() {
        return Err("there is no file to read at the paths that were given".into());
    }

    let (sender, files) = buffer::channel((16, 8 << 10))?;
    let fatal = kill_one.then_some(listing.files.len() as u64 / 2);
    let reader = Reader {
        process: 0,
        files,
        permits: Semaphore::new(*permits)?,
        totals: Shared::new()?,
        victim: OnceLock::new()?,
        fatal,
    };
    let start = |process| {
        // The handles go along; each process has the same semaphore.
        Builder::new().die_with_parent(true).spawn(read_files, Reader { process, ..reader.clone() })
    };
    let mut children = (0..*processes).map(start).collect::<Result<Vec<_>, _>>()?;
    let Reader { files, permits, totals, victim, .. } = reader;
    // Only the children are to receive; so sending fails if they are all gone.
    drop(files);

    let progress = ProgressBar::new(listing.files.len() as u64);
    let mut killed = None;
    for (number, (path, length)) in (0..).zip(&listing.files) {
        sender.send_value(&(number, path.as_os_str(), length))?;
        if fatal == Some(number) {
            let process = wait_for(&victim, &children)?;
            let child = children.remove(process as usize);
            let pid = child.pid();
            // It has counted itself in, and will not count itself out. Nobody needs to do that for its permit.
            totals.reading.fetch_sub(1, Ordering::Relaxed);
            // Said before it is done: the others may notice at once.
            progress.suspend(|| {
                println!("killed: process {process}, pid {pid}, with a permit, in the middle of {}", path.display());
            });
            child.kill()?;
            killed = Some(child);
        }
        progress.set_position(totals.files.load(Ordering::Relaxed));
    }
    drop(sender); // there are no more files
    for child in children {
        child.join()??;
    }
    progress.finish_and_clear();
    if let Some(child) = killed {
        // It cannot have returned anything.
        let _ = child.join();
    }

    let value = |total: &AtomicU64| total.load(Ordering::Relaxed);
    println!("files: {}, of {} bytes", value(&totals.files), value(&totals.bytes));
    println!("sum of their checksums: {}", value(&totals.sum));
    println!("at once: {} at most, of {processes} processes", totals.most.load(Ordering::Relaxed));
    // Waits until they are all back, those of the dead included.
    let all = permits.acquire_many(permits.permits_total())?;
    println!("permits: {} of {} are free again", all.count(), permits.permits_total());
    Ok(())
}

/// Waits for somebody who is to be killed; in vain, if a process has ended before its time.
fn wait_for(victim: &OnceLock<u32>, children: &[JoinHandle<Result<(), String>>]) -> Result<u32, Box<dyn Error>> {
    loop {
        match victim.wait_timeout(Duration::from_millis(100)) {
            Ok(process) => return Ok(process),
            Err(_) if children.iter().all(JoinHandle::is_alive) => {}
            Err(_) => return Err("a process has ended too early: somebody else may have killed it".into()),
        }
    }
}

/// Several processes read files, and only so many of them at a time.
#[derive(Parser)]
struct Arguments {
    /// Files and directories. In directories, what a .gitignore names is left out.
    #[arg(default_value = ".")]
    paths: Vec<PathBuf>,
    /// How many may read at a time.
    #[arg(long, default_value_t = 3, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1000))]
    permits: usize,
    /// How many processes there are.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=32))]
    processes: u32,
    /// Kill the process that reads the file in the middle of the list.
    #[arg(long)]
    kill_one: bool,
}
