//! A worker's life: take a task, call its function, report, acknowledge; until no more tasks can come or nobody wants results.

use crate::message::{self, DIED, NOT_ENCODABLE, PANICKED, REFUSED, Report, Task, VALUE};
use crate::queues::{Queues, RESULT_RECEIVERS, RESULT_SENDERS, TASK_RECEIVERS, TASK_SENDERS};
use shmkit_process::{CallError, Remote};
use shmkit_queue::buffer::{Receiver, SendError, Sender};
use shmkit_segment::{Role, Side};
use zerocopy::IntoBytes;

/// The roles that a worker acts in. They are counted before it exists.
pub(crate) type Roles = (Role<Queues>, Role<Queues>);

/// The function that runs in a worker's process.
pub(crate) fn work((tasks, results): Roles) {
    debug_assert_eq!((tasks.number(), results.number()), (TASK_RECEIVERS, RESULT_SENDERS));
    let segment = tasks.segment().clone();
    let queues = segment.object();
    let tasks = Receiver::of(tasks, &queues.tasks, TASK_SENDERS);
    let results = Sender::of(results, &queues.results, RESULT_RECEIVERS);
    while let Ok(lease) = tasks.recv() {
        // What is left over when the pool is dropped is not begun.
        if segment.side(RESULT_RECEIVERS) == Side::Closed {
            return;
        }
        // A message that is too short for its header is a peer's nonsense: there is no one to report to.
        let Some((task, argument)) = message::split::<Task>(&lease) else {
            lease.ack();
            continue;
        };
        let died = lease.previous_holder().filter(|_| lease.deliveries() > task.retries.saturating_add(1));
        let reported = match died {
            Some(pid) => send(&results, Report { id: task.id, kind: DIED, piece: 0, last: 1, pid }, &[]),
            None => {
                let (kind, payload) = call(&task, argument);
                send(&results, Report { id: task.id, kind, piece: 0, last: 1, pid: 0 }, &payload)
            }
        };
        if reported.is_err() {
            return;
        }
        lease.ack();
    }
}

/// Calls the task's function, and says what came of it and how that is encoded.
fn call(task: &Task, argument: &[u8]) -> (u32, Vec<u8>) {
    match Remote::from_bytes(task.function).call(argument) {
        Ok(value) => (VALUE, value),
        // Strings can always be encoded.
        Err(CallError::Panicked { message, location }) => {
            (PANICKED, postcard::to_stdvec(&(message, location)).unwrap_or_default())
        }
        Err(CallError::ResultNotEncodable { reason }) => (NOT_ENCODABLE, reason.into_bytes()),
        Err(refused) => (REFUSED, refused.to_string().into_bytes()),
    }
}

/// Sends a report in as many pieces as it takes.
fn send(results: &Sender<Queues>, report: Report, payload: &[u8]) -> Result<(), SendError> {
    let room = results.largest_message() - size_of::<Report>();
    let pieces = payload.len().div_ceil(room).max(1);
    for piece in 0..pieces {
        let part = &payload[piece * room..payload.len().min((piece + 1) * room)];
        let report = Report { piece: piece as u32, last: u32::from(piece + 1 == pieces), ..report };
        let mut loan = results.loan(size_of::<Report>() + part.len())?;
        loan[..size_of::<Report>()].copy_from_slice(report.as_bytes());
        loan[size_of::<Report>()..].copy_from_slice(part);
        loan.send()?;
    }
    Ok(())
}
