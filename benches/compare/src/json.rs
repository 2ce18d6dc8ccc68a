//! Results for programs: one object a line, one line for each contender that was measured.

use crate::results::GroupResult;
use anyhow::{Context, Result};
use serde::Serialize;
use std::io::Write;
use std::path::Path;

#[derive(Serialize)]
struct Line<'a> {
    group: &'a str,
    name: &'a str,
    unit: &'a str,
    better: &'a str,
    median: f64,
    best: f64,
    rounds: &'a [f64],
    #[serde(skip_serializing_if = "Option::is_none")]
    p50: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p99: Option<f64>,
    #[serde(rename = "p99.9", skip_serializing_if = "Option::is_none")]
    p999: Option<f64>,
}

/// Writes what was measured.
pub fn write(path: &Path, results: &[GroupResult]) -> Result<()> {
    let context = || format!("{} cannot be written", path.display());
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).with_context(context)?);
    for group in results {
        for row in &group.rows {
            let Ok(series) = &row.outcome else { continue };
            let tail = series.tail();
            let line = Line {
                group: group.name,
                name: &row.name,
                unit: group.unit.symbol(),
                better: if group.unit.higher_is_better() { "higher" } else { "lower" },
                median: series.median(),
                best: series.best(),
                rounds: &series.rounds,
                p50: tail.map(|_| series.median()),
                p99: tail.map(|[p99, _]| p99),
                p999: tail.map(|[_, p999]| p999),
            };
            serde_json::to_writer(&mut file, &line).with_context(context)?;
            file.write_all(b"\n").with_context(context)?;
        }
    }
    file.flush().with_context(context)
}
