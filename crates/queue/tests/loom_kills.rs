//! The queues under weak memory, with a thread that dies at every access, explored by loom: `ci/loom` runs this with
//! `--cfg loom --cfg crash_points`.
//!
//! The victim is a peer of its own. It runs an operation in which the n-th access unwinds instead of happening, for n = 1, 2, … until the operation
//! completes in every interleaving; then its lock falls, and the survivor reaps it.
#![cfg(all(loom, crash_points))]

use loom::thread;
use shmkit_queue::{buffer, mpmc};
use shmkit_segment::crash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Explores `model` with the victim killed at every site; `model` says whether the victim completed.
fn kill_at_every_site(name: &str, model: impl Fn(u64) -> bool + Copy + Send + Sync + 'static) {
    for n in 1.. {
        let killed = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&killed);
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.max_branches = 20_000;
        builder.check(move || {
            if !model(n) {
                seen.store(true, Ordering::Relaxed);
            }
        });
        if !killed.load(Ordering::Relaxed) {
            println!("{name}: killed at {} accesses", n - 1);
            assert!(n > 1);
            return;
        }
    }
}

/// Runs `operation` with the `n`-th access unwinding: whether it completed.
fn survives(n: u64, operation: impl FnOnce()) -> bool {
    crash::arm(n);
    let completed = catch_unwind(AssertUnwindSafe(operation)).is_ok();
    crash::disarm();
    completed
}

#[test]
fn mpmc_sender() {
    kill_at_every_site("mpmc sender", |n| {
        let (sender, receiver) = mpmc::private::<u64>(2).unwrap();
        let victim = sender.for_another_peer().unwrap();
        let thread = thread::spawn(move || {
            let completed = survives(n, || victim.try_send(7).unwrap());
            victim.segment().die();
            completed
        });
        sender.try_send(1).unwrap();
        let completed = thread.join().unwrap();
        receiver.segment().reap_dead();
        drop(sender);
        let got: Vec<_> = receiver.iter().collect();
        assert_eq!(got.iter().filter(|&&item| item == 1).count(), 1);
        let sevens = got.iter().filter(|&&item| item == 7).count();
        assert!(got.len() == 1 + sevens && sevens <= 1 && (sevens == 1 || !completed), "{got:?}");
        completed
    });
}

#[test]
fn mpmc_receiver() {
    kill_at_every_site("mpmc receiver", |n| {
        let (sender, receiver) = mpmc::private::<u64>(2).unwrap();
        sender.try_send(1).unwrap();
        sender.try_send(2).unwrap();
        let victim = receiver.for_another_peer().unwrap();
        let thread = thread::spawn(move || {
            let mut got = None;
            let completed = survives(n, || got = victim.try_recv().ok());
            victim.segment().die();
            (completed, got)
        });
        let first = receiver.try_recv().ok();
        let (completed, theirs) = thread.join().unwrap();
        receiver.segment().reap_dead();
        drop(sender);
        let mut got: Vec<_> = first.into_iter().chain(theirs).chain(receiver.iter()).collect();
        got.sort_unstable();
        // Killed after the acknowledgement, it received a message and did not live to tell.
        assert!(got == [1, 2] || !completed && (got == [1] || got == [2]), "{got:?}");
        completed
    });
}

/// Nobody competes, so the victim's accesses are the same each time, and it can be told which of them come after the acknowledgement.
#[test]
fn mpmc_message_is_delivered_again_if_its_receiver_died_before_the_acknowledgement() {
    /// The sites, as bits.
    static LOST_WITH_IT: AtomicU64 = AtomicU64::new(0);
    kill_at_every_site("mpmc receiver alone", |n| {
        let (sender, receiver) = mpmc::private::<u64>(2).unwrap();
        sender.try_send(1).unwrap();
        drop(sender);
        let victim = receiver.for_another_peer().unwrap();
        let thread = thread::spawn(move || {
            let completed = survives(n, || assert_eq!(victim.try_recv(), Ok(1)));
            victim.segment().die();
            completed
        });
        let completed = thread.join().unwrap();
        receiver.segment().reap_dead();
        let again = receiver.try_recv().is_ok();
        assert!(!(completed && again));
        if !completed && !again {
            LOST_WITH_IT.fetch_or(1 << n, Ordering::Relaxed);
        }
        completed
    });
    // After the acknowledgement come a notification of four steps (fence, load, exchange, wake: closing has left the flag set), a look at the
    // other side, which is closed, and another notification. Killed there, the victim has received its message and does not live to tell.
    assert_eq!(LOST_WITH_IT.load(Ordering::Relaxed).count_ones(), 4 + 1 + 4);
}

#[test]
fn buffer_sender() {
    kill_at_every_site("buffer sender", |n| {
        let (sender, receiver) = buffer::private(2, 1).unwrap();
        let victim = sender.for_another_peer().unwrap();
        let thread = thread::spawn(move || {
            let completed = survives(n, || victim.try_send(&[7]).unwrap());
            victim.segment().die();
            completed
        });
        sender.try_send(&[1]).unwrap();
        let completed = thread.join().unwrap();
        receiver.segment().reap_dead();
        drop(sender);
        let got = drain(&receiver);
        let sevens = got.iter().filter(|&&item| item == 7).count();
        assert!(got.contains(&1) && got.len() == 1 + sevens && (sevens == 1 || !completed), "{got:?}");
        completed
    });
}

#[test]
fn buffer_receiver() {
    kill_at_every_site("buffer receiver", |n| {
        let (sender, receiver) = buffer::private(2, 1).unwrap();
        sender.try_send(&[1]).unwrap();
        sender.try_send(&[2]).unwrap();
        let victim = receiver.for_another_peer().unwrap();
        let thread = thread::spawn(move || {
            let mut got = None;
            let completed = survives(n, || {
                if let Ok(lease) = victim.try_recv() {
                    got = Some(lease[0]);
                    lease.ack();
                }
            });
            victim.segment().die();
            (completed, got)
        });
        let first = receiver.try_recv().ok().map(|lease| {
            let item = lease[0];
            lease.ack();
            item
        });
        let (completed, theirs) = thread.join().unwrap();
        receiver.segment().reap_dead();
        drop(sender);
        let mut got: Vec<_> = first.into_iter().chain(theirs).chain(drain(&receiver)).collect();
        got.sort_unstable();
        let total = got.len();
        got.dedup();
        // Killed before the acknowledgement, the message comes again.
        assert!(got == [1, 2] && (total == 2 || !completed && total == 3), "{got:?} of {total}");
        completed
    });
}

fn drain(receiver: &buffer::Receiver) -> Vec<u8> {
    let mut got = Vec::new();
    while let Ok(lease) = receiver.recv() {
        got.push(lease[0]);
        lease.ack();
    }
    got
}
