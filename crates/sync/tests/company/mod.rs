//! What tests with other processes need: children that come, stay and are killed, and handles on their way.
//!
//! A death is noticed by those who wait, or by [`buried`]. So the tests hold whatever the length of the sleeps in between.
#![allow(dead_code, reason = "each test uses a part")]

use serde::{Serialize, de::DeserializeOwned};
use shmkit_process::{Builder, JoinError, JoinHandle};
use shmkit_segment::{Error, Object, Segment, transfer};
use shmkit_sync::{Event, LockError};
use std::fmt::Debug;
use std::thread::{park, yield_now};
use std::time::Duration;

/// Long enough to come to sleep in, and short enough to be waited for.
pub(crate) const MOMENT: Duration = Duration::from_millis(2);
/// Longer than any test may take: who waits for that long without need hangs.
pub(crate) const LONG: Duration = Duration::from_secs(1000);

/// Starts a process that ends with this one, should a test fail.
pub(crate) fn start<A, R>(f: fn(A) -> R, arguments: A) -> JoinHandle<R>
where
    A: Serialize + DeserializeOwned + 'static,
    R: Serialize + DeserializeOwned + 'static,
{
    Builder::new().die_with_parent(true).spawn(f, arguments).unwrap()
}

/// Says that this process is where it should be, and stays there until it is killed.
pub(crate) fn stay(here: &Event) {
    here.set();
    loop {
        park();
    }
}

/// Kills a process and waits for its end. Nobody knows yet of what it was attached to.
pub(crate) fn kill<R: Serialize + DeserializeOwned + Debug>(child: JoinHandle<R>) {
    child.kill().unwrap();
    assert!(matches!(child.join(), Err(JoinError::Exited { .. })));
}

/// Waits until none but `living` peers are attached and all that dead ones had is taken back, by this process or by whoever was faster.
pub(crate) fn buried<O: Object>(segment: &Segment<O>, living: usize) {
    loop {
        segment.reap_dead();
        if segment.peer_count() <= living {
            return;
        }
        // While another test starts a process, that has all descriptors for an instant, and with them the locks of the dead.
        yield_now();
    }
}

/// The lock, for those to whom it makes no difference that somebody died with it.
pub(crate) fn even_if_died<G>(outcome: Result<G, LockError<G>>) -> G {
    match outcome {
        Ok(guard) | Err(LockError::OwnerDied(guard)) => guard,
        Err(LockError::Forked) => panic!("this is no fork"),
    }
}

/// Stops a process, or lets it go on.
pub(crate) fn signal(pid: u32, number: i32) {
    // SAFETY: no memory is involved.
    #[allow(unsafe_code, reason = "a system call")]
    let outcome = unsafe { libc::kill(pid as i32, number) };
    assert_eq!(outcome, 0);
}

/// Waits until a process that was sent SIGSTOP has stopped.
pub(crate) fn await_stop_of(pid: u32) {
    while !std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains(") T ") {
        yield_now();
    }
}

/// The handle as another process would get it.
pub(crate) fn passed_on<H: Serialize + DeserializeOwned>(handle: &H) -> H {
    let (bytes, descriptors) = transfer::sending(|| postcard::to_stdvec(handle).unwrap());
    transfer::receiving(descriptors.unwrap(), || postcard::from_bytes(&bytes).unwrap()).0
}

/// Checks that a handle of threads cannot be serialised for another process, and that the reason is told; and one of processes not by those who do not take the memory along.
pub(crate) fn refused(private: &impl Serialize, shared: &impl Serialize) {
    let (bytes, descriptors) = transfer::sending(|| postcard::to_stdvec(private));
    assert!(bytes.is_err());
    assert!(matches!(descriptors, Err(Error::NotTransferable(_))));
    assert!(postcard::to_stdvec(shared).is_err());
}
