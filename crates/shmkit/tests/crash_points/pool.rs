//! A pool's worker killed at every site between the call of a task and the call of the next one.

use crate::harness::{Orders, SIGKILL, at_every_site};
use shmkit::pool::Builder;
use shmkit::prelude::*;
use shmkit::segment::crash;
use std::os::unix::process::ExitStatusExt;

/// Task 1 arms its worker, once: whoever runs it again finds the ledger. Says whether the worker came through from the task before, armed.
fn task((orders, item): (Orders, u64)) -> (u64, bool) {
    let came_through = crash::disarm();
    if item == 1 && orders.ledger().is_empty() {
        orders.arm().note(item);
    }
    (item * item, came_through)
}

/// One worker, so that all tasks come to it, or to its successor.
fn run(orders: &Orders, builder: Builder) -> Vec<Result<(u64, bool), TaskError>> {
    let pool = builder.workers(1).build().unwrap();
    pool.map(task, (0..4).map(|item| (orders.clone(), item))).collect()
}

fn came_through(results: &[Result<(u64, bool), TaskError>]) -> bool {
    results.iter().any(|result| matches!(result, Ok((_, true))))
}

pub(crate) fn worker_costs_its_own_task_one_error_at_most() {
    at_every_site("pool worker", |orders| {
        let results = run(orders, Pool::builder());
        for (item, result) in results.iter().enumerate() {
            match result {
                Ok((square, _)) => assert_eq!(*square, (item * item) as u64),
                Err(TaskError::WorkerDied { status, .. }) if item == 1 || item == 2 => {
                    assert_eq!(status.and_then(|status| status.signal()), Some(SIGKILL));
                }
                Err(other) => panic!("task {item}: {other}"),
            }
        }
        assert!(results.iter().filter(|result| result.is_err()).count() <= 1);
        came_through(&results)
    });
}

pub(crate) fn worker_costs_nothing_with_a_retry() {
    at_every_site("pool worker with a retry", |orders| {
        let results = run(orders, Pool::builder().retries(1));
        assert!(results.iter().map(|result| result.as_ref().unwrap().0).eq([0, 1, 4, 9]));
        came_through(&results)
    });
}
