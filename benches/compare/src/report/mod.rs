//! Results as a page with pictures: one file that needs no other.

mod chart;

use crate::results::{GroupResult, Row, Verdict};
use crate::table::{met, number};
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("style.css");

/// The whole page.
pub fn page(machine: &[String], rounds: usize, quick: bool, results: &[GroupResult]) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en-GB" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "shmkit compared" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "shmkit compared" }
                ul { @for line in machine { li { (line) } } }
                p {
                    "Medians of " (rounds) " interleaved rounds"
                    @if quick { ", " strong { "quick ones, which show that everything works and little more" } }
                    ". A whisker goes from the worst round to the best. A dashed line is where a target lies: shmkit's bar should end beyond it \
                     where more is better, and before it where less is. What such numbers do not show is in the README."
                }
                @for group in results { (section(group)) }
            }
        }
    };
    page.into_string()
}

fn section(group: &GroupResult) -> Markup {
    let better = if group.unit.higher_is_better() { "more is better" } else { "less is better" };
    html! {
        section {
            h2 { (group.name) " " small { (group.unit.symbol()) ", " (better) } }
            p { (group.about) }
            (chart::draw(group))
            details {
                summary { "Numbers and targets" }
                (table(group))
            }
        }
    }
}

fn table(group: &GroupResult) -> Markup {
    html! {
        table {
            tr {
                th { "contender" } th { "peers" } th { "median" } th { "best" } th { "p99" } th { "p99.9" }
                th { "ratio" } th { "target" } th { "met" }
            }
            @for row in &group.rows { (cells(group, row)) }
        }
    }
}

fn cells(group: &GroupResult, row: &Row) -> Markup {
    let verdicts: Vec<&Verdict> = group.verdicts.iter().filter(|verdict| verdict.row == row.name).collect();
    html! {
        tr {
            td { (row.name) }
            td { (row.peers.name()) }
            @match &row.outcome {
                Ok(series) => {
                    td.number { (number(series.median())) }
                    td.number { (number(series.best())) }
                    @match series.tail() {
                        Some(tail) => { @for value in tail { td.number { (number(value)) } } }
                        None => { td {} td {} }
                    }
                }
                Err(error) => { td colspan="4" { "failed: " (error) } }
            }
            td.number { @for verdict in &verdicts { (verdict.ratio.map(number).unwrap_or_default()) br; } }
            td { @for verdict in &verdicts { (verdict.target) br; } }
            td { @for verdict in &verdicts { (met(verdict)) br; } }
        }
    }
}
