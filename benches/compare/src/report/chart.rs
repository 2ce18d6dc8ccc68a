//! A group's picture: a bar for each contender, shmkit's in colour, and a line where each target lies.

use crate::results::{GroupResult, Row, Series, Verdict};
use crate::table::number;
use maud::{Markup, html};

const WIDTH: f64 = 960.0;
const NAMES: f64 = 210.0;
/// Room for the number behind the longest bar.
const VALUES: f64 = 90.0;
const ROW: f64 = 26.0;
const BAR: f64 = 16.0;
const TOP: f64 = 8.0;
/// A line of text about a target.
const LEGEND: f64 = 17.0;
/// What the longest of them needs.
const ROOM: f64 = 300.0;
/// From here on, lengths are logarithms: the short bars would not be seen otherwise.
const FAR_APART: f64 = 40.0;

/// Where a number lies from left to right.
struct Scale {
    least: f64,
    most: f64,
    logarithmic: bool,
}

impl Scale {
    fn of(values: &[f64]) -> Self {
        let edge = |edge: fn(f64, f64) -> f64| values.iter().copied().reduce(edge).unwrap_or(1.0);
        let (least, most) = (edge(f64::min), edge(f64::max));
        let logarithmic = most / least > FAR_APART;
        // A logarithm has no zero to start from, so the shortest bar gets a third of a decade.
        Self { least: if logarithmic { least / 2.0 } else { 0.0 }, most, logarithmic }
    }

    fn x(&self, value: f64) -> f64 {
        let part = if self.logarithmic {
            (value / self.least).ln() / (self.most / self.least).ln()
        } else {
            value / self.most
        };
        NAMES + part.clamp(0.0, 1.0) * (WIDTH - NAMES - VALUES)
    }
}

/// The picture, or nothing if nobody was measured.
pub fn draw(group: &GroupResult) -> Markup {
    let rows: Vec<(&Row, &Series)> =
        group.rows.iter().filter_map(|row| Some((row, row.outcome.as_ref().ok()?))).collect();
    let mut goals: Vec<(&Verdict, f64)> = group
        .verdicts
        .iter()
        .filter_map(|verdict| Some((verdict, verdict.goal?)))
        .filter(|_| shows_goals(group))
        .collect();
    // From left to right, so that no line crosses the text of another.
    goals.sort_by(|one, other| one.1.total_cmp(&other.1));
    let values = rows.iter().flat_map(|(_, series)| series.range()).chain(goals.iter().map(|&(_, goal)| goal));
    let scale = Scale::of(&values.collect::<Vec<_>>());
    let bottom = TOP + ROW * rows.len() as f64;
    let height = bottom + LEGEND * goals.len() as f64 + if scale.logarithmic { LEGEND } else { 0.0 } + 6.0;
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {height}")) role="img" aria-label=(format!("{} as a bar chart", group.name)) {
            @for ((row, series), index) in rows.iter().zip(0..) {
                (bar(row, series, &scale, TOP + ROW * f64::from(index)))
            }
            line.axis x1=(NAMES) x2=(NAMES) y1="0" y2=(bottom) {}
            @for ((verdict, at), index) in goals.iter().zip(1..) {
                (goal(verdict, scale.x(*at), bottom, bottom + LEGEND * f64::from(index)))
            }
            @if scale.logarithmic {
                text.quiet x=(NAMES) y=(height - 6.0) { "Lengths are logarithmic." }
            }
        }
    }
}

/// Where every row has a target of its own the lines would only cover each other; the table has them.
fn shows_goals(group: &GroupResult) -> bool {
    group.verdicts.len() <= 8
}

fn bar(row: &Row, series: &Series, scale: &Scale, y: f64) -> Markup {
    let [least, most] = series.range();
    let (end, middle) = (scale.x(series.median()), y + ROW / 2.0);
    html! {
        text x=(NAMES - 8.0) y=(middle + 4.0) text-anchor="end" { (row.name) }
        rect.bar.ours[row.is_ours()] x=(NAMES) y=(middle - BAR / 2.0) width=(format!("{:.1}", end - NAMES)) height=(BAR) rx="2" {
            title { (row.name) ", " (row.peers.name()) ": " (number(series.median())) " " (series.unit.symbol()) }
        }
        line.whisker x1=(format!("{:.1}", scale.x(least))) x2=(format!("{:.1}", scale.x(most))) y1=(middle) y2=(middle) {}
        text.value x=(format!("{:.1}", scale.x(most.max(series.median())) + 6.0)) y=(middle + 4.0) { (number(series.median())) }
    }
}

fn goal(verdict: &Verdict, x: f64, bottom: f64, y: f64) -> Markup {
    let met = match verdict.is_met() {
        Some(true) => "met",
        Some(false) => "not met",
        None => "not measured",
    };
    // To the right of its line where there is no room to the left.
    let (anchor, text) = if x < ROOM { ("start", x + 4.0) } else { ("end", x - 4.0) };
    html! {
        line.goal x1=(format!("{x:.1}")) x2=(format!("{x:.1}")) y1="0" y2=(y - 4.0 + (bottom - y).max(0.0)) {}
        text.goal-name x=(format!("{text:.1}")) y=(y) text-anchor=(anchor) { (verdict.target) ": " (met) }
    }
}
