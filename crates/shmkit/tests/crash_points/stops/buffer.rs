//! A process stopped at every site of the operations of a queue of buffers: nobody is ever delayed.
//!
//! What it may have in its hands is one buffer, and with the others everybody goes on, round after round, never blocking and never told to come
//! again. Killed there, it leaves what it had: a message comes again, a buffer comes back.

use super::expect_alive;
use crate::buffers::{Act, Buffers, COUNT};
use crate::harness::{Orders, came_through, go_on, stopped_at_every_site, wait_for_sleep, wait_for_stop};
use crate::traffic::VICTIMS;

/// What one operation is and what it meets.
struct Case {
    name: &'static str,
    act: Act,
    /// Messages that have gone through the queue before.
    passed: u64,
    /// Messages in the queue before.
    messages: u64,
}

impl Case {
    /// Whether the victim finds no room, or no message.
    fn meets_nothing(&self) -> bool {
        self.messages == if self.act.receives() { 0 } else { COUNT as u64 }
    }

    fn waits(&self) -> bool {
        self.meets_nothing() && matches!(self.act, Act::Send | Act::Recv)
    }
}

/// What a stopped victim had.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Hand {
    holds: bool,
    /// Its death left a message.
    leaves: bool,
}

/// One victim stopped at one site: whether it had a buffer, and, if it is `killed` there, what that left. `None` if it came through.
fn round(orders: &Orders, case: &Case, killed: bool) -> Option<Hand> {
    let mut buffers = Buffers::new(case.passed, case.messages);
    let victim = buffers.spawn(orders, case.act);
    if wait_for_sleep(&victim, orders) {
        match case.act.receives() {
            true => buffers.try_send().unwrap(),
            false => drop(buffers.try_recv().unwrap()),
        }
    }
    let stopped = wait_for_stop(&victim);
    let mut hand = None;
    if stopped {
        let there = buffers.drain();
        // What the victim puts in comes behind all others; what it gives back was the first before it was taken.
        let gives_back = case.act == Act::Nack;
        let own_item = if gives_back { case.passed + 1 } else { VICTIMS };
        let (own, others): (Vec<u64>, Vec<u64>) = there.iter().partition(|&&item| item == own_item);
        let is_in_place = there.ends_with(&own) || gives_back && there.starts_with(&own);
        assert!(others.is_sorted() && own.len() <= 1 && is_in_place, "{}: {there:?}", case.name);
        hand = Some(Hand { holds: buffers.pass_rounds(), leaves: false });
        expect_alive(buffers.receiver.segment(), &victim);
    }
    if stopped && killed {
        victim.kill().unwrap();
        assert!(!came_through(victim));
        assert_eq!(buffers.receiver.segment().reap_dead(), 1);
        let hand = hand.as_mut()?;
        let left = buffers.drain();
        hand.leaves = !left.is_empty();
        assert!(left.len() <= usize::from(hand.holds), "{}: {left:?} came from nowhere", case.name);
        assert!(hand.leaves == hand.holds || !case.act.receives(), "{}: what it had did not come again", case.name);
    } else {
        go_on(&victim);
        buffers.help_until(|| !victim.is_alive(), case.act.receives());
        victim.join().unwrap();
    }
    buffers.settle(orders, case.act, stopped && killed);
    hand
}

/// Stops the victim at every site, and looks at where it gets a buffer and lets go of it.
fn stop_at_every_site(case: &Case) {
    let rounds = if case.waits() { 8 } else { 1 };
    let outcomes = stopped_at_every_site(case.name, rounds, |orders| {
        round(orders, case, false)?;
        orders.forget();
        round(orders, case, true)
    });
    let count = |is: fn(&Hand) -> bool| outcomes.iter().filter(|(_, hand)| is(hand)).count();
    let (holding, leaving) = (count(|hand| hand.holds), count(|hand| hand.leaves));
    println!("{:42} {:5} {:7} {holding:8} {leaving:10}", case.name, outcomes.len(), 0);
    if case.waits() {
        // Each round went another way.
        return;
    }
    let places: Vec<usize> = (0..outcomes.len()).filter(|&index| outcomes[index].1.holds).collect();
    let (Some(&first), Some(&last)) = (places.first(), places.last()) else {
        return assert!(case.meets_nothing(), "{}: it never had a buffer", case.name);
    };
    let (from, until) = (&outcomes[first].0, &outcomes[last].0);
    println!("      from {from} until {until}");
    assert_eq!(places.len(), last - first + 1, "{}: it has one buffer, once", case.name);
    let leaves: Vec<bool> = outcomes[first..=last].iter().map(|(_, hand)| hand.leaves).collect();
    assert!(leaves.is_sorted(), "{}: a message once, a message for good", case.name);
    assert!(from.starts_with("buffer/") && from.ends_with(" compare_exchange won"), "{}: {from}", case.name);
    let last_step = match case.act {
        // Into the ring.
        Act::TrySend | Act::Send | Act::Nack => " compare_exchange",
        _ => " store",
    };
    assert!(until.starts_with("buffer/") && until.ends_with(last_step), "{}: {until}", case.name);
    assert_eq!(leaves.contains(&true), case.act != Act::ThinkBetter, "{}", case.name);
}

pub(crate) fn buffer() {
    println!("{:42} {:>5} {:>7} {:>8} {:>10}", "stopped in", "sites", "delays", "a buffer", "a message");
    let case = |name, act, passed, messages| Case { name, act, passed, messages };
    let count = COUNT as u64;
    let cases = [
        case("buffer try_send", Act::TrySend, count, 1),
        // The last cell of the ring, so that it moves the index too.
        case("buffer send", Act::Send, count, count - 1),
        case("buffer loan that is dropped", Act::ThinkBetter, count, 1),
        case("buffer try_recv, ack", Act::TryRecv, count, 2),
        case("buffer recv, ack", Act::Recv, 2 * count - 1, 2),
        case("buffer recv, nack", Act::Nack, count, 2),
        case("buffer try_send, full", Act::TrySend, count, count),
        case("buffer send that must wait", Act::Send, count, count),
        case("buffer try_recv, empty", Act::TryRecv, count, 0),
        case("buffer recv that must wait", Act::Recv, count, 0),
    ];
    cases.iter().for_each(stop_at_every_site);
}
