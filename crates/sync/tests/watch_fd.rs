//! Descriptors for what is in shared memory.
#![cfg(not(loom))]

mod asleep;
mod company;
#[path = "../../segment/tests/forked/mod.rs"]
mod forked;
#[path = "../../segment/tests/harness/mod.rs"]
mod harness;

use company::{MOMENT, start};
use forked::{end_after, fork};
use harness::alone;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use shmkit_sync::{CountingSemaphore, Event, Waitable, WatchFd, wait};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::thread::scope;

/// Whether it is readable now.
fn is_readable(descriptor: impl AsFd) -> bool {
    poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1
}

fn await_readable(descriptor: impl AsFd) {
    poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], None).unwrap();
}

#[test]
fn it_is_readable_while_there_is_something_and_until_it_is_armed_anew() {
    let event = Event::new().unwrap();
    let mut descriptor = WatchFd::new(event.watch()).unwrap();
    for _ in 0..100 {
        event.set();
        await_readable(&descriptor);
        descriptor.rearm();
        assert!(is_readable(&descriptor), "it is set still");
        event.clear();
        assert!(is_readable(&descriptor));
        // What is under way from the thread that waits for it is nothing new.
        while is_readable(&descriptor) {
            descriptor.rearm();
        }
    }
    event.set();
    assert!(is_readable(WatchFd::new(event.watch()).unwrap()));
}

#[test]
fn it_is_readable_for_what_another_process_does_each_time() {
    const TIMES: usize = 2_000;
    fn post((there, back): (CountingSemaphore, CountingSemaphore)) {
        for _ in 0..TIMES {
            there.post().unwrap();
            back.acquire().unwrap();
        }
    }
    let (there, back) = (CountingSemaphore::new(10_000).unwrap(), CountingSemaphore::new(10_000).unwrap());
    let mut descriptor = WatchFd::new(there.watch()).unwrap();
    let child = start(post, (there.clone(), back.clone()));
    for _ in 0..TIMES {
        while there.try_acquire().is_err() {
            await_readable(&descriptor);
            descriptor.rearm();
        }
        back.post().unwrap();
    }
    child.join().unwrap();
}

#[test]
fn of_several_for_the_same_each_becomes_readable_while_there_is_something() {
    const MANY: usize = 4;
    let semaphore = CountingSemaphore::new(10_000).unwrap();
    let mut descriptors = [(); MANY].map(|()| WatchFd::new(semaphore.watch()).unwrap());
    for round in 0..200 {
        semaphore.post().unwrap();
        descriptors.iter().for_each(await_readable);
        semaphore.try_acquire().unwrap();
        descriptors.rotate_left(round % MANY);
        descriptors.iter_mut().for_each(WatchFd::rearm);
    }
}

#[test]
fn those_who_compete_by_descriptors_get_all_that_is_posted() {
    const MANY: u32 = 4;
    const EACH: u32 = 500;
    fn post(semaphore: CountingSemaphore) {
        (0..MANY * EACH).for_each(|_| semaphore.post().unwrap());
    }
    let semaphore = CountingSemaphore::new(10_000).unwrap();
    let child = start(post, semaphore.clone());
    std::thread::scope(|scope| {
        for _ in 0..MANY {
            scope.spawn(|| {
                let mut descriptor = WatchFd::new(semaphore.watch()).unwrap();
                for _ in 0..EACH {
                    while semaphore.try_acquire().is_err() {
                        await_readable(&descriptor);
                        descriptor.rearm();
                    }
                }
            });
        }
    });
    child.join().unwrap();
}

#[test]
fn one_that_is_dropped_while_it_is_armed_takes_nothing_from_another_waiter() {
    for round in 0..200 {
        let semaphore = CountingSemaphore::new(10_000).unwrap();
        let dropped = [(); 3].map(|()| WatchFd::new(semaphore.watch()).unwrap());
        let stays = WatchFd::new(semaphore.watch()).unwrap();
        let waiting = {
            let semaphore = semaphore.clone();
            asleep::asleep_in(move || semaphore.acquire().unwrap())
        };
        let posting = {
            let semaphore = semaphore.clone();
            std::thread::spawn(move || (0..2).for_each(|_| semaphore.post().unwrap()))
        };
        dropped.into_iter().skip(round % 3).for_each(drop);
        waiting.join().unwrap();
        await_readable(&stays);
        posting.join().unwrap();
        semaphore.try_acquire().unwrap();
    }
}

#[test]
fn it_keeps_what_it_watches() {
    let event = Event::new().unwrap();
    let again = event.clone();
    let descriptor = WatchFd::new(event.watch()).unwrap();
    drop(event);
    again.set();
    await_readable(&descriptor);
    assert!(format!("{descriptor:?}").contains(&descriptor.as_raw_fd().to_string()));
}

#[test]
fn it_leaves_no_descriptor_and_too_few_of_them_are_an_error() {
    alone(|()| {
        let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let event = Event::new().unwrap();
        let before = open();
        for _ in 0..100 {
            drop(WatchFd::new(event.watch()).unwrap());
        }
        // The thread may hold one for a moment more.
        while open() > before {
            std::thread::yield_now();
        }
        let (reader, _writer) = io::pipe().unwrap();
        // All numbers below its own are taken.
        let last = File::open("/dev/null").unwrap();
        let usual = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(last.as_raw_fd() as u64 + 1), ..usual }).unwrap();
        let error = WatchFd::new(event.watch()).map(drop).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::MFILE.raw_os_error()));
        // Who waits for both kinds needs one, and does without.
        let things = || [Waitable::from(event.watch()), reader.as_fd().into()];
        assert_eq!(wait(things(), Some(MOMENT)), []);
        scope(|scope| {
            let waiting = scope.spawn(|| wait(things(), None));
            event.set();
            assert_eq!(waiting.join().unwrap(), [0]);
        });
        setrlimit(Resource::Nofile, usual).unwrap();
        await_readable(WatchFd::new(event.watch()).unwrap());
    });
}

#[test]
fn a_forked_child_has_its_own() {
    alone(|()| {
        let event = Event::new().unwrap();
        let mut descriptor = WatchFd::new(event.watch()).unwrap();
        fork(|| {
            end_after(60);
            // What it has a copy of is cut off from the others, and says so by being worth trying.
            assert!(event.is_set() || event.wait().is_err());
            let ours = Event::new().unwrap();
            let mut mine = WatchFd::new(ours.watch()).unwrap();
            mine.rearm();
            ours.set();
            await_readable(&mine);
        })
        .join();
        event.set();
        await_readable(&descriptor);
        descriptor.rearm();
        assert!(is_readable(&descriptor));
    });
}
