//! Measures shmkit and others at the same work, side by side, in one run.
//!
//! [`groups`] says what is compared and what is expected; [`rivals`] has everybody's ends of a queue; [`peers`] starts threads and
//! processes and moves messages between them; [`run`] takes turns; the rest shows the results. See the README for how
//! such numbers mislead.

mod group;
mod groups;
mod json;
mod leftovers;
mod machine;
mod options;
mod peers;
mod report;
mod results;
mod rivals;
mod run;
mod statistics;
mod table;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use group::Group;
use options::Options;
use std::path::Path;

fn main() -> Result<()> {
    let options = Options::parse();
    let groups = chosen(&options)?;
    if options.list {
        for group in groups {
            let contenders: Vec<_> = group.contenders.iter().map(|contender| contender.name.as_str()).collect();
            println!("{}: {}", group.name, contenders.join(", "));
        }
        return Ok(());
    }
    let machine = machine::describe();
    println!("{}\n", machine.join("\n"));
    let _clean_up = leftovers::CleanUp::new()?;
    let mut results = Vec::new();
    let bar = run::progress(&groups, &options);
    for group in &groups {
        let rows = run::measure(group, &options, &bar);
        results::conclude(&mut results, group, rows);
        if let Some(result) = results.last() {
            bar.suspend(|| println!("{}", table::render(result)));
        }
    }
    bar.finish_and_clear();
    if let Some(path) = &options.json {
        json::write(path, &results)?;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("report.html");
    let page = report::page(&machine, options.rounds(), options.quick, &results);
    std::fs::write(&path, page).with_context(|| format!("{} cannot be written", path.display()))?;
    println!("{}\nwith pictures: {}", summary(&results), path.display());
    let failed = results.iter().flat_map(|group| &group.rows).filter(|row| row.outcome.is_err()).count();
    ensure!(failed == 0, "{failed} contenders failed");
    Ok(())
}

/// The groups that were asked for, or all of them.
fn chosen(options: &Options) -> Result<Vec<Group>> {
    let groups = groups::all(options);
    let names: Vec<_> = groups.iter().map(|group| group.name).collect();
    for name in &options.only {
        ensure!(names.contains(&name.as_str()), "there is no group {name}; there are {}", names.join(", "));
    }
    let is_wanted = |group: &Group| options.only.is_empty() || options.only.iter().any(|name| name == group.name);
    Ok(groups.into_iter().filter(is_wanted).collect())
}

fn summary(results: &[results::GroupResult]) -> String {
    let verdicts = || results.iter().flat_map(|group| &group.verdicts).filter_map(results::Verdict::is_met);
    format!("{} of {} targets met", verdicts().filter(|&met| met).count(), verdicts().count())
}
