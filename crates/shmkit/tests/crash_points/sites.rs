//! Which sites of the sources have had a victim.

use crate::harness::died_at;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Sources whose sites are counted, from the workspace's root; directories with all that is in them.
const SOURCES: &[&str] = &[
    "crates/segment/src/life.rs",
    "crates/segment/src/peers.rs",
    "crates/segment/src/role.rs",
    "crates/segment/src/socket.rs",
    "crates/segment/src/sys.rs",
    "crates/queue/src/mpmc",
    "crates/queue/src/buffer",
    "crates/queue/src/spsc",
    "crates/segment/src/tally.rs",
    "crates/pipe/src/ring.rs",
    "crates/pipe/src/ring",
    "crates/pipe/src/connection/lane.rs",
    "crates/sync/src/event_count.rs",
    "crates/sync/src/owner.rs",
    "crates/sync/src/mutex.rs",
    "crates/sync/src/gate.rs",
    "crates/sync/src/rw_lock.rs",
    "crates/sync/src/array.rs",
    "crates/sync/src/condvar.rs",
    "crates/sync/src/event.rs",
    "crates/sync/src/barrier.rs",
    "crates/sync/src/once_lock.rs",
    "crates/sync/src/semaphore.rs",
    "crates/sync/src/counting_semaphore.rs",
    "crates/sync/src/waiters.rs",
    "crates/sync/src/handle.rs",
    #[cfg(feature = "async")]
    "crates/sync/src/future.rs",
    #[cfg(feature = "async")]
    "crates/sync/src/watcher.rs",
];

/// Where both outcomes of each compare-exchange must have been seen.
const CONTESTED: [&str; 12] = [
    "crates/segment/src/role.rs",
    "crates/queue/src/mpmc",
    "crates/queue/src/buffer",
    "crates/queue/src/spsc",
    "crates/sync/src/event_count.rs",
    "crates/sync/src/owner.rs",
    "crates/sync/src/condvar.rs",
    "crates/sync/src/event.rs",
    "crates/sync/src/barrier.rs",
    "crates/sync/src/once_lock.rs",
    "crates/sync/src/semaphore.rs",
    "crates/sync/src/counting_semaphore.rs",
];

/// What an access to shared memory, or an announced system call, looks like. Private atomics of this process spell their order differently.
const ACCESSES: [&str; 7] =
    [".load(Ordering", ".store(", ".swap(", ".fetch_", ".compare_exchange(", "fence(Ordering", "crash::site("];

/// Sites that no victim can reach here, with the reason.
const OUT_OF_REACH: [(&str, &str); 13] = [
    ("HOLDERS.fetch_add", "a counter of this process, in a private segment, which no other process can see"),
    ("lock.compare_exchange(0, *holder", "the same"),
    ("Self::Table(table, _) => table", "the same"),
    ("Self::Table(table, holder) =>", "the same"),
    ("entry.state.compare_exchange(FREE, LIVE", "in portable segments only, which do not survive kills"),
    (".word.store(word.0, Ordering::Relaxed)", "for tests that begin where positions go round"),
    ("self.ends.tail.store(position, Ordering::Relaxed)", "the same"),
    ("self.ends.head.store(position, Ordering::Release)", "the same"),
    ("self.ends.tail.position.store(position, Ordering::Relaxed)", "the same"),
    ("self.ends.head.position.store(position, Ordering::Relaxed)", "the same"),
    ("positions.tail.store(position, Ordering::Relaxed)", "the same"),
    ("positions.head.position.store(position, Ordering::Relaxed)", "the same"),
    ("steps.is_multiple_of(1024)", "only after 1,024 slots were passed in one operation; a read"),
];

/// Compare-exchanges there that have one outcome only, with the reason.
const ONE_OUTCOME: [(&str, &str); 3] = [
    (
        "next(word, NEVER)",
        "lost only to a child that this very process has let in meanwhile; nobody else gets past the door",
    ),
    (
        "compare_exchange(found.0, settled.0",
        "lost only if the dead are not dead, or to nonsense: the reaper alone may change these words",
    ),
    (
        "compare_exchange(word.0, swept.0",
        "the same: a receiver may take what is in the ring, and the sweep leaves that alone",
    ),
];

/// System calls and copies whose sites are named by where they are called from.
const CALLS: [&str; 9] =
    ["futex wait", "futex waitv", "futex wake", "write bytes", "read bytes", "readv", "writev", "sendmsg", "recvmsg"];

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

/// A line of the sources with an access.
struct Access {
    source: &'static str,
    place: String,
    /// The names of its sites that had a victim.
    victims: Vec<String>,
}

impl Access {
    fn is_exchange(&self) -> bool {
        self.place.contains(".compare_exchange(")
    }

    fn had(&self, outcome: &str) -> bool {
        self.victims.iter().any(|name| name.ends_with(outcome))
    }

    fn had_both(&self) -> bool {
        self.had(" won") && self.had(" lost")
    }

    /// What a list says about it.
    fn reason(&self, reasons: &[(&str, &'static str)]) -> Option<&'static str> {
        reasons.iter().find(|(site, _)| self.place.contains(site)).map(|(_, reason)| *reason)
    }
}

/// All accesses in the sources.
fn accesses(died_at: &BTreeSet<String>) -> Vec<Access> {
    let mut accesses = Vec::new();
    for &source in SOURCES {
        for (path, file) in files(source) {
            let text = std::fs::read_to_string(&path).expect("a readable source");
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for (index, line) in code.lines().enumerate() {
                let private =
                    line.contains("std::sync::atomic") || line.contains("Relaxed)") && !line.contains("Ordering::");
                let is_access = ACCESSES.iter().any(|access| line.contains(access));
                if line.trim_start().starts_with("//") || private || !is_access {
                    continue;
                }
                let prefix = format!("{file}:{}:", index + 1);
                let victims = died_at.iter().filter(|name| name.starts_with(&prefix)).cloned().collect();
                accesses.push(Access { source, place: format!("{file}:{} {}", index + 1, line.trim()), victims });
            }
        }
    }
    accesses
}

/// Runs `again` while an access has had no victim that should have had one, or an exchange only one outcome, a few times at most: who waits comes to a
/// site after more or fewer others from one round to the next, and so may never have been there when its turn was to die.
pub(crate) fn give_more_chances(again: impl Fn()) {
    const CHANCES: usize = 5;
    let is_missed = |access: &Access| match access.victims.is_empty() {
        true => access.reason(&OUT_OF_REACH).is_none(),
        false => {
            access.is_exchange()
                && !access.had_both()
                && CONTESTED.contains(&access.source)
                && access.reason(&ONE_OUTCOME).is_none()
        }
    };
    let rounds = (0..CHANCES).take_while(|_| accesses(&died_at()).iter().any(is_missed));
    rounds.for_each(|_| again());
}

/// Prints which accesses have had a victim and which have not, each outcome of a compare-exchange counted for itself, and fails if an access
/// has had none at all without a reason, or a contested exchange was seen only won, or only lost; and if a reason explains nothing any more.
pub(crate) fn every_site_has_had_a_victim() {
    let died_at = died_at();
    let accesses = accesses(&died_at);
    let (missed, covered): (Vec<&Access>, Vec<&Access>) = accesses.iter().partition(|access| access.victims.is_empty());
    let exchanges: Vec<&Access> = covered.iter().copied().filter(|access| access.is_exchange()).collect();
    let (contested, one_sided): (Vec<&Access>, Vec<&Access>) =
        exchanges.iter().copied().partition(|access| access.had_both());
    println!(
        "{} of {} accesses in the sources have had a victim, at {} named sites",
        covered.len(),
        accesses.len(),
        died_at.len()
    );
    println!("{} of {} compare-exchanges have had victims after both outcomes", contested.len(), exchanges.len());
    let print = |what: &str, access: &Access, reason: Option<&str>, otherwise: &str| {
        println!("  {what}: {}\n        ({})", access.place, reason.unwrap_or(otherwise));
    };
    for access in &one_sided {
        print("only one outcome", access, access.reason(&ONE_OUTCOME), "no scenario here contests it");
    }
    for access in &missed {
        print("none", access, access.reason(&OUT_OF_REACH), "UNEXPLAINED");
    }
    let places = |accesses: &[&Access], reasons: &[(&str, &'static str)]| -> Vec<String> {
        let unexplained = accesses.iter().filter(|access| access.reason(reasons).is_none());
        unexplained.map(|access| access.place.clone()).collect()
    };
    let one_sided: Vec<_> = one_sided.into_iter().filter(|access| CONTESTED.contains(&access.source)).collect();
    let unexplained = places(&missed, &OUT_OF_REACH);
    assert!(unexplained.is_empty(), "no victim at {unexplained:#?}");
    let unexpected = places(&one_sided, &ONE_OUTCOME);
    assert!(unexpected.is_empty(), "one outcome only at {unexpected:#?}");
    for call in CALLS {
        assert!(died_at.iter().any(|name| name.ends_with(&format!(" {call}"))), "no victim at a {call}");
    }
    let is_used = |site: &str, is_exchange: bool| {
        accesses.iter().any(|access| access.place.contains(site) && (access.is_exchange() || !is_exchange))
    };
    let stale = OUT_OF_REACH.iter().filter(|(site, _)| !is_used(site, false));
    let stale: Vec<_> = stale.chain(ONE_OUTCOME.iter().filter(|(site, _)| !is_used(site, true))).collect();
    assert!(stale.is_empty(), "reasons for what is not in the sources any more: {stale:#?}");
}
