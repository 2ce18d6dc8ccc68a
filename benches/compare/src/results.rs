//! What was measured, and whether the targets are met.

use crate::group::{Bound, Comparison, Figure, Group, Peers, Unit};
use crate::statistics::median;

/// A contender's rounds, or why it has none.
pub struct Row {
    pub name: String,
    pub peers: Peers,
    pub outcome: Result<Series, String>,
}

impl Row {
    /// Whether it is shmkit, in one way or another.
    pub fn is_ours(&self) -> bool {
        self.name.starts_with("shmkit")
    }
}

/// One number for each round, in the group's unit.
pub struct Series {
    pub unit: Unit,
    pub rounds: Vec<f64>,
    /// For latencies, the 99th and the 99.9th percentile of each round.
    tails: Vec<[f64; 2]>,
}

impl Series {
    pub fn new(unit: Unit, figures: &[Figure]) -> Self {
        let rounds = figures.iter().map(|figure| figure.value).collect();
        Self { unit, rounds, tails: figures.iter().filter_map(|figure| figure.tail).collect() }
    }

    pub fn median(&self) -> f64 {
        median(&self.rounds)
    }

    pub fn best(&self) -> f64 {
        self.unit.best(&self.rounds)
    }

    pub fn range(&self) -> [f64; 2] {
        [f64::min, f64::max].map(|edge| self.rounds.iter().copied().reduce(edge).unwrap_or(f64::NAN))
    }

    /// The medians of the percentiles, for latencies.
    pub fn tail(&self) -> Option<[f64; 2]> {
        let of = |index: usize| median(&self.tails.iter().map(|tail| tail[index]).collect::<Vec<_>>());
        (!self.tails.is_empty()).then(|| [of(0), of(1)])
    }
}

/// A group's rows and what became of its comparisons.
pub struct GroupResult {
    pub name: &'static str,
    pub about: &'static str,
    pub unit: Unit,
    pub rows: Vec<Row>,
    pub verdicts: Vec<Verdict>,
}

/// A comparison with its numbers.
pub struct Verdict {
    pub row: String,
    /// What is compared, such as `shmkit ≥ 1.2 × rtrb`.
    pub target: String,
    /// `None` if one of the two was not measured.
    pub ratio: Option<f64>,
    pub bound: Bound,
    /// Where the bound lies in the group's unit, by the rival's median.
    pub goal: Option<f64>,
}

impl Verdict {
    /// Whether the ratio is what it should be; `None` if that cannot be said, or nothing is expected.
    pub fn is_met(&self) -> Option<bool> {
        match self.bound {
            Bound::AtLeast(least) => self.ratio.map(|ratio| ratio >= least),
            Bound::AtMost(most) => self.ratio.map(|ratio| ratio <= most),
            Bound::None => None,
        }
    }
}

/// Adds a group's result to those of the groups before it, to which it may be compared.
pub fn conclude(before: &mut Vec<GroupResult>, group: &Group, rows: Vec<Row>) {
    let verdict = |comparison: &Comparison| {
        let ours = find(&rows, &comparison.ours);
        let others = comparison
            .other_group
            .map_or(Some(&rows), |name| before.iter().find(|group| group.name == name).map(|group| &group.rows));
        let other = others.and_then(|rows| find(rows, &comparison.other));
        Verdict {
            row: comparison.row.clone(),
            target: describe(comparison),
            ratio: ours.zip(other).map(|(ours, other)| ours / other),
            bound: comparison.bound,
            goal: other.and_then(|other| match comparison.bound {
                Bound::AtLeast(factor) | Bound::AtMost(factor) => Some(factor * other),
                Bound::None => None,
            }),
        }
    };
    let verdicts = group.comparisons.iter().map(verdict).collect();
    before.push(GroupResult { name: group.name, about: group.about, unit: group.unit, rows, verdicts });
}

fn find(rows: &[Row], name: &str) -> Option<f64> {
    rows.iter().find(|row| row.name == name)?.outcome.as_ref().ok().map(Series::median)
}

fn describe(comparison: &Comparison) -> String {
    let group = comparison.other_group.map(|group| format!("{group}: ")).unwrap_or_default();
    let other = format!("{group}{}", comparison.other);
    match comparison.bound {
        Bound::AtLeast(least) => format!("{} ≥ {least} × {other}", comparison.ours),
        Bound::AtMost(most) => format!("{} ≤ {most} × {other}", comparison.ours),
        Bound::None => format!("{} ÷ {other}", comparison.ours),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::Contender;

    fn row(name: &str, value: f64) -> Row {
        let series = Series::new(Unit::MessageRate, &[Figure::from(value)]);
        Row { name: name.into(), peers: Peers::Threads, outcome: Ok(series) }
    }

    #[test]
    fn a_target_is_met_missed_or_unknown() {
        let group = Group::new("g", Unit::MessageRate, "")
            .contender(Contender::new("shmkit", Peers::Processes, 1, |_| Ok(1.0)))
            .compare("shmkit", "slow", Bound::AtLeast(2.0))
            .compare("shmkit", "fast", Bound::AtLeast(2.0))
            .compare("shmkit", "absent", Bound::AtLeast(2.0))
            .compare_self("shmkit", Some("before"), "shmkit", Bound::AtMost(3.0));
        let mut results = Vec::new();
        conclude(&mut results, &Group::new("before", Unit::MessageRate, ""), vec![row("shmkit", 2.0)]);
        conclude(&mut results, &group, vec![row("shmkit", 4.0), row("slow", 2.0), row("fast", 4.0)]);
        let met: Vec<_> = results[1].verdicts.iter().map(Verdict::is_met).collect();
        assert_eq!(met, [Some(true), Some(false), None, Some(true)]);
        assert_eq!(results[1].verdicts[0].target, "shmkit ≥ 2 × slow");
        assert_eq!(results[1].verdicts[0].goal, Some(4.0));
    }
}
