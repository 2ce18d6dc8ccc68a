//! The queues under weak memory, with a thread that dies at every access, explored by loom: `ci/loom` runs this with
//! `--cfg loom --cfg crash_points`.
//!
//! The victim is a peer of its own. It runs an operation in which the n-th access unwinds instead of happening, for n = 1, 2, … until the operation
//! completes in every interleaving; then its lock falls, and the survivor reaps it.
#![cfg(all(loom, crash_points))]

#[path = "../../segment/tests/every_site/mod.rs"]
mod every_site;

use every_site::{kill_at_every_site, survives};
use loom::thread;
use shmkit_queue::{buffer, mpmc, spsc};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

#[test]
fn mpmc_sender() {
    kill_at_every_site("mpmc sender", 3, |n| {
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
    kill_at_every_site("mpmc receiver", 3, |n| {
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

/// A batch is sent whole or not at all.
#[test]
fn mpmc_batch_sender() {
    kill_at_every_site("mpmc sender of two", 3, |n| {
        let (sender, receiver) = mpmc::private::<u64>(4).unwrap();
        let victim = sender.for_another_peer().unwrap();
        let thread = thread::spawn(move || {
            let completed = survives(n, || assert_eq!(victim.try_send_slice(&[7, 8]), Ok(2)));
            victim.segment().die();
            completed
        });
        sender.try_send(1).unwrap();
        let completed = thread.join().unwrap();
        receiver.segment().reap_dead();
        sender.try_send_slice(&[2]).unwrap();
        drop(sender);
        let got: Vec<_> = receiver.iter().collect();
        let whole = [vec![1, 7, 8, 2], vec![7, 8, 1, 2]].contains(&got);
        assert!(whole || !completed && got == [1, 2], "{got:?}");
        completed
    });
}

/// What a dead receiver had not given back comes again; who is killed later than that has received it.
#[test]
fn mpmc_batch_receiver() {
    kill_at_every_site("mpmc receiver of two", 3, |n| {
        let (sender, receiver) = mpmc::private::<u64>(2).unwrap();
        sender.try_send_slice(&[1, 2]).unwrap();
        let victim = receiver.for_another_peer().unwrap();
        let thread = thread::spawn(move || {
            let mut got = Vec::new();
            let mut batch = [0; 2];
            let completed = survives(n, || {
                let count = victim.try_recv_slice(&mut batch).unwrap_or(0);
                got.extend_from_slice(&batch[..count]);
            });
            victim.segment().die();
            (completed, got)
        });
        let first = receiver.try_recv().ok();
        let (completed, theirs) = thread.join().unwrap();
        receiver.segment().reap_dead();
        drop(sender);
        let mut got: Vec<_> = first.into_iter().chain(theirs).chain(receiver.iter()).collect();
        got.sort_unstable();
        assert!(got == [1, 2] || !completed && got.len() < 2, "{got:?}");
        completed
    });
}

#[test]
fn mpmc_at_most_once_is_never_twice_and_room_comes_back() {
    kill_at_every_site("mpmc receiver at most once", 3, |n| {
        let (sender, receiver) = mpmc::private::<u64>(mpmc::Settings::new(2).at_most_once()).unwrap();
        sender.try_send_slice(&[1, 2]).unwrap();
        let victim = receiver.for_another_peer().unwrap();
        let thread = thread::spawn(move || {
            let mut batch = [0; 2];
            let completed = survives(n, || _ = victim.try_recv_slice(&mut batch));
            victim.segment().die();
            completed
        });
        let mut got: Vec<_> = receiver.try_recv().into_iter().collect();
        let completed = thread.join().unwrap();
        receiver.segment().reap_dead();
        got.extend(receiver.try_iter());
        let lost = receiver.statistics().lost;
        assert!(got.is_sorted() && got.len() as u64 + lost <= 2 && (lost == 0 || !completed), "{got:?}, {lost} lost");
        assert_eq!(sender.try_send_slice(&[3, 4]), Ok(2));
        assert!(receiver.try_iter().eq([3, 4]));
        completed
    });
}

/// Nobody competes, so the victim's accesses are the same each time, and it can be told which of them come after the acknowledgement.
#[test]
fn mpmc_message_is_delivered_again_if_its_receiver_died_before_the_acknowledgement() {
    /// The sites, as bits.
    static LOST_WITH_IT: AtomicU64 = AtomicU64::new(0);
    kill_at_every_site("mpmc receiver alone", 3, |n| {
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
    // After the acknowledgement come a notification of one, of five steps (fence, load, exchange, a wake that finds nobody, and so the mark taken
    // back: closing has left the flags set); the question whether somebody
    // joins (two), a look at the slots for them (a fence, the next, and all two) and a notification of all, of four steps; a look at the other side, which is closed,
    // and another such notification. Killed there, the victim has received its message and does not live to tell.
    assert_eq!(LOST_WITH_IT.load(Ordering::Relaxed).count_ones(), 5 + 2 + 4 + 4 + 1 + 4);
}

#[test]
fn buffer_sender() {
    kill_at_every_site("buffer sender", 3, |n| {
        let (sender, receiver) = buffer::private((2, 1)).unwrap();
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
    kill_at_every_site("buffer receiver", 3, |n| {
        let (sender, receiver) = buffer::private((2, 1)).unwrap();
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
        let first = take(&receiver);
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

fn take(receiver: &buffer::Receiver) -> Option<u8> {
    let lease = receiver.try_recv().ok()?;
    let item = lease[0];
    lease.ack();
    Some(item)
}

fn drain(receiver: &buffer::Receiver) -> Vec<u8> {
    let mut got = Vec::new();
    while let Ok(lease) = receiver.recv() {
        got.push(lease[0]);
        lease.ack();
    }
    got
}

/// Nobody competes, so it can be told which of the victim's accesses come before its message is READY: from then on it arrives.
#[test]
fn buffer_message_of_a_dead_sender_arrives_once_it_is_ready() {
    /// The sites, as bits.
    static LOST_WITH_IT: AtomicU64 = AtomicU64::new(0);
    kill_at_every_site("buffer sender alone", 3, |n| {
        let (sender, receiver) = buffer::private((1, 1)).unwrap();
        let victim = sender.for_another_peer().unwrap();
        let completed = survives(n, || victim.try_send(&[7]).unwrap());
        victim.segment().die();
        assert_eq!(receiver.segment().reap_dead(), 1);
        let got = take(&receiver);
        assert!(got == Some(7) || got.is_none() && !completed, "{got:?}");
        if got.is_none() {
            LOST_WITH_IT.fetch_or(1 << n, Ordering::Relaxed);
        }
        // Whatever became of the message, its buffer is free.
        sender.try_send(&[8]).unwrap();
        assert_eq!((take(&receiver), take(&receiver)), (Some(8), None));
        completed
    });
    // The question whether anybody receives; the buffer's word, read and exchanged; the message, of two steps; the question again; length, deliveries, READY.
    assert_eq!(LOST_WITH_IT.load(Ordering::Relaxed), 0b11_1111_1110);
}

/// The same for a receiver: its message comes again, and behind what waits, from when it is TAKEN until it is FREE. (There are more cells than messages,
/// so what it was taken from is still there, and must not count.)
#[test]
fn buffer_message_is_delivered_again_if_its_receiver_died_before_the_acknowledgement() {
    /// How many sites come before, in between and after.
    static SITES: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];
    kill_at_every_site("buffer receiver alone", 3, |n| {
        let (sender, receiver) = buffer::private((3, 1)).unwrap();
        let victim = receiver.for_another_peer().unwrap();
        sender.try_send(&[7]).unwrap();
        sender.try_send(&[8]).unwrap();
        let completed = survives(n, || assert_eq!(take(&victim), Some(7)));
        victim.segment().die();
        assert_eq!(receiver.segment().reap_dead(), 1);
        drop(sender);
        let phase = match *drain(&receiver) {
            [7, 8] => 0,
            [8, 7] => 1,
            [8] => 2,
            ref got => panic!("{got:?}"),
        };
        assert!(phase == 2 || !completed);
        SITES[phase].fetch_add(u64::from(!completed), Ordering::Relaxed);
        completed
    });
    // The cell, the word, the cell again, the exchange. The length; deliveries and holder, read and written; the message itself; FREE. A notification
    // that finds nobody (a fence and a look), and the question whether there are senders.
    assert_eq!(SITES.each_ref().map(|sites| sites.load(Ordering::Relaxed)), [4, 7, 3]);
}

/// One cell, which the victim overwrites while another one looks at what was there.
#[test]
fn buffer_sender_in_the_next_lap() {
    kill_at_every_site("buffer sender in the next lap", 3, |n| {
        let (sender, receiver) = buffer::private((1, 1)).unwrap();
        sender.try_send(&[1]).unwrap();
        let victim = sender.for_another_peer().unwrap();
        let thread = thread::spawn(move || {
            let mut sent = false;
            let completed = survives(n, || sent = victim.try_send(&[7]).is_ok());
            victim.segment().die();
            (completed, sent)
        });
        let mut got: Vec<_> = (0..2).filter_map(|_| take(&receiver)).collect();
        let (completed, sent) = thread.join().unwrap();
        receiver.segment().reap_dead();
        got.extend(take(&receiver));
        assert!(got == [1, 7] || got == [1] && !sent, "{got:?}");
        sender.try_send(&[8]).unwrap();
        drop(sender);
        assert_eq!(drain(&receiver), [8]);
        completed
    });
}

#[test]
fn buffer_receiver_that_gives_back() {
    kill_at_every_site("buffer receiver that gives back", 3, |n| {
        let (sender, receiver) = buffer::private((2, 1)).unwrap();
        sender.try_send(&[1]).unwrap();
        sender.try_send(&[2]).unwrap();
        drop(sender);
        let victim = receiver.for_another_peer().unwrap();
        let thread = thread::spawn(move || {
            let completed = survives(n, || victim.try_recv().map_or((), buffer::Lease::nack));
            victim.segment().die();
            completed
        });
        let mut got: Vec<_> = take(&receiver).into_iter().collect();
        let completed = thread.join().unwrap();
        receiver.segment().reap_dead();
        got.extend(drain(&receiver));
        got.sort_unstable();
        assert_eq!(got, [1, 2]);
        completed
    });
}

#[test]
fn buffer_sender_that_thinks_better_of_it() {
    kill_at_every_site("buffer sender that thinks better of it", 3, |n| {
        let (sender, receiver) = buffer::private((1, 1)).unwrap();
        let victim = sender.for_another_peer().unwrap();
        let thread = thread::spawn(move || {
            let completed = survives(n, || drop(victim.try_loan(1)));
            victim.segment().die();
            completed
        });
        let sent = sender.try_send(&[1]).is_ok();
        let completed = thread.join().unwrap();
        receiver.segment().reap_dead();
        assert_eq!(take(&receiver), sent.then_some(1));
        sender.try_send(&[2]).unwrap();
        drop(sender);
        assert_eq!(drain(&receiver), [2]);
        completed
    });
}

/// A reaper is killed over a receiver that died with a message in hand; whichever of the two is reaped first then, the message comes again once.
#[test]
fn buffer_reaper() {
    fn model(n: u64, reaper_first: bool) -> bool {
        let (sender, receiver) = buffer::private((2, 1)).unwrap();
        sender.try_send(&[7]).unwrap();
        let (one, two) = (receiver.for_another_peer().unwrap(), receiver.for_another_peer().unwrap());
        let (victim, dead) = if reaper_first { (one, two) } else { (two, one) };
        std::mem::forget(dead.try_recv().unwrap());
        dead.segment().die();
        let thread = thread::spawn(move || {
            let completed = survives(n, || _ = victim.segment().reap_dead());
            victim.segment().die();
            // With the reaper falls the lock of whom it was reaping.
            dead.segment().die();
            completed
        });
        sender.try_send(&[1]).unwrap();
        let mut got: Vec<_> = take(&receiver).into_iter().collect();
        let completed = thread.join().unwrap();
        receiver.segment().reap_dead();
        drop(sender);
        got.extend(drain(&receiver));
        got.sort_unstable();
        assert_eq!(got, [1, 7]);
        completed
    }
    kill_at_every_site("buffer reaper", 3, |n| model(n, false));
    kill_at_every_site("buffer reaper, reaped first", 3, |n| model(n, true));
}

/// The victim is killed on its way to an end of the queue, or with it, while another one claims it too.
#[test]
fn spsc_claimer() {
    kill_at_every_site("spsc claimer", 3, |n| {
        let (sender, _receiver) = spsc::private::<u64>(2).unwrap();
        let segment = Arc::clone(sender.segment());
        drop(sender);
        let victim = segment.join().unwrap();
        let is_held = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&is_held);
        let thread = thread::spawn(move || {
            let mut role = None;
            let completed = survives(n, || {
                role = victim.sole_role(0).ok();
                assert!(role.is_none() || !theirs.swap(true, Ordering::Relaxed), "two have it");
            });
            if role.is_some() {
                theirs.store(false, Ordering::Relaxed);
            }
            victim.die();
            (completed, role, victim)
        });
        let role = segment.sole_role(0).ok();
        assert!(role.is_none() || !is_held.swap(true, Ordering::Relaxed), "two have it");
        let (completed, dead, _victim) = thread.join().unwrap();
        drop((role, dead));
        // Whatever it left behind, the end can be had.
        assert!(segment.sole_role(0).is_ok());
        completed
    });
}

/// The victim is killed while it sends a batch: all of it is there, or nothing, and a successor goes on behind.
#[test]
fn spsc_sender_of_a_batch() {
    kill_at_every_site("spsc sender of a batch", 3, |n| {
        let (sender, mut receiver) = spsc::private::<u64>(4).unwrap();
        let segment = Arc::clone(receiver.segment());
        drop(sender);
        let victim = segment.join().unwrap();
        let mut end = spsc::Sender::claim(&victim).unwrap();
        let thread = thread::spawn(move || {
            let completed = survives(n, || assert_eq!(end.try_send_slice(&[1, 2]), Ok(2)));
            victim.die();
            (completed, end)
        });
        let mut got: Vec<_> = receiver.try_recv().into_iter().collect();
        let (completed, _end) = thread.join().unwrap();
        spsc::Sender::claim(&segment).unwrap().try_send(3).unwrap();
        got.extend(receiver.iter());
        assert!(got == [1, 2, 3] || got == [3] && !completed, "{got:?}");
        completed
    });
}

/// The victim is killed while it deals with a lease: what it has not acknowledged comes again to a successor.
#[test]
fn spsc_receiver_of_a_lease() {
    kill_at_every_site("spsc receiver of a lease", 3, |n| {
        let (mut sender, receiver) = spsc::private::<u64>(2).unwrap();
        let segment = Arc::clone(sender.segment());
        drop(receiver);
        let victim = segment.join().unwrap();
        let mut end = spsc::Receiver::claim(&victim).unwrap();
        sender.try_send_slice(&[1, 2]).unwrap();
        let thread = thread::spawn(move || {
            let mut noted = 0;
            let completed = survives(n, || {
                let lease = end.try_lease(1).unwrap();
                noted = lease.get(0);
                lease.ack(1);
            });
            victim.die();
            (completed, noted, end)
        });
        let sent = sender.try_send(3).is_ok();
        let (completed, noted, _end) = thread.join().unwrap();
        let mut successor = spsc::Receiver::claim(&segment).unwrap();
        drop(sender);
        let got: Vec<_> = successor.iter().collect();
        let (again, rest) = got.split_at(usize::from(got[0] == 1));
        assert!(rest.iter().copied().eq(2..=2 + u64::from(sent)), "{got:?}");
        // Acknowledged only after it was noted, and whole.
        assert!(again.is_empty() && noted == 1 || !again.is_empty() && !completed && !sent, "{got:?} {noted}");
        completed
    });
}
