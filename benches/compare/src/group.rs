//! What is compared: groups of contenders at the same work, and the targets between them.

use crate::peers::trip::Latency;
use anyhow::Result;

/// What the numbers of a group count, and which of two is better.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Millions of messages a second.
    MessageRate,
    /// Millions of operations a second.
    OperationRate,
    /// Thousands of millions of bytes a second.
    ByteRate,
    /// Nanoseconds, of a round trip or for each message or operation.
    Nanoseconds,
}

impl Unit {
    pub fn symbol(self) -> &'static str {
        match self {
            Self::MessageRate => "Mmsg/s",
            Self::OperationRate => "Mop/s",
            Self::ByteRate => "GB/s",
            Self::Nanoseconds => "ns",
        }
    }

    pub fn higher_is_better(self) -> bool {
        matches!(self, Self::MessageRate | Self::OperationRate | Self::ByteRate)
    }

    /// The best of some numbers; there is one for each round.
    pub fn best(self, values: &[f64]) -> f64 {
        let better = if self.higher_is_better() { f64::max } else { f64::min };
        values.iter().copied().reduce(better).unwrap_or(f64::NAN)
    }
}

/// What the peers of a contender are.
#[derive(Clone, Copy)]
pub enum Peers {
    /// Threads of one process, because that is all it can do, or to be compared with those.
    Threads,
    /// Processes.
    Processes,
}

impl Peers {
    pub fn name(self) -> &'static str {
        match self {
            Self::Threads => "threads",
            Self::Processes => "processes",
        }
    }
}

/// What one round of one contender came to, in its group's unit.
#[derive(Clone, Copy)]
pub struct Figure {
    pub value: f64,
    /// For latencies, the 99th and the 99.9th percentile; the value is the 50th.
    pub tail: Option<[f64; 2]>,
}

impl From<f64> for Figure {
    fn from(value: f64) -> Self {
        Self { value, tail: None }
    }
}

impl From<Latency> for Figure {
    fn from(latency: Latency) -> Self {
        Self { value: latency.p50, tail: Some([latency.p99, latency.p999]) }
    }
}

type Round = Box<dyn Fn(u64) -> Result<Figure>>;

/// Somebody who does the group's work.
pub struct Contender {
    pub name: String,
    pub peers: Peers,
    /// How many messages or round trips a round has, so that it takes some tenths of a second.
    pub items: u64,
    /// Does so many, from scratch.
    pub round: Round,
}

impl Contender {
    pub fn new<F: Into<Figure>>(
        name: impl Into<String>,
        peers: Peers,
        items: u64,
        round: impl Fn(u64) -> Result<F> + 'static,
    ) -> Self {
        Self { name: name.into(), peers, items, round: Box::new(move |items| round(items).map(Into::into)) }
    }
}

/// What a ratio should be.
#[derive(Clone, Copy)]
pub enum Bound {
    AtLeast(f64),
    AtMost(f64),
    /// It is shown, and nothing is expected of it.
    None,
}

/// A ratio of two medians: of one contender's number to another's.
pub struct Comparison {
    /// The contender in whose row it is shown: the rival, or the first of the two where there is none.
    pub row: String,
    pub ours: String,
    /// The other's group, if it is not the same one.
    pub other_group: Option<&'static str>,
    pub other: String,
    pub bound: Bound,
}

/// Contenders at the same work.
pub struct Group {
    pub name: &'static str,
    /// What is moved, and how, in a sentence or two.
    pub about: &'static str,
    pub unit: Unit,
    pub contenders: Vec<Contender>,
    pub comparisons: Vec<Comparison>,
}

impl Group {
    pub fn new(name: &'static str, unit: Unit, about: &'static str) -> Self {
        Self { name, about, unit, contenders: Vec::new(), comparisons: Vec::new() }
    }

    pub fn contender(mut self, contender: Contender) -> Self {
        self.contenders.push(contender);
        self
    }

    /// Compares `ours` with `rival`, in the rival's row.
    pub fn compare(mut self, ours: impl Into<String>, rival: impl Into<String>, bound: Bound) -> Self {
        let rival = rival.into();
        self.comparisons.push(Comparison {
            row: rival.clone(),
            ours: ours.into(),
            other_group: None,
            other: rival,
            bound,
        });
        self
    }

    /// Compares `ours` with a contender of another group, or with a smaller one of its own kind, in its own row.
    pub fn compare_self(
        mut self,
        ours: impl Into<String>,
        other_group: Option<&'static str>,
        other: impl Into<String>,
        bound: Bound,
    ) -> Self {
        let ours = ours.into();
        self.comparisons.push(Comparison { row: ours.clone(), ours, other_group, other: other.into(), bound });
        self
    }
}
