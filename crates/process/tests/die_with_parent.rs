//! `Builder::die_with_parent`: a child that goes when its parent goes, and one that stays.
#![cfg(feature = "hook")]

mod rendezvous;

use rendezvous::{Met, Rendezvous, stay};
use shmkit_process::{Builder, JoinError, spawn};
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;

/// Starts children from a thread that ends, then waits to be killed.
fn parent((place, children, dying): (PathBuf, usize, bool)) {
    let spawning = {
        let place = place.clone();
        move || -> Vec<_> {
            let builder = Builder::new().die_with_parent(dying);
            (0..children).map(|_| builder.spawn(stay, place.clone()).unwrap()).collect()
        }
    };
    let _children = std::thread::spawn(spawning).join().unwrap();
    stay(place);
}

#[test]
fn children_die_when_their_parent_is_killed_and_not_when_its_thread_ends() {
    const CHILDREN: usize = 5;
    let rendezvous = Rendezvous::new();
    let middle = spawn(parent, (rendezvous.place(), CHILDREN, true)).unwrap();
    // All arrive, the parent among them, and it arrives after its spawning thread has ended.
    let met: Vec<Met> = (0..=CHILDREN).map(|_| rendezvous.meet()).collect();
    middle.kill().unwrap();
    let Err(JoinError::Exited { status }) = middle.join() else { panic!() };
    assert_eq!(status.signal(), Some(9));
    // Would wait for ever if one lived on.
    met.into_iter().for_each(Met::await_death);
}

#[test]
fn other_children_survive_their_parent() {
    let rendezvous = Rendezvous::new();
    let middle = spawn(parent, (rendezvous.place(), 1, false)).unwrap();
    let met = [rendezvous.meet(), rendezvous.meet()];
    let pid = middle.pid();
    middle.kill().unwrap();
    assert!(middle.join().is_err());
    for met in met {
        if met.pid != pid {
            // It still can be let go, and then ends by itself.
            let process = std::fs::metadata(format!("/proc/{}", met.pid));
            assert!(process.is_ok());
        }
        drop(met);
    }
}

#[test]
fn a_child_whose_parent_is_gone_before_it_begins_dies_too() {
    // The parent ends right after the spawn, so the child is at any point of its start.
    let hasty = |place: PathBuf| -> () {
        let child = Builder::new().die_with_parent(true).spawn(stay, place).unwrap();
        std::mem::forget(child);
        std::process::exit(0)
    };
    for _ in 0..20 {
        let (mut gone, held) = std::io::pipe().unwrap();
        let rendezvous = Rendezvous::new();
        let middle = inheriting(&held, || spawn(hasty, rendezvous.place()).unwrap());
        drop(held);
        assert!(middle.join().is_err());
        // The pipe's end is inherited by both and closes when the last of them is gone.
        gone.read_to_end(&mut Vec::new()).unwrap();
    }
}

/// Makes a descriptor inheritable while `action` runs.
fn inheriting<T>(descriptor: &impl std::os::fd::AsFd, action: impl FnOnce() -> T) -> T {
    use rustix::io::{FdFlags, fcntl_setfd};
    fcntl_setfd(descriptor, FdFlags::empty()).unwrap();
    let result = action();
    fcntl_setfd(descriptor, FdFlags::CLOEXEC).unwrap();
    result
}
