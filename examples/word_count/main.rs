//! Counts the words of every text file below some directories, in a pool of worker processes.
//!
//! ```text
//! $ cargo run --release --example word_count -- --check --kill-a-worker
//!     2080  the
//!     1688  self
//!     1529  a
//!     …
//! files: 125
//! bytes: 661115
//! words: 88050
//! skipped: 4
//! seconds: 0.027
//! files per second: 4569
//! killed: worker 9887 of [9887, 9888], after 7 of 15 jobs, at work on job 10
//! recovered: job 10 was begun again by worker 9894
//! replaced: the workers are now [9888, 9894]
//! check: ok
//! ```
//!
//! A text file is one that is UTF-8; others, and those that cannot be read, are reported on standard error and skipped. What
//! a word is stands in `examples/src/words.rs`, which files are meant and how they are shared out in `examples/src/files.rs`.
//!
//! `--kill-a-worker` shows what a pool is for: one worker is killed in the middle of its job, which then is done again by
//! another, and the totals are the same. That takes `retries`, by which a program says that its tasks may be run
//! more than once, and nothing else.

mod experiment;

use clap::Parser;
use experiment::Experiment;
use indicatif::{ProgressBar, ProgressStyle};
use shmkit::pool::{Pool, TaskError};
use shmkit_examples::files::{Assembly, Job, Listing, count_file};
use shmkit_examples::words::Tally;
use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Counts the words of text files in several processes, and prints the most frequent ones.
#[derive(Parser)]
struct Arguments {
    /// Files and directories. In directories, what a .gitignore names is left out.
    #[arg(default_value = ".")]
    paths: Vec<PathBuf>,
    /// How many worker processes; by default one for each processor.
    #[arg(long)]
    workers: Option<usize>,
    /// Count once more in this process alone, and fail if there is a difference.
    #[arg(long)]
    check: bool,
    /// Kill a worker when half of the work is done, and tell what became of its task.
    #[arg(long)]
    kill_a_worker: bool,
}

fn main() -> ExitCode {
    run(&Arguments::parse()).unwrap_or_else(|error| {
        eprintln!("word_count: {error}");
        ExitCode::FAILURE
    })
}

fn run(arguments: &Arguments) -> Result<ExitCode, Box<dyn Error>> {
    let begin = Instant::now();
    let listing = Listing::of(&arguments.paths);

    // To read a file twice does no harm, so a worker's death need not be more than a delay.
    let mut builder = Pool::builder().retries(2);
    if let Some(workers) = arguments.workers {
        builder = builder.workers(workers);
    }
    let pool = builder.build()?;
    let jobs = Job::plan(&listing.files, pool.worker_pids().len());
    let mut experiment = arguments.kill_a_worker.then(Experiment::new).transpose()?;
    let mut tally = count(&pool, &jobs, experiment.as_mut())?;
    // Large files overtake small ones that wait for a batch to be full.
    tally.skipped.sort_unstable();
    let seconds = begin.elapsed().as_secs_f64();

    let mut problems = String::new();
    for (path, reason) in listing.skipped.iter().chain(&tally.skipped) {
        writeln!(problems, "skipped: {}: {reason}", path.display())?;
    }
    print(io::stderr(), &problems)?;
    let mut report = summary(&tally, listing.skipped.len() + tally.skipped.len(), seconds);
    if let Some(experiment) = &experiment {
        report += &experiment.conclusion(&pool)?;
    }
    let right = !arguments.check || tally == count_here(&listing);
    if arguments.check {
        writeln!(report, "check: {}", if right { "ok" } else { "one process alone counts differently" })?;
    }
    print(io::stdout(), &report)?;
    Ok(if right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The work itself: jobs go to the workers, and what they counted is put together as it comes back, in order.
fn count(pool: &Pool, jobs: &[Job], mut experiment: Option<&mut Experiment>) -> Result<Tally, Box<dyn Error>> {
    let mut tallies: Box<dyn Iterator<Item = Result<Tally, TaskError>>> = match &experiment {
        None => Box::new(pool.map(|job: Job| job.count(), jobs.iter().cloned())),
        Some(experiment) => {
            let numbered = jobs.iter().cloned().enumerate();
            let journal = experiment.journal();
            Box::new(
                pool.map(experiment::count_and_note, numbered.map(move |(number, job)| (journal.clone(), number, job))),
            )
        }
    };
    let progress = progress_bar(jobs.iter().map(Job::files).sum())?;
    let mut assembly = Assembly::default();
    for (done, job) in jobs.iter().enumerate() {
        if let Some(experiment) = experiment.as_mut()
            && done > 0
            && done >= jobs.len() / 2
        {
            experiment.kill_once(pool, done, jobs.len())?;
        }
        assembly.add(job, tallies.next().ok_or("the pool gave fewer results than it was given jobs")??);
        progress.inc(job.files());
    }
    progress.finish_and_clear();
    Ok(assembly.finish())
}

/// The same without a pool, and without cutting large files into parts.
fn count_here(listing: &Listing) -> Tally {
    let mut tally = Tally::default();
    for (path, _) in &listing.files {
        match count_file(path) {
            Ok(counted) => tally.merge(counted),
            Err(error) => tally.skipped.push((path.into(), error.to_string())),
        }
    }
    tally.skipped.sort_unstable();
    tally
}

fn summary(tally: &Tally, skipped: usize, seconds: f64) -> String {
    let mut words: Vec<_> = tally.words.iter().collect();
    // The most frequent first, and those that are equally frequent in a fixed order.
    words.sort_by(|(a, more), (b, less)| less.cmp(more).then(a.cmp(b)));
    let mut text = String::new();
    for (word, count) in words.iter().take(20) {
        text += &format!("{count:>8}  {word}\n");
    }
    text += &format!("files: {}\nbytes: {}\n", tally.files, tally.bytes);
    text += &format!("words: {}\nskipped: {skipped}\n", tally.words.values().sum::<u64>());
    text += &format!("seconds: {seconds:.3}\nfiles per second: {:.0}\n", tally.files as f64 / seconds);
    text
}

/// On standard error, and only if that is a terminal.
fn progress_bar(files: u64) -> Result<ProgressBar, Box<dyn Error>> {
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} files, {eta} left")?;
    Ok(ProgressBar::new(files).with_style(style))
}

fn print(mut to: impl io::Write, text: &str) -> io::Result<()> {
    match to.write_all(text.as_bytes()) {
        // Whoever reads this has seen enough, like `head`.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome,
    }
}
