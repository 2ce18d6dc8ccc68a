//! What must not be left behind or passed on: descriptors and zombies.
//!
//! Each test looks at a process of its own, so that the others do not disturb it.
#![cfg(feature = "hook")]

mod rendezvous;

use rendezvous::{Rendezvous, arrive, stay};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::WaitOptions;
use shmkit_process::{Builder, JoinError, spawn};
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::panic::resume_unwind;
use std::path::PathBuf;

/// The open descriptors of this process and what they are, but for the one used to find out.
fn descriptors() -> BTreeMap<u32, String> {
    let entries = std::fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().path());
    let named = |path: PathBuf| {
        let number = path.file_name()?.to_str()?.parse().ok()?;
        let target = std::fs::read_link(&path).ok()?.into_os_string().into_string().ok()?;
        Some((number, target))
    };
    entries.filter_map(named).filter(|(_, target)| !target.starts_with("/proc/")).collect()
}

/// Those that a process which is executed from here inherits.
fn inheritable() -> BTreeMap<u32, String> {
    const CLOEXEC: u32 = 0o2_000_000;
    let is_inheritable = |number: &u32| {
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:\t"));
        flags.is_some_and(|flags| u32::from_str_radix(flags, 8).unwrap() & CLOEXEC == 0)
    };
    descriptors().into_iter().filter(|(number, _)| is_inheritable(number)).collect()
}

#[test]
fn a_child_has_one_descriptor_besides_the_inheritable_ones() {
    // In a child, where no other test opens anything at the same time.
    let compare = |()| {
        let rendezvous = Rendezvous::new();
        let other = Builder::new().die_with_parent(true).spawn(stay, rendezvous.place()).unwrap();
        let met = rendezvous.meet();
        let passed_on = inheritable();
        let found = spawn(|()| descriptors(), ()).unwrap().join().unwrap();
        drop(met);
        other.join().unwrap();
        (passed_on, found)
    };
    let (passed_on, found) = spawn(compare, ()).unwrap().join().unwrap();
    let extra: Vec<_> = found.iter().filter(|(number, _)| !passed_on.contains_key(number)).collect();
    assert!(extra.len() == 1 && extra[0].1.starts_with("socket:"), "{passed_on:?} {found:?}");
}

#[test]
fn a_parent_has_no_descriptor_left_after_its_children_were_joined() {
    let count = |()| {
        let big = "x".repeat(100_000);
        let round = || {
            let all: [fn(String) -> String; 3] =
                [|text| text, |text| resume_unwind(Box::new(text)), |_| std::process::exit(1)];
            for f in all {
                let _ = Builder::new().die_with_parent(true).spawn(f, big.clone()).unwrap().join();
            }
        };
        round();
        let before = descriptors();
        for _ in 0..100 {
            round();
        }
        (before, descriptors())
    };
    let (before, after) = spawn(count, ()).unwrap().join().unwrap();
    assert_eq!(before, after);
}

/// Whether this process has no child at all, ended or not.
fn is_childless() -> bool {
    matches!(rustix::process::wait(WaitOptions::NOHANG), Err(Errno::CHILD))
}

#[test]
fn a_joined_child_is_no_zombie() {
    let join = |()| {
        spawn(|()| (), ()).unwrap().join().unwrap();
        let panicked = matches!(spawn::<_, ()>(|()| panic!(), ()).unwrap().join(), Err(JoinError::Panicked { .. }));
        panicked && is_childless()
    };
    assert!(spawn(join, ()).unwrap().join().unwrap());
}

#[test]
fn a_dropped_child_runs_on_and_is_reaped_by_a_later_spawn() {
    let drop_early = |place: PathBuf| {
        let child = spawn(stay, place.clone()).unwrap();
        let process = child.as_fd().try_clone_to_owned().unwrap();
        drop(child);
        let ran_on = !is_childless();
        arrive(&place);
        poll(&mut [PollFd::new(&process, PollFlags::IN)], None).unwrap();
        // The join of this one proves nothing about the other: it is the spawn that reaps.
        spawn(|()| (), ()).unwrap().join().unwrap();
        (ran_on, is_childless())
    };
    let rendezvous = Rendezvous::new();
    let child = spawn(drop_early, rendezvous.place()).unwrap();
    // Once both have arrived the handle is dropped. Until then nothing is let go.
    let met = [rendezvous.meet(), rendezvous.meet()];
    drop(met);
    assert_eq!(child.join().unwrap(), (true, true));
}

#[test]
fn a_child_that_has_ended_is_reaped_when_its_handle_is_dropped() {
    let drop_late = |()| {
        let child = spawn(|()| (), ()).unwrap();
        poll(&mut [PollFd::new(&child.as_fd(), PollFlags::IN)], None).unwrap();
        drop(child);
        is_childless()
    };
    assert!(spawn(drop_late, ()).unwrap().join().unwrap());
}
