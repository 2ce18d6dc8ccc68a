//! Results for people at a terminal.

use crate::results::{GroupResult, Row, Series, Verdict};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Attribute, Cell, CellAlignment, Color, Table};

/// A number with about three digits that count.
pub fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        small if small >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// Whether a target is met, in a word.
pub fn met(verdict: &Verdict) -> &'static str {
    match verdict.is_met() {
        Some(true) => "yes",
        Some(false) => "no",
        None if verdict.ratio.is_none() => "not measured",
        None => "",
    }
}

/// One group's table.
pub fn render(group: &GroupResult) -> String {
    let unit = group.unit.symbol();
    let tails = group.rows.iter().any(|row| row.outcome.as_ref().is_ok_and(|series| series.tail().is_some()));
    let mut header = vec!["contender", "peers", if tails { "p50" } else { "median" }, "best", "rounds from – to"];
    if tails {
        header.extend(["p99", "p99.9"]);
    }
    header.extend(["ratio", "target", "met"]);
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(header);
    for row in &group.rows {
        table.add_row(cells(group, row, tails));
    }
    let better = if group.unit.higher_is_better() { "more is better" } else { "less is better" };
    let failures = group.rows.iter().filter_map(|row| Some(format!("{}: {}\n", row.name, row.outcome.as_ref().err()?)));
    format!("{} ({unit}, {better})\n{}\n{table}\n{}", group.name, group.about, failures.collect::<String>())
}

fn cells(group: &GroupResult, row: &Row, tails: bool) -> Vec<Cell> {
    let name = Cell::new(&row.name);
    let mut cells =
        vec![if row.is_ours() { name.add_attribute(Attribute::Bold) } else { name }, Cell::new(row.peers.name())];
    match &row.outcome {
        Ok(series) => cells.extend(numbers(series, tails).into_iter().map(right)),
        Err(_) => {
            cells.push(Cell::new("failed").fg(Color::Red));
            cells.extend((0..if tails { 4 } else { 2 }).map(|_| Cell::new("")));
        }
    }
    let verdicts: Vec<&Verdict> = group.verdicts.iter().filter(|verdict| verdict.row == row.name).collect();
    let lines =
        |line: &dyn Fn(&Verdict) -> String| verdicts.iter().map(|verdict| line(verdict)).collect::<Vec<_>>().join("\n");
    cells.push(right(lines(&|verdict| verdict.ratio.map(number).unwrap_or_default())));
    cells.push(Cell::new(lines(&|verdict| verdict.target.clone())));
    let colour = match verdicts.iter().filter_map(|verdict| verdict.is_met()).reduce(|all, met| all && met) {
        Some(true) => Color::Green,
        Some(false) => Color::Red,
        None => Color::Reset,
    };
    cells.push(Cell::new(lines(&|verdict| met(verdict).into())).fg(colour));
    cells
}

fn numbers(series: &Series, tails: bool) -> Vec<String> {
    let [least, most] = series.range().map(number);
    let mut numbers = vec![number(series.median()), number(series.best()), format!("{least} – {most}")];
    if tails {
        numbers.extend(series.tail().map_or([String::new(), String::new()], |tail| tail.map(number)));
    }
    numbers
}

fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}
