//! Waiting for one of several queues, and for descriptors beside them.
#![cfg(not(loom))]

#[path = "../../sync/tests/asleep/mod.rs"]
mod asleep;

use asleep::asleep_in;
use shmkit_process::spawn;
use shmkit_queue::{TryRecvError, buffer, mpmc, spsc};
use shmkit_sync::Select;
use std::thread::yield_now;
use std::time::{Duration, Instant};

const MOMENT: Duration = Duration::from_millis(2);

#[test]
fn it_names_what_is_ready_of_any_kind_and_side() {
    let (mut to_spsc, mut from_spsc) = spsc::channel::<u8>(1).unwrap();
    let (to_mpmc, from_mpmc) = mpmc::channel::<u8>(1).unwrap();
    let (to_buffer, from_buffer) = buffer::channel((1, 1)).unwrap();
    let mut select = Select::new();
    let messages = [from_spsc.watch(), from_mpmc.watch(), from_buffer.watch()].map(|watch| select.add(watch));
    assert_eq!(messages, [0, 1, 2]);
    assert_eq!(select.try_wait(), None);
    to_mpmc.send(1).unwrap();
    assert_eq!((select.wait(), select.try_wait(), select.wait_timeout(MOMENT)), (1, Some(1), Some(1)));
    from_mpmc.recv().unwrap();
    to_spsc.send(1).unwrap();
    assert_eq!(select.wait(), 0);
    from_spsc.recv().unwrap();
    to_buffer.send(&[1]).unwrap();
    assert_eq!(select.wait(), 2);

    let mut select = Select::from_iter([to_spsc.watch(), to_mpmc.watch(), to_buffer.watch()]);
    to_spsc.send(1).unwrap();
    to_mpmc.send(1).unwrap();
    assert_eq!(select.try_wait(), None);
    from_buffer.recv().unwrap().ack();
    assert_eq!(select.wait(), 2);
    to_buffer.send(&[1]).unwrap();
    from_spsc.recv().unwrap();
    assert_eq!(select.wait(), 0);
    to_spsc.send(1).unwrap();
    from_mpmc.recv().unwrap();
    assert_eq!(select.wait(), 1);
}

#[test]
fn of_several_that_are_ready_each_gets_its_turn() {
    let queues = [(); 3].map(|()| mpmc::private::<u8>(1).unwrap());
    let mut select = Select::from_iter(queues.iter().map(|(_, receiver)| receiver.watch()));
    queues.iter().for_each(|(sender, _)| sender.send(1).unwrap());
    let turns = [(); 6].map(|()| select.wait());
    assert_eq!(turns, [0, 1, 2, 0, 1, 2]);
}

#[test]
fn it_waits_until_the_time_is_up_and_no_longer_than_for_ever() {
    let (_sender, receiver) = mpmc::private::<u8>(1).unwrap();
    for watches in [vec![], vec![receiver.watch()], vec![receiver.watch(), receiver.watch()]] {
        let mut select = Select::from_iter(watches);
        let start = Instant::now();
        assert_eq!((select.try_wait(), select.wait_timeout(MOMENT)), (None, None));
        assert!(start.elapsed() >= MOMENT);
        assert_eq!(select.wait_deadline(start), None);
    }
}

#[test]
fn the_end_of_a_queue_is_worth_trying() {
    let (sender, receiver) = mpmc::channel::<u8>(1).unwrap();
    let (_other, others) = mpmc::channel::<u8>(1).unwrap();
    let mut select = Select::from_iter([receiver.watch(), others.watch()]);
    let waiting = asleep_in(move || select.wait());
    drop(sender);
    assert_eq!(waiting.join().unwrap(), 0);
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));

    let (sender, receiver) = buffer::channel((1, 1)).unwrap();
    sender.send(&[1]).unwrap();
    let mut select = Select::from_iter([receiver.watch()]);
    let lease = receiver.recv().unwrap();
    drop(sender);
    // It may come again.
    assert_eq!(select.try_wait(), None);
    lease.ack();
    assert_eq!(select.wait(), 0);
}

#[test]
fn a_thread_that_selects_gets_every_message_of_several_processes() {
    const EACH: u64 = 3_000;
    fn send((mut spsc, mpmc, buffer): (spsc::Sender<u64>, mpmc::Sender<u64>, buffer::Sender)) {
        for item in 0..EACH {
            spsc.send(item).unwrap();
            mpmc.send(item).unwrap();
            buffer.send(&item.to_ne_bytes()).unwrap();
        }
    }
    let (to_spsc, mut from_spsc) = spsc::channel(2).unwrap();
    let (to_mpmc, from_mpmc) = mpmc::channel(2).unwrap();
    let (to_buffer, from_buffer) = buffer::channel((2, 8)).unwrap();
    let child = spawn(send, (to_spsc, to_mpmc, to_buffer)).unwrap();
    let mut select = Select::from_iter([from_spsc.watch(), from_mpmc.watch(), from_buffer.watch()]);
    let (mut got, mut is_over) = ([0; 3], [false; 3]);
    while is_over != [true; 3] {
        let number = select.wait();
        let item = match number {
            0 => from_spsc.try_recv(),
            1 => from_mpmc.try_recv(),
            _ => from_buffer.try_recv().map(|lease| {
                let item = u64::from_ne_bytes((*lease).try_into().unwrap());
                lease.ack();
                item
            }),
        };
        match item {
            Ok(item) => {
                assert_eq!(item, got[number]);
                got[number] += 1;
            }
            Err(TryRecvError::Disconnected) => is_over[number] = true,
            Err(error) => panic!("named without reason: {error}"),
        }
    }
    assert_eq!(got, [EACH; 3]);
    child.join().unwrap();
}

/// Threads that wait for both queues and others that wait for one: a wake-up that reaches the wrong one is passed on.
#[test]
fn nobody_is_stranded_when_those_who_wait_for_one_queue_and_for_several_mix() {
    const ITEMS: u64 = 4_000;
    let queues = [(); 2].map(|()| mpmc::channel::<u64>(2).unwrap());
    let [(to_first, first), (to_second, second)] = queues;
    std::thread::scope(|scope| {
        let mut counting = Vec::new();
        for receiver in [first.clone(), second.clone()] {
            counting.push(scope.spawn(move || receiver.iter().count() as u64));
        }
        for _ in 0..2 {
            let receivers = [first.clone(), second.clone()];
            counting.push(scope.spawn(move || {
                let mut select = Select::from_iter(receivers.iter().map(|receiver| receiver.watch()));
                let (mut count, mut over) = (0, [false; 2]);
                while over != [true; 2] {
                    let number = select.wait();
                    match receivers[number].try_recv() {
                        Ok(_) => count += 1,
                        Err(TryRecvError::Disconnected) => over[number] = true,
                        Err(_) => {}
                    }
                }
                count
            }));
        }
        drop((first, second));
        for item in 0..ITEMS {
            to_first.send(item).unwrap();
            to_second.send(item).unwrap();
        }
        drop((to_first, to_second));
        let count: u64 = counting.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert_eq!(count, 2 * ITEMS);
    });
}

#[test]
#[cfg_attr(feature = "portable", ignore = "it kills, and this backend is not kill-safe")]
fn what_a_dead_receiver_had_not_acknowledged_is_worth_trying() {
    fn hold((here, receiver, never): (mpmc::Sender<u8>, buffer::Receiver, mpmc::Receiver<u8>)) {
        let _lease = receiver.recv().unwrap();
        here.send(1).unwrap();
        let _ = never.recv();
    }
    let (sender, receiver) = buffer::channel((1, 1)).unwrap();
    let (here, is_there) = mpmc::channel(1).unwrap();
    let (_never, gate) = mpmc::channel(1).unwrap();
    sender.send(&[7]).unwrap();
    let child = spawn(hold, (here, receiver.clone(), gate)).unwrap();
    is_there.recv().unwrap();
    let mut select = Select::from_iter([receiver.watch()]);
    assert_eq!(select.try_wait(), None);
    let segment = receiver.segment().clone();
    child.kill().unwrap();
    assert!(child.join().is_err());
    while !segment.peers().iter().all(|peer| peer.pid() == std::process::id()) {
        segment.reap_dead();
        yield_now();
    }
    assert_eq!(select.wait(), 0);
    assert_eq!(*receiver.recv().unwrap(), [7]);
}

#[cfg(feature = "async")]
mod descriptors {
    use super::*;
    use std::io::{Read, Write, pipe};
    use std::os::fd::AsFd;

    #[test]
    fn a_queue_and_a_descriptor_are_waited_for_together() {
        let (sender, receiver) = mpmc::channel::<u8>(1).unwrap();
        let (mut reader, mut writer) = pipe().unwrap();
        let copy = reader.try_clone().unwrap();
        let mut select = Select::new();
        assert_eq!((select.add(receiver.watch()), select.add_readable(copy.as_fd())), (0, 1));
        assert_eq!(select.add_writable(writer.as_fd()), 2);
        assert_eq!((select.wait(), select.wait()), (2, 2));
        let mut select = Select::new();
        assert_eq!((select.add(receiver.watch()), select.add_readable(copy.as_fd())), (0, 1));
        assert_eq!((select.try_wait(), select.wait_timeout(MOMENT)), (None, None));
        for _ in 0..200 {
            sender.send(1).unwrap();
            assert_eq!(select.wait(), 0);
            receiver.recv().unwrap();
            writer.write_all(&[1]).unwrap();
            assert_eq!(select.wait(), 1);
            reader.read_exact(&mut [0]).unwrap();
        }
        sender.send(1).unwrap();
        writer.write_all(&[1]).unwrap();
        assert_eq!([select.wait(), select.wait(), select.wait()], [0, 1, 0]);
    }

    #[test]
    fn who_sleeps_in_poll_is_reached_by_a_process_that_sends() {
        fn echo((questions, answers): (mpmc::Receiver<u64>, mpmc::Sender<u64>)) {
            questions.iter().for_each(|question| answers.send(question).unwrap());
        }
        let ((ask, questions), (answers, receiver)) = (mpmc::channel(1).unwrap(), mpmc::channel(1).unwrap());
        let child = spawn(echo, (questions, answers)).unwrap();
        let (reader, _writer) = pipe().unwrap();
        let mut select = Select::new();
        assert_eq!((select.add_readable(reader.as_fd()), select.add(receiver.watch())), (0, 1));
        for question in 0..500 {
            ask.send(question).unwrap();
            assert_eq!(select.wait(), 1);
            assert_eq!(receiver.try_recv(), Ok(question));
        }
        drop(ask);
        child.join().unwrap();
        assert_eq!(select.wait(), 1);
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
    }

    #[test]
    fn a_descriptor_that_is_broken_is_worth_trying() {
        let (_sender, receiver) = mpmc::private::<u8>(1).unwrap();
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let mut select = Select::new();
        assert_eq!((select.add(receiver.watch()), select.add_writable(writer.as_fd())), (0, 1));
        assert_eq!(select.wait(), 1);
    }
}
