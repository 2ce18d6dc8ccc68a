//! Facts about this process and the machine it runs on. None of them decides that somebody is dead.

use std::fs::read_to_string;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// When this process started, in clock ticks since boot; with the pid it names a process. 0 if unknown.
pub(crate) fn start_time() -> u64 {
    // A forked child has a start of its own.
    static START: OnceLock<(u32, u64)> = OnceLock::new();
    let pid = std::process::id();
    let (of, start) = *START.get_or_init(|| (pid, start_time_of("self")));
    if of == pid { start } else { start_time_of("self") }
}

/// When the process `pid` of this pid namespace started, in clock ticks since boot. 0 if there is none.
pub(crate) fn start_time_of(pid: &str) -> u64 {
    // The command's name may hold spaces and parentheses, so count fields from the last parenthesis.
    let status = read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = status.rsplit(')').next().unwrap_or_default();
    fields.split_whitespace().nth(19).and_then(|field| field.parse().ok()).unwrap_or(0)
}

/// What time `ticks` clock ticks after boot was.
pub(crate) fn time_of(ticks: u64) -> Option<SystemTime> {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let since_boot = Duration::new(now.tv_sec.try_into().ok()?, now.tv_nsec.try_into().ok()?);
    let started = Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64);
    SystemTime::now().checked_sub(since_boot.checked_sub(started)?)
}

/// The pid namespace of this process, by its inode. 0 if unknown.
pub(crate) fn pid_namespace() -> u32 {
    use std::os::unix::fs::MetadataExt;
    // A forked child may be in another one.
    static NAMESPACE: OnceLock<(u32, u32)> = OnceLock::new();
    let pid = std::process::id();
    let look = || std::fs::metadata("/proc/self/ns/pid").map_or(0, |status| status.ino() as u32);
    let (of, namespace) = *NAMESPACE.get_or_init(|| (pid, look()));
    if of == pid { namespace } else { look() }
}

/// The name of this process, as lists of processes show it when it is first asked for.
pub(crate) fn process_name() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| read_to_string("/proc/self/comm").unwrap_or_default().trim_end().to_owned())
}

/// Which boot of the machine this is: the first half of the kernel's random id. 0 if unknown: `/proc` may show processes only, or
/// no descriptor may be left to read it.
pub(crate) fn boot() -> u64 {
    static BOOT: OnceLock<u64> = OnceLock::new();
    if let Some(&boot) = BOOT.get() {
        return boot;
    }
    let id = read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = id.chars().filter(char::is_ascii_hexdigit).take(16).collect();
    // What is unknown now may be known the next time.
    u64::from_str_radix(&digits, 16).map_or(0, |boot| *BOOT.get_or_init(|| boot))
}

/// Milliseconds on the monotonic clock, which all processes of a machine share.
pub(crate) fn milliseconds() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000 + now.tv_nsec as u64 / 1_000_000
}

/// For people to read.
pub(crate) fn milliseconds_since_1970() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
