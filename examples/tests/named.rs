//! The example `named`.

mod common;

use common::{Child, Named};
use std::process::{Command, Stdio};

/// One of the two programs, at this name.
fn at(name: &Named, arguments: &[&str]) -> Command {
    let mut command = common::example("named");
    command.args(["--name", name.as_str()]).args(arguments);
    command
}

fn lines_of<'a>(output: &'a str, who: &str) -> Vec<&'a str> {
    output.lines().filter(|line| line.starts_with(who)).collect()
}

#[test]
fn it_prints_what_its_comment_says_though_the_lines_may_mix_differently() {
    let name = Named::new("both");
    let stdout = common::stdout_of(&mut at(&name, &[]));
    let documented = common::documented_output("named.rs");
    assert_eq!(stdout.lines().count(), documented.lines().count(), "{stdout}");
    for who in ["sender", "receiver"] {
        assert_eq!(lines_of(&stdout, who), lines_of(&documented, who));
    }
}

#[test]
fn the_name_is_gone_at_the_end() {
    let name = Named::new("gone");
    common::stdout_of(&mut at(&name, &[]));
    assert!(!name.exists());
}

#[test]
fn a_receiver_that_comes_first_waits_for_the_sender() {
    let name = Named::new("receiver-first");
    let mut receiver = Child::start(&mut at(&name, &["--receive"]));
    assert_eq!(receiver.line(), "receiver: waiting for numbers");
    common::stdout_of(&mut at(&name, &["--send", "2"]));
    assert_eq!(
        receiver.rest(),
        ["receiver: 0", "receiver: 1", "receiver: every sender has left; 2 numbers with the sum 1"]
    );
}

#[test]
fn a_sender_that_comes_first_waits_for_the_receiver() {
    let name = Named::new("sender-first");
    let mut sender = Child::start(&mut at(&name, &["--send", "2"]));
    assert_eq!(sender.line(), "sender: 2 numbers are in the queue");
    let received = common::stdout_of(&mut at(&name, &["--receive"]));
    assert!(received.ends_with("every sender has left; 2 numbers with the sum 1\n"), "{received}");
    assert_eq!(sender.rest(), ["sender: all of them were received"]);
}

#[test]
fn more_numbers_than_the_queue_holds_wait_with_their_sender() {
    let name = Named::new("many");
    let sender = Child::start(&mut at(&name, &["--send", "5000"]));
    let received = common::stdout_of(&mut at(&name, &["--receive"]));
    assert!(received.ends_with("every sender has left; 5000 numbers with the sum 12497500\n"), "{received}");
    assert_eq!(sender.rest().len(), 2);
}

#[test]
fn numbers_of_a_sender_that_was_killed_are_received_all_the_same() {
    let name = Named::new("killed");
    let mut sender = Child::start(&mut at(&name, &["--send", "2"]));
    sender.line();
    sender.kill();
    // They are all there is: this receiver finds a queue without anybody, and so waits for a sender of its own time.
    let mut receiver = Child::start(&mut at(&name, &["--receive"]));
    let lines = [receiver.line(), receiver.line(), receiver.line()];
    assert_eq!(lines, ["receiver: waiting for numbers", "receiver: 0", "receiver: 1"]);
    common::stdout_of(&mut at(&name, &["--send", "1"]));
    assert_eq!(receiver.rest(), ["receiver: 0", "receiver: every sender has left; 3 numbers with the sum 1"]);
}

#[test]
fn to_be_both_by_oneself_is_an_error() {
    let name = Named::new("contradiction");
    assert!(!at(&name, &["--receive", "--send", "1"]).stderr(Stdio::null()).status().unwrap().success());
    assert!(!name.exists());
}
