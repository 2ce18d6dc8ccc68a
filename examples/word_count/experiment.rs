//! `--kill-a-worker`: one worker is killed at work, and its job is done by another.
//!
//! The pool hides which worker does what, and that something was done twice. So for this experiment the workers keep a journal,
//! a file to which each appends a line when it begins a job and when it has finished it.

use rustix::process::{Pid, Signal, kill_process};
use shmkit::pool::Pool;
use shmkit_examples::files::Job;
use shmkit_examples::words::Tally;
use std::error::Error;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::thread;
use std::time::{Duration, Instant};

/// What a worker calls for each job.
pub(crate) fn count_and_note((journal, number, job): (String, usize, Job)) -> Tally {
    note(&journal, "begun", number);
    let tally = job.count();
    note(&journal, "done", number);
    tally
}

/// One write to a file that is open for appending: lines of several processes do not mix.
fn note(journal: &str, what: &str, job: usize) {
    let line = format!("{what} {job} {}\n", std::process::id());
    let written = File::options().append(true).open(journal).and_then(|mut file| file.write_all(line.as_bytes()));
    // Becomes the outcome of the task.
    written.expect("the journal can be written");
}

/// The parent's side.
pub(crate) struct Experiment {
    directory: tempfile::TempDir,
    report: String,
    victim: Option<Victim>,
}

struct Victim {
    pid: u32,
    job: usize,
}

/// A line of the journal.
struct Note {
    done: bool,
    job: usize,
    pid: u32,
}

impl Experiment {
    pub(crate) fn new() -> io::Result<Self> {
        let directory = tempfile::tempdir()?;
        File::create_new(directory.path().join("journal"))?;
        Ok(Self { directory, report: String::new(), victim: None })
    }

    pub(crate) fn journal(&self) -> String {
        self.directory.path().join("journal").to_string_lossy().into_owned()
    }

    fn notes(&self) -> io::Result<Vec<Note>> {
        let text = fs::read_to_string(self.directory.path().join("journal"))?;
        let parse = |line: &str| {
            let mut fields = line.split(' ');
            let done = fields.next()? == "done";
            Some(Note { done, job: fields.next()?.parse().ok()?, pid: fields.next()?.parse().ok()? })
        };
        Ok(text.lines().filter_map(parse).collect())
    }

    /// Kills a worker that is at work, unless that was achieved before.
    pub(crate) fn kill_once(&mut self, pool: &Pool, done: usize, jobs: usize) -> Result<(), Box<dyn Error>> {
        if self.victim.is_some() {
            return Ok(());
        }
        let before = pool.worker_pids();
        let notes = self.notes()?;
        for &pid in &before {
            if job_of(pid, &notes).is_none() {
                continue;
            }
            // It is a child of this process that has not been waited for, so the number is still its own.
            let process = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or("not a process id")?;
            kill_process(process, Signal::KILL)?;
            wait_until(|| !pool.worker_pids().contains(&pid))?;
            // It may have come to the end of its job just before. Then nothing was to be recovered; the next one, please.
            let job = job_of(pid, &self.notes()?);
            let state = job.map_or("between two jobs".to_owned(), |job| format!("at work on job {job}"));
            writeln!(self.report, "killed: worker {pid} of {before:?}, after {done} of {jobs} jobs, {state}")?;
            self.victim = job.map(|job| Victim { pid, job });
            return Ok(());
        }
        Ok(())
    }

    /// What came of it, when all is done.
    pub(crate) fn conclusion(&self, pool: &Pool) -> Result<String, Box<dyn Error>> {
        let mut report = self.report.clone();
        let Some(victim) = &self.victim else {
            report += "killed: nobody at work; there was too little to do\n";
            return Ok(report);
        };
        let notes = self.notes()?;
        let mut begun = notes.iter().filter(|note| note.job == victim.job && !note.done);
        let successor = begun.rfind(|note| note.pid != victim.pid).ok_or("nobody began the job again")?;
        writeln!(report, "recovered: job {} was begun again by worker {}", victim.job, successor.pid)?;
        writeln!(report, "replaced: the workers are now {:?}", pool.worker_pids())?;
        Ok(report)
    }
}

/// The job that a worker is at, if it is.
fn job_of(pid: u32, notes: &[Note]) -> Option<usize> {
    notes.iter().rfind(|note| note.pid == pid).filter(|note| !note.done).map(|note| note.job)
}

/// Looks until it is so. The pool's supervisor acts at once, but in its own time.
fn wait_until(mut condition: impl FnMut() -> bool) -> Result<(), Box<dyn Error>> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        if Instant::now() > deadline {
            return Err("the killed worker was not buried within ten seconds".into());
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
