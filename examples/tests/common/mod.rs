//! Runs an example as its users do: as a program of its own.

#![allow(dead_code)]

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Output, Stdio};
use std::sync::Mutex;

/// A command that runs an example.
pub(crate) fn example(name: &str) -> Command {
    Command::new(binary(name))
}

/// Runs an example that must succeed, and returns what it printed.
pub(crate) fn stdout_of(command: &mut Command) -> String {
    let output = command.output().expect("the example can be started");
    let Output { status, stdout, stderr } = &output;
    assert!(status.success(), "{command:?}: {status}\n{}", String::from_utf8_lossy(stderr));
    String::from_utf8(stdout.clone()).expect("examples print UTF-8")
}

/// The output that the comment at the head of an example promises.
pub(crate) fn documented_output(source: &str) -> String {
    let source = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(source)).unwrap();
    let block = source.lines().skip_while(|line| *line != "//! ```text").skip(1);
    block.take_while(|line| *line != "//! ```").map(|line| line["//!".len()..].trim_start().to_owned() + "\n").collect()
}

/// A program that runs beside the test, and does not outlive it. What it prints tells how far it has come.
pub(crate) struct Child {
    process: std::process::Child,
    stdout: BufReader<ChildStdout>,
}

impl Child {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().expect("the example can be started");
        let stdout = BufReader::new(process.stdout.take().expect("a pipe was asked for"));
        Self { process, stdout }
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// The next line that it prints.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("examples print UTF-8");
        assert!(line.ends_with('\n'), "it ended after {line:?}");
        line.trim_end().to_owned()
    }

    /// Whatever else it prints until it ends, successfully.
    pub(crate) fn rest(mut self) -> Vec<String> {
        let lines = self.stdout.by_ref().lines().collect::<Result<_, _>>().expect("examples print UTF-8");
        let status = self.process.wait().expect("it is a child");
        assert!(status.success(), "{status}: {lines:?}");
        lines
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().and_then(|()| self.process.wait()).expect("it is a child");
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Fails if it has ended already, which is as well.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A segment's name that no other test has, and that is not left behind.
pub(crate) struct Named(String);

impl Named {
    /// One for this purpose: no two tests of a file have the same.
    pub(crate) fn new(purpose: &str) -> Self {
        Self(format!("example-{}-{purpose}", std::process::id()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn path(&self) -> PathBuf {
        Path::new("/dev/shm").join(format!("shmkit-{}", self.0))
    }

    pub(crate) fn exists(&self) -> bool {
        self.path().exists()
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        // Most tests have seen to it themselves.
        let _ = std::fs::remove_file(self.path());
    }
}

/// Where the example's program is. `cargo test` has built it; with a choice of targets, as in `cargo test --test process`, it
/// has not, and it may be missing or older than its source.
fn binary(name: &str) -> PathBuf {
    // Tests lie in `<target>/<profile>/deps`, examples beside that.
    let test = std::env::current_exe().expect("a test knows its own program");
    let profile = test.parent().and_then(Path::parent).expect("tests lie two directories deep");
    let binary = profile.join("examples").join(name);

    static BUILDING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = BUILDING.lock();
    if !is_current(&binary, name) {
        let name_of_profile = match profile.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(name) => name,
        };
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--example", name, "--profile", name_of_profile]);
        build.arg("--target-dir").arg(profile.parent().expect("a profile lies in the target directory"));
        build.current_dir(env!("CARGO_MANIFEST_DIR"));
        assert!(build.status().expect("cargo can be started").success(), "{build:?}");
    }
    binary
}

fn is_current(binary: &Path, name: &str) -> bool {
    let modified = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    // One file, or a directory of them.
    let own = std::fs::read_dir(here.join(name)).into_iter().flatten().flatten().map(|entry| entry.path());
    let others = [format!("{name}.rs"), "src/files.rs".into(), "src/words.rs".into()].map(|source| here.join(source));
    modified(binary) >= own.chain(others).filter_map(|source| modified(&source)).max()
}
