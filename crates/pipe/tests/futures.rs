//! Futures of connections and the asynchronous traits of streams: on two runtimes, between processes, and dropped in the middle.
#![cfg(not(loom))]

#[path = "../../sync/tests/company/mod.rs"]
mod company;
mod content;
#[path = "../../queue/tests/polling/mod.rs"]
mod polling;

use company::start;
#[cfg(not(feature = "portable"))]
use company::{kill, stay};
use polling::{finish, on_smol, on_tokio, patiently, poll, told};
use proptest::prelude::*;
use shmkit_pipe::{Connection, Descriptor, RecvError, SendError, duplex, duplex_with_capacity, private_duplex};
#[cfg(not(feature = "portable"))]
use shmkit_sync::Event;
use std::pin::pin;
use std::task::Poll;

fn echo(mut connection: Connection) {
    while let Ok(message) = connection.recv_bytes() {
        connection.send_bytes(&message).unwrap();
    }
}

#[test]
fn a_task_and_a_process_send_to_each_other() {
    async fn ask(mut connection: Connection) {
        let mut buffer = vec![0; 10_000];
        for length in (0..300).chain([1_000, 10_000]) {
            let message = content::bytes(length as u64, length);
            connection.send_bytes_async(&message).await.unwrap();
            assert_eq!(connection.recv_bytes_async().await.unwrap(), message);
            connection.send_async(&(length, "value")).await.unwrap();
            assert_eq!(connection.recv_async::<(usize, String)>().await.unwrap(), (length, "value".to_owned()));
            connection.send_bytes_async(&message).await.unwrap();
            let length = connection.recv_bytes_into_async(&mut buffer).await.unwrap();
            assert_eq!(buffer[..length], message);
        }
    }
    for run in [|connection| on_tokio(ask(connection)), |connection| on_smol(ask(connection))] {
        let (here, there) = duplex_with_capacity(256).unwrap();
        let child = start(echo, there);
        run(here);
        child.join().unwrap();
    }
}

#[test]
fn long_messages_of_two_tasks_cross() {
    async fn cross(mut connection: Connection, byte: u8) {
        for _ in 0..3 {
            connection.send_bytes_async(&vec![byte; 1 << 20]).await.unwrap();
            connection.send_bytes_async(&[]).await.unwrap();
        }
        for _ in 0..3 {
            assert!(connection.recv_bytes_async().await.unwrap() == vec![1 - byte; 1 << 20]);
            assert_eq!(connection.recv_bytes_async().await.unwrap(), []);
        }
    }
    for capacity in [256, 1 << 16] {
        let (one, other) = duplex_with_capacity(capacity).unwrap();
        on_tokio(async move {
            let task = tokio::spawn(cross(one, 0));
            cross(other, 1).await;
            task.await.unwrap();
        });
        let (one, other) = duplex_with_capacity(capacity).unwrap();
        on_smol(futures_util::future::join(cross(one, 0), cross(other, 1)));
    }
}

#[test]
fn descriptors_and_handles_come_with_awaited_messages() {
    on_tokio(async {
        let (mut here, mut there) = duplex().unwrap();
        for number in 0..1_000_u32 {
            let (mut one, other) = private_duplex(256).unwrap();
            drop(other);
            assert!(one.send_async(&number).await.is_err());
            let null = Descriptor::from(std::fs::File::open("/dev/null").unwrap());
            let (left, right) = duplex_with_capacity(256).unwrap();
            here.send_async(&(number, null, right)).await.unwrap();
            let (told, _null, mut right): (u32, Descriptor, Connection) = there.recv_async().await.unwrap();
            drop(left);
            assert_eq!(told, number);
            assert!(matches!(right.recv_bytes_async().await, Err(RecvError::Disconnected)));
        }
    });
}

#[test]
fn a_future_that_waits_for_room_is_called_when_there_is_as_much_as_it_needs() {
    let (mut here, mut there) = duplex_with_capacity(256).unwrap();
    while here.try_send_bytes(&[1; 8]).is_ok() {}
    let (waker, called) = told();
    let mut sending = pin!(here.send_bytes_async(&[2; 8]));
    assert!(poll(sending.as_mut(), &waker).is_pending());
    assert_eq!(there.recv_bytes().unwrap(), [1; 8]);
    finish(sending, &waker, &called).unwrap();
}

#[test]
fn a_future_that_waits_for_room_among_the_descriptors_is_called_when_one_message_is_received() {
    let null = || Descriptor::from(std::fs::File::open("/dev/null").unwrap());
    for _ in 0..20 {
        let (mut here, mut there) = duplex().unwrap();
        while here.try_send(&null()).is_ok() {}
        let (waker, called) = told();
        let value = null();
        let mut sending = pin!(here.send_async(&value));
        assert!(poll(sending.as_mut(), &waker).is_pending());
        there.recv::<Descriptor>().unwrap();
        finish(sending, &waker, &called).unwrap();
    }
}

#[test]
fn a_future_that_waits_for_room_makes_room_for_the_other_side() {
    let (mut here, mut there) = duplex_with_capacity(256).unwrap();
    while here.try_send_bytes(&[]).is_ok() {}
    let (waker, called) = told();
    let mut sending = Box::pin(here.send_bytes_async(&[3; 3]));
    assert!(poll(sending.as_mut(), &waker).is_pending());
    // More than its ring holds.
    let other = std::thread::spawn(move || {
        (0..100_u8).for_each(|number| there.send_bytes(&[number; 20]).unwrap());
        while there.recv_bytes().unwrap().is_empty() {}
    });
    finish(sending.as_mut(), &waker, &called).unwrap();
    drop(sending);
    for number in 0..100 {
        assert_eq!(on_smol(here.recv_bytes_async()).unwrap(), [number; 20]);
    }
    assert!(matches!(on_smol(here.recv_bytes_async()), Err(RecvError::Disconnected)));
    other.join().unwrap();
}

#[test]
fn a_future_that_received_nothing_and_was_dropped_has_taken_nothing() {
    let (mut here, mut there) = duplex_with_capacity(256).unwrap();
    let (waker, _called) = told();
    for turn in 0..100_u8 {
        assert!(poll(pin!(there.recv_bytes_async()), &waker).is_pending());
        assert!(poll(pin!(there.recv_async::<u8>()), &waker).is_pending());
        here.send_bytes(&[turn; 20]).unwrap();
        drop(there.recv_bytes_async());
        assert!(poll(pin!(there.recv_bytes_into_async(&mut [0; 4])), &waker).is_ready());
        assert_eq!(on_smol(there.recv_bytes_async()).unwrap(), [turn; 20]);
    }
    // A long one, of which parts have come.
    let long = content::bytes(0, 1_000);
    let mut sending = pin!(here.send_bytes_async(&long));
    assert!(poll(sending.as_mut(), &waker).is_pending());
    while poll(sending.as_mut(), &waker).is_pending() {
        // Not the last part: that would be ready.
        if let Poll::Ready(message) = poll(pin!(there.recv_bytes_async()), &waker) {
            panic!("{message:?} before it was sent");
        }
    }
    assert_eq!(on_smol(there.recv_bytes_async()).unwrap(), long);
}

#[test]
fn a_message_whose_future_was_dropped_half_way_is_dropped_and_the_next_one_comes() {
    let null = || Descriptor::from(std::fs::File::open("/dev/null").unwrap());
    for turn in 0..50_u32 {
        let (mut here, mut there) = duplex_with_capacity(256).unwrap();
        let (waker, _called) = told();
        here.send(&turn).unwrap();
        {
            let value = (vec![7_u8; 1_000], null());
            let mut sending = pin!(here.send_async(&value));
            assert!(poll(sending.as_mut(), &waker).is_pending());
            assert_eq!(there.recv::<u32>().unwrap(), turn);
            if turn % 2 == 0 {
                assert!(poll(pin!(there.recv_bytes_async()), &waker).is_pending());
                assert!(poll(sending.as_mut(), &waker).is_pending());
            }
        }
        let next = (turn, null(), null());
        let both = futures_util::future::join(here.send_async(&next), there.recv_async());
        let (sent, received): (_, Result<(u32, Descriptor, Descriptor), _>) = on_smol(both);
        sent.unwrap();
        assert_eq!(received.unwrap().0, turn);
    }
}

#[test]
fn futures_are_called_when_the_other_end_is_dropped() {
    let (mut here, there) = duplex_with_capacity(256).unwrap();
    let (waker, called) = told();
    let mut receiving = Box::pin(here.recv_bytes_async());
    assert!(poll(receiving.as_mut(), &waker).is_pending());
    drop(there);
    assert!(matches!(finish(receiving.as_mut(), &waker, &called), Err(RecvError::Disconnected)));
    let (mut here, there) = duplex_with_capacity(256).unwrap();
    let mut sending = Box::pin(here.send_bytes_async(&[1; 1_000]));
    assert!(poll(sending.as_mut(), &waker).is_pending());
    drop(there);
    assert!(matches!(finish(sending.as_mut(), &waker, &called), Err(SendError::Disconnected)));
}

#[cfg(not(feature = "portable"))]
#[test]
fn futures_are_told_that_the_other_side_was_killed() {
    fn hold((_connection, here): (Connection, Event)) {
        stay(&here);
    }
    let (mut connection, there) = duplex_with_capacity(256).unwrap();
    let (here, segment) = (Event::new().unwrap(), connection.segment().clone());
    let child = start(hold, (there, here.clone()));
    here.wait().unwrap();
    let (waker, called) = told();
    let mut sending = pin!(connection.send_bytes_async(&[1; 1_000]));
    assert!(poll(sending.as_mut(), &waker).is_pending());
    kill(child);
    // Who waits looks after the dead now and then; so does somebody else here.
    let outcome = loop {
        segment.reap_dead();
        if called.try_recv().is_ok()
            && let Poll::Ready(outcome) = poll(sending.as_mut(), &waker)
        {
            break outcome;
        }
        std::thread::yield_now();
    };
    assert!(matches!(outcome, Err(SendError::Disconnected)));
}

/// Sends each message until it is sent, however often its future is dropped, and then receives all of the other side.
async fn fickle(mut connection: Connection, patience: u8, lengths: Vec<usize>, expected: Vec<usize>) {
    for (number, length) in lengths.into_iter().enumerate() {
        let message = content::bytes(number as u64, length);
        // A long one comes through only if somebody receives: nobody does while both send and give up.
        while patiently(connection.send_bytes_async(&message), patience).await.is_none() {
            tokio::task::yield_now().await;
        }
    }
    for (number, length) in expected.into_iter().enumerate() {
        let message = loop {
            match patiently(connection.recv_bytes_async(), patience).await {
                Some(message) => break message.unwrap(),
                None => tokio::task::yield_now().await,
            }
        };
        assert!(message == content::bytes(number as u64, length));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_message_is_lost_doubled_or_torn_when_futures_are_dropped_at_any_await(
        patience in (0..4_u8, 0..4_u8),
        one in prop::collection::vec(0..100_usize, 0..60),
        other in prop::collection::vec(0..100_usize, 0..60),
    ) {
        let ends = duplex_with_capacity(256).unwrap();
        on_tokio(async move {
            let task = tokio::spawn(fickle(ends.0, patience.0, one.clone(), other.clone()));
            fickle(ends.1, patience.1, other, one).await;
            task.await.unwrap();
        });
    }
}
