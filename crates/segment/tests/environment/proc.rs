//! Where `/proc` is not mounted, or shows processes only.

use crate::harness::Name;
use crate::journal::{Journal, configuration};
use crate::{Mounted, as_root, have_names_in_private, mount_in_private, mount_proc, mount_tmpfs};
use rustix::mount::UnmountFlags;
use shmkit_process::spawn;
use shmkit_segment::{Error, Options, Segment, State, inspect, list, remove_stale};
use std::path::Path;
use std::sync::Arc;

fn create(name: String) {
    drop(Options::new().name(name).create::<Journal>(configuration(64)).unwrap());
}

fn open(name: String) {
    assert_eq!(inspect(Path::new("/dev/shm").join(format!("shmkit-{name}"))).unwrap().state, State::Whole);
    drop(Options::new().name(&name).open::<Journal>().unwrap());
    drop(Options::new().name(&name).open_or_create::<Journal>(configuration(64)).unwrap());
    assert!(matches!(Options::new().name(&name).create::<Journal>(configuration(64)), Err(Error::Exists { .. })));
    assert!(!remove_stale(false).unwrap().contains(&name));
}

fn says_that_proc_is_missing(outcome: Result<Arc<Segment<Journal>>, Error>) {
    let error = outcome.err().unwrap();
    assert!(error.to_string().contains("/proc is mounted"), "{error}");
}

/// Neither the process nor what was there before is harmed where `hide` has hidden `/proc`.
fn without_proc(hide: fn()) {
    have_names_in_private();
    // By another process: this one must not know before what it could not learn later.
    spawn(create, "there".to_owned()).unwrap().join().unwrap();
    let directory = Mounted::tmpfs(c"size=1m");
    hide();
    let (there, new) = (Options::new().name("there"), Options::new().name("new"));
    says_that_proc_is_missing(Options::new().anonymous(configuration(1)));
    says_that_proc_is_missing(there.open());
    says_that_proc_is_missing(there.open_or_create(configuration(64)));
    says_that_proc_is_missing(new.create(configuration(1)));
    says_that_proc_is_missing(new.open_or_create(configuration(1)));
    says_that_proc_is_missing(Options::new().file(directory.path().join("x")).create(configuration(1)));
    assert!(crate::entries(directory.path()).is_empty());

    // What is whole is not taken for that of another boot, which would be replaced.
    says_that_proc_is_missing(there.create(configuration(64)));
    let listings = list().unwrap();
    assert!(listings.len() == 1 && listings[0].name == "there" && listings[0].state == State::Whole, "{listings:?}");
    assert!(remove_stale(false).unwrap().is_empty());
    assert_eq!(crate::entries(Path::new("/dev/shm")), ["shmkit-there"]);

    let private = Options::new().private::<Journal>(configuration(8)).unwrap();
    assert_eq!(private.join().unwrap().me().number(), 1);
}

#[test]
fn without_proc_there_is_an_error_that_says_so_and_no_harm_is_done() {
    as_root(|()| without_proc(|| rustix::mount::unmount("/proc", UnmountFlags::DETACH).unwrap()));
}

#[test]
fn with_something_else_in_the_place_of_proc_there_is_an_error_that_says_so_and_no_harm_is_done() {
    as_root(|()| without_proc(|| mount_tmpfs(Path::new("/proc"), c"size=64k")));
}

/// As service managers restrict services. Which boot of the machine it is cannot be learnt there.
#[test]
fn where_proc_shows_processes_only_segments_are_shared_with_all_others() {
    as_root(|()| {
        have_names_in_private();
        let (inside, outside) = (Name::new(), Name::new());
        let restrict_and_meet = |(inside, outside): (String, String)| {
            mount_in_private();
            mount_proc(Some(c"subset=pid"));
            assert!(!Path::new("/proc/sys").exists());
            create(inside.clone());
            open(inside);
            open(outside);
        };
        create(outside.0.clone());
        spawn(restrict_and_meet, (inside.0.clone(), outside.0.clone())).unwrap().join().unwrap();
        open(inside.0.clone());
        open(outside.0.clone());
    });
}
