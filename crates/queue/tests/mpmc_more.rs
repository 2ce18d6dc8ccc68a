//! The queue for any number of senders and receivers beyond one message at a time: batches, tasks, settings, statistics, and what comes after years.
#![cfg(not(loom))]

#[path = "../../sync/tests/asleep/mod.rs"]
mod asleep;

use asleep::asleep_in;
use shmkit_process::spawn;
use shmkit_queue::mpmc::{self, Mpmc, Receiver, Sender, Settings, Statistics};
use shmkit_queue::{
    Error, JoinError, RecvTimeoutError, SendError, SendSliceError, SendTimeoutError, TryRecvError, TrySendError,
};
use shmkit_segment::{Options, Segment};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

const MOMENT: Duration = Duration::from_millis(2);

fn queue(settings: Settings) -> (Sender<u64>, Receiver<u64>) {
    mpmc::private(settings).unwrap()
}

#[test]
fn a_slice_is_sent_as_far_as_there_is_room_and_received_as_far_as_it_goes() {
    let (sender, receiver) = queue(Settings::new(8));
    assert_eq!(sender.try_send_slice(&[]), Ok(0));
    assert_eq!(sender.try_send_slice(&[0, 1, 2, 3, 4]), Ok(5));
    assert_eq!(sender.try_send_slice(&[5, 6, 7, 8, 9]), Ok(3));
    assert_eq!(sender.try_send_slice(&[8]), Err(TrySendError::Full(())));
    let mut values = [99; 3];
    assert_eq!(receiver.try_recv_slice(&mut []), Ok(0));
    assert_eq!(receiver.try_recv_slice(&mut values), Ok(3));
    assert_eq!(values, [0, 1, 2]);
    // Across the end of the ring.
    assert_eq!(sender.try_send_slice(&[8, 9, 10]), Ok(3));
    let mut values = [99; 10];
    assert_eq!(receiver.try_recv_slice(&mut values), Ok(8));
    assert_eq!(values, [3, 4, 5, 6, 7, 8, 9, 10, 99, 99]);
    assert_eq!(receiver.try_recv_slice(&mut values), Err(TryRecvError::Empty));
}

#[test]
fn slices_longer_than_a_run_and_single_messages_keep_their_order() {
    let (sender, receiver) = queue(Settings::new(128));
    let values: Vec<u64> = (0..100).collect();
    for lap in 0..20 {
        sender.try_send(1000 + lap).unwrap();
        assert_eq!(sender.try_send_slice(&values), Ok(100));
        sender.try_send(2000 + lap).unwrap();
        assert_eq!(receiver.try_recv(), Ok(1000 + lap));
        let mut received = [0; 100];
        assert_eq!(receiver.try_recv_slice(&mut received[..37]), Ok(37));
        for place in &mut received[37..60] {
            *place = receiver.try_recv().unwrap();
        }
        assert_eq!(receiver.try_recv_slice(&mut received[60..]), Ok(40));
        assert_eq!(received[..], values[..]);
        assert_eq!(receiver.try_recv(), Ok(2000 + lap));
    }
}

#[test]
fn batches_and_single_messages_of_several_processes_arrive_once_and_in_order() {
    fn send((sender, me): (Sender<[u32; 2]>, u32)) {
        let mut next = 0;
        for length in (1..=41).cycle() {
            let batch: Vec<_> = (next..EACH.min(next + length)).map(|item| [me, item]).collect();
            match batch[..] {
                [] => break,
                [message] => sender.send(message).unwrap(),
                _ => sender.send_slice(&batch).unwrap(),
            }
            next += batch.len() as u32;
        }
    }
    fn receive(receiver: Receiver<[u32; 2]>) -> Vec<[u32; 2]> {
        let (mut received, mut batch) = (Vec::new(), [[0; 2]; 23]);
        while let Ok(count) = receiver.recv_slice(&mut batch) {
            received.extend_from_slice(&batch[..count]);
            received.extend(receiver.try_recv());
        }
        received
    }
    const EACH: u32 = 20_000;
    for (senders, receivers, capacity) in [(3, 3, 64), (2, 1, 16), (1, 2, 2), (2, 2, 1), (2, 2, 1024)] {
        let (sender, receiver) = mpmc::channel(capacity).unwrap();
        let receiving: Vec<_> = (0..receivers).map(|_| spawn(receive, receiver.clone()).unwrap()).collect();
        drop(receiver);
        let sending: Vec<_> = (0..senders).map(|me| spawn(send, (sender.clone(), me)).unwrap()).collect();
        drop(sender);
        sending.into_iter().for_each(|child| child.join().unwrap());
        let received: Vec<_> = receiving.into_iter().map(|child| child.join().unwrap()).collect();
        for messages in &received {
            for me in 0..senders {
                assert!(messages.iter().filter(|message| message[0] == me).is_sorted(), "{me} in {capacity}");
            }
        }
        let mut all = received.concat();
        all.sort_unstable();
        assert!(all.into_iter().eq((0..senders).flat_map(|me| (0..EACH).map(move |item| [me, item]))));
    }
}

#[test]
fn a_slice_that_waits_too_long_says_how_far_it_came() {
    let (sender, receiver) = queue(Settings::new(4));
    let late = SendSliceError { sent: 4, error: SendTimeoutError::Timeout(()) };
    assert_eq!(sender.send_slice_timeout(&[0; 6], MOMENT), Err(late));
    assert_eq!(late.to_string(), "the slice was sent in part: its first 4 messages");
    assert_eq!(receiver.try_recv_slice(&mut [0; 4]), Ok(4));
    assert_eq!(receiver.recv_slice_timeout(&mut [0], MOMENT), Err(RecvTimeoutError::Timeout));
    sender.try_send(1).unwrap();
    drop(receiver);
    let gone = SendSliceError { sent: 0, error: SendError::Disconnected(()) };
    assert_eq!(sender.send_slice(&[2, 3]), Err(gone));
    assert_eq!(sender.send_slice(&[]), Ok(()));
}

#[test]
fn a_slice_waits_for_room_as_often_as_it_must() {
    let (sender, receiver) = queue(Settings::new(4));
    let values: Vec<u64> = (0..1000).collect();
    thread::scope(|scope| {
        scope.spawn(|| {
            let sender = sender;
            sender.send_slice(&values).unwrap();
        });
        assert!(receiver.iter().eq(0..1000));
    });
}

#[test]
fn join_waits_for_what_is_in_the_queue_and_for_tasks_in_hand() {
    let (sender, receiver) = queue(Settings::new(4));
    assert_eq!(sender.join(), Ok(()));
    sender.send(7).unwrap();
    assert_eq!(sender.join_timeout(MOMENT), Err(JoinError::Timeout));
    let task = receiver.try_recv_task().unwrap();
    assert_eq!(*task, 7);
    assert!(sender.statistics().has_task_in_hand);
    assert_eq!(sender.join_timeout(MOMENT), Err(JoinError::Timeout));
    assert_eq!(task.done(), 7);
    assert_eq!(sender.join_timeout(MOMENT), Ok(()));
    sender.send(8).unwrap();
    receiver.recv().unwrap();
    assert_eq!(sender.join(), Ok(()));
    assert!(matches!(receiver.recv_task_timeout(MOMENT), Err(RecvTimeoutError::Timeout)));
    sender.send(9).unwrap();
    drop(receiver);
    assert_eq!(sender.join(), Err(JoinError::Disconnected));
}

#[test]
fn who_joins_asleep_is_woken_by_the_end_of_the_last_task() {
    let (sender, receiver) = queue(Settings::new(4));
    (0..3).for_each(|item| sender.send(item).unwrap());
    let first = receiver.recv_task().unwrap();
    let joining = asleep_in(move || sender.join());
    let second = receiver.recv_task().unwrap();
    assert_eq!(receiver.recv(), Ok(2));
    drop(second);
    assert!(!joining.is_finished());
    drop(first);
    assert_eq!(joining.join().unwrap(), Ok(()));
}

#[test]
fn who_joins_asleep_is_woken_by_the_last_message() {
    let (sender, receiver) = queue(Settings::new(4));
    (0..3).for_each(|item| sender.send(item).unwrap());
    let joining = asleep_in(move || sender.join());
    assert_eq!(receiver.try_recv_slice(&mut [0; 3]), Ok(3));
    assert_eq!(joining.join().unwrap(), Ok(()));
}

/// Workers that make new tasks of their tasks; whoever joins must not be told too early.
#[test]
fn join_waits_for_tasks_that_come_of_tasks() {
    fn work((receiver, sender, done): (Receiver<u64>, Sender<u64>, Sender<u64>)) {
        while let Ok(task) = receiver.recv_task() {
            if *task == u64::MAX {
                break;
            }
            for rest in 0..*task {
                sender.send(rest).unwrap();
            }
            done.send(1).unwrap();
        }
    }
    let (sender, receiver) = mpmc::channel::<u64>(1024).unwrap();
    let (done, finished) = mpmc::channel::<u64>(1024).unwrap();
    let workers: Vec<_> =
        (0..2).map(|_| spawn(work, (receiver.clone(), sender.clone(), done.clone())).unwrap()).collect();
    for round in 1..=20 {
        // 2⁷ tasks come of it in the end.
        sender.send(7).unwrap();
        sender.join().unwrap();
        assert_eq!(finished.try_iter().count(), 128, "in round {round}");
    }
    sender.send_slice(&[u64::MAX; 2]).unwrap();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
}

#[test]
#[cfg_attr(feature = "portable", ignore = "it kills, and this backend is not kill-safe")]
fn a_killed_process_does_not_hold_up_who_joins() {
    fn stay((here, receiver, never): (Sender<u64>, Receiver<u64>, Receiver<u64>)) {
        let task = receiver.recv_task().unwrap();
        here.send(*task).unwrap();
        let _ = never.recv();
    }
    let (here, arrived) = mpmc::channel(1).unwrap();
    let (_silent, never) = mpmc::channel(1).unwrap();
    let (sender, receiver) = mpmc::channel(4).unwrap();
    let child = spawn(stay, (here, receiver.clone(), never)).unwrap();
    sender.send(5).unwrap();
    assert_eq!(arrived.recv(), Ok(5));
    assert_eq!(sender.join_timeout(MOMENT), Err(JoinError::Timeout));
    let segment = sender.segment().clone();
    let joining = asleep_in(move || sender.join());
    child.kill().unwrap();
    assert!(child.join().is_err());
    // One that sleeps may be first to find out.
    while segment.reap_dead() == 0 && !joining.is_finished() {
        thread::yield_now();
    }
    assert_eq!(joining.join().unwrap(), Ok(()));
}

#[test]
fn a_queue_that_is_kept_open_waits_for_successors() {
    let (sender, receiver) = queue(Settings::new(2).keep_open());
    let segment = Arc::clone(sender.segment());
    drop(sender);
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(receiver.recv_timeout(MOMENT), Err(RecvTimeoutError::Timeout));
    let sender = Sender::of(&segment);
    sender.send(1).unwrap();
    assert_eq!(receiver.recv(), Ok(1));
    drop(receiver);
    assert_eq!(sender.try_send_slice(&[2, 3, 4]), Ok(2));
    assert_eq!(sender.try_send(4), Err(TrySendError::Full(4)));
    assert_eq!(sender.join_timeout(MOMENT), Err(JoinError::Timeout));
    let receiver = Receiver::of(&segment);
    assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [2, 3]);
    assert_eq!(sender.join(), Ok(()));
}

#[test]
fn statistics_tell_what_has_passed_and_what_is_under_way() {
    let (sender, receiver) = queue(Settings::new(8));
    let empty = Statistics::of(sender.segment());
    assert_eq!((empty.capacity, empty.sent, empty.received, empty.waiting, empty.depth), (8, 0, 0, 0, 0));
    for _ in 0..5 {
        sender.try_send_slice(&[0; 7]).unwrap();
        receiver.try_recv_slice(&mut [0; 7]).unwrap();
    }
    sender.try_send_slice(&[0; 6]).unwrap();
    receiver.try_recv().unwrap();
    let now = receiver.statistics();
    assert_eq!((now.sent, now.received, now.waiting, now.depth), (41, 36, 5, 5));
    assert_eq!((now.unacknowledged, now.redelivered, now.lost, now.tombs, now.has_task_in_hand), (0, 0, 0, 0, false));
    assert_eq!((sender.len(), receiver.len(), sender.is_empty(), sender.is_full()), (5, 5, false, false));
}

#[test]
#[cfg_attr(feature = "portable", ignore = "its segments have no names")]
fn messages_that_have_passed_are_known_from_outside_by_name() {
    let name = format!("shmkit-statistics-{}", std::process::id());
    let named = Options::new().name(name.as_str());
    let segment: Arc<Segment<Mpmc<u64>>> = named.create(Settings::new(16).into()).unwrap();
    let (sender, receiver) = (Sender::of(&segment), Receiver::of(&segment));
    sender.send_slice(&[1; 10]).unwrap();
    receiver.try_recv_slice(&mut [0; 4]).unwrap();
    let seen = Statistics::of(&Options::new().name(name.as_str()).open::<Mpmc<u64>>().unwrap());
    shmkit_segment::remove(&name).unwrap();
    assert_eq!((seen.sent, seen.received, seen.waiting), (10, 4, 6));
}

#[test]
fn turns_begin_again_after_their_end_and_positions_go_on() {
    for capacity in [1, 2, 8, 64] {
        let (sender, receiver) = queue(Settings::new(capacity));
        let turns = (capacity as u64) << 40;
        sender.segment().object().wind_forward(turns - 3 * capacity as u64 - 1);
        let (mut sent, mut received) = (0, 0);
        for length in (1..=50).cycle().take(200) {
            let batch: Vec<u64> = (sent..sent + length).collect();
            let count = sender.try_send_slice(&batch).unwrap();
            assert_eq!(count, batch.len().min(capacity));
            sent += count as u64;
            assert_eq!(sender.try_send(0).is_ok(), count < capacity);
            assert!(receiver.try_iter().take(count).eq(received..sent));
            assert_eq!(receiver.try_recv().is_ok(), count < capacity);
            received = sent;
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        }
        assert!(sender.statistics().sent > turns);
    }
}

/// A handle that was made, or last used, so long ago that the range of turns has been half gone round since.
#[test]
fn who_comes_after_half_the_range_of_turns_finds_its_way() {
    for capacity in [1, 4] {
        let (sender, receiver) = queue(Settings::new(capacity));
        for laps in [1 << 39, (1 << 39) + 1, (1 << 40) - 2, (1 << 40) + 1, 3 << 39] {
            let position = sender.statistics().sent + laps * capacity as u64 + 1;
            sender.segment().object().wind_forward(position);
            sender.try_send(position).unwrap();
            assert_eq!(receiver.try_recv(), Ok(position));
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
            sender.try_send_slice(&vec![1; capacity]).unwrap();
            assert_eq!(sender.try_send(1), Err(TrySendError::Full(1)));
            assert_eq!(receiver.try_iter().count(), capacity);
        }
    }
}

#[test]
fn settings_that_are_not_known_are_refused() {
    let refused = Options::new().private::<Mpmc<u64>>([4, 1 << 20, 0, 0, 0, 0, 0, 0]);
    assert!(matches!(refused, Err(Error::Geometry(_))));
}

#[test]
fn all_who_wait_share_what_a_batch_brings_and_the_room_that_a_batch_makes() {
    for _ in 0..50 {
        let (sender, receiver) = queue(Settings::new(4));
        let receiving = [(); 3].map(|()| receiver.clone()).map(|receiver| asleep_in(move || receiver.recv().unwrap()));
        assert_eq!(sender.try_send_slice(&[0, 1, 2]), Ok(3));
        let mut received = receiving.map(|thread| thread.join().unwrap());
        received.sort_unstable();
        assert_eq!(received, [0, 1, 2]);

        assert_eq!(sender.try_send_slice(&[9; 4]), Ok(4));
        let sending = [(); 3].map(|()| sender.clone()).map(|sender| asleep_in(move || sender.send(1).unwrap()));
        assert_eq!(receiver.try_recv_slice(&mut [0; 3]), Ok(3));
        sending.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(receiver.try_iter().sum::<u64>(), 12);
    }
}
