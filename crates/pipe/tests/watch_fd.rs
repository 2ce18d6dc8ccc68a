//! Connections and pipes among descriptors: in `epoll`, and in a runtime that knows only those.
#![cfg(not(any(loom, feature = "portable")))]

#[path = "../../sync/tests/asleep/mod.rs"]
mod asleep;
#[path = "../../sync/tests/company/mod.rs"]
mod company;

use asleep::asleep_in;
use company::{buried, kill, start, stay};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use shmkit_pipe::{Connection, RecvError, WatchFd, Writer, duplex, duplex_with_capacity, pipe};
use shmkit_sync::Event;
use std::io::{PipeWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Whether it is readable now.
fn is_readable(descriptor: impl AsFd) -> bool {
    poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1
}

fn await_readable(descriptor: impl AsFd) {
    poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], None).unwrap();
}

fn count(mut connection: Connection, most: u32) {
    for number in 0..most {
        connection.send_bytes(&number.to_ne_bytes()).unwrap();
    }
}

#[test]
fn epoll_misses_no_message_of_several_processes() {
    const CONNECTIONS: usize = 3;
    const EACH: u32 = 2_500;
    fn send(connection: Connection) {
        count(connection, EACH);
    }
    fn write(descriptor: shmkit_pipe::Descriptor) {
        let mut plain = PipeWriter::from(descriptor.0);
        (0..EACH).for_each(|number| plain.write_all(&number.to_ne_bytes()).unwrap());
    }
    let epoll = epoll::create(CreateFlags::CLOEXEC).unwrap();
    let (mut connections, mut descriptors, mut children) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..CONNECTIONS {
        // Of which some have room for a few messages only.
        let (here, there) = duplex_with_capacity(256 << (4 * number)).unwrap();
        let descriptor = WatchFd::new(here.watch()).unwrap();
        epoll::add(&epoll, &descriptor, EventData::new_u64(number as u64), EventFlags::IN).unwrap();
        connections.push(here);
        descriptors.push(descriptor);
        children.push(start(send, there));
    }
    let (mut plain, writer) = std::io::pipe().unwrap();
    epoll::add(&epoll, &plain, EventData::new_u64(CONNECTIONS as u64), EventFlags::IN).unwrap();
    children.push(start(write, OwnedFd::from(writer).into()));
    let (mut got, mut open) = ([0; CONNECTIONS + 1], CONNECTIONS + 1);
    while open > 0 {
        let mut events = Vec::with_capacity(8);
        epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None).unwrap();
        for event in events {
            let number = event.data.u64() as usize;
            let mut next = |item: [u8; 4]| {
                assert_eq!(u32::from_ne_bytes(item), got[number]);
                got[number] += 1;
            };
            let Some(connection) = connections.get_mut(number) else {
                let mut item = [0; 4];
                match plain.read_exact(&mut item) {
                    Ok(()) => next(item),
                    Err(_) => {
                        epoll::delete(&epoll, &plain).unwrap();
                        open -= 1;
                    }
                }
                continue;
            };
            let end = loop {
                match connection.try_recv_bytes() {
                    Ok(message) => next(message.try_into().unwrap()),
                    Err(error) => break error,
                }
            };
            match end {
                RecvError::WouldBlock => descriptors[number].rearm(),
                RecvError::Disconnected => {
                    epoll::delete(&epoll, &descriptors[number]).unwrap();
                    open -= 1;
                }
                error => panic!("{error}"),
            }
        }
    }
    assert_eq!(got, [EACH; CONNECTIONS + 1]);
    children.into_iter().for_each(|child| child.join().unwrap());
}

#[test]
fn it_stays_readable_when_it_is_armed_anew_with_something_left() {
    let (here, mut there) = duplex().unwrap();
    let (mut here, mut descriptor) = (here, WatchFd::new(there.watch()).unwrap());
    let epoll = epoll::create(CreateFlags::CLOEXEC).unwrap();
    epoll::add(&epoll, &descriptor, EventData::new_u64(0), EventFlags::IN).unwrap();
    for _ in 0..3 {
        here.send_bytes(b"1").unwrap();
        here.send_bytes(b"2").unwrap();
        await_readable(&epoll);
        assert_eq!(there.try_recv_bytes().unwrap(), b"1");
        descriptor.rearm();
        assert!(is_readable(&descriptor) && is_readable(&epoll));
        // It does not know what was received until it is armed.
        assert_eq!(there.try_recv_bytes().unwrap(), b"2");
        assert!(is_readable(&descriptor));
    }
    drop(here);
    descriptor.rearm();
    assert!(is_readable(&descriptor), "the end stays");
    descriptor.rearm();
    assert!(is_readable(&descriptor));
}

#[test]
fn one_that_was_made_when_there_was_something_is_readable_at_once() {
    let (mut here, there) = duplex().unwrap();
    here.send_bytes(b"1").unwrap();
    assert!(is_readable(WatchFd::new(there.watch()).unwrap()));
    let (writer, reader) = pipe().unwrap();
    assert!(is_readable(WatchFd::new(writer.watch()).unwrap()), "there is room");
    drop(writer);
    assert!(is_readable(WatchFd::new(reader.watch()).unwrap()));
}

#[test]
fn it_becomes_unreadable_when_it_is_armed_and_there_is_nothing() {
    let (mut here, mut there) = duplex().unwrap();
    let mut descriptor = WatchFd::new(there.watch()).unwrap();
    for _ in 0..100 {
        here.send_bytes(b"1").unwrap();
        await_readable(&descriptor);
        there.try_recv_bytes().unwrap();
        // What is under way from the thread that waits for it is nothing new.
        while is_readable(&descriptor) {
            descriptor.rearm();
        }
    }
}

#[test]
fn several_descriptors_for_the_same_all_become_readable() {
    let (mut here, mut there) = duplex().unwrap();
    let mut descriptors = [(); 4].map(|()| WatchFd::new(there.watch()).unwrap());
    for number in 0..200_usize {
        here.send_bytes(b"1").unwrap();
        descriptors.iter().for_each(await_readable);
        there.try_recv_bytes().unwrap();
        // In another order each time.
        descriptors.rotate_left(number % 3);
        descriptors.iter_mut().for_each(WatchFd::rearm);
    }
    drop(here);
    descriptors.iter().for_each(await_readable);
}

#[test]
fn one_that_is_dropped_while_it_is_armed_takes_no_message_from_another() {
    for _ in 0..200 {
        let (mut here, mut there) = duplex().unwrap();
        let dropped = [(); 3].map(|()| WatchFd::new(there.watch()).unwrap());
        let stays = WatchFd::new(there.watch()).unwrap();
        let more = WatchFd::new(there.watch()).unwrap();
        let sending = std::thread::spawn(move || {
            here.send_bytes(b"1").unwrap();
            here
        });
        drop(dropped);
        drop(more);
        await_readable(&stays);
        assert_eq!(there.try_recv_bytes().unwrap(), b"1");
        drop(sending.join().unwrap());
    }
}

#[test]
fn a_thread_that_receives_is_woken_beside_descriptors_that_are_dropped_and_stay() {
    for _ in 0..50 {
        let (mut here, mut there) = duplex().unwrap();
        let (dropped, stays) = (WatchFd::new(there.watch()).unwrap(), WatchFd::new(there.watch()).unwrap());
        let receiving = asleep_in(move || there.recv_bytes().unwrap());
        here.send_bytes(b"1").unwrap();
        drop(dropped);
        assert_eq!(receiving.join().unwrap(), b"1");
        drop(here);
        await_readable(&stays);
    }
}

#[test]
fn it_outlives_what_it_watches() {
    let (here, there) = duplex().unwrap();
    let descriptor = WatchFd::new(there.watch()).unwrap();
    drop(there);
    drop(here);
    await_readable(&descriptor);
}

#[test]
fn it_is_readable_after_the_death_of_the_other_side() {
    fn hold((_connection, _writer, here): (Connection, Writer, Event)) {
        stay(&here);
    }
    let (mut here, there) = duplex().unwrap();
    let (writer, reader) = pipe().unwrap();
    let arrived = Event::new().unwrap();
    let descriptors = [WatchFd::new(here.watch()).unwrap(), WatchFd::new(reader.watch()).unwrap()];
    let child = start(hold, (there, writer, arrived.clone()));
    arrived.wait().unwrap();
    kill(child);
    buried(here.segment(), 1);
    buried(reader.segment(), 1);
    descriptors.iter().for_each(await_readable);
    assert!(matches!(here.try_recv_bytes(), Err(RecvError::Disconnected)));
}

/// The next message, by a runtime that knows nothing but descriptors.
async fn receive(descriptor: &mut AsyncFd<WatchFd>, connection: &mut Connection) -> Option<Vec<u8>> {
    loop {
        match connection.try_recv_bytes() {
            Ok(message) => return Some(message),
            Err(RecvError::Disconnected) => return None,
            Err(RecvError::WouldBlock) => {}
            Err(error) => panic!("{error}"),
        }
        let mut ready = descriptor.readable_mut().await.unwrap();
        ready.get_inner_mut().rearm();
        // Only now: what comes later is told anew, and what has come is found above.
        ready.clear_ready();
    }
}

#[test]
fn tokio_waits_for_it_as_for_any_descriptor() {
    const EACH: u32 = 2_000;
    fn send(connection: Connection) {
        count(connection, EACH);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_io().build().unwrap();
    runtime.block_on(async {
        let tasks = [256, 1 << 16].map(|capacity| {
            let (mut here, there) = duplex_with_capacity(capacity).unwrap();
            let child = start(send, there);
            tokio::spawn(async move {
                let descriptor = WatchFd::new(here.watch()).unwrap();
                // SAFETY: it is the same descriptor as long as it lives.
                let descriptor = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
                let mut descriptor = descriptor.unwrap();
                for number in 0..EACH {
                    assert_eq!(receive(&mut descriptor, &mut here).await.unwrap(), number.to_ne_bytes());
                }
                assert_eq!(receive(&mut descriptor, &mut here).await, None);
                child.join().unwrap();
            })
        });
        for task in tasks {
            task.await.unwrap();
        }
    });
}
