//! The example `shared_counter`.

mod common;

fn run(arguments: &[&str]) -> String {
    common::stdout_of(common::example("shared_counter").args(arguments))
}

/// What stands before and behind the colon, line by line.
fn values(stdout: &str) -> Vec<(&str, &str)> {
    stdout.lines().map(|line| line.split_once(": ").expect(line)).collect()
}

/// What stands behind this label: there is one such line.
fn value<'a>(stdout: &'a str, label: &str) -> &'a str {
    let found: Vec<_> = values(stdout).into_iter().filter(|(found, _)| *found == label).collect();
    let [(_, value)] = found[..] else { panic!("{label}: {stdout}") };
    value
}

/// The numbers in a text.
fn numbers(text: &str) -> Vec<u64> {
    text.split([' ', ',', ';']).filter_map(|word| word.parse().ok()).collect()
}

/// How much each process has counted.
fn shares(stdout: &str) -> Vec<u64> {
    values(stdout).iter().filter(|(label, _)| label.starts_with("process ")).map(|(_, text)| numbers(text)[0]).collect()
}

#[test]
fn one_is_told_that_the_holder_died_and_finds_the_count_as_it_was() {
    let stdout = run(&[]);
    let ([victim, written], [told, found]) =
        (&numbers(value(&stdout, "killed"))[..], &numbers(value(&stdout, "told"))[..])
    else {
        panic!("{stdout}");
    };
    assert_eq!((*written, *found), (u64::MAX, 50_000), "{stdout}");
    assert_ne!(victim, told, "{stdout}");
    assert!(value(&stdout, &format!("process {victim}")).ends_with(", until it was killed"), "{stdout}");
}

#[test]
fn nobody_counts_too_far_or_too_little() {
    for (processes, end) in [("4", "100000"), ("2", "1"), ("2", "2"), ("7", "20001"), ("32", "1000")] {
        let stdout = run(&["--processes", processes, "--end", end]);
        let shares = shares(&stdout);
        assert_eq!((shares.len(), shares.iter().sum()), (processes.parse().unwrap(), end.parse::<u64>().unwrap()));
        assert_eq!((value(&stdout, "by the lock"), value(&stdout, "without one")), (end, end), "{stdout}");
        // Among them, the victim has not counted beyond the middle.
        let (victim, half) = (numbers(value(&stdout, "killed"))[0], end.parse::<u64>().unwrap() / 2);
        assert!(shares[victim as usize] <= half, "{stdout}");
        assert_eq!(numbers(value(&stdout, "told"))[1], half, "{stdout}");
    }
}

#[test]
fn it_prints_lines_like_those_in_its_comment() {
    let labels = |text| values(text).into_iter().map(|(label, _)| label.to_owned()).collect::<Vec<_>>();
    assert_eq!(labels(&run(&[])), labels(&common::documented_output("shared_counter.rs")));
}

#[test]
fn somebody_must_be_left_to_be_told() {
    let output = common::example("shared_counter").args(["--processes", "1"]).output().unwrap();
    assert!(!output.status.success() && output.stdout.is_empty());
    assert!(String::from_utf8_lossy(&output.stderr).contains("1 is not in 2..=32"));
}
