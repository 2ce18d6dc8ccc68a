//! What the numbers were measured on, without which they mean nothing.

use crate::rivals::glibc;
use std::fs::read_to_string;

/// The crates whose versions a reader wants to know.
const RIVALS: [&str; 11] = [
    "crossbeam-channel",
    "crossbeam-queue",
    "flume",
    "iceoryx2",
    "ipc-channel",
    "kanal",
    "parking_lot",
    "raw_sync",
    "ringbuf",
    "rtrb",
    "tokio",
];

/// The machine and the tools, in a few lines.
pub fn describe() -> Vec<String> {
    let kernel = rustix::system::uname();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    vec![
        format!("{cores} cores of {}, last-level cache {} KiB", processor(), last_level_cache() / 1024),
        format!("{} {}", kernel.sysname().to_string_lossy(), kernel.release().to_string_lossy()),
        env!("COMPARE_RUSTC").into(),
        format!("rivals: {}, glibc {}", versions(), glibc::version()),
        format!("load when it began: {}", load()),
    ]
}

/// How much work others leave for the machine to do: near the number of cores or above, nothing here can be believed.
fn load() -> String {
    read_to_string("/proc/loadavg").ok().and_then(|line| line.split(' ').next().map(Into::into)).unwrap_or_default()
}

fn processor() -> String {
    let information = read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = information.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or_else(|| "an unknown processor".into(), |(_, model)| model.into())
}

/// How many bytes the largest cache of the first core has; zero if the kernel does not say.
pub fn last_level_cache() -> u64 {
    let size = |index: u32| {
        let text = read_to_string(format!("/sys/devices/system/cpu/cpu0/cache/index{index}/size")).ok()?;
        text.trim().strip_suffix('K')?.parse::<u64>().ok()
    };
    (0..).map_while(size).max().unwrap_or(0) * 1024
}

/// From the lock file that this program was built with.
fn versions() -> String {
    let lock = include_str!("../Cargo.lock");
    let version = |name: &&str| {
        let package = format!("name = \"{name}\"\nversion = \"");
        let (_, rest) = lock.split_once(&package)?;
        Some(format!("{name} {}", rest.split('"').next()?))
    };
    RIVALS.iter().filter_map(version).collect::<Vec<_>>().join(", ")
}
