//! A pool's memory: one object of two queues, tasks and results, so that whoever recovers from a worker's death recovers both.
//!
//! The order of the sweep is part of the protocol. A worker sends the result of a task *before* it acknowledges the task. If it dies in
//! between, its result is published, and then the task is delivered again: so whoever receives the results in order
//! sees the true outcome first, and knows what comes later for the same task to be void.

use shmkit_queue::buffer::{self, Buffers};
use shmkit_segment::{Configuration, Error, Memory, Object, PeerId, Plan, kind};
use std::alloc::Layout;

pub(crate) const TASK_SENDERS: usize = 0;
pub(crate) const TASK_RECEIVERS: usize = 1;
pub(crate) const RESULT_SENDERS: usize = 2;
pub(crate) const RESULT_RECEIVERS: usize = 3;

/// Both queues in their segment.
pub(crate) struct Queues {
    pub(crate) tasks: Buffers,
    pub(crate) results: Buffers,
}

/// `count` buffers of `task` bytes for tasks, and as many of `result` bytes for results.
pub(crate) fn configuration(count: usize, task: usize, result: usize) -> Configuration {
    [count as u64, task as u64, result as u64, 0, 0, 0, 0, 0]
}

impl Object for Queues {
    const KIND: u32 = kind(b"POOL");
    type Parts = (<Buffers as Object>::Parts, <Buffers as Object>::Parts);

    fn payload() -> Layout {
        Layout::new::<()>()
    }

    fn plan(&[count, task, result, ..]: &Configuration, plan: &mut Plan) -> Result<Self::Parts, Error> {
        let mut part = |size: u64| {
            let (count, size) = (usize::try_from(count), usize::try_from(size));
            let (Ok(count), Ok(size)) = (count, size) else {
                return Err(Error::Geometry("the pool's queues would not fit into an address space"));
            };
            Buffers::plan(&buffer::Settings::new(count, size).into(), plan)
        };
        Ok((part(task)?, part(result)?))
    }

    fn attach(memory: &Memory, parts: &Self::Parts) -> Self {
        Self { tasks: Buffers::attach(memory, &parts.0), results: Buffers::attach(memory, &parts.1) }
    }

    fn sweep(&self, dead: PeerId, reaper: PeerId) {
        self.results.sweep(dead, reaper);
        self.tasks.sweep(dead, reaper);
    }

    fn wake_all(&self) {
        self.results.wake_all();
        self.tasks.wake_all();
    }
}
