//! Runs an example as its users do: as a program of its own.

#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
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
    let sources = [format!("{name}.rs"), format!("{name}/main.rs"), "src/files.rs".into(), "src/words.rs".into()];
    modified(binary) >= sources.iter().filter_map(|source| modified(&here.join(source))).max()
}
