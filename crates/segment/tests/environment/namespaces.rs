//! Liveness is a lock of the kernel: it does not depend on pids, whichever namespace they belong to and however often they are used.

use crate::harness::{Name, kill};
use crate::journal::{Journal, anonymous, configuration};
use crate::rendezvous::{Rendezvous, stay};
use crate::{as_root, mount_in_private, mount_proc, unshare};
use rustix::thread::{LinkNameSpaceType, UnshareFlags};
use rustix::time::ClockId;
use serde::{Serialize, de::DeserializeOwned};
use shmkit_process::{JoinHandle, spawn};
use shmkit_segment::{Options, Role, Side};
use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

/// Starts a process as the first one of a new pid namespace.
fn spawn_apart<A, R>(f: fn(A) -> R, args: A) -> JoinHandle<R>
where
    A: Serialize + DeserializeOwned + 'static,
    R: Serialize + DeserializeOwned + 'static,
{
    let own = File::open("/proc/self/ns/pid").unwrap();
    unshare(UnshareFlags::NEWPID);
    let child = spawn(f, args);
    rustix::thread::move_into_link_name_space(own.as_fd(), Some(LinkNameSpaceType::ProcessID)).unwrap();
    child.unwrap()
}

/// Attaches, sees that the two others are there, and waits for the end of the one that is not the first; says its own pid, and that of the
/// other as that one knows it.
fn attend((name, has_own_proc, place): (String, bool, PathBuf)) -> (u32, u32) {
    if has_own_proc {
        mount_in_private();
        mount_proc(None);
    }
    let segment = Options::new().name(name).open::<Journal>().unwrap();
    let _role = segment.role(0);
    stay(place.clone());
    let peers = segment.peers();
    assert!(peers.len() == 3 && peers.iter().all(|peer| segment.is_alive(peer)));
    let other = peers.iter().find(|peer| ![0, segment.me().number()].contains(&peer.id().number())).unwrap();
    let _here = crate::rendezvous::arrive(&place);
    segment.wait_until_gone(other);
    assert_eq!((segment.reap_dead(), segment.peer_count()), (0, 2));
    (std::process::id(), other.pid())
}

/// Which of two processes is killed, and where both are: each in a namespace of its own, or only the second.
fn one_of_two_dies(dies: usize, both_apart: bool, has_own_proc: bool) -> (u32, u32) {
    let (name, places) = (Name::new(), [Rendezvous::new(), Rendezvous::new()]);
    let segment = Options::new().name(&name.0).create::<Journal>(configuration(64)).unwrap();
    let args = |which: usize| (name.0.clone(), has_own_proc && (which == 1 || both_apart), places[which].place());
    let first = if both_apart { spawn_apart(attend, args(0)) } else { spawn(attend, args(0)).unwrap() };
    let met_first = places[0].meet();
    let second = spawn_apart(attend, args(1));
    let met_second = places[1].meet();
    // Both are attached: they may look at each other.
    drop((met_first, met_second));
    let _still = places.each_ref().map(Rendezvous::meet);
    let mut children = [Some(first), Some(second)];
    kill(children[dies].take().unwrap());
    let survivor = children[1 - dies].take().unwrap();
    let pids = survivor.join().unwrap();
    assert_eq!((segment.reap_dead(), segment.peer_count(), segment.side(0)), (0, 1, Side::Closed));
    pids
}

#[test]
fn processes_in_two_pid_namespaces_see_each_other_live_and_die() {
    as_root(|()| {
        for has_own_proc in [false, true] {
            for dies in [0, 1] {
                let (own, other) = one_of_two_dies(dies, false, has_own_proc);
                assert_eq!([own, other].map(|pid| pid == 1), [dies == 0, dies == 1]);
            }
        }
    });
}

#[test]
fn processes_that_have_the_same_pid_in_their_namespaces_are_two() {
    as_root(|()| {
        for has_own_proc in [false, true] {
            for dies in [0, 1] {
                assert_eq!(one_of_two_dies(dies, true, has_own_proc), (1, 1));
            }
        }
    });
}

/// Attaches, arrives, and stays until let go.
fn attend_by_handle((_role, place): (Role<Journal>, PathBuf)) {
    stay(place);
}

/// When a process was started, in clock ticks since boot.
fn started(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    status.rsplit(')').next().unwrap().split_whitespace().nth(19).unwrap().parse().unwrap()
}

/// Until a process that is started now is not from the same clock tick as one that was started at `ticks`.
fn let_the_clock_tick(ticks: u64) {
    let per_second = rustix::param::clock_ticks_per_second();
    loop {
        let now = rustix::time::clock_gettime(ClockId::Boottime);
        if now.tv_sec as u64 * per_second + now.tv_nsec as u64 * per_second / 1_000_000_000 > ticks {
            return;
        }
        std::hint::spin_loop();
    }
}

/// Runs as the first process of a pid namespace, in which it says what the next pid is.
fn use_a_pid_three_times((): ()) {
    mount_in_private();
    mount_proc(None);
    assert_eq!(std::process::id(), 1);
    let (segment, rendezvous) = (anonymous(4), Rendezvous::new());
    let start = || {
        let child = spawn(attend_by_handle, (segment.role(0), rendezvous.place())).unwrap();
        (child, rendezvous.meet())
    };
    let (child, met) = start();
    let pid = child.pid();
    assert_eq!(met.pid, pid);
    let old = segment.peers().into_iter().find(|peer| peer.pid() == pid).unwrap();
    assert!(segment.is_alive(&old) && segment.watch(&old).is_ok());
    let next_is_the_same = |started: u64| {
        let_the_clock_tick(started);
        std::fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).unwrap();
    };

    let born = started(pid);
    kill(child);
    next_is_the_same(born);
    let (second, _met) = start();
    assert_eq!(second.pid(), pid);
    // The old one is not taken for alive, nor the new one for dead.
    let is_not_taken_for_another = || {
        assert!(!segment.is_alive(&old));
        assert!(segment.watch(&old).is_err());
    };
    is_not_taken_for_another();
    let new = segment.peers().into_iter().find(|peer| peer.pid() == pid && peer.id() != old.id()).unwrap();
    assert!(segment.is_alive(&new) && segment.watch(&new).is_ok());
    assert!(!segment.wait_until_gone_timeout(&new, Duration::ZERO));
    segment.wait_until_gone(&old);
    assert_eq!((segment.reap_dead(), segment.peer_count()), (0, 2));
    is_not_taken_for_another();

    // The same pid in the same place, too.
    let born = started(pid);
    kill(second);
    segment.wait_until_gone(&new);
    next_is_the_same(born);
    let (third, met) = start();
    assert_eq!(third.pid(), pid);
    let newest = segment.peers().into_iter().find(|peer| peer.pid() == pid).unwrap();
    assert_eq!(newest.id(), old.id());
    is_not_taken_for_another();
    assert!(!segment.is_alive(&new) && segment.is_alive(&newest));
    segment.wait_until_gone(&old);
    segment.wait_until_gone(&new);
    assert!(segment.is_alive(&newest));
    drop(met);
    third.join().unwrap();
    segment.wait_until_gone(&newest);
}

#[test]
fn a_process_with_the_pid_of_a_dead_peer_is_not_taken_for_it() {
    as_root(|()| spawn_apart(use_a_pid_three_times, ()).join().unwrap());
}
