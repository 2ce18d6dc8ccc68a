//! The command line.

use clap::Parser;
use std::path::PathBuf;

/// Rounds of a full run: the median of fewer is not worth much.
const ROUNDS: usize = 9;
const QUICK_ROUNDS: usize = 5;
/// How much shorter the rounds of a quick run are.
const QUICK_DIVISOR: u64 = 3;

/// Measures shmkit and others at the same work, side by side.
#[derive(Parser)]
pub struct Options {
    /// Measures this group only; can be given several times.
    #[arg(long, value_name = "GROUP")]
    pub only: Vec<String>,

    /// How many rounds each contender has [default: 9, and 5 with --quick].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,

    /// Has fewer and shorter rounds: all groups in four minutes, to see that everything works.
    #[arg(long)]
    pub quick: bool,

    /// Writes one JSON object a line, one for each contender of each group, to this file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Measures the latency groups with each side pinned to a core of its own as well.
    #[arg(long)]
    pub pin: bool,

    /// Lists the groups and their contenders, and measures nothing.
    #[arg(long)]
    pub list: bool,
}

impl Options {
    pub fn rounds(&self) -> usize {
        self.rounds.map_or(if self.quick { QUICK_ROUNDS } else { ROUNDS }, |rounds| rounds as usize)
    }

    /// How many items a round has of those that a full one has.
    pub fn items(&self, full: u64) -> u64 {
        if self.quick { full / QUICK_DIVISOR } else { full }
    }
}
