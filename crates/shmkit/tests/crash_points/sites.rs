//! Which sites of the sources have had a victim.

use crate::harness::died_at;
use std::path::{Path, PathBuf};

/// Sources whose sites are counted, from the workspace's root.
const SOURCES: [&str; 12] = [
    "crates/segment/src/life.rs",
    "crates/segment/src/peers.rs",
    "crates/segment/src/role.rs",
    "crates/segment/src/socket.rs",
    "crates/segment/src/sys.rs",
    "crates/queue/src/mpmc/ring.rs",
    "crates/queue/src/mpmc/mod.rs",
    "crates/queue/src/buffer/ring.rs",
    "crates/queue/src/buffer/mod.rs",
    "crates/queue/src/spsc.rs",
    "crates/sync/src/event_count.rs",
    "crates/sync/src/semaphore.rs",
];

/// What an access to shared memory, or an announced system call, looks like. Private atomics of this process spell their order differently.
const ACCESSES: [&str; 7] =
    [".load(Ordering", ".store(", ".swap(", ".fetch_", ".compare_exchange(", "fence(Ordering", "crash::site("];

/// Sites that no victim can reach here, with the reason.
const OUT_OF_REACH: [(&str, &str); 14] = [
    ("HOLDERS.fetch_add", "a counter of this process, in a private segment, which no other process can see"),
    ("lock.compare_exchange(0, *holder", "the same"),
    ("Self::Table(table, _) => table", "the same"),
    ("Self::Table(table, holder) =>", "the same"),
    ("entry.state.compare_exchange(FREE, LIVE", "in portable segments only, which do not survive kills"),
    (
        "let tail = queue.ends.tail.load(Ordering::Relaxed);",
        "while the arguments are decoded, before a victim can be armed; a read",
    ),
    ("let head = queue.ends.head.load(Ordering::Relaxed);", "the same"),
    ("position = position.max(self.ends", "only when others go round the ring between two reads of the victim; a read"),
    ("let moved_on = ||", "only when others move on between two reads of the victim, or in a corrupt ring; a read"),
    ("-1 if self.help_clear() || moved_on()", "the same"),
    ("_ if self.ends.head.load(Ordering::Acquire) != position", "the same"),
    (" self.ends.head.load(Ordering::Acquire) != position", "the same"),
    ("if steps % 1024 == 0", "only after 1,024 slots were passed in one operation; a read"),
    ("self.ends.tail.load(Ordering::Relaxed).saturating_sub(head)", "the second half of a hint; a read"),
];

/// Prints which accesses have had a victim and which have not, each outcome of a compare-exchange counted for itself, and fails if an access
/// has had none at all without a reason.
pub(crate) fn every_site_has_had_a_victim() {
    let died_at = died_at();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let (mut sites, mut covered, mut missed, mut one_sided) = (0, 0, Vec::new(), Vec::new());
    for source in SOURCES {
        let path: PathBuf = root.join(source);
        let file = path.file_name().and_then(|name| name.to_str()).expect("a source has a name");
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
            let place = format!("{source}:{} {}", index + 1, line.trim());
            if victims.is_empty() {
                missed.push(place);
                continue;
            }
            covered += 1;
            if line.contains(".compare_exchange(") {
                let had = |outcome: &str| victims.iter().any(|name| name.ends_with(outcome));
                if !had("won") || !had("lost") {
                    one_sided.push(place);
                }
            }
        }
    }
    println!("{covered} of {sites} accesses in the sources have had a victim, at {} named sites", died_at.len());
    for place in &one_sided {
        println!("  only one outcome: {place}");
    }
    let unexplained: Vec<_> =
        missed.iter().filter(|place| !OUT_OF_REACH.iter().any(|(site, _)| place.contains(site))).collect();
    for place in &missed {
        let reason =
            OUT_OF_REACH.iter().find(|(site, _)| place.contains(site)).map_or("UNEXPLAINED", |(_, reason)| reason);
        println!("  none: {place}\n        ({reason})");
    }
    assert!(unexplained.is_empty(), "no victim at {unexplained:#?}");
}
