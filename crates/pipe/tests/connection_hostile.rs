//! A peer that keeps to nothing: whatever it writes into the rings and sends over the socket beside them, the honest one gets some bytes or an error, comes back in time, and needs no more memory than it allows.
#![cfg(not(any(loom, feature = "portable")))]
#![allow(unsafe_code, reason = "an allocator is unsafe to be")]

#[path = "../../sync/tests/company/mod.rs"]
mod company;
mod counting;
#[path = "../../segment/tests/harness/mod.rs"]
mod harness;

use company::{LONG, MOMENT, start};
use counting::peak;
use fastrand::Rng;
use harness::alone;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use shmkit_pipe::{Connection, Descriptor, Duplex, Error, RecvError, SendError, Stranger, duplex};
use shmkit_segment::transfer::{Reach, receiving_from, sending_to};
use shmkit_segment::{Options, Role};
use std::fs::File;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

const CAPACITY: usize = 1 << 10;
/// Where the object is: behind the header and the places for 3 peers.
const OBJECT: u64 = 384 + 128 * 3;
/// The positions and event counts before the bytes of a ring.
const ENDS: u64 = 512;
/// The ring that the liar sends by.
const RING: u64 = OBJECT + ENDS + CAPACITY as u64;

const WHOLE: u8 = 1;
const BEGIN: u8 = 2;
const PART: u8 = 3;
const ABORT: u8 = 4;

fn header(kind: u8, descriptors: u8, length: u64) -> u64 {
    u64::from(kind) | u64::from(descriptors) << 8 | length << 16
}

/// One that has an end's memory and socket, as each peer has, and no manners.
struct Liar {
    file: File,
    lane: UnixStream,
    _role: Option<Role<Duplex<Stranger>>>,
}

/// An honest end of a connection, as it is received from another program, and the other one.
fn liar() -> (Connection<Stranger>, Liar) {
    let segment =
        Options::new().peers(3).anonymous::<Duplex<Stranger>>([CAPACITY as u64, 0, 0, 0, 0, 0, 0, 0]).unwrap();
    let (lane, theirs) = UnixStream::pair().unwrap();
    let file = segment.as_file().unwrap().try_clone_to_owned().unwrap().into();
    let honest = handed(&(&segment.role(0), Descriptor::from(theirs), false)).unwrap();
    (honest, Liar { file, lane, _role: Some(segment.role(1)) })
}

/// What a stranger gets that is sent these parts as an end of a connection.
fn handed(parts: &impl serde::Serialize) -> Result<Connection<Stranger>, (postcard::Error, Result<(), Error>)> {
    let (bytes, descriptors) = sending_to(Reach::Stranger, || postcard::to_stdvec(parts).unwrap());
    let (connection, why) = receiving_from(Reach::Stranger, descriptors.unwrap(), || postcard::from_bytes(&bytes));
    connection.map_err(|error| (error, why))
}

impl Liar {
    fn write(&self, offset: u64, bytes: &[u8]) {
        self.file.write_all_at(bytes, offset).unwrap();
    }

    fn word(&self, offset: u64) -> u64 {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, offset).unwrap();
        u64::from_ne_bytes(bytes)
    }

    fn set(&self, offset: u64, word: u64) {
        self.write(offset, &word.to_ne_bytes());
    }

    /// Puts words into its ring from its position on, and moves that behind them.
    fn publish(&self, words: &[u64]) {
        let tail = self.word(RING);
        for (number, word) in (0..).zip(words) {
            let place = tail.wrapping_add(8 * number) % CAPACITY as u64;
            self.set(RING + ENDS + place / 8 * 8, *word);
        }
        self.set(RING, tail.wrapping_add(8 * words.len() as u64));
    }

    /// Sends bytes over the socket, and descriptors with them.
    fn slip(&self, bytes: usize, count: usize) {
        let null = File::open("/dev/null").unwrap();
        let descriptors = vec![null.as_fd(); count];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if count > 0 {
            control.push(SendAncillaryMessage::ScmRights(&descriptors));
        }
        let bytes = [IoSlice::new(&[7; 16][..bytes])];
        // Whether there is room is the same to it.
        let _ = rustix::net::sendmsg(&self.lane, &bytes, &mut control, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
    }
}

/// What each form says, which all come back; then whether the same can still be said.
fn receive(honest: &mut Connection<Stranger>) -> Vec<RecvError> {
    let mut buffer = [0; 64];
    let mut errors = Vec::new();
    errors.extend(honest.try_recv_bytes().err());
    errors.extend(honest.recv_bytes_timeout(Duration::ZERO).err());
    errors.extend(honest.try_recv_bytes_into(&mut buffer).err());
    errors.extend(honest.recv_bytes_into_deadline(&mut buffer, Instant::now()).err());
    errors.extend(honest.try_recv::<(u8, String)>().err());
    errors.extend(honest.recv_timeout::<(Descriptor, u8)>(Duration::ZERO).err());
    let _ = honest.poll(Duration::ZERO);
    errors
}

#[test]
fn frames_that_nobody_can_have_sent_are_corrupt_for_ever() {
    let long = (1 << 48) - 1;
    let whole = header(WHOLE, 0, 16);
    let lies: &[&[u64]] = &[
        &[0],
        &[u64::MAX],
        &[header(5, 0, 0)],
        &[header(255, 255, long)],
        &[header(WHOLE, 0, 1)],
        &[header(WHOLE, 0, long)],
        &[header(WHOLE, 0, CAPACITY as u64)],
        &[header(WHOLE, 0, CAPACITY as u64 - 7)],
        &[whole, 0],
        &[header(PART, 0, 8), 0],
        &[header(PART, 0, 0)],
        &[header(PART, 0, long)],
        &[header(ABORT, 0, 0)],
        &[header(ABORT, 3, long)],
        &[header(BEGIN, 0, 100), header(BEGIN, 0, 100)],
        &[header(BEGIN, 0, 100), header(PART, 0, 0)],
        &[header(BEGIN, 0, 100), header(PART, 0, 8)],
        &[header(BEGIN, 0, 100), header(PART, 0, 64), 0, 0, 0, 0, 0, 0, 0, 0, header(PART, 0, 37), 0, 0, 0, 0, 0],
        &[header(BEGIN, 0, 100), whole, 0, 0],
        &[header(BEGIN, 0, 100), header(WHOLE, 0, 0)],
        &[header(BEGIN, 0, 100), header(ABORT, 0, 0), header(ABORT, 0, 0)],
        &[header(BEGIN, 0, 100), 0],
    ];
    for lie in lies {
        let (mut honest, liar) = liar();
        liar.publish(&[whole, 0, 0]);
        assert_eq!(honest.recv_bytes().unwrap(), [0; 16]);
        liar.publish(lie);
        for _ in 0..2 {
            assert!(honest.poll(LONG));
            let errors = receive(&mut honest);
            assert!(errors.len() == 6 && errors.iter().all(|error| matches!(error, RecvError::Corrupt)), "{lie:?}");
        }
        // The other way is another matter.
        honest.send_bytes(b"fine").unwrap();
    }
}

#[test]
fn a_message_that_is_announced_to_be_huge_is_too_long_and_costs_nothing() {
    fn announce(_: ()) {
        for length in [65_537, 1 << 32, 1 << 47, (1 << 48) - 1] {
            let (mut honest, liar) = liar();
            honest.set_limit(65_536);
            liar.publish(&[header(BEGIN, 0, length)]);
            let most = peak(|| {
                for error in receive(&mut honest) {
                    assert!(matches!(error, RecvError::TooLong { length: told, limit: 65_536 } if told == length));
                }
            });
            assert!(most < 10_000, "{most}");
            // Even if it is allowed: only what comes is paid for.
            honest.set_limit(usize::MAX);
            let most = peak(|| assert!(matches!(honest.try_recv_bytes(), Err(RecvError::WouldBlock))));
            assert!(most < 200_000, "{most}");
        }
    }
    alone(announce);
}

#[test]
fn positions_and_areas_that_cannot_be_are_corrupt() {
    let capacity = CAPACITY as u64;
    for tail in [1, 4, 7, capacity + 1, capacity + 8, 2 * capacity, 1 << 63, u64::MAX, u64::MAX - 7] {
        let (mut honest, liar) = liar();
        liar.set(RING, tail);
        assert!(receive(&mut honest).iter().all(|error| matches!(error, RecvError::Corrupt)), "{tail}");
    }
    for area in [1, 2, 14, 15, 16, 1 << 31, u32::MAX] {
        let (mut honest, liar) = liar();
        liar.publish(&[header(WHOLE, 0, 0)]);
        liar.write(RING + 8, &area.to_ne_bytes());
        assert!(receive(&mut honest).iter().all(|error| matches!(error, RecvError::Corrupt)), "{area}");
    }
    for head in [1, 8, capacity, 1 << 63, 0_u64.wrapping_sub(capacity + 1), 0_u64.wrapping_sub(2 * capacity)] {
        let (mut honest, liar) = liar();
        while honest.try_send_bytes(&[1; 24]).is_ok() {}
        let tail = liar.word(OBJECT);
        liar.set(OBJECT + 128, tail.wrapping_add(head));
        assert!(matches!(honest.try_send_bytes(&[1; 24]), Err(SendError::Corrupt)), "{head}");
        assert!(matches!(honest.send_bytes_timeout(&[1; 5_000], LONG), Err(SendError::Corrupt)), "{head}");
    }
}

#[test]
fn descriptors_that_are_not_as_many_as_the_message_says_are_an_error_and_the_next_message_comes() {
    for (bytes, sent, told) in [(0, 0, 1), (0, 0, 255), (1, 0, 1), (1, 1, 2), (1, 3, 2), (1, 253, 1), (16, 2, 1)] {
        let (mut honest, liar) = liar();
        if bytes > 0 {
            liar.slip(bytes, sent);
        }
        liar.publish(&[header(WHOLE, told, 0)]);
        assert!(matches!(honest.try_recv::<()>(), Err(RecvError::Descriptors(_))), "{sent} and {told}");
        liar.publish(&[header(WHOLE, told, 0)]);
        assert!(matches!(honest.try_recv_bytes(), Err(RecvError::Descriptors(_))), "{sent} and {told}");
        liar.publish(&[header(BEGIN, told, 8), header(PART, 0, 8), 0]);
        assert!(matches!(honest.try_recv_bytes_into(&mut [0; 8]), Err(RecvError::Descriptors(_))));
        liar.publish(&[header(WHOLE, 0, 0)]);
        assert_eq!(honest.recv_bytes().unwrap(), []);
    }
    let (mut honest, mut liar) = liar();
    liar.lane = UnixStream::pair().unwrap().0;
    liar.publish(&[header(WHOLE, 1, 0)]);
    assert!(matches!(honest.recv::<Descriptor>(), Err(RecvError::Descriptors(_))));
    // Nobody is there for them, whether that is told of them or of the other side.
    let sent = honest.send(&Descriptor::from(UnixStream::pair().unwrap().0));
    assert!(matches!(sent, Err(SendError::Descriptors(_) | SendError::Disconnected)));
    honest.send_bytes(b"none").unwrap();
}

#[test]
fn an_end_with_something_else_in_the_place_of_its_socket_still_works_for_bytes() {
    let segment = Options::new().anonymous::<Duplex<Stranger>>([256, 0, 0, 0, 0, 0, 0, 0]).unwrap();
    let mut honest = handed(&(&segment.role(0), Descriptor::from(tempfile::tempfile().unwrap()), false)).unwrap();
    let other = UnixStream::pair().unwrap().0;
    let mut there = handed(&(&segment.role(1), Descriptor::from(other.try_clone().unwrap()), true)).unwrap();
    assert!(matches!(honest.send(&Descriptor::from(other)), Err(SendError::Descriptors(_))));
    honest.send_bytes(b"fine").unwrap();
    assert_eq!(there.recv_bytes().unwrap(), b"fine");
    // One that says that it has begun a message, and has not, is corrupt to the other.
    there.send_bytes(b"fine").unwrap();
    assert!(matches!(honest.recv_bytes(), Err(RecvError::Corrupt)));
}

#[test]
fn what_is_handed_over_as_an_end_and_is_none_is_an_error() {
    let lane = || Descriptor::from(UnixStream::pair().unwrap().0);
    let segment = Options::new().anonymous::<Duplex<Stranger>>([256, 0, 0, 0, 0, 0, 0, 0]).unwrap();
    assert!(handed(&(&segment.role(2), lane(), false)).is_err());
    assert!(handed(&(&segment.role(3), lane(), false)).is_err());
    assert!(handed(&(lane(), lane(), false)).is_err());
    // Positions that make no sense from the beginning.
    let object = 384 + 128 * segment.peers().len().max(64) as u64;
    let file = File::from(segment.as_file().unwrap().try_clone_to_owned().unwrap());
    file.write_all_at(&1_000_000_u64.to_ne_bytes(), object).unwrap();
    assert!(handed(&(&segment.role(0), lane(), false)).is_err());
    assert!(handed(&(&segment.role(1), lane(), false)).is_err());
    // The family's are not for strangers.
    let (mut honest, _liar) = liar();
    let (family, _other) = duplex().unwrap();
    assert!(matches!(honest.send(&family), Err(SendError::Handle(Error::NotTransferable(_)))));
}

/// Does something that a peer could do: mostly what could nearly be, so that what comes next is believed for a while.
fn lie(liar: &Liar, numbers: &mut Rng) {
    let capacity = CAPACITY as u64;
    let length = match numbers.u64(..8) {
        0 => numbers.u64(..) >> 16,
        1 => 1 << numbers.u64(..48),
        2 => numbers.u64(..2 * capacity),
        _ => numbers.u64(..40),
    };
    let descriptors = if numbers.u64(..4) == 0 { numbers.u64(..4) as u8 } else { 0 };
    match numbers.u64(..32) {
        // A message as it should be, in one frame or in several.
        0..=11 => {
            let length = numbers.u64(..80);
            let mut words = vec![numbers.u64(..); length.div_ceil(8) as usize];
            words.insert(0, header(WHOLE, 0, length));
            liar.publish(&words);
        }
        12..=16 => {
            let parts = 1 + numbers.u64(..3);
            liar.publish(&[header(BEGIN, 0, parts * 16)]);
            (0..parts).for_each(|_| liar.publish(&[header(PART, 0, 16), numbers.u64(..), 1]));
        }
        17 => liar.publish(&[header(ABORT, 0, 0)]),
        18 | 19 => {
            liar.slip(1, usize::from(descriptors));
            liar.publish(&[header(WHOLE, descriptors, 0)]);
        }
        20 => liar.slip(numbers.u64(..16) as usize + 1, numbers.u64(..5) as usize),
        // Almost.
        21..=24 => liar.publish(&[header(1 + numbers.u64(..4) as u8, descriptors, length), numbers.u64(..)]),
        25 => liar.publish(&[numbers.u64(..)]),
        26 => liar.set(RING, liar.word(RING).wrapping_add(numbers.u64(..64)).wrapping_sub(32)),
        27 => liar.set(RING + 8 * numbers.u64(..ENDS / 8), numbers.u64(..)),
        28 => liar.set(OBJECT + 8 * numbers.u64(..ENDS / 8), numbers.u64(..) >> numbers.u64(..64)),
        29 => liar.set(OBJECT + 8 * numbers.u64(..(ENDS + capacity) / 4), numbers.u64(..)),
        // As before it all: what comes next is believed again, unless something has been noticed.
        _ => {
            let (ring, other) = (liar.word(RING + 128), liar.word(OBJECT));
            liar.set(RING, ring);
            liar.set(RING + 8, 0);
            liar.set(OBJECT + 8, 0);
            liar.set(OBJECT + 128, other);
        }
    }
}

/// Does something that an honest one does, and comes back from it: whether it is worth going on.
fn work(honest: &mut Connection<Stranger>, numbers: &mut Rng) -> bool {
    let mut buffer = [0; 100];
    let short = Duration::from_micros(numbers.u64(..60));
    let received = match numbers.u64(..12) {
        0 => honest.try_recv_bytes().map(drop),
        1 => honest.recv_bytes_timeout(short).map(drop),
        2 => honest.try_recv_bytes_into(&mut buffer).map(drop),
        3 => honest.recv_bytes_into_timeout(&mut buffer, short).map(drop),
        4 => honest.recv_timeout::<(u8, Vec<u32>)>(short).map(drop),
        5 => honest.try_recv::<Vec<Descriptor>>().map(drop),
        6 => honest.recv_deadline::<Connection<Stranger>>(Instant::now()).map(drop),
        number => {
            let bytes = vec![1; numbers.u64(..if number < 9 { 4_000 } else { 100 }) as usize];
            let sent = match number {
                7 => honest.send_bytes_timeout(&bytes, short),
                8 => honest.send_timeout(&(bytes, Descriptor::from(UnixStream::pair().unwrap().0)), short),
                9 => honest.try_send_bytes(&bytes),
                10 => honest.try_send(&bytes),
                _ => honest.send_bytes_deadline(&bytes, Instant::now() + short),
            };
            return match sent {
                Ok(()) | Err(SendError::WouldBlock | SendError::Timeout | SendError::Descriptors(_)) => true,
                Err(SendError::Corrupt | SendError::TooLong { .. }) => true,
                Err(error) => panic!("a strange error: {error}"),
            };
        }
    };
    match received {
        Ok(()) => true,
        Err(RecvError::Corrupt) => numbers.u64(..8) != 0,
        Err(
            RecvError::WouldBlock
            | RecvError::Timeout
            | RecvError::TooLong { .. }
            | RecvError::TooShort { .. }
            | RecvError::Descriptors(_)
            | RecvError::Decode(_)
            | RecvError::Handle(_),
        ) => true,
        Err(error) => panic!("a strange error: {error}"),
    }
}

const LIMIT: usize = 20_000;

#[test]
fn any_lies_between_the_steps_of_an_honest_one_are_bytes_or_errors_within_its_limit() {
    fn lies(_: ()) {
        for seed in 1..=400 {
            let (mut honest, liar) = liar();
            honest.set_limit(LIMIT);
            let mut numbers = Rng::with_seed(seed);
            let most = peak(|| {
                for _ in 0..200 {
                    (0..numbers.u64(..4)).for_each(|_| lie(&liar, &mut numbers));
                    if !work(&mut honest, &mut numbers) {
                        break;
                    }
                }
            });
            // What is kept, which grows by doubling, what is being received, and what this test itself needs.
            assert!(most < 4 * LIMIT + 100_000, "{most} with seed {seed}");
        }
    }
    alone(lies);
}

#[test]
fn who_waits_for_room_keeps_no_more_messages_than_its_limit_allows_however_short_they_are() {
    fn flood(_: ()) {
        for words in [&[header(WHOLE, 0, 0)][..], &[header(BEGIN, 0, 8), header(PART, 0, 8), 7]] {
            let (mut honest, liar) = liar();
            honest.set_limit(LIMIT);
            while honest.try_send_bytes(&[]).is_ok() {}
            let most = peak(|| {
                thread::scope(|scope| {
                    let (liar, honest) = (&liar, &mut honest);
                    let sending = scope.spawn(move || honest.send_bytes_timeout(&[1; 500], 50 * MOMENT));
                    for _ in 0..200_000 {
                        // As fast as they are taken in, or, at last, not any more.
                        let (tail, head) = (liar.word(RING), liar.word(RING + 128));
                        if tail.wrapping_sub(head) < CAPACITY as u64 / 2 {
                            liar.publish(words);
                        }
                    }
                    assert!(matches!(sending.join().unwrap(), Err(SendError::Timeout)));
                });
            });
            assert!(most < 4 * LIMIT + 100_000, "{most}");
        }
    }
    alone(flood);
}

#[test]
fn who_waits_for_room_keeps_no_more_descriptors_than_belong_to_a_message_or_two() {
    fn flood(_: ()) {
        let (mut honest, liar) = liar();
        while honest.try_send_bytes(&[]).is_ok() {}
        let before = std::fs::read_dir("/proc/self/fd").unwrap().count();
        for _ in 0..40 {
            liar.slip(1, 250);
            liar.publish(&[header(WHOLE, 250, 0)]);
        }
        assert!(matches!(honest.send_bytes_timeout(&[1; 500], MOMENT), Err(SendError::Timeout)));
        let more = std::fs::read_dir("/proc/self/fd").unwrap().count() - before;
        assert!(more <= 2 * 253, "{more}");
        for _ in 0..40 {
            honest.recv_bytes().unwrap();
        }
    }
    alone(flood);
}

/// Lies until it is killed.
fn lie_for_ever((file, lane, seed): (Descriptor, Descriptor, u64)) {
    let liar = Liar { file: File::from(file.0), lane: UnixStream::from(lane.0), _role: None };
    let mut numbers = Rng::with_seed(seed);
    loop {
        lie(&liar, &mut numbers);
    }
}

#[test]
fn an_honest_one_comes_back_from_whatever_it_does_while_another_process_lies() {
    for seed in 1..=4 {
        let (mut honest, liar) = liar();
        honest.set_limit(LIMIT);
        let [file, lane] = [OwnedFd::from(liar.file.try_clone().unwrap()), liar.lane.try_clone().unwrap().into()];
        let child = start(lie_for_ever, (Descriptor(file), Descriptor(lane), seed));
        let mut numbers = Rng::with_seed(!seed);
        for _ in 0..1_500 {
            // It goes on, whatever it is told.
            work(&mut honest, &mut numbers);
        }
        child.kill().unwrap();
        let _killed = child.join();
    }
}
