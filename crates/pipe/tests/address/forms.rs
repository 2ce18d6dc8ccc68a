//! What accepting and connecting do, in each form, and what a connection is that was made so.

use crate::asleep::asleep_in;
use crate::company::{LONG, MOMENT, buried, kill, start, stay};
use crate::{Accepted, Place, answer, ask, has_left, serves, talk};
use rustix::event::{PollFd, PollFlags, poll};
use shmkit_pipe::{
    Address, ConnectError, Connection, Descriptor, Listener, RecvError, SendError, Stranger, connect, duplex, pipe,
};
use shmkit_queue::mpmc;
use shmkit_sync::Event;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread::{scope, yield_now};
use std::time::{Duration, Instant};

/// The forms of accepting.
type Accept = fn(&Listener) -> Accepted;
const ACCEPT: [Accept; 4] = [
    |listener| listener.accept(),
    |listener| {
        loop {
            if let Some(accepted) = listener.try_accept()? {
                return Ok(accepted);
            }
            yield_now();
        }
    },
    |listener| listener.accept_timeout(LONG).map(Option::unwrap),
    |listener| listener.accept_deadline(Instant::now() + LONG).map(Option::unwrap),
];

#[test]
fn who_connects_from_another_process_is_accepted_in_each_form_and_known() {
    let place = Place::new();
    let listener = Listener::bind(place.path()).unwrap();
    for accept in ACCEPT {
        let client = start(ask, place.path());
        let (mut connection, who) = accept(&listener).unwrap();
        assert_eq!((who.pid, who.user), (client.pid(), rustix::process::geteuid().as_raw()));
        assert_eq!(who.group, rustix::process::getegid().as_raw());
        answer(&mut connection);
        client.join().unwrap();
    }
}

#[test]
fn the_forms_that_wait_for_a_time_come_back_when_nobody_has_come_and_not_before() {
    let place = Place::new();
    let listener = Listener::bind(place.path()).unwrap();
    assert!(listener.try_accept().unwrap().is_none());
    let begin = Instant::now();
    assert!(listener.accept_timeout(MOMENT).unwrap().is_none());
    assert!(begin.elapsed() >= MOMENT);
    let deadline = Instant::now() + MOMENT;
    assert!(listener.accept_deadline(deadline).unwrap().is_none());
    assert!(Instant::now() >= deadline);
    assert!(listener.accept_deadline(begin).unwrap().is_none());
    assert!(listener.accept_timeout(Duration::ZERO).unwrap().is_none());
}

#[test]
fn who_has_come_is_accepted_even_if_the_time_is_up() {
    let place = Place::new();
    let listener = Listener::bind(place.path()).unwrap();
    type Late = fn(&Listener) -> Option<Accepted>;
    let late: [Late; 3] = [
        |listener| listener.try_accept().transpose(),
        |listener| listener.accept_timeout(Duration::ZERO).transpose(),
        |listener| listener.accept_deadline(Instant::now()).transpose(),
    ];
    for accept in late {
        let path = place.path();
        let client = std::thread::spawn(move || connect(path).unwrap());
        poll(&mut [PollFd::new(&listener, PollFlags::IN)], None).unwrap();
        let (mut connection, _) = accept(&listener).unwrap().unwrap();
        talk(&mut connection, &mut client.join().unwrap());
    }
}

#[test]
fn who_sleeps_in_any_form_is_woken_by_who_connects() {
    for accept in [ACCEPT[0], ACCEPT[2], ACCEPT[3]] {
        let place = Place::new();
        let listener = Listener::bind(place.path()).unwrap();
        let accepting = asleep_in(move || accept(&listener).unwrap().0);
        let mut client = connect(place.path()).unwrap();
        talk(&mut client, &mut accepting.join().unwrap());
    }
}

#[test]
fn clients_of_several_processes_at_once_are_served_by_several_threads_and_nobody_is_taken_for_another() {
    const PROCESSES: u64 = 4;
    const TIMES: u64 = 25;
    fn come(path: PathBuf) {
        for number in 0..TIMES {
            let mut connection = connect(&path).unwrap();
            connection.send(&(std::process::id(), number)).unwrap();
            assert_eq!(connection.recv::<(u64, u32)>().unwrap(), (number, std::process::id()));
        }
    }
    let place = Place::new();
    let listener = Listener::bind(place.path()).unwrap();
    let clients: Vec<_> = (0..PROCESSES).map(|_| start(come, place.path())).collect();
    scope(|scope| {
        for _ in 0..PROCESSES {
            scope.spawn(|| {
                for _ in 0..TIMES {
                    let (mut connection, who) = listener.accept().unwrap();
                    let (pid, number): (u32, u64) = connection.recv().unwrap();
                    assert_eq!(pid, who.pid);
                    connection.send(&(number, pid)).unwrap();
                }
            });
        }
    });
    clients.into_iter().for_each(|client| client.join().unwrap());
    assert!(listener.try_accept().unwrap().is_none());
}

#[test]
fn messages_longer_than_the_rings_that_the_listener_has_chosen_go_both_ways() {
    fn echo(path: PathBuf) -> usize {
        let mut connection = connect(path).unwrap();
        while let Ok(message) = connection.recv_bytes() {
            connection.send_bytes(&message).unwrap();
        }
        connection.capacity()
    }
    let place = Place::new();
    for (address, capacity) in
        [(Address::new(place.path()), Address::CAPACITY), (Address::new(place.path()).capacity(256), 256)]
    {
        let listener = address.listen().unwrap();
        let client = start(echo, place.path());
        let (mut connection, _) = listener.accept().unwrap();
        for length in [0, 1, 255, 256, 100_000, 1_000_003] {
            let message: Vec<u8> = (0..length).map(|place| (place * 31) as u8).collect();
            connection.send_bytes(&message).unwrap();
            assert!(connection.recv_bytes().unwrap() == message, "{length}");
        }
        drop(connection);
        assert_eq!(client.join().unwrap(), capacity);
    }
}

#[test]
fn a_capacity_that_cannot_be_is_told_to_the_listener_and_its_client() {
    let place = Place::new();
    for capacity in [0, 128, 300] {
        let listener = Address::new(place.path()).capacity(capacity).listen().unwrap();
        let client = asleep_in({
            let path = place.path();
            move || connect(path).map(drop)
        });
        assert!(matches!(listener.accept(), Err(ConnectError::Handover { .. })));
        assert!(matches!(client.join().unwrap(), Err(ConnectError::Left { .. })));
    }
}

#[test]
fn a_client_that_connects_and_leaves_is_the_end_of_its_connection_and_the_next_one_is_served() {
    let place = Place::new();
    let listener = Listener::bind(place.path()).unwrap();
    let client = start(|path: PathBuf| drop(connect(path).unwrap()), place.path());
    let (mut connection, _) = listener.accept().unwrap();
    assert!(matches!(connection.recv_bytes(), Err(RecvError::Disconnected)));
    assert!(matches!(connection.send_bytes(b"one"), Err(SendError::Disconnected)));
    client.join().unwrap();

    // Before it was accepted.
    drop(UnixStream::connect(place.path()).unwrap());
    assert!(has_left(listener.accept()));
    serves(&listener);
}

#[test]
fn a_client_that_says_nothing_does_not_keep_a_listener_without_a_secret_and_its_connection_ends_with_it() {
    let place = Place::new();
    let listener = Listener::bind(place.path()).unwrap();
    let silent = UnixStream::connect(place.path()).unwrap();
    let (mut connection, who) = listener.accept().unwrap();
    assert_eq!(who.pid, std::process::id());
    connection.send_bytes(b"is anybody there?").unwrap();
    assert!(matches!(connection.recv_bytes_timeout(MOMENT), Err(RecvError::Timeout)));
    serves(&listener);
    drop(silent);
    buried(connection.segment(), 1);
    assert!(matches!(connection.recv_bytes(), Err(RecvError::Disconnected)));
}

#[test]
fn connections_outlive_the_listener_that_accepted_them() {
    let place = Place::new();
    let listener = Listener::bind(place.path()).unwrap();
    let client = start(ask, place.path());
    let (mut connection, _) = listener.accept().unwrap();
    drop(listener);
    assert!(matches!(connect(place.path()), Err(ConnectError::NotFound { .. })));
    answer(&mut connection);
    client.join().unwrap();
}

#[test]
fn who_waits_to_be_accepted_when_the_listener_goes_is_told() {
    let place = Place::new();
    let listener = Listener::bind(place.path()).unwrap();
    let path = place.path();
    let client = std::thread::spawn(move || connect(path).map(drop));
    poll(&mut [PollFd::new(&listener, PollFlags::IN)], None).unwrap();
    drop(listener);
    assert!(matches!(client.join().unwrap(), Err(ConnectError::Left { .. })));
}

#[test]
fn the_end_comes_when_the_client_is_killed_and_what_it_had_sent_before() {
    fn send((path, here): (PathBuf, Event)) {
        let mut connection = connect(path).unwrap();
        connection.send(&"last words").unwrap();
        stay(&here);
    }
    let place = Place::new();
    let listener = Listener::bind(place.path()).unwrap();
    let here = Event::new().unwrap();
    let client = start(send, (place.path(), here.clone()));
    let (mut connection, _) = listener.accept().unwrap();
    here.wait().unwrap();
    kill(client);
    buried(connection.segment(), 1);
    assert!(matches!(connection.send_bytes(b"one"), Err(SendError::Disconnected)));
    assert_eq!(connection.recv::<String>().unwrap(), "last words");
    assert!(matches!(connection.recv_bytes(), Err(RecvError::Disconnected)));
}

#[test]
fn the_end_comes_when_the_process_that_accepted_is_killed() {
    fn serve((path, here): (PathBuf, Event)) {
        let listener = Listener::bind(path).unwrap();
        here.set();
        let (mut connection, _) = listener.accept().unwrap();
        connection.send(&"welcome").unwrap();
        stay(&Event::new().unwrap());
    }
    let place = Place::new();
    let here = Event::new().unwrap();
    let server = start(serve, (place.path(), here.clone()));
    here.wait().unwrap();
    let mut connection = connect(place.path()).unwrap();
    assert_eq!(connection.recv::<String>().unwrap(), "welcome");
    let segment = connection.segment().clone();
    let receiving = asleep_in(move || connection.recv_bytes().err());
    kill(server);
    // Whoever is faster: it may sleep for an hour if nobody wakes it.
    while segment.reap_dead() == 0 && !receiving.is_finished() {
        yield_now();
    }
    assert!(matches!(receiving.join().unwrap(), Some(RecvError::Disconnected)));
}

#[test]
fn a_connection_can_be_passed_on_to_a_process_that_serves_it() {
    let place = Place::new();
    let listener = Listener::bind(place.path()).unwrap();
    let client = start(ask, place.path());
    let (connection, _) = listener.accept().unwrap();
    let server = start(|mut connection: Connection<Stranger>| answer(&mut connection), connection);
    client.join().unwrap();
    server.join().unwrap();
    serves(&listener);
}

#[test]
fn files_and_handles_of_hardened_objects_arrive_as_what_they_were_and_others_are_errors() {
    fn work(path: PathBuf) {
        let mut connection = connect(path).unwrap();
        let (results, Descriptor(file)) = connection.recv::<(mpmc::Sender<u64>, Descriptor)>().unwrap();
        let mut text = String::new();
        File::from(file).read_to_string(&mut text).unwrap();
        results.send(text.parse().unwrap()).unwrap();
        drop(results);
        let (sender, receiver) = mpmc::channel::<u64>(1).unwrap();
        connection.send(&sender).unwrap();
        assert_eq!(receiver.recv(), Ok(7));
        // What is of this program alone is refused by who sends it.
        assert!(matches!(connection.send(&pipe().unwrap().0), Err(SendError::Handle(_))));
        assert!(matches!(connection.send(&duplex().unwrap().0), Err(SendError::Handle(_))));
        connection.send_bytes(b"done").unwrap();
    }
    let place = Place::new();
    let listener = Listener::bind(place.path()).unwrap();
    let client = start(work, place.path());
    let (mut connection, _) = listener.accept().unwrap();
    let (sender, receiver) = mpmc::channel::<u64>(1).unwrap();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"42").unwrap();
    file.rewind().unwrap();
    for refused in [connection.send(&pipe().unwrap().1), connection.send(&duplex().unwrap())] {
        assert!(matches!(refused, Err(SendError::Handle(_))));
    }
    connection.send(&(sender, Descriptor::from(std::os::fd::OwnedFd::from(file)))).unwrap();
    assert_eq!(receiver.recv(), Ok(42));
    assert!(receiver.recv().is_err(), "the client's was the only sender");
    connection.recv::<mpmc::Sender<u64>>().unwrap().send(7).unwrap();
    assert_eq!(connection.recv_bytes().unwrap(), b"done");
    client.join().unwrap();
}
