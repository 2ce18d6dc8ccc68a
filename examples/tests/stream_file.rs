//! The example `stream_file`, with real files.

mod common;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Output;
use tempfile::TempDir;

/// How much of this test's own program is sent.
const LENGTH: u64 = 3_000_000;

/// The first bytes of this program, in a file.
fn real(directory: &TempDir) -> PathBuf {
    let path = directory.path().join("real");
    let program = File::open(std::env::current_exe().unwrap()).unwrap();
    let copied = io::copy(&mut program.take(LENGTH), &mut File::create(&path).unwrap()).unwrap();
    assert_eq!(copied, LENGTH);
    path
}

fn run(arguments: &[&Path]) -> String {
    common::stdout_of(common::example("stream_file").args(arguments))
}

/// What it prints with every number left out.
fn words(stdout: &str) -> String {
    let is_number = |word: &&str| word.chars().all(|character| character.is_ascii_hexdigit() || character == '.');
    let words = stdout.split_inclusive([' ', '\n']).map(|word| if is_number(&word.trim_end()) { "# " } else { word });
    words.collect()
}

/// The number behind this in what it prints.
fn number(stdout: &str, label: &str) -> u64 {
    let (_, rest) = stdout.split_once(label).unwrap_or_else(|| panic!("{stdout}"));
    rest.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn it_prints_lines_like_those_in_its_comment() {
    let directory = tempfile::tempdir().unwrap();
    let stdout = run(&[&real(&directory), Path::new("/dev/null")]);
    let documented = common::documented_output("stream_file.rs");
    let (command, documented) = documented.split_once('\n').unwrap();
    assert_eq!(words(&stdout), words(documented), "{command}: {stdout}");
    assert_eq!((number(&stdout, "sent: "), number(&stdout, "received: ")), (LENGTH, LENGTH));
}

#[test]
fn the_other_process_has_the_very_bytes_in_the_end_compressed_on_the_way_or_not() {
    let directory = tempfile::tempdir().unwrap();
    let (copy, words) = (directory.path().join("copy"), directory.path().join("words"));
    fs::write(&words, "one behind the other").unwrap();
    let real = real(&directory);
    let wanted = [fs::read(&real).unwrap(), fs::read(&words).unwrap()].concat();
    for how in [&[][..], &[Path::new("--direct")]] {
        let stdout = run(&[how, &[Path::new("--to"), &copy, &real, &words]].concat());
        assert!(fs::read(&copy).unwrap() == wanted, "{stdout}");
        assert_eq!(number(&stdout, " bytes of "), 2, "{stdout}");
    }
}

#[test]
fn an_empty_file_is_a_stream_too() {
    let directory = tempfile::tempdir().unwrap();
    let empty = directory.path().join("empty");
    fs::write(&empty, "").unwrap();
    for how in [&[][..], &[Path::new("--direct")]] {
        let stdout = run(&[how, &[&empty]].concat());
        assert_eq!((number(&stdout, "sent: "), number(&stdout, "received: ")), (0, 0), "{stdout}");
    }
}

fn failure(arguments: &[&str]) -> String {
    let mut command = common::example("stream_file");
    let Output { status, stdout, stderr } =
        command.args(arguments).arg(std::env::current_exe().unwrap()).output().unwrap();
    assert!(!status.success() && stdout.is_empty(), "{}", String::from_utf8_lossy(&stdout));
    String::from_utf8(stderr).unwrap()
}

#[test]
fn what_goes_wrong_in_the_other_process_is_told_and_not_just_that_the_pipe_broke() {
    for how in [&["--to", "/dev/full"][..], &["--direct", "--to", "/dev/full"]] {
        let complaint = failure(how);
        assert!(complaint.contains("No space left on device"), "{complaint}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let complaint = failure(&["/nowhere/file"]);
    assert!(complaint.contains("/nowhere/file: No such file or directory"), "{complaint}");
}
