//! Connections between processes.

use shmkit_pipe::{Connection, Descriptor, RecvError, duplex, duplex_with_capacity};
use shmkit_process::spawn;
use std::io::{Read, Seek, Write};

fn echo(mut connection: Connection) {
    while let Ok(message) = connection.recv_bytes() {
        connection.send_bytes(&message).unwrap();
    }
}

#[test]
fn messages_of_all_lengths_come_back_with_their_boundaries() {
    let (mut here, there) = duplex_with_capacity(1 << 10).unwrap();
    here.set_limit(1 << 26);
    let child = spawn(echo, there).unwrap();
    for length in (0..600).chain([1 << 10, 100_000, (1 << 24) + 3]) {
        let message: Vec<u8> = (0..length).map(|i| (i * 31 % 251) as u8).collect();
        here.send_bytes(&message).unwrap();
        assert!(here.recv_bytes().unwrap() == message, "{length}");
    }
    drop(here);
    child.join().unwrap();
}

#[test]
fn long_messages_cross() {
    fn cross(mut connection: Connection) -> usize {
        for _ in 0..3 {
            connection.send_bytes(&[]).unwrap();
            connection.send_bytes(&vec![1; 1 << 24]).unwrap();
        }
        (0..6).map(|_| connection.recv_bytes().unwrap().len()).sum()
    }
    let (here, there) = duplex().unwrap();
    let child = spawn(cross, there).unwrap();
    assert_eq!(cross(here), 3 << 24);
    assert_eq!(child.join().unwrap(), 3 << 24);
}

#[test]
fn descriptors_and_handles_come_along() {
    fn write(mut connection: Connection) {
        let (name, file, mut other): (String, Descriptor, Connection) = connection.recv().unwrap();
        std::fs::File::from(file.0).write_all(name.as_bytes()).unwrap();
        other.send(&"done").unwrap();
        assert!(matches!(connection.recv::<u8>(), Err(RecvError::Disconnected)));
    }
    let (mut here, there) = duplex().unwrap();
    let child = spawn(write, there).unwrap();
    let mut file = tempfile::tempfile().unwrap();
    let (mut one, other) = duplex().unwrap();
    here.send(&("name", Descriptor::from(file.try_clone().unwrap()), other)).unwrap();
    assert_eq!(one.recv::<String>().unwrap(), "done");
    drop(here);
    child.join().unwrap();
    file.rewind().unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "name");
}
