//! Ends of the queue from one sender to one receiver that are claimed: where programs meet by a name or in an embedder's memory, and after the last
//! holder has left or was killed.
#![cfg(not(loom))]

#[path = "../../sync/tests/asleep/mod.rs"]
mod asleep;
#[path = "../../segment/tests/harness/mod.rs"]
mod harness;

use asleep::asleep_in;
use harness::{Name, alone, kill, unique};
use shmkit_process::{Builder, JoinHandle};
use shmkit_queue::spsc::{self, Receiver, Sender, Settings, Spsc};
use shmkit_queue::{Error, RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError, mpmc};
use shmkit_segment::{Liveness, Options, Segment, recv, send};
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::FileExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::ptr::NonNull;
use std::sync::Arc;
use std::thread::{self, yield_now};
use std::time::Duration;

const MOMENT: Duration = Duration::from_millis(2);

/// What a child is held by: it stays for as long as nothing comes and the other end is there.
type Gate = Receiver<u64>;

fn segment(settings: impl Into<Settings>) -> Arc<Segment<Spsc<u64>>> {
    Options::new().anonymous(settings.into().into()).unwrap()
}

/// Starts a child that ends with this process: a sender that waits for a successor of the receiver would wait for ever after a failure.
fn spawn<A>(child: fn(A), arguments: A) -> JoinHandle<()>
where
    A: serde::Serialize + serde::de::DeserializeOwned + 'static,
{
    Builder::new().die_with_parent(true).spawn(child, arguments).unwrap()
}

/// The process that has the end, as who wants it is told.
fn holder<R>(claim: Result<R, Error>) -> u32 {
    match claim {
        Err(Error::RoleTaken { pid, .. }) => pid,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("nobody has it"),
    }
}

#[test]
fn ends_of_a_new_segment_are_claimed_once_each_and_again_after_they_were_left() {
    let segment = segment(2);
    for _ in 0..3 {
        let mut sender = Sender::claim(&segment).unwrap();
        let mut receiver = Receiver::claim(&segment).unwrap();
        assert_eq!(holder(Sender::claim(&segment)), std::process::id());
        assert_eq!(holder(Receiver::claim(&segment.join().unwrap())), std::process::id());
        sender.send(1).unwrap();
        assert_eq!(receiver.recv(), Ok(1));
    }
}

#[test]
fn the_ends_of_a_channel_are_taken_until_they_are_left() {
    let (mut sender, mut receiver) = spsc::channel::<u64>(4).unwrap();
    let segment = sender.segment().clone();
    assert_eq!(holder(Sender::claim(&segment)), std::process::id());
    assert_eq!(holder(Receiver::claim(&segment)), std::process::id());
    sender.send(1).unwrap();
    drop(sender);
    let mut sender = Sender::claim(&segment).unwrap();
    sender.send(2).unwrap();
    assert_eq!(receiver.recv(), Ok(1));
    drop(receiver);
    assert!(sender.send(3) == Err(SendError::Disconnected(3)));
    let mut receiver = Receiver::claim(&segment).unwrap();
    sender.send(4).unwrap();
    drop(sender);
    assert_eq!(receiver.iter().collect::<Vec<_>>(), [2, 4]);
}

#[test]
fn an_end_that_disconnected_goes_on_with_a_successor() {
    let (mut sender, mut receiver) = spsc::private::<u64>(4).unwrap();
    let segment = sender.segment().clone();
    sender.send_slice(&[1, 2, 3]).unwrap();
    assert_eq!(receiver.recv(), Ok(1));
    drop(receiver);
    assert!(sender.try_send(9) == Err(TrySendError::Disconnected(9)));
    let mut receiver = Receiver::claim(&segment).unwrap();
    sender.try_send(4).unwrap();
    drop(sender);
    assert_eq!(receiver.iter().collect::<Vec<_>>(), [2, 3, 4]);
    assert_eq!(receiver.recv(), Err(RecvError::Disconnected));
    let mut sender = Sender::claim(&segment).unwrap();
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    sender.send(5).unwrap();
    assert_eq!(receiver.recv(), Ok(5));
}

/// Each takes the end when it can, sends a batch, and leaves it to the next.
#[test]
fn threads_take_turns_at_both_ends_and_nothing_is_lost() {
    const THREADS: u64 = 3;
    const BATCHES: u64 = 200;
    let segment: Arc<Segment<Spsc<u64>>> = Options::new().private(Settings::new(8).keep_open().into()).unwrap();
    let turn = |batch: &mut dyn FnMut() -> Result<(), Error>| {
        for _ in 0..BATCHES {
            while let Err(error) = batch() {
                assert!(matches!(error, Error::RoleTaken { .. }), "{error}");
                yield_now();
            }
        }
    };
    let mut all = thread::scope(|scope| {
        for thread in 0..THREADS {
            let (segment, mut next) = (&segment, thread * BATCHES * 3);
            scope.spawn(move || {
                turn(&mut || {
                    Sender::claim(segment)?.send_slice(&[next, next + 1, next + 2]).unwrap();
                    next += 3;
                    Ok(())
                });
            });
        }
        let receiving = (0..THREADS).map(|_| {
            scope.spawn(|| {
                let mut got = Vec::new();
                turn(&mut || {
                    let mut receiver = Receiver::claim(&segment)?;
                    (0..3).for_each(|_| got.push(receiver.recv().unwrap()));
                    Ok(())
                });
                got
            })
        });
        let receiving = Vec::from_iter(receiving);
        receiving.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    all.sort_unstable();
    assert!(all.into_iter().eq(0..THREADS * BATCHES * 3));
}

#[test]
fn a_queue_that_is_kept_open_takes_messages_for_a_successor_until_it_is_full() {
    let (mut sender, receiver) = spsc::private::<u64>(Settings::new(4).keep_open()).unwrap();
    let segment = sender.segment().clone();
    drop(receiver);
    sender.send(1).unwrap();
    assert_eq!(sender.try_send_slice(&[2, 3]), Ok(2));
    sender.reserve(1).unwrap().commit(0);
    sender.try_send(4).unwrap();
    assert!(sender.try_send(5) == Err(TrySendError::Full(5)));
    assert!(sender.send_timeout(5, MOMENT) == Err(SendTimeoutError::Timeout(5)));
    let sending = asleep_in(move || {
        sender.send(5).unwrap();
        sender
    });
    let mut receiver = Receiver::claim(&segment).unwrap();
    assert_eq!(receiver.recv(), Ok(1));
    let sender = sending.join().unwrap();
    assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [2, 3, 4, 5]);
    assert_eq!(receiver.segment().configuration()[..2], [4, 1]);
    drop(sender);
}

#[test]
fn a_receiver_of_a_queue_that_is_kept_open_waits_for_the_next_sender() {
    let (mut sender, mut receiver) = spsc::private::<u64>(Settings::new(4).keep_open()).unwrap();
    let segment = sender.segment().clone();
    sender.send(1).unwrap();
    drop(sender);
    assert_eq!(receiver.recv(), Ok(1));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(receiver.recv_timeout(MOMENT), Err(RecvTimeoutError::Timeout));
    assert_eq!(receiver.lease_timeout(3, MOMENT).err(), Some(RecvTimeoutError::Timeout));
    let receiving = asleep_in(move || receiver.recv());
    Sender::claim(&segment).unwrap().send(2).unwrap();
    assert_eq!(receiving.join().unwrap(), Ok(2));
}

#[test]
fn settings_that_cannot_be_and_flags_that_nobody_knows_are_refused() {
    for capacity in [0, 3, usize::MAX] {
        let made = spsc::private::<u64>(Settings::new(capacity).keep_open());
        assert!(matches!(made, Err(Error::Geometry(_))), "{capacity}");
    }
    for flags in [2, 3, 1 << 63] {
        let made = Options::new().private::<Spsc<u64>>([4, flags, 0, 0, 0, 0, 0, 0]);
        assert!(matches!(made, Err(Error::Geometry(_))), "{flags}");
    }
    assert_eq!(<[u64; 8]>::from(Settings::from(8)), [8, 0, 0, 0, 0, 0, 0, 0]);
}

/// Sends numbers from `next` on, and notes each after it was sent.
fn send_numbers((mut sender, ledger, mut next): (Sender<u64>, mpmc::Sender<u64>, u64)) {
    loop {
        sender.send(next).unwrap();
        ledger.send(next).unwrap();
        next += 1;
    }
}

#[test]
#[cfg_attr(feature = "portable", ignore = "it kills, and this backend is not kill-safe")]
fn a_successor_of_a_killed_sender_goes_on_without_loss() {
    alone(|()| {
        let (sender, mut receiver) = spsc::channel::<u64>(Settings::new(16).keep_open()).unwrap();
        let segment = receiver.segment().clone();
        let (mut sender, mut expected) = (Some(sender), 0);
        for round in 1..=20 {
            let (ledger, sent) = mpmc::channel(1 << 16).unwrap();
            let end = sender.take().unwrap();
            let child = spawn(send_numbers, (end, ledger, expected));
            assert_eq!(receiver.recv(), Ok(expected));
            expected += 1;
            assert_eq!(holder(Sender::claim(&segment)), child.pid());
            // Killed wherever it is then.
            for _ in 0..round * 50 {
                assert_eq!(receiver.recv(), Ok(expected));
                expected += 1;
            }
            kill(child);
            let mut successor = Sender::claim(&segment).unwrap();
            for item in receiver.try_iter() {
                assert_eq!(item, expected);
                expected += 1;
            }
            let acknowledged = sent.try_iter().last().map_or(0, |last| last + 1);
            assert!((acknowledged..=acknowledged + 1).contains(&expected), "{acknowledged} {expected}");
            successor.send(expected).unwrap();
            assert_eq!(receiver.recv(), Ok(expected));
            expected += 1;
            sender = Some(successor);
        }
    });
}

/// Leases messages, notes each, and then acknowledges them.
fn lease_numbers((mut receiver, ledger): (Receiver<u64>, mpmc::Sender<u64>)) {
    loop {
        let lease = receiver.lease(5).unwrap();
        lease.iter().for_each(|item| ledger.send(item).unwrap());
        let count = lease.len();
        lease.ack(count);
    }
}

#[test]
#[cfg_attr(feature = "portable", ignore = "it kills, and this backend is not kill-safe")]
fn what_a_killed_receiver_had_leased_comes_again_to_its_successor() {
    alone(|()| {
        let (mut sender, receiver) = spsc::channel::<u64>(Settings::new(16).keep_open()).unwrap();
        let segment = sender.segment().clone();
        let mut receiver = Some(receiver);
        let sending = thread::spawn(move || {
            (0..20_000).for_each(|item| sender.send(item).unwrap());
            sender
        });
        let mut expected = 0;
        for round in 1..=20 {
            let (ledger, noted) = mpmc::channel(4).unwrap();
            let end = receiver.take().unwrap();
            let child = spawn(lease_numbers, (end, ledger));
            let mut last = None;
            for _ in 0..round * 30 {
                let item = noted.recv().unwrap();
                // At least once, and in order: what was noted and not acknowledged comes again.
                assert!(item <= expected, "{item} {expected}");
                expected = expected.max(item + 1);
                last = Some(item);
            }
            kill(child);
            for item in noted.try_iter() {
                assert_eq!(Some(item), last.map(|last| last + 1));
                expected = expected.max(item + 1);
                last = Some(item);
            }
            let mut successor = Receiver::claim(&segment).unwrap();
            let first = successor.lease(1).unwrap().get(0);
            assert!(first <= expected && first + 5 >= expected, "{first} {expected}");
            receiver = Some(successor);
        }
        let mut receiver = receiver.unwrap();
        assert!(receiver.lease(1).unwrap().get(0) <= expected);
        let sender = thread::spawn(move || drop(sending.join().unwrap()));
        let mut last = None;
        while last != Some(19_999) {
            let item = receiver.recv().unwrap();
            assert!(last.is_none_or(|last| item == last + 1));
            last = Some(item);
        }
        sender.join().unwrap();
    });
}

#[test]
#[cfg_attr(feature = "portable", ignore = "it kills, and this backend is not kill-safe")]
fn whoever_waits_for_a_killed_process_goes_on_with_its_successor() {
    fn stay((_receiver, mut done, mut gate): (Receiver<u64>, Sender<u64>, Gate)) {
        done.send(0).unwrap();
        let _ = gate.recv();
    }
    alone(|()| {
        let (mut sender, receiver) = spsc::channel::<u64>(Settings::new(1).keep_open()).unwrap();
        let segment = sender.segment().clone();
        let (done, mut is_done) = spsc::channel(1).unwrap();
        let (_never, gate) = spsc::channel(1).unwrap();
        let child = spawn(stay, (receiver, done, gate));
        is_done.recv().unwrap();
        sender.send(1).unwrap();
        let sending = asleep_in(move || sender.send(2));
        kill(child);
        let mut receiver = Receiver::claim(&segment).unwrap();
        assert_eq!((receiver.recv(), receiver.recv()), (Ok(1), Ok(2)));
        assert!(sending.join().unwrap() == Ok(()));
    });
}

#[test]
fn two_processes_meet_by_a_name() {
    /// Sends two numbers, and stays until let go.
    fn send_by_name((name, mut gate): (String, Gate)) {
        let segment = Options::new().name(name).open_or_create::<Spsc<u64>>(Settings::new(4).into()).unwrap();
        let mut sender = Sender::claim(&segment).unwrap();
        sender.send(1).unwrap();
        let _ = gate.recv();
        sender.send(2).unwrap();
    }
    alone(|()| {
        let name = Name::new();
        let open = || Options::new().name(name.0.clone()).open_or_create::<Spsc<u64>>(Settings::new(4).into());
        let segment = open().unwrap();
        let mut receiver = Receiver::claim(&segment).unwrap();
        let (go, gate) = spsc::channel(1).unwrap();
        let child = spawn(send_by_name, (name.0.clone(), gate));
        assert_eq!(receiver.recv(), Ok(1));
        assert_eq!(holder(Sender::claim(&segment)), child.pid());
        assert_eq!(holder(Receiver::claim(&open().unwrap())), std::process::id());
        drop(go);
        assert_eq!(receiver.iter().collect::<Vec<_>>(), [2]);
        child.join().unwrap();
        Sender::claim(&segment).unwrap().send(3).unwrap();
        drop((receiver, segment));
        // Kept when nobody is there, messages and all.
        let segment = open().unwrap();
        assert_eq!(Receiver::claim(&segment).unwrap().try_recv(), Ok(3));
    });
}

#[test]
fn an_end_goes_to_another_process_over_a_unix_socket_and_stays_the_only_one() {
    fn connect((name, mut gate): (String, Gate)) {
        let address = SocketAddr::from_abstract_name(name).unwrap();
        let socket = UnixStream::connect_addr(&address).unwrap();
        let mut sender: Sender<u64> = recv(&socket).unwrap();
        sender.send_slice(&[2, 3]).unwrap();
        let _ = gate.recv();
    }
    alone(|()| {
        let name = unique();
        let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let (go, gate) = spsc::channel(1).unwrap();
        let child = spawn(connect, (name, gate));
        let (socket, _) = listener.accept().unwrap();
        let (mut sender, mut receiver) = spsc::channel::<u64>(4).unwrap();
        sender.send(1).unwrap();
        send(&socket, &sender).unwrap();
        assert!(sender.send(9) == Err(SendError::Moved(9)));
        // It has come up by then, and says who it is.
        assert_eq!((receiver.recv(), receiver.recv(), receiver.recv()), (Ok(1), Ok(2), Ok(3)));
        assert_eq!(holder(Sender::claim(receiver.segment())), child.pid());
        drop(go);
        assert_eq!(receiver.recv(), Err(RecvError::Disconnected));
        child.join().unwrap();
        drop(Sender::claim(receiver.segment()).unwrap());
    });
}

/// The first page of `file`, mapped for as long as the process lives.
fn mapped(file: &File) -> NonNull<[u8]> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping, at an address of the kernel's choice.
    let memory = unsafe { libc::mmap(std::ptr::null_mut(), ARENA, protection, libc::MAP_SHARED, file.as_raw_fd(), 0) };
    assert_ne!(memory, libc::MAP_FAILED);
    NonNull::slice_from_raw_parts(NonNull::new(memory.cast()).unwrap(), ARENA)
}

const ARENA: usize = 16 << 10;

/// The queue in the memory file at `place`, which is an embedder's, as far as the queue knows.
fn in_arena(place: &str) -> Arc<Segment<Spsc<u64>>> {
    let open = || File::options().read(true).write(true).open(place).unwrap();
    let liveness = Liveness::File { file: OwnedFd::from(open()), offset: 0 };
    // SAFETY: never unmapped, and nobody touches it in any other way.
    let raw = unsafe { Options::new().peers(8).raw(mapped(&open()), liveness) };
    raw.open_or_create(Settings::new(4).keep_open().into()).unwrap()
}

#[test]
fn two_processes_meet_in_an_embedders_memory() {
    fn receive((place, mut gate): (String, Gate)) {
        let mut receiver = Receiver::claim(&in_arena(&place)).unwrap();
        assert_eq!(receiver.recv(), Ok(1));
        let _ = gate.recv();
    }
    alone(|()| {
        // SAFETY: a name that ends with a zero.
        let memory = unsafe { libc::memfd_create(c"arena".as_ptr(), libc::MFD_CLOEXEC) };
        assert!(memory >= 0);
        // SAFETY: just opened, and nobody else's.
        let memory = unsafe { File::from_raw_fd(memory) };
        memory.set_len(ARENA as u64).unwrap();
        let place = format!("/proc/{}/fd/{}", std::process::id(), memory.as_raw_fd());
        let segment = in_arena(&place);
        let mut sender = Sender::claim(&segment).unwrap();
        let (go, gate) = spsc::channel(1).unwrap();
        let child = spawn(receive, (place, gate));
        // There is room for all of them once the first was received.
        sender.send_slice(&[1, 2, 3, 4, 5]).unwrap();
        assert_eq!(holder(Receiver::claim(&segment)), child.pid());
        drop(go);
        child.join().unwrap();
        let mut receiver = Receiver::claim(&segment).unwrap();
        assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [2, 3, 4, 5]);
        sender.send(6).unwrap();
        assert_eq!(receiver.recv(), Ok(6));
    });
}

/// Where the queue's parts lie in the file of a segment of one peer.
const TAIL: u64 = 256 + 128 + 128;
const HEAD: u64 = TAIL + 128;

fn write(segment: &Segment<Spsc<u64>>, offset: u64, word: u64) {
    let file = segment.as_file().unwrap().try_clone_to_owned().unwrap();
    File::from(file).write_all_at(&word.to_ne_bytes(), offset).unwrap();
}

#[test]
fn an_end_of_a_queue_whose_positions_make_no_sense_is_not_claimed() {
    let segment: Arc<Segment<Spsc<u64>>> = Options::new().peers(1).anonymous(Settings::new(4).into()).unwrap();
    for (tail, head) in [(5, 0), (0, 1), (u64::MAX, 0), (1 << 63, 0)] {
        write(&segment, TAIL, tail);
        write(&segment, HEAD, head);
        assert!(matches!(Sender::claim(&segment), Err(Error::Corrupt(_))), "{tail} {head}");
        assert!(matches!(Receiver::claim(&segment), Err(Error::Corrupt(_))), "{tail} {head}");
    }
    for (tail, head) in [(4, 0), (1, u64::MAX)] {
        write(&segment, TAIL, tail);
        write(&segment, HEAD, head);
        let ends = (Sender::claim(&segment).unwrap(), Receiver::claim(&segment).unwrap());
        drop(ends);
    }
}

#[test]
fn positions_that_go_back_or_too_far_are_corrupt() {
    let make = || {
        let segment: Arc<Segment<Spsc<u64>>> = Options::new().peers(1).anonymous(Settings::new(4).into()).unwrap();
        let ends = (Sender::claim(&segment).unwrap(), Receiver::claim(&segment).unwrap());
        (segment, ends.0, ends.1)
    };
    let (segment, mut sender, mut receiver) = make();
    sender.send_slice(&[1, 2, 3]).unwrap();
    assert_eq!((receiver.recv(), receiver.recv()), (Ok(1), Ok(2)));
    // One more message is known, and the queue is said to hold none; the sender knows of one place, and then of none.
    write(&segment, TAIL, 2);
    assert_eq!(receiver.try_recv_slice(&mut [0; 4]), Err(TryRecvError::Corrupt));
    write(&segment, HEAD, 4);
    assert_eq!(sender.try_send_slice(&[4; 4]), Err(TrySendError::Corrupt(())));
    write(&segment, HEAD, u64::MAX);
    assert_eq!(sender.try_reserve(4).err(), Some(TrySendError::Corrupt(())));

    let (segment, mut sender, mut receiver) = make();
    write(&segment, TAIL, 5);
    assert_eq!(receiver.recv(), Err(RecvError::Corrupt));
    write(&segment, TAIL, u64::MAX);
    assert_eq!(receiver.lease(1).err(), Some(RecvError::Corrupt));
    write(&segment, HEAD, 1);
    assert!(sender.send(1) == Err(SendError::Corrupt(1)));
}
