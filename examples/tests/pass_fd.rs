//! The example `pass_fd`.

mod common;

use common::Child;
use std::path::Path;
use std::process::Command;

/// The lines with this machine's numbers of processes and users left out.
fn anonymous(output: &str) -> String {
    let mut before = "";
    let mut words = Vec::new();
    for word in output.split_inclusive([' ', '\n']) {
        words.push(if ["process ", "user "].contains(&before) { "# " } else { word });
        before = word;
    }
    words.concat()
}

fn pass_fd(flag: &str, path: &Path) -> Command {
    let mut command = common::example("pass_fd");
    command.arg(flag).arg(path);
    command
}

#[test]
fn it_prints_what_its_comment_says() {
    let stdout = common::stdout_of(&mut common::example("pass_fd"));
    assert_eq!(anonymous(&stdout), anonymous(&common::documented_output("pass_fd.rs")));
    assert!(stdout.contains(" user "), "{stdout}");
}

#[test]
fn two_programs_that_are_started_apart_know_each_other_by_their_processes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let mut listener = Child::start(&mut pass_fd("--listen", &path));
    assert_eq!(listener.line(), "listener: waiting for a client");
    let client = Child::start(&mut pass_fd("--connect", &path));
    let (client_pid, listener_pid) = (client.id(), listener.id());
    let said = client.rest();
    assert!(said[0].starts_with(&format!("client: process {listener_pid} of user ")), "{said:?}");
    let said = listener.rest();
    assert!(said[0].starts_with(&format!("listener: process {client_pid} of user ")), "{said:?}");
    assert_eq!(said[1..], ["listener: 1", "listener: 4", "listener: 9", "listener: the client has left, or died"]);
    assert!(!path.exists());
}
