//! The queue from one sender to one receiver, seen from outside: between threads, between processes, and in one place.
#![cfg(not(loom))]

#[path = "../../sync/tests/asleep/mod.rs"]
mod asleep;
mod handed;

use asleep::asleep_in;
use handed::hand_over;
use proptest::prelude::*;
use shmkit_process::spawn;
use shmkit_queue::spsc::{self, Receiver, Sender};
use shmkit_queue::{
    Error, Plain, RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};
use shmkit_segment::transfer;
use std::collections::VecDeque;
use std::thread::{self, yield_now};
use std::time::{Duration, Instant};

const MANY: u64 = 100_000;
const MOMENT: Duration = Duration::from_millis(2);

fn send_many((mut sender, count): (Sender<u64>, u64)) {
    (0..count).for_each(|item| sender.send(item).unwrap());
}

fn receive_in_order(mut receiver: Receiver<u64>) -> u64 {
    let mut expected = 0;
    for item in receiver.iter() {
        assert_eq!(item, expected);
        expected += 1;
    }
    expected
}

/// Checks that handles cannot be serialised for another process, and that the reason is told.
fn refused(serialise: impl FnOnce() -> postcard::Result<Vec<u8>>) {
    let (bytes, descriptors) = transfer::sending(serialise);
    assert!(bytes.is_err());
    assert!(matches!(descriptors, Err(Error::NotTransferable(_))));
}

#[test]
fn order_is_kept_from_a_process_over_many_laps() {
    for capacity in [1, 2, 64] {
        let (sender, receiver) = spsc::channel(capacity).unwrap();
        let child = spawn(send_many, (sender, MANY)).unwrap();
        assert_eq!(receive_in_order(receiver), MANY);
        child.join().unwrap();
    }
}

#[test]
fn order_is_kept_to_a_process_over_many_laps() {
    for capacity in [1, 2, 64] {
        let (sender, receiver) = spsc::channel(capacity).unwrap();
        let child = spawn(receive_in_order, receiver).unwrap();
        send_many((sender, MANY));
        assert_eq!(child.join().unwrap(), MANY);
    }
}

#[test]
fn order_is_kept_between_two_children_of_which_neither_knows_the_other() {
    let (sender, receiver) = spsc::channel(2).unwrap();
    let sending = spawn(send_many, (sender, 10_000)).unwrap();
    let receiving = spawn(receive_in_order, receiver).unwrap();
    sending.join().unwrap();
    assert_eq!(receiving.join().unwrap(), 10_000);
}

#[test]
fn order_is_kept_between_threads_over_many_laps() {
    for capacity in [1, 2, 64] {
        for make in [spsc::channel, spsc::private] {
            let (sender, receiver) = make(capacity).unwrap();
            let thread = thread::spawn(move || send_many((sender, MANY)));
            assert_eq!(receive_in_order(receiver), MANY);
            thread.join().unwrap();
        }
    }
}

#[test]
fn two_processes_take_turns() {
    fn echo((mut from, mut to): (Receiver<u64>, Sender<u64>)) {
        from.iter().for_each(|item| to.send(item * 2).unwrap());
    }
    let (mut question, from) = spsc::channel(1).unwrap();
    let (to, mut answer) = spsc::channel(1).unwrap();
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
    let (mut sender, mut receiver) = spsc::private::<u64>(2).unwrap();
    assert_eq!((sender.capacity(), receiver.capacity()), (2, 2));
    sender.try_send(1).unwrap();
    sender.try_send(2).unwrap();
    assert!(sender.try_send(3) == Err(TrySendError::Full(3)));
    assert_eq!(sender.try_send(4).unwrap_err().into_inner(), 4);
    assert_eq!(receiver.try_recv(), Ok(1));
    sender.try_send(5).unwrap();
    assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [2, 5]);
}

#[test]
fn an_empty_queue_says_so() {
    let (mut sender, mut receiver) = spsc::private::<u64>(2).unwrap();
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    sender.send(1).unwrap();
    assert_eq!(receiver.try_recv(), Ok(1));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
}

#[test]
fn sending_to_a_queue_that_stays_full_ends_in_time_with_the_value() {
    let (mut sender, _receiver) = spsc::private::<u64>(1).unwrap();
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
    let (sender, mut receiver) = spsc::private::<u64>(1).unwrap();
    let start = Instant::now();
    assert_eq!(receiver.recv_timeout(MOMENT), Err(RecvTimeoutError::Timeout));
    assert!(start.elapsed() >= MOMENT);
    let deadline = Instant::now() + MOMENT;
    assert_eq!(receiver.recv_deadline(deadline), Err(RecvTimeoutError::Timeout));
    assert!(Instant::now() >= deadline);
    assert_eq!(receiver.recv_deadline(start), Err(RecvTimeoutError::Timeout));
    assert_eq!(receiver.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
    drop(sender);
    assert_eq!(receiver.recv_timeout(MOMENT), Err(RecvTimeoutError::Disconnected));
}

#[test]
fn a_deadline_that_has_passed_still_lets_through_what_is_possible_at_once() {
    let (mut sender, mut receiver) = spsc::private::<u64>(1).unwrap();
    let past = Instant::now();
    sender.send_deadline(1, past).unwrap();
    assert_eq!(receiver.recv_deadline(past), Ok(1));
}

#[test]
fn the_longest_timeout_waits_until_there_is_something() {
    let (mut sender, mut receiver) = spsc::private::<u64>(1).unwrap();
    let receiving = asleep_in(move || (receiver.recv_timeout(Duration::MAX), receiver));
    sender.send(1).unwrap();
    let (received, mut receiver) = receiving.join().unwrap();
    assert_eq!(received, Ok(1));
    sender.send(2).unwrap();
    let sending = asleep_in(move || sender.send_timeout(3, Duration::MAX));
    assert_eq!(receiver.recv(), Ok(2));
    sending.join().unwrap().unwrap();
    assert_eq!(receiver.recv(), Ok(3));
}

#[test]
fn values_come_back_when_the_receiver_is_gone() {
    let (mut sender, receiver) = spsc::private::<u64>(2).unwrap();
    sender.send(1).unwrap();
    drop(receiver);
    assert!(sender.try_send(2) == Err(TrySendError::Disconnected(2)));
    assert!(sender.send(3) == Err(SendError::Disconnected(3)));
    assert!(sender.send_timeout(4, MOMENT) == Err(SendTimeoutError::Disconnected(4)));
    assert!(sender.send_deadline(5, Instant::now()) == Err(SendTimeoutError::Disconnected(5)));
    assert_eq!(sender.send(6).unwrap_err().into_inner(), 6);
}

#[test]
fn what_was_sent_is_received_after_the_sender_is_gone_and_then_the_end() {
    let (mut sender, mut receiver) = spsc::private::<u64>(4).unwrap();
    (1..=3).for_each(|item| sender.send(item).unwrap());
    drop(sender);
    assert_eq!(receiver.try_recv(), Ok(1));
    assert_eq!(receiver.recv(), Ok(2));
    assert_eq!(receiver.recv_timeout(MOMENT), Ok(3));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
    assert_eq!(receiver.recv(), Err(RecvError::Disconnected));
    assert_eq!(receiver.recv_timeout(MOMENT), Err(RecvTimeoutError::Disconnected));
    assert_eq!(receiver.iter().next(), None);
}

#[test]
fn a_sender_that_sleeps_gets_its_value_back_when_the_receiver_leaves() {
    let (mut sender, receiver) = spsc::private::<u64>(1).unwrap();
    sender.send(1).unwrap();
    let sending = asleep_in(move || sender.send(2));
    drop(receiver);
    assert!(sending.join().unwrap() == Err(SendError::Disconnected(2)));
}

#[test]
fn a_receiver_that_sleeps_wakes_when_the_sender_leaves() {
    let (sender, mut receiver) = spsc::private::<u64>(1).unwrap();
    let receiving = asleep_in(move || receiver.recv());
    drop(sender);
    assert_eq!(receiving.join().unwrap(), Err(RecvError::Disconnected));
}

#[test]
fn a_process_that_returns_closes_its_end() {
    let (sender, mut receiver) = spsc::channel::<u64>(4).unwrap();
    let child = spawn(|mut sender: Sender<u64>| sender.send(7).unwrap(), sender).unwrap();
    assert_eq!(receiver.iter().collect::<Vec<_>>(), [7]);
    child.join().unwrap();

    let (mut sender, receiver) = spsc::channel::<u64>(1).unwrap();
    let child = spawn(|mut receiver: Receiver<u64>| receiver.recv().unwrap(), receiver).unwrap();
    let mut item = 0;
    let rest = loop {
        match sender.send(item) {
            Ok(()) => item += 1,
            Err(error) => break error,
        }
    };
    assert!(rest == SendError::Disconnected(item));
    assert_eq!(child.join().unwrap(), 0);
}

#[test]
#[cfg_attr(feature = "portable", ignore = "it kills, and this backend is not kill-safe")]
fn what_a_killed_sender_had_sent_is_received_and_then_the_end() {
    fn send_and_stay((mut sender, mut done, mut never): (Sender<u64>, Sender<u64>, Receiver<u64>)) {
        (1..=3).for_each(|item| sender.send(item).unwrap());
        done.send(0).unwrap();
        let _ = never.recv();
    }
    let (sender, mut receiver) = spsc::channel(4).unwrap();
    let (done, mut is_done) = spsc::channel(1).unwrap();
    let (_never, gate) = spsc::channel(1).unwrap();
    let child = spawn(send_and_stay, (sender, done, gate)).unwrap();
    is_done.recv().unwrap();
    child.kill().unwrap();
    assert!(child.join().is_err());
    while receiver.segment().reap_dead() == 0 {
        yield_now();
    }
    assert_eq!(receiver.iter().collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
#[cfg_attr(feature = "portable", ignore = "it kills, and this backend is not kill-safe")]
fn a_killed_receiver_gives_values_back_to_the_sender() {
    fn receive_one_and_stay((mut receiver, mut done, mut never): (Receiver<u64>, Sender<u64>, Receiver<u64>)) {
        done.send(receiver.recv().unwrap()).unwrap();
        let _ = never.recv();
    }
    let (mut sender, receiver) = spsc::channel(1).unwrap();
    let (done, mut is_done) = spsc::channel(1).unwrap();
    let (_never, gate) = spsc::channel(1).unwrap();
    let child = spawn(receive_one_and_stay, (receiver, done, gate)).unwrap();
    sender.send(1).unwrap();
    assert_eq!(is_done.recv(), Ok(1));
    sender.send(2).unwrap();
    child.kill().unwrap();
    assert!(child.join().is_err());
    let segment = sender.segment().clone();
    let sending = asleep_in(move || sender.send(3));
    // One that sleeps may be first to find out.
    while segment.reap_dead() == 0 && !sending.is_finished() {
        yield_now();
    }
    assert!(sending.join().unwrap() == Err(SendError::Disconnected(3)));
}

#[test]
fn a_sender_that_was_moved_is_of_no_use_here_and_works_there() {
    let (mut sender, mut receiver) = spsc::channel::<u64>(2).unwrap();
    sender.send(1).unwrap();
    let mut moved = hand_over(&sender);
    assert!(sender.try_send(2) == Err(TrySendError::Moved(2)));
    assert!(sender.send(3) == Err(SendError::Moved(3)));
    assert!(sender.send_timeout(4, MOMENT) == Err(SendTimeoutError::Moved(4)));
    refused(|| postcard::to_stdvec(&sender));
    moved.send(5).unwrap();
    assert_eq!(receiver.recv(), Ok(1));
    drop(sender);
    assert_eq!(receiver.recv(), Ok(5));
    drop(moved);
    assert_eq!(receiver.recv(), Err(RecvError::Disconnected));
}

#[test]
fn a_receiver_that_was_moved_is_of_no_use_here_and_works_there() {
    let (mut sender, mut receiver) = spsc::channel::<u64>(4).unwrap();
    (1..=3).for_each(|item| sender.send(item).unwrap());
    assert_eq!(receiver.recv(), Ok(1));
    // It knows of two more; they must not be received twice.
    let mut moved = hand_over(&receiver);
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Moved));
    assert_eq!(receiver.recv(), Err(RecvError::Moved));
    assert_eq!(receiver.recv_timeout(MOMENT), Err(RecvTimeoutError::Moved));
    assert_eq!(receiver.iter().next(), None);
    refused(|| postcard::to_stdvec(&receiver));
    drop(receiver);
    assert_eq!(moved.try_iter().collect::<Vec<_>>(), [2, 3]);
    sender.send(4).unwrap();
    assert_eq!(moved.recv(), Ok(4));
    drop(moved);
    assert!(sender.send(5) == Err(SendError::Disconnected(5)));
}

#[test]
fn an_end_goes_on_where_it_was_when_it_has_been_moved_often() {
    let (mut sender, mut receiver) = spsc::channel::<u64>(2).unwrap();
    for item in 0..100 {
        sender.send(item).unwrap();
        sender = hand_over(&sender);
        receiver = hand_over(&receiver);
        assert_eq!(receiver.recv(), Ok(item));
    }
}

#[test]
fn an_end_that_got_lost_on_its_way_counts_as_gone() {
    let (mut sender, mut receiver) = spsc::channel::<u64>(2).unwrap();
    sender.send(1).unwrap();
    drop(transfer::sending(|| postcard::to_stdvec(&sender).unwrap()));
    while receiver.segment().reap_dead() == 0 {
        yield_now();
    }
    assert_eq!(receiver.recv(), Ok(1));
    assert_eq!(receiver.recv(), Err(RecvError::Disconnected));
}

#[test]
fn an_ordinary_serialiser_is_refused_and_the_end_stays_of_use() {
    let (mut sender, mut receiver) = spsc::channel::<u64>(2).unwrap();
    assert!(postcard::to_stdvec(&sender).is_err());
    assert!(postcard::to_stdvec(&receiver).is_err());
    sender.send(1).unwrap();
    assert_eq!(receiver.recv(), Ok(1));
}

#[test]
fn ends_of_a_private_queue_cannot_be_moved_and_stay_of_use() {
    let (mut sender, mut receiver) = spsc::private::<u64>(2).unwrap();
    refused(|| postcard::to_stdvec(&sender));
    refused(|| postcard::to_stdvec(&receiver));
    sender.send(1).unwrap();
    assert_eq!(receiver.recv(), Ok(1));
}

#[test]
fn a_capacity_that_is_no_power_of_two_is_an_error() {
    for capacity in [0, 3, 6, 1000, usize::MAX, 1 << 63] {
        for make in [spsc::channel::<u64>, spsc::private] {
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
        let (sender, mut receiver) = spsc::channel::<T>(capacity).unwrap();
        let send = |mut sender: Sender<T>| (0..1000).for_each(|n| sender.send(T::numbered(n)).unwrap());
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
        capacity in prop::sample::select(vec![1_usize, 2, 4, 8]),
        sends in prop::collection::vec(any::<bool>(), 0..200),
    ) {
        let (mut sender, mut receiver) = spsc::private::<u64>(capacity).unwrap();
        let mut model = VecDeque::new();
        for (item, send) in sends.into_iter().enumerate() {
            let item = item as u64;
            if !send {
                prop_assert_eq!(receiver.try_recv(), model.pop_front().ok_or(TryRecvError::Empty));
            } else if model.len() < capacity {
                prop_assert_eq!(sender.try_send(item), Ok(()));
                model.push_back(item);
            } else {
                prop_assert_eq!(sender.try_send(item), Err(TrySendError::Full(item)));
            }
        }
        drop(sender);
        prop_assert!(receiver.iter().eq(model));
        prop_assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
    }
}
