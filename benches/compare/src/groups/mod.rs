//! The groups, in the order in which they are measured.
//!
//! To add one: a function that returns a [`Group`], in the file of its family or in a new one, and a line in [`all`]. A new rival needs its
//! ends in [`rivals`](crate::rivals). What a group is compared to must come before it.

mod buffer;
mod growth;
mod handover;
mod latency;
mod locks;
mod message;
mod mpmc;
mod one_way;
mod pipe;
mod spsc;

use crate::group::Group;
use crate::options::Options;

/// Every group there is.
pub fn all(options: &Options) -> Vec<Group> {
    let families = [
        spsc::groups(),
        mpmc::groups(),
        one_way::groups(),
        latency::groups(options),
        buffer::groups(),
        pipe::groups(),
        message::groups(),
        locks::groups(),
        handover::groups(options),
        growth::groups(),
    ];
    families.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::collections::HashSet;

    fn every_group() -> Vec<Group> {
        all(&Options::parse_from(["compare", "--pin"]))
    }

    #[test]
    fn contenders_have_names_of_their_own_within_a_group() {
        for group in every_group() {
            let names: HashSet<_> = group.contenders.iter().map(|contender| &contender.name).collect();
            assert_eq!(names.len(), group.contenders.len(), "{}", group.name);
        }
    }

    #[test]
    fn comparisons_name_contenders_that_exist() {
        let groups = every_group();
        let exists = |group: &str, name: &str| {
            let mut contenders = groups.iter().filter(|other| other.name == group).flat_map(|other| &other.contenders);
            contenders.any(|contender| contender.name == name)
        };
        for group in &groups {
            for comparison in &group.comparisons {
                assert!(exists(group.name, &comparison.row), "{}: {}", group.name, comparison.row);
                assert!(exists(group.name, &comparison.ours), "{}: {}", group.name, comparison.ours);
                let other_group = comparison.other_group.unwrap_or(group.name);
                assert!(exists(other_group, &comparison.other), "{other_group}: {}", comparison.other);
            }
        }
    }
}
