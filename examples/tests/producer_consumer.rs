//! The example `producer_consumer`.

mod common;

fn run(arguments: &[&str]) -> String {
    common::stdout_of(common::example("producer_consumer").args(arguments))
}

/// The lines of one of the processes, in its order.
fn lines_of<'a>(stdout: &'a str, who: &str) -> Vec<&'a str> {
    stdout.lines().filter(|line| line.starts_with(who)).collect()
}

#[test]
fn every_item_is_produced_and_consumed_in_order() {
    let (stdout, documented) = (run(&[]), common::documented_output("producer_consumer.rs"));
    assert_eq!(stdout.lines().count(), 10, "{stdout}");
    for who in ["Produced", "Consumed"] {
        let expected: Vec<String> = (0..5).map(|item| format!("{who}: {item}")).collect();
        assert_eq!(lines_of(&stdout, who), expected);
        assert_eq!(lines_of(&documented, who), expected);
    }
}

#[test]
fn up_to_twenty_items_have_a_line_each() {
    let stdout = run(&["--items", "20"]);
    assert_eq!((lines_of(&stdout, "Produced").len(), lines_of(&stdout, "Consumed").len()), (20, 20));
    assert_eq!(run(&["--items", "0"]), "");
    assert_eq!(lines_of(&run(&["--items", "21"]), "items: 21").len(), 1);
}

#[test]
fn many_items_have_a_summary() {
    let stdout = run(&["--items", "100000"]);
    let labels: Vec<&str> = stdout.lines().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(labels, ["items", "seconds", "items per second", "sum"]);
    assert!(stdout.contains("items: 100000\n") && stdout.contains("sum: 4999950000,"), "{stdout}");
}

#[test]
fn quiet_is_quiet() {
    assert_eq!(run(&["--quiet"]), "");
    assert_eq!(run(&["--quiet", "--items", "50000"]), "");
}
