//! The example `echo_server`.

mod common;

use common::Child;
use rustix::process::{Pid, Signal, kill_process};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The lines, sorted, with this machine's numbers of processes and users left out.
fn anonymous(output: &str) -> Vec<String> {
    let mut lines: Vec<String> =
        output.lines().map(|line| without_numbers(line, &["process", "user", "client"])).collect();
    lines.sort_unstable();
    lines
}

fn without_numbers(line: &str, before: &[&str]) -> String {
    let mut last = "";
    let mut words = Vec::new();
    for word in line.split(' ') {
        words.push(if before.contains(&last) { "#" } else { word });
        last = word;
    }
    words.join(" ")
}

fn server(path: &Path) -> Child {
    let mut server = Child::start(common::example("echo_server").arg("--listen").arg(path));
    assert_eq!(server.line(), "server: listening");
    server
}

fn client(path: &Path) -> Command {
    let mut client = common::example("echo_server");
    client.arg("--connect").arg(path).stdin(Stdio::null());
    client
}

/// A client that says these lines, and what it is told.
fn chat(path: &Path, lines: &str) -> Output {
    let mut client = client(path).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It may have failed to connect, and not read anything.
    let _ = client.stdin.take().unwrap().write_all(lines.as_bytes());
    client.wait_with_output().unwrap()
}

/// A client that has come, and goes on talking until it is stopped or killed.
fn talker(path: &Path, server: &mut Child) -> Child {
    let client = Child::start(client(path).arg("--messages").arg(u64::MAX.to_string()));
    assert!(server.line().starts_with(&format!("server: process {} of user ", client.id())));
    client
}

/// A client whose messages must all come back.
fn is_served(path: &Path, messages: u64) {
    let stdout = common::stdout_of(client(path).arg("--messages").arg(messages.to_string()));
    assert!(stdout.ends_with(&format!(": {messages} messages have come back as they were\n")), "{stdout}");
}

#[test]
fn it_prints_what_its_comment_says_though_not_in_that_order() {
    let stdout = common::stdout_of(&mut common::example("echo_server"));
    assert_eq!(anonymous(&stdout), anonymous(&common::documented_output("echo_server.rs")));
    assert!(
        stdout.starts_with("server: listening\n") && stdout.ends_with("\nserver: everybody has left\n"),
        "{stdout}"
    );
    // The one that was killed is the one that left early, and no client says that it is done with it.
    let killed = stdout.lines().find(|line| line.ends_with(" is killed after its message 100")).unwrap();
    let victim = killed.split(' ').nth(2).unwrap();
    assert!(stdout.contains(&format!("server: process {victim} has left or died, after 100 messages\n")), "{stdout}");
    assert!(!stdout.contains(&format!("client {victim}: ")), "{stdout}");
}

#[test]
fn what_is_typed_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let _server = server(&path);
    let output = chat(&path, "Grüße\n\nand so on\n");
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "Grüße\n\nand so on\n");
}

#[test]
fn a_client_that_is_stopped_delays_nobody_else() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let mut server = server(&path);
    let stopped = talker(&path, &mut server);
    kill_process(Pid::from_raw(stopped.id() as i32).unwrap(), Signal::STOP).unwrap();
    is_served(&path, 100);
    kill_process(Pid::from_raw(stopped.id() as i32).unwrap(), Signal::CONT).unwrap();
}

#[test]
fn a_client_that_is_killed_takes_nobody_along() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let mut server = server(&path);
    let (mut killed, _other) = (talker(&path, &mut server), talker(&path, &mut server));
    killed.kill();
    is_served(&path, 100);
}

#[test]
fn who_sends_too_much_at_once_is_left_and_nobody_else() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let mut server = server(&path);
    assert!(!chat(&path, &("long".repeat(10_000) + "\n")).status.success());
    assert!(server.line().ends_with(" has come"));
    let left = without_numbers(&server.line(), &["process"]);
    assert!(
        left.starts_with("server: process # is left: the message has 40003 bytes, and 32760 are allowed"),
        "{left}"
    );
    is_served(&path, 100);
}

#[test]
fn the_place_of_a_server_that_was_killed_is_taken_by_the_next_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    server(&path).kill();
    let complaint = String::from_utf8(chat(&path, "").stderr).unwrap();
    assert!(complaint.contains("Refused"), "{complaint}");
    let _server = server(&path);
    is_served(&path, 10);
}

#[test]
fn who_does_not_know_the_secret_is_refused_and_the_others_are_served() {
    let directory = tempfile::tempdir().unwrap();
    let [path, right, wrong] = ["socket", "right", "wrong"].map(|name| directory.path().join(name));
    std::fs::write(&right, "open, sesame").unwrap();
    std::fs::write(&wrong, "open, please").unwrap();
    let mut server =
        Child::start(common::example("echo_server").arg("--secret").arg(&right).arg("--listen").arg(&path));
    assert_eq!(server.line(), "server: listening");
    let output = client(&path).arg("--secret").arg(&wrong).args(["--messages", "1"]).output().unwrap();
    assert!(!output.status.success() && output.stdout.is_empty());
    assert!(server.line().contains(" does not know the secret"));
    let stdout = common::stdout_of(client(&path).arg("--secret").arg(&right).args(["--messages", "10"]));
    assert!(stdout.ends_with(": 10 messages have come back as they were\n"), "{stdout}");
    // And all of it with a secret.
    let stdout = common::stdout_of(common::example("echo_server").arg("--secret").arg(&right));
    assert!(stdout.ends_with("\nserver: everybody has left\n"), "{stdout}");
}
