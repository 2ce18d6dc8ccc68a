//! The queues, explored by loom: every interleaving within the bound, under weak memory, on the code that ships, deaths included.
//!
//! `ci/loom` runs this, in both configurations (see `primitive`). Values lie in cells of loom's, so that two accesses that nothing orders are
//! reported, and a thread that would sleep for ever is reported as a deadlock.
#![cfg(loom)]

use loom::thread;
use shmkit_queue::{TryRecvError, buffer, mpmc, spsc};

fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    // The shadow doubles the accesses, and one preemption less keeps the time.
    builder.preemption_bound = Some(if cfg!(loom_shadow) { preemptions - 1 } else { preemptions });
    builder.max_branches = 20_000;
    builder.check(model);
}

#[test]
fn spsc_delivers_in_order_and_then_ends() {
    explore(2, || {
        let (mut sender, mut receiver) = spsc::private::<u64>(2).unwrap();
        let thread = thread::spawn(move || (1..=3).for_each(|item| sender.send(item).unwrap()));
        assert_eq!(receiver.iter().collect::<Vec<_>>(), [1, 2, 3]);
        thread.join().unwrap();
    });
}

#[test]
fn spsc_gives_values_back_when_the_receiver_is_gone() {
    explore(2, || {
        let (mut sender, mut receiver) = spsc::private::<u64>(1).unwrap();
        let thread = thread::spawn(move || receiver.recv().unwrap());
        let mut sent = 0;
        while sender.send(sent).is_ok() {
            sent += 1;
        }
        assert_eq!(thread.join().unwrap(), 0);
        assert!(sent >= 1);
    });
}

#[test]
fn mpmc_two_senders_lose_and_duplicate_nothing() {
    explore(2, || {
        let (sender, receiver) = mpmc::private::<u64>(2).unwrap();
        let other = sender.clone();
        let threads = [thread::spawn(move || sender.send(1).unwrap()), thread::spawn(move || other.send(2).unwrap())];
        let mut got: Vec<_> = receiver.iter().collect();
        got.sort_unstable();
        assert_eq!(got, [1, 2]);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// One slot, so that it is written again as soon as it was read.
#[test]
fn mpmc_slot_is_written_again_only_after_it_was_read() {
    explore(2, || {
        let (sender, receiver) = mpmc::private::<u64>(1).unwrap();
        let thread = thread::spawn(move || (1..=2).for_each(|item| sender.send(item).unwrap()));
        assert_eq!(receiver.iter().collect::<Vec<_>>(), [1, 2]);
        thread.join().unwrap();
    });
}

#[test]
fn mpmc_two_receivers_share_and_both_see_the_end() {
    explore(2, || {
        let (sender, receiver) = mpmc::private::<u64>(2).unwrap();
        let other = receiver.clone();
        let thread = thread::spawn(move || other.iter().sum::<u64>());
        sender.send(1).unwrap();
        sender.send(2).unwrap();
        drop(sender);
        let mine: u64 = receiver.iter().sum();
        assert_eq!(mine + thread.join().unwrap(), 3);
    });
}

#[test]
fn mpmc_two_sleeping_receivers_both_learn_that_the_sender_left() {
    explore(1, || {
        let (sender, receiver) = mpmc::private::<u64>(1).unwrap();
        let other = receiver.clone();
        let threads = [receiver, other].map(|receiver| thread::spawn(move || receiver.iter().sum::<u64>()));
        sender.send(1).unwrap();
        drop(sender);
        assert_eq!(threads.map(|thread| thread.join().unwrap()).iter().sum::<u64>(), 1);
    });
}

/// The victim is a second peer whose lock falls at some instant while a third one uses the queue and reaps.
#[test]
fn mpmc_survives_a_dead_sender_and_receiver() {
    explore(2, || {
        let (sender, receiver) = mpmc::private::<u64>(2).unwrap();
        let victim = sender.segment().join().unwrap();
        sender.send(1).unwrap();
        let thread = thread::spawn(move || {
            victim.die();
            victim
        });
        sender.segment().reap_dead();
        drop(sender);
        assert_eq!(receiver.recv(), Ok(1));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
        drop(thread.join().unwrap());
    });
}

#[test]
fn buffer_two_senders_lose_and_duplicate_nothing() {
    explore(2, || {
        let (sender, receiver) = buffer::private(2, 1).unwrap();
        let other = sender.clone();
        let threads =
            [thread::spawn(move || sender.send(&[1]).unwrap()), thread::spawn(move || other.send(&[2]).unwrap())];
        let mut got = Vec::new();
        while let Ok(lease) = receiver.recv() {
            got.push(lease[0]);
            lease.ack();
        }
        got.sort_unstable();
        assert_eq!(got, [1, 2]);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn buffer_is_reused_only_after_the_acknowledgement() {
    explore(2, || {
        let (sender, receiver) = buffer::private(1, 1).unwrap();
        let thread = thread::spawn(move || {
            sender.send(&[1]).unwrap();
            sender.send(&[2]).unwrap();
        });
        for expected in [1, 2] {
            let lease = receiver.recv().unwrap();
            assert_eq!(*lease, [expected]);
            lease.ack();
        }
        thread.join().unwrap();
    });
}

#[test]
fn buffer_given_back_comes_again_to_the_other_receiver() {
    explore(2, || {
        let (sender, receiver) = buffer::private(2, 1).unwrap();
        sender.send(&[7]).unwrap();
        drop(sender);
        let other = receiver.clone();
        let thread = thread::spawn(move || drop(other.try_recv())); // not acknowledged
        let lease = receiver.recv().unwrap();
        assert_eq!(*lease, [7]);
        lease.ack();
        thread.join().unwrap();
    });
}
