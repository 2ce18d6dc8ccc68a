//! Shows which segments have names, who is attached to them, and clears up.
//!
//! ```text
//! $ cargo run --example inspect
//! NAME           KIND  SIZE       USER  ALIVE  DEAD  AGE        STATE
//! example-named  MPMC  25.25 KiB  1000  1      1     5 minutes  whole
//!
//! $ cargo run --example inspect -- example-named
//! NAME           KIND  SIZE       USER  ALIVE  DEAD  AGE        STATE
//! example-named  MPMC  25.25 KiB  1000  1      1     5 minutes  whole
//!
//! PID   STARTED        NAME   ALIVE
//! 4711  5 minutes ago  named  yes
//! 4712  3 minutes ago  named  no, and nobody has noticed yet
//! ```
//!
//! To look changes nothing, neither in the segments nor for those who use them. `--remove NAME` takes a name away, and leaves those who are
//! attached alone. `--remove-stale` takes the names of segments away that cannot be used any more; with `--quiet`, of those as well
//! that are whole but that nobody living is attached to: what they hold is lost.

use clap::Parser;
use indicatif::{HumanBytes, HumanDuration};
use shmkit::segment::{self, Listing, Peer};
use std::error::Error;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

const NOTHING: &str = "\
There are no segments with names. Make one in another terminal, and look again:
    cargo run --example named -- --receive
";

fn everything() -> Result<String, Box<dyn Error>> {
    let listings = segment::list()?;
    Ok(if listings.is_empty() { NOTHING.to_owned() } else { table_of_segments(&listings) })
}

fn one(name: &str) -> Result<String, Box<dyn Error>> {
    // A path stands for the segment in a file of one's own.
    let found = match name.contains('/') {
        true => Some(segment::inspect(name)?),
        false => segment::list()?.into_iter().find(|listing| listing.name == name),
    };
    let listing = found.ok_or_else(|| {
        format!("there is no segment with the name {name:?}: without arguments, inspect lists those that there are")
    })?;
    let peers = match &*listing.peers {
        [] => "Nobody is attached to it.\n".to_owned(),
        peers => table_of_peers(peers),
    };
    Ok(table_of_segments(&[listing]) + "\n" + &peers)
}

fn remove_stale(quiet: bool) -> Result<String, Box<dyn Error>> {
    let names = segment::remove_stale(quiet)?;
    Ok(match &*names {
        [] => "nothing to remove\n".to_owned(),
        names => names.iter().map(|name| format!("removed: {}\n", printable(name))).collect(),
    })
}

fn table_of_segments(listings: &[Listing]) -> String {
    let head = ["NAME", "KIND", "SIZE", "USER", "ALIVE", "DEAD", "AGE", "STATE"].map(str::to_owned);
    let row = |listing: &Listing| {
        [
            printable(&listing.name),
            if listing.kind.is_empty() { "-".to_owned() } else { listing.kind.clone() },
            HumanBytes(listing.size).to_string(),
            listing.owner.to_string(),
            listing.alive.to_string(),
            listing.dead.to_string(),
            HumanDuration(listing.age).to_string(),
            listing.state.to_string(),
        ]
    };
    table(std::iter::once(head).chain(listings.iter().map(row)).collect())
}

fn table_of_peers(peers: &[Peer]) -> String {
    let head = ["PID", "STARTED", "NAME", "ALIVE"].map(str::to_owned);
    let row = |peer: &Peer| {
        let since = peer.started().and_then(|started| started.elapsed().ok());
        [
            // A place is kept for a process that a handle is on its way to.
            if peer.pid() == 0 { "-".to_owned() } else { peer.pid().to_string() },
            since.map_or("-".to_owned(), |since| format!("{} ago", HumanDuration(since))),
            printable(&peer.name()),
            if peer.is_alive() { "yes" } else { "no, and nobody has noticed yet" }.to_owned(),
        ]
    };
    table(std::iter::once(head).chain(peers.iter().map(row)).collect())
}

/// Names are whatever other programs chose, and a terminal obeys some characters.
fn printable(name: &str) -> String {
    name.chars()
        .flat_map(|character| match character.is_control() {
            true => character.escape_default().collect::<Vec<_>>(),
            false => vec![character],
        })
        .collect()
}

/// Columns as wide as the widest text in them.
fn table<const N: usize>(rows: Vec<[String; N]>) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let report = match arguments {
        Arguments { remove: Some(name), .. } => {
            segment::remove(name)?;
            format!("removed: {}\n", printable(name))
        }
        Arguments { remove_stale: true, quiet, .. } => remove_stale(*quiet)?,
        Arguments { name: Some(name), .. } => one(name)?,
        Arguments { .. } => everything()?,
    };
    match std::io::stdout().write_all(report.as_bytes()) {
        // Whoever reads this has seen enough, like `head`.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        outcome => Ok(outcome?),
    }
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("inspect: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Lists the segments that have names, or those who are attached to one of them.
#[derive(Parser)]
struct Arguments {
    /// A segment's name, or the path of a file with one: shows who is attached to it.
    name: Option<String>,
    /// Take this name away. Those who are attached go on; the memory is given back when the last one leaves.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["name", "remove_stale"])]
    remove: Option<String>,
    /// Remove this user's segments that were never completed or are from an earlier boot of the machine.
    #[arg(long, conflicts_with = "name")]
    remove_stale: bool,
    /// With --remove-stale: those as well that are whole but that nobody living is attached to.
    #[arg(long, requires = "remove_stale")]
    quiet: bool,
}
