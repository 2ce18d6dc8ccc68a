//! Listeners with a secret, and those who know it, do not, or pretend to.
#![cfg(not(any(loom, feature = "portable")))]

#[path = "../../sync/tests/company/mod.rs"]
mod company;

use company::{MOMENT, buried, start};
use shmkit_pipe::{Address, ConnectError, Connection, Credentials, Listener, RecvError, Stranger};
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread::{scope, sleep};
use std::time::Duration;
use tempfile::TempDir;

const SECRET: &str = "correct horse battery staple";

type Connected = Result<Connection<Stranger>, ConnectError>;
type Accepted = Result<(Connection<Stranger>, Credentials), ConnectError>;

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    (directory, path)
}

fn ask(path: PathBuf) {
    let mut connection = Address::new(path).secret(SECRET).connect().unwrap();
    connection.send(&41_u64).unwrap();
    assert_eq!(connection.recv::<u64>().unwrap(), 42);
}

/// Checks that who knows the secret is served, in another process.
fn serves(listener: &Listener) {
    let client = start(ask, listener.path().to_owned());
    let (mut connection, who) = listener.accept().unwrap();
    assert_eq!(who.pid, client.pid());
    let number: u64 = connection.recv().unwrap();
    connection.send(&(number + 1)).unwrap();
    client.join().unwrap();
}

/// What the two sides of one meeting are told.
fn meet(listener: &Listener, client: &Address) -> (Accepted, Connected) {
    scope(|scope| {
        let connecting = scope.spawn(|| client.connect());
        (listener.accept(), connecting.join().unwrap())
    })
}

/// What a listener is told when the client does this.
fn with_client(listener: &Listener, behave: impl FnOnce(UnixStream) + Send) -> Accepted {
    scope(|scope| {
        scope.spawn(|| behave(UnixStream::connect(listener.path()).unwrap()));
        listener.accept()
    })
}

/// What a client that knows the secret is told when the listener does this.
fn with_listener(behave: impl FnOnce(UnixStream) + Send) -> Connected {
    let (_directory, path) = place();
    let listener = UnixListener::bind(&path).unwrap();
    scope(|scope| {
        scope.spawn(|| behave(listener.accept().unwrap().0));
        Address::new(&path).secret(SECRET).connect()
    })
}

fn is_wrong<T>(outcome: Result<T, ConnectError>) -> bool {
    matches!(outcome, Err(ConnectError::WrongSecret { .. }))
}

/// What is read from a socket, `N` bytes.
fn heard<const N: usize>(mut socket: &UnixStream) -> [u8; N] {
    let mut bytes = [0; N];
    socket.read_exact(&mut bytes).unwrap();
    bytes
}

/// What a listener with a secret says first.
fn hello() -> [u8; 40] {
    let mut hello = [7; 40];
    hello[..8].copy_from_slice(b"shmc\x01\0\x01\0");
    hello
}

#[test]
fn who_knows_the_secret_is_served_however_long_it_is() {
    let (_directory, path) = place();
    for length in [0, 1, 63, 64, 65, 10_000] {
        let secret: Vec<u8> = (0..length).map(|place| place as u8).collect();
        let address = Address::new(&path).secret(secret);
        let listener = address.listen().unwrap();
        let (accepted, connected) = meet(&listener, &address);
        let (mut here, mut there) = (accepted.unwrap().0, connected.unwrap());
        here.send(&"welcome").unwrap();
        assert_eq!(there.recv::<String>().unwrap(), "welcome");
    }
    serves(&Address::new(&path).secret(SECRET).listen().unwrap());
}

#[test]
fn who_has_another_secret_is_told_and_so_is_the_listener_which_serves_the_next_one() {
    let (_directory, path) = place();
    let listener = Address::new(&path).secret(SECRET).listen().unwrap();
    let long = SECRET.repeat(100);
    for wrong in
        ["", " ", "correct horse battery stapl", "correct horse battery staple ", "Correct horse battery staple", &long]
    {
        let (accepted, connected) = meet(&listener, &Address::new(&path).secret(wrong));
        assert!(is_wrong(accepted) && is_wrong(connected), "{wrong}");
        serves(&listener);
    }
}

#[test]
fn secrets_that_differ_by_zeros_at_their_end_are_not_the_same() {
    let (_directory, path) = place();
    let zeros = |count: usize| Address::new(&path).secret([b"abc", &vec![0; count][..]].concat());
    let listener = zeros(0).listen().unwrap();
    for count in [1, 61, 100] {
        let (accepted, connected) = meet(&listener, &zeros(count));
        assert!(is_wrong(accepted) && is_wrong(connected), "{count}");
    }
}

#[test]
fn if_only_the_listener_has_a_secret_both_are_told() {
    let (_directory, path) = place();
    for secret in ["", SECRET] {
        let listener = Address::new(&path).secret(secret).listen().unwrap();
        let (accepted, connected) = meet(&listener, &Address::new(&path));
        assert!(is_wrong(accepted) && is_wrong(connected));
    }
}

#[test]
fn if_only_the_client_has_a_secret_it_is_told_and_the_listener_is_left() {
    let (_directory, path) = place();
    let listener = Listener::bind(&path).unwrap();
    let (accepted, connected) = meet(&listener, &Address::new(&path).secret(SECRET));
    assert!(is_wrong(connected));
    match accepted {
        Err(ConnectError::Left { .. }) => {}
        // It had handed the connection over when the client left.
        Ok((mut connection, _)) => {
            buried(connection.segment(), 1);
            assert!(matches!(connection.recv_bytes(), Err(RecvError::Disconnected)));
        }
        Err(error) => panic!("{error:?}"),
    }
}

#[test]
fn a_client_that_says_nothing_or_not_all_keeps_the_listener_for_its_patience_and_the_next_one_is_served() {
    let (_directory, path) = place();
    let listener = Address::new(&path).secret(SECRET).patience(Duration::from_millis(20)).listen().unwrap();
    for length in [0, 1, 32, 63] {
        let mut silent = UnixStream::connect(&path).unwrap();
        silent.write_all(&vec![1; length]).unwrap();
        assert!(matches!(listener.accept(), Err(ConnectError::Timeout { .. })));
        drop(silent);
    }
    drop(listener);
    serves(&Address::new(&path).secret(SECRET).listen().unwrap());
}

#[test]
fn a_client_that_says_little_at_a_time_keeps_the_listener_for_its_patience_and_not_longer() {
    let (_directory, path) = place();
    let patience = 25 * MOMENT;
    let listener = Address::new(&path).secret(SECRET).patience(patience).listen().unwrap();
    let outcome = with_client(&listener, |mut socket| {
        for _ in 0..64 {
            // All of it takes longer than the patience lasts, whatever else this machine does.
            sleep(patience / 10);
            if socket.write_all(&[1]).is_err() {
                return;
            }
        }
    });
    assert!(matches!(outcome, Err(ConnectError::Timeout { .. })), "{outcome:?}");
}

#[test]
fn a_client_that_leaves_in_the_middle_was_not_convincing_wherever_that_is() {
    let (_directory, path) = place();
    let listener = Address::new(&path).secret(SECRET).listen().unwrap();
    for length in 0..=64 {
        let outcome = with_client(&listener, |mut socket| {
            heard::<40>(&socket);
            socket.write_all(&vec![1; length]).unwrap();
        });
        assert!(is_wrong(outcome), "{length}");
    }
    serves(&listener);
}

#[test]
fn a_listener_that_leaves_in_the_middle_is_told_wherever_that_is() {
    for length in 0..40 {
        let outcome = with_listener(|mut socket| socket.write_all(&hello()[..length]).unwrap());
        assert!(matches!(outcome, Err(ConnectError::Left { .. })), "{length}: {outcome:?}");
    }
    for length in 0..=32 {
        let outcome = with_listener(|mut socket| {
            socket.write_all(&hello()).unwrap();
            heard::<64>(&socket);
            socket.write_all(&vec![1; length]).unwrap();
        });
        assert!(is_wrong(outcome), "{length}");
    }
}

#[test]
fn who_gives_a_client_its_own_words_back_is_not_believed() {
    // Its proof; what it has chosen; and both, with its own choice in place of the listener's.
    for (from, to) in [(32, 64), (0, 32)] {
        let outcome = with_listener(|mut socket| {
            socket.write_all(&hello()).unwrap();
            let answer = heard::<64>(&socket);
            socket.write_all(&answer[from..to]).unwrap();
            // What follows would be a message, were it believed.
            let _ = socket.read(&mut [0]);
        });
        assert!(is_wrong(outcome));
    }
}

#[test]
fn who_gives_a_listener_its_own_words_or_those_of_another_listener_back_is_not_believed() {
    let (_directory, path) = place();
    let (_other_directory, other_path) = place();
    let listener = Address::new(&path).secret(SECRET).listen().unwrap();
    let outcome = with_client(&listener, |mut socket| {
        let hello = heard::<40>(&socket);
        socket.write_all(&hello[8..]).unwrap();
        socket.write_all(&hello[8..]).unwrap();
        assert_eq!(socket.read(&mut [0]).unwrap_or(0), 0);
    });
    assert!(is_wrong(outcome));

    // The proof of a listener, which is to be had by who knows the secret only, is not one of a client.
    let between = UnixListener::bind(&other_path).unwrap();
    let (accepted, proof) = scope(|scope| {
        let client = scope.spawn(|| Address::new(&other_path).secret(SECRET).connect());
        let relay = scope.spawn(|| {
            let (mut to_client, mut to_listener) = (between.accept().unwrap().0, UnixStream::connect(&path).unwrap());
            let hello = heard::<40>(&to_listener);
            to_client.write_all(&hello).unwrap();
            to_listener.write_all(&heard::<64>(&to_client)).unwrap();
            // The listener is to find it there when it hands over the connection.
            (hello, heard::<32>(&to_listener), to_listener)
        });
        let accepted = listener.accept();
        let (hello, proof, _there) = relay.join().unwrap();
        assert!(is_wrong(client.join().unwrap()), "the relay has left");
        (accepted, [&hello[8..], &proof].concat())
    });
    assert!(accepted.is_ok(), "who relays every word is believed");
    let outcome = with_client(&listener, |mut socket| {
        heard::<40>(&socket);
        socket.write_all(&proof).unwrap();
        assert_eq!(socket.read(&mut [0]).unwrap_or(0), 0);
    });
    assert!(is_wrong(outcome));
}

#[test]
fn what_was_said_to_one_listener_convinces_it_only_once() {
    let (_directory, path) = place();
    let (_other_directory, other_path) = place();
    let listener = Address::new(&path).secret(SECRET).listen().unwrap();
    let between = UnixListener::bind(&other_path).unwrap();
    let (said, _there) = scope(|scope| {
        scope.spawn(|| Address::new(&other_path).secret(SECRET).connect().map(drop));
        let relay = scope.spawn(|| {
            let (mut to_client, mut to_listener) = (between.accept().unwrap().0, UnixStream::connect(&path).unwrap());
            to_client.write_all(&heard::<40>(&to_listener)).unwrap();
            let said = heard::<64>(&to_client);
            to_listener.write_all(&said).unwrap();
            heard::<32>(&to_listener);
            // The listener is to find it there when it hands over the connection.
            (said, to_listener)
        });
        listener.accept().unwrap();
        relay.join().unwrap()
    });
    assert!(!said.windows(SECRET.len()).any(|bytes| bytes == SECRET.as_bytes()));
    for _ in 0..3 {
        let outcome = with_client(&listener, |mut socket| {
            heard::<40>(&socket);
            socket.write_all(&said).unwrap();
            assert_eq!(socket.read(&mut [0]).unwrap_or(0), 0);
        });
        assert!(is_wrong(outcome));
    }
    serves(&listener);
}

#[test]
fn a_secret_is_not_shown() {
    let (_directory, path) = place();
    let address = Address::new(path).secret(SECRET);
    let listener = address.listen().unwrap();
    assert!(!format!("{address:?} {listener:?}").contains(SECRET));
}
