//! The example `semaphore`.

mod common;

use std::path::Path;
use std::process::Command;

fn run(directory: &Path, arguments: &[&str]) -> String {
    common::stdout_of(common::example("semaphore").arg(directory).args(arguments))
}

/// What stands behind the colon, in the line that begins so.
fn value<'a>(stdout: &'a str, label: &str) -> &'a str {
    let of_label = |line: &'a str| line.strip_prefix(label)?.strip_prefix(": ");
    stdout.lines().find_map(of_label).unwrap_or_else(|| panic!("{label}: {stdout}"))
}

/// The numbers in a text.
fn numbers(text: &str) -> Vec<u64> {
    text.split([' ', ',']).filter_map(|word| word.parse().ok()).collect()
}

/// Files of all sorts of lengths and bytes.
fn directory_with_files(count: usize) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for number in 0..count {
        let length = [0, 1, 255, 256, 65_536, 100_001][number % 6];
        let bytes: Vec<u8> = (0..length).map(|at| (at * at + number) as u8).collect();
        std::fs::write(directory.path().join(format!("{number}")), bytes).unwrap();
    }
    directory
}

/// How many files the program `cksum` finds, the sum of what it says of them, and how many bytes they have.
fn cksum(directory: &Path) -> [u64; 3] {
    let files: Vec<_> = directory.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    let output = Command::new("cksum").args(&files).output().expect("every system has cksum");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<[u64; 2]> = text.lines().map(|line| numbers(line)[..2].try_into().unwrap()).collect();
    [lines.len() as u64, lines.iter().map(|[sum, _]| sum).sum(), lines.iter().map(|[_, bytes]| bytes).sum()]
}

fn read(stdout: &str) -> [u64; 3] {
    let [files, bytes] = numbers(value(stdout, "files"))[..] else { panic!("{stdout}") };
    [files, value(stdout, "sum of their checksums").parse().unwrap(), bytes]
}

#[test]
fn all_files_are_read_and_their_checksums_are_right() {
    let directory = directory_with_files(100);
    let stdout = run(directory.path(), &[]);
    assert_eq!(read(&stdout), cksum(directory.path()), "{stdout}");
    assert_eq!(read(&run(directory.path(), &["--processes", "1"])), cksum(directory.path()));
}

#[test]
fn never_do_more_read_at_once_than_there_are_permits() {
    let directory = directory_with_files(200);
    for (arguments, permits) in [(&[][..], 3), (&["--permits", "1"], 1), (&["--permits", "2", "--processes", "20"], 2)]
    {
        let stdout = run(directory.path(), arguments);
        assert!((1..=permits).contains(&numbers(value(&stdout, "at once"))[0]), "{stdout}");
    }
}

#[test]
fn a_killed_process_gives_its_permit_back_and_another_one_reads_its_file() {
    let directory = directory_with_files(31);
    for permits in ["1", "3"] {
        let stdout = run(directory.path(), &["--kill-one", "--permits", permits]);
        let (killed, again) = (value(&stdout, "killed"), value(&stdout, "again"));
        let ([victim, pid], [successor, same_pid]) = (&numbers(killed)[..], &numbers(again)[..]) else {
            panic!("{stdout}");
        };
        assert_eq!(pid, same_pid, "{stdout}");
        assert_ne!(victim, successor, "{stdout}");
        let (_, path) = killed.split_once("in the middle of ").expect(killed);
        assert!(again.starts_with(&format!("{path}, by process ")), "{stdout}");
        assert_eq!(read(&stdout), cksum(directory.path()), "{stdout}");
        assert_eq!(value(&stdout, "permits"), format!("{permits} of {permits} are free again"));
        assert!(numbers(value(&stdout, "at once"))[0] <= permits.parse().unwrap(), "{stdout}");
    }
}

#[test]
fn it_prints_lines_like_those_in_its_comment() {
    let directory = directory_with_files(12);
    let labels =
        |text: &str| text.lines().map(|line| line.split_once(": ").expect(line).0.to_owned()).collect::<Vec<_>>();
    let documented = common::documented_output("semaphore.rs");
    let (_, documented) = documented.split_once('\n').unwrap(); // after the command
    let stdout = run(directory.path(), &["--kill-one"]);
    assert_eq!(labels(&stdout), labels(documented));
    assert_eq!(labels(&run(directory.path(), &[])), labels(documented)[2..]);
}

#[test]
fn what_cannot_be_done_is_said() {
    let complaint = |arguments: &[&str]| {
        let output = common::example("semaphore").args(arguments).output().unwrap();
        assert!(!output.status.success() && output.stdout.is_empty());
        String::from_utf8(output.stderr).unwrap()
    };
    let nowhere = complaint(&["/nowhere"]);
    assert!(nowhere.starts_with("skipped: /nowhere: No such file or directory"), "{nowhere}");
    assert!(nowhere.ends_with("there is no file to read at the paths that were given\n"), "{nowhere}");
    assert!(complaint(&["--kill-one", "--processes", "1"]).contains("nobody would be left"));
    assert!(complaint(&["--permits", "0"]).contains("0 is not in 1..=1000"));
}
