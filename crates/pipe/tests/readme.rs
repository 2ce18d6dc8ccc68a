//! The examples of the README: they run, and are what stands here between the marks.
#![cfg(not(any(loom, feature = "portable")))]

#[rustfmt::skip]
mod within_a_program {
// -----
use shmkit_pipe::{Connection, Reader, duplex, pipe};
use shmkit_process::spawn;
use std::io::{BufRead, Write};

fn count_lines(reader: Reader) -> usize { // in a process of its own: until the writer is gone
    reader.lines().count()
}

fn add(mut connection: Connection) {      // and so does this, until nobody asks any more
    while let Ok((one, other)) = connection.recv::<(u64, u64)>() {
        connection.send(&(one + other)).expect("somebody waits for it");
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut writer, reader) = pipe()?;                  // bytes
    let counting = spawn(count_lines, reader)?;          // the end goes to the other process
    writer.write_all(b"one\ntwo\nthree\n")?;
    drop(writer);                                        // the end of the stream
    assert_eq!(counting.join()?, 3);

    let (mut connection, theirs) = duplex()?;            // messages, both ways
    let adding = spawn(add, theirs)?;
    connection.send(&(2_u64, 3_u64))?;
    assert_eq!(connection.recv::<u64>()?, 5);
    drop(connection);
    adding.join()?;
    Ok(())
}
// -----
pub(super) fn run() { main().unwrap(); }
}

#[rustfmt::skip]
mod between_programs {
// -----
use shmkit_pipe::{ConnectError, Listener, connect};
use std::error::Error;

fn serve(listener: &Listener) -> Result<(), Box<dyn Error>> { // of Listener::bind("/run/user/1000/hello")?
    let (mut connection, who) = listener.accept()?;
    connection.send(&format!("hello, process {} of user {}", who.pid, who.user))?;
    Ok(())
}

fn visit(path: &str) -> Result<String, Box<dyn Error>> {      // another program
    match connect(path) {
        Ok(mut connection) => Ok(connection.recv()?),
        Err(ConnectError::NotFound { .. }) => Ok("nobody is there".into()),
        Err(error) => Err(error.into()),
    }
}
// -----
pub(super) fn run() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hello");
    let path = path.to_str().unwrap();
    assert_eq!(visit(path).unwrap(), "nobody is there");
    let listener = Listener::bind(path).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| serve(&listener).unwrap());
        assert!(visit(path).unwrap().starts_with(&format!("hello, process {} of user ", std::process::id())));
    });
}
}

/// What stands in the README, and between the marks.
fn is_in_the_readme(number: usize) -> bool {
    let example = include_str!("readme.rs").split("// -----\n").nth(2 * number + 1).expect("there are as many");
    include_str!("../README.md").contains(&format!("```rust\n{example}```\n"))
}

#[test]
fn the_example_within_a_program_runs_and_is_this_one() {
    assert!(is_in_the_readme(0));
    within_a_program::run();
}

#[test]
fn the_example_between_programs_runs_and_is_this_one() {
    assert!(is_in_the_readme(1));
    between_programs::run();
}
