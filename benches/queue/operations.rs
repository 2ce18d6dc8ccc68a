//! The operations of the queues, each by itself: one thread has both ends, and nobody else uses the queue. Written once, for two ways of
//! measuring: the time they take (`main.rs`) and the instructions they execute (`../instructions.rs`).
//!
//! What keeps the numbers honest: values go in through `black_box` and results come out through it, and so does the queue before each call, so that nothing of it
//! stays in registers from one call to the next. Every operation checks that it did what it is named after. Where a name says "and", both are in the number;
//! where it does not, the other half of the work was done before the measurement or is left for after it.

use crate::repeat::Repeat;
use shmkit::queue::buffer;
use shmkit::queue::mpmc::{self, Mpmc};
use shmkit::queue::spsc::{self, Spsc};
use shmkit::queue::{TryRecvError, TrySendError};
use shmkit::segment::{Options, Segment};
use shmkit::sync::Select;
use std::fmt::Display;
use std::hint::black_box;
use std::sync::Arc;

/// Of queues through which messages pass in pairs of operations, and of those that something looks at as a whole.
const CAPACITY: usize = 1024;
/// Of queues that are filled before they are emptied.
const LARGE: usize = 1 << 14;
/// Messages in a batch.
const BATCHES: [usize; 3] = [8, 32, 256];
/// Of which one is measured half by half: as many as `mpmc` claims at a time.
const BATCH: usize = 32;
/// Peers that are attached, the one that does the work included, and places for peers. It must not matter.
const PEERS: [usize; 3] = [1, 8, 64];

const ROOM: &str = "there is room";
const SENT: &str = "something was sent";

/// A way of measuring.
pub(crate) trait Measure: Repeat {
    /// `call` can be called `calls` times after `prepare`, whose cost is not to be counted.
    fn stretch<S, R>(
        &mut self,
        name: impl Display,
        calls: usize,
        state: impl Fn() -> S,
        prepare: impl FnMut(&mut S),
        call: impl FnMut(&mut S) -> R,
    );
}

/// Both ends of a queue, and what keeps other peers attached.
struct Ends<S, R, P> {
    sender: S,
    receiver: R,
    _others: Vec<P>,
}

/// What there is on all queues of values.
macro_rules! common {
    ($measure:expr, $queue:literal, $ends:path) => {
        for peers in PEERS {
            let name = format!("{} try_send and try_recv, peers {peers}", $queue);
            $measure.repeat(
                name,
                || $ends(CAPACITY, peers),
                |ends| {
                    ends.sender.try_send(black_box(7)).expect(ROOM);
                    ends.receiver.try_recv().expect(SENT)
                },
            );
        }
        $measure.repeat(
            concat!($queue, " send and recv"),
            || $ends(CAPACITY, 1),
            |ends| {
                ends.sender.send(black_box(7)).expect("the receiver lives");
                ends.receiver.recv().expect("the sender lives")
            },
        );
        for batch in BATCHES {
            $measure.repeat(
                format!("{} try_send_slice and try_recv_slice, {batch}", $queue),
                || ($ends(CAPACITY, 1), vec![7; batch], vec![0; batch]),
                |(ends, sent, received)| {
                    assert_eq!(ends.sender.try_send_slice(sent).expect(ROOM), batch);
                    assert_eq!(ends.receiver.try_recv_slice(received).expect(SENT), batch);
                    assert_eq!(received.last(), Some(&7));
                },
            );
        }
        $measure.stretch(
            concat!($queue, " try_send"),
            LARGE,
            || $ends(LARGE, 1),
            |ends| while ends.receiver.try_recv().is_ok() {},
            |ends| ends.sender.try_send(black_box(7)).expect(ROOM),
        );
        $measure.stretch(
            concat!($queue, " try_recv"),
            LARGE,
            || $ends(LARGE, 1),
            |ends| while ends.sender.try_send(7).is_ok() {},
            |ends| ends.receiver.try_recv().expect(SENT),
        );
        $measure.stretch(
            format!("{} try_send_slice, {BATCH}", $queue),
            LARGE / BATCH,
            || $ends(LARGE, 1),
            |ends| while ends.receiver.try_recv().is_ok() {},
            |ends| assert_eq!(ends.sender.try_send_slice(black_box(&[7; BATCH])).expect(ROOM), BATCH),
        );
        $measure.stretch(
            format!("{} try_recv_slice, {BATCH}", $queue),
            LARGE / BATCH,
            || ($ends(LARGE, 1), [0; BATCH]),
            |(ends, _)| while ends.sender.try_send(7).is_ok() {},
            |(ends, values)| assert_eq!(ends.receiver.try_recv_slice(values).expect(SENT), BATCH),
        );
        $measure.stretch(
            concat!($queue, " try_send, full"),
            LARGE,
            || $ends(CAPACITY, 1),
            |ends| while ends.sender.try_send(7).is_ok() {},
            |ends| assert!(matches!(ends.sender.try_send(black_box(7)), Err(TrySendError::Full(_)))),
        );
        $measure.repeat(
            concat!($queue, " try_recv, empty"),
            || $ends(CAPACITY, 1),
            |ends| assert!(matches!(ends.receiver.try_recv(), Err(TryRecvError::Empty))),
        );
    };
}

/// All of them, in the order in which they are best read.
pub(crate) fn all(measure: &mut impl Measure) {
    measure.repeat("nothing, the loop alone", || (), |()| ());
    common!(measure, "spsc", spsc_ends);
    reservations(measure);
    claims(measure);
    common!(measure, "mpmc", mpmc_ends);
    tasks(measure);
    looks(measure);
    handles(measure);
    buffers(measure);
    selecting(measure);
}

fn spsc_segment(capacity: usize, peers: usize) -> Arc<Segment<Spsc<u64>>> {
    let configuration = spsc::Settings::new(capacity).into();
    Options::new().peers(peers).anonymous(configuration).expect("there is memory")
}

type SpscEnds = Ends<spsc::Sender<u64>, spsc::Receiver<u64>, Arc<Segment<Spsc<u64>>>>;

/// The others are only attached: each end exists once.
fn spsc_ends(capacity: usize, peers: usize) -> SpscEnds {
    let segment = spsc_segment(capacity, peers);
    let sender = spsc::Sender::claim(&segment).expect("nobody has it");
    let receiver = spsc::Receiver::claim(&segment).expect("nobody has it");
    let others = (1..peers).map(|_| segment.join().expect("there is a place")).collect();
    assert_eq!(segment.peer_count(), peers);
    Ends { sender, receiver, _others: others }
}

type MpmcEnds = Ends<mpmc::Sender<u64>, mpmc::Receiver<u64>, (mpmc::Sender<u64>, mpmc::Receiver<u64>)>;

/// Each of the others has a sender and a receiver too.
fn mpmc_ends(capacity: usize, peers: usize) -> MpmcEnds {
    let configuration = mpmc::Settings::new(capacity).into();
    let segment: Arc<Segment<Mpmc<u64>>> =
        Options::new().peers(peers).anonymous(configuration).expect("there is memory");
    let others = (1..peers).map(|_| segment.join().expect("there is a place"));
    let others = others.map(|segment| (mpmc::Sender::of(&segment), mpmc::Receiver::of(&segment))).collect();
    let (sender, receiver) = (mpmc::Sender::of(&segment), mpmc::Receiver::of(&segment));
    assert_eq!(segment.peer_count(), peers);
    Ends { sender, receiver, _others: others }
}

/// Messages that are written and read where they lie.
fn reservations(measure: &mut impl Measure) {
    measure.repeat(
        "spsc reserve and commit, lease and ack, 1",
        || spsc_ends(CAPACITY, 1),
        |ends| {
            let mut places = ends.sender.try_reserve(1).expect(ROOM);
            places.set(0, black_box(7));
            places.commit(1);
            let lease = ends.receiver.try_lease(1).expect(SENT);
            let value = lease.get(0);
            lease.ack(1);
            value
        },
    );
    measure.stretch(
        format!("spsc reserve and commit, {BATCH}"),
        LARGE / BATCH,
        || spsc_ends(LARGE, 1),
        |ends| while ends.receiver.try_recv().is_ok() {},
        |ends| {
            let mut places = ends.sender.try_reserve(BATCH).expect(ROOM);
            let count = places.len();
            for index in 0..count {
                places.set(index, black_box(7));
            }
            places.commit(count);
            assert_eq!(count, BATCH);
        },
    );
    measure.stretch(
        format!("spsc lease and ack, {BATCH}"),
        LARGE / BATCH,
        || spsc_ends(LARGE, 1),
        |ends| while ends.sender.try_send(7).is_ok() {},
        |ends| {
            let lease = ends.receiver.try_lease(BATCH).expect(SENT);
            let (count, sum) = (lease.len(), lease.iter().sum::<u64>());
            lease.ack(count);
            assert_eq!(count, BATCH);
            sum
        },
    );
}

/// Taking over an end that was left, and leaving it again: who leaves looks at all places whether somebody else has the role, and wakes who may wait.
fn claims(measure: &mut impl Measure) {
    for peers in [1, 64] {
        let state = || {
            let segment = spsc_segment(CAPACITY, peers);
            let receiver = spsc::Receiver::claim(&segment).expect("nobody has it");
            let others: Vec<_> = (1..peers).map(|_| segment.join().expect("there is a place")).collect();
            (segment, receiver, others)
        };
        measure.repeat(format!("spsc claim and leave the sender, places {peers}"), state, |(segment, ..)| {
            drop(black_box(spsc::Sender::claim(segment).expect("it was left")));
        });
    }
}

/// Messages that count until they are dealt with.
fn tasks(measure: &mut impl Measure) {
    measure.repeat(
        "mpmc send, recv_task and done",
        || mpmc_ends(CAPACITY, 1),
        |ends| {
            ends.sender.send(black_box(7)).expect("the receiver lives");
            black_box(ends.receiver.recv_task().expect("the sender lives")).done()
        },
    );
    measure.repeat(
        format!("mpmc join, empty, capacity {CAPACITY}"),
        || mpmc_ends(CAPACITY, 1),
        |ends| ends.sender.join().expect("there is nothing to wait for"),
    );
}

/// What changes nothing.
fn looks(measure: &mut impl Measure) {
    let half_full = || {
        let ends = mpmc_ends(CAPACITY, 1);
        assert_eq!(ends.sender.try_send_slice(&[7; CAPACITY / 2]), Ok(CAPACITY / 2));
        ends
    };
    measure.repeat("mpmc len, half full", half_full, |ends| assert_eq!(ends.sender.len(), CAPACITY / 2));
    measure.repeat("mpmc is_empty, half full", half_full, |ends| assert!(!ends.receiver.is_empty()));
    measure.repeat("mpmc is_full, half full", half_full, |ends| assert!(!ends.sender.is_full()));
    measure.repeat(format!("mpmc statistics, half full, capacity {CAPACITY}"), half_full, |ends| {
        let statistics = ends.sender.statistics();
        assert_eq!(statistics.waiting, CAPACITY as u64 / 2);
        statistics
    });
}

/// One more and one less in this process.
fn handles(measure: &mut impl Measure) {
    let state = || mpmc_ends(CAPACITY, 1);
    measure.repeat("mpmc clone and drop a sender", state, |ends| drop(black_box(ends.sender.clone())));
    measure.repeat("mpmc clone and drop a receiver", state, |ends| drop(black_box(ends.receiver.clone())));
}

/// Messages in buffers, which are not touched but for one byte: the length does not matter.
fn buffers(measure: &mut impl Measure) {
    for (name, length) in [("64 B", 64), ("1 MiB", 1 << 20)] {
        measure.repeat(
            format!("buffer loan and send, recv and ack, {name}"),
            || buffer::channel((16, length)).expect("there is memory"),
            |(sender, receiver)| {
                let mut loan = sender.loan(length).expect("the receiver lives");
                loan[0] = black_box(7);
                loan.send().expect("the receiver lives");
                let lease = receiver.recv().expect("the sender lives");
                assert_eq!(black_box(&lease)[0], 7);
                lease.ack();
            },
        );
    }
    let queue = || buffer::channel((LARGE - 1, 8)).expect("there is memory");
    measure.stretch(
        "buffer loan and send, 8 B",
        LARGE - 1,
        queue,
        |_| (),
        |(sender, _)| {
            sender.loan(8).expect(ROOM).send().expect("the receiver lives");
        },
    );
    measure.stretch(
        "buffer recv and ack, 8 B",
        LARGE - 1,
        queue,
        |(sender, _)| while sender.try_send(&[7; 8]).is_ok() {},
        |(_, receiver)| receiver.try_recv().expect(SENT).ack(),
    );
    measure.stretch(
        format!("buffer try_loan, full, {} that wait", LARGE - 1),
        LARGE,
        queue,
        |(sender, _)| while sender.try_send(&[7; 8]).is_ok() {},
        |(sender, _)| assert!(matches!(sender.try_loan(8), Err(buffer::TrySendError::Full))),
    );
    measure.repeat(
        "buffer recv and nack, 8 B",
        || {
            let (sender, receiver) = buffer::channel((16, 8)).expect("there is memory");
            sender.send(&[7; 8]).expect("the receiver lives");
            (sender, receiver)
        },
        |(_, receiver)| receiver.try_recv().expect(SENT).nack(),
    );
    measure.repeat(
        "buffer send_value and value, a number and a string",
        || buffer::channel((16, 64)).expect("there is memory"),
        |(sender, receiver)| {
            sender.send_value(black_box(&(7_u64, "seven"))).expect("the receiver lives");
            let lease = receiver.try_recv().expect(SENT);
            let (number, _): (u64, &str) = lease.value().expect("what was sent");
            lease.ack();
            number
        },
    );
    measure.repeat(
        "buffer statistics, 1024 buffers",
        || buffer::channel((CAPACITY, 8)).expect("there is memory"),
        |(sender, _)| assert_eq!(sender.statistics().free, CAPACITY as u64),
    );
}

/// Of three queues the last one has something.
fn selecting(measure: &mut impl Measure) {
    measure.repeat(
        "select over 3 mpmc queues, one ready",
        || {
            let queues = [(); 3].map(|()| mpmc_ends(CAPACITY, 1));
            queues[2].sender.try_send(7).expect(ROOM);
            let select = Select::from_iter(queues.iter().map(|ends| ends.receiver.watch()));
            (queues, select)
        },
        |(_, select)| assert_eq!(select.wait(), 2),
    );
}
