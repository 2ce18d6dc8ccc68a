//! More of the queue of byte messages: buffers of several sizes, encoded values, what is asked about from outside, successors.
#![cfg(not(loom))]

#[path = "../../sync/tests/asleep/mod.rs"]
mod asleep;

use asleep::{asleep_in, sound_asleep_in};
use proptest::prelude::*;
use serde::{Deserialize, Serialize, Serializer};
use shmkit_process::spawn;
use shmkit_queue::buffer::{self, Buffers, Receiver, SendError, SendTimeoutError, Sender, Settings, TrySendError};
use shmkit_queue::{Error, RecvError, TryRecvError};
use shmkit_segment::Options;
use std::collections::VecDeque;
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

#[test]
fn one_queue_carries_64_bytes_and_64_mebibytes() {
    fn send(sender: Sender) {
        sender.send(&[7; 64]).unwrap();
        let mut loan = sender.loan(64 << 20).unwrap();
        let last = loan.len() - 1;
        (loan[0], loan[last]) = (8, 9);
        loan.send().unwrap();
        sender.send(&[10; 64]).unwrap();
    }
    let (sender, receiver) = buffer::channel(Settings::new(1, 64 << 20).and(4, 64)).unwrap();
    assert_eq!((sender.capacity(), sender.largest_message()), (5, 64 << 20));
    let child = spawn(send, sender).unwrap();
    assert_eq!(next(&receiver).unwrap(), [7; 64]);
    let large = receiver.recv().unwrap();
    // Held while others go on.
    assert_eq!(next(&receiver).unwrap(), [10; 64]);
    assert_eq!((large.len(), large[0], large[large.len() - 1]), (64 << 20, 8, 9));
    large.ack();
    child.join().unwrap();
    assert_eq!(next(&receiver), Err(RecvError::Disconnected));
}

#[test]
fn a_message_takes_the_smallest_buffer_that_is_free_and_large_enough() {
    // Given out of order.
    let (sender, _receiver) = buffer::private(Settings::new(1, 64).and(2, 8).and(1, 16)).unwrap();
    let small: Vec<_> = (0..2).map(|_| sender.try_loan(3).unwrap()).collect();
    let of_16 = sender.try_loan(8).unwrap();
    // Nothing of its size is left, but something larger.
    let of_64 = sender.try_loan(1).unwrap();
    assert_eq!(sender.try_loan(0).err(), Some(TrySendError::Full));
    assert_eq!(sender.try_loan(65).err(), Some(TrySendError::TooLarge { length: 65, limit: 64 }));
    drop(of_16);
    assert_eq!(sender.try_loan(17).err(), Some(TrySendError::Full));
    assert!(sender.try_loan(16).is_ok());
    drop(of_64);
    assert!(sender.try_loan(64).is_ok());
    drop(small);
    let again: Vec<_> = [8, 8, 16, 64].into_iter().map(|length| sender.try_loan(length).unwrap()).collect();
    assert!(sender.is_full());
    drop(again);
}

/// What is in a processor's cache is worth using again, but keeps nobody from anything.
#[test]
fn buffers_are_used_again_by_who_used_them_and_stay_anybodys() {
    let (sender, receiver) = buffer::private((100, 8 << 10)).unwrap();
    let place = |sender: &Sender| {
        let loan = sender.loan(1).unwrap();
        let place = loan.as_ptr().addr();
        loan.send().unwrap();
        receiver.recv().unwrap().ack();
        place
    };
    let used: std::collections::BTreeSet<_> = (0..1_000).map(|_| place(&sender)).collect();
    assert!(used.len() < 20, "{} of 100 buffers", used.len());
    // All of them can be had, by this sender or another.
    for sender in [&sender, &sender.clone()] {
        let all: Vec<_> = std::iter::from_fn(|| sender.try_loan(1).ok()).collect();
        assert_eq!(all.len(), 100);
    }
}

#[test]
fn a_large_message_waits_for_a_large_buffer_however_many_small_ones_are_free() {
    let (sender, receiver) = buffer::private(Settings::new(8, 8).and(1, 64)).unwrap();
    sender.send(&[1; 64]).unwrap();
    let lease = receiver.recv().unwrap();
    assert_eq!(sender.loan_timeout(9, MOMENT).err(), Some(SendTimeoutError::Timeout));
    let waiting = asleep_in(move || sender.send(&[2; 64]).unwrap());
    lease.ack();
    waiting.join().unwrap();
    assert_eq!(next(&receiver).unwrap(), [2; 64]);
}

/// Two sleep, and want different sizes: the first to be woken must not keep the other one asleep.
#[test]
fn who_waits_for_a_small_buffer_gets_it_behind_somebody_who_waits_for_a_large_one() {
    let (sender, receiver) = buffer::channel(Settings::new(1, 8).and(1, 64)).unwrap();
    sender.send(&[0; 8]).unwrap();
    sender.send(&[0; 64]).unwrap();
    let [small, large] = [(); 2].map(|()| receiver.recv().unwrap());
    // The kernel wakes who has slept longer.
    let waiting = [64, 8].map(|length| {
        let sender = sender.clone();
        sound_asleep_in(move || sender.loan(length).unwrap().send().unwrap())
    });
    small.ack();
    assert_eq!(next(&receiver).unwrap().len(), 8);
    large.ack();
    assert_eq!(next(&receiver).unwrap().len(), 64);
    waiting.into_iter().for_each(|thread| thread.join().unwrap());
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Order<'a> {
    item: &'a str,
    count: u32,
    notes: Vec<String>,
    #[serde(with = "serde_bytes_of")]
    blob: &'a [u8],
}

/// Bytes as bytes.
mod serde_bytes_of {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &&[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<&'de [u8], D::Error> {
        <&[u8]>::deserialize(deserializer)
    }
}

fn order() -> Order<'static> {
    Order { item: "eel", count: 3, notes: vec!["alive".into(), String::new()], blob: b"\0\x01" }
}

#[test]
fn a_value_is_encoded_in_place_and_read_in_place() {
    fn send(sender: Sender) {
        sender.send_value(&order()).unwrap();
        sender.try_send_value("a string").unwrap();
        sender.send_value_timeout(&[1.5_f64, -0.0][..], MOMENT).unwrap();
        sender.send_value_deadline(&(), Instant::now() + MOMENT).unwrap();
    }
    let (sender, receiver) = buffer::channel((4, 32)).unwrap();
    spawn(send, sender).unwrap().join().unwrap();
    let lease = receiver.recv().unwrap();
    let value: Order = lease.value().unwrap();
    assert_eq!(value, order());
    // Borrowed, not copied.
    assert!(lease.as_ptr_range().contains(&value.item.as_ptr()) && lease.as_ptr_range().contains(&value.blob.as_ptr()));
    lease.ack();
    assert_eq!(receiver.recv().unwrap().value::<&str>(), Ok("a string"));
    assert_eq!(receiver.recv().unwrap().value::<Vec<f64>>(), Ok(vec![1.5, -0.0]));
    assert_eq!(receiver.recv().unwrap().value::<()>(), Ok(()));
}

#[test]
fn a_value_that_is_too_large_says_how_large_and_costs_nothing() {
    let (sender, receiver) = buffer::private((1, 10)).unwrap();
    let value = "0123456789"; // and a byte for its length
    let too_large = SendError::TooLarge { length: 11, limit: 10 };
    assert_eq!(sender.send_value(value), Err(too_large));
    assert_eq!(sender.try_send_value(value), Err(too_large.into()));
    assert_eq!(sender.send_value_timeout(value, MOMENT), Err(too_large.into()));
    assert_eq!(receiver.try_recv().err(), Some(TryRecvError::Empty));
    sender.send_value(&value[1..]).unwrap();
    assert_eq!(receiver.recv().unwrap().value(), Ok("123456789"));
}

/// Fails, or not, when it is to be written.
struct Moody(std::cell::Cell<u32>, u32);

impl Serialize for Moody {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.set(self.0.get() + 1);
        match self.0.get() == self.1 {
            true => Err(serde::ser::Error::custom("not today")),
            false => serializer.serialize_str(&"longer and longer"[..self.0.get() as usize]),
        }
    }
}

#[test]
fn a_value_that_cannot_be_encoded_is_an_error_and_its_buffer_comes_back() {
    let (sender, receiver) = buffer::private((1, 32)).unwrap();
    // It fails when its length is asked for; when it is written; and it is longer when it is written.
    for fails_at in [1, 2, 3] {
        let moody = Moody(0.into(), fails_at);
        assert_eq!(sender.send_value(&moody), Err(SendError::NotEncodable));
        assert!(!sender.is_full() && receiver.is_empty());
    }
}

#[test]
fn a_message_that_is_another_value_says_so() {
    let (sender, receiver) = buffer::private((1, 32)).unwrap();
    sender.send_value(&(1_u8, 2_u8)).unwrap();
    let lease = receiver.recv().unwrap();
    let left_over = lease.value::<u8>().unwrap_err();
    assert!(left_over.to_string().ends_with("1 bytes are left over"), "{left_over}");
    assert!(lease.value::<[u8; 3]>().is_err());
    assert_eq!(lease.value(), Ok((1_u8, 2_u8)));
}

#[test]
fn statistics_tell_what_each_buffer_is_used_for_and_what_has_passed() {
    let (sender, receiver) = buffer::channel(Settings::new(4, 8).and(2, 16)).unwrap();
    for _ in 0..3 {
        sender.send(b"x").unwrap();
        next(&receiver).unwrap();
    }
    sender.send(b"back").unwrap();
    receiver.recv().unwrap().nack();
    sender.send(b"held").unwrap();
    next(&receiver).unwrap();
    let _held = receiver.recv().unwrap();
    sender.send(b"waits").unwrap();
    let _lent = [sender.loan(1).unwrap(), sender.loan(16).unwrap()];
    let statistics = sender.statistics();
    assert_eq!(statistics, receiver.statistics());
    let buffer::Statistics { buffers, free, lent, waiting, leased, sent, received, returned, .. } = statistics;
    assert_eq!((buffers, free, lent, waiting, leased), (6, 2, 2, 1, 1));
    assert_eq!((sent, received, returned), (6, 4, 1));
}

#[test]
fn a_queue_that_is_kept_open_waits_for_successors() {
    let settings = Settings::new(2, 8).keep_open();
    let segment = Options::new().anonymous::<Buffers>(settings.into()).unwrap();
    let receiver = Receiver::of(segment.role(1), segment.object(), 0);
    let send = |bytes: &[u8]| Sender::of(segment.role(0), segment.object(), 1).try_send(bytes);
    send(b"first").unwrap();
    send(b"second").unwrap();
    assert_eq!(next(&receiver).unwrap(), b"first");
    assert_eq!(next(&receiver).unwrap(), b"second");
    assert_eq!(receiver.try_recv().err(), Some(TryRecvError::Empty));
    drop(receiver);
    send(b"third").unwrap();
    send(b"fourth").unwrap();
    assert_eq!(send(b"fifth"), Err(TrySendError::Full));
    let receiver = Receiver::of(segment.role(1), segment.object(), 0);
    assert_eq!(next(&receiver).unwrap(), b"third");
}

#[test]
fn settings_that_this_version_does_not_know_are_refused() {
    for configuration in [
        [1 << 32 | 8, 0, 0, 0, 0, 0, 0, 2],
        [1 << 32 | 8, 1 << 32 | 8, 0, 0, 0, 0, 0, 0],
        [1 << 32 | 8, 0, 1 << 32 | 9, 0, 0, 0, 0, 0],
        [0; 8],
    ] {
        assert!(matches!(Options::new().private::<Buffers>(configuration), Err(Error::Geometry(_))));
    }
}

proptest! {
    /// Buffers of several sizes, taken and given back in any order, against lists of what is free.
    #[test]
    fn sizes_are_handed_out_as_lists_of_free_buffers_say(
        counts in prop::array::uniform3(1..4_usize),
        steps in prop::collection::vec((any::<bool>(), 0..40_usize), 0..200),
    ) {
        let sizes = [4, 16, 32];
        let settings = Settings::new(counts[2], 32).and(counts[0], 4).and(counts[1], 16);
        let (sender, receiver) = buffer::private(settings).unwrap();
        let (mut free, mut held) = (counts, Vec::new());
        let mut waiting = VecDeque::new();
        for (is_taken, length) in steps {
            if !is_taken && !held.is_empty() {
                let (loan, class): (buffer::Loan<'_>, usize) = held.swap_remove(length % held.len());
                if length % 2 == 0 {
                    waiting.push_back((loan.len(), class));
                    loan.send().unwrap();
                } else {
                    free[class] += 1;
                }
                continue;
            }
            if !is_taken {
                let expected = waiting.pop_front();
                prop_assert_eq!(receiver.try_recv().ok().map(|lease| {
                    let length = lease.len();
                    lease.ack();
                    length
                }), expected.map(|(length, _)| length));
                expected.into_iter().for_each(|(_, class)| free[class] += 1);
                continue;
            }
            let class = (0..3).find(|&class| sizes[class] >= length && free[class] > 0);
            match (sender.try_loan(length), class) {
                (Ok(loan), Some(class)) => {
                    prop_assert_eq!(loan.len(), length);
                    free[class] -= 1;
                    held.push((loan, class));
                }
                (Err(TrySendError::TooLarge { .. }), None) => prop_assert!(length > 32),
                (outcome, expected) => {
                    prop_assert_eq!((outcome.err(), expected, length <= 32), (Some(TrySendError::Full), None, true));
                }
            }
        }
    }
}
