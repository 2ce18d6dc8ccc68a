//! The pool itself: its queues, its workers, and what it is made with.

use crate::ledger::Ledger;
use crate::map::Map;
use crate::message::{Report, Task};
use crate::queues::{self, Queues, RESULT_RECEIVERS, RESULT_SENDERS, TASK_RECEIVERS, TASK_SENDERS};
use crate::supervisor::Crew;
use crate::{PoolError, TaskError};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use shmkit_process::Remote;
use shmkit_queue::buffer::{Receiver, Sender, TrySendError};
use shmkit_segment::Options;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use zerocopy::IntoBytes;

/// A pool of worker processes.
///
/// Dropping it lets the workers finish what they are doing, and waits for them to end.
pub struct Pool {
    tasks: Option<Mutex<Sender<Queues>>>,
    inbox: Option<Mutex<Receiver<Queues>>>,
    ledger: Arc<Ledger>,
    crew: Arc<Crew>,
    supervisor: Option<JoinHandle<()>>,
    retries: u32,
    window: usize,
}

/// How to make a [`Pool`].
#[derive(Clone, Debug)]
pub struct Builder {
    workers: usize,
    retries: u32,
    task_limit: usize,
}

/// Workers and the pool itself are peers of its memory; one place is left for a worker that is just being replaced.
const MAX_WORKERS: usize = 1024;

impl Default for Builder {
    fn default() -> Self {
        let workers = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_WORKERS);
        Self { workers, retries: 0, task_limit: 64 << 10 }
    }
}

impl Builder {
    /// As many worker processes. The default is the number of processors.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// How often a task is begun again after the worker that had it died. The default is 0: the task ends in
    /// [`TaskError::WorkerDied`]. Only for tasks that may be run more than once.
    #[must_use]
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// How many bytes an encoded argument has at most; the default is 64 KiB. Results have no limit: long ones come in pieces of this size.
    ///
    /// The pool's memory is twice this for each task under way, of which there are four a worker and at least sixteen.
    #[must_use]
    pub fn task_limit(mut self, bytes: usize) -> Self {
        self.task_limit = bytes;
        self
    }

    /// Makes the pool and starts its workers, about a millisecond each.
    ///
    /// # Errors
    /// [`PoolError`]. Nothing is left behind.
    pub fn build(self) -> Result<Pool, PoolError> {
        if !(1..=MAX_WORKERS).contains(&self.workers) {
            return Err(PoolError::Workers { workers: self.workers, limit: MAX_WORKERS });
        }
        let window = (self.workers * 4).max(16);
        let too_large = || PoolError::Memory(shmkit_segment::Error::Geometry("the task limit is too large"));
        let task = self.task_limit.checked_add(size_of::<Task>()).ok_or_else(too_large)?;
        let result = self.task_limit.max(1 << 10).checked_add(size_of::<Report>()).ok_or_else(too_large)?;
        // A dead worker's place may still be taken when its successor comes.
        let peers = 2 * self.workers + 2;
        let segment = Options::new().peers(peers).anonymous::<Queues>(queues::configuration(window, task, result))?;
        let queues = segment.object();
        let tasks = Sender::of(segment.role(TASK_SENDERS), &queues.tasks, TASK_RECEIVERS);
        let inbox = Receiver::of(segment.role(RESULT_RECEIVERS), &queues.results, RESULT_SENDERS);
        let roles = (segment.role(TASK_RECEIVERS), segment.role(RESULT_SENDERS));

        let ledger = Arc::new(Ledger::default());
        let crew = Arc::new(Crew::new(self.workers, Arc::clone(&segment), roles, Arc::clone(&ledger))?);
        // From here on, dropping the pool ends whatever was started.
        let mut pool = Pool {
            tasks: Some(Mutex::new(tasks)),
            inbox: Some(Mutex::new(inbox)),
            ledger,
            crew: Arc::clone(&crew),
            supervisor: None,
            retries: self.retries,
            window,
        };
        let supervisor = std::thread::Builder::new().name("shmkit-pool".to_owned());
        for _ in 0..self.workers {
            pool.crew.hire()?;
        }
        pool.supervisor = Some(supervisor.spawn(move || crew.supervise())?);
        Ok(pool)
    }
}

impl Pool {
    /// A pool of `workers` worker processes, with the defaults of [`Builder`].
    ///
    /// # Errors
    /// [`PoolError`]. Nothing is left behind.
    pub fn new(workers: usize) -> Result<Self, PoolError> {
        Self::builder().workers(workers).build()
    }

    /// A pool with options.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Calls `function` on each argument, in the workers, and gives the results in the order of the arguments.
    ///
    /// `function` is a function or a closure that captures nothing; what it needs comes as its argument. The iterator that is returned blocks
    /// in `next` until the result that is due has arrived. Each task has a result of its own: an error concerns that task only.
    ///
    /// Several threads can map over one pool at the same time.
    pub fn map<A, R, I>(&self, function: fn(A) -> R, arguments: I) -> Map<'_, I::IntoIter, R>
    where
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + 'static,
        I: IntoIterator<Item = A>,
    {
        let function = Remote::of(function).map_err(|error| TaskError::Argument(error.to_string()));
        Map::new(self, function, arguments.into_iter())
    }

    /// The process ids of the workers at this moment.
    #[must_use]
    pub fn worker_pids(&self) -> Vec<u32> {
        self.crew.pids()
    }

    /// How many tasks one `map` has under way at most.
    pub(crate) fn window(&self) -> usize {
        self.window
    }

    /// A task's message, with room for its id.
    pub(crate) fn encode<A: Serialize>(&self, function: Remote, argument: &A) -> Result<Vec<u8>, TaskError> {
        let task = Task { id: 0, function: function.to_bytes(), retries: self.retries, reserved: 0 };
        let message = postcard::to_extend(argument, task.as_bytes().to_vec())
            .map_err(|cause| TaskError::Argument(cause.to_string()))?;
        let limit = self.tasks().lock().largest_message();
        if message.len() > limit {
            let header = size_of::<Task>();
            return Err(TaskError::ArgumentTooLarge { length: message.len() - header, limit: limit - header });
        }
        Ok(message)
    }

    /// Sends a task: its id, or `None` if there is no room and `wait` is false.
    pub(crate) fn submit(&self, message: &[u8], wait: bool) -> Result<Option<u64>, TaskError> {
        loop {
            if let Some(error) = self.ledger.broken() {
                return Err(error);
            }
            let sender = self.tasks().lock();
            match sender.try_loan(message.len()) {
                Ok(mut loan) => {
                    let id = self.ledger.open();
                    loan.copy_from_slice(message);
                    loan[..size_of::<u64>()].copy_from_slice(id.as_bytes());
                    return match loan.send() {
                        Ok(()) => Ok(Some(id)),
                        Err(error) => {
                            self.ledger.forget(id);
                            Err(TaskError::Argument(error.to_string()))
                        }
                    };
                }
                Err(TrySendError::Full) if !wait => return Ok(None),
                Err(TrySendError::Full) => {}
                Err(error) => return Err(TaskError::Argument(error.to_string())),
            }
            drop(sender);
            // The room is taken by tasks of others, whose results may be what the workers cannot get rid of.
            self.ledger.pump(self.inbox(), Duration::from_millis(1));
        }
    }

    pub(crate) fn wait(&self, id: u64) -> Result<Vec<u8>, TaskError> {
        self.ledger.wait(id, self.inbox())
    }

    pub(crate) fn forget(&self, id: u64) {
        self.ledger.forget(id);
    }

    fn tasks(&self) -> &Mutex<Sender<Queues>> {
        self.tasks.as_ref().expect("taken by drop only")
    }

    fn inbox(&self) -> &Mutex<Receiver<Queues>> {
        self.inbox.as_ref().expect("taken by drop only")
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // No more tasks, nobody for results: workers that wait for the one or the other end.
        self.crew.close();
        self.tasks.take();
        self.inbox.take();
        match self.supervisor.take() {
            // A panic in there would be a fault of this library; there is nobody left to tell.
            Some(supervisor) => drop(supervisor.join()),
            // Building failed before there was one.
            None => self.crew.supervise(),
        }
    }
}
