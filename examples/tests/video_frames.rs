//! The example `video_frames`.

mod common;
#[path = "../video_frames/place.rs"]
mod place;

use place::place;
use shmkit::queue::buffer;

fn run(arguments: &[&str]) -> String {
    common::stdout_of(common::example("video_frames").args(arguments))
}

/// What stands before and behind the colon, line by line.
fn values(stdout: &str) -> Vec<(&str, &str)> {
    stdout.lines().map(|line| line.split_once(": ").expect(line)).collect()
}

/// How many frames each consumer has seen.
fn shares(stdout: &str) -> Vec<u64> {
    let of_consumer = |(label, value): &(&str, &str)| {
        label.strip_prefix("consumer ")?;
        value.strip_suffix(" frames")?.parse().ok()
    };
    values(stdout).iter().filter_map(of_consumer).collect()
}

/// The numbers among the words of a line that begins so.
fn numbers(stdout: &str, begin: &str) -> Vec<u64> {
    let line = stdout.lines().find(|line| line.starts_with(begin)).expect(begin);
    line.split([' ', ',']).filter_map(|word| word.parse().ok()).collect()
}

const SMALL: [&str; 6] = ["--width", "64", "--height", "48", "--frames", "200"];

#[test]
fn every_frame_is_seen_once_and_none_is_copied() {
    let stdout = run(&["--frames", "24"]);
    assert!(stdout.starts_with("frames: 24, of 8294400 bytes\nseconds: "), "{stdout}");
    assert!(stdout.contains("\nbytes copied between processes: 0;"), "{stdout}");
    assert!(stdout.ends_with("\nseen: all frames\n"), "{stdout}");
    assert_eq!((shares(&stdout).len(), shares(&stdout).iter().sum()), (3, 24), "{stdout}");
}

#[test]
fn a_place_is_told_from_that_of_another_message_and_of_a_copy() {
    let (sender, receiver) = buffer::channel((2, 5000)).unwrap();
    let mut drawn = Vec::new();
    for message in [b"one", b"two"] {
        let mut loan = sender.loan(3).unwrap();
        loan.copy_from_slice(message);
        drawn.push(place(&loan).unwrap());
        loan.send().unwrap();
    }
    let (one, two) = (receiver.recv().unwrap(), receiver.recv().unwrap());
    assert_eq!([place(&one), place(&two)], [Some(drawn[0]), Some(drawn[1])]);
    assert_ne!(drawn[0], drawn[1]);
    assert!(!drawn.contains(&place(&Vec::from(&*one)).unwrap()));
}

#[test]
fn a_frame_whose_consumer_is_killed_is_seen_by_another() {
    let stdout = run(&[&SMALL[..], &["--kill-a-consumer"]].concat());
    let (killed, again) = (numbers(&stdout, "killed: "), numbers(&stdout, "again: "));
    let ([victim, process, frame], [same_frame, successor, same_process]) = (&killed[..], &again[..]) else {
        panic!("{stdout}");
    };
    assert_eq!((frame, same_frame, same_process), (&100, &100, process), "{stdout}");
    assert_ne!(victim, successor, "{stdout}");
    // So each was seen once: what was seen twice would be missing elsewhere.
    assert_eq!(shares(&stdout).iter().sum::<u64>(), 200, "{stdout}");
    assert!(stdout.ends_with("\nseen: all frames\n"), "{stdout}");
}

#[test]
fn it_prints_lines_like_those_in_its_comment() {
    let stdout = run(&["--frames", "12", "--kill-a-consumer"]);
    let documented = common::documented_output("video_frames/main.rs");
    let (_, documented) = documented.split_once('\n').unwrap(); // after the command
    let labels = |text| values(text).into_iter().map(|(label, _)| label.to_owned()).collect::<Vec<_>>();
    assert_eq!(labels(&stdout), labels(documented));
}

#[test]
fn any_number_of_consumers_and_any_size_will_do() {
    for (consumers, width, height) in [("1", "1", "1"), ("2", "7", "1"), ("5", "3", "100")] {
        let size = ["--width", width, "--height", height, "--consumers", consumers, "--frames", "50"];
        let stdout = run(&size);
        assert_eq!((shares(&stdout).len().to_string(), shares(&stdout).iter().sum()), (consumers.to_owned(), 50));
    }
}

#[test]
fn a_saved_frame_is_a_picture_of_the_box() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("frame.ppm");
    run(&[&SMALL[..], &["--kill-a-consumer", "--save", path.to_str().unwrap()]].concat());
    let picture = std::fs::read(path).unwrap();
    let pixels = picture.strip_prefix(b"P6 64 48 255\n").expect("a header");
    assert_eq!(pixels.len(), 64 * 48 * 3);
    // The box is an eighth of the height.
    assert_eq!(pixels.chunks(3).filter(|pixel| *pixel == [255, 0, 0]).count(), 6 * 6);
}

#[test]
fn consumers_that_fail_end_the_program_and_say_why() {
    let output = common::example("video_frames").args(SMALL).args(["--save", "/nowhere/frame"]).output().unwrap();
    assert!(!output.status.success());
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.contains("/nowhere/frame: No such file or directory"), "{complaint}");
}

#[test]
fn nobody_is_killed_who_would_be_missed() {
    let output = common::example("video_frames").args(["--consumers", "1", "--kill-a-consumer"]).output().unwrap();
    assert!(!output.status.success() && output.stdout.is_empty());
}
