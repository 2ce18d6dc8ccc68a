//! The ways into a queue for many: by handing over, by a name, over a Unix socket, and in an embedder's memory; and what a death leaves to those who come later.
#![cfg(not(any(loom, feature = "portable")))]
#![allow(unsafe_code, reason = "an embedder vouches for its memory")]

#[path = "../../segment/tests/harness/mod.rs"]
mod harness;

use harness::{Name, alone, unique};
use shmkit_process::spawn;
use shmkit_queue::mpmc::{self, Mpmc, Receiver, Sender, Settings};
use shmkit_queue::{RecvError, TryRecvError};
use shmkit_segment::{Liveness, Options, Segment, recv, send};
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::ptr::NonNull;
use std::sync::Arc;

const COUNT: u64 = 1000;

fn send_some(segment: &Arc<Segment<Mpmc<u64>>>, first: u64) {
    let sender = Sender::of(segment);
    for number in (first..first + COUNT).step_by(10) {
        sender.send(number).unwrap();
        sender.send_slice(&std::array::from_fn::<_, 9, _>(|index| number + 1 + index as u64)).unwrap();
    }
}

/// Receives all there is until the senders are gone, and checks that it is what `senders` have sent.
fn check(receiver: &Receiver<u64>, senders: u64) {
    let mut received: Vec<_> = receiver.iter().collect();
    received.sort_unstable();
    assert!(received.into_iter().eq(0..senders * COUNT));
    assert_eq!(receiver.recv(), Err(RecvError::Disconnected));
}

#[test]
fn processes_meet_by_a_name_and_what_they_leave_there_is_kept() {
    fn by_name((name, first): (String, u64)) {
        let settings = Settings::new(16);
        send_some(&Options::new().name(name).open_or_create(settings.into()).unwrap(), first);
    }
    alone(|()| {
        let name = Name::new();
        let open = || Options::new().name(name.0.clone()).open_or_create::<Mpmc<u64>>(Settings::new(16).into());
        let segment = open().unwrap();
        let (receiver, sender) = (Receiver::of(&segment), Sender::of(&segment));
        let children = [0, COUNT].map(|first| spawn(by_name, (name.0.clone(), first)).unwrap());
        let mut received: Vec<_> = (0..2 * COUNT).map(|_| receiver.recv().unwrap()).collect();
        received.sort_unstable();
        assert!(received.into_iter().eq(0..2 * COUNT));
        children.into_iter().for_each(|child| child.join().unwrap());
        sender.send(7).unwrap();
        drop((sender, receiver, segment));
        // Nobody is there any more, but the message is.
        let receiver = Receiver::of(&open().unwrap());
        assert_eq!((receiver.try_recv(), receiver.try_recv()), (Ok(7), Err(TryRecvError::Empty)));
    });
}

#[test]
fn handles_go_to_other_processes_over_unix_sockets() {
    fn connect((name, first): (String, u64)) {
        let socket = UnixStream::connect_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap();
        let (sender, _receiver): (Sender<u64>, Receiver<u64>) = recv(&socket).unwrap();
        send_some(sender.segment(), first);
    }
    alone(|()| {
        let name = unique();
        let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let children = [0, COUNT].map(|first| spawn(connect, (name.clone(), first)).unwrap());
        let (sender, receiver) = mpmc::channel::<u64>(16).unwrap();
        for _ in &children {
            send(&listener.accept().unwrap().0, &(sender.clone(), receiver.clone())).unwrap();
        }
        drop(sender);
        check(&receiver, 2);
        children.into_iter().for_each(|child| child.join().unwrap());
    });
}

const ARENA: usize = 16 << 10;

/// The queue in the memory file at `place`, which is an embedder's, as far as the queue knows.
fn in_arena(place: &str) -> Arc<Segment<Mpmc<u64>>> {
    let open = || File::options().read(true).write(true).open(place).unwrap();
    let (file, protection) = (open(), libc::PROT_READ | libc::PROT_WRITE);
    // SAFETY: a new mapping, at an address of the kernel's choice.
    let memory = unsafe { libc::mmap(std::ptr::null_mut(), ARENA, protection, libc::MAP_SHARED, file.as_raw_fd(), 0) };
    assert_ne!(memory, libc::MAP_FAILED);
    let memory = NonNull::slice_from_raw_parts(NonNull::new(memory.cast()).unwrap(), ARENA);
    let liveness = Liveness::File { file: OwnedFd::from(open()), offset: 0 };
    // SAFETY: never unmapped, and nobody touches it in any other way.
    let raw = unsafe { Options::new().peers(8).raw(memory, liveness) };
    raw.open_or_create(Settings::new(16).into()).unwrap()
}

#[test]
fn processes_meet_in_an_embedders_memory() {
    fn by_place((place, first): (String, u64)) {
        send_some(&in_arena(&place), first);
    }
    alone(|()| {
        // SAFETY: a name that ends with a zero.
        let memory = unsafe { libc::memfd_create(c"arena".as_ptr(), libc::MFD_CLOEXEC) };
        assert!(memory >= 0);
        // SAFETY: just opened, and nobody else's.
        let memory = unsafe { File::from_raw_fd(memory) };
        memory.set_len(ARENA as u64).unwrap();
        let place = format!("/proc/{}/fd/{}", std::process::id(), memory.as_raw_fd());
        let segment = in_arena(&place);
        // So that the senders' side is never closed too early.
        let (receiver, sender) = (Receiver::of(&segment), Sender::of(&segment));
        let children = [0, COUNT].map(|first| spawn(by_place, (place.clone(), first)).unwrap());
        let received: Vec<_> = (0..2 * COUNT).map(|_| receiver.recv().unwrap()).collect();
        assert_eq!(received.iter().sum::<u64>(), (0..2 * COUNT).sum());
        children.into_iter().for_each(|child| child.join().unwrap());
        drop(sender);
        assert_eq!(receiver.recv(), Err(RecvError::Disconnected));
    });
}
