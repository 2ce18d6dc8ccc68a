//! A queue of buffers used for a long time in every way, by processes that are killed and replaced: no buffer is lost, and no message.
//!
//! ```sh
//! SHMKIT_SOAK_SECONDS=3600 SHMKIT_STORM_KILLS=1000 cargo test --release -p shmkit --test storm soak -- --nocapture
//! ```
//!
//! The ledger of the other storms holds every message, and would be too large. Here each sender's place has a window of its last messages: before a number is used again, the
//! message that had it must have been received. One that is lost shows as a sender that waits for ever.

use crate::{HANG, kill, kills, random};
use serde::{Deserialize, Serialize};
use shmkit::prelude::*;
use shmkit::queue::buffer::{Lease, Settings, Statistics};
use shmkit_segment::primitive::{AtomicU16, AtomicU64, Ordering};
use shmkit_segment::{
    AtSlice, Configuration, Error, MappedSlice, Memory, Object, Options, PeerId, Plan, Role, Segment, kind,
};
use std::alloc::Layout;
use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::yield_now;
use std::time::{Duration, Instant};

const SENDERS: usize = 2;
const RECEIVERS: usize = 3;
const WINDOW: u64 = 1 << 12;
/// Number, sender, and their sum with the length.
const HEADER: usize = 24;
const LARGEST: usize = 64 << 10;
/// Leases that a receiver holds at a time, at most.
const HELD: usize = 3;
/// Its sender died before it could say that it was sent: it may never come.
const UNCERTAIN: u16 = 1 << 15;

struct Counters {
    /// 0: everybody should stop; 1: received; 2: received although it was received before; 3: nonsense; 4: given back on purpose.
    totals: MappedSlice<AtomicU64>,
    /// Per sender, the number of the message that it is sending or has sent last.
    sending: MappedSlice<AtomicU64>,
    /// Per sender and message of its window, how often it was received since it was sent.
    received: MappedSlice<AtomicU16>,
}

const STOP: usize = 0;
const RECEIVED: usize = 1;
const AGAIN: usize = 2;
const NONSENSE: usize = 3;
const GIVEN_BACK: usize = 4;

impl Object for Counters {
    const KIND: u32 = kind(b"SOAK");
    type Parts = (AtSlice<AtomicU64>, AtSlice<AtomicU64>, AtSlice<AtomicU16>);

    fn payload() -> Layout {
        Layout::new::<()>()
    }

    fn plan(_: &Configuration, plan: &mut Plan) -> Result<Self::Parts, Error> {
        Ok((plan.slice(5)?, plan.slice(SENDERS)?, plan.slice(SENDERS * WINDOW as usize)?))
    }

    fn attach(memory: &Memory, parts: &Self::Parts) -> Self {
        Self { totals: memory.slice(parts.0), sending: memory.slice(parts.1), received: memory.slice(parts.2) }
    }

    fn sweep(&self, _dead: PeerId, _reaper: PeerId) {}
    fn wake_all(&self) {}
}

#[derive(Clone, Serialize, Deserialize)]
struct Ledger(Role<Counters>);

impl Ledger {
    fn new() -> Self {
        let segment: Arc<Segment<Counters>> = Options::new().anonymous([0; 8]).expect("memory for the ledger");
        Self(segment.role(0))
    }

    fn counters(&self) -> &Counters {
        self.0.segment().object()
    }

    fn total(&self, which: usize) -> &AtomicU64 {
        &self.counters().totals[which]
    }

    fn times(&self, sender: usize, number: u64) -> &AtomicU16 {
        &self.counters().received[sender * WINDOW as usize + (number % WINDOW) as usize]
    }
}

/// How long message `number` is: mostly short, sometimes as long as can be.
fn length(number: u64) -> usize {
    let random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    match random % 64 {
        0 => LARGEST - (random as usize >> 6) % 512,
        1..8 => HEADER + (random as usize >> 6) % 4000,
        _ => HEADER + (random as usize >> 6) % 40,
    }
}

fn write(message: &mut [u8], sender: usize, number: u64) {
    let (header, rest) = message.split_at_mut(HEADER);
    let sum = number.wrapping_add(sender as u64).wrapping_add(rest.len() as u64);
    let words = [number, sender as u64, sum].map(u64::to_le_bytes);
    header.copy_from_slice(words.as_flattened());
    rest.fill(number as u8);
}

/// The sender and number of a message, if it makes sense.
fn read(message: &[u8]) -> Option<(usize, u64)> {
    let (words, rest) = message.split_at_checked(HEADER)?;
    let words = words.as_chunks().0;
    let [number, sender, sum] = [0, 1, 2].map(|index| u64::from_le_bytes(words[index]));
    let is_whole = sum == number.wrapping_add(sender).wrapping_add(rest.len() as u64)
        && message.len() == length(number)
        && rest.iter().all(|&byte| byte == number as u8);
    (is_whole && sender < SENDERS as u64).then_some((sender as usize, number))
}

fn send_all((ledger, messages, me): (Ledger, buffer::Sender, usize)) {
    let sending = &ledger.counters().sending[me];
    // What the one before this was at may have been sent or not.
    let before = sending.load(Ordering::Acquire);
    if before > 0 {
        ledger.times(me, before).fetch_or(UNCERTAIN, Ordering::AcqRel);
    }
    for number in before + 1.. {
        if ledger.total(STOP).load(Ordering::Acquire) != 0 {
            return;
        }
        let place = ledger.times(me, number);
        // The message that had the place: not there yet, or lost, in which case this waits for ever.
        while number > WINDOW && place.load(Ordering::Acquire) == 0 {
            yield_now();
        }
        // First of all: whoever comes after this goes on with the next one.
        sending.store(number, Ordering::Release);
        let times = place.swap(0, Ordering::AcqRel) & !UNCERTAIN;
        ledger.total(AGAIN).fetch_add(u64::from(times).saturating_sub(1), Ordering::Relaxed);
        let mut loan = messages.loan(length(number)).expect("the parent receives");
        if number % 16 == 0 {
            // Thinks better of it, and again.
            drop(loan);
            loan = messages.loan(LARGEST).expect("the parent receives");
            loan.truncate(length(number));
        }
        write(&mut loan, me, number);
        loan.send().expect("the parent receives");
    }
}

fn receive_all((ledger, messages): (Ledger, buffer::Receiver)) {
    let mut held = VecDeque::new();
    let acknowledge = |lease: Lease| lease.ack();
    for turn in 0_u64.. {
        // Who holds something does not wait: it may be what the others wait for.
        let next = if held.is_empty() { messages.recv().ok() } else { messages.try_recv().ok() };
        let Some(lease) = next else {
            if held.is_empty() {
                return;
            }
            held.drain(..).for_each(acknowledge);
            continue;
        };
        if turn % 32 == 31 && lease.deliveries() == 1 {
            ledger.total(GIVEN_BACK).fetch_add(1, Ordering::Relaxed);
            lease.nack();
            continue;
        }
        match read(&lease) {
            Some((sender, number)) => _ = ledger.times(sender, number).fetch_add(1, Ordering::AcqRel),
            None => _ = ledger.total(NONSENSE).fetch_add(1, Ordering::AcqRel),
        }
        ledger.total(RECEIVED).fetch_add(1, Ordering::AcqRel);
        held.push_back(lease);
        // Now and then one is held for long, while others come and go.
        let most = if turn % 1024 < 512 { HELD } else { 1 };
        while held.len() > most {
            held.swap_remove_back((turn % held.len() as u64) as usize).into_iter().for_each(acknowledge);
        }
    }
}

#[test]
fn soak_of_a_queue_of_buffers_loses_no_buffer_and_no_message() {
    let seconds = std::env::var("SHMKIT_SOAK_SECONDS").map_or(4, |seconds| seconds.parse().expect("seconds"));
    let settings = Settings::new(16, 64).and(8, 4 << 10).and(4, LARGEST);
    let (sender, receiver) = buffer::channel(settings).expect("a queue");
    let ledger = Ledger::new();
    let mut random = random("soak");
    let next_sender = |me| spawn(send_all, (ledger.clone(), sender.clone(), me)).expect("a sender");
    let next_receiver = || spawn(receive_all, (ledger.clone(), receiver.clone())).expect("a receiver");
    let mut processes: Vec<_> = (0..SENDERS).map(next_sender).collect();
    processes.extend((0..RECEIVERS).map(|_| next_receiver()));

    let (start, time) = (Instant::now(), Duration::from_secs(seconds));
    let (mut dead, mut dead_receivers) = (0, 0);
    let mut slowest = Duration::ZERO;
    while dead < kills() {
        // They are spread over the time; the instant is the input of the test: nothing waits for it.
        let next = time.mul_f64(dead as f64 / kills() as f64) + Duration::from_micros(random.u64(..2_000));
        while start.elapsed() < next {
            yield_now();
            std::thread::park_timeout(Duration::from_millis(1));
        }
        let index = random.usize(..SENDERS + RECEIVERS);
        let death = Instant::now();
        assert!(kill(processes.remove(index)), "nobody ends by itself");
        processes.insert(index, if index < SENDERS { next_sender(index) } else { next_receiver() });
        dead += 1;
        dead_receivers += u64::from(index >= SENDERS);
        // Whoever is left, and the new one, go on.
        let goal = ledger.total(RECEIVED).load(Ordering::Acquire) + 1_000;
        while ledger.total(RECEIVED).load(Ordering::Acquire) < goal {
            assert!(death.elapsed() < HANG, "they hang: {:?}", receiver.statistics());
            yield_now();
        }
        slowest = slowest.max(death.elapsed());
    }
    ledger.total(STOP).store(1, Ordering::Release);
    let receiving = processes.split_off(SENDERS);
    processes.into_iter().for_each(|process| process.join().expect("a sender ends by itself"));
    drop(sender);
    receiving.into_iter().for_each(|process| process.join().expect("a receiver ends by itself"));

    let [received, again, nonsense, given_back] =
        [RECEIVED, AGAIN, NONSENSE, GIVEN_BACK].map(|which| ledger.total(which).load(Ordering::Acquire));
    let statistics = receiver.statistics();
    println!(
        "soak: {dead} killed in {:.0?}, {dead_receivers} of them receivers; {received} received, {given_back} given back, {again} came again; \
         slowest recovery {slowest:.1?}; {statistics:?}",
        start.elapsed()
    );
    for sender in 0..SENDERS {
        let last = ledger.counters().sending[sender].load(Ordering::Acquire);
        let lost = (last.saturating_sub(WINDOW) + 1..=last)
            .filter(|&number| ledger.times(sender, number).load(Ordering::Acquire) == 0);
        assert_eq!(lost.collect::<Vec<_>>(), [], "messages were lost");
    }
    assert_eq!(nonsense, 0);
    assert!(again <= dead_receivers * (HELD as u64 + 1), "more came again than was unacknowledged");
    let Statistics { buffers, free, lent, waiting, leased, .. } = statistics;
    assert_eq!((free, lent, waiting, leased), (buffers, 0, 0, 0), "buffers leaked");
}
