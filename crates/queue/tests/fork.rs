//! A child made by `fork` has no part in its parent's queues: its handles say that they are another process's, and what it tries does not
//! reach anybody.
#![cfg(not(loom))]

#[path = "../../segment/tests/forked/mod.rs"]
mod forked;
#[path = "../../segment/tests/harness/mod.rs"]
mod harness;

use forked::{end_after, fork};
use harness::alone;
use shmkit_process::spawn;
use shmkit_queue::{
    RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError, buffer, mpmc, spsc,
};
use shmkit_segment::transfer;
use std::cell::RefCell;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(1000);

/// Handles that are gone in the fork that takes them, and still there in its parent.
fn kept<T>(handles: T) -> RefCell<Option<T>> {
    RefCell::new(Some(handles))
}

fn cannot_be_sent(handle: &impl serde::Serialize) {
    let (bytes, descriptors) = transfer::sending(|| postcard::to_stdvec(handle));
    assert!(bytes.is_err() && descriptors.is_err());
}

fn far() -> Instant {
    Instant::now() + LONG
}

#[test]
fn the_ends_of_an_mpmc_queue_belong_to_the_parent() {
    alone(|()| {
        end_after(100);
        // Once empty, once with messages, once full; and with indices that have gone far.
        for (turns, waiting) in [(0, 0), (0, 2), (1, 4), (5000, 0), (5000, 3)] {
            let (sender, receiver) = mpmc::channel::<u64>(4).unwrap();
            for turn in 0..turns {
                sender.send(turn).unwrap();
                assert_eq!(receiver.recv().unwrap(), turn);
            }
            (0..waiting).for_each(|item| sender.send(item).unwrap());
            let handles = kept((sender, receiver));
            fork(|| {
                let (sender, receiver) = handles.take().unwrap();
                for _ in 0..6 {
                    assert!(matches!(sender.try_send(7), Err(TrySendError::Moved(7))));
                    assert!(matches!(sender.send(7), Err(SendError::Moved(7))));
                    assert!(matches!(sender.send_timeout(7, LONG), Err(SendTimeoutError::Moved(7))));
                    assert!(matches!(sender.send_deadline(7, far()), Err(SendTimeoutError::Moved(7))));
                    assert!(matches!(receiver.try_recv(), Err(TryRecvError::Moved)));
                    assert!(matches!(receiver.recv(), Err(RecvError::Moved)));
                    assert!(matches!(receiver.recv_timeout(LONG), Err(RecvTimeoutError::Moved)));
                    assert!(matches!(receiver.recv_deadline(far()), Err(RecvTimeoutError::Moved)));
                }
                assert_eq!(receiver.iter().count() + receiver.try_iter().count(), 0);
                let clones = (sender.clone(), receiver.clone());
                assert!(matches!(clones.0.try_send(7), Err(TrySendError::Moved(7))));
                assert!(matches!(clones.1.try_recv(), Err(TryRecvError::Moved)));
                assert!(sender.for_another_peer().is_err() && receiver.for_another_peer().is_err());
                cannot_be_sent(&sender);
                cannot_be_sent(&receiver);
                let _hints = (sender.len(), sender.is_full(), sender.is_empty(), receiver.len(), receiver.capacity());
            })
            .join();
            let (sender, receiver) = handles.take().unwrap();
            assert_eq!(receiver.try_iter().collect::<Vec<_>>(), Vec::from_iter(0..waiting));
            sender.send(9).unwrap();
            drop(sender);
            assert_eq!((receiver.recv().unwrap(), receiver.recv()), (9, Err(RecvError::Disconnected)));
        }
    });
}

#[test]
fn the_ends_of_an_spsc_queue_belong_to_the_parent() {
    alone(|()| {
        end_after(100);
        // The receiver may know already that there are messages, and the sender that there is room.
        for (turns, waiting, taken) in [(0, 0, 0), (0, 3, 0), (0, 4, 1), (1, 4, 2), (5000, 0, 0), (5000, 4, 2)] {
            let (mut sender, mut receiver) = spsc::channel::<u64>(4).unwrap();
            for turn in 0..turns {
                sender.send(turn).unwrap();
                assert_eq!(receiver.recv().unwrap(), turn);
            }
            (0..waiting).for_each(|item| sender.send(item).unwrap());
            (0..taken).for_each(|item| assert_eq!(receiver.recv(), Ok(item)));
            let handles = kept((sender, receiver));
            fork(|| {
                let (mut sender, mut receiver) = handles.take().unwrap();
                for _ in 0..6 {
                    assert!(matches!(receiver.try_recv(), Err(TryRecvError::Moved)));
                    assert!(matches!(receiver.recv(), Err(RecvError::Moved)));
                    assert!(matches!(receiver.recv_timeout(LONG), Err(RecvTimeoutError::Moved)));
                    assert!(matches!(receiver.recv_deadline(far()), Err(RecvTimeoutError::Moved)));
                    assert!(matches!(sender.try_send(7), Err(TrySendError::Moved(7))));
                    assert!(matches!(sender.send(7), Err(SendError::Moved(7))));
                    assert!(matches!(sender.send_timeout(7, LONG), Err(SendTimeoutError::Moved(7))));
                    assert!(matches!(sender.send_deadline(7, far()), Err(SendTimeoutError::Moved(7))));
                }
                assert_eq!(receiver.iter().count() + receiver.try_iter().count(), 0);
                cannot_be_sent(&sender);
                cannot_be_sent(&receiver);
            })
            .join();
            let (mut sender, mut receiver) = handles.take().unwrap();
            assert_eq!(receiver.try_iter().collect::<Vec<_>>(), Vec::from_iter(taken..waiting));
            sender.send(9).unwrap();
            drop(sender);
            assert_eq!((receiver.recv(), receiver.recv()), (Ok(9), Err(RecvError::Disconnected)));
        }
    });
}

#[test]
fn the_ends_of_a_buffer_queue_belong_to_the_parent() {
    alone(|()| {
        end_after(100);
        for (turns, waiting) in [(0, 0), (0, 2), (1, 3), (5000, 0), (5000, 3)] {
            let (sender, receiver) = buffer::channel((3, 64)).unwrap();
            for _ in 0..turns {
                sender.send(b"turn").unwrap();
                receiver.recv().unwrap().ack();
            }
            (0..waiting).for_each(|item| sender.send(&[item]).unwrap());
            let handles = kept((sender, receiver));
            fork(|| {
                let (sender, receiver) = handles.take().unwrap();
                for _ in 0..6 {
                    assert!(matches!(sender.try_send(b"x"), Err(buffer::TrySendError::Moved)));
                    assert!(matches!(sender.send(b"x"), Err(buffer::SendError::Moved)));
                    assert!(matches!(sender.send_timeout(b"x", LONG), Err(buffer::SendTimeoutError::Moved)));
                    assert!(matches!(sender.send_deadline(b"x", far()), Err(buffer::SendTimeoutError::Moved)));
                    assert!(matches!(sender.try_loan(1).map(drop), Err(buffer::TrySendError::Moved)));
                    assert!(matches!(sender.loan(1).map(drop), Err(buffer::SendError::Moved)));
                    assert!(matches!(receiver.try_recv().map(drop), Err(TryRecvError::Moved)));
                    assert!(matches!(receiver.recv().map(drop), Err(RecvError::Moved)));
                    assert!(matches!(receiver.recv_timeout(LONG).map(drop), Err(RecvTimeoutError::Moved)));
                    assert!(matches!(receiver.recv_deadline(far()).map(drop), Err(RecvTimeoutError::Moved)));
                }
                let clones = (sender.clone(), receiver.clone());
                assert!(matches!(clones.0.try_send(b"x"), Err(buffer::TrySendError::Moved)));
                assert!(matches!(clones.1.try_recv().map(drop), Err(TryRecvError::Moved)));
                assert!(sender.for_another_peer().is_err() && receiver.for_another_peer().is_err());
                cannot_be_sent(&sender);
                cannot_be_sent(&receiver);
                let _hints = (sender.len(), sender.is_full(), sender.is_empty(), receiver.len(), receiver.is_empty());
            })
            .join();
            let (sender, receiver) = handles.take().unwrap();
            for item in 0..waiting {
                let lease = receiver.try_recv().unwrap();
                assert_eq!((&lease[..], lease.deliveries()), (&[item][..], 1));
                lease.ack();
            }
            assert!(receiver.is_empty());
            sender.send(b"last").unwrap();
            drop(sender);
            receiver.recv().unwrap().ack();
            assert_eq!(receiver.recv().map(drop), Err(RecvError::Disconnected));
        }
    });
}

/// Whatever a fork does with them: sends, drops, acknowledges, gives back, or forgets.
#[test]
fn buffers_in_hand_at_a_fork_stay_in_the_hands_of_the_parent() {
    alone(|()| {
        end_after(100);
        let (sender, receiver) = buffer::channel((3, 64)).unwrap();
        (1..=2).for_each(|item| sender.send(&[item]).unwrap());
        // What the parent gives back goes to the end of the queue.
        for (first, dropped) in [(1, false), (2, true)] {
            let mut loan = sender.loan(1).unwrap();
            loan[0] = 3;
            let in_hand = kept((loan, receiver.recv().unwrap()));
            fork(|| {
                let (mut loan, lease) = in_hand.take().unwrap();
                loan[0] = 77;
                let _whatever = lease.to_vec();
                if dropped {
                    drop((loan, lease));
                } else {
                    lease.ack();
                    assert!(matches!(loan.send(), Err(buffer::SendError::Moved)));
                }
            })
            .join();
            let (loan, lease) = in_hand.take().unwrap();
            assert_eq!((loan[0], &lease[..]), (3, &[first][..]));
            assert!(sender.is_full());
            drop((loan, lease));
        }
        for item in [1, 2] {
            let lease = receiver.recv().unwrap();
            assert_eq!((&lease[..], lease.deliveries()), (&[item][..], 2));
            lease.ack();
        }
        assert!(receiver.is_empty());
    });
}

#[test]
fn a_fork_has_a_copy_of_a_private_queue_as_of_all_memory() {
    alone(|()| {
        end_after(100);
        let (sender, receiver) = mpmc::private::<u64>(4).unwrap();
        sender.send(1).unwrap();
        fork(|| {
            sender.send(2).unwrap();
            assert_eq!((receiver.recv().unwrap(), receiver.recv().unwrap()), (1, 2));
        })
        .join();
        assert_eq!((receiver.try_recv(), receiver.try_recv()), (Ok(1), Err(TryRecvError::Empty)));
    });
}

#[test]
fn a_fork_can_have_queues_of_its_own_and_use_them_with_processes_that_it_starts() {
    alone(|()| {
        end_after(100);
        let (sender, receiver) = mpmc::channel::<u64>(4).unwrap();
        fork(|| {
            let (own_sender, own_receiver) = mpmc::channel::<u64>(4).unwrap();
            let send = |sender: mpmc::Sender<u64>| (0..100).for_each(|item| sender.send(item).unwrap());
            let child = spawn(send, own_sender).unwrap();
            assert_eq!(own_receiver.iter().sum::<u64>(), 4950);
            child.join().unwrap();
        })
        .join();
        sender.send(1).unwrap();
        assert_eq!(receiver.recv(), Ok(1));
    });
}
