//! Many messages at a time on the queue from one sender to one receiver, at the start of its positions and where they go round.
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
    RecvError, RecvTimeoutError, SendError, SendSliceError, SendTimeoutError, TryRecvError, TrySendError,
};
use std::collections::VecDeque;
use std::error::Error as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

const MANY: u64 = 100_000;
const MOMENT: Duration = Duration::from_millis(2);

/// Runs `test` on queues of `capacity` at the start, in the middle of a lap, and such that positions go round at each of the first messages.
fn everywhere(capacity: usize, test: impl Fn(Sender<u64>, Receiver<u64>)) {
    for position in [0, 1, 3].into_iter().chain((0..=2 * capacity as u64 + 1).map(|before| u64::MAX - before)) {
        let (sender, receiver) = spsc::private_at(capacity, position).unwrap();
        test(sender, receiver);
    }
}

fn received(receiver: &mut Receiver<u64>) -> Vec<u64> {
    receiver.try_iter().collect()
}

fn panics(operation: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(operation)).is_err()
}

#[test]
fn single_messages_pass_where_positions_go_round() {
    everywhere(2, |mut sender, mut receiver| {
        for item in 0..10 {
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
            sender.try_send(item).unwrap();
            sender.send(item + 100).unwrap();
            assert_eq!(sender.try_send(7), Err(TrySendError::Full(7)));
            assert!(sender.send_timeout(7, Duration::ZERO) == Err(SendTimeoutError::Timeout(7)));
            assert_eq!((receiver.try_recv(), receiver.recv()), (Ok(item), Ok(item + 100)));
        }
        sender.send(1).unwrap();
        drop(sender);
        assert_eq!(receiver.iter().collect::<Vec<_>>(), [1]);
        assert_eq!(receiver.recv(), Err(RecvError::Disconnected));
    });
}

#[test]
fn a_slice_is_sent_as_far_as_there_is_room() {
    everywhere(4, |mut sender, mut receiver| {
        for _ in 0..5 {
            assert_eq!(sender.try_send_slice(&[1, 2, 3]), Ok(3));
            assert_eq!(sender.try_send_slice(&[4, 5, 6]), Ok(1));
            assert_eq!(sender.try_send_slice(&[7]), Err(TrySendError::Full(())));
            assert_eq!(receiver.try_recv(), Ok(1));
            assert_eq!(sender.try_send_slice(&[8, 9]), Ok(1));
            assert_eq!(received(&mut receiver), [2, 3, 4, 8]);
            assert_eq!(sender.try_send_slice(&[1, 2, 3, 4, 5, 6]), Ok(4));
            assert_eq!(received(&mut receiver), [1, 2, 3, 4]);
        }
    });
}

#[test]
fn a_slice_is_filled_as_far_as_there_are_messages() {
    everywhere(4, |mut sender, mut receiver| {
        let mut values = [0; 6];
        for _ in 0..5 {
            assert_eq!(receiver.try_recv_slice(&mut values), Err(TryRecvError::Empty));
            sender.send_slice(&[1, 2, 3, 4]).unwrap();
            assert_eq!((receiver.try_recv_slice(&mut values[..3]), &values[..3]), (Ok(3), &[1, 2, 3][..]));
            assert_eq!((receiver.try_recv_slice(&mut values), values[0]), (Ok(1), 4));
            // One that is known, and one that came later.
            sender.send_slice(&[5, 6]).unwrap();
            assert_eq!(receiver.try_recv(), Ok(5));
            sender.send_slice(&[7, 8]).unwrap();
            assert_eq!((receiver.recv_slice(&mut values), &values[..3]), (Ok(3), &[6, 7, 8][..]));
        }
    });
}

#[test]
fn no_values_are_sent_and_received_at_once_whatever_the_state() {
    let (mut sender, mut receiver) = spsc::private::<u64>(1).unwrap();
    assert_eq!((receiver.try_recv_slice(&mut []), receiver.recv_slice(&mut [])), (Ok(0), Ok(0)));
    assert!(receiver.lease(0).unwrap().is_empty() && receiver.try_lease(0).unwrap().iter().next().is_none());
    sender.send(1).unwrap();
    assert_eq!((sender.try_send_slice(&[]), sender.send_slice(&[])), (Ok(0), Ok(())));
    assert!(sender.reserve(0).unwrap().is_empty() && sender.try_reserve(0).unwrap().is_empty());
    sender.reserve(0).unwrap().commit(0);
    receiver.lease(0).unwrap().ack(0);
    assert_eq!(receiver.recv(), Ok(1));
    drop(receiver);
    assert_eq!((sender.try_send_slice(&[]), sender.send_slice(&[])), (Ok(0), Ok(())));
}

#[test]
fn batches_longer_than_the_capacity_arrive_in_order() {
    for capacity in [1, 2, 64] {
        let (sender, mut receiver) = spsc::channel::<u64>(capacity).unwrap();
        let send = |mut sender: Sender<u64>| sender.send_slice(&Vec::from_iter(0..MANY)).unwrap();
        let child = spawn(send, sender).unwrap();
        let (mut expected, mut values) = (0, [0; 100]);
        while let Ok(count) = receiver.recv_slice(&mut values) {
            assert!(values[..count].iter().copied().eq(expected..expected + count as u64) && count <= capacity);
            expected += count as u64;
        }
        assert_eq!(expected, MANY);
        child.join().unwrap();
    }
}

#[test]
fn batches_leases_and_reservations_keep_order_between_threads_where_positions_go_round() {
    for capacity in [1, 4, 64] {
        let (mut sender, mut receiver) = spsc::private_at::<u64>(capacity, u64::MAX - MANY / 2).unwrap();
        let sending = thread::spawn(move || {
            let mut next = 0;
            while next < MANY {
                let mut places = sender.reserve(7).unwrap();
                let count = places.len().min((MANY - next) as usize);
                (0..count).for_each(|index| places.set(index, next + index as u64));
                places.commit(count);
                next += count as u64;
                let more = Vec::from_iter(next..MANY.min(next + 5));
                sender.send_slice(&more).unwrap();
                next += more.len() as u64;
            }
        });
        let mut expected = 0;
        while let Ok(lease) = receiver.lease(9) {
            let count = lease.len().div_ceil(2);
            assert!(lease.iter().eq(expected..expected + lease.len() as u64));
            lease.ack(count);
            expected += count as u64;
        }
        assert_eq!(expected, MANY);
        sending.join().unwrap();
    }
}

#[test]
fn a_slice_that_stays_in_part_says_how_much_was_sent_and_why_not_more() {
    let (mut sender, mut receiver) = spsc::private::<u64>(4).unwrap();
    let start = Instant::now();
    let error = sender.send_slice_timeout(&[1, 2, 3, 4, 5, 6], MOMENT).unwrap_err();
    assert!(start.elapsed() >= MOMENT);
    assert_eq!(error, SendSliceError { sent: 4, error: SendTimeoutError::Timeout(()) });
    assert!(error.to_string().contains('4') && error.source().unwrap().to_string().contains("stayed full"));
    let deadline = Instant::now() + MOMENT;
    let error = sender.send_slice_deadline(&[7], deadline).unwrap_err();
    assert!(Instant::now() >= deadline && error == SendSliceError { sent: 0, error: SendTimeoutError::Timeout(()) });
    assert_eq!(receiver.recv(), Ok(1));
    sender.send_slice_deadline(&[5], start).unwrap();
    assert_eq!(received(&mut receiver), [2, 3, 4, 5]);

    // Room for some of them, and then the receiver leaves.
    let sending = asleep_in(move || sender.send_slice(&[1, 2, 3, 4, 5, 6]));
    assert_eq!(receiver.recv(), Ok(1));
    drop(receiver);
    let SendSliceError { sent, error } = sending.join().unwrap().unwrap_err();
    assert!((4..=5).contains(&sent) && error == SendError::Disconnected(()), "{sent} {error}");
}

#[test]
fn every_blocking_form_ends_in_time() {
    let (mut sender, mut receiver) = spsc::private::<u64>(1).unwrap();
    let in_time = |operation: &mut dyn FnMut(Duration, Instant)| {
        let start = Instant::now();
        operation(MOMENT, start + MOMENT);
        assert!(start.elapsed() >= MOMENT);
        operation(Duration::ZERO, start);
    };
    let late = RecvTimeoutError::Timeout;
    in_time(&mut |timeout, _| assert_eq!(receiver.recv_slice_timeout(&mut [0; 2], timeout), Err(late)));
    in_time(&mut |_, deadline| assert_eq!(receiver.recv_slice_deadline(&mut [0; 2], deadline), Err(late)));
    in_time(&mut |timeout, _| assert_eq!(receiver.lease_timeout(2, timeout).err(), Some(late)));
    in_time(&mut |_, deadline| assert_eq!(receiver.lease_deadline(2, deadline).err(), Some(late)));
    sender.send(1).unwrap();
    let late = SendTimeoutError::Timeout(());
    let none = Err(SendSliceError { sent: 0, error: late });
    in_time(&mut |timeout, _| assert_eq!(sender.send_slice_timeout(&[2], timeout), none));
    in_time(&mut |_, deadline| assert_eq!(sender.send_slice_deadline(&[2], deadline), none));
    in_time(&mut |timeout, _| assert_eq!(sender.reserve_timeout(2, timeout).err(), Some(late)));
    in_time(&mut |_, deadline| assert_eq!(sender.reserve_deadline(2, deadline).err(), Some(late)));
    // What is possible at once is done, however late.
    let past = Instant::now();
    assert_eq!(receiver.recv_slice_deadline(&mut [0; 2], past), Ok(1));
    sender.reserve_deadline(2, past).unwrap().commit(1);
    receiver.lease_deadline(2, past).unwrap().ack(1);
}

#[test]
fn every_blocking_form_waits_for_the_other_side() {
    let (mut sender, mut receiver) = spsc::private::<u64>(1).unwrap();
    let receiving = asleep_in(move || {
        let mut values = [0; 2];
        let count = receiver.recv_slice_timeout(&mut values, Duration::MAX);
        (count, values[0], receiver)
    });
    sender.send(1).unwrap();
    let (count, value, mut receiver) = receiving.join().unwrap();
    assert_eq!((count, value), (Ok(1), 1));

    let receiving = asleep_in(move || {
        let value = receiver.lease(5).map(|lease| lease.get(0));
        (value, receiver)
    });
    sender.send(2).unwrap();
    let (value, mut receiver) = receiving.join().unwrap();
    assert_eq!(value, Ok(2));

    let sending = asleep_in(move || {
        sender.reserve(5).map(|mut places| {
            places.set(0, 3);
            places.commit(1);
        })?;
        Ok::<_, SendError<()>>(sender)
    });
    assert_eq!(receiver.recv(), Ok(2));
    let mut sender = sending.join().unwrap().unwrap();
    let sending = asleep_in(move || sender.send_slice_timeout(&[4, 5], Duration::MAX));
    assert_eq!((receiver.recv(), receiver.recv(), receiver.recv()), (Ok(3), Ok(4), Ok(5)));
    sending.join().unwrap().unwrap();
}

#[test]
fn a_reservation_sends_what_is_committed_and_nothing_else() {
    everywhere(4, |mut sender, mut receiver| {
        for _ in 0..3 {
            let mut places = sender.try_reserve(3).unwrap();
            assert_eq!((places.len(), places.is_empty()), (3, false));
            (0..3).rev().for_each(|index| places.set(index, index as u64));
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
            places.commit(2);
            assert_eq!(received(&mut receiver), [0, 1]);

            let mut places = sender.reserve(usize::MAX).unwrap();
            assert_eq!(places.len(), 4);
            places.set(0, 9);
            drop(places);
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));

            sender.send_slice(&[5, 6, 7]).unwrap();
            let mut places = sender.reserve(2).unwrap();
            assert_eq!(places.len(), 1);
            places.set(0, 8);
            places.commit(1);
            assert_eq!(sender.try_reserve(1).err(), Some(TrySendError::Full(())));
            assert_eq!(received(&mut receiver), [5, 6, 7, 8]);
        }
    });
}

#[test]
fn what_a_lease_does_not_acknowledge_comes_again() {
    everywhere(4, |mut sender, mut receiver| {
        for _ in 0..3 {
            assert_eq!(receiver.try_lease(3).err(), Some(TryRecvError::Empty));
            sender.send_slice(&[1, 2, 3]).unwrap();
            let lease = receiver.try_lease(2).unwrap();
            assert_eq!((lease.len(), lease.get(1), lease.iter().count()), (2, 2, 2));
            drop(lease);
            sender.send(4).unwrap();
            let lease = receiver.lease(10).unwrap();
            assert!(lease.iter().eq(1..=4) && lease.iter().rev().eq([4, 3, 2, 1]));
            assert_eq!(sender.try_send(5), Err(TrySendError::Full(5)));
            lease.ack(1);
            sender.send(5).unwrap();
            let lease = receiver.lease(10).unwrap();
            assert!(lease.iter().eq(2..=5));
            lease.ack(0);
            assert_eq!(received(&mut receiver), [2, 3, 4, 5]);
        }
    });
}

#[test]
fn places_and_messages_that_do_not_exist_are_the_callers_mistake() {
    let (mut sender, mut receiver) = spsc::private::<u64>(4).unwrap();
    assert!(panics(|| sender.reserve(2).unwrap().set(2, 0)));
    assert!(panics(|| sender.reserve(2).unwrap().commit(3)));
    sender.send_slice(&[1, 2]).unwrap();
    assert!(panics(|| assert_eq!(receiver.lease(4).unwrap().get(2), 0)));
    assert!(panics(|| receiver.lease(4).unwrap().ack(3)));
    assert_eq!(received(&mut receiver), [1, 2]);
}

#[test]
fn batches_learn_that_the_other_side_is_gone_and_that_the_end_was_moved() {
    let (mut sender, receiver) = spsc::private::<u64>(4).unwrap();
    sender.send(1).unwrap();
    drop(receiver);
    assert_eq!(sender.try_send_slice(&[2]), Err(TrySendError::Disconnected(())));
    assert_eq!(sender.send_slice(&[2]), Err(SendSliceError { sent: 0, error: SendError::Disconnected(()) }));
    assert_eq!(sender.try_reserve(1).err(), Some(TrySendError::Disconnected(())));
    assert_eq!(sender.reserve(1).err(), Some(SendError::Disconnected(())));

    let (mut sender, mut receiver) = spsc::private::<u64>(4).unwrap();
    sender.send_slice(&[1, 2, 3]).unwrap();
    drop(sender);
    receiver.lease(3).unwrap().ack(1);
    assert_eq!(receiver.recv_slice(&mut [0; 4]), Ok(2));
    assert_eq!(receiver.try_recv_slice(&mut [0; 4]), Err(TryRecvError::Disconnected));
    assert_eq!(receiver.try_lease(4).err(), Some(TryRecvError::Disconnected));
    assert_eq!(receiver.lease(4).err(), Some(RecvError::Disconnected));

    let (mut sender, mut receiver) = spsc::channel::<u64>(4).unwrap();
    sender.send_slice(&[1, 2, 3]).unwrap();
    receiver.lease(1).unwrap().ack(1);
    let (mut to, mut from) = (hand_over(&sender), hand_over(&receiver));
    assert_eq!(sender.try_send_slice(&[4]), Err(TrySendError::Moved(())));
    assert_eq!(sender.reserve(1).err(), Some(SendError::Moved(())));
    assert_eq!(receiver.try_recv_slice(&mut [0; 4]), Err(TryRecvError::Moved));
    assert_eq!(receiver.lease(1).err(), Some(RecvError::Moved));
    to.send_slice(&[4]).unwrap();
    assert_eq!(received(&mut from), [2, 3, 4]);
}

#[test]
fn batches_of_values_without_size_and_of_odd_sizes_arrive_whole() {
    let (mut sender, mut receiver) = spsc::private::<()>(4).unwrap();
    assert_eq!((sender.try_send_slice(&[(); 9]), receiver.try_recv_slice(&mut [(); 9])), (Ok(4), Ok(4)));
    let (mut sender, mut receiver) = spsc::private_at::<[u8; 13]>(4, u64::MAX - 1).unwrap();
    let values: [[u8; 13]; 4] = std::array::from_fn(|n| std::array::from_fn(|at| (n * 31 + at * 7) as u8));
    sender.send_slice(&values).unwrap();
    assert!(receiver.lease(9).unwrap().iter().eq(values));
    let mut arrived = [[0; 13]; 9];
    assert_eq!((receiver.recv_slice(&mut arrived), &arrived[..4]), (Ok(4), &values[..]));
}

proptest! {
    /// Whatever operations in whatever order: as a bounded `VecDeque`, wherever the positions begin.
    #[test]
    fn it_does_what_a_bounded_vecdeque_does(
        capacity in prop::sample::select(vec![1_usize, 2, 8]),
        position in prop_oneof![Just(0), (0..40_u64).prop_map(|before| u64::MAX - before), any::<u64>()],
        steps in prop::collection::vec((0..6, 0..10_usize, 0..10_usize), 0..120),
    ) {
        let (mut sender, mut receiver) = spsc::private_at::<u64>(capacity, position).unwrap();
        let (mut model, mut item) = (VecDeque::new(), 0);
        for (operation, count, part) in steps {
            let room = capacity - model.len();
            let values = Vec::from_iter(item..item + count as u64);
            match operation {
                0 => {
                    let sent = sender.try_send(item);
                    prop_assert_eq!(sent, if room > 0 { Ok(()) } else { Err(TrySendError::Full(item)) });
                    model.extend(sent.is_ok().then_some(item));
                }
                1 => {
                    let sent = sender.try_send_slice(&values);
                    let expected = if count > 0 && room == 0 { Err(TrySendError::Full(())) } else { Ok(count.min(room)) };
                    prop_assert_eq!(sent, expected);
                    model.extend(&values[..sent.unwrap_or(0)]);
                }
                2 => match sender.try_reserve(count) {
                    Ok(mut places) => {
                        prop_assert_eq!(places.len(), count.min(room));
                        (0..places.len()).for_each(|index| places.set(index, values[index]));
                        let part = part.min(places.len());
                        places.commit(part);
                        model.extend(&values[..part]);
                    }
                    Err(error) => prop_assert!(error == TrySendError::Full(()) && count > 0 && room == 0),
                },
                3 => prop_assert_eq!(receiver.try_recv(), model.pop_front().ok_or(TryRecvError::Empty)),
                4 => {
                    let mut places = vec![0; count];
                    match receiver.try_recv_slice(&mut places) {
                        Ok(received) => {
                            prop_assert_eq!(received, count.min(model.len()));
                            prop_assert!(model.drain(..received).eq(places[..received].iter().copied()));
                        }
                        Err(error) => prop_assert!(error == TryRecvError::Empty && count > 0 && model.is_empty()),
                    }
                }
                _ => match receiver.try_lease(count) {
                    Ok(lease) => {
                        prop_assert_eq!(lease.len(), count.min(model.len()));
                        prop_assert!(lease.iter().eq(model.iter().copied().take(lease.len())));
                        let part = part.min(lease.len());
                        lease.ack(part);
                        model.drain(..part);
                    }
                    Err(error) => prop_assert!(error == TryRecvError::Empty && count > 0 && model.is_empty()),
                },
            }
            item += count as u64 + 1;
        }
        drop(sender);
        prop_assert!(receiver.iter().eq(model));
    }
}
