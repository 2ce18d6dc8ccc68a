//! Histories of real processes that share an `mpmc` queue are those of a bounded first-in-first-out queue, in which only what a killed receiver
//! had taken comes again, late.
//!
//! Each process writes down every operation, with the times at which it was invoked and had returned, in shared memory that survives it (`journal`).
//! Afterwards the whole is checked in O(n log n) (`checker`, which says by which rules, and what is weaker than in a queue of places). The checker
//! itself is shown what breaks each rule (`rules`), is compared with a search through all executions (`exhaustive`), and must reject what was
//! recorded here once it has been tampered with.
//!
//! `SHMKIT_LINEARIZABILITY_OPERATIONS` sets how many operations each schedule has at least (20,000 if it is not set),
//! `SHMKIT_LINEARIZABILITY_ROUNDS` how often senders and receivers are killed (10), `SHMKIT_LINEARIZABILITY_SEED` repeats the choices of a run.

mod checker;
mod exhaustive;
mod history;
mod journal;
mod kills;
mod rules;
mod worker;

use checker::{Report, Rule, check};
use history::{Counts, Operation, Outcome};
use journal::Journal;
use shmkit::prelude::*;
use worker::{LARGE, Message, Start, receive_all, send_all};

fn setting(name: &str) -> Option<u64> {
    let value = std::env::var(format!("SHMKIT_LINEARIZABILITY_{name}")).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("SHMKIT_LINEARIZABILITY_{name} is to be a number")))
}

fn operations() -> usize {
    setting("OPERATIONS").unwrap_or(20_000) as usize
}

fn random(test: &str) -> fastrand::Rng {
    let seed = setting("SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("{test}: SHMKIT_LINEARIZABILITY_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}

/// Lets processes share a queue until half of the operations were to send, and everything was received.
fn record<const WORDS: usize>(
    (senders, receivers): (usize, usize),
    capacity: usize,
    random: &mut fastrand::Rng,
) -> Vec<Operation> {
    let (sender, receiver) = mpmc::channel::<Message<WORDS>>(capacity).expect("a queue");
    let half = operations() / 2;
    let (messages, failures) = (half.div_ceil(senders), half.div_ceil(receivers));
    let mut journals = Vec::new();
    let mut processes = Vec::new();
    for number in 0..senders + receivers {
        let sends = number < senders;
        // A receiver may get all messages, and learns the end.
        let (entries, failures) =
            if sends { (2 * messages, messages) } else { (senders * messages + failures + 1, failures) };
        let journal = Journal::new(number as u32 + 1, entries);
        journals.push(journal.clone());
        let (seed, messages) = (random.u64(..), messages as u32);
        processes.push(if sends {
            spawn(send_all, Start { journal, end: sender.clone(), seed, messages, failures }).expect("a sender")
        } else {
            spawn(receive_all, Start { journal, end: receiver.clone(), seed, messages, failures }).expect("a receiver")
        });
    }
    drop((sender, receiver));
    processes.into_iter().for_each(|process| process.join().expect("it ends by itself"));
    journals.iter().flat_map(|journal| journal.history(0, 0)).collect()
}

/// Fails if the history, after which nothing was left, is not one of a queue.
fn verify(name: &str, history: &[Operation], capacity: usize) -> Report {
    let report = check(history, capacity, true).unwrap_or_else(|violation| panic!("{name}: {violation}"));
    println!(
        "{name}: {} operations: {}; {} full only behind a slow receiver; {} late or lost with a killed receiver; linearizable",
        history.len(),
        Counts::of(history),
        report.full_behind_a_receiver,
        report.excused,
    );
    report
}

fn schedule(senders: usize, receivers: usize) {
    let mut random = random(&format!("{senders}x{receivers}"));
    for capacity in [2, 4, 64] {
        // Small messages go fast; with large ones, others come while a place is being written or read.
        scheduled::<1>((senders, receivers), capacity, &mut random);
        scheduled::<LARGE>((senders, receivers), capacity, &mut random);
    }
}

fn scheduled<const WORDS: usize>(processes: (usize, usize), capacity: usize, random: &mut fastrand::Rng) {
    let name = format!("{}x{}, capacity {capacity}, {} bytes", processes.0, processes.1, 8 * WORDS);
    let history = record::<WORDS>(processes, capacity, random);
    let counts = Counts::of(&history);
    assert!(history.len() >= operations() && counts.sent == counts.received, "{name}: {counts}");
    assert_eq!(verify(&name, &history, capacity).excused, 0, "nobody was killed");
}

#[test]
fn one_sender_and_one_receiver_are_linearizable() {
    schedule(1, 1);
}

#[test]
fn two_senders_and_two_receivers_are_linearizable() {
    schedule(2, 2);
}

#[test]
fn four_senders_and_four_receivers_are_linearizable() {
    schedule(4, 4);
}

#[test]
fn three_senders_and_one_receiver_are_linearizable() {
    schedule(3, 1);
}

#[test]
fn one_sender_and_three_receivers_are_linearizable() {
    schedule(1, 3);
}

#[test]
fn only_what_killed_receivers_had_taken_comes_again_or_late() {
    let rounds = setting("ROUNDS").unwrap_or(10) as usize;
    // A burst of so many lasts longer than it takes to wake the conductor, who stops them in the middle of it.
    let capacity = 256;
    let run = kills::run(capacity, rounds, random("kills"));
    let name = format!("kills, capacity {capacity}");
    println!("{name}: {rounds} rounds, {} stops, {} messages came again", run.stops, run.again);
    let report = verify(&name, &run.history, capacity);
    // Where two were killed, the one that had not just taken a message may have received one for good, and not said so.
    assert!(report.missing <= run.companions, "{} messages did not come again", report.missing);
}

/// The place in `history` of the operation with this outcome.
fn place(history: &[Operation], outcome: Outcome) -> usize {
    history.iter().position(|operation| operation.outcome == outcome).expect("it is there")
}

#[test]
fn a_recorded_history_that_was_tampered_with_is_rejected() {
    let capacity = 4;
    let history = record::<1>((2, 2), capacity, &mut random("tampering"));
    verify("before tampering", &history, capacity);
    let rejected = |rule: Rule, tampered: &[Operation]| {
        let violation = check(tampered, capacity, true).expect_err("it was tampered with");
        println!("{violation}");
        assert_eq!(violation.rule, rule);
    };
    let with = |operation: Operation| [&history[..], &[operation]].concat();

    // Two messages that were inside together, one after the other without a doubt.
    let mut sends: Vec<_> = history.iter().filter(|operation| matches!(operation.outcome, Outcome::Sent(_))).collect();
    sends.sort_unstable_by_key(|send| send.invoked);
    let receive_of = |send: &Operation| {
        let Outcome::Sent(value) = send.outcome else { unreachable!("only those were collected") };
        place(&history, Outcome::Received(value))
    };
    let (first, second) = sends
        .windows(2)
        .map(|pair| (receive_of(pair[0]), receive_of(pair[1]), pair))
        .find(|&(first, second, pair)| {
            pair[0].precedes(pair[1]) && history[first].precedes(&history[second]) && pair[1].precedes(&history[first])
        })
        .map(|(first, second, _)| (first, second))
        .expect("two such messages");
    let mut exchanged = history.clone();
    (exchanged[first].outcome, exchanged[second].outcome) = (history[second].outcome, history[first].outcome);
    rejected(Rule::Order, &exchanged);

    let mut lost = history.clone();
    lost.remove(first);
    rejected(Rule::Order, &lost);

    let end = history.iter().map(|operation| operation.returned).max().expect("there are operations") + 1;
    let later = |outcome| Operation { process: 99, invoked: end, returned: end + 1, outcome };
    rejected(Rule::Repeat, &with(later(history[first].outcome)));
    rejected(Rule::Fresh, &with(later(Outcome::Received(u64::MAX))));
    rejected(Rule::Lost, &with(later(Outcome::Sent(u64::MAX))));
    rejected(Rule::Full, &with(later(Outcome::Full)));
    rejected(Rule::Busy, &with(later(Outcome::Busy)));

    // While the second of the two was inside: after the first one's receiving was invoked, if not before.
    let inside = history[second].invoked - 1;
    rejected(Rule::Empty, &with(Operation { process: 99, invoked: inside, returned: inside, outcome: Outcome::Empty }));

    // With room for fewer than were inside together.
    let narrow = check(&history, 1, true).expect_err("two were inside together");
    assert_eq!(narrow.rule, Rule::Overfull);
}
