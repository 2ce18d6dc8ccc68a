//! What can go wrong with a task, and with a pool.

use shmkit_process::SpawnError;
use std::process::ExitStatus;
use std::sync::Arc;

/// Why a task has no result. It says nothing about the other tasks, which go on.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// The function panicked. The worker goes on.
    #[error("the task panicked{}: {message}", place(location))]
    Panicked {
        /// The panic's message.
        message: String,
        /// Its place, as `file:line:column`.
        location: Option<String>,
    },
    /// The worker died over the task (killed, out of memory, `exit` called), as often as the pool's retries allow. It has been replaced.
    #[error("the worker process {pid} died over the task{}", end(status))]
    WorkerDied {
        /// The process that died last.
        pid: u32,
        /// How it ended, if that could be learnt.
        status: Option<ExitStatus>,
    },
    /// The argument is longer than a task can be: raise the pool's `task_limit`, or pass a reference to the data.
    #[error("an argument of {length} bytes does not fit into a task of {limit}: raise the pool's `task_limit`")]
    ArgumentTooLarge {
        /// Bytes of the encoded argument.
        length: usize,
        /// Bytes that fit.
        limit: usize,
    },
    /// The argument could not be encoded, or not be decoded by the worker.
    #[error("the argument cannot be sent: {0}")]
    Argument(String),
    /// The result could not be encoded by the worker, or not be decoded here.
    #[error("the result cannot be sent: {0}")]
    Result(String),
    /// The pool has no workers and cannot start any.
    #[error("the pool cannot start workers: {0}")]
    NoWorkers(Arc<str>),
}

fn place(location: &Option<String>) -> String {
    location.as_ref().map(|location| format!(" at {location}")).unwrap_or_default()
}

fn end(status: &Option<ExitStatus>) -> String {
    status.map(|status| format!(" ({status})")).unwrap_or_default()
}

/// Why a pool could not be made. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// A pool has at least one worker, and at most as many as can be attached to its memory.
    #[error("a pool has 1 to {limit} workers, not {workers}")]
    Workers {
        /// The number asked for.
        workers: usize,
        /// The largest possible number.
        limit: usize,
    },
    /// Its memory could not be had.
    #[error("the pool's queues cannot be made: {0}")]
    Memory(#[from] shmkit_segment::Error),
    /// A worker could not be started.
    #[error("a worker cannot be started: {0}")]
    Spawn(#[from] SpawnError),
    /// The system refused something.
    #[error(
        "the pool cannot watch its workers: {0}; check the limit on open files (ulimit -n) and on threads (ulimit -u)"
    )]
    Io(#[from] std::io::Error),
}
