//! The example `word_count`, on real files.

mod common;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

struct Run {
    stdout: String,
    stderr: String,
}

impl Run {
    /// The value of a line of the summary.
    fn value(&self, label: &str) -> &str {
        let mut lines = self.stdout.lines();
        let found = lines.find_map(|line| line.strip_prefix(label)?.strip_prefix(": "));
        found.unwrap_or_else(|| panic!("no {label} in {}", self.stdout))
    }

    fn number(&self, label: &str) -> u64 {
        self.value(label).parse().unwrap()
    }

    /// The most frequent words, as printed.
    fn words(&self) -> Vec<(u64, &str)> {
        let lines = self.stdout.lines().take_while(|line| line.starts_with(' '));
        lines
            .map(|line| line.trim_start().split_once("  ").unwrap())
            .map(|(n, word)| (n.parse().unwrap(), word))
            .collect()
    }
}

/// Runs it, successfully.
fn word_count<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Run {
    let mut command = common::example("word_count");
    let output = command.args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let run = Run { stdout: text(&output.stdout), stderr: text(&output.stderr) };
    assert!(output.status.success(), "{command:?}: {}\n{}{}", output.status, run.stdout, run.stderr);
    run
}

fn write(root: &TempDir, name: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
    let path = root.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    path
}

#[test]
fn a_known_tree_has_exactly_these_numbers() {
    let root = tempfile::tempdir().unwrap();
    write(&root, "a", "the cat and the dog\n");
    write(&root, "b/c", "The naïve CAT; naïve_dog\n");
    write(&root, "b/empty", "");
    write(&root, "no-text", b"the \xff the");
    write(&root, ".gitignore", "ignored\n");
    write(&root, "ignored", "the the the");
    let run = word_count([root.path().as_os_str(), OsStr::new("--check")]);
    assert_eq!(run.words(), [(3, "the"), (2, "cat"), (2, "dog"), (2, "naïve"), (1, "and"), (1, "ignored")]);
    assert_eq!((run.number("files"), run.number("bytes"), run.number("words")), (4, 20 + 27 + 8, 11));
    assert_eq!(run.number("skipped"), 1);
    assert_eq!(run.stderr, format!("skipped: {}: not UTF-8 at byte 4\n", root.path().join("no-text").display()));
    assert_eq!(run.value("check"), "ok");
}

#[test]
fn twenty_words_are_printed_and_all_are_counted() {
    let root = tempfile::tempdir().unwrap();
    let text: String = (1..=30).map(|n| format!("word{n:02} ").repeat(n)).collect();
    let run = word_count([write(&root, "text", text)]);
    let expected: Vec<(u64, String)> = (11..=30).rev().map(|n| (n, format!("word{n}"))).collect();
    assert_eq!(run.words(), expected.iter().map(|(n, word)| (*n, word.as_str())).collect::<Vec<_>>());
    assert_eq!(run.number("words"), 30 * 31 / 2);
}

#[test]
fn this_checkouts_sources_are_counted_like_by_one_process() {
    // A copy, as somebody may be at work in the sources.
    let root = tempfile::tempdir().unwrap();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    assert!(Command::new("cp").arg("-r").args([&sources, root.path()]).status().unwrap().success());
    let run = word_count([root.path().as_os_str(), OsStr::new("--check"), OsStr::new("--workers=3")]);
    assert_eq!(run.value("check"), "ok");
    assert!(run.number("files") > 50 && run.number("words") > 10_000, "{}", run.stdout);
}

#[test]
fn the_totals_are_the_same_when_a_worker_is_killed_at_work() {
    let root = tempfile::tempdir().unwrap();
    let lines = if cfg!(debug_assertions) { 1000 } else { 10_000 };
    for file in 0..300 {
        write(&root, format!("{}/{file}", file % 7), format!("one größe in file{file}, again\n").repeat(lines));
    }
    let run = word_count([root.path().as_os_str(), OsStr::new("--check"), OsStr::new("--kill-a-worker")]);
    assert_eq!((run.number("files"), run.number("words")), (300, 300 * 5 * lines as u64));
    assert_eq!(run.words()[..4].iter().map(|(n, _)| *n).collect::<Vec<_>>(), [300 * lines as u64; 4]);
    assert_eq!(run.value("check"), "ok");

    // The killed one is not there any more, another one is, and the job was not left to the dead.
    let killed = run.stdout.lines().rfind(|line| line.starts_with("killed: worker")).expect(&run.stdout);
    let pid_after = |text: &str, before: &str| -> u32 {
        let rest = text.split_once(before).unwrap_or_else(|| panic!("{text}")).1;
        rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
    };
    let victim = pid_after(killed, "worker ");
    assert!(killed.contains("at work on job"), "{killed}");
    assert_ne!(pid_after(run.value("recovered"), "by worker "), victim);
    let workers = |text: &str| text.split_once('[').unwrap().1.split(']').next().unwrap().to_owned();
    let (before, after) = (workers(killed), workers(run.value("replaced")));
    let holds = |list: &str| list.split(", ").any(|pid| pid == victim.to_string());
    assert!(holds(&before) && !holds(&after), "{}", run.stdout);
    assert_eq!(before.split(", ").count(), after.split(", ").count());
}

#[test]
fn killing_takes_work() {
    let root = tempfile::tempdir().unwrap();
    let run = word_count([write(&root, "a", "one").as_os_str(), OsStr::new("--kill-a-worker")]);
    assert!(run.value("killed").starts_with("nobody"));
}

#[test]
fn what_cannot_be_read_is_reported_and_skipped() {
    let root = tempfile::tempdir().unwrap();
    write(&root, "good", "word");
    let dangling = root.path().join("dangling");
    std::os::unix::fs::symlink("nowhere", &dangling).unwrap();
    // A regular file that can be opened and not read, not even by root.
    let unreadable = Path::new("/proc/self/mem");
    let run = word_count([root.path(), &dangling, unreadable]);
    assert_eq!((run.number("files"), run.number("skipped")), (1, 2));
    for (path, reason) in [(&*dangling, "No such file or directory"), (unreadable, "Input/output error")] {
        let report = format!("skipped: {}: {reason}", path.display());
        assert!(run.stderr.contains(&report), "{report} in {}", run.stderr);
    }
}

#[test]
fn an_empty_directory_has_nothing() {
    let run = word_count([tempfile::tempdir().unwrap().path().as_os_str(), OsStr::new("--check")]);
    assert!(run.stdout.starts_with("files: 0\nbytes: 0\nwords: 0\nskipped: 0\n"), "{}", run.stdout);
    assert_eq!((run.value("check"), run.stderr.as_str()), ("ok", ""));
}

#[test]
fn names_that_are_not_unicode_are_names() {
    let root = tempfile::tempdir().unwrap();
    write(&root, OsStr::from_bytes(b"na\xffme"), "word");
    write(&root, OsStr::from_bytes(b"bad\xff"), b"\xff");
    let run = word_count([root.path()]);
    assert_eq!((run.number("files"), run.number("skipped"), run.words()), (1, 1, vec![(1, "word")]));
}

#[test]
fn very_many_paths_of_great_length_fit_into_tasks() {
    let root = tempfile::tempdir().unwrap();
    let deep = [&*"d".repeat(200); 15].iter().collect::<PathBuf>();
    for file in 0..600 {
        write(&root, deep.join(file.to_string()), "word");
    }
    assert_eq!(word_count([root.path()]).number("words"), 600);
}

/// Bytes of the large files.
const LARGE: usize = if cfg!(debug_assertions) { 12 << 20 } else { 50 << 20 };

#[test]
fn one_huge_line_is_counted_in_parts() {
    let root = tempfile::tempdir().unwrap();
    let text = "größe, 数据 word ".repeat(LARGE / 20);
    let path = write(&root, "line", &text);
    let run = word_count([path.as_os_str(), OsStr::new("--check")]);
    let each = (LARGE / 20) as u64;
    assert_eq!(run.words(), [(each, "größe"), (each, "word"), (each, "数据")]);
    assert_eq!((run.number("files"), run.number("bytes")), (1, text.len() as u64));
    assert_eq!(run.value("check"), "ok");
}

#[test]
fn one_huge_word_is_counted_without_holding_it() {
    let root = tempfile::tempdir().unwrap();
    let path = write(&root, "word", "𝒳".repeat(LARGE / 4));
    // Processes that may not have as much memory as the file has bytes.
    let limited = format!("ulimit -d {} && exec \"$@\"", (LARGE >> 10) - 1);
    let mut command = Command::new("sh");
    let output = command.args(["-c", &limited, "sh"]).arg(common::example("word_count").get_program()).arg(path);
    let stdout = common::stdout_of(output);
    assert!(stdout.contains(&format!("files: 1\nbytes: {LARGE}\nwords: 1\n")), "{stdout}");
}

#[test]
fn a_huge_file_that_is_not_text_in_one_place_is_skipped_whole() {
    let root = tempfile::tempdir().unwrap();
    let mut text = "word ".repeat(LARGE / 5).into_bytes();
    text[LARGE / 2] = 0x80;
    let path = write(&root, "line", &text);
    let run = word_count([path.as_os_str(), OsStr::new("--check")]);
    assert_eq!((run.number("files"), run.number("words"), run.number("skipped")), (0, 0, 1));
    assert!(run.stderr.ends_with(&format!("not UTF-8 at byte {}\n", LARGE / 2)), "{}", run.stderr);
    assert_eq!(run.value("check"), "ok");
}

#[test]
fn it_ends_quietly_when_nobody_reads_on() {
    let root = tempfile::tempdir().unwrap();
    let paths = [write(&root, "text", "one two three"), write(&root, "no-text", b"\xff")];
    // Both streams into a pipe that nobody reads.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = common::example("word_count");
    command.args(&paths).stderr(writer.try_clone().unwrap()).stdout(writer);
    assert!(command.status().unwrap().success());
    // And only one, so that a complaint would be seen.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = common::example("word_count").arg(&paths[0]).stdout(writer).stderr(Stdio::piped()).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn no_workers_are_an_error() {
    let output = common::example("word_count").args(["--workers", "0", "."]).output().unwrap();
    assert!(!output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "word_count: a pool has 1 to 1024 workers, not 0\n");
}
