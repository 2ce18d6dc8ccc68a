//! What this process knows about tasks under way: which are waited for, what has come of them, and how workers ended.
//!
//! There is no thread that receives results. Whoever waits for a task receives for everybody: it takes the inbox if it is free, and files what
//! arrives, under the id of its task, for whoever waits for that. The others sleep until something was filed, or until the one
//! who received leaves and the inbox is free again.

use crate::TaskError;
use crate::message::{self, DIED, NOT_ENCODABLE, PANICKED, REFUSED, Report, VALUE};
use crate::queues::Queues;
use parking_lot::{Condvar, Mutex};
use shmkit_queue::RecvTimeoutError;
use shmkit_queue::buffer::Receiver;
use std::collections::HashMap;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

/// How long to wait before looking whether the pool has lost its workers for good. Nothing depends on it but how soon that is told.
const LOOK_UP: Duration = Duration::from_millis(100);

/// How long a worker that is known to be dead may take to show its exit status.
const STATUS: Duration = Duration::from_secs(5);

#[derive(Default)]
pub(crate) struct Ledger {
    state: Mutex<State>,
    /// Something was filed, or the inbox came free.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Tasks that somebody waits for.
    tasks: HashMap<u64, Progress>,
    next: u64,
    /// How workers ended, by process id.
    ends: HashMap<u32, ExitStatus>,
    /// Why there are no workers and will not be.
    broken: Option<Arc<str>>,
}

enum Progress {
    /// Pieces of a result that has not arrived in full.
    Pieces(Vec<u8>),
    Done(Outcome),
}

/// What came of a task: its encoded result, or why there is none.
type Outcome = Result<Vec<u8>, TaskError>;

impl Ledger {
    /// A number for a new task.
    pub(crate) fn open(&self) -> u64 {
        let mut state = self.state.lock();
        let id = state.next;
        state.next += 1;
        state.tasks.insert(id, Progress::Pieces(Vec::new()));
        id
    }

    /// Nobody waits for this task any more.
    pub(crate) fn forget(&self, id: u64) {
        self.state.lock().tasks.remove(&id);
    }

    /// Notes how a worker ended.
    pub(crate) fn note_end(&self, pid: u32, status: ExitStatus) {
        self.state.lock().ends.insert(pid, status);
        self.changed.notify_all();
    }

    /// Forgets how an earlier worker with the number of a new one ended.
    pub(crate) fn forget_end(&self, pid: u32) {
        self.state.lock().ends.remove(&pid);
    }

    /// Notes that there will be no workers any more.
    pub(crate) fn note_broken(&self, reason: &str) {
        self.state.lock().broken = Some(reason.into());
        self.changed.notify_all();
    }

    pub(crate) fn broken(&self) -> Option<TaskError> {
        self.state.lock().broken.clone().map(TaskError::NoWorkers)
    }

    /// Waits for the outcome of task `id`, receiving for others meanwhile.
    pub(crate) fn wait(&self, id: u64, inbox: &Mutex<Receiver<Queues>>) -> Outcome {
        loop {
            if let Some(outcome) = self.take(id) {
                return self.with_status(outcome);
            }
            if let Some(error) = self.broken() {
                self.forget(id);
                return Err(error);
            }
            self.receive(inbox, LOOK_UP, |state| matches!(state.tasks.get(&id), Some(Progress::Done(_))));
        }
    }

    /// Receives one report, or waits until somebody else has, for at most `timeout`.
    pub(crate) fn pump(&self, inbox: &Mutex<Receiver<Queues>>, timeout: Duration) {
        self.receive(inbox, timeout, |_| false);
    }

    fn receive(&self, inbox: &Mutex<Receiver<Queues>>, timeout: Duration, served: impl Fn(&State) -> bool) {
        let Some(receiver) = inbox.try_lock() else {
            let mut state = self.state.lock();
            if !served(&state) {
                self.changed.wait_for(&mut state, timeout);
            }
            return;
        };
        match receiver.recv_timeout(timeout) {
            Ok(lease) => {
                self.file(&lease);
                lease.ack();
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(error) => self.note_broken(&error.to_string()),
        }
        drop(receiver);
        // After the inbox came free: whoever wakes finds it so, or finds that somebody else has it.
        self.changed.notify_all();
    }

    /// Files a report. One that nobody waits for is void: the first outcome of a task is the one that counts.
    fn file(&self, bytes: &[u8]) {
        let Some((report, payload)) = message::split::<Report>(bytes) else { return };
        let mut state = self.state.lock();
        let Some(Progress::Pieces(pieces)) = state.tasks.get_mut(&report.id) else { return };
        if report.piece == 0 {
            pieces.clear();
        }
        pieces.extend_from_slice(payload);
        if report.last == 0 {
            return;
        }
        let pieces = std::mem::take(pieces);
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let outcome = match report.kind {
            VALUE => Ok(pieces),
            PANICKED => {
                let (message, location) = postcard::from_bytes(&pieces).unwrap_or_default();
                Err(TaskError::Panicked { message, location })
            }
            NOT_ENCODABLE => Err(TaskError::Result(text(pieces))),
            REFUSED => Err(TaskError::Argument(text(pieces))),
            DIED => Err(TaskError::WorkerDied { pid: report.pid, status: None }),
            _ => Err(TaskError::Result("the worker sent a report of an unknown kind".to_owned())),
        };
        state.tasks.insert(report.id, Progress::Done(outcome));
    }

    fn take(&self, id: u64) -> Option<Outcome> {
        let mut state = self.state.lock();
        match state.tasks.get(&id) {
            Some(Progress::Done(_)) => match state.tasks.remove(&id) {
                Some(Progress::Done(outcome)) => Some(outcome),
                _ => None,
            },
            _ => None,
        }
    }

    /// Adds how the worker ended. Its lock fell before the kernel shows its exit status, so there may be a moment to wait.
    fn with_status(&self, outcome: Outcome) -> Outcome {
        outcome.map_err(|error| match error {
            TaskError::WorkerDied { pid, status: None } => {
                let mut state = self.state.lock();
                let unknown = |state: &mut State| !state.ends.contains_key(&pid);
                self.changed.wait_while_for(&mut state, unknown, STATUS);
                TaskError::WorkerDied { pid, status: state.ends.get(&pid).copied() }
            }
            other => other,
        })
    }
}
