//! The queue for any number of senders and receivers, seen from outside: between threads, between processes, and in one place.
#![cfg(not(loom))]

#[path = "../../sync/tests/asleep/mod.rs"]
mod asleep;
mod handed;

use asleep::{asleep_in, await_sleep_of};
use handed::hand_over;
use proptest::prelude::*;
use shmkit_process::spawn;
use shmkit_queue::mpmc::{self, Receiver, Sender};
use shmkit_queue::{
    Error, Plain, RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};
use shmkit_segment::transfer;
use std::collections::VecDeque;
use std::thread::{self, yield_now};
use std::time::{Duration, Instant};

const MOMENT: Duration = Duration::from_millis(2);

/// Sends `count` messages that say who sent them and in which order.
fn send_numbered((sender, me, count): (Sender<[u32; 2]>, u32, u32)) {
    (0..count).for_each(|item| sender.send([me, item]).unwrap());
}

/// Checks that the receivers together got every message once, and each those of one sender in order.
fn check(received: &[Vec<[u32; 2]>], senders: u32, count: u32) {
    for messages in received {
        for me in 0..senders {
            let of_one: Vec<u32> =
                messages.iter().filter(|message| message[0] == me).map(|message| message[1]).collect();
            assert!(of_one.is_sorted(), "the messages of sender {me} came out of order: {of_one:?}");
        }
    }
    let mut all = received.concat();
    all.sort_unstable();
    assert!(all.into_iter().eq((0..senders).flat_map(|me| (0..count).map(move |item| [me, item]))));
}

/// Checks that handles cannot be serialised for another process, and that the reason is told.
fn refused(serialise: impl FnOnce() -> postcard::Result<Vec<u8>>) {
    let (bytes, descriptors) = transfer::sending(serialise);
    assert!(bytes.is_err());
    assert!(matches!(descriptors, Err(Error::NotTransferable(_))));
}

#[test]
fn every_message_of_several_processes_is_received_by_one_of_several() {
    const EACH: u32 = 20_000;
    for (senders, receivers, capacity) in [(3, 3, 64), (4, 1, 16), (1, 4, 2), (2, 2, 1)] {
        let (sender, receiver) = mpmc::channel(capacity).unwrap();
        let receiving: Vec<_> = (0..receivers)
            .map(|_| {
                spawn(|receiver: Receiver<[u32; 2]>| receiver.iter().collect::<Vec<_>>(), receiver.clone()).unwrap()
            })
            .collect();
        drop(receiver);
        let sending: Vec<_> =
            (0..senders).map(|me| spawn(send_numbered, (sender.clone(), me, EACH)).unwrap()).collect();
        drop(sender);
        sending.into_iter().for_each(|child| child.join().unwrap());
        let received: Vec<_> = receiving.into_iter().map(|child| child.join().unwrap()).collect();
        check(&received, senders, EACH);
    }
}

#[test]
fn every_message_of_several_threads_is_received_by_one_of_several() {
    const EACH: u32 = 20_000;
    for (senders, receivers, capacity) in [(4, 4, 64), (3, 2, 1), (2, 3, 2)] {
        for make in [mpmc::channel, mpmc::private] {
            let (sender, receiver) = make(capacity).unwrap();
            let receiving: Vec<_> = (0..receivers)
                .map(|_| receiver.clone())
                .map(|receiver| thread::spawn(move || receiver.iter().collect::<Vec<_>>()))
                .collect();
            let sending: Vec<_> = (0..senders)
                .map(|me| (sender.clone(), me, EACH))
                .map(|arguments| thread::spawn(move || send_numbered(arguments)))
                .collect();
            drop((sender, receiver));
            sending.into_iter().for_each(|thread| thread.join().unwrap());
            let received: Vec<_> = receiving.into_iter().map(|thread| thread.join().unwrap()).collect();
            check(&received, senders, EACH);
        }
    }
}

#[test]
fn what_one_thread_sends_by_several_handles_is_received_in_order_by_several_handles() {
    let (sender, receiver) = mpmc::channel::<u64>(32).unwrap();
    let senders = [sender.clone(), hand_over(&sender), sender.clone(), hand_over(&sender)];
    let receivers = [receiver.clone(), hand_over(&receiver), receiver.clone()];
    let mut expected = 0..;
    for item in 0..10_000_u64 {
        senders[item as usize * 7 % 4].send(item).unwrap();
        // Sometimes behind, never by more than there is room.
        if item % 20 >= 10 {
            for _ in 0..2 {
                assert_eq!(receivers[item as usize % 3].recv().ok(), expected.next());
            }
        }
    }
    drop((senders, sender));
    assert!(receivers[1].iter().eq(expected.start..10_000));
}

#[test]
fn two_processes_take_turns() {
    fn echo((from, to): (Receiver<u64>, Sender<u64>)) {
        from.iter().for_each(|item| to.send(item * 2).unwrap());
    }
    let (question, from) = mpmc::channel(1).unwrap();
    let (to, answer) = mpmc::channel(1).unwrap();
    let child = spawn(echo, (from, to)).unwrap();
    for item in 0..1000 {
        question.send(item).unwrap();
        assert_eq!(answer.recv(), Ok(item * 2));
    }
    drop(question);
    assert_eq!(answer.recv(), Err(RecvError::Disconnected));
    child.join().unwrap();
}

#[test]
fn a_full_queue_says_so_and_gives_the_value_back() {
    for capacity in [1, 2, 64] {
        let (sender, receiver) = mpmc::private::<u64>(capacity).unwrap();
        for lap in 0..3 {
            (0..capacity as u64).for_each(|item| sender.try_send(item).unwrap());
            assert!(sender.try_send(lap) == Err(TrySendError::Full(lap)));
            assert!(sender.clone().try_send(lap) == Err(TrySendError::Full(lap)));
            assert_eq!(sender.try_send(4).unwrap_err().into_inner(), 4);
            assert!(receiver.try_iter().eq(0..capacity as u64));
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
            assert_eq!(receiver.clone().try_recv(), Err(TryRecvError::Empty));
        }
    }
}

#[test]
fn hints_are_right_while_nobody_else_is_there() {
    for capacity in [1, 2, 64, 256] {
        let (sender, receiver) = mpmc::private::<u64>(capacity).unwrap();
        assert_eq!((sender.capacity(), receiver.capacity()), (capacity, capacity));
        for _ in 0..3 {
            for sent in 0..capacity {
                for (is_empty, len) in [(sender.is_empty(), sender.len()), (receiver.is_empty(), receiver.len())] {
                    assert_eq!(is_empty, sent == 0);
                    assert!(len.abs_diff(sent) <= 16, "{len} instead of {sent}");
                }
                assert!(!sender.is_full() && !sender.clone().is_full());
                sender.send(0).unwrap();
            }
            assert!(sender.is_full() && sender.clone().is_full() && !sender.is_empty());
            for received in 0..capacity {
                assert!(receiver.len().abs_diff(capacity - received) <= 16);
                assert!(!receiver.is_empty() && !receiver.clone().is_empty());
                receiver.recv().unwrap();
                assert!(!sender.is_full());
            }
        }
    }
}

#[test]
fn sending_to_a_queue_that_stays_full_ends_in_time_with_the_value() {
    let (sender, _receiver) = mpmc::private::<u64>(1).unwrap();
    sender.send(1).unwrap();
    let start = Instant::now();
    assert!(sender.send_timeout(2, MOMENT) == Err(SendTimeoutError::Timeout(2)));
    assert!(start.elapsed() >= MOMENT);
    let deadline = Instant::now() + MOMENT;
    assert!(sender.send_deadline(3, deadline) == Err(SendTimeoutError::Timeout(3)));
    assert!(Instant::now() >= deadline);
    assert!(sender.send_deadline(4, start) == Err(SendTimeoutError::Timeout(4)));
    assert!(sender.send_timeout(5, Duration::ZERO) == Err(SendTimeoutError::Timeout(5)));
}

#[test]
fn receiving_from_a_queue_that_stays_empty_ends_in_time() {
    let (sender, receiver) = mpmc::private::<u64>(1).unwrap();
    let start = Instant::now();
    assert_eq!(receiver.recv_timeout(MOMENT), Err(RecvTimeoutError::Timeout));
    assert!(start.elapsed() >= MOMENT);
    let deadline = Instant::now() + MOMENT;
    assert_eq!(receiver.recv_deadline(deadline), Err(RecvTimeoutError::Timeout));
    assert!(Instant::now() >= deadline);
    assert_eq!(receiver.recv_deadline(start), Err(RecvTimeoutError::Timeout));
    drop(sender);
    assert_eq!(receiver.recv_timeout(MOMENT), Err(RecvTimeoutError::Disconnected));
}

#[test]
fn a_deadline_that_has_passed_still_lets_through_what_is_possible_at_once() {
    let (sender, receiver) = mpmc::private::<u64>(1).unwrap();
    let past = Instant::now();
    sender.send_deadline(1, past).unwrap();
    assert_eq!(receiver.recv_deadline(past), Ok(1));
}

#[test]
fn values_come_back_when_the_last_receiver_is_gone_and_not_before() {
    let (sender, receiver) = mpmc::private::<u64>(2).unwrap();
    let another = receiver.clone();
    sender.send(1).unwrap();
    drop(receiver);
    sender.send(2).unwrap();
    drop(another);
    assert!(sender.try_send(3) == Err(TrySendError::Disconnected(3)));
    assert!(sender.send(4) == Err(SendError::Disconnected(4)));
    assert!(sender.send_timeout(5, MOMENT) == Err(SendTimeoutError::Disconnected(5)));
    assert!(sender.send_deadline(6, Instant::now()) == Err(SendTimeoutError::Disconnected(6)));
}

#[test]
fn what_was_sent_is_received_after_the_last_sender_is_gone_and_then_the_end() {
    let (sender, receiver) = mpmc::private::<u64>(4).unwrap();
    let another = sender.clone();
    (1..=3).for_each(|item| sender.send(item).unwrap());
    drop(sender);
    assert_eq!(receiver.try_iter().take(2).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(receiver.clone().recv(), Ok(3));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    another.send(4).unwrap();
    drop(another);
    assert_eq!(receiver.recv(), Ok(4));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
    assert_eq!(receiver.recv(), Err(RecvError::Disconnected));
    assert_eq!(receiver.recv_timeout(MOMENT), Err(RecvTimeoutError::Disconnected));
    assert_eq!(receiver.iter().next(), None);
}

#[test]
fn all_threads_that_sleep_for_a_message_end_when_the_last_sender_leaves() {
    let (sender, receiver) = mpmc::private::<u64>(4).unwrap();
    let receiving = [(); 4].map(|()| receiver.clone()).map(|receiver| asleep_in(move || receiver.recv()));
    drop(sender);
    for thread in receiving {
        assert_eq!(thread.join().unwrap(), Err(RecvError::Disconnected));
    }
}

#[test]
fn all_threads_end_when_the_last_sender_leaves_right_after_its_last_message() {
    for _ in 0..200 {
        let (sender, receiver) = mpmc::private::<u64>(4).unwrap();
        let receiving =
            [(); 4].map(|()| receiver.clone()).map(|receiver| thread::spawn(move || receiver.iter().sum::<u64>()));
        sender.send(1).unwrap();
        sender.send(2).unwrap();
        drop(sender);
        assert_eq!(receiving.map(|thread| thread.join().unwrap()).iter().sum::<u64>(), 3);
    }
}

#[test]
fn all_processes_that_sleep_for_a_message_end_when_the_last_sender_leaves() {
    fn report_and_receive((here, receiver): (Sender<u32>, Receiver<u64>)) -> bool {
        here.send(std::process::id()).unwrap();
        receiver.recv() == Err(RecvError::Disconnected)
    }
    let (sender, receiver) = mpmc::channel(4).unwrap();
    let (here, who) = mpmc::channel(4).unwrap();
    let children = [(); 4].map(|()| spawn(report_and_receive, (here.clone(), receiver.clone())).unwrap());
    children.iter().for_each(|_| await_sleep_of(who.recv().unwrap()));
    drop(sender);
    assert!(children.into_iter().all(|child| child.join().unwrap()));
}

#[test]
fn all_threads_that_sleep_for_room_get_their_values_back_when_the_last_receiver_leaves() {
    let (sender, receiver) = mpmc::private::<u64>(1).unwrap();
    sender.send(0).unwrap();
    let sending = [1, 2, 3, 4].map(|item| (item, sender.clone()));
    let sending = sending.map(|(item, sender)| (item, asleep_in(move || sender.send(item))));
    drop(receiver);
    for (item, thread) in sending {
        assert!(thread.join().unwrap() == Err(SendError::Disconnected(item)));
    }
}

#[test]
fn all_processes_that_sleep_for_room_get_their_values_back_when_the_last_receiver_leaves() {
    fn report_and_send((here, sender): (Sender<u32>, Sender<u64>)) -> bool {
        here.send(std::process::id()).unwrap();
        sender.send(7) == Err(SendError::Disconnected(7))
    }
    let (sender, receiver) = mpmc::channel(1).unwrap();
    sender.send(0).unwrap();
    let (here, who) = mpmc::channel(4).unwrap();
    let children = [(); 4].map(|()| spawn(report_and_send, (here.clone(), sender.clone())).unwrap());
    children.iter().for_each(|_| await_sleep_of(who.recv().unwrap()));
    drop(receiver);
    assert!(children.into_iter().all(|child| child.join().unwrap()));
}

#[test]
fn each_of_several_that_sleep_gets_one_of_several_messages() {
    let (sender, receiver) = mpmc::private::<u64>(4).unwrap();
    for _ in 0..50 {
        let receiving = [(); 4].map(|()| receiver.clone()).map(|receiver| asleep_in(move || receiver.recv().unwrap()));
        (0..4).for_each(|item| sender.send(item).unwrap());
        let mut received = receiving.map(|thread| thread.join().unwrap());
        received.sort_unstable();
        assert_eq!(received, [0, 1, 2, 3]);
    }
}

#[test]
fn each_of_several_that_sleep_for_room_gets_some() {
    let (sender, receiver) = mpmc::private::<u64>(2).unwrap();
    for _ in 0..50 {
        (8..10).for_each(|item| sender.send(item).unwrap());
        let sending = [0, 1, 2, 3].map(|item| (item, sender.clone()));
        let sending = sending.map(|(item, sender)| asleep_in(move || sender.send(item).unwrap()));
        let mut received = [(); 6].map(|()| receiver.recv().unwrap());
        sending.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(received[..2], [8, 9]);
        received.sort_unstable();
        assert_eq!(received, [0, 1, 2, 3, 8, 9]);
    }
}

#[test]
#[cfg_attr(feature = "portable", ignore = "it kills, and this backend is not kill-safe")]
fn a_killed_process_is_no_sender_any_more_and_no_receiver() {
    fn stay((here, _sender, _receiver, never): (Sender<u64>, Sender<u64>, Receiver<u64>, Receiver<u64>)) {
        here.send(0).unwrap();
        let _ = never.recv();
    }
    let (sender, receiver) = mpmc::channel(2).unwrap();
    let (here, is_here) = mpmc::channel(1).unwrap();
    let (_never, gate) = mpmc::channel(1).unwrap();
    let child = spawn(stay, (here, sender.clone(), receiver.clone(), gate)).unwrap();
    is_here.recv().unwrap();
    sender.send(1).unwrap();
    drop(sender);
    assert_eq!(receiver.recv(), Ok(1));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    let segment = receiver.segment().clone();
    let receiving = asleep_in(move || receiver.recv());
    child.kill().unwrap();
    assert!(child.join().is_err());
    // One that sleeps may be first to find out.
    while segment.reap_dead() == 0 && !receiving.is_finished() {
        yield_now();
    }
    assert_eq!(receiving.join().unwrap(), Err(RecvError::Disconnected));
}

#[test]
fn a_handle_that_was_passed_on_stays_of_use_here() {
    let (sender, receiver) = mpmc::channel::<u64>(4).unwrap();
    let (another, elsewhere) = (hand_over(&sender), hand_over(&receiver));
    sender.send(1).unwrap();
    another.send(2).unwrap();
    assert_eq!(elsewhere.recv(), Ok(1));
    assert_eq!(receiver.recv(), Ok(2));
    drop((sender, receiver));
    another.send(3).unwrap();
    drop(another);
    assert_eq!(elsewhere.recv(), Ok(3));
    assert_eq!(elsewhere.recv(), Err(RecvError::Disconnected));
}

#[test]
fn handles_of_a_private_queue_and_ordinary_serialisers_are_refused() {
    let (sender, receiver) = mpmc::private::<u64>(2).unwrap();
    refused(|| postcard::to_stdvec(&(&sender, &receiver)));
    assert!(postcard::to_stdvec(&mpmc::channel::<u64>(2).unwrap()).is_err());
    sender.send(1).unwrap();
    assert_eq!(receiver.recv(), Ok(1));
}

#[test]
fn a_capacity_that_is_no_power_of_two_is_an_error() {
    for capacity in [0, 3, 6, 1000, usize::MAX, 1 << 63] {
        for make in [mpmc::channel::<u64>, mpmc::private] {
            assert!(matches!(make(capacity), Err(Error::Geometry(_))), "{capacity}");
        }
    }
}

/// Values that can be told apart, as far as their size allows.
trait Numbered: Plain + PartialEq + std::fmt::Debug {
    fn numbered(n: u64) -> Self;
}

impl Numbered for () {
    fn numbered(_: u64) {}
}

impl<const N: usize> Numbered for [u8; N] {
    fn numbered(n: u64) -> Self {
        std::array::from_fn(|at| (n as usize * 31 + at * 7) as u8)
    }
}

fn values_arrive_whole<T: Numbered>() {
    for capacity in [1, 8] {
        let (sender, receiver) = mpmc::channel::<T>(capacity).unwrap();
        let send = |sender: Sender<T>| (0..1000).for_each(|n| sender.send(T::numbered(n)).unwrap());
        let child = spawn(send, sender).unwrap();
        (0..1000).for_each(|n| assert_eq!(receiver.recv().unwrap(), T::numbered(n)));
        assert_eq!(receiver.recv(), Err(RecvError::Disconnected));
        child.join().unwrap();
    }
}

#[test]
fn values_without_size_are_counted_and_values_of_odd_sizes_arrive_whole() {
    values_arrive_whole::<()>();
    values_arrive_whole::<[u8; 1]>();
    values_arrive_whole::<[u8; 13]>();
    values_arrive_whole::<[u8; 1000]>();
}

proptest! {
    #[test]
    fn it_does_what_a_bounded_vecdeque_does(
        capacity in prop::sample::select(vec![1_usize, 2, 4, 32]),
        steps in prop::collection::vec((any::<bool>(), 0..3_usize), 0..300),
    ) {
        let (sender, receiver) = mpmc::private::<u64>(capacity).unwrap();
        let senders = [sender.clone(), sender.clone(), sender];
        let receivers = [receiver.clone(), receiver.clone(), receiver];
        let mut model = VecDeque::new();
        for (item, (send, handle)) in steps.into_iter().enumerate() {
            let item = item as u64;
            if !send {
                prop_assert_eq!(receivers[handle].try_recv(), model.pop_front().ok_or(TryRecvError::Empty));
            } else if model.len() < capacity {
                prop_assert_eq!(senders[handle].try_send(item), Ok(()));
                model.push_back(item);
            } else {
                prop_assert_eq!(senders[handle].try_send(item), Err(TrySendError::Full(item)));
            }
            prop_assert_eq!(receivers[handle].is_empty(), model.is_empty());
            prop_assert_eq!(senders[handle].is_full(), model.len() == capacity);
        }
        drop(senders);
        prop_assert!(receivers[0].iter().eq(model));
        prop_assert_eq!(receivers[1].try_recv(), Err(TryRecvError::Disconnected));
    }
}

/// Found by fuzzing: with a head that is far ahead, a walk from a tail that is far behind went on for the laps of a 44-bit turn.
#[test]
fn ends_that_a_peer_has_scribbled_over_are_corrupt_and_not_walked_between() {
    use std::os::unix::fs::FileExt;
    const FAR: u64 = 1 << 60;
    for (head, tail) in [(FAR, 0), (0, FAR), (FAR, FAR), (0, 0), (u64::MAX, 1), (1, u64::MAX)] {
        let (sender, receiver) = mpmc::channel::<u64>(4).unwrap();
        let segment = sender.segment();
        let ends = 384 + 128 * segment.max_peers() as u64;
        let file = std::fs::File::from(segment.as_file().unwrap().try_clone_to_owned().unwrap());
        file.write_all_at(&tail.to_ne_bytes(), ends).unwrap();
        file.write_all_at(&head.to_ne_bytes(), ends + 128).unwrap();
        for slot in 0..4 {
            // Empty, and of a turn that no position near 0 comes to.
            file.write_all_at(&(1_u64 << 60).to_ne_bytes(), ends + 5 * 128 + slot * 16).unwrap();
        }
        // Handles that have no position of their own yet, and some that do.
        for (sender, receiver) in [(sender.clone(), receiver.clone()), (sender, receiver)] {
            for item in 0..3 {
                let sent = sender.try_send(item);
                assert!(matches!(sent, Ok(()) | Err(TrySendError::Full(_) | TrySendError::Corrupt(_))), "{sent:?}");
                let received = receiver.try_recv();
                assert!(matches!(received, Ok(_) | Err(TryRecvError::Empty | TryRecvError::Corrupt)), "{received:?}");
            }
        }
    }
}
