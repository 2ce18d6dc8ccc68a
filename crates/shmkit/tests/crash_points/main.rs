//! Every operation is killed at every access to shared memory and at every system call that it makes, in a real process, and what the
//! others find afterwards is checked.
//!
//! Built with `--cfg crash_points` only (`ci/crash-points` does so). For each operation, a child process runs it with the n-th such site armed to
//! raise SIGKILL, for n = 1, 2, … until it completes. It prints how many sites each was killed at, and in the end compares them with the
//! sites that the sources have.
#![cfg(crash_points)]

mod harness;
mod named;
mod pool;
mod queues;
mod recovery;
mod semaphore;
mod sites;

#[test]
fn every_operation_survives_a_kill_at_every_site() {
    queues::mpmc_sender();
    queues::mpmc_sender_that_must_wait();
    queues::mpmc_sender_among_others();
    queues::mpmc_receiver();
    queues::mpmc_receiver_that_must_wait_among_others();
    queues::mpmc_receiver_at_the_end();
    queues::spsc_sender();
    queues::spsc_receiver();
    queues::buffer_sender();
    queues::buffer_sender_among_others();
    queues::buffer_sender_that_must_wait();
    queues::buffer_receiver();
    queues::buffer_receiver_until_the_end();
    queues::buffer_receiver_at_the_end();
    semaphore::permits_come_back_and_do_not_multiply();
    semaphore::a_waiter_that_dies_strands_nobody();
    recovery::mpmc_reaper_of_a_sender();
    recovery::mpmc_receiver_that_passes_a_tomb();
    recovery::buffer_reaper_of_a_receiver();
    recovery::buffer_sender_that_clears_up();
    recovery::semaphore_waiter_that_reaps_the_holder();
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
    sites::every_site_has_had_a_victim();
}
