//! Others at a path: programs of another kind, of another version, and of evil intent.

use crate::Place;
use crate::company::start;
use crate::serves;
use shmkit_pipe::{Address, ConnectError, Connection, Duplex, Error, Listener, RecvError, Stranger, connect};
use shmkit_queue::mpmc;
use shmkit_segment::Options;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread::scope;
use std::time::Duration;

/// What a listener without a secret says first.
fn hello() -> [u8; 40] {
    let mut hello = [7; 40];
    hello[..8].copy_from_slice(b"shmc\x01\0\0\0");
    hello
}

/// What connecting comes to if the listener does this.
fn with_listener(behave: impl FnOnce(UnixStream) + Send) -> Result<Connection<Stranger>, ConnectError> {
    let place = Place::new();
    let listener = UnixListener::bind(place.path()).unwrap();
    scope(|scope| {
        scope.spawn(|| behave(listener.accept().unwrap().0));
        connect(place.path())
    })
}

/// Says this and leaves.
fn says(bytes: &[u8]) -> impl FnOnce(UnixStream) + Send + '_ {
    // Who has heard enough leaves.
    move |mut socket| drop(socket.write_all(bytes))
}

#[test]
fn another_program_that_listens_is_not_spoken_with() {
    let changed = |at: usize, byte: u8| {
        let mut hello = hello();
        hello[at] = byte;
        hello
    };
    let mut others = vec![[0; 40], [0xff; 40], *b"220 mail.example.org ESMTP, how are you?"];
    // Another magic, another version, something else than a secret or none.
    others.extend((0..6).map(|at| changed(at, 9)));
    others.extend([2, 0x80, 0xff].map(|byte| changed(6, byte)));
    for other in others {
        let outcome = with_listener(says(&other));
        assert!(matches!(outcome, Err(ConnectError::NotSpoken { .. })), "{outcome:?}");
    }
}

#[test]
fn a_listener_that_leaves_in_the_middle_is_told_wherever_that_is() {
    for length in 0..=40 {
        let outcome = with_listener(says(&hello()[..length]));
        assert!(matches!(outcome, Err(ConnectError::Left { .. })), "{length}: {outcome:?}");
    }
    let message = [&hello()[..], b"shmk\x01\0\0\0\x05\0\0\0four"].concat();
    for length in 41..message.len() {
        let outcome = with_listener(says(&message[..length]));
        assert!(matches!(outcome, Err(ConnectError::Left { .. })), "{length}: {outcome:?}");
    }
}

#[test]
fn a_listener_that_falls_silent_in_the_middle_is_left_when_the_patience_is_over() {
    let place = Place::new();
    let listener = UnixListener::bind(place.path()).unwrap();
    let message = [&hello()[..], b"shmk\x01\0"].concat();
    for length in [0, 1, 39, 40, 44] {
        let outcome = scope(|scope| {
            scope.spawn(|| {
                let mut socket = listener.accept().unwrap().0;
                // Until it is left, which may have happened before.
                let _ = socket.write_all(&message[..length]).and_then(|()| socket.read_to_end(&mut Vec::new()));
            });
            Address::new(place.path()).patience(Duration::from_millis(20)).connect()
        });
        assert!(matches!(outcome, Err(ConnectError::Timeout { .. })), "{length}: {outcome:?}");
    }
}

#[test]
fn what_is_no_connection_is_not_taken_for_one() {
    let texts = [&[0xff; 64][..], b"shmk\x02\0\0\0\0\0\0\0", b"shmk\x01\0\0\0\0\0\0\0", b"shmk\x01\0\x01\0\x01\0\0\0x"];
    for text in texts {
        let outcome = with_listener(says(&[&hello()[..], text].concat()));
        assert!(matches!(outcome, Err(ConnectError::Handover { .. })), "{outcome:?}");
    }
    // Handles of other things.
    let outcome = with_listener(|mut socket| {
        socket.write_all(&hello()).unwrap();
        shmkit_segment::send(&socket, &mpmc::channel::<u64>(1).unwrap().0).unwrap();
    });
    assert!(matches!(outcome, Err(ConnectError::Handover { source: Error::WrongObject { .. }, .. })), "{outcome:?}");
    let outcome = with_listener(|mut socket| {
        socket.write_all(&hello()).unwrap();
        shmkit_segment::send(&socket, &("no handle", 7)).unwrap();
    });
    assert!(matches!(outcome, Err(ConnectError::Handover { .. })), "{outcome:?}");
}

#[test]
fn an_end_that_is_not_the_one_of_who_connects_is_refused() {
    for role in [0, 2, 3] {
        let outcome = with_listener(|mut socket| {
            socket.write_all(&hello()).unwrap();
            let segment = Options::new().anonymous::<Duplex<Stranger>>([256, 0, 0, 0, 0, 0, 0, 0]).unwrap();
            shmkit_segment::send(&socket, &segment.role(role)).unwrap();
        });
        assert!(matches!(outcome, Err(ConnectError::NotSpoken { .. })), "{role}: {outcome:?}");
    }
}

#[test]
fn a_client_that_speaks_nonsense_has_a_connection_in_which_nothing_comes() {
    fn request((path, text): (PathBuf, Vec<u8>)) {
        let mut socket = UnixStream::connect(path).unwrap();
        // Until the other side has had enough.
        let _ = socket.write_all(&text).and_then(|()| socket.read_to_end(&mut Vec::new()));
    }
    let place = Place::new();
    let listener = Listener::bind(place.path()).unwrap();
    for text in [b"GET / HTTP/1.1\r\n\r\n".to_vec(), hello().to_vec(), vec![0xff; 1 << 12]] {
        let client = start(request, (place.path(), text));
        let (mut connection, who) = listener.accept().unwrap();
        assert_eq!(who.pid, client.pid());
        assert!(matches!(connection.try_recv_bytes(), Err(RecvError::WouldBlock)));
        connection.send_bytes(b"into the void").unwrap();
        assert!(matches!(connection.try_recv_bytes(), Err(RecvError::WouldBlock)));
        drop(connection);
        client.join().unwrap();
        serves(&listener);
    }
}
