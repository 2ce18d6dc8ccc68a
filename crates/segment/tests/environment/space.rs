//! File systems that are full, and modes that do not depend on the umask.

use crate::harness::{Name, alone};
use crate::journal::{Journal, configuration};
use crate::{Mounted, as_root, cause_in_file, entries, mount_in_private, mount_tmpfs};
use rustix::fs::Mode;
use shmkit_segment::{Error, Named, Options};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const KIB: usize = 1 << 10;

fn free_bytes(directory: &Path) -> u64 {
    let status = rustix::fs::statvfs(directory).unwrap();
    status.f_bfree * status.f_frsize
}

/// The largest journal that fits into 64 KiB.
fn largest(options: &Options) -> u64 {
    let least = options.length::<Journal>(configuration(0)).unwrap();
    let fits = |&entries: &u64| options.length::<Journal>(configuration(entries)).unwrap() <= 64 * KIB;
    (1..).take_while(fits).last().filter(|&entries| least + 4 * entries as usize > 60 * KIB).unwrap()
}

/// `named` has its place in `directory`, an empty file system of 64 KiB.
fn fill(directory: &Path, named: impl Fn(&str) -> Named) {
    for _ in 0..2 {
        let outcome = named("large").create::<Journal>(configuration((KIB * KIB / 4) as u64));
        assert!(matches!(outcome, Err(Error::NoSpace { bytes, .. }) if bytes > KIB * KIB), "{:?}", outcome.err());
        let outcome = named("large").open_or_create::<Journal>(configuration((KIB * KIB / 4) as u64));
        assert!(matches!(outcome, Err(Error::NoSpace { .. })));
        assert!(entries(directory).is_empty());
        assert_eq!(free_bytes(directory), 64 * KIB as u64);

        let entries = largest(&Options::new());
        let segment = named("small").create::<Journal>(configuration(entries)).unwrap();
        assert_eq!(free_bytes(directory), 0);
        assert!(matches!(named("more").create::<Journal>(configuration(1)), Err(Error::NoSpace { .. })));
        // All of it is there to be written to: each role that is left wakes everybody, and each wake is written down.
        (0..entries).for_each(|_| drop(segment.role(0)));
        assert_eq!(segment.object().events().len() as u64, entries);

        assert_eq!(named("small").open::<Journal>().unwrap().peer_count(), 2);
        assert_eq!(crate::entries(directory).len(), 1);
        let path = directory.join(&crate::entries(directory)[0]);
        std::fs::remove_file(path).unwrap();
        assert_eq!(free_bytes(directory), 0);
        drop(segment);
        assert_eq!(free_bytes(directory), 64 * KIB as u64);
    }
}

#[test]
fn a_full_file_system_is_no_space_and_never_a_signal() {
    as_root(|()| {
        mount_in_private();
        let small = Mounted::tmpfs(c"size=64k");
        fill(small.path(), |name| Options::new().file(small.path().join(name)));
    });
}

#[test]
fn a_full_directory_of_names_is_no_space_and_never_a_signal() {
    as_root(|()| {
        mount_in_private();
        mount_tmpfs(Path::new("/dev/shm"), c"size=64k");
        fill(Path::new("/dev/shm"), |name| Options::new().name(name));
    });
}

#[test]
fn a_file_system_without_room_for_another_file_says_so() {
    as_root(|()| {
        mount_in_private();
        let full = Mounted::tmpfs(c"nr_inodes=1");
        let outcome = Options::new().file(full.path().join("x")).create::<Journal>(configuration(1));
        let (kind, hint) = cause_in_file(outcome);
        assert_eq!(kind, ErrorKind::StorageFull);
        assert!(hint.contains("full"), "{hint}");
    });
}

#[test]
fn a_segment_has_the_mode_that_was_asked_for_whatever_the_umask() {
    alone(|()| {
        let directory = tempfile::tempdir().unwrap();
        let name = Name::new();
        for mask in [0o000, 0o022, 0o077, 0o777] {
            rustix::process::umask(Mode::from_raw_mode(mask));
            for mode in [None, Some(0o600), Some(0o660), Some(0o666)] {
                let path = directory.path().join("x");
                for (named, path) in [(Options::new().name(&name.0), &name.path()), (Options::new().file(&path), &path)]
                {
                    let named = mode.map_or(named.clone(), |mode| named.mode(mode));
                    let segment = named.open_or_create::<Journal>(configuration(1)).unwrap();
                    let found = std::fs::metadata(path).unwrap().permissions().mode();
                    assert_eq!(found & 0o7777, mode.unwrap_or(0o600), "umask {mask:o}");
                    assert_eq!(named.open::<Journal>().unwrap().peer_count(), 2);
                    drop(segment);
                    std::fs::remove_file(path).unwrap();
                }
            }
        }
    });
}
