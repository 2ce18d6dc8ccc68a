//! The queue of byte messages, seen from outside: between threads, between processes, and in one place.
#![cfg(not(loom))]

#[path = "../../sync/tests/asleep/mod.rs"]
mod asleep;
mod handed;

use asleep::{asleep_in, await_sleep_of};
use handed::hand_over;
use proptest::prelude::*;
use shmkit_process::spawn;
use shmkit_queue::buffer::{self, Receiver, SendError, SendTimeoutError, Sender, TrySendError};
use shmkit_queue::{Error, RecvError, RecvTimeoutError, TryRecvError};
use shmkit_segment::transfer;
use std::collections::VecDeque;
use std::thread::{self, yield_now};
use std::time::{Duration, Instant};

const MOMENT: Duration = Duration::from_millis(2);

/// Receives the next message and acknowledges it.
fn next(receiver: &Receiver) -> Result<Vec<u8>, RecvError> {
    receiver.recv().map(|lease| {
        let message = lease.to_vec();
        lease.ack();
        message
    })
}

/// The number that a process sends first, to say who it is.
fn next_pid(receiver: &Receiver) -> u32 {
    u32::from_ne_bytes(next(receiver).unwrap().try_into().unwrap())
}

fn say_who(here: &Sender) {
    here.send(&std::process::id().to_ne_bytes()).unwrap();
}

/// Checks that handles cannot be serialised for another process, and that the reason is told.
fn refused(serialise: impl FnOnce() -> postcard::Result<Vec<u8>>) {
    let (bytes, descriptors) = transfer::sending(serialise);
    assert!(bytes.is_err());
    assert!(matches!(descriptors, Err(Error::NotTransferable(_))));
}

#[test]
fn messages_arrive_in_order_with_their_lengths_from_nothing_to_the_whole_buffer() {
    for make in [buffer::channel::<(usize, usize)>, buffer::private] {
        let (sender, receiver) = make((3, 100)).unwrap();
        assert_eq!((sender.capacity(), receiver.capacity(), sender.largest_message()), (3, 3, 100));
        for _ in 0..10 {
            for length in [0, 1, 100] {
                sender.send(&vec![length as u8; length]).unwrap();
            }
            for length in [0, 1, 100] {
                assert_eq!(next(&receiver).unwrap(), vec![length as u8; length]);
            }
        }
    }
}

#[test]
fn a_loan_is_written_in_place_and_sent_as_long_as_one_says() {
    let (sender, receiver) = buffer::private((2, 8)).unwrap();
    for length in [0, 3, 8] {
        let mut loan = sender.loan(8).unwrap();
        assert_eq!(loan.len(), 8);
        loan.copy_from_slice(b"abcdefgh");
        loan.truncate(length);
        loan.truncate(8); // not made longer by that
        assert_eq!(loan.len(), length);
        loan.send().unwrap();
        assert_eq!(next(&receiver).unwrap(), b"abcdefgh"[..length]);
        let mut loan = sender.loan(length).unwrap();
        loan.copy_from_slice(&b"abcdefgh"[..length]);
        loan.send().unwrap();
        assert_eq!(next(&receiver).unwrap(), b"abcdefgh"[..length]);
    }
}

#[test]
fn a_loan_that_is_dropped_sends_nothing_and_gives_its_buffer_back() {
    let (sender, receiver) = buffer::private((1, 8)).unwrap();
    for _ in 0..3 {
        drop(sender.try_loan(8).unwrap());
    }
    assert_eq!(receiver.try_recv().err(), Some(TryRecvError::Empty));
    sender.try_send(b"x").unwrap();
}

#[test]
fn a_message_that_is_too_large_is_an_error_and_costs_nothing() {
    let (sender, receiver) = buffer::private((1, 8)).unwrap();
    let too_large = SendError::TooLarge { length: 9, limit: 8 };
    assert_eq!(sender.try_send(&[0; 9]), Err(TrySendError::TooLarge { length: 9, limit: 8 }));
    assert_eq!(sender.send(&[0; 9]), Err(too_large));
    assert_eq!(sender.send_timeout(&[0; 9], MOMENT), Err(SendTimeoutError::TooLarge { length: 9, limit: 8 }));
    assert_eq!(sender.loan(9).err(), Some(too_large));
    assert_eq!(sender.try_loan(9).err(), Some(too_large.into()));
    assert_eq!(receiver.try_recv().err(), Some(TryRecvError::Empty));
    sender.try_send(&[1; 8]).unwrap();
    // Said even when there is no room.
    assert_eq!(sender.send(&[0; 9]), Err(too_large));
    assert_eq!(next(&receiver).unwrap(), [1; 8]);
}

#[test]
fn a_queue_is_full_while_its_buffers_wait_or_are_lent_or_leased() {
    let (sender, receiver) = buffer::private((3, 8)).unwrap();
    sender.send(b"leased").unwrap();
    sender.send(b"waits").unwrap();
    let lease = receiver.recv().unwrap();
    let loan = sender.loan(8).unwrap();
    assert!(sender.is_full());
    assert_eq!(sender.try_send(b"more"), Err(TrySendError::Full));
    assert_eq!(sender.try_loan(8).err(), Some(TrySendError::Full));
    lease.ack();
    assert!(!sender.is_full());
    sender.try_send(b"more").unwrap();
    assert_eq!(sender.try_send(b"too much"), Err(TrySendError::Full));
    drop(loan);
    sender.try_send(b"more").unwrap();
    for expected in [&b"waits"[..], b"more", b"more"] {
        assert_eq!(next(&receiver).unwrap(), expected);
    }
    assert!(sender.is_empty() && receiver.is_empty());
}

#[test]
fn hints_are_right_while_nobody_else_is_there() {
    let (sender, receiver) = buffer::private((5, 8)).unwrap();
    for _ in 0..3 {
        for sent in 0..5 {
            assert_eq!((sender.len(), receiver.len()), (sent, sent));
            assert_eq!((sender.is_empty(), receiver.is_empty(), sender.is_full()), (sent == 0, sent == 0, false));
            sender.send(b"").unwrap();
        }
        assert!(sender.is_full());
        let leases: Vec<_> = (0..5).map(|_| receiver.recv().unwrap()).collect();
        assert_eq!((sender.len(), receiver.is_empty(), sender.is_full()), (0, true, true));
        leases.into_iter().for_each(|lease| lease.ack());
    }
}

#[test]
fn a_message_that_is_not_acknowledged_is_delivered_again_behind_those_that_wait() {
    let (sender, receiver) = buffer::channel((4, 8)).unwrap();
    sender.send(b"first").unwrap();
    sender.send(b"second").unwrap();
    let lease = receiver.recv().unwrap();
    assert_eq!((lease.deliveries(), lease.previous_holder()), (1, None));
    drop(lease);
    assert_eq!(next(&receiver).unwrap(), b"second");
    for deliveries in 2..10 {
        let lease = receiver.clone().recv().map(|lease| (lease.to_vec(), lease.deliveries(), lease.previous_holder()));
        assert_eq!(lease.unwrap(), (b"first".to_vec(), deliveries, Some(std::process::id())));
    }
    assert_eq!(next(&receiver).unwrap(), b"first");
    // The buffer of a message that was delivered again and again is as good as new.
    for _ in 0..4 {
        sender.send(b"third").unwrap();
        let lease = receiver.recv().unwrap();
        assert_eq!((lease.deliveries(), lease.previous_holder()), (1, None));
        lease.ack();
    }
}

#[test]
fn a_message_that_a_process_gave_back_names_that_process() {
    let (sender, receiver) = buffer::channel((4, 8)).unwrap();
    sender.send(b"again").unwrap();
    let child = spawn(|receiver: Receiver| drop(receiver.recv().unwrap()), receiver.clone()).unwrap();
    let pid = child.pid();
    child.join().unwrap();
    let lease = receiver.recv().unwrap();
    assert_eq!((&*lease, lease.deliveries(), lease.previous_holder()), (&b"again"[..], 2, Some(pid)));
}

#[test]
#[cfg_attr(feature = "portable", ignore = "it kills, and this backend is not kill-safe")]
fn a_message_whose_holder_was_killed_is_delivered_again_and_names_it() {
    fn hold((here, receiver): (Sender, Receiver)) {
        let _lease = receiver.recv().unwrap();
        say_who(&here);
        let _ = receiver.recv();
    }
    let (sender, receiver) = buffer::channel((2, 8)).unwrap();
    let (here, who) = buffer::channel((1, 4)).unwrap();
    sender.send(b"again").unwrap();
    let child = spawn(hold, (here, receiver.clone())).unwrap();
    let pid = next_pid(&who);
    assert_eq!(receiver.try_recv().err(), Some(TryRecvError::Empty));
    drop(sender);
    // It may come back: this is not the end.
    assert_eq!(receiver.try_recv().err(), Some(TryRecvError::Empty));
    child.kill().unwrap();
    assert!(child.join().is_err());
    while receiver.segment().reap_dead() == 0 {
        yield_now();
    }
    let lease = receiver.recv().unwrap();
    assert_eq!((&*lease, lease.deliveries(), lease.previous_holder()), (&b"again"[..], 2, Some(pid)));
    lease.ack();
    assert_eq!(receiver.try_recv().err(), Some(TryRecvError::Disconnected));
}

#[test]
#[cfg_attr(feature = "portable", ignore = "it kills, and this backend is not kill-safe")]
fn a_loan_whose_holder_was_killed_comes_back() {
    fn hold((here, sender, never): (Sender, Sender, Receiver)) {
        let _loan = sender.loan(8).unwrap();
        say_who(&here);
        let _ = never.recv();
    }
    let (sender, receiver) = buffer::channel((1, 8)).unwrap();
    let (here, who) = buffer::channel((1, 4)).unwrap();
    let (_never, gate) = buffer::channel((1, 4)).unwrap();
    let child = spawn(hold, (here, sender.clone(), gate)).unwrap();
    next_pid(&who);
    assert_eq!(sender.try_send(b"x"), Err(TrySendError::Full));
    child.kill().unwrap();
    assert!(child.join().is_err());
    while sender.segment().reap_dead() == 0 {
        yield_now();
    }
    sender.try_send(b"x").unwrap();
    assert_eq!(next(&receiver).unwrap(), b"x");
}

#[test]
fn leases_are_acknowledged_in_any_order() {
    let (sender, receiver) = buffer::private((4, 8)).unwrap();
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1], [1, 3, 0, 2]] {
        (0..4).for_each(|item| sender.send(&[item]).unwrap());
        let mut leases: Vec<_> = (0..4).map(|_| receiver.recv().ok()).collect();
        for (count, item) in order.into_iter().enumerate() {
            let lease = leases[item].take().unwrap();
            assert_eq!(*lease, [item as u8]);
            lease.ack();
            // Room for as many as were acknowledged, and no more.
            let loans: Vec<_> = std::iter::from_fn(|| sender.try_loan(8).ok()).collect();
            assert_eq!(loans.len(), count + 1);
        }
    }
}

#[test]
fn sending_to_a_queue_that_stays_full_ends_in_time() {
    let (sender, _receiver) = buffer::private((1, 8)).unwrap();
    sender.send(b"x").unwrap();
    let start = Instant::now();
    assert_eq!(sender.send_timeout(b"y", MOMENT), Err(SendTimeoutError::Timeout));
    assert!(start.elapsed() >= MOMENT);
    let deadline = Instant::now() + MOMENT;
    assert_eq!(sender.loan_deadline(8, deadline).err(), Some(SendTimeoutError::Timeout));
    assert!(Instant::now() >= deadline);
    assert_eq!(sender.send_deadline(b"y", start), Err(SendTimeoutError::Timeout));
    assert_eq!(sender.loan_timeout(8, Duration::ZERO).err(), Some(SendTimeoutError::Timeout));
}

#[test]
fn receiving_from_a_queue_that_stays_empty_ends_in_time() {
    let (sender, receiver) = buffer::private((1, 8)).unwrap();
    let start = Instant::now();
    assert_eq!(receiver.recv_timeout(MOMENT).err(), Some(RecvTimeoutError::Timeout));
    assert!(start.elapsed() >= MOMENT);
    let deadline = Instant::now() + MOMENT;
    assert_eq!(receiver.recv_deadline(deadline).err(), Some(RecvTimeoutError::Timeout));
    assert!(Instant::now() >= deadline);
    drop(sender);
    assert_eq!(receiver.recv_timeout(MOMENT).err(), Some(RecvTimeoutError::Disconnected));
}

#[test]
fn nothing_is_sent_when_the_last_receiver_is_gone() {
    let (sender, receiver) = buffer::private((2, 8)).unwrap();
    let another = receiver.clone();
    drop(receiver);
    let loan = sender.loan(1).unwrap();
    drop(another);
    assert_eq!(loan.send(), Err(SendError::Disconnected));
    assert_eq!(sender.try_send(b"x"), Err(TrySendError::Disconnected));
    assert_eq!(sender.send(b"x"), Err(SendError::Disconnected));
    assert_eq!(sender.try_loan(8).err(), Some(TrySendError::Disconnected));
    assert_eq!(sender.loan_timeout(8, MOMENT).err(), Some(SendTimeoutError::Disconnected));
}

#[test]
fn the_end_comes_when_the_last_lease_is_acknowledged_and_not_before() {
    let (sender, receiver) = buffer::private((2, 8)).unwrap();
    sender.send(b"first").unwrap();
    sender.send(b"second").unwrap();
    drop(sender);
    let first = receiver.recv().unwrap();
    let second = receiver.recv().unwrap();
    assert_eq!(receiver.try_recv().err(), Some(TryRecvError::Empty));
    first.ack();
    assert_eq!(receiver.recv_timeout(MOMENT).err(), Some(RecvTimeoutError::Timeout));
    drop(second);
    let second = receiver.recv().unwrap();
    assert_eq!((&*second, second.deliveries()), (&b"second"[..], 2));
    second.ack();
    assert_eq!(receiver.try_recv().err(), Some(TryRecvError::Disconnected));
    assert_eq!(receiver.recv().err(), Some(RecvError::Disconnected));
}

#[test]
fn all_threads_that_sleep_for_a_message_end_when_the_last_lease_is_acknowledged() {
    let (sender, receiver) = buffer::private((2, 8)).unwrap();
    sender.send(b"x").unwrap();
    drop(sender);
    let lease = receiver.recv().unwrap();
    let receiving = [(); 4].map(|()| receiver.clone()).map(|receiver| asleep_in(move || next(&receiver)));
    lease.ack();
    for thread in receiving {
        assert_eq!(thread.join().unwrap(), Err(RecvError::Disconnected));
    }
}

#[test]
fn one_of_those_that_sleep_gets_a_message_that_is_given_back() {
    let (sender, receiver) = buffer::private((2, 8)).unwrap();
    sender.send(b"x").unwrap();
    drop(sender);
    let lease = receiver.recv().unwrap();
    let receiving = [(); 4].map(|()| receiver.clone()).map(|receiver| asleep_in(move || next(&receiver)));
    drop(lease);
    let mut received = receiving.map(|thread| thread.join().unwrap());
    received.sort_by_key(|received| received.is_err());
    assert_eq!(received[0].as_deref(), Ok(&b"x"[..]));
    assert!(received[1..].iter().all(Result::is_err));
}

#[test]
fn all_processes_that_sleep_for_a_message_end_when_the_last_sender_leaves() {
    fn report_and_receive((here, receiver): (Sender, Receiver)) -> bool {
        say_who(&here);
        receiver.recv().err() == Some(RecvError::Disconnected)
    }
    let (sender, receiver) = buffer::channel((4, 4)).unwrap();
    let (here, who) = buffer::channel((4, 4)).unwrap();
    let children = [(); 4].map(|()| spawn(report_and_receive, (here.clone(), receiver.clone())).unwrap());
    children.iter().for_each(|_| await_sleep_of(next_pid(&who)));
    drop(sender);
    assert!(children.into_iter().all(|child| child.join().unwrap()));
}

#[test]
fn all_processes_that_sleep_for_room_end_when_the_last_receiver_leaves() {
    fn report_and_send((here, sender): (Sender, Sender)) -> bool {
        say_who(&here);
        sender.send(b"x") == Err(SendError::Disconnected)
    }
    let (sender, receiver) = buffer::channel((1, 4)).unwrap();
    sender.send(b"").unwrap();
    let (here, who) = buffer::channel((4, 4)).unwrap();
    let children = [(); 4].map(|()| spawn(report_and_send, (here.clone(), sender.clone())).unwrap());
    children.iter().for_each(|_| await_sleep_of(next_pid(&who)));
    drop(receiver);
    assert!(children.into_iter().all(|child| child.join().unwrap()));
}

#[test]
fn each_of_several_that_sleep_for_room_gets_some() {
    let (sender, receiver) = buffer::private((2, 8)).unwrap();
    for _ in 0..50 {
        sender.send(b"").unwrap();
        sender.send(b"").unwrap();
        let sending = [0, 1, 2, 3].map(|item| (item, sender.clone()));
        let sending = sending.map(|(item, sender)| asleep_in(move || sender.send(&[item]).unwrap()));
        let mut received = [(); 6].map(|()| next(&receiver).unwrap());
        sending.into_iter().for_each(|thread| thread.join().unwrap());
        received.sort_unstable();
        assert_eq!(received.concat(), [0, 1, 2, 3]);
    }
}

fn send_numbered((sender, me, count): (Sender, u32, u32)) {
    for item in 0..count {
        let mut loan = sender.loan(8).unwrap();
        loan[..4].copy_from_slice(&me.to_ne_bytes());
        loan[4..].copy_from_slice(&item.to_ne_bytes());
        loan.send().unwrap();
    }
}

fn receive_numbered(receiver: Receiver) -> Vec<(u32, u32)> {
    let number = |bytes: &[u8]| u32::from_ne_bytes(bytes.try_into().unwrap());
    std::iter::from_fn(|| {
        let lease = receiver.recv().ok()?;
        assert_eq!((lease.len(), lease.deliveries()), (8, 1));
        let message = (number(&lease[..4]), number(&lease[4..]));
        lease.ack();
        Some(message)
    })
    .collect()
}

/// Checks that the receivers together got every message once, and each those of one sender in order.
fn check(received: &[Vec<(u32, u32)>], senders: u32, count: u32) {
    for messages in received {
        for me in 0..senders {
            assert!(messages.iter().filter(|message| message.0 == me).is_sorted());
        }
    }
    let mut all = received.concat();
    all.sort_unstable();
    assert!(all.into_iter().eq((0..senders).flat_map(|me| (0..count).map(move |item| (me, item)))));
}

#[test]
fn every_message_of_several_processes_is_received_by_one_of_several() {
    const EACH: u32 = 10_000;
    for (senders, receivers, buffers) in [(3, 3, 50), (4, 1, 16), (1, 4, 2), (2, 2, 1)] {
        let (sender, receiver) = buffer::channel((buffers, 8)).unwrap();
        let receiving: Vec<_> = (0..receivers).map(|_| spawn(receive_numbered, receiver.clone()).unwrap()).collect();
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
    const EACH: u32 = 10_000;
    for (senders, receivers, buffers) in [(4, 4, 50), (3, 2, 1), (2, 3, 2)] {
        let (sender, receiver) = buffer::private((buffers, 8)).unwrap();
        let receiving: Vec<_> = (0..receivers)
            .map(|_| receiver.clone())
            .map(|receiver| thread::spawn(move || receive_numbered(receiver)))
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

/// The words of a message, of which each differs from its neighbours and from the same of another message.
fn words(message: u64) -> impl Iterator<Item = u64> {
    (1..).map(move |at: u64| (at ^ message << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn checksum(bytes: &[u8]) -> u64 {
    let word = |chunk: &[u8]| u64::from_ne_bytes(chunk.try_into().unwrap());
    bytes.chunks_exact(8).fold(0, |sum: u64, chunk| (sum.rotate_left(5) ^ word(chunk)).wrapping_mul(31))
}

#[test]
fn messages_of_a_mebibyte_arrive_whole() {
    const SIZE: usize = 1 << 20;
    fn send(sender: Sender) -> Vec<u64> {
        (0..12)
            .map(|message| {
                let mut loan = sender.loan(SIZE).unwrap();
                loan.chunks_exact_mut(8)
                    .zip(words(message))
                    .for_each(|(to, word)| to.copy_from_slice(&word.to_ne_bytes()));
                let sum = checksum(&loan);
                loan.send().unwrap();
                sum
            })
            .collect()
    }
    let (sender, receiver) = buffer::channel((3, SIZE)).unwrap();
    let child = spawn(send, sender).unwrap();
    let mut sums = Vec::new();
    while let Ok(lease) = receiver.recv() {
        assert_eq!(lease.len(), SIZE);
        sums.push(checksum(&lease));
        lease.ack();
    }
    assert_eq!(child.join().unwrap(), sums);
    assert_eq!(sums.len(), 12);
}

#[test]
fn a_message_that_is_copied_in_and_has_any_length_arrives_whole() {
    let (sender, receiver) = buffer::channel((2, 5000)).unwrap();
    let child = spawn(
        |receiver: Receiver| {
            while let Ok(lease) = receiver.recv() {
                let seed = lease.len();
                assert!(lease.iter().enumerate().all(|(at, &byte)| byte == (at * 7 + seed) as u8), "{seed}");
                lease.ack();
            }
        },
        receiver,
    );
    for length in (0..200).chain((1..25).flat_map(|n| [n * 200 - 1, n * 200, n * 200 + 1])).chain([4999, 5000]) {
        sender.send(&(0..length).map(|at| (at * 7 + length) as u8).collect::<Vec<_>>()).unwrap();
    }
    drop(sender);
    child.unwrap().join().unwrap();
}

#[test]
fn a_handle_that_was_passed_on_stays_of_use_here() {
    let (sender, receiver) = buffer::channel((4, 8)).unwrap();
    let (another, elsewhere) = (hand_over(&sender), hand_over(&receiver));
    sender.send(b"1").unwrap();
    another.send(b"2").unwrap();
    assert_eq!(next(&elsewhere).unwrap(), b"1");
    assert_eq!(next(&receiver).unwrap(), b"2");
    drop((sender, receiver));
    another.send(b"3").unwrap();
    drop(another);
    assert_eq!(next(&elsewhere).unwrap(), b"3");
    assert_eq!(next(&elsewhere), Err(RecvError::Disconnected));
}

#[test]
fn handles_of_a_private_queue_and_ordinary_serialisers_are_refused() {
    let (sender, receiver) = buffer::private((2, 8)).unwrap();
    refused(|| postcard::to_stdvec(&(&sender, &receiver)));
    assert!(postcard::to_stdvec(&buffer::channel((2, 8)).unwrap()).is_err());
    sender.send(b"x").unwrap();
    assert_eq!(next(&receiver).unwrap(), b"x");
}

#[test]
fn numbers_of_buffers_and_sizes_that_cannot_be_are_errors() {
    for (buffers, size) in [(0, 8), (16_384, 8), (usize::MAX, 8), (1, 1 << 32), (1, usize::MAX)] {
        for make in [buffer::channel::<(usize, usize)>, buffer::private] {
            assert!(matches!(make((buffers, size)), Err(Error::Geometry(_))), "{buffers} {size}");
        }
    }
    buffer::private((16_383, 0)).unwrap();
}

#[test]
fn buffers_without_room_carry_messages_without_bytes() {
    let (sender, receiver) = buffer::channel((2, 0)).unwrap();
    for _ in 0..5 {
        sender.send(b"").unwrap();
        sender.loan(0).unwrap().send().unwrap();
        assert_eq!(sender.try_send(b""), Err(TrySendError::Full));
        assert_eq!(next(&receiver).unwrap(), b"");
        assert_eq!(next(&receiver).unwrap(), b"");
    }
    assert_eq!(sender.send(b"x"), Err(SendError::TooLarge { length: 1, limit: 0 }));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Send(usize),
    Loan,
    SendLoan(usize, usize),
    DropLoan(usize),
    Receive,
    Ack(usize),
    DropLease(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..=8_usize).prop_map(Step::Send),
        1 => Just(Step::Loan),
        1 => (any::<usize>(), 0..=8_usize).prop_map(|(which, length)| Step::SendLoan(which, length)),
        1 => any::<usize>().prop_map(Step::DropLoan),
        4 => Just(Step::Receive),
        3 => any::<usize>().prop_map(Step::Ack),
        2 => any::<usize>().prop_map(Step::DropLease),
    ]
}

proptest! {
    #[test]
    fn it_does_what_a_vecdeque_and_a_list_of_leases_do(
        buffers in 1..6_usize,
        steps in prop::collection::vec(step(), 0..300),
    ) {
        let (sender, receiver) = buffer::private((buffers, 8)).unwrap();
        let mut waiting: VecDeque<(Vec<u8>, u32)> = VecDeque::new();
        let (mut loans, mut leases) = (Vec::new(), Vec::new());
        for (at, step) in steps.into_iter().enumerate() {
            let full = waiting.len() + loans.len() + leases.len() == buffers;
            prop_assert_eq!((sender.is_full(), receiver.is_empty()), (full, waiting.is_empty()));
            let content = [at as u8; 8];
            match step {
                Step::Send(length) if full => {
                    prop_assert_eq!(sender.try_send(&content[..length]), Err(TrySendError::Full));
                }
                Step::Send(length) => {
                    prop_assert_eq!(sender.try_send(&content[..length]), Ok(()));
                    waiting.push_back((content[..length].to_vec(), 1));
                }
                Step::Loan if full => prop_assert_eq!(sender.try_loan(8).err(), Some(TrySendError::Full)),
                Step::Loan => {
                    let mut loan = sender.try_loan(8).unwrap();
                    loan.copy_from_slice(&content);
                    loans.push((loan, content));
                }
                Step::SendLoan(which, length) if !loans.is_empty() => {
                    let (mut loan, content) = loans.swap_remove(which % loans.len());
                    prop_assert_eq!(&*loan, content);
                    loan.truncate(length);
                    prop_assert_eq!(loan.send(), Ok(()));
                    waiting.push_back((content[..length].to_vec(), 1));
                }
                Step::DropLoan(which) if !loans.is_empty() => drop(loans.swap_remove(which % loans.len())),
                Step::Receive => match (receiver.try_recv(), waiting.pop_front()) {
                    (Ok(lease), Some((content, deliveries))) => {
                        prop_assert_eq!((&*lease, lease.deliveries()), (&*content, deliveries));
                        leases.push((lease, content));
                    }
                    (outcome, expected) => {
                        prop_assert_eq!((outcome.err(), expected), (Some(TryRecvError::Empty), None));
                    }
                },
                Step::Ack(which) if !leases.is_empty() => {
                    let (lease, content) = leases.swap_remove(which % leases.len());
                    prop_assert_eq!(&*lease, content);
                    lease.ack();
                }
                Step::DropLease(which) if !leases.is_empty() => {
                    let (lease, content) = leases.swap_remove(which % leases.len());
                    waiting.push_back((content, lease.deliveries() + 1));
                }
                _ => {}
            }
        }
        drop((loans, leases));
    }
}
