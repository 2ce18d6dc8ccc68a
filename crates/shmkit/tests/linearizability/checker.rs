//! Decides whether a history is one of a bounded first-in-first-out queue, in O(n log n).
//!
//! To find an order of all operations that explains a history is hard in general. For queues whose messages all differ it is not: there is one
//! unless the history shows one of few patterns (Henzinger, Sezgin, Vafeiadis, *Aspect-oriented linearizability proofs*, CONCUR 2013). A message is
//! *surely inside* after its sending had returned and before its receiving is invoked.
//!
//! | rule | pattern |
//! |---|---|
//! | Fresh | a message is received that was not sent, or had returned from receiving before its sending was invoked |
//! | Repeat | a message is received twice |
//! | Order | sending a precedes sending b, and receiving b precedes receiving a, or a is never received |
//! | Empty | an operation finds the queue empty, but at each instant of it some message is surely inside |
//!
//! Those are all, for an unbounded queue and without deaths. What is special about this one are necessary conditions:
//!
//! | rule | pattern |
//! |---|---|
//! | Lost | in a history that ends with everybody told that there is no more: a message was sent and never received |
//! | Overfull | more messages than the capacity are surely inside at one instant |
//! | Busy | an operation says so, and during no instant of it is anybody sending |
//! | Full | an operation says so, but at no instant of it can there be as many messages as the capacity, from the oldest that may take room on |
//!
//! Full is what a ring says, and not what a set of places would. Room comes back in the order in which it was taken: as long as one receiver copies a message,
//! the room of those that others have received after it is not free either. A strict bounded queue would have to count the messages that may be
//! inside. [`Report::full_behind_a_receiver`] says how many times that would have been too few.
//!
//! # Deaths
//!
//! A message whose sender was killed may have been sent: if it is received it was, and before the sender was known to be dead. If it is not, it
//! takes room, and makes receivers busy, until one that was sent after the death is received; longer if a dead receiver can have taken it.
//!
//! A receiver that was killed may *hold* one message: it has taken it and not said so. That message is delivered again, late, or it was received
//! for good. So a message that breaks Order by coming late, or never, or that is Lost, is excused if a receiver that was killed can have held it; and
//! no receiver can have held two (a matching). It can have held it if the message was not sent after the death, is not known to be received before
//! the kill, and was not overtaken already when the receiver's operation was invoked. A message that anybody can have held is no longer
//! surely inside from then on. Everything else holds for messages that come again, too.

use crate::history::{Operation, Outcome};
use std::collections::HashMap;
use std::fmt;

const NEVER: u64 = u64::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    Fresh,
    Repeat,
    Order,
    Empty,
    Lost,
    Overfull,
    Busy,
    Full,
}

/// Why no order explains a history: the rule, and the operations that break it together.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) rule: Rule,
    pub(crate) operations: Vec<Operation>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not linearizable ({:?}):", self.rule)?;
        self.operations.iter().try_for_each(|operation| write!(f, "\n  {operation}"))
    }
}

/// What was found out about a history that is in order.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Report {
    /// Messages that can be explained only by a receiver that was killed: they came again, or it had received them.
    pub(crate) excused: usize,
    /// Of those, the ones that nobody received who lived to say so.
    pub(crate) missing: usize,
    /// How many operations found the queue full while room of messages that were received already could not be used yet.
    pub(crate) full_behind_a_receiver: usize,
}

/// A message that was sent, or whose sender was killed while sending it.
struct Message {
    send: Operation,
    receive: Option<Operation>,
    /// Its sender's last word was this message, and nobody has received it.
    in_doubt: bool,
    /// When the first message that was sent after it had been received: it was certainly taken, or passed over, before.
    overtaken: u64,
    /// The earliest that a receiver which was killed can have taken it.
    held: u64,
}

impl Message {
    /// The time after which it may be outside, without regard to deaths.
    fn taken(&self) -> u64 {
        self.receive.map_or(NEVER, |receive| receive.invoked)
    }

    /// The interval, without its ends, during which it is surely inside.
    fn surely_inside(&self) -> Option<(u64, u64)> {
        let until = self.taken().min(self.held);
        (!self.in_doubt && self.send.returned < until).then_some((self.send.returned, until))
    }
}

/// A history on its way through the rules.
struct Checker<'a> {
    history: &'a [Operation],
    capacity: usize,
    /// Whether nothing was left in the queue.
    drained: bool,
    /// In the order in which their sending was invoked.
    messages: Vec<Message>,
    /// Receivers that were killed.
    dead: Vec<Operation>,
}

/// Whether a queue of this capacity can have had this history; `drained` if it was empty at the end.
pub(crate) fn check(history: &[Operation], capacity: usize, drained: bool) -> Result<Report, Violation> {
    let (messages, dead) = messages(history)?;
    let mut checker = Checker { history, capacity, drained, messages, dead };
    let excused = checker.order()?;
    checker.overfull()?;
    checker.empty_and_busy()?;
    let full_behind_a_receiver = checker.full()?;
    let missing = checker.messages.iter().filter(|message| message.receive.is_none() && !message.in_doubt).count();
    Ok(Report { excused, missing: if drained { missing } else { 0 }, full_behind_a_receiver })
}

fn violation<T>(rule: Rule, operations: &[Operation]) -> Result<T, Violation> {
    Err(Violation { rule, operations: operations.to_vec() })
}

/// Brings together what belongs to one message, and the receivers that were killed. Fresh and Repeat are found here.
fn messages(history: &[Operation]) -> Result<(Vec<Message>, Vec<Operation>), Violation> {
    let mut sends = HashMap::new();
    let mut receives = HashMap::new();
    let mut dead = Vec::new();
    for &operation in history {
        match operation.outcome {
            Outcome::Sent(value) | Outcome::SendingDied(value) => {
                assert!(sends.insert(value, operation).is_none(), "the history has {value:#x} sent twice");
            }
            Outcome::Received(value) => {
                if let Some(before) = receives.insert(value, operation) {
                    return violation(Rule::Repeat, &[before, operation]);
                }
            }
            Outcome::ReceivingDied { .. } => dead.push(operation),
            Outcome::Full | Outcome::Empty | Outcome::Busy | Outcome::Late => {}
        }
    }
    for (value, receive) in &receives {
        match sends.get(value) {
            Some(send) if !receive.precedes(send) => {}
            Some(send) => return violation(Rule::Fresh, &[*receive, *send]),
            None => return violation(Rule::Fresh, &[*receive]),
        }
    }
    let mut messages: Vec<_> = sends
        .into_iter()
        .map(|(value, send)| {
            let receive = receives.get(&value).copied();
            let in_doubt = receive.is_none() && matches!(send.outcome, Outcome::SendingDied(_));
            Message { send, receive, in_doubt, overtaken: NEVER, held: NEVER }
        })
        .collect();
    messages.sort_unstable_by_key(|message| (message.send.invoked, message.send.process));
    Ok((messages, dead))
}

impl Checker<'_> {
    /// Order and Lost. Returns how many messages only a dead receiver explains.
    fn order(&mut self) -> Result<usize, Violation> {
        let overtakers = self.overtakers();
        let holders = self.holders();
        let mut matching = vec![None; self.dead.len()];
        let mut excused = 0;
        for (index, message) in self.messages.iter().enumerate() {
            let late = match message.receive {
                Some(receive) => message.overtaken < receive.invoked,
                None => !message.in_doubt && (self.drained || message.overtaken < NEVER),
            };
            if !late {
                continue;
            }
            if !hold(index, &holders, &mut matching, &mut vec![false; self.dead.len()]) {
                let Some(overtaker) = overtakers[index] else {
                    return violation(Rule::Lost, &[message.send]);
                };
                let overtaker = &self.messages[overtaker];
                let operations: Vec<_> = [Some(message.send), Some(overtaker.send), overtaker.receive, message.receive]
                    .into_iter()
                    .flatten()
                    .collect();
                return violation(Rule::Order, &operations);
            }
            excused += 1;
        }
        Ok(excused)
    }

    /// Notes for each message when it had been overtaken, and returns by which.
    fn overtakers(&mut self) -> Vec<Option<usize>> {
        // Of the messages from each place on, the one that was received first.
        let mut first = vec![None; self.messages.len() + 1];
        let received =
            |messages: &[Message], index: usize| messages[index].receive.map_or(NEVER, |receive| receive.returned);
        for index in (0..self.messages.len()).rev() {
            let candidates = [first[index + 1], Some(index)];
            first[index] = candidates.into_iter().flatten().min_by_key(|&index| received(&self.messages, index));
        }
        let overtaker = |message: &Message| {
            let after = self.messages.partition_point(|other| other.send.invoked <= message.send.returned);
            first[after].filter(|&index| received(&self.messages, index) < NEVER)
        };
        let overtakers: Vec<_> = self.messages.iter().map(overtaker).collect();
        for (index, overtaker) in overtakers.iter().enumerate() {
            self.messages[index].overtaken = overtaker.map_or(NEVER, |overtaker| received(&self.messages, overtaker));
        }
        overtakers
    }

    /// Which receivers that were killed can have held each message, and the earliest instant of that.
    fn holders(&mut self) -> HashMap<usize, Vec<usize>> {
        // The latest time at which one of the messages up to each place had been overtaken: where the walk below can end.
        let mut latest = 0;
        let overtaken: Vec<_> = self
            .messages
            .iter()
            .map(|message| {
                latest = latest.max(message.overtaken);
                latest
            })
            .collect();
        let mut holders = HashMap::<usize, Vec<usize>>::new();
        for (number, dead) in self.dead.iter().enumerate() {
            let Outcome::ReceivingDied { killed } = dead.outcome else { unreachable!("only those are collected") };
            let end = self.messages.partition_point(|message| message.send.invoked <= dead.returned);
            for index in (0..end).rev().take_while(|&index| overtaken[index] >= dead.invoked) {
                let message = &mut self.messages[index];
                let received = message.receive.map_or(NEVER, |receive| receive.returned);
                if message.overtaken >= dead.invoked && received >= killed {
                    message.held = message.held.min(dead.invoked);
                    holders.entry(index).or_default().push(number);
                }
            }
        }
        holders
    }

    fn overfull(&self) -> Result<(), Violation> {
        // At one instant those that end come first: the ends do not belong to the interval.
        let mut steps: Vec<_> = self
            .messages
            .iter()
            .enumerate()
            .filter_map(|(index, message)| message.surely_inside().map(|inside| (index, inside)))
            .flat_map(|(index, (from, until))| [(from, true, index), (until, false, index)])
            .collect();
        steps.sort_unstable();
        let mut inside = 0;
        for (_, comes, index) in steps {
            if !comes {
                inside -= 1;
                continue;
            }
            inside += 1;
            if inside > self.capacity {
                return violation(Rule::Overfull, &[self.messages[index].send]);
            }
        }
        Ok(())
    }

    fn empty_and_busy(&self) -> Result<(), Violation> {
        let covered = self.covered();
        let sending = self.sending();
        for &operation in self.history {
            let busy = || {
                let invoked = self.messages.partition_point(|message| message.send.invoked <= operation.returned);
                invoked > 0 && sending[invoked - 1] >= operation.invoked
            };
            let empty = || {
                let before = covered.partition_point(|&(from, _)| from < operation.invoked);
                before == 0 || covered[before - 1].1 <= operation.returned
            };
            match operation.outcome {
                Outcome::Empty if !empty() => return violation(Rule::Empty, &self.witnesses(operation)),
                Outcome::Late if !empty() && !busy() => return violation(Rule::Empty, &self.witnesses(operation)),
                Outcome::Busy if !busy() => return violation(Rule::Busy, &[operation]),
                _ => {}
            }
        }
        Ok(())
    }

    /// The intervals, without their ends, during which some message is surely inside.
    fn covered(&self) -> Vec<(u64, u64)> {
        let mut inside: Vec<_> = self.messages.iter().filter_map(Message::surely_inside).collect();
        inside.sort_unstable();
        let mut covered: Vec<(u64, u64)> = Vec::new();
        for (from, until) in inside {
            match covered.last_mut() {
                // Two that only touch leave an instant between them.
                Some(last) if from < last.1 => last.1 = last.1.max(until),
                _ => covered.push((from, until)),
            }
        }
        covered
    }

    /// For each place, the latest instant at which the sender of a message up to there may be sending.
    fn sending(&self) -> Vec<u64> {
        let mut latest = 0;
        let until = |message: &Message| if message.in_doubt { message.overtaken } else { message.send.returned };
        self.messages
            .iter()
            .map(|message| {
                latest = latest.max(until(message));
                latest
            })
            .collect()
    }

    /// An operation that found the queue empty, and messages that were in it from its beginning on: of those, the one that stayed longest.
    fn witnesses(&self, operation: Operation) -> Vec<Operation> {
        let mut found = vec![operation];
        let inside = |at: u64| {
            let there =
                self.messages.iter().filter_map(|message| message.surely_inside().map(|inside| (inside, message)));
            there.filter(|((from, until), _)| *from < at && at < *until).max_by_key(|((_, until), _)| *until)
        };
        let mut at = operation.invoked;
        while let Some(((_, until), message)) = inside(at) {
            found.push(message.send);
            found.extend(message.receive);
            if until > operation.returned {
                break;
            }
            at = until;
        }
        found
    }

    fn full(&self) -> Result<usize, Violation> {
        let dead = self.dead.iter().map(|dead| dead.returned).max();
        // When the room of each message is free at the latest.
        let freed: Vec<_> = self
            .messages
            .iter()
            .map(|message| match message.receive {
                Some(receive) => receive.returned,
                // Passed over. But if it was sent after all, a dead receiver may hold it.
                None if message.in_doubt && message.held == NEVER => message.overtaken,
                // Received for good by one of the dead, or Lost would have found it; or in doubt.
                None if self.drained => dead.unwrap_or(NEVER).max(if message.in_doubt { message.overtaken } else { 0 }),
                None => NEVER,
            })
            .collect();
        let mut returned: Vec<_> = self.messages.iter().map(|message| message.send.returned).collect();
        returned.sort_unstable();
        let mut leaving = freed.clone();
        leaving.sort_unstable();

        // What may take room grows only when a sending is invoked. So these instants, and the beginning of each operation that found the queue
        // full, are enough.
        let invocations = self.messages.iter().map(|message| (message.send.invoked, None));
        let fulls = self.history.iter().filter(|operation| operation.outcome == Outcome::Full);
        let mut instants: Vec<_> = invocations.chain(fulls.map(|full| (full.invoked, Some(full)))).collect();
        instants.sort_unstable_by_key(|&(time, full)| (time, full.is_some()));
        let (mut sent, mut oldest) = (0, 0);
        let mut enough = Vec::with_capacity(instants.len());
        for &(time, _) in &instants {
            while self.messages.get(sent).is_some_and(|message| message.send.invoked <= time) {
                sent += 1;
            }
            while oldest < sent && freed[oldest] < time {
                oldest += 1;
            }
            // From the oldest that may take room on, all but those that surely came before it.
            let window = match self.messages.get(oldest) {
                Some(message) if oldest < sent => {
                    sent - returned.partition_point(|&other| other < message.send.invoked)
                }
                _ => 0,
            };
            let inside = sent - leaving.partition_point(|&other| other < time);
            enough.push((window >= self.capacity, inside >= self.capacity));
        }

        let (mut next_window, mut next_inside) = (NEVER, NEVER);
        let mut behind_a_receiver = 0;
        for (&(time, full), (window, inside)) in instants.iter().zip(enough).rev() {
            next_window = if window { time } else { next_window };
            next_inside = if inside { time } else { next_inside };
            if let Some(full) = full {
                if next_window > full.returned {
                    return violation(Rule::Full, &[*full]);
                }
                behind_a_receiver += usize::from(next_inside > full.returned);
            }
        }
        Ok(behind_a_receiver)
    }
}

/// Finds a receiver for the message, moving others to another one if need be (augmenting paths).
fn hold(
    message: usize,
    holders: &HashMap<usize, Vec<usize>>,
    matching: &mut [Option<usize>],
    tried: &mut [bool],
) -> bool {
    for &dead in holders.get(&message).into_iter().flatten() {
        if std::mem::replace(&mut tried[dead], true) {
            continue;
        }
        if matching[dead].is_none_or(|other| hold(other, holders, matching, tried)) {
            matching[dead] = Some(message);
            return true;
        }
    }
    false
}
