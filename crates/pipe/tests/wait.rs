//! Waiting for things of all kinds at once: connections, queues, pipes, processes, listeners and plain descriptors.
#![cfg(not(any(loom, feature = "portable")))]

#[path = "../../sync/tests/asleep/mod.rs"]
mod asleep;
#[path = "../../sync/tests/company/mod.rs"]
mod company;
#[path = "../../segment/tests/harness/mod.rs"]
mod harness;

use asleep::asleep_in;
use company::{LONG, MOMENT, buried, kill, start, stay};
use harness::alone;
use shmkit_pipe::{Connection, Listener, Reader, Waitable, WatchFd, Writer, connect, duplex, pipe, wait};
use shmkit_process::JoinHandle;
use shmkit_queue::{buffer, mpmc, spsc};
use shmkit_sync::{Event, Select, Watch};
use std::future::Future;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

/// What can be waited for, one of each kind that receives: the words of shared memory first.
struct Here {
    connection: Connection,
    spsc: spsc::Receiver<u32>,
    mpmc: mpmc::Receiver<u32>,
    buffer: buffer::Receiver,
    reader: Reader,
    plain: PipeReader,
    socket: UnixStream,
    listener: Listener,
    directory: tempfile::TempDir,
}

/// How many of them are in shared memory.
const WORDS: usize = 5;
const ALL: usize = 8;

/// The other ends.
struct There {
    connection: Connection,
    spsc: spsc::Sender<u32>,
    mpmc: mpmc::Sender<u32>,
    buffer: buffer::Sender,
    writer: Writer,
    plain: PipeWriter,
    socket: UnixStream,
}

fn one_of_each() -> (Here, There) {
    let (one, other) = duplex().unwrap();
    let (to_spsc, from_spsc) = spsc::channel(2).unwrap();
    let (to_mpmc, from_mpmc) = mpmc::channel(2).unwrap();
    let (to_buffer, from_buffer) = buffer::channel((2, 8)).unwrap();
    let (writer, reader) = pipe().unwrap();
    let (plain_reader, plain_writer) = io::pipe().unwrap();
    let (here, there) = UnixStream::pair().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let listener = Listener::bind(directory.path().join("socket")).unwrap();
    let here = Here {
        connection: one,
        spsc: from_spsc,
        mpmc: from_mpmc,
        buffer: from_buffer,
        reader,
        plain: plain_reader,
        socket: here,
        listener,
        directory,
    };
    let there = There {
        connection: other,
        spsc: to_spsc,
        mpmc: to_mpmc,
        buffer: to_buffer,
        writer,
        plain: plain_writer,
        socket: there,
    };
    (here, there)
}

impl Here {
    fn watches(&self) -> [Watch; WORDS] {
        [self.connection.watch(), self.spsc.watch(), self.mpmc.watch(), self.buffer.watch(), self.reader.watch()]
    }

    fn things(&self) -> Vec<Waitable<'_>> {
        let descriptors = [self.plain.as_fd(), self.socket.as_fd(), self.listener.as_fd()];
        self.watches().into_iter().map(Waitable::from).chain(descriptors.map(Waitable::from)).collect()
    }

    /// One of them.
    fn thing(&self, number: usize) -> Waitable<'_> {
        self.things().swap_remove(number)
    }

    fn ready(&self) -> Vec<usize> {
        wait(self.things(), Some(Duration::ZERO))
    }

    /// Takes what was sent to one of them.
    fn take(&mut self, number: usize) {
        match number {
            0 => drop(self.connection.try_recv_bytes().unwrap()),
            1 => drop(self.spsc.try_recv().unwrap()),
            2 => drop(self.mpmc.try_recv().unwrap()),
            3 => self.buffer.try_recv().unwrap().ack(),
            4 => assert_eq!(self.reader.try_read(&mut [0; 8]).unwrap(), 1),
            5 => self.plain.read_exact(&mut [0]).unwrap(),
            6 => self.socket.read_exact(&mut [0]).unwrap(),
            _ => drop(self.listener.try_accept()),
        }
    }
}

impl There {
    /// Sends something to one of them.
    fn send(&mut self, number: usize, path: &PathBuf) {
        match number {
            0 => self.connection.send_bytes(b"1").unwrap(),
            1 => self.spsc.send(1).unwrap(),
            2 => self.mpmc.send(1).unwrap(),
            3 => self.buffer.send(b"1").unwrap(),
            4 => self.writer.write_all(b"1").unwrap(),
            5 => self.plain.write_all(b"1").unwrap(),
            6 => self.socket.write_all(b"1").unwrap(),
            _ => drop(UnixStream::connect(path).unwrap()),
        }
    }
}

#[test]
fn each_kind_is_waited_for_alone_and_together_and_all_that_are_ready_are_named() {
    let (mut here, mut there) = one_of_each();
    let path = here.directory.path().join("socket");
    assert_eq!(here.ready(), []);
    for number in 0..ALL {
        there.send(number, &path);
        for timeout in [None, Some(LONG), Some(Duration::ZERO)] {
            assert_eq!(wait([here.thing(number)], timeout), [0]);
            assert_eq!(wait(here.things(), timeout), [number]);
        }
        here.take(number);
        assert_eq!(here.ready(), [], "{number}");
    }
    let mut ready = Vec::new();
    for number in [6, 1, 4, 0, 7, 2, 5, 3] {
        there.send(number, &path);
        ready.push(number);
        ready.sort_unstable();
        assert_eq!(wait(here.things(), None), ready);
        let words: Vec<_> = ready.iter().copied().filter(|&number| number < WORDS).collect();
        assert_eq!(wait(here.watches(), Some(Duration::ZERO)), words);
    }
    while let Some(number) = ready.pop() {
        here.take(number);
        assert_eq!(here.ready(), ready);
    }
}

#[test]
fn who_sleeps_for_things_of_all_kinds_is_woken_by_each() {
    let path = |here: &Here| here.directory.path().join("socket");
    for number in 0..ALL {
        let (here, mut there) = one_of_each();
        let path = path(&here);
        let waiting = asleep_in(move || wait(here.things(), None));
        there.send(number, &path);
        assert_eq!(waiting.join().unwrap(), [number]);
    }
    for number in 0..WORDS {
        let (here, mut there) = one_of_each();
        let path = path(&here);
        let waiting = asleep_in(move || wait(here.watches(), None));
        there.send(number, &path);
        assert_eq!(waiting.join().unwrap(), [number]);
    }
}

#[test]
fn nothing_is_named_when_the_time_is_up_and_not_before() {
    let (here, _there) = one_of_each();
    for timeout in [Duration::ZERO, Duration::from_nanos(1), MOMENT, 15 * MOMENT] {
        let begin = Instant::now();
        assert_eq!(wait(here.things(), Some(timeout)), []);
        assert!(begin.elapsed() >= timeout);
        let begin = Instant::now();
        assert_eq!(wait(here.watches(), Some(timeout)), []);
        assert!(begin.elapsed() >= timeout);
        let begin = Instant::now();
        assert_eq!(wait([here.plain.as_fd()], Some(timeout)), []);
        assert!(begin.elapsed() >= timeout);
        let begin = Instant::now();
        assert_eq!(wait([(); 0].map(|()| here.thing(0)), Some(timeout)), []);
        assert!(begin.elapsed() >= timeout);
    }
}

#[test]
fn the_end_of_each_counts_as_ready() {
    let (here, there) = one_of_each();
    let waiting = asleep_in(move || {
        // Woken by the first of them, until it has seen all.
        while here.ready().len() < ALL - 1 {
            assert!(!wait(here.things(), None).is_empty());
        }
        here.ready()
    });
    drop(there);
    assert_eq!(waiting.join().unwrap(), [0, 1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_death_counts_as_ready_wherever_it_leaves_nobody() {
    type Ends = (Connection, spsc::Sender<u32>, mpmc::Sender<u32>, buffer::Sender, Writer, Event);
    fn hold((_connection, _spsc, _mpmc, _buffer, _writer, here): Ends) {
        stay(&here);
    }
    let (here, there) = one_of_each();
    let arrived = Event::new().unwrap();
    let child = start(hold, (there.connection, there.spsc, there.mpmc, there.buffer, there.writer, arrived.clone()));
    arrived.wait().unwrap();
    let things = || here.watches().into_iter().map(Waitable::from).chain([child.as_fd().into()]);
    assert_eq!(wait(things(), Some(MOMENT)), []);
    child.kill().unwrap();
    // A process is told of by the kernel.
    while !wait(things(), None).contains(&WORDS) {}
    buried(here.connection.segment(), 1);
    buried(here.spsc.segment(), 1);
    buried(here.mpmc.segment(), 1);
    buried(here.buffer.segment(), 1);
    buried(here.reader.segment(), 1);
    assert_eq!(wait(things(), None), [0, 1, 2, 3, 4, 5]);
    assert!(child.join().is_err());
}

#[test]
fn a_process_that_ends_is_ready_beside_what_it_sent() {
    fn greet((mut connection, mut writer): (Connection, Writer)) -> u32 {
        connection.send(&"hello").unwrap();
        writer.write_all(b"hello").unwrap();
        7
    }
    let (mut here, there) = duplex().unwrap();
    let (writer, mut reader) = pipe().unwrap();
    let child = start(greet, (there, writer));
    let things = |here: &Connection, reader: &Reader, child: &JoinHandle<u32>| {
        let watches = [here.watch(), reader.watch()].map(Waitable::from);
        wait(watches.into_iter().chain([Waitable::from(child.as_fd())]), None)
    };
    while things(&here, &reader, &child) != [0, 1, 2] {}
    assert_eq!(here.recv::<String>().unwrap(), "hello");
    reader.read_exact(&mut [0; 5]).unwrap();
    assert_eq!(child.join().unwrap(), 7);
}

#[test]
fn room_to_send_is_waited_for_too() {
    let (mut writer, mut reader) = pipe().unwrap();
    let (here, there) = UnixStream::pair().unwrap();
    here.set_nonblocking(true).unwrap();
    while (&here).write(&[0; 1 << 12]).is_ok() {}
    while writer.try_write(&[0; 1 << 12]).is_ok() {}
    let things = || [Waitable::from(writer.watch()), Waitable::writable(here.as_fd())];
    assert_eq!(wait(things(), Some(Duration::ZERO)), []);
    assert!(reader.read(&mut [0; 1 << 12]).unwrap() > 0);
    assert_eq!(wait(things(), None), [0]);
    let mut buffer = vec![0; 1 << 20];
    there.set_nonblocking(true).unwrap();
    while (&there).read(&mut buffer).is_ok() {}
    assert_eq!(wait(things(), None), [0, 1]);
}

#[test]
fn more_things_than_the_kernel_waits_for_at_once_are_waited_for() {
    const MANY: usize = 200;
    let queues: Vec<_> = (0..MANY).map(|_| mpmc::private::<u32>(1).unwrap()).collect();
    let watches: Vec<Watch> = queues.iter().map(|(_, receiver)| receiver.watch()).collect();
    let (plain, _other) = io::pipe().unwrap();
    let begin = Instant::now();
    assert_eq!(wait(watches.clone(), Some(MOMENT)), []);
    assert!(begin.elapsed() >= MOMENT);
    for is_mixed in [false, true] {
        for number in [0, 63, 127, 128, 129, 199] {
            let (watches, plain) = (watches.clone(), plain.try_clone().unwrap());
            let waiting = asleep_in(move || {
                let plain = is_mixed.then(|| Waitable::from(plain.as_fd()));
                wait(watches.into_iter().map(Waitable::from).chain(plain), None)
            });
            queues[number].0.send(1).unwrap();
            assert_eq!(waiting.join().unwrap(), [number]);
            queues[number].1.recv().unwrap();
        }
    }
    queues.iter().for_each(|(sender, _)| sender.send(1).unwrap());
    assert!(wait(watches, None).into_iter().eq(0..MANY));
}

#[test]
fn messages_of_several_processes_in_queues_connections_and_pipes_are_all_received_by_who_waits() {
    const EACH: u32 = 2_000;
    fn send((mut connection, mut spsc, mut writer): (Connection, spsc::Sender<u32>, Writer)) {
        for number in 0..EACH {
            connection.send_bytes(&number.to_ne_bytes()).unwrap();
            spsc.send(number).unwrap();
            writer.write_all(&number.to_ne_bytes()).unwrap();
        }
    }
    for is_mixed in [false, true] {
        let (mut here, there) = duplex().unwrap();
        let (to_spsc, mut from_spsc) = spsc::channel(2).unwrap();
        let (writer, mut reader) = pipe().unwrap();
        let child = start(send, (there, to_spsc, writer));
        let mut got = [0; 3];
        while got != [EACH; 3] {
            let ready = {
                let watches = [here.watch(), from_spsc.watch(), reader.watch()].map(Waitable::from);
                wait(watches.into_iter().chain(is_mixed.then(|| Waitable::from(child.as_fd()))), None)
            };
            assert!(!ready.is_empty());
            for number in ready {
                if number == 3 || got[number] == EACH {
                    continue; // the end of something
                }
                let item = match number {
                    0 => u32::from_ne_bytes(here.try_recv_bytes().unwrap().try_into().unwrap()),
                    1 => from_spsc.try_recv().unwrap(),
                    _ => {
                        let mut item = [0; 4];
                        reader.read_exact(&mut item).unwrap();
                        u32::from_ne_bytes(item)
                    }
                };
                assert_eq!(item, got[number]);
                got[number] += 1;
            }
        }
        child.join().unwrap();
    }
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

#[test]
fn no_thread_is_started_but_one_for_all_that_waits_by_descriptors_or_futures() {
    fn work((mut connection, mut writer, path): (Connection, Writer, PathBuf)) {
        let mut client = connect(path).unwrap();
        client.send_bytes(b"1").unwrap();
        writer.write_all(&connection.recv_bytes().unwrap()).unwrap();
        connection.send_bytes(&client.recv_bytes().unwrap()).unwrap();
    }
    alone(|()| {
        let (mut here, _there) = one_of_each();
        let (mut connection, other) = duplex().unwrap();
        let (writer, mut reader) = pipe().unwrap();
        let child = start(work, (other, writer, here.directory.path().join("socket")));
        connection.send_bytes(b"2").unwrap();
        let mut client = here.listener.accept().unwrap().0;
        assert_eq!(wait([client.watch(), here.connection.watch()], None), [0]);
        assert_eq!(client.recv_bytes().unwrap(), b"1");
        let mut select: Select<'_> = [reader.watch(), connection.watch(), here.spsc.watch()].into_iter().collect();
        assert_eq!(select.wait(), 0);
        reader.read_exact(&mut [0]).unwrap();
        client.send_bytes(b"3").unwrap();
        assert_eq!(connection.recv_bytes().unwrap(), b"3");
        child.join().unwrap();
        assert_eq!(wait(here.watches(), Some(MOMENT)), []);
        assert_eq!(wait([here.plain.as_fd(), here.listener.as_fd()], Some(MOMENT)), []);
        assert_eq!(here.ready(), []);
        assert!(here.connection.recv_bytes_timeout(MOMENT).is_err());
        assert_eq!(threads(), 1);

        assert_eq!(wait(here.things(), Some(MOMENT)), []);
        assert_eq!(threads(), 2);
        let mut descriptors = here.watches().map(|watch| WatchFd::new(watch).unwrap());
        descriptors.iter_mut().for_each(WatchFd::rearm);
        {
            let mut future = pin!(here.connection.recv_bytes_async());
            assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        assert_eq!(wait(here.things(), Some(MOMENT)), []);
        let mut select: Select<'_> = here.things().into_iter().collect();
        assert_eq!(select.wait_timeout(MOMENT), None);
        assert_eq!(threads(), 2);
    });
}

#[test]
fn who_waits_by_descriptors_is_woken_when_somebody_notices_a_death() {
    fn hold((_connection, here): (Connection, Event)) {
        stay(&here);
    }
    let (here, there) = duplex().unwrap();
    let arrived = Event::new().unwrap();
    let child = start(hold, (there, arrived.clone()));
    arrived.wait().unwrap();
    let segment = here.segment().clone();
    let (plain, _other) = io::pipe().unwrap();
    let waiting = asleep_in(move || wait([Waitable::from(here.watch()), plain.as_fd().into()], None));
    kill(child);
    // Whoever is faster: it may sleep for an hour if nobody wakes it.
    while segment.reap_dead() == 0 && !waiting.is_finished() {
        std::thread::yield_now();
    }
    assert_eq!(waiting.join().unwrap(), [0]);
}
