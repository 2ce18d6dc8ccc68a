//! The example `inspect`.

mod common;

use common::{Child, Named};
use shmkit::queue::mpmc::{self, Mpmc};
use shmkit::segment::{Options, Segment};
use std::process::{Command, Stdio};
use std::sync::Arc;

fn inspect(arguments: &[&str]) -> String {
    common::stdout_of(common::example("inspect").args(arguments))
}

/// What it says of its failure.
fn complaint(arguments: &[&str]) -> String {
    let output = common::example("inspect").args(arguments).output().unwrap();
    assert!(!output.status.success(), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// The texts of a line of a table. They may hold single spaces.
fn cells(line: &str) -> Vec<&str> {
    line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()
}

fn row<'a>(stdout: &'a str, name: &str) -> Option<Vec<&'a str>> {
    stdout.lines().map(cells).find(|cells| cells.first() == Some(&name))
}

/// A queue that this process is attached to.
fn queue(name: &Named) -> Arc<Segment<Mpmc<u64>>> {
    Options::new().name(name.as_str()).open_or_create(mpmc::Settings::new(1024).into()).unwrap()
}

fn receiver(name: &Named) -> Child {
    let mut child = Child::start(common::example("named").args(["--name", name.as_str(), "--receive"]));
    child.line();
    child
}

#[test]
fn it_lists_segments_and_peers_as_its_comment_says() {
    let name = Named::new("table");
    let segment = queue(&name);
    receiver(&name).kill();
    let documented = common::documented_output("inspect.rs");
    let (all, one) = documented.split_once("\n\n").unwrap();
    // After the command.
    let all: Vec<_> = all.lines().skip(1).map(cells).collect();
    let one: Vec<_> = one.lines().skip(1).map(cells).collect();

    let stdout = inspect(&[]);
    assert_eq!(cells(stdout.lines().next().unwrap()), all[0]);
    let segment_row = row(&stdout, name.as_str()).unwrap();
    // All but name, user and age.
    for column in [1, 2, 4, 5, 7] {
        assert_eq!(segment_row[column], all[1][column], "{stdout}");
    }
    assert_eq!(segment_row[3], rustix::process::geteuid().as_raw().to_string());

    let stdout = inspect(&[name.as_str()]);
    let found: Vec<_> = stdout.lines().map(cells).collect();
    assert_eq!((found.len(), &found[0], &found[3]), (one.len(), &one[0], &one[3]), "{stdout}");
    let (living, dead) = (&found[4], &found[5]);
    assert_eq!((living[0], living[3]), (&*std::process::id().to_string(), one[4][3]));
    assert_eq!(dead[2..], one[5][2..]);
    assert!(dead[1].ends_with(" ago"), "{stdout}");
    assert_eq!(segment.peer_count(), 2, "to look reaps nobody");
}

#[test]
fn nobody_is_attached_to_a_segment_that_everyone_has_left() {
    let name = Named::new("left");
    drop(queue(&name));
    assert!(inspect(&[name.as_str()]).ends_with("\nNobody is attached to it.\n"));
}

#[test]
fn a_name_that_is_removed_is_gone_and_whoever_is_attached_stays() {
    let name = Named::new("remove");
    let segment = queue(&name);
    assert_eq!(inspect(&["--remove", name.as_str()]), format!("removed: {}\n", name.as_str()));
    assert!(row(&inspect(&[]), name.as_str()).is_none() && !name.exists());
    segment.join().unwrap();
    assert!(complaint(&["--remove", name.as_str()]).starts_with("inspect: there is no segment at /dev/shm/shmkit-"));
}

#[test]
fn a_name_that_does_not_exist_is_an_error_that_says_so() {
    let name = Named::new("nowhere");
    let expected = format!("inspect: there is no segment with the name {:?}: ", name.as_str());
    assert!(complaint(&[name.as_str()]).starts_with(&expected));
}

#[test]
fn a_path_is_a_segment_in_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    std::fs::write(&path, "not one").unwrap();
    let stdout = inspect(&[path.to_str().unwrap()]);
    assert_eq!(row(&stdout, "file").unwrap().last(), Some(&"not a segment"));
}

#[test]
fn a_name_cannot_command_the_terminal() {
    let name = Named::new("\u{1b}[2J");
    let _segment = queue(&name);
    let stdout = inspect(&[]);
    assert!(!stdout.contains('\u{1b}') && stdout.contains("\\u{1b}[2J"), "{stdout}");
}

#[test]
fn it_ends_quietly_when_nobody_reads_on() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = common::example("inspect").stdout(writer).stderr(Stdio::piped()).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Runs a script where `/dev/shm` is empty and nobody else's; nothing where the kernel does not allow that.
fn alone(script: &str) -> Option<String> {
    let hidden = "mount -t tmpfs none /dev/shm || exit 77; ";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--map-root-user", "sh", "-ec", &(hidden.to_owned() + script), "sh"]);
    for example in ["inspect", "named"] {
        command.arg(common::example(example).get_program());
    }
    let output = command.output();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output {
        Ok(output) if output.status.success() => Some(text(&output.stdout)),
        Ok(output) if output.status.code() == Some(77) || text(&output.stderr).starts_with("unshare:") => {
            eprintln!("skipped: no /dev/shm of its own: {}", text(&output.stderr));
            None
        }
        Ok(output) => panic!("{}: {}{}", output.status, text(&output.stdout), text(&output.stderr)),
        Err(cause) => {
            eprintln!("skipped: unshare: {cause}");
            None
        }
    }
}

#[test]
fn where_nothing_is_it_says_what_to_do() {
    let Some(stdout) = alone("$1; $1 --remove-stale; $1 --remove-stale --quiet") else { return };
    let (advice, rest) = stdout.split_at(stdout.find("nothing to remove").unwrap());
    assert!(advice.starts_with("There are no segments with names.") && advice.contains("--example named"), "{stdout}");
    assert_eq!(rest, "nothing to remove\nnothing to remove\n");
}

#[test]
fn stale_segments_go_quiet_ones_on_request_and_those_in_use_never() {
    let script = "
        : > /dev/shm/shmkit-unfinished; chmod 600 /dev/shm/shmkit-unfinished
        $2 --name quiet --send 0 > /dev/null
        mkfifo /dev/shm/ready
        $2 --name used --receive > /dev/shm/ready &
        trap 'kill $!' EXIT
        exec 3< /dev/shm/ready; read line <&3
        $1 | cut -d' ' -f1
        echo; $1 --remove-stale
        echo; $1 --remove-stale --quiet
        echo; $1 | cut -d' ' -f1";
    let Some(stdout) = alone(script) else { return };
    let expected = "NAME\nquiet\nunfinished\nused\n\nremoved: unfinished\n\nremoved: quiet\n\nNAME\nused\n";
    assert_eq!(stdout, expected);
}
