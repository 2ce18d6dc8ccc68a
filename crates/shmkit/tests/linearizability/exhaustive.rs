//! The checker against a search through all executions of an abstract ring, on small random histories.
//!
//! The ring takes two steps to send (claim a place, publish) and two to receive (take, give the place back), each at an instant of the
//! operation; the others take one. A dead sender's place becomes a tomb, a message that a dead receiver had not given back an orphan. The
//! search tries every order of steps that the times allow.
//!
//! What must hold: a history that the ring can have is never rejected, with deaths and a small capacity too; and for histories of an unbounded queue
//! without deaths, where the rules are known to be complete, the two agree.

use crate::checker::check;
use crate::history::{Operation, Outcome};
use crate::random;
use std::collections::HashSet;

const ROUNDS: usize = 5_000;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum State {
    Writing,
    Full,
    Reading,
    Free,
    Tomb,
    Orphan,
}

/// A place that was claimed, by operation `owner` last.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Place {
    state: State,
    value: u64,
    owner: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    Begun,
    Half,
    Done,
}

/// The ring and everybody's progress, between two of the history's times.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Execution {
    /// How many of the times have passed.
    passed: usize,
    places: Vec<Place>,
    phases: Vec<Phase>,
}

struct Search<'a> {
    history: &'a [Operation],
    capacity: usize,
    /// Every time of the history once, in order.
    times: Vec<u64>,
    seen: HashSet<Execution>,
}

/// Whether the ring can have this history.
fn possible(history: &[Operation], capacity: usize) -> bool {
    let mut times: Vec<_> = history.iter().flat_map(|operation| [operation.invoked, operation.returned]).collect();
    times.extend(history.iter().filter_map(|operation| match operation.outcome {
        Outcome::ReceivingDied { killed } => Some(killed),
        _ => None,
    }));
    times.sort_unstable();
    times.dedup();
    let start = Execution { passed: 0, places: Vec::new(), phases: vec![Phase::Begun; history.len()] };
    Search { history, capacity, times, seen: HashSet::new() }.goes_on(start)
}

impl Search<'_> {
    fn goes_on(&mut self, now: Execution) -> bool {
        let Some(&time) = self.times.get(now.passed) else { return true };
        if !self.seen.insert(now.clone()) {
            return false;
        }
        // All steps at this time, in any order, or time passes.
        let mut next = Vec::new();
        for (index, operation) in self.history.iter().enumerate() {
            if (operation.invoked..=operation.returned).contains(&time) {
                self.steps(&now, index, &mut next);
            }
            let killed = match operation.outcome {
                Outcome::SendingDied(_) => operation.invoked,
                Outcome::ReceivingDied { killed } => killed,
                _ => continue,
            };
            if killed <= time {
                reap(&now, index, &mut next);
            }
        }
        bury(&now, &mut next);
        let on_time = self.history.iter().zip(&now.phases).all(|(operation, phase)| {
            let dies = matches!(operation.outcome, Outcome::SendingDied(_) | Outcome::ReceivingDied { .. });
            operation.returned != time || *phase == Phase::Done || dies
        });
        if on_time {
            next.push(Execution { passed: now.passed + 1, ..now });
        }
        next.into_iter().any(|execution| self.goes_on(execution))
    }

    /// What the operation can do next.
    fn steps(&self, now: &Execution, index: usize, next: &mut Vec<Execution>) {
        let mut then = |phase: Phase, change: &dyn Fn(&mut Vec<Place>)| {
            let mut execution = now.clone();
            execution.phases[index] = phase;
            change(&mut execution.places);
            next.push(execution);
        };
        let places = &now.places;
        let first =
            places.iter().position(|place| !matches!(place.state, State::Reading | State::Orphan | State::Free));
        let oldest = places.iter().position(|place| place.state != State::Free).unwrap_or(places.len());
        let full = places.len() - oldest >= self.capacity;
        let busy = first.is_some_and(|first| places[first].state == State::Writing);
        match (self.history[index].outcome, now.phases[index]) {
            (_, Phase::Done) => {}
            (Outcome::Sent(value) | Outcome::SendingDied(value), Phase::Begun) if !full => {
                then(Phase::Half, &|places| places.push(Place { state: State::Writing, value, owner: index }));
            }
            (Outcome::Sent(_) | Outcome::SendingDied(_), Phase::Half) => {
                then(Phase::Done, &|places| owned(places, index, State::Writing).state = State::Full);
            }
            (outcome @ (Outcome::Received(_) | Outcome::ReceivingDied { .. }), Phase::Begun) => {
                let takes = |place: &Place| {
                    outcome == Outcome::Received(place.value) || !matches!(outcome, Outcome::Received(_))
                };
                for (at, place) in places.iter().enumerate() {
                    let there = place.state == State::Orphan || Some(at) == first && place.state == State::Full;
                    if there && takes(place) {
                        then(Phase::Half, &|places| {
                            (places[at].state, places[at].owner) = (State::Reading, index);
                        });
                    }
                }
            }
            (Outcome::Received(_) | Outcome::ReceivingDied { .. }, Phase::Half) => {
                then(Phase::Done, &|places| owned(places, index, State::Reading).state = State::Free);
            }
            (Outcome::Full, _) if full => then(Phase::Done, &|_| {}),
            (Outcome::Empty, _) if first.is_none() => then(Phase::Done, &|_| {}),
            (Outcome::Busy, _) if busy => then(Phase::Done, &|_| {}),
            (Outcome::Late, _) if busy || first.is_none() => then(Phase::Done, &|_| {}),
            _ => {}
        }
    }
}

fn owned(places: &mut [Place], owner: usize, state: State) -> &mut Place {
    places.iter_mut().find(|place| place.owner == owner && place.state == state).expect("half done, it owns a place")
}

/// The operation is found dead.
fn reap(now: &Execution, index: usize, next: &mut Vec<Execution>) {
    if now.phases[index] == Phase::Done {
        return;
    }
    let mut execution = now.clone();
    execution.phases[index] = Phase::Done;
    for place in execution.places.iter_mut().filter(|place| place.owner == index) {
        place.state = match place.state {
            State::Writing => State::Tomb,
            State::Reading => State::Orphan,
            other => other,
        };
    }
    next.push(execution);
}

/// Somebody passes over the first tomb, once it is the next to be received.
fn bury(now: &Execution, next: &mut Vec<Execution>) {
    let passed = |place: &Place| matches!(place.state, State::Reading | State::Orphan | State::Free);
    if let Some(first) = now.places.iter().position(|place| !passed(place))
        && now.places[first].state == State::Tomb
    {
        let mut execution = now.clone();
        execution.places[first].state = State::Free;
        next.push(execution);
    }
}

/// Times of up to `operations` operations at random, and outcomes that are not nonsense at first sight.
fn history(random: &mut fastrand::Rng, operations: usize, outcomes: &[u8], latest: u64) -> Vec<Operation> {
    let messages = random.u64(1..=operations as u64 / 2);
    let mut left: Vec<u64> = (1..=messages).collect();
    let mut history: Vec<_> = (1..=messages).map(Outcome::Sent).collect();
    while history.len() < operations {
        history.push(match outcomes[random.usize(..outcomes.len())] {
            b'r' if !left.is_empty() => Outcome::Received(left.swap_remove(random.usize(..left.len()))),
            b'e' => Outcome::Empty,
            b'f' => Outcome::Full,
            b'b' => Outcome::Busy,
            b'l' => Outcome::Late,
            b'd' => Outcome::ReceivingDied { killed: 0 },
            _ => break,
        });
    }
    let may_die = outcomes.contains(&b'd');
    let operation = |(index, outcome)| {
        let (a, b) = (random.u64(..latest), random.u64(..latest));
        let (invoked, returned) = (a.min(b), a.max(b));
        let outcome = match outcome {
            Outcome::Sent(value) if may_die && random.u8(..4) == 0 => Outcome::SendingDied(value),
            Outcome::ReceivingDied { .. } => Outcome::ReceivingDied { killed: random.u64(invoked..=returned) },
            other => other,
        };
        Operation { process: index as u32, invoked, returned, outcome }
    };
    history.into_iter().enumerate().map(operation).collect()
}

fn print(history: &[Operation]) -> String {
    history.iter().map(|operation| format!("\n  {operation}")).collect()
}

#[test]
fn the_rules_agree_with_a_search_through_all_executions_of_an_unbounded_queue() {
    let mut random = random("unbounded");
    let (mut legal, mut illegal) = (0, 0);
    for round in 0..ROUNDS {
        let history = history(&mut random, 2 + round % 6, b"rrrre", 20);
        let verdict = check(&history, history.len(), false);
        let expected = possible(&history, history.len());
        assert_eq!(verdict.is_ok(), expected, "the search says otherwise: {verdict:?}{}", print(&history));
        *(if expected { &mut legal } else { &mut illegal }) += 1;
    }
    println!("{legal} legal histories and {illegal} illegal ones were told apart");
    assert!(legal > ROUNDS / 10 && illegal > ROUNDS / 10, "the histories are too much alike");
}

#[test]
fn the_rules_reject_nothing_that_a_bounded_queue_with_deaths_can_do() {
    let mut random = random("bounded");
    let (mut legal, mut illegal, mut unnoticed) = (0, 0, 0);
    for round in 0..ROUNDS {
        let (outcomes, capacity) = ([&b"rrrefbl"[..], b"rrrefbld"][round % 2], random.usize(1..=3));
        let history = history(&mut random, 2 + round % 6, outcomes, 20);
        let verdict = check(&history, capacity, false);
        if possible(&history, capacity) {
            legal += 1;
            assert!(verdict.is_ok(), "capacity {capacity}, the ring can do this: {verdict:?}{}", print(&history));
        } else {
            illegal += 1;
            unnoticed += usize::from(verdict.is_ok());
        }
    }
    println!("{legal} legal histories were accepted; of {illegal} illegal ones {unnoticed} were not noticed");
    assert!(legal > ROUNDS / 10 && illegal > ROUNDS / 10, "the histories are too much alike");
    assert!(unnoticed < illegal / 10, "the conditions for a bounded queue are too weak to be of use");
}
