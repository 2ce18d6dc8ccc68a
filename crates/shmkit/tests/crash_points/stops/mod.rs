//! Processes that are stopped instead of killed: whoever works with them must never take them for dead, must keep its deadlines, and is delayed
//! only where the documentation says so.

pub(crate) mod buffer;
pub(crate) mod mpmc;
pub(crate) mod others;
pub(crate) mod spsc;

use crate::traffic::{Delays, SHORT};
use serde::{Deserialize, Serialize};
use shmkit::process::JoinHandle;
use shmkit::segment::{Object, Segment};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

/// What a victim writes down once it is armed.
pub(crate) const ARMED: u64 = 0;

/// Which form of an operation the victim calls.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Form {
    Try,
    Blocking,
    Timeout(Duration),
    /// Two messages at once, blocking.
    Batch,
}

impl Form {
    /// In how many rounds in a row the victim must come through: a victim that waits does not always reach the same number of sites.
    fn rounds(self, waits: bool) -> u64 {
        if waits || matches!(self, Self::Timeout(SHORT)) { 8 } else { 1 }
    }

    /// How many messages it sends or receives at most.
    fn messages(self) -> usize {
        if let Self::Batch = self { 2 } else { 1 }
    }
}

/// A stopped process is not dead, and nobody thinks so.
fn expect_alive<O: Object>(segment: &Segment<O>, victim: &JoinHandle<()>) {
    assert_eq!(segment.reap_dead(), 0, "a stopped process was reaped");
    assert!(segment.peers().iter().any(|peer| peer.pid() == victim.pid() && peer.is_alive()));
}

/// What was found at each site of victims that find room, or a message. Those that wait come to other sites on their way, which are `quiet`.
struct Known<T> {
    sites: BTreeMap<String, Vec<T>>,
    quiet: T,
}

impl<T: Copy + PartialEq + Debug> Known<T> {
    fn new(quiet: T) -> Self {
        Self { sites: BTreeMap::new(), quiet }
    }

    fn learn(&mut self, outcomes: &[(String, T)]) {
        for (site, outcome) in outcomes {
            self.sites.entry(site.clone()).or_default().push(*outcome);
        }
    }

    fn expect(&self, name: &str, outcomes: &[(String, T)]) {
        for (site, outcome) in outcomes {
            let is_known = self.sites.get(site).is_some_and(|known| known.contains(outcome));
            assert!(
                is_known || *outcome == self.quiet,
                "{name}: {outcome:?} at {site}, and never there without waiting"
            );
        }
    }
}

fn print_head() {
    println!("{:42} {:>5} {:>7} {:>10} {:>8}", "stopped in", "sites", "nobody", "receivers", "senders");
}

/// At how many sites whom was delayed, and the names of the sites at which somebody was.
fn print_delays(name: &str, sites: &[(String, Delays)]) {
    let count = |delays| sites.iter().filter(|(_, found)| *found == delays).count();
    let [nobody, receivers, senders] = [Delays::Nobody, Delays::Receivers, Delays::Senders].map(count);
    println!("{name:42} {:5} {nobody:7} {receivers:10} {senders:8}", sites.len());
    for (site, delays) in sites.iter().filter(|(_, delays)| *delays != Delays::Nobody) {
        println!("      {delays:?} at {site}");
    }
}
