//! What the rivals leave behind, and who removes it.
//!
//! `iceoryx2` has files in `/dev/shm` and among the temporary ones, and `ipc-channel` sockets among the latter. A run's have the run's process in their
//! names: the peers get a directory for temporary files of the run's own, and iceoryx2 a prefix. So nobody else's are touched, and those
//! of a run that was killed are known by its process being gone.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

const SHARED_MEMORY: &str = "/dev/shm";
const DIRECTORY: &str = "shmkit-compare_";
const PREFIX: &str = "iox2_compare_";

/// What the names of a run's files in shared memory begin with.
pub fn prefix(run: u32) -> String {
    format!("{PREFIX}{run}_")
}

/// The directory for temporary files of this run's peers.
pub fn directory() -> PathBuf {
    std::env::temp_dir().join(format!("{DIRECTORY}{}", std::process::id()))
}

/// Removes what this run has left, and earlier ones that were killed, when it is dropped.
pub struct CleanUp(());

impl CleanUp {
    /// Makes the directory.
    pub fn new() -> Result<Self> {
        let directory = directory();
        std::fs::create_dir_all(&directory).with_context(|| format!("{} cannot be made", directory.display()))?;
        Ok(Self(()))
    }
}

impl Drop for CleanUp {
    fn drop(&mut self) {
        for directory in [SHARED_MEMORY.into(), std::env::temp_dir()] {
            let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
            for path in entries.map(|entry| entry.path()).filter(|path| is_over(path)) {
                // Another user's, or gone already.
                let _ = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
            }
        }
    }
}

/// Whether that is of this run, or of one whose process is gone.
fn is_over(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let rest = [DIRECTORY, PREFIX].iter().find_map(|own| name.strip_prefix(own));
    let run = rest.and_then(|rest| rest.split('_').next()?.parse::<u32>().ok());
    run.is_some_and(|run| run == std::process::id() || !Path::new("/proc").join(run.to_string()).exists())
}
