//! `map`: tasks go out as results are asked for, results come back in order.

use crate::TaskError;
use crate::pool::Pool;
use serde::Serialize;
use serde::de::DeserializeOwned;
use shmkit_process::Remote;
use std::collections::VecDeque;
use std::marker::PhantomData;

/// The results of [`Pool::map`], in the order of the arguments.
///
/// Lazy: arguments are taken from their iterator as results are asked for, so that a bounded number of tasks is under way, whatever the length
/// of the input. Dropping it early leaves the pool usable; tasks that were sent by then are still run, and their results discarded.
#[must_use = "nothing is computed unless results are asked for"]
pub struct Map<'pool, I: Iterator, R> {
    pool: &'pool Pool,
    function: Result<Remote, TaskError>,
    input: I,
    /// An argument that was taken and encoded, and that found no room.
    held: Option<Vec<u8>>,
    under_way: VecDeque<Result<u64, TaskError>>,
    result: PhantomData<fn() -> R>,
}

impl<'pool, I: Iterator, R> Map<'pool, I, R> {
    pub(crate) fn new(pool: &'pool Pool, function: Result<Remote, TaskError>, input: I) -> Self {
        Self { pool, function, input, held: None, under_way: VecDeque::new(), result: PhantomData }
    }

    /// Sends tasks until enough are under way or there is no room for more.
    fn refill(&mut self)
    where
        I::Item: Serialize,
    {
        while self.under_way.len() < self.pool.window() {
            let message = match self.held.take() {
                Some(message) => message,
                None => {
                    let Some(argument) = self.input.next() else { return };
                    let encoded = self.function.clone().and_then(|function| self.pool.encode(function, &argument));
                    match encoded {
                        Ok(message) => message,
                        Err(error) => {
                            self.under_way.push_back(Err(error));
                            continue;
                        }
                    }
                }
            };
            // With nothing under way there is nothing to wait for but room.
            match self.pool.submit(&message, self.under_way.is_empty()) {
                Ok(Some(id)) => self.under_way.push_back(Ok(id)),
                Ok(None) => {
                    self.held = Some(message);
                    return;
                }
                Err(error) => self.under_way.push_back(Err(error)),
            }
        }
    }
}

impl<I, R> Iterator for Map<'_, I, R>
where
    I: Iterator,
    I::Item: Serialize,
    R: DeserializeOwned,
{
    type Item = Result<R, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.refill();
        let outcome = self.under_way.pop_front()?.and_then(|id| self.pool.wait(id));
        Some(
            outcome
                .and_then(|bytes| postcard::from_bytes(&bytes).map_err(|cause| TaskError::Result(cause.to_string()))),
        )
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let held = self.under_way.len() + usize::from(self.held.is_some());
        let (least, most) = self.input.size_hint();
        (least.saturating_add(held), most.and_then(|most| most.checked_add(held)))
    }
}

impl<I: Iterator, R> Drop for Map<'_, I, R> {
    fn drop(&mut self) {
        for id in self.under_way.drain(..).flatten() {
            self.pool.forget(id);
        }
    }
}
