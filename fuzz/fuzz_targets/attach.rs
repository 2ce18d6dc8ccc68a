//! Whole segments that somebody scribbled over, attached to and used: errors, wrong values or nothing at all, never worse.
//!
//! The first byte of an input says how the segment is come by, the second how many operations are tried; the others are edits of a whole
//! segment that holds an `Mpmc` queue with three messages and a dead receiver: a place in two bytes (little-endian, modulo the segment's length) and
//! the byte to write there. Every third edit or so falls after the attachment, while the queue is being used.
//!
//! | first byte | the segment |
//! |---|---|
//! | `s` | sealed memory, received as a handle |
//! | `f` | a file, opened by its path |
//! | `r` | memory of an embedder |
//!
//! What must hold: no panic, no signal, no operation that does not come back, and a typed error for everything that is refused.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use rustix::mm::{MapFlags, ProtFlags};
use shmkit_fuzz::{bytes_of, sealed};
use shmkit_queue::mpmc::{self, Mpmc};
use shmkit_segment::{Error, Liveness, Options, Segment, inspect, transfer};
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::PathBuf;
use std::ptr::NonNull;
use std::sync::{Arc, LazyLock};

type Queue = Mpmc<u64>;

/// The bytes of a segment, and a handle to it on its way.
static WHOLE: LazyLock<(Vec<u8>, String)> = LazyLock::new(|| {
    let segment = Options::new().peers(3).anonymous::<Queue>(mpmc::Settings::new(4).into()).expect("a small segment");
    let (sender, receiver) = (mpmc::Sender::of(&segment), mpmc::Receiver::of(&segment));
    (1..=4).for_each(|item| sender.send(item).expect("there is room"));
    let dead = receiver.for_another_peer().expect("a second place");
    dead.recv().expect("a message");
    dead.segment().die();
    // The place that is kept for its receiver is in use as long as the descriptors are there.
    let (text, _descriptors) = transfer::sending(|| serde_json::to_string(&receiver));
    (bytes_of(&segment), text.expect("a handle that can be sent"))
});

/// An embedder's memory, and its address.
static MEMORY: LazyLock<(File, usize)> = LazyLock::new(|| {
    let file = sealed(&WHOLE.0);
    let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
    // SAFETY: a new mapping, at an address of the kernel's choice.
    let memory = unsafe { rustix::mm::mmap(std::ptr::null_mut(), WHOLE.0.len(), protection, flags, &file, 0) };
    (file, memory.expect("room for a page").expose_provenance())
});

static PATH: LazyLock<PathBuf> = LazyLock::new(|| format!("/dev/shm/shmkit-fuzz-{}", std::process::id()).into());

fn reopen(file: &File) -> OwnedFd {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    File::options().read(true).write(true).open(path).expect("an open file").into()
}

/// The ways in. What is refused is refused with a reason that fits; a message in between has a serialiser's.
fn attach(way: u8, content: &[u8]) -> (File, Option<Arc<Segment<Queue>>>) {
    match way {
        b's' => {
            let file = sealed(content);
            let descriptors = vec![reopen(&file), reopen(&file)];
            let (receiver, _) =
                transfer::receiving(descriptors, || serde_json::from_str::<mpmc::Receiver<u64>>(&WHOLE.1));
            (file, receiver.ok().map(|receiver| Arc::clone(receiver.segment())))
        }
        b'f' => {
            std::fs::write(&*PATH, content).expect("a small file");
            std::fs::set_permissions(&*PATH, PermissionsExt::from_mode(0o600)).expect("a file of its own");
            let file = File::options().write(true).open(&*PATH).expect("written above");
            inspect(&*PATH).expect("there is a file").peers.len();
            let opened = Options::new().file(&*PATH).open::<Queue>();
            std::fs::remove_file(&*PATH).expect("written above");
            (file, judged(opened))
        }
        _ => {
            let file = MEMORY.0.try_clone().expect("a descriptor");
            file.write_all_at(content, 0).expect("an open file");
            let liveness = Liveness::File { file: reopen(&file), offset: 0 };
            let memory = NonNull::new(std::ptr::with_exposed_provenance_mut::<u8>(MEMORY.1)).expect("a mapping");
            // SAFETY: mapped for ever, and used by one execution after the other.
            let raw = unsafe { Options::new().raw(NonNull::slice_from_raw_parts(memory, content.len()), liveness) };
            (file, judged(raw.open::<Queue>()))
        }
    }
}

fn judged(outcome: Result<Arc<Segment<Queue>>, Error>) -> Option<Arc<Segment<Queue>>> {
    match outcome {
        Ok(segment) => Some(segment),
        Err(
            Error::Corrupt(_)
            | Error::EarlierBoot
            | Error::Incompatible { .. }
            | Error::Incomplete
            | Error::NotASegment { .. }
            | Error::WrongObject { .. },
        ) => None,
        Err(error) => panic!("a strange reason: {error}"),
    }
}

fuzz_target!(|input: &[u8]| -> Corpus {
    let [way @ (b's' | b'f' | b'r'), operations, edits @ ..] = input else { return Corpus::Reject };
    let place = |edit: &[u8]| usize::from(u16::from_le_bytes([edit[0], edit[1]])) % WHOLE.0.len();
    let (mut content, mut later) = (WHOLE.0.clone(), Vec::new());
    for edit in edits.chunks_exact(3) {
        if edit[0] % 3 == 2 { later.push(edit) } else { content[place(edit)] = edit[2] }
    }
    let (file, segment) = attach(*way, &content);
    let Some(segment) = segment else { return Corpus::Keep };
    let (sender, receiver) = (mpmc::Sender::of(&segment), mpmc::Receiver::of(&segment));
    let mut later = later.into_iter();
    for operation in 0..operations % 16 {
        if let Some(edit) = later.next() {
            // A sealed file can be written to; a peer would write through its mapping.
            file.write_all_at(&edit[2..], place(edit) as u64).expect("an open file");
        }
        match operation % 4 {
            0 => drop(sender.try_send(u64::from(operation))),
            1 => drop(receiver.try_recv()),
            2 => drop((segment.reap_dead(), segment.peers(), sender.len())),
            _ => drop((sender.clone(), receiver.clone(), segment.join())),
        }
    }
    Corpus::Keep
});
