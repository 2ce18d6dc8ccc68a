//! The checker is shown a history that breaks each rule, and one beside it that does not.

use crate::checker::{Rule, check};
use crate::history::{Operation, Outcome};

/// An operation with its times; each is a process of its own.
fn at(invoked: u64, returned: u64, outcome: Outcome) -> Operation {
    Operation { process: invoked as u32, invoked, returned, outcome }
}

fn sent(invoked: u64, returned: u64, value: u64) -> Operation {
    at(invoked, returned, Outcome::Sent(value))
}

fn received(invoked: u64, returned: u64, value: u64) -> Operation {
    at(invoked, returned, Outcome::Received(value))
}

fn killed_receiving(invoked: u64, killed: u64, dead: u64) -> Operation {
    at(invoked, dead, Outcome::ReceivingDied { killed })
}

fn legal(capacity: usize, history: &[Operation]) {
    if let Err(violation) = check(history, capacity, true) {
        panic!("{violation}");
    }
}

fn illegal(rule: Rule, capacity: usize, history: &[Operation]) {
    assert_eq!(check(history, capacity, true).expect_err("it is illegal").rule, rule);
}

#[test]
fn a_message_that_nobody_sent_is_found() {
    illegal(Rule::Fresh, 2, &[sent(1, 2, 7), received(3, 4, 8)]);
    legal(2, &[sent(1, 2, 7), received(3, 4, 7)]);
}

#[test]
fn a_message_received_before_it_was_sent_is_found() {
    illegal(Rule::Fresh, 2, &[received(1, 2, 7), sent(3, 4, 7)]);
    legal(2, &[received(1, 3, 7), sent(3, 4, 7)]);
}

#[test]
fn a_message_received_twice_is_found() {
    illegal(Rule::Repeat, 2, &[sent(1, 2, 7), received(3, 4, 7), received(5, 6, 7)]);
    // A receiver that was killed in between is no excuse: who has said that it received a message, has received it.
    illegal(Rule::Repeat, 2, &[sent(1, 2, 7), received(3, 4, 7), killed_receiving(5, 6, 7), received(8, 9, 7)]);
}

#[test]
fn messages_received_in_the_wrong_order_are_found() {
    illegal(Rule::Order, 4, &[sent(1, 2, 7), sent(3, 4, 8), received(5, 6, 8), received(7, 8, 7)]);
    // They were sent at the same time, or received at the same time.
    legal(4, &[sent(1, 3, 7), sent(3, 4, 8), received(5, 6, 8), received(7, 8, 7)]);
    legal(4, &[sent(1, 2, 7), sent(3, 4, 8), received(5, 7, 8), received(7, 8, 7)]);
}

#[test]
fn a_message_that_is_passed_over_for_ever_is_found() {
    illegal(Rule::Order, 4, &[sent(1, 2, 7), sent(3, 4, 8), received(5, 6, 8)]);
}

#[test]
fn a_message_that_is_lost_is_found() {
    illegal(Rule::Lost, 4, &[sent(1, 2, 7), sent(3, 4, 8), received(5, 6, 7)]);
    let undrained = check(&[sent(1, 2, 7), sent(3, 4, 8), received(5, 6, 7)], 4, false);
    assert!(undrained.is_ok(), "it may still be inside");
}

#[test]
fn an_empty_queue_with_a_message_in_it_is_found() {
    illegal(Rule::Empty, 2, &[sent(1, 2, 7), at(3, 4, Outcome::Empty), received(5, 6, 7)]);
    legal(2, &[sent(1, 3, 7), at(3, 4, Outcome::Empty), received(5, 6, 7)]);
    legal(2, &[sent(1, 2, 7), at(3, 4, Outcome::Empty), received(4, 6, 7)]);
}

#[test]
fn an_empty_queue_with_one_message_after_the_other_in_it_is_found() {
    let empty = at(3, 10, Outcome::Empty);
    illegal(Rule::Empty, 2, &[sent(1, 2, 7), sent(4, 5, 8), empty, received(6, 7, 7), received(11, 12, 8)]);
    // Between the two there is an instant without any.
    legal(2, &[sent(1, 2, 7), sent(4, 6, 8), empty, received(6, 7, 7), received(11, 12, 8)]);
}

#[test]
fn a_deadline_that_passed_over_a_message_is_found() {
    illegal(Rule::Empty, 2, &[sent(1, 2, 7), at(3, 4, Outcome::Late), received(5, 6, 7)]);
    legal(2, &[sent(1, 2, 7), at(3, 5, Outcome::Late), sent(4, 7, 8), received(8, 9, 7), received(8, 9, 8)]);
}

#[test]
fn more_messages_than_there_is_room_for_are_found() {
    let history = [sent(1, 2, 7), sent(3, 4, 8), received(5, 6, 7), received(7, 8, 8)];
    illegal(Rule::Overfull, 1, &history);
    legal(2, &history);
}

#[test]
fn a_sender_that_is_not_there_is_found() {
    illegal(Rule::Busy, 2, &[sent(1, 2, 7), at(3, 4, Outcome::Busy), received(5, 6, 7)]);
    legal(2, &[sent(1, 3, 7), at(3, 4, Outcome::Busy), received(5, 6, 7)]);
}

#[test]
fn a_full_queue_with_room_is_found() {
    let full = at(5, 6, Outcome::Full);
    illegal(Rule::Full, 2, &[sent(1, 2, 7), full, received(7, 8, 7)]);
    illegal(Rule::Full, 2, &[sent(0, 1, 7), sent(2, 3, 8), received(2, 4, 7), full, received(7, 8, 8)]);
    legal(2, &[sent(0, 1, 7), sent(2, 3, 8), received(2, 5, 7), full, received(7, 8, 8)]);
    legal(2, &[sent(1, 2, 7), sent(6, 7, 8), full, received(8, 9, 7), received(8, 9, 8)]);
}

#[test]
fn a_full_queue_behind_a_slow_receiver_is_counted() {
    let slow = received(3, 9, 7);
    let history = [sent(1, 2, 7), sent(3, 4, 8), slow, received(5, 6, 8), at(7, 8, Outcome::Full)];
    assert_eq!(check(&history, 2, true).expect("a ring says so").full_behind_a_receiver, 1);
    // Had the receivers come in the other order, the room after the slow one would be free.
    let history = [sent(1, 2, 7), sent(3, 4, 8), received(3, 4, 7), received(5, 9, 8), at(7, 8, Outcome::Full)];
    illegal(Rule::Full, 2, &history);
}

#[test]
fn a_message_that_comes_late_needs_a_receiver_that_was_killed_with_it() {
    let (sent, later) = ([sent(1, 2, 7), sent(3, 4, 8)], [received(7, 8, 8), received(11, 12, 7)]);
    illegal(Rule::Order, 4, &[sent, later].concat());
    // Killed after it had begun to receive, before the other one overtook.
    legal(4, &[&sent[..], &[killed_receiving(5, 9, 10)], &later].concat());
    // It began too late.
    illegal(Rule::Order, 4, &[&sent[..], &[killed_receiving(9, 10, 11)], &later].concat());
    // It died before the message was there.
    illegal(Rule::Order, 4, &[&sent[..], &[killed_receiving(0, 0, 0)], &later].concat());
    // It was killed only after the message had been received.
    illegal(Rule::Order, 4, &[&sent[..], &[killed_receiving(5, 13, 14)], &later].concat());
}

#[test]
fn a_receiver_that_was_killed_had_one_message_at_most() {
    let messages = [sent(1, 2, 7), sent(3, 4, 8), sent(5, 6, 9), received(9, 10, 9)];
    let again = [received(15, 16, 7), received(17, 18, 8)];
    let (one, other) = (killed_receiving(7, 11, 12), killed_receiving(8, 13, 14));
    illegal(Rule::Order, 4, &[&messages[..], &[one], &again].concat());
    legal(4, &[&messages[..], &[one, other], &again].concat());
}

#[test]
fn a_receiver_that_was_killed_may_have_received_a_message_for_good() {
    let messages = [sent(1, 2, 7), sent(3, 4, 8), received(7, 8, 8)];
    let died = [killed_receiving(5, 9, 10)];
    let report = check(&[&messages[..], &died].concat(), 4, true).expect("it is legal");
    assert_eq!((report.excused, report.missing), (1, 1));
}

#[test]
fn a_message_whose_sender_was_killed_may_be_received_or_not() {
    let died = at(1, 2, Outcome::SendingDied(7));
    legal(2, &[died, received(3, 4, 7)]);
    legal(2, &[died, at(3, 4, Outcome::Empty)]);
    // It is in the way until a later one is received, and not any more.
    legal(2, &[died, at(3, 4, Outcome::Busy), sent(5, 6, 8), received(7, 8, 8)]);
    illegal(Rule::Busy, 2, &[died, sent(3, 4, 8), received(5, 6, 8), at(7, 8, Outcome::Busy)]);
    // It was sent before its sender died, if at all.
    illegal(Rule::Order, 4, &[died, sent(3, 4, 8), received(5, 6, 8), received(7, 8, 7)]);
}

#[test]
fn a_message_whose_sender_was_killed_may_take_room_in_the_hands_of_a_dead_receiver() {
    let died = at(1, 2, Outcome::SendingDied(7));
    let rest = [sent(5, 6, 8), received(7, 8, 8), at(9, 10, Outcome::Full)];
    let held = check(&[&[died, killed_receiving(1, 3, 4)], &rest[..]].concat(), 2, false);
    assert!(held.is_ok(), "the dead receiver may hold it: {held:?}");
    let passed = check(&[&[died], &rest[..]].concat(), 2, false);
    assert_eq!(passed.expect_err("there is room").rule, Rule::Full);
}
