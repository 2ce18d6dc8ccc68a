//! The rounds of a group, interleaved: every contender has its first before any has its second, so that what disturbs the machine for a
//! while disturbs them all.

use crate::group::{Figure, Group};
use crate::options::Options;
use crate::results::{Row, Series};
use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// A bar for all rounds of all groups.
pub fn progress(groups: &[Group], options: &Options) -> ProgressBar {
    let contenders: usize = groups.iter().map(|group| group.contenders.len()).sum();
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} rounds, {elapsed} of about {duration}  {msg:40!}");
    let bar = ProgressBar::new((contenders * options.rounds()) as u64);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    // Not often: the thread that draws runs on the cores that are measured.
    bar.enable_steady_tick(Duration::from_secs(1));
    bar
}

/// Measures a group. A contender that fails once is left out from then on, and the others go on.
pub fn measure(group: &Group, options: &Options, bar: &ProgressBar) -> Vec<Row> {
    let mut outcomes: Vec<Result<Vec<Figure>, String>> = group.contenders.iter().map(|_| Ok(Vec::new())).collect();
    for _ in 0..options.rounds() {
        for (contender, outcome) in group.contenders.iter().zip(&mut outcomes) {
            bar.set_message(format!("{}: {}", group.name, contender.name));
            if let Ok(figures) = outcome {
                match (contender.round)(options.items(contender.items)) {
                    Ok(figure) => figures.push(figure),
                    Err(error) => *outcome = Err(format!("{error:#}")),
                }
            }
            bar.inc(1);
        }
    }
    let rows = group.contenders.iter().zip(outcomes).map(|(contender, outcome)| Row {
        name: contender.name.clone(),
        peers: contender.peers,
        outcome: outcome.map(|figures| Series::new(group.unit, &figures)),
    });
    rows.collect()
}
