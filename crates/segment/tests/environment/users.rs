//! Segments among users.

use crate::harness::{Name, kill};
use crate::journal::Event::{Swept, Woken};
use crate::journal::{Journal, configuration};
use crate::nobody::{NOBODY, become_nobody};
use crate::rendezvous::{Rendezvous, arrive, stay};
use crate::{as_root, cause_in_file, entries, have_names_in_private};
use shmkit_process::spawn;
use shmkit_segment::{Error, Named, Options, Side, State, list, remove, remove_stale};
use std::fs::{Permissions, set_permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// Where any user can arrive.
fn rendezvous_for_all() -> Rendezvous {
    let rendezvous = Rendezvous::new();
    set_permissions(rendezvous.place().parent().unwrap(), Permissions::from_mode(0o755)).unwrap();
    set_permissions(rendezvous.place(), Permissions::from_mode(0o777)).unwrap();
    rendezvous
}

fn shared(name: &str) -> Named {
    Options::new().name(name).mode(0o666).any_owner()
}

/// Creates a segment as the other user, and leaves it.
fn squat(name: &Name, mode: u32) {
    let create = |(name, mode): (String, u32)| {
        become_nobody();
        drop(Options::new().name(name).mode(mode).create::<Journal>(configuration(8)).unwrap());
    };
    spawn(create, (name.0.clone(), mode)).unwrap().join().unwrap();
}

#[test]
fn another_user_can_neither_open_nor_remove_a_segment_but_sees_that_it_is_there() {
    as_root(|()| {
        have_names_in_private();
        let name = Name::new();
        let segment = Options::new().name(&name.0).create::<Journal>(configuration(8)).unwrap();
        let try_all = |name: String| {
            become_nobody();
            for named in [Options::new().name(&name), shared(&name)] {
                let outcomes = [
                    named.open::<Journal>(),
                    named.create(configuration(8)),
                    named.open_or_create(configuration(8)),
                    named.clone().replace_stale(true).open_or_create(configuration(8)),
                ];
                for outcome in outcomes {
                    let (kind, hint) = cause_in_file(outcome);
                    assert_eq!(kind, ErrorKind::PermissionDenied);
                    assert!(hint.contains("its owner can share it"), "{hint}");
                }
            }
            assert_eq!(cause_in_file(remove(&name)).0, ErrorKind::PermissionDenied);
            assert!(!remove_stale(true).unwrap().contains(&name));
            let listing = list().unwrap().into_iter().find(|listing| listing.name == name).unwrap();
            assert_eq!((listing.state, listing.owner, listing.mode), (State::Unreadable, 0, 0o600));
            assert_eq!((listing.alive, listing.dead, listing.kind.as_str()), (0, 0, ""));
            listing.size as usize
        };
        let size = spawn(try_all, name.0.clone()).unwrap().join().unwrap();
        assert_eq!(size, segment.length());
        assert_eq!((segment.peer_count(), segment.object().events()), (1, vec![]));
        assert!(name.path().exists());
    });
}

#[test]
fn a_name_that_another_user_has_taken_first_is_told_and_not_used() {
    as_root(|()| {
        have_names_in_private();
        let name = Name::new();
        squat(&name, 0o666);
        let wrong = |outcome| matches!(outcome, Err(Error::WrongOwner { found: NOBODY, expected: 0, .. }));
        for mode in [0o600, 0o666] {
            let named = Options::new().name(&name.0).mode(mode);
            assert!(wrong(named.open::<Journal>()));
            assert!(wrong(named.create(configuration(8))));
            assert!(wrong(named.open_or_create(configuration(8))));
            assert!(wrong(named.replace_stale(true).open_or_create(configuration(8))));
        }
        assert!(!remove_stale(false).unwrap().contains(&name.0));
        let theirs = Options::new().name(&name.0).owner(NOBODY);
        assert!(matches!(theirs.open::<Journal>(), Err(Error::WiderMode { found: 0o666, allowed: 0o600, .. })));
        assert_eq!(theirs.clone().mode(0o666).open::<Journal>().unwrap().peer_count(), 1);
        assert_eq!(theirs.mode(0o666).open_or_create::<Journal>(configuration(8)).unwrap().peer_count(), 1);
        remove(&name.0).unwrap();
    });
}

#[test]
fn the_default_of_opening_is_this_user_even_if_the_file_lets_nobody_else_in() {
    as_root(|()| {
        have_names_in_private();
        let name = Name::new();
        squat(&name, 0o600);
        let outcome = Options::new().name(&name.0).open::<Journal>();
        assert!(matches!(outcome, Err(Error::WrongOwner { found: NOBODY, expected: 0, .. })));
    });
}

#[test]
fn a_segment_that_lets_in_more_than_was_asked_for_is_refused() {
    as_root(|()| {
        have_names_in_private();
        let name = Name::new();
        let _segment = Options::new().name(&name.0).mode(0o666).create::<Journal>(configuration(8)).unwrap();
        for allowed in [0o600, 0o660, 0o606, 0o066] {
            let named = Options::new().name(&name.0).mode(allowed);
            for outcome in [named.open::<Journal>(), named.open_or_create(configuration(8))] {
                let expected =
                    matches!(outcome, Err(Error::WiderMode { found: 0o666, allowed: it, .. }) if it == allowed);
                assert!(expected, "{:?}", outcome.err());
            }
        }
        let other = Name::new();
        let _segment = Options::new().name(&other.0).mode(0o660).create::<Journal>(configuration(8)).unwrap();
        assert!(Options::new().name(&other.0).mode(0o666).open::<Journal>().is_ok());
    });
}

/// Attaches as the one or the other user, arrives, and stays until let go; then says how many dead peers it has met.
fn attend((name, as_nobody, place): (String, bool, PathBuf)) -> usize {
    if as_nobody {
        become_nobody();
    }
    let segment = shared(&name).open::<Journal>().unwrap();
    let _role = segment.role(0);
    stay(place);
    segment.reap_dead()
}

#[test]
fn two_users_share_a_segment_whoever_made_it_and_reap_each_other() {
    as_root(|()| {
        have_names_in_private();
        for is_nobodys in [false, true] {
            for nobody_dies in [false, true] {
                let name = Name::new();
                match is_nobodys {
                    true => squat(&name, 0o666),
                    false => drop(shared(&name.0).create::<Journal>(configuration(8)).unwrap()),
                }
                let (theirs, ours) = (rendezvous_for_all(), rendezvous_for_all());
                let nobody = spawn(attend, (name.0.clone(), true, theirs.place())).unwrap();
                let met_nobody = theirs.meet();
                let root = spawn(attend, (name.0.clone(), false, ours.place())).unwrap();
                let met_root = ours.meet();
                let (survivor, met) = match nobody_dies {
                    true => (kill(nobody), (root, met_root)).1,
                    false => (kill(root), (nobody, met_nobody)).1,
                };
                drop(met);
                assert_eq!(survivor.join().unwrap(), 1);
                let segment = shared(&name.0).open::<Journal>().unwrap();
                assert_eq!((segment.peer_count(), segment.side(0)), (1, Side::Never));
                let survivors = u16::from(nobody_dies);
                let sweep = Swept(1 - survivors, survivors);
                assert!(segment.object().events().windows(2).any(|events| events == [sweep, Woken]));
            }
        }
    });
}

#[test]
fn a_process_that_gives_up_its_rights_keeps_its_attachment() {
    as_root(|()| {
        have_names_in_private();
        let (name, rendezvous) = (Name::new(), rendezvous_for_all());
        let segment = Options::new().name(&name.0).create::<Journal>(configuration(8)).unwrap();
        let other = spawn(attend_in_default_mode, (name.0.clone(), rendezvous.place())).unwrap();
        let _met = rendezvous.meet();
        let give_up = |(name, place): (String, PathBuf)| {
            let segment = Options::new().name(name).open::<Journal>().unwrap();
            let role = segment.role(1);
            become_nobody();
            // A new attachment of its own it cannot have: the file is not this user's.
            assert!(
                matches!(segment.join(), Err(Error::System { source, .. }) if source.kind() == ErrorKind::PermissionDenied)
            );
            let peers = segment.peers();
            assert!(peers.len() == 3 && peers.iter().all(|peer| peer.is_alive()));
            let _here = arrive(&place);
            segment.wait_until_gone(&peers[1]);
            drop(role);
        };
        let fallen = spawn(give_up, (name.0.clone(), rendezvous.place())).unwrap();
        let _met = rendezvous.meet();
        kill(other);
        fallen.join().unwrap();
        assert_eq!((segment.peer_count(), segment.reap_dead()), (1, 0));
        assert_eq!(segment.object().events()[..2], [Swept(1, 2), Woken]);
        assert_eq!((segment.side(0), segment.side(1)), (Side::Closed, Side::Closed));
    });
}

fn attend_in_default_mode((name, place): (String, PathBuf)) {
    let segment = Options::new().name(name).open::<Journal>().unwrap();
    let _role = segment.role(0);
    stay(place);
}

#[test]
fn a_directory_that_this_user_may_not_write_to_is_an_error_and_stays_empty() {
    as_root(|()| {
        have_names_in_private();
        let directory = tempfile::tempdir().unwrap();
        set_permissions(directory.path(), Permissions::from_mode(0o555)).unwrap();
        let create = |path: PathBuf| {
            become_nobody();
            let named = Options::new().file(path);
            for outcome in [named.create::<Journal>(configuration(8)), named.open_or_create(configuration(8))] {
                let (kind, hint) = cause_in_file(outcome);
                assert_eq!(kind, ErrorKind::PermissionDenied);
                assert!(hint.contains("may write to the directory"), "{hint}");
            }
        };
        spawn(create, directory.path().join("x")).unwrap().join().unwrap();
        assert!(entries(directory.path()).is_empty());
    });
}
