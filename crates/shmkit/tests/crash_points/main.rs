//! Every operation is killed at every access to shared memory and at every system call that it makes, in a real process, and what the
//! others find afterwards is checked.
//!
//! Built with `--cfg crash_points` only (`ci/crash-points` does so). For each operation, a child process runs it with the n-th such site armed to
//! raise SIGKILL, for n = 1, 2, … until it completes. It prints how many sites each was killed at, and in the end compares them with the
//! sites that the sources have. Then the same with SIGSTOP, and a table of whom a stopped process delays; and with both, a stop before each
//! compare-exchange, so that others can make it fail, and the kill after it.
#![cfg(crash_points)]

mod batches;
mod buffers;
#[cfg(feature = "async")]
mod futures;
mod harness;
mod locks;
mod named;
mod pipes;
mod pool;
mod queues;
mod races;
mod recovery;
mod select;
mod semaphore;
mod sites;
mod stops;
mod traffic;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// One test at a time: a child that another thread is just starting has copies of this process's descriptors until it is executed, and with them the
/// locks of victims, so that a victim's death would be noticed late.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn every_operation_survives_a_kill_at_every_site() {
    let _turn = alone();
    queues::mpmc_sender();
    queues::mpmc_sender_that_must_wait();
    queues::mpmc_sender_among_others();
    queues::mpmc_receiver();
    queues::mpmc_receiver_that_must_wait_among_others();
    queues::mpmc_receiver_at_the_end();
    queues::spsc_sender();
    queues::spsc_receiver();
    queues::spsc_receiver_of_what_is_there();
    batches::mpmc_slice_sender();
    batches::mpmc_slice_receiver();
    batches::mpmc_worker();
    batches::mpmc_joiner();
    batches::spsc_claimed_sender();
    batches::spsc_claimed_receivers();
    queues::buffer_sender();
    queues::buffer_sender_among_others();
    queues::buffer_sender_that_must_wait();
    queues::buffer_receiver();
    queues::buffer_receiver_until_the_end();
    queues::buffer_receiver_at_the_end();
    queues::onlooker();
    select::receiver_of_several();
    select::sender_to_several();
    #[cfg(feature = "async")]
    futures::tasks();
    semaphore::permits_come_back_and_do_not_multiply();
    semaphore::a_waiter_that_dies_strands_nobody();
    recovery::mpmc_reaper_of_a_sender();
    recovery::mpmc_reaper_of_a_receiver();
    recovery::mpmc_receiver_that_adopts();
    recovery::mpmc_receiver_that_passes_a_tomb();
    recovery::mpmc_sender_behind_a_dead_waker();
    buffers::recovery::reapers();
    buffers::recovery::those_who_go_on_beside_the_dead();
    recovery::semaphore_waiter_that_reaps_the_holder();
    locks::all();
    pipes::all();
    pool::worker_costs_its_own_task_one_error_at_most();
    pool::worker_costs_nothing_with_a_retry();
    named::creator();
    named::opener();
    named::opener_of_what_was_left();
    named::heir();
    named::reclaimer();
    named::replacer();
    named::remover();
    named::passer();
    named::taker();
    named::stopped_opener_makes_others_busy_and_no_more();
    races::every_exchange();
    buffers::races::every_exchange();
    locks::races::every_exchange();
    sites::give_more_chances(locks::those_who_wait);
    sites::every_site_has_had_a_victim();
}

#[test]
fn a_stopped_process_delays_nobody_but_those_whom_the_documentation_names() {
    let _turn = alone();
    stops::mpmc::mpmc();
    stops::spsc::spsc();
    stops::buffer::buffer();
    stops::others::sleepers();
    stops::others::leavers();
    stops::others::reapers();
    locks::stops::all();
    pipes::stops::all();
}
