//! Which sites of the sources have had a victim.

use crate::harness::died_at;
use std::path::{Path, PathBuf};

/// Sources whose sites are counted, from the workspace's root; directories with all that is in them.
const SOURCES: [&str; 10] = [
    "crates/segment/src/life.rs",
    "crates/segment/src/peers.rs",
    "crates/segment/src/role.rs",
    "crates/segment/src/socket.rs",
    "crates/segment/src/sys.rs",
    "crates/queue/src/mpmc",
    "crates/queue/src/buffer",
    "crates/queue/src/spsc",
    "crates/sync/src/event_count.rs",
    "crates/sync/src/semaphore.rs",
];

/// Where both outcomes of each compare-exchange must have been seen.
const CONTESTED: [&str; 4] =
    ["crates/segment/src/role.rs", "crates/queue/src/mpmc", "crates/queue/src/spsc", "crates/sync/src/event_count.rs"];

/// What an access to shared memory, or an announced system call, looks like. Private atomics of this process spell their order differently.
const ACCESSES: [&str; 7] =
    [".load(Ordering", ".store(", ".swap(", ".fetch_", ".compare_exchange(", "fence(Ordering", "crash::site("];

/// Sites that no victim can reach here, with the reason.
const OUT_OF_REACH: [(&str, &str); 17] = [
    ("HOLDERS.fetch_add", "a counter of this process, in a private segment, which no other process can see"),
    ("lock.compare_exchange(0, *holder", "the same"),
    ("Self::Table(table, _) => table", "the same"),
    ("Self::Table(table, holder) =>", "the same"),
    ("entry.state.compare_exchange(FREE, LIVE", "in portable segments only, which do not survive kills"),
    (".word.store(word.0, Ordering::Relaxed)", "for tests that begin where positions go round"),
    ("self.ends.tail.store(position, Ordering::Relaxed)", "the same"),
    ("self.ends.head.store(position, Ordering::Release)", "the same"),
    ("positions.tail.store(position, Ordering::Relaxed)", "the same"),
    ("positions.head.position.store(position, Ordering::Relaxed)", "the same"),
    ("position = position.max(self.ends", "only when others go round the ring between two reads of the victim; a read"),
    ("let moved_on = ||", "only when others move on between two reads of the victim, or in a corrupt ring; a read"),
    ("-1 if self.help_clear() || moved_on()", "the same"),
    ("_ if self.ends.head.load(Ordering::Acquire) != position", "the same"),
    (" self.ends.head.load(Ordering::Acquire) != position", "the same"),
    ("steps.is_multiple_of(1024)", "only after 1,024 slots were passed in one operation; a read"),
    ("self.ends.tail.load(Ordering::Relaxed).saturating_sub(head)", "the second half of a hint; a read"),
];

/// Compare-exchanges there that have one outcome only, with the reason.
const ONE_OUTCOME: [(&str, &str); 2] = [
    (
        "next(word, NEVER)",
        "lost only to a child that this very process has let in meanwhile; nobody else gets past the door",
    ),
    (
        "compare_exchange(found.0, settled.0",
        "lost only if the dead are not dead, or to nonsense: the reaper alone may change these words",
    ),
];

/// All files that `source` stands for, with their names in sites.
fn files(source: &str) -> Vec<(PathBuf, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(source);
    let mut paths = vec![path.clone()];
    if path.is_dir() {
        let entries = std::fs::read_dir(path).expect("a readable directory");
        paths = entries.map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
    }
    let name = |path: &Path| {
        let mut parts = path.components().rev().map(|part| part.as_os_str().to_string_lossy().into_owned());
        let (file, directory) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        format!("{directory}/{file}")
    };
    paths.into_iter().map(|path| (path.clone(), name(&path))).collect()
}

/// Prints which accesses have had a victim and which have not, each outcome of a compare-exchange counted for itself, and fails if an access
/// has had none at all without a reason, or a contested exchange was seen only won, or only lost.
pub(crate) fn every_site_has_had_a_victim() {
    let died_at = died_at();
    let (mut sites, mut covered, mut missed, mut one_sided) = (0, 0, Vec::new(), Vec::new());
    let (mut exchanges, mut contested, mut unexpected) = (0, 0, Vec::new());
    for (source, (path, file)) in
        SOURCES.iter().flat_map(|source| files(source).into_iter().map(move |file| (source, file)))
    {
        let text = std::fs::read_to_string(&path).expect("a readable source");
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (index, line) in code.lines().enumerate() {
            let private =
                line.contains("std::sync::atomic") || line.contains("Relaxed)") && !line.contains("Ordering::");
            if line.trim_start().starts_with("//") || private || !ACCESSES.iter().any(|access| line.contains(access)) {
                continue;
            }
            sites += 1;
            let prefix = format!("{file}:{}:", index + 1);
            let victims: Vec<_> = died_at.iter().filter(|name| name.starts_with(&prefix)).collect();
            let place = format!("{file}:{} {}", index + 1, line.trim());
            if victims.is_empty() {
                missed.push(place);
                continue;
            }
            covered += 1;
            if line.contains(".compare_exchange(") {
                let had = |outcome: &str| victims.iter().any(|name| name.ends_with(outcome));
                exchanges += 1;
                contested += usize::from(had("won") && had("lost"));
                if !had("won") || !had("lost") {
                    let reason = ONE_OUTCOME.iter().find(|(site, _)| place.contains(site)).map(|(_, reason)| *reason);
                    if CONTESTED.contains(source) && reason.is_none() {
                        unexpected.push(place.clone());
                    }
                    one_sided.push((place, reason.unwrap_or("no scenario here contests it")));
                }
            }
        }
    }
    println!("{covered} of {sites} accesses in the sources have had a victim, at {} named sites", died_at.len());
    println!("{contested} of {exchanges} compare-exchanges have had victims after both outcomes");
    for (place, reason) in &one_sided {
        println!("  only one outcome: {place}\n        ({reason})");
    }
    let unexplained: Vec<_> =
        missed.iter().filter(|place| !OUT_OF_REACH.iter().any(|(site, _)| place.contains(site))).collect();
    for place in &missed {
        let reason =
            OUT_OF_REACH.iter().find(|(site, _)| place.contains(site)).map_or("UNEXPLAINED", |(_, reason)| reason);
        println!("  none: {place}\n        ({reason})");
    }
    assert!(unexplained.is_empty(), "no victim at {unexplained:#?}");
    assert!(unexpected.is_empty(), "one outcome only at {unexpected:#?}");
}
