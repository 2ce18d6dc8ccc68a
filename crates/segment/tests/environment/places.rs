//! What is no segment, in the place where one should be.

use crate::harness::{Name, alone};
use crate::journal::{Journal, configuration};
use crate::{Mounted, as_root, cause_in_file, entries, mount_in_private};
use rustix::fs::{CWD, FileType, Mode};
use rustix::mount::MountFlags;
use shmkit_segment::{Error, Named, Options, State, inspect, list, remove};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

/// Nothing comes of what is at `path`, and it is left as it is.
fn assert_not_a_file(named: &Named, path: &Path) {
    let before = path.symlink_metadata().unwrap();
    let outcomes = [
        ("open", named.open::<Journal>()),
        ("create", named.create(configuration(1))),
        ("open or create", named.open_or_create(configuration(1))),
        ("replace", named.clone().replace_stale(true).create(configuration(1))),
        ("replace or open", named.clone().replace_stale(true).open_or_create(configuration(1))),
    ];
    for (what, outcome) in outcomes {
        assert!(matches!(outcome, Err(Error::NotAFile { .. })), "{what}: {:?}", outcome.err());
    }
    assert_eq!(inspect(path).unwrap().state, State::Other);
    let after = path.symlink_metadata().unwrap();
    assert_eq!((before.ino(), before.mode()), (after.ino(), after.mode()));
}

/// Puts things to where a segment of this name, and one in a file, should be.
fn try_in_both_places(put: impl Fn(&Path), take_away: fn(&Path) -> std::io::Result<()>) {
    let name = Name::new();
    put(&name.path());
    assert_not_a_file(&Options::new().name(&name.0).mode(0o777), &name.path());
    assert!(matches!(remove(&name.0), Err(Error::NotAFile { .. })));
    assert!(list().unwrap().iter().any(|listing| listing.name == name.0 && listing.state == State::Other));
    take_away(&name.path()).unwrap();

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x");
    put(&path);
    assert_not_a_file(&Options::new().file(&path).mode(0o777), &path);
    take_away(&path).unwrap();
}

fn remove_file(path: &Path) -> std::io::Result<()> {
    std::fs::remove_file(path)
}

#[test]
fn a_symbolic_link_is_not_followed() {
    alone(|()| {
        let directory = tempfile::tempdir().unwrap();
        let (real, missing) = (directory.path().join("real"), directory.path().join("missing"));
        let segment = Options::new().file(&real).create::<Journal>(configuration(8)).unwrap();
        try_in_both_places(|path| std::os::unix::fs::symlink(&real, path).unwrap(), remove_file);
        try_in_both_places(|path| std::os::unix::fs::symlink(&missing, path).unwrap(), remove_file);
        assert_eq!((segment.peer_count(), segment.object().events()), (1, vec![]));
        assert_eq!(entries(directory.path()), ["real"]);
    });
}

#[test]
fn a_directory_is_not_a_segment() {
    alone(|()| try_in_both_places(|path| std::fs::create_dir(path).unwrap(), |path| std::fs::remove_dir(path)));
}

#[test]
fn a_pipe_is_not_a_segment_and_holds_nobody_up() {
    alone(|()| {
        let mode = Mode::from_raw_mode(0o600);
        let make = |path: &Path| rustix::fs::mknodat(CWD, path, FileType::Fifo, mode, 0).unwrap();
        try_in_both_places(make, remove_file);
    });
}

#[test]
fn a_socket_is_not_a_segment() {
    alone(|()| try_in_both_places(|path| drop(UnixListener::bind(path).unwrap()), remove_file));
}

#[test]
fn a_device_is_not_a_segment() {
    as_root(|()| {
        mount_in_private();
        // What reads as zeros, what reads as nothing, the terminal that there is none of, and one that does not exist.
        for (major, minor) in [(1, 5), (1, 3), (5, 0), (240, 77)] {
            let device = rustix::fs::makedev(major, minor);
            let mode = Mode::from_raw_mode(0o600);
            let make = |path: &Path| rustix::fs::mknodat(CWD, path, FileType::CharacterDevice, mode, device).unwrap();
            try_in_both_places(make, remove_file);
        }
    });
}

#[test]
fn a_directory_that_is_not_there_is_an_error_that_says_so() {
    alone(|()| {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("file"), "").unwrap();
        for parent in ["missing", "file"] {
            let named = Options::new().file(directory.path().join(parent).join("x"));
            let create = named.create::<Journal>(configuration(1)).err().unwrap();
            let expected = matches!(create, Error::File { hint, .. } if hint.contains("does not exist"));
            assert!(expected, "{parent}: {create:?}");
            let open = named.open::<Journal>().err().unwrap();
            assert!(matches!(open, Error::NotFound { .. } | Error::File { .. }), "{parent}: {open:?}");
        }
        assert_eq!(entries(directory.path()), ["file"]);
    });
}

#[test]
fn a_file_system_that_is_read_only_is_an_error_and_its_segments_stay() {
    as_root(|()| {
        mount_in_private();
        let mounted = Mounted::tmpfs(c"size=1m");
        let named = Options::new().file(mounted.path().join("x"));
        drop(named.create::<Journal>(configuration(1)).unwrap());
        rustix::mount::mount_remount(mounted.path(), MountFlags::RDONLY, c"").unwrap();
        let other = Options::new().file(mounted.path().join("other"));
        let outcomes = [
            named.open::<Journal>(),
            named.create(configuration(1)),
            named.open_or_create(configuration(1)),
            other.create(configuration(1)),
        ];
        for outcome in outcomes {
            let (kind, hint) = cause_in_file(outcome);
            assert_eq!(kind, ErrorKind::ReadOnlyFilesystem);
            assert!(hint.contains("write"), "{hint}");
        }
        assert_eq!(entries(mounted.path()), ["x"]);
        rustix::mount::mount_remount(mounted.path(), MountFlags::empty(), c"").unwrap();
        assert_eq!(named.open::<Journal>().unwrap().peer_count(), 1);
    });
}
