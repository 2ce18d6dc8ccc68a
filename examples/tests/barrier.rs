//! The example `barrier`.

mod common;

const WIDTH: usize = 48;
const HEIGHT: usize = 32;

fn run(arguments: &[&str]) -> String {
    common::stdout_of(common::example("barrier").args(arguments))
}

/// The lines about a death, and the rest: the picture and what is below.
fn parts(stdout: &str) -> (Vec<&str>, String) {
    let (events, rest): (Vec<_>, Vec<_>) = stdout
        .lines()
        .partition(|line| ["killed: ", "broken: ", "mended: "].iter().any(|begin| line.starts_with(begin)));
    (events, rest.join("\n"))
}

fn documented() -> String {
    common::documented_output("barrier.rs").split_once('\n').unwrap().1.to_owned() // after the command
}

/// The cells in a picture.
fn cells(stdout: &str) -> Vec<Vec<bool>> {
    let lines: Vec<&str> = stdout.lines().filter_map(|line| line.strip_prefix('|')?.strip_suffix('|')).collect();
    let row = |line: &&str, alive: &str| line.chars().map(|cell| alive.contains(cell)).collect::<Vec<bool>>();
    let cells: Vec<_> = lines.iter().flat_map(|line| [row(line, "▀█"), row(line, "▄█")]).collect();
    assert!(cells.len() == HEIGHT && cells.iter().all(|row| row.len() == WIDTH), "{stdout}");
    cells
}

/// The next generation, cell by cell.
fn next(cells: &[Vec<bool>]) -> Vec<Vec<bool>> {
    let is_alive = |row: i32, column: i32| {
        let row = usize::try_from(row).ok().and_then(|row| cells.get(row));
        row.zip(usize::try_from(column).ok()).and_then(|(row, column)| row.get(column).copied()).unwrap_or(false)
    };
    let neighbours = |row: i32, column: i32| {
        let near = (-1..=1).flat_map(|down| (-1..=1).map(move |right| (down, right))).filter(|near| *near != (0, 0));
        near.filter(|(down, right)| is_alive(row + down, column + right)).count()
    };
    let lives = |row, column| matches!((is_alive(row, column), neighbours(row, column)), (_, 3) | (true, 2));
    (0..HEIGHT as i32).map(|row| (0..WIDTH as i32).map(|column| lives(row, column)).collect()).collect()
}

#[test]
fn it_draws_the_picture_in_its_comment() {
    let stdout = run(&[]);
    assert_eq!(parts(&stdout), (vec![], parts(&documented()).1));
}

#[test]
fn a_killed_process_is_replaced_and_not_a_cell_is_different() {
    let (stdout, documented) = (run(&["--kill-one"]), documented());
    let ((events, picture), (documented_events, documented_picture)) = (parts(&stdout), parts(&documented));
    let without_pid = |line: &&str| match line.split_once("pid ") {
        Some((begin, rest)) => begin.to_owned() + rest.trim_start_matches(|digit: char| digit.is_ascii_digit()),
        None => (*line).to_owned(),
    };
    let without_pids = |events: &[&str]| events.iter().map(without_pid).collect::<Vec<_>>();
    assert_eq!(picture, documented_picture);
    assert_eq!(without_pids(&events), without_pids(&documented_events));
}

#[test]
fn a_generation_follows_from_the_one_before_whoever_computes_it() {
    let mut expected = cells(&documented());
    for (generation, processes) in [("1201", "1"), ("1202", "2"), ("1203", "3"), ("1204", "9")] {
        expected = next(&expected);
        assert_eq!(cells(&run(&["--generations", generation, "--processes", processes])), expected, "{generation}");
    }
}

#[test]
fn any_number_of_processes_can_lose_one() {
    for (processes, generations) in [("2", "1"), ("5", "30"), ("32", "31")] {
        let stdout = run(&["--kill-one", "--processes", processes, "--generations", generations]);
        let undisturbed = run(&["--processes", "1", "--generations", generations]);
        let (events, picture) = parts(&stdout);
        assert_eq!((events.len(), &picture), (3, &parts(&undisturbed).1), "{stdout}");
        let told = format!(" as {} other processes were told", processes.parse::<u32>().unwrap() - 1);
        assert!(events[1].ends_with(&told), "{stdout}");
    }
}

#[test]
fn somebody_must_be_left_to_be_told() {
    let output = common::example("barrier").args(["--processes", "1", "--kill-one"]).output().unwrap();
    assert!(!output.status.success() && output.stdout.is_empty());
    assert!(String::from_utf8_lossy(&output.stderr).contains("nobody would be left"));
}
