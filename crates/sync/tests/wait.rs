//! Waiting for all that is ready of several things, descriptors among them.
#![cfg(not(loom))]

mod asleep;
mod company;

use asleep::{asleep_in, sound_asleep_in};
use company::{LONG, MOMENT, start};
use shmkit_sync::{CountingSemaphore, Event, Select, Semaphore, Waitable, Watch, wait};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread::scope;
use std::time::{Duration, Instant};

fn events<const N: usize>() -> [Event; N] {
    [(); N].map(|()| Event::new().unwrap())
}

fn watches(events: &[Event]) -> Vec<Watch> {
    events.iter().map(Event::watch).collect()
}

#[test]
fn all_that_are_ready_are_named_in_their_order() {
    let events = events::<4>();
    let now = || wait(watches(&events), Some(Duration::ZERO));
    assert_eq!(now(), []);
    for (number, ready) in [(2, vec![2]), (0, vec![0, 2]), (3, vec![0, 2, 3]), (1, vec![0, 1, 2, 3])] {
        events[number].set();
        assert_eq!(now(), ready);
        assert_eq!(wait(watches(&events), None), ready);
        assert_eq!(wait(watches(&events), Some(LONG)), ready);
    }
    events[0].clear();
    assert_eq!(now(), [1, 2, 3]);
}

#[test]
fn the_same_thing_may_be_there_more_than_once() {
    let event = Event::new().unwrap();
    let (reader, mut writer) = io::pipe().unwrap();
    let things = || {
        let words = [event.watch(), event.watch()].map(Waitable::from);
        words.into_iter().chain([reader.as_fd(), reader.as_fd()].map(Waitable::from))
    };
    assert_eq!(wait(things(), Some(MOMENT)), []);
    event.set();
    assert_eq!(wait(things(), None), [0, 1]);
    writer.write_all(b"1").unwrap();
    assert_eq!(wait(things(), None), [0, 1, 2, 3]);
}

#[test]
fn none_is_named_when_the_time_is_up_and_not_before() {
    let event = Event::new().unwrap();
    let (reader, _writer) = io::pipe().unwrap();
    for timeout in [Duration::ZERO, Duration::from_micros(1), MOMENT, 15 * MOMENT] {
        let forms: [&dyn Fn() -> Vec<usize>; 4] = [
            &|| wait([event.watch()], Some(timeout)),
            &|| wait([event.watch(), event.watch()], Some(timeout)),
            &|| wait([reader.as_fd()], Some(timeout)),
            &|| wait([Waitable::from(event.watch()), reader.as_fd().into()], Some(timeout)),
        ];
        for form in forms {
            let begin = Instant::now();
            assert_eq!(form(), []);
            assert!(begin.elapsed() >= timeout);
        }
    }
    let begin = Instant::now();
    assert_eq!(wait(Vec::<Watch>::new(), Some(MOMENT)), []);
    assert!(begin.elapsed() >= MOMENT);
}

#[test]
fn who_sleeps_is_woken_by_a_word_and_by_a_descriptor() {
    for number in 0..4 {
        let events = events::<2>();
        let (reader, mut writer) = io::pipe().unwrap();
        let (socket, mut other) = UnixStream::pair().unwrap();
        let things = watches(&events);
        let waiting = asleep_in(move || {
            let words = things.into_iter().map(Waitable::from);
            wait(words.chain([reader.as_fd(), socket.as_fd()].map(Waitable::from)), None)
        });
        match number {
            0 | 1 => events[number].set(),
            2 => writer.write_all(b"1").unwrap(),
            _ => other.write_all(b"1").unwrap(),
        }
        assert_eq!(waiting.join().unwrap(), [number]);
    }
}

#[test]
fn who_sleeps_soundly_for_words_is_woken_by_each() {
    for number in 0..2 {
        let events = events::<2>();
        let things = watches(&events);
        let waiting = sound_asleep_in(move || wait(things, None));
        events[number].set();
        assert_eq!(waiting.join().unwrap(), [number]);
    }
}

#[test]
fn the_end_and_what_is_broken_count_as_ready() {
    let event = Event::new().unwrap();
    let (reader, writer) = io::pipe().unwrap();
    let watch = event.watch();
    let waiting = asleep_in(move || wait([Waitable::from(watch), reader.as_fd().into()], None));
    drop(writer);
    assert_eq!(waiting.join().unwrap(), [1]);
    // Nobody reads any more: writing would not wait, either.
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    assert_eq!(wait([Waitable::from(event.watch()), Waitable::writable(writer.as_fd())], None), [1]);
}

#[test]
fn room_to_write_is_waited_for() {
    let event = Event::new().unwrap();
    let (mut reader, writer) = io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    while (&writer).write(&[0; 4096]).is_ok() {}
    let things = || [Waitable::from(event.watch()), Waitable::writable(writer.as_fd())];
    assert_eq!(wait(things(), Some(MOMENT)), []);
    scope(|scope| {
        let waiting = scope.spawn(|| wait(things(), None));
        reader.read_exact(&mut vec![0; 1 << 16]).unwrap();
        assert_eq!(waiting.join().unwrap(), [1]);
    });
}

#[test]
fn more_than_the_kernel_waits_for_at_once_are_waited_for() {
    let events: Vec<_> = (0..200).map(|_| Event::private().unwrap()).collect();
    let (reader, _writer) = io::pipe().unwrap();
    for is_mixed in [false, true] {
        for number in [0, 127, 128, 199] {
            let (things, reader) = (watches(&events), reader.try_clone().unwrap());
            let waiting = asleep_in(move || {
                let plain = is_mixed.then(|| Waitable::from(reader.as_fd()));
                wait(things.into_iter().map(Waitable::from).chain(plain), None)
            });
            events[number].set();
            assert_eq!(waiting.join().unwrap(), [number]);
            events[number].clear();
        }
    }
}

#[test]
fn several_threads_that_wait_for_the_same_are_all_told() {
    const MANY: usize = 4;
    for is_mixed in [false, true] {
        let event = Event::new().unwrap();
        let waiting = [(); MANY].map(|()| {
            let (watch, (reader, writer)) = (event.watch(), io::pipe().unwrap());
            asleep_in(move || {
                let plain = is_mixed.then(|| Waitable::from(reader.as_fd()));
                let ready = wait([Waitable::from(watch)].into_iter().chain(plain), None);
                drop(writer);
                ready
            })
        });
        event.set();
        waiting.into_iter().for_each(|waiting| assert_eq!(waiting.join().unwrap(), [0]));
    }
}

#[test]
fn those_who_wait_by_words_by_descriptors_and_otherwise_share_what_is_posted() {
    const EACH: u32 = 500;
    fn post(semaphore: CountingSemaphore) {
        (0..4 * EACH).for_each(|_| semaphore.post().unwrap());
    }
    let semaphore = CountingSemaphore::new(10_000).unwrap();
    let child = start(post, semaphore.clone());
    scope(|scope| {
        for kind in 0..4 {
            let semaphore = &semaphore;
            scope.spawn(move || {
                let (reader, _writer) = io::pipe().unwrap();
                let mut select: Select<'_> =
                    [Waitable::from(semaphore.watch()), reader.as_fd().into()].into_iter().collect();
                for _ in 0..EACH {
                    loop {
                        let is_there = match kind {
                            0 => wait([semaphore.watch()], None) == [0],
                            1 => wait([Waitable::from(semaphore.watch()), reader.as_fd().into()], None) == [0],
                            2 => select.wait() == 0,
                            _ => {
                                semaphore.acquire().unwrap();
                                break;
                            }
                        };
                        assert!(is_there);
                        // Somebody else may have been faster.
                        if semaphore.try_acquire().is_ok() {
                            break;
                        }
                    }
                }
            });
        }
    });
    child.join().unwrap();
    assert_eq!(wait([semaphore.watch()], Some(Duration::ZERO)), []);
}

#[test]
fn permits_that_come_back_are_ready() {
    let semaphore = Semaphore::new(1).unwrap();
    let permit = semaphore.acquire().unwrap();
    let (reader, _writer) = io::pipe().unwrap();
    let watch = semaphore.watch();
    let waiting = asleep_in(move || wait([Waitable::from(watch), reader.as_fd().into()], None));
    drop(permit);
    assert_eq!(waiting.join().unwrap(), [0]);
}
