//! Futures, streams and sinks of queues: on two runtimes, between processes, and dropped in the middle.
#![cfg(not(loom))]

mod polling;

use futures_util::{SinkExt, StreamExt};
use polling::{finish, on_smol, on_tokio, patiently, poll, told};
use proptest::prelude::*;
use shmkit_process::spawn;
use shmkit_queue::buffer::{self, Settings};
use shmkit_queue::{JoinError, RecvError, SendError, TryRecvError, mpmc, spsc};
use std::pin::pin;
use std::sync::mpsc::TryRecvError as Quiet;
use std::task::Poll;
use std::thread::{self, yield_now};

#[test]
fn a_task_receives_what_a_process_sends_and_sends_what_a_process_receives() {
    fn square((mut numbers, mut squares): (spsc::Receiver<u64>, spsc::Sender<u64>)) {
        numbers.iter().for_each(|number| squares.send(number * number).unwrap());
    }
    async fn ask((mut numbers, mut squares): (spsc::Sender<u64>, spsc::Receiver<u64>)) -> u64 {
        let mut sum = 0;
        for number in 0..2_000 {
            numbers.send_async(number).await.unwrap();
            sum += squares.recv_async().await.unwrap();
        }
        drop(numbers);
        assert_eq!(squares.recv_async().await, Err(RecvError::Disconnected));
        sum
    }
    for run in [|ends| on_tokio(ask(ends)), |ends| on_smol(ask(ends))] {
        let ((numbers, take), (give, squares)) = (spsc::channel(4).unwrap(), spsc::channel(4).unwrap());
        let child = spawn(square, (take, give)).unwrap();
        assert_eq!(run((numbers, squares)), (0..2_000).map(|number| number * number).sum());
        child.join().unwrap();
    }
}

#[test]
fn tasks_and_processes_share_an_mpmc_queue() {
    const EACH: u64 = 2_000;
    fn send((sender, first): (mpmc::Sender<u64>, u64)) {
        (first..first + EACH).for_each(|item| sender.send(item).unwrap());
    }
    fn receive(receiver: mpmc::Receiver<u64>) -> Vec<u64> {
        receiver.iter().collect()
    }
    let (sender, receiver) = mpmc::channel(8).unwrap();
    let processes = (spawn(send, (sender.clone(), 0)).unwrap(), spawn(receive, receiver.clone()).unwrap());
    let mut got = on_tokio(async move {
        let senders: Vec<_> = (1..4)
            .map(|number| {
                let sender = sender.clone();
                tokio::spawn(async move {
                    for item in number * EACH..(number + 1) * EACH {
                        sender.send_async(item).await.unwrap();
                    }
                })
            })
            .collect();
        drop(sender);
        let receivers: Vec<_> = (0..3)
            .map(|_| {
                let receiver = receiver.clone();
                tokio::spawn(async move { receiver.stream().collect::<Vec<_>>().await })
            })
            .collect();
        let mut got = Vec::new();
        for task in senders {
            task.await.unwrap();
        }
        for task in receivers {
            got.extend(task.await.unwrap());
        }
        got
    });
    processes.0.join().unwrap();
    got.extend(processes.1.join().unwrap());
    got.sort_unstable();
    assert!(got.iter().copied().eq(0..4 * EACH), "{} of {}", got.len(), 4 * EACH);
}

#[test]
fn messages_of_a_buffer_queue_are_written_and_read_in_place_by_tasks() {
    async fn work() {
        let (sender, receiver) = buffer::channel(Settings::new(2, 8).and(1, 1 << 20)).unwrap();
        let sending = async move {
            for round in 0..200_u32 {
                sender.send_async(&round.to_ne_bytes()).await.unwrap();
                sender.send_value_async(&round).await.unwrap();
                let mut loan = sender.loan_async(1 << 20).await.unwrap();
                *loan.last_mut().unwrap() = round as u8;
                loan.send().unwrap();
            }
        };
        let receiving = async move {
            for round in 0..200_u32 {
                let lease = receiver.recv_async().await.unwrap();
                assert_eq!(*lease, round.to_ne_bytes());
                lease.ack();
                let lease = receiver.recv_async().await.unwrap();
                assert_eq!(lease.value(), Ok(round));
                lease.ack();
                let lease = receiver.recv_async().await.unwrap();
                assert_eq!((lease.len(), lease.last()), (1 << 20, Some(&(round as u8))));
                lease.ack();
            }
            assert_eq!(receiver.recv_async().await.err(), Some(RecvError::Disconnected));
        };
        futures_util::future::join(sending, receiving).await;
    }
    on_tokio(work());
    on_smol(work());
}

#[test]
fn sinks_send_in_order_what_streams_receive() {
    on_tokio(async {
        let (mut sender, mut receiver) = spsc::private::<u32>(2).unwrap();
        let sending = async move {
            let mut sink = sender.sink();
            for item in 0..500 {
                sink.feed(item).await.unwrap();
            }
            sink.close().await.unwrap();
        };
        let (_, got) = futures_util::future::join(sending, receiver.stream().collect::<Vec<_>>()).await;
        assert!(got.into_iter().eq(0..500));

        let (sender, receiver) = mpmc::private::<u32>(2).unwrap();
        let sending = async move { sender.sink().send_all(&mut futures_util::stream::iter((0..500).map(Ok))).await };
        let (sent, got) = futures_util::future::join(sending, receiver.stream().collect::<Vec<_>>()).await;
        assert_eq!(sent, Ok(()));
        assert!(got.into_iter().eq(0..500));

        let (sender, receiver) = buffer::private((2, 8)).unwrap();
        let sending = async move {
            let mut sink = sender.sink();
            for item in 0..500_u32 {
                sink.send(item.to_ne_bytes()).await.unwrap();
            }
        };
        let receiving = async {
            let mut expected = 0_u32;
            let mut stream = receiver.stream();
            while let Some(lease) = stream.next().await {
                assert_eq!(*lease, expected.to_ne_bytes());
                lease.ack();
                expected += 1;
            }
            expected
        };
        assert_eq!(futures_util::future::join(sending, receiving).await.1, 500);
    });
}

#[test]
fn batches_leases_and_reservations_have_futures_too() {
    on_tokio(async {
        let (mut sender, mut receiver) = spsc::private::<u64>(4).unwrap();
        let sending = async move {
            let mut next = 0;
            while next < 100 {
                let mut places = sender.reserve_async(3).await.unwrap();
                let count = places.len();
                (0..count).for_each(|index| places.set(index, next + index as u64));
                places.commit(count);
                next += count as u64;
            }
            next
        };
        let receiving = async move {
            let (mut got, mut values) = (Vec::new(), [0; 3]);
            while let Ok(lease) = receiver.lease_async(2).await {
                got.extend(lease.iter());
                let count = lease.len();
                lease.ack(count);
                match receiver.recv_slice_async(&mut values).await {
                    Ok(count) => got.extend(&values[..count]),
                    Err(_) => break,
                }
            }
            got
        };
        let (sent, got) = futures_util::future::join(sending, receiving).await;
        assert!(got.into_iter().eq(0..sent));

        let (sender, receiver) = mpmc::private::<u64>(4).unwrap();
        let mut values = [0; 8];
        sender.send_async(1).await.unwrap();
        sender.send_async(2).await.unwrap();
        assert_eq!(receiver.recv_slice_async(&mut values).await, Ok(2));
        assert_eq!(values[..2], [1, 2]);
    });
}

#[test]
fn who_joins_is_told_when_the_last_task_is_done() {
    let (sender, receiver) = mpmc::channel::<u64>(4).unwrap();
    sender.send(1).unwrap();
    let (waker, called) = told();
    let mut joining = [pin!(sender.join_async()), pin!(sender.join_async())];
    joining.iter_mut().for_each(|future| assert!(poll(future.as_mut(), &waker).is_pending()));
    let task = receiver.try_recv_task().unwrap();
    joining.iter_mut().for_each(|future| assert!(poll(future.as_mut(), &waker).is_pending()));
    task.done();
    for future in joining {
        assert_eq!(finish(future, &waker, &called), Ok(()));
    }
    sender.send(2).unwrap();
    let future = pin!(sender.join_async());
    drop(receiver);
    assert_eq!(finish(future, &waker, &called), Err(JoinError::Disconnected));
}

/// One message, two that wait: the one that is called goes away, and the other is called.
#[test]
fn a_future_that_is_dropped_after_it_was_called_passes_that_on() {
    for _ in 0..200 {
        let (sender, receiver) = mpmc::channel::<u64>(4).unwrap();
        let wakers = [told(), told()];
        let mut futures = [Some(Box::pin(receiver.recv_async())), Some(Box::pin(receiver.recv_async()))];
        for (future, (waker, _)) in futures.iter_mut().zip(&wakers) {
            assert!(poll(future.as_mut().unwrap().as_mut(), waker).is_pending());
        }
        sender.send(7).unwrap();
        // Whichever it is. (It may also be called to look again, because its first look was so early.)
        let first = (0..).find(|turn| {
            yield_now();
            wakers[turn % 2].1.try_recv() != Err(Quiet::Empty)
        });
        let first = first.unwrap() % 2;
        futures[first] = None;
        let (waker, called) = &wakers[1 - first];
        let mut other = futures[1 - first].take().unwrap();
        called.recv().unwrap();
        assert_eq!(finish(other.as_mut(), waker, called), Ok(7));
    }
}

/// The same with a thread that sleeps, instead of a second future.
#[test]
fn a_thread_gets_what_a_dropped_future_was_called_for() {
    for _ in 0..50 {
        let (sender, receiver) = mpmc::channel::<u64>(4).unwrap();
        let (waker, called) = told();
        let mut future = Box::pin(receiver.recv_async());
        assert!(poll(future.as_mut(), &waker).is_pending());
        let other = receiver.clone();
        let thread = thread::spawn(move || other.recv().unwrap());
        sender.send(1).unwrap();
        // Called for the message or only to look again, or not at all, if the thread was.
        let _ = called.try_recv();
        drop(future);
        assert_eq!(thread.join().unwrap(), 1);
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    }
}

#[test]
fn all_futures_are_called_when_the_last_sender_leaves() {
    let (sender, receiver) = mpmc::channel::<u64>(4).unwrap();
    let (waker, called) = told();
    let mut futures: Vec<_> = (0..20).map(|_| Box::pin(receiver.recv_async())).collect();
    futures.iter_mut().for_each(|future| assert!(poll(future.as_mut(), &waker).is_pending()));
    drop(sender);
    while !futures.is_empty() {
        called.recv().unwrap();
        futures.retain_mut(|future| match poll(future.as_mut(), &waker) {
            Poll::Ready(outcome) => {
                assert_eq!(outcome, Err(RecvError::Disconnected));
                false
            }
            Poll::Pending => true,
        });
    }
}

#[test]
#[cfg_attr(feature = "portable", ignore = "it kills, and this backend is not kill-safe")]
fn a_future_is_told_that_the_sender_was_killed() {
    fn hold((here, _sender, never): (mpmc::Sender<u64>, mpmc::Sender<u64>, mpmc::Receiver<u64>)) {
        here.send(1).unwrap();
        let _ = never.recv();
    }
    let (sender, receiver) = mpmc::channel::<u64>(4).unwrap();
    let (here, is_there) = mpmc::channel(1).unwrap();
    let (_never, gate) = mpmc::channel(1).unwrap();
    let child = spawn(hold, (here, sender, gate)).unwrap();
    is_there.recv().unwrap();
    let (waker, called) = told();
    let mut future = pin!(receiver.recv_async());
    assert!(poll(future.as_mut(), &waker).is_pending());
    child.kill().unwrap();
    assert!(child.join().is_err());
    // Who waits looks after the dead now and then; so does somebody else here.
    let outcome = loop {
        receiver.segment().reap_dead();
        if called.try_recv().is_ok()
            && let Poll::Ready(outcome) = poll(future.as_mut(), &waker)
        {
            break outcome;
        }
        yield_now();
    };
    assert_eq!(outcome, Err(RecvError::Disconnected));
}

#[test]
fn who_waits_for_a_small_buffer_is_called_behind_somebody_who_waits_for_a_large_one() {
    let (sender, receiver) = buffer::channel(Settings::new(1, 8).and(1, 64)).unwrap();
    sender.send(&[0; 8]).unwrap();
    sender.send(&[0; 64]).unwrap();
    let [small, large] = [(); 2].map(|()| receiver.recv().unwrap());
    let wakers = [told(), told()];
    let mut for_large = pin!(sender.loan_async(64));
    let mut for_small = pin!(sender.loan_async(8));
    assert!(poll(for_large.as_mut(), &wakers[0].0).is_pending());
    assert!(poll(for_small.as_mut(), &wakers[1].0).is_pending());
    small.ack();
    let loan = finish(for_small, &wakers[1].0, &wakers[1].1).unwrap();
    large.ack();
    assert_eq!(finish(for_large, &wakers[0].0, &wakers[0].1).unwrap().len(), 64);
    assert_eq!(loan.len(), 8);
}

#[test]
fn a_future_that_is_ready_says_why_nothing_will_come() {
    let (sender, receiver) = mpmc::private::<u64>(1).unwrap();
    drop(receiver);
    assert_eq!(on_smol(sender.send_async(3)), Err(SendError::Disconnected(3)));
    let (sender, receiver) = buffer::private((1, 4)).unwrap();
    let too_large = buffer::SendError::TooLarge { length: 5, limit: 4 };
    assert_eq!(on_smol(sender.send_async(&[0; 5])), Err(too_large));
    drop(receiver);
    assert_eq!(on_smol(sender.send_async(&[])), Err(buffer::SendError::Disconnected));
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

#[test]
fn one_thread_is_started_when_the_first_future_has_to_wait_and_none_before() {
    fn count(_: ()) -> [usize; 3] {
        on_smol(async {}); // has threads of its own
        let before = threads();
        let queues: Vec<_> = (0..20).map(|_| mpmc::private::<u64>(1).unwrap()).collect();
        for (sender, receiver) in &queues {
            on_smol(sender.send_async(1)).unwrap();
            on_smol(receiver.recv_async()).unwrap();
        }
        let none = threads() - before;
        let (waker, _called) = told();
        let mut waiting: Vec<_> = queues.iter().map(|(_, receiver)| Box::pin(receiver.recv_async())).collect();
        assert!(poll(waiting[0].as_mut(), &waker).is_pending());
        let one = threads() - before;
        waiting.iter_mut().for_each(|future| assert!(poll(future.as_mut(), &waker).is_pending()));
        [none, one, threads() - before]
    }
    // In a process of its own: other tests have futures too.
    assert_eq!(spawn(count, ()).unwrap().join().unwrap(), [0, 1, 1]);
}

/// Tasks that give up at any moment, with others that do not.
#[derive(Clone, Copy, Debug)]
struct Fickle {
    /// After how many polls each of its futures is dropped.
    patience: u8,
    items: u8,
}

fn fickle() -> impl Strategy<Value = Fickle> {
    (0..3_u8, 1..40_u8).prop_map(|(patience, items)| Fickle { patience, items })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_and_nobody_stranded_when_futures_are_dropped_at_any_await(
        senders in prop::collection::vec(fickle(), 1..4),
        receivers in prop::collection::vec(fickle(), 1..4),
    ) {
        let sent: u64 = senders.iter().map(|sender| u64::from(sender.items)).sum();
        let (sender, receiver) = mpmc::channel::<u64>(2).unwrap();
        let (buffers, leases) = buffer::channel((2, 8)).unwrap();
        let observer = leases.clone();
        let (received, leased) = on_tokio(async move {
            let sending: Vec<_> = senders.into_iter().map(|fickle| {
                let (sender, buffers) = (sender.clone(), buffers.clone());
                tokio::spawn(async move {
                    for item in 0..u64::from(fickle.items) {
                        while patiently(sender.send_async(item), fickle.patience).await.is_none() {
                            tokio::task::yield_now().await;
                        }
                        while patiently(buffers.send_async(&item.to_ne_bytes()), fickle.patience).await.is_none() {
                            tokio::task::yield_now().await;
                        }
                    }
                })
            }).collect();
            drop((sender, buffers));
            let receiving: Vec<_> = receivers.into_iter().map(|fickle| {
                let (receiver, leases) = (receiver.clone(), leases.clone());
                let values = tokio::spawn(async move {
                    let mut count = 0;
                    loop {
                        match patiently(receiver.recv_async(), fickle.patience).await {
                            Some(Ok(_)) => count += 1_u64,
                            Some(Err(_)) => return count,
                            None => tokio::task::yield_now().await,
                        }
                    }
                });
                let leases = tokio::spawn(async move {
                    let mut count = 0;
                    loop {
                        match patiently(leases.recv_async(), fickle.patience).await {
                            Some(Ok(lease)) => {
                                lease.ack();
                                count += 1_u64;
                            }
                            Some(Err(_)) => return count,
                            None => tokio::task::yield_now().await,
                        }
                    }
                });
                (values, leases)
            }).collect();
            drop((receiver, leases));
            for task in sending {
                task.await.unwrap();
            }
            let mut counts = (0, 0);
            for (values, leases) in receiving {
                counts.0 += values.await.unwrap();
                counts.1 += leases.await.unwrap();
            }
            counts
        });
        prop_assert_eq!((received, leased), (sent, sent));
        let statistics = observer.statistics();
        prop_assert_eq!((statistics.free, statistics.received), (statistics.buffers, sent));
    }
}
