//! The queues, explored by loom: every interleaving within the bound, under weak memory, on the code that ships, deaths included.
//!
//! `ci/loom` runs this, in both configurations (see `primitive`). Values lie in cells of loom's, so that two accesses that nothing orders are
//! reported, and a thread that would sleep for ever is reported as a deadlock.
#![cfg(loom)]

use loom::thread;
use shmkit_queue::{TryRecvError, TrySendError, buffer, mpmc, spsc};

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
fn spsc_batches_arrive_in_order() {
    explore(2, || {
        let (mut sender, mut receiver) = spsc::private::<u64>(2).unwrap();
        let thread = thread::spawn(move || {
            sender.send_slice(&[1, 2]).unwrap();
            let mut places = sender.reserve(2).unwrap();
            places.set(0, 3);
            places.commit(1);
        });
        let (mut got, mut values) = (Vec::new(), [0; 2]);
        while let Ok(count) = receiver.recv_slice(&mut values) {
            got.extend_from_slice(&values[..count]);
        }
        assert_eq!(got, [1, 2, 3]);
        thread.join().unwrap();
    });
}

#[test]
fn spsc_lease_frees_what_it_acknowledges() {
    explore(2, || {
        let (mut sender, mut receiver) = spsc::private::<u64>(2).unwrap();
        let thread = thread::spawn(move || sender.send_slice(&[1, 2, 3]).unwrap());
        let mut expected = 1;
        while let Ok(lease) = receiver.lease(2) {
            assert!(lease.iter().eq(expected..expected + lease.len() as u64));
            lease.ack(1);
            expected += 1;
        }
        assert_eq!(expected, 4);
        thread.join().unwrap();
    });
}

/// What the last holder did is seen by the next, although nothing but the side's word passes between them.
#[test]
fn spsc_end_that_was_left_is_claimed_by_exactly_one() {
    explore(2, || {
        let (mut sender, mut receiver) = spsc::private::<u64>(4).unwrap();
        let segment = sender.segment().clone();
        let other = segment.join().unwrap();
        let thread = thread::spawn(move || {
            let mut claimed = spsc::Sender::claim(&other).ok();
            claimed.iter_mut().for_each(|sender| sender.try_send(2).unwrap());
            (claimed, other)
        });
        sender.try_send(1).unwrap();
        drop(sender);
        let mut claimed = spsc::Sender::claim(&segment).ok();
        claimed.iter_mut().for_each(|sender| sender.try_send(3).unwrap());
        let (others, _other) = thread.join().unwrap();
        let got: Vec<_> = receiver.try_iter().collect();
        assert!(others.is_some() != claimed.is_some() && got == [1, if claimed.is_some() { 3 } else { 2 }], "{got:?}");
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

/// Who receives finds both messages or none, and who sends finds room for both or none.
#[test]
fn mpmc_batches_are_published_and_given_back_whole() {
    explore(3, || {
        let (sender, receiver) = mpmc::private::<u64>(2).unwrap();
        let thread = thread::spawn(move || {
            sender.send_slice(&[1, 2]).unwrap();
            let again = sender.try_send_slice(&[3, 4]);
            assert!(matches!(again, Ok(2) | Err(TrySendError::Full(()) | TrySendError::Disconnected(()))), "{again:?}");
        });
        let mut batch = [0; 2];
        assert_eq!((receiver.recv_slice(&mut batch), batch), (Ok(2), [1, 2]));
        thread.join().unwrap();
    });
}

/// Two batches meet, and wrap in the ring: each is received as it was sent, one after the other.
#[test]
fn mpmc_batches_keep_apart() {
    explore(2, || {
        let (sender, receiver) = mpmc::private::<u64>(2).unwrap();
        let other = sender.clone();
        let threads =
            [thread::spawn(move || sender.send_slice(&[1, 2]).unwrap()), thread::spawn(move || other.send(3).unwrap())];
        let mut got = Vec::new();
        let mut batch = [0; 2];
        while let Ok(count) = receiver.recv_slice(&mut batch) {
            got.extend_from_slice(&batch[..count]);
        }
        // In two pieces only if it found one slot free.
        assert!([[1, 2, 3], [1, 3, 2], [3, 1, 2]].contains(&[got[0], got[1], got[2]]), "{got:?}");
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn mpmc_two_receivers_share_batches() {
    explore(2, || {
        let (sender, receiver) = mpmc::private::<u64>(2).unwrap();
        let other = receiver.clone();
        let thread = thread::spawn(move || {
            let mut batch = [0; 2];
            let count = other.recv_slice(&mut batch).unwrap_or(0);
            batch[..count].to_vec()
        });
        sender.try_send_slice(&[1, 2]).unwrap();
        let mut got: Vec<_> = receiver.try_recv().into_iter().collect();
        sender.send(3).unwrap();
        drop(sender);
        got.extend(receiver.iter());
        let theirs = thread.join().unwrap();
        assert!(theirs.is_sorted() && got.is_sorted());
        got.extend(theirs);
        got.sort_unstable();
        assert_eq!(got, [1, 2, 3]);
    });
}

#[test]
fn mpmc_who_joins_sees_the_task_done() {
    explore(2, || {
        let (sender, receiver) = mpmc::private::<u64>(1).unwrap();
        let done = loom::sync::Arc::new(loom::sync::atomic::AtomicBool::new(false));
        let (told, segment) = (done.clone(), sender.segment().clone());
        sender.send(1).unwrap();
        let thread = thread::spawn(move || {
            let task = receiver.recv_task().unwrap();
            told.store(true, std::sync::atomic::Ordering::Relaxed);
            drop(task);
        });
        sender.join().unwrap();
        assert!(done.load(std::sync::atomic::Ordering::Relaxed));
        thread.join().unwrap();
        drop(segment);
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

/// What this receiver gets until the senders are gone, acknowledged one by one.
fn receive_all(receiver: &buffer::Receiver) -> Vec<u8> {
    let mut got = Vec::new();
    while let Ok(lease) = receiver.recv() {
        got.push(lease[0]);
        lease.ack();
    }
    got
}

#[test]
fn buffer_two_senders_lose_and_duplicate_nothing() {
    explore(2, || {
        let (sender, receiver) = buffer::private((2, 1)).unwrap();
        let other = sender.clone();
        let threads =
            [thread::spawn(move || sender.send(&[1]).unwrap()), thread::spawn(move || other.send(&[2]).unwrap())];
        let mut got = receive_all(&receiver);
        got.sort_unstable();
        assert_eq!(got, [1, 2]);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn buffer_is_reused_only_after_the_acknowledgement() {
    explore(2, || {
        let (sender, receiver) = buffer::private((1, 1)).unwrap();
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
        let (sender, receiver) = buffer::private((2, 1)).unwrap();
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

/// One comes while the lease is given back, and is not passed over for it.
#[test]
fn buffer_given_back_is_put_in_beside_what_is_being_sent() {
    explore(3, || {
        let (sender, receiver) = buffer::private((2, 1)).unwrap();
        sender.send(&[1]).unwrap();
        let thread = thread::spawn(move || sender.try_send(&[2]).unwrap());
        let lease = receiver.recv().unwrap();
        assert_eq!((*lease == [1], lease.deliveries()), (true, 1));
        lease.nack();
        let mut got = Vec::new();
        while let Ok(lease) = receiver.recv() {
            got.push((lease[0], lease.deliveries()));
            lease.ack();
        }
        got.sort_unstable();
        assert_eq!(got, [(1, 2), (2, 1)]);
        thread.join().unwrap();
    });
}

/// One cell, which each message overwrites; somebody may still be looking at the one before.
#[test]
fn buffer_reference_is_overwritten_in_the_next_lap_only_when_it_is_dead() {
    explore(2, || {
        let (sender, receiver) = buffer::private((1, 1)).unwrap();
        let take = |receiver: &buffer::Receiver| {
            let lease = receiver.try_recv().ok()?;
            let item = lease[0];
            lease.ack();
            Some(item)
        };
        let other = receiver.clone();
        let thread = thread::spawn(move || (0..2).filter_map(|_| take(&other)).collect::<Vec<_>>());
        let mut got = Vec::new();
        for item in 1..=3 {
            // It waits for the other one, if that has taken the message before.
            sender.send(&[item]).unwrap();
            got.extend(take(&receiver));
        }
        let theirs = thread.join().unwrap();
        assert!(got.is_sorted() && theirs.is_sorted(), "{got:?} {theirs:?}");
        got.extend(theirs);
        got.sort_unstable();
        assert_eq!(got, [1, 2, 3]);
    });
}

#[test]
fn buffer_two_receivers_share_and_both_see_the_end() {
    explore(2, || {
        let (sender, receiver) = buffer::private((2, 1)).unwrap();
        let other = receiver.clone();
        let thread = thread::spawn(move || receive_all(&other));
        (1..=3).for_each(|item| sender.send(&[item]).unwrap());
        drop(sender);
        let mut got = receive_all(&receiver);
        let theirs = thread.join().unwrap();
        assert!(got.is_sorted() && theirs.is_sorted(), "{got:?} {theirs:?}");
        got.extend(theirs);
        got.sort_unstable();
        assert_eq!(got, [1, 2, 3]);
    });
}

/// There is room for both until both have sent. The first of the two cells is the last of its lap.
#[test]
fn buffer_two_senders_publish_at_once() {
    explore(5, || {
        let (sender, receiver) = buffer::private((2, 1)).unwrap();
        sender.send(&[0]).unwrap();
        receiver.recv().unwrap().ack();
        let other = sender.clone();
        let thread = thread::spawn(move || other.try_send(&[1]).unwrap());
        sender.try_send(&[2]).unwrap();
        thread.join().unwrap();
        assert_eq!((receiver.len(), sender.try_send(&[3])), (2, Err(buffer::TrySendError::Full)));
        drop(sender);
        let mut got = receive_all(&receiver);
        got.sort_unstable();
        assert_eq!(got, [1, 2]);
    });
}

/// There is one buffer: it comes free, and who waits for it is woken.
#[test]
fn buffer_loan_that_is_thought_better_of_leaves_room_and_nothing_else() {
    explore(3, || {
        let (sender, receiver) = buffer::private((1, 1)).unwrap();
        let other = sender.clone();
        let thread = thread::spawn(move || drop(other.try_loan(1)));
        sender.send(&[1]).unwrap();
        let lease = receiver.try_recv().unwrap();
        assert_eq!(*lease, [1]);
        lease.ack();
        thread.join().unwrap();
        sender.try_send(&[2]).unwrap();
        drop(sender);
        assert_eq!(receive_all(&receiver), [2]);
    });
}

/// The last message waits all the time, however many of those before it are taken while somebody looks: a wake-up that is passed on depends on it.
#[test]
fn buffer_is_not_called_empty_while_a_message_waits() {
    explore(3, || {
        let (sender, receiver) = buffer::private((4, 1)).unwrap();
        for item in 0..2 {
            sender.send(&[item]).unwrap();
            receiver.recv().unwrap().ack();
        }
        (2..6).for_each(|item| sender.send(&[item]).unwrap());
        let other = receiver.clone();
        let thread = thread::spawn(move || assert!(!other.is_empty()));
        (2..5).for_each(|_| receiver.recv().unwrap().ack());
        thread.join().unwrap();
        assert_eq!(*receiver.recv().unwrap(), [5]);
    });
}
