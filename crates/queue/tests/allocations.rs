//! No allocation once a queue is made, whatever is done with it and however many are attached: counted, thread by thread.
#![cfg(not(any(loom, feature = "portable")))]
#![allow(unsafe_code, reason = "an allocator is unsafe to be")]

use shmkit_queue::{TryRecvError, TrySendError, mpmc, spsc};
use shmkit_segment::{Object, Options, Segment};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: the system's allocator, with a count beside it that allocates nothing itself.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as the caller vouches.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller vouches.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// How many times this thread allocates in `work`.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

/// A segment with so many peers attached, all but the first of them idle.
fn crowd<O: Object>(peers: usize, capacity: u64) -> (Arc<Segment<O>>, Vec<Arc<Segment<O>>>) {
    let segment = Options::new().peers(peers).anonymous([capacity, 0, 0, 0, 0, 0, 0, 0]).unwrap();
    let others = (1..peers).map(|_| segment.join().unwrap()).collect();
    (segment, others)
}

const PEERS: [usize; 3] = [1, 8, 64];
/// Long enough to sleep once, and to look after the others.
const NAP: Duration = Duration::from_millis(15);

#[test]
fn it_is_noticed_when_somebody_allocates() {
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![7]))), 1);
}

#[test]
fn an_mpmc_queue_allocates_nothing_once_it_is_made() {
    for peers in PEERS {
        let (segment, others) = crowd(peers, 64);
        let (sender, receiver) = (mpmc::Sender::<u64>::of(&segment), mpmc::Receiver::of(&segment));
        let values = [7; 40];
        let mut place = [0; 40];
        // What a process does once, such as looking up how many cores it has.
        assert!(receiver.recv_timeout(NAP).is_err());
        let count = allocations(|| {
            for _ in 0..100 {
                sender.send(1).unwrap();
                receiver.recv().unwrap();
                sender.send_slice(&values).unwrap();
                assert_eq!(receiver.recv_slice(&mut place), Ok(40));
                sender.send(2).unwrap();
                receiver.recv_task().unwrap().done();
                sender.join().unwrap();
                drop((sender.clone(), receiver.clone()));
                assert_eq!(receiver.statistics().waiting, 0);
            }
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
            assert!(receiver.recv_timeout(NAP).is_err());
            while sender.try_send(3).is_ok() {}
            assert_eq!(sender.try_send(3), Err(TrySendError::Full(3)));
            assert!(sender.send_timeout(3, NAP).is_err());
            assert!(sender.join_timeout(NAP).is_err());
            assert_eq!(receiver.try_iter().count(), 64);
        });
        assert_eq!(count, 0, "with {peers} peers");
        drop(others);
    }
}

#[test]
fn an_spsc_queue_allocates_nothing_once_it_is_made() {
    for peers in PEERS {
        let (segment, others) = crowd(peers, 64);
        let (mut sender, mut receiver) =
            (spsc::Sender::<u64>::claim(&segment).unwrap(), spsc::Receiver::claim(&segment).unwrap());
        let values = [7; 40];
        let mut place = [0; 40];
        assert!(receiver.recv_timeout(NAP).is_err());
        let count = allocations(|| {
            for _ in 0..100 {
                sender.send(1).unwrap();
                receiver.recv().unwrap();
                sender.send_slice(&values).unwrap();
                assert_eq!(receiver.recv_slice(&mut place), Ok(40));
                let mut reservation = sender.reserve(2).unwrap();
                reservation.set(0, 5);
                reservation.commit(1);
                receiver.lease(2).unwrap().ack(1);
            }
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
            assert!(receiver.recv_timeout(NAP).is_err());
            while sender.try_send(3).is_ok() {}
            assert!(sender.send_timeout(3, NAP).is_err());
            assert_eq!(receiver.try_iter().count(), 64);
        });
        assert_eq!(count, 0, "with {peers} peers");
        drop(others);
    }
}
