//! The example `tokio_bridge`.

mod common;

fn run(arguments: &[&str]) -> String {
    common::stdout_of(common::example("tokio_bridge").args(arguments))
}

/// What a client asked and was told, in its order.
fn lines_of<'a>(stdout: &'a str, client: &str) -> Vec<&'a str> {
    stdout.lines().filter(|line| line.starts_with(client)).collect()
}

/// The number that a client was told about, and its factors.
fn told(line: &str) -> Option<(u64, Vec<u64>)> {
    let (number, factors) = line.split_once(" is told that ")?.1.split_once(" = ")?;
    Some((number.parse().ok()?, factors.split(" x ").map(str::parse).collect::<Result<_, _>>().ok()?))
}

fn is_prime(number: u64) -> bool {
    number > 1 && (2..).take_while(|divisor| divisor * divisor <= number).all(|divisor| !number.is_multiple_of(divisor))
}

#[test]
fn each_client_asks_and_is_told_what_its_comment_says() {
    let (stdout, documented) = (run(&[]), common::documented_output("tokio_bridge.rs"));
    for client in ["client 1 ", "client 2 ", "client 3 "] {
        assert_eq!(lines_of(&stdout, client).len(), 4, "{stdout}");
        assert_eq!(lines_of(&stdout, client), lines_of(&documented, client));
    }
    assert_eq!(lines_of(&stdout, "answered: "), lines_of(&documented, "answered: "));
}

#[test]
fn the_timer_ticks_while_everybody_waits() {
    let stdout = run(&["--clients", "5"]);
    let line = |wanted: &str| stdout.lines().position(|line| line == wanted).expect(wanted);
    let first_answer = stdout.lines().position(|line| line.contains(" is told ")).unwrap();
    assert!(line("tick 1") < line("tick 2") && line("tick 2") < line("tick 3"), "{stdout}");
    assert!(line("tick 3") < line("2 workers start") && line("2 workers start") < first_answer, "{stdout}");
    let ticks = lines_of(&stdout, "tick ").len();
    assert!(stdout.ends_with(&format!("\nticks meanwhile: {ticks}\n")), "{stdout}");
}

#[test]
fn many_tasks_are_answered_each_its_own_question() {
    let stdout = run(&["--clients", "20", "--questions", "2", "--workers", "3"]);
    let mut numbers = Vec::new();
    for client in 1..=20 {
        let lines = lines_of(&stdout, &format!("client {client} "));
        for pair in lines.chunks(2) {
            let [asked, answered] = pair else { panic!("{lines:?}") };
            let (number, factors) = told(answered).expect(answered);
            assert!(asked.ends_with(&format!(" asks for the factors of {number}")), "{asked}, {answered}");
            assert_eq!(factors.iter().product::<u64>(), number, "{answered}");
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (0..40).map(|more| numbers[0] + more).collect::<Vec<_>>());
    assert!(stdout.contains("answered: 40 questions of 20 clients, by 3 workers\n"), "{stdout}");
}

#[test]
fn the_factors_are_prime() {
    let documented = common::documented_output("tokio_bridge.rs");
    let factors: Vec<u64> = documented.lines().filter_map(told).flat_map(|(_, factors)| factors).collect();
    assert!(factors.len() > 6 && factors.into_iter().all(is_prime));
}

#[test]
fn one_worker_and_one_client_will_do() {
    let stdout = run(&["--clients", "1", "--questions", "1", "--workers", "1"]);
    assert_eq!(lines_of(&stdout, "client 1 ").len(), 2, "{stdout}");
    assert!(stdout.contains("answered: 1 questions of 1 clients, by 1 workers\n"), "{stdout}");
}
