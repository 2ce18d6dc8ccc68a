//! Kill storms: processes in every role under load, killed at random instants, and a ledger of what was sent against what was received.
//!
//! `SHMKIT_STORM_KILLS` sets how many are killed in each storm (200 if it is not set), `SHMKIT_STORM_SEED` repeats one. Each prints kills,
//! messages, missing, duplicated.

mod board;

use board::{Board, MESSAGES};
use serde::{Deserialize, Serialize};
use shmkit::prelude::*;
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const SIGKILL: i32 = 9;

fn kills() -> usize {
    std::env::var("SHMKIT_STORM_KILLS").map_or(200, |kills| kills.parse().expect("a number of kills"))
}

fn random(storm: &str) -> fastrand::Rng {
    let seed =
        std::env::var("SHMKIT_STORM_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().expect("a seed"));
    println!("{storm}: SHMKIT_STORM_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}

/// Lets a random time pass, during which whoever is to be killed works. The instant is the input of the test: nothing waits for it.
fn random_time(random: &mut fastrand::Rng) {
    let until = Instant::now() + Duration::from_micros(random.u64(..3_000));
    while Instant::now() < until {
        std::thread::yield_now();
    }
}

/// Kills a process: true unless it had ended by itself.
fn kill(victim: JoinHandle<()>) -> bool {
    victim.kill().expect("a child can be killed");
    match victim.join() {
        Ok(()) => false,
        Err(JoinError::Exited { status }) if status.signal() == Some(SIGKILL) => true,
        // Before it came to life.
        Err(JoinError::NeverStarted(_)) => true,
        Err(other) => panic!("the victim failed in another way: {other}"),
    }
}

/// A queue of one kind, as seen by a storm.
trait Queue {
    type Sender: Clone + Serialize + for<'de> Deserialize<'de> + 'static;
    type Receiver: Clone + Serialize + for<'de> Deserialize<'de> + 'static;
    /// Messages that a receiver's death may leave unnoted: those that were acknowledged before they could be noted.
    const UNNOTED: u64;

    fn channel() -> (Self::Sender, Self::Receiver);
    fn send(sender: &Self::Sender, message: u64);
    /// Receives a message and notes it; false at the end.
    fn recv(receiver: &Self::Receiver, note: impl FnOnce(u64)) -> bool;
}

struct Mpmc;

impl Queue for Mpmc {
    type Sender = mpmc::Sender<u64>;
    type Receiver = mpmc::Receiver<u64>;
    const UNNOTED: u64 = 1;

    fn channel() -> (Self::Sender, Self::Receiver) {
        mpmc::channel(16).expect("a queue")
    }

    fn send(sender: &Self::Sender, message: u64) {
        sender.send(message).expect("the parent keeps a receiver");
    }

    fn recv(receiver: &Self::Receiver, note: impl FnOnce(u64)) -> bool {
        receiver.recv().map(note).is_ok()
    }
}

struct Buffers;

impl Queue for Buffers {
    type Sender = buffer::Sender;
    type Receiver = buffer::Receiver;
    const UNNOTED: u64 = 0;

    fn channel() -> (Self::Sender, Self::Receiver) {
        buffer::channel(16, 8).expect("a queue")
    }

    fn send(sender: &Self::Sender, message: u64) {
        sender.send(&message.to_le_bytes()).expect("the parent keeps a receiver");
    }

    fn recv(receiver: &Self::Receiver, note: impl FnOnce(u64)) -> bool {
        let Ok(lease) = receiver.recv() else { return false };
        note(u64::from_le_bytes((*lease).try_into().expect("eight bytes")));
        lease.ack();
        true
    }
}

fn send_all<Q: Queue>((board, sender, me): (Board, Q::Sender, usize)) {
    for number in 1..MESSAGES {
        if !board.goes_on() {
            return;
        }
        let message = Board::message(me, number);
        Q::send(&sender, message);
        board.note_sent(message);
    }
}

fn receive_all<Q: Queue>((board, receiver): (Board, Q::Receiver)) {
    while Q::recv(&receiver, |message| board.note_received(message)) {}
}

/// Two senders and two receivers; again and again a random one of them is killed and replaced.
fn storm<Q: Queue + 'static>(name: &str) {
    let mut random = random(name);
    let board = Board::new(kills() + 2);
    let (sender, receiver) = Q::channel();
    let mut senders = 0;
    let mut next_sender = || {
        senders += 1;
        spawn(send_all::<Q>, (board.clone(), sender.clone(), senders - 1)).expect("a sender")
    };
    let next_receiver = || spawn(receive_all::<Q>, (board.clone(), receiver.clone())).expect("a receiver");
    let mut processes = vec![next_sender(), next_sender(), next_receiver(), next_receiver()];
    let mut dead_receivers = 0;
    for _ in 0..kills() {
        random_time(&mut random);
        let index = random.usize(..4);
        let replacement = if index < 2 { next_sender() } else { next_receiver() };
        let killed = kill(std::mem::replace(&mut processes[index], replacement));
        dead_receivers += u64::from(killed && index >= 2);
    }
    board.stop();
    let receiving = processes.split_off(2);
    processes.into_iter().for_each(|process| process.join().expect("a sender ends by itself"));
    drop((sender, receiver));
    receiving.into_iter().for_each(|process| process.join().expect("a receiver ends by itself"));

    let tally = board.tally();
    println!("{name}: {} kills, {dead_receivers} of receivers; {tally:?}", kills());
    assert!(tally.messages > 0, "nothing was sent");
    assert_eq!(tally.garbage, 0);
    assert!(tally.missing <= dead_receivers * Q::UNNOTED, "messages were lost");
    assert!(tally.duplicated <= dead_receivers, "more was delivered again than was unacknowledged");
}

#[test]
fn mpmc_loses_nothing() {
    storm::<Mpmc>("mpmc");
}

#[test]
fn buffer_loses_nothing() {
    storm::<Buffers>("buffer");
}

fn send_ring((board, mut sender, me): (Board, spsc::Sender<u64>, usize)) {
    for number in 1..MESSAGES {
        let message = Board::message(me, number);
        if sender.send(message).is_err() {
            return;
        }
        board.note_sent(message);
    }
}

fn receive_ring((board, mut receiver): (Board, spsc::Receiver<u64>)) {
    receiver.iter().for_each(|message| board.note_received(message));
}

/// One ring after the other, and one of its ends is killed. A dead sender costs nothing; with a dead receiver goes what it had not received.
#[test]
fn spsc_tells_the_survivor() {
    let mut random = random("spsc");
    let board = Board::new(kills());
    let (mut missing_after_sender, mut kill_count) = (0, 0);
    for round in 0..kills() {
        let (sender, receiver) = spsc::channel(16).expect("a queue");
        let sending = spawn(send_ring, (board.clone(), sender, round)).expect("a sender");
        let receiving = spawn(receive_ring, (board.clone(), receiver)).expect("a receiver");
        random_time(&mut random);
        if random.bool() {
            kill_count += u64::from(kill(sending));
            receiving.join().expect("the receiver sees the end");
            missing_after_sender += board.tally_of(round).missing;
        } else {
            kill_count += u64::from(kill(receiving));
            sending.join().expect("the sender is told");
        }
    }
    let tally = board.tally();
    println!("spsc: {kill_count} kills; {tally:?}, missing with a living receiver {missing_after_sender}");
    assert!(tally.messages > 0 && tally.garbage == 0 && tally.duplicated == 0);
    assert_eq!(missing_after_sender, 0, "messages were lost");
}

fn hold((board, semaphore): (Board, Semaphore)) {
    while board.goes_on() {
        let _permit = semaphore.acquire().unwrap();
    }
}

#[test]
fn semaphore_permits_do_not_drift() {
    let mut random = random("semaphore");
    let board = Board::new(1);
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
