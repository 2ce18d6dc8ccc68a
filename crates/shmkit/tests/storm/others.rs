//! Permits and pools: no queue to count in, but permits that must not drift, and tasks that must each have one outcome.

use crate::board::Board;
use crate::{SIGKILL, kill, kills, random, random_time};
use shmkit::prelude::*;
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicBool, Ordering};

fn hold((board, semaphore): (Board, Semaphore)) {
    while board.goes_on() {
        let _permit = semaphore.acquire().unwrap();
    }
}

#[test]
fn semaphore_permits_do_not_drift() {
    let mut random = random("semaphore");
    let board = Board::new(0);
    let semaphore = Semaphore::new(2).expect("a semaphore");
    let next = || spawn(hold, (board.clone(), semaphore.clone())).expect("a holder");
    let mut holders = vec![next(), next(), next(), next()];
    for _ in 0..kills() {
        random_time(&mut random);
        let index = random.usize(..4);
        kill(std::mem::replace(&mut holders[index], next()));
    }
    board.stop();
    holders.into_iter().for_each(|holder| holder.join().expect("a holder ends by itself"));
    println!("semaphore: {} kills, {} of 2 permits free", kills(), semaphore.available());
    drop([semaphore.acquire().unwrap(), semaphore.acquire().unwrap()]);
    assert_eq!(semaphore.available(), 2);
}

/// Works for some microseconds.
fn square(x: u64) -> u64 {
    (0..x % 20_000).fold(x * x, |sum, i| std::hint::black_box(sum ^ i ^ i))
}

/// Kills a random worker of the pool. Its number is known to be its own as long as the pool lists it, and the descriptor was
/// opened meanwhile.
fn kill_a_worker(pool: &Pool, random: &mut fastrand::Rng) -> bool {
    let pids = pool.worker_pids();
    let Some(&pid) = pids.get(random.usize(..pids.len().max(1))) else { return false };
    let number = rustix::process::Pid::from_raw(pid as i32).expect("a process id");
    let Ok(process) = rustix::process::pidfd_open(number, rustix::process::PidfdFlags::empty()) else { return false };
    pool.worker_pids().contains(&pid)
        && rustix::process::pidfd_send_signal(&process, rustix::process::Signal::KILL).is_ok()
}

fn pool_storm(retries: u32) -> (u64, u64, u64) {
    let mut random = random("pool");
    let pool = Pool::builder().workers(2).retries(retries).build().expect("a pool");
    let done = AtomicBool::new(false);
    let (mut killed, mut finished, mut died) = (0, 0, 0);
    std::thread::scope(|scope| {
        let killer = scope.spawn(|| {
            let mut killed = 0;
            while killed < kills() as u64 {
                random_time(&mut random);
                killed += u64::from(kill_a_worker(&pool, &mut random));
            }
            done.store(true, Ordering::Relaxed);
            killed
        });
        let numbers = (0_u64..).take_while(|_| !done.load(Ordering::Relaxed));
        for (x, result) in pool.map(square, numbers).enumerate() {
            match result {
                Ok(y) => {
                    assert_eq!(y, (x * x) as u64);
                    finished += 1;
                }
                Err(TaskError::WorkerDied { status, .. }) => {
                    assert_eq!(status.and_then(|status| status.signal()), Some(SIGKILL));
                    died += 1;
                }
                Err(other) => panic!("task {x}: {other}"),
            }
        }
        killed = killer.join().expect("the killer");
    });
    println!("pool with {retries} retries: {killed} kills, {finished} tasks finished, {died} ended with their worker");
    (killed, finished, died)
}

#[test]
fn pool_tasks_each_have_one_outcome() {
    let (killed, finished, died) = pool_storm(0);
    assert!(finished > 0 && died <= killed);
}

#[test]
fn pool_with_retries_finishes_every_task() {
    let (_, finished, died) = pool_storm(u32::MAX);
    assert!(finished > 0 && died == 0);
}
