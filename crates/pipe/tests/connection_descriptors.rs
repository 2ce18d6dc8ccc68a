//! Open files and handles inside of messages: each arrives with its own message, and none stays open when nobody wants it.
#![cfg(not(loom))]

#[path = "../../sync/tests/asleep/mod.rs"]
mod asleep;
#[path = "../../sync/tests/company/mod.rs"]
mod company;
#[path = "../../segment/tests/harness/mod.rs"]
mod harness;

use asleep::sound_asleep_in;
use company::{LONG, MOMENT, start};
use harness::alone;
use shmkit_pipe::{
    Connection, Descriptor, Error, Reader, RecvError, SendError, Writer, duplex, duplex_with_capacity, pipe,
};
use shmkit_queue::{mpmc, spsc};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::time::Duration;

/// A file with this text in it.
fn file(text: &str) -> Descriptor {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.into()
}

/// What is in the file.
fn text(file: Descriptor) -> String {
    let (mut file, mut text) = (File::from(file.0), String::new());
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    text
}

/// How many descriptors this process has.
fn open() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Files that cost no memory of their own.
fn null() -> Descriptor {
    File::open("/dev/null").unwrap().into()
}

/// Sends messages with a descriptor each until there is no room for another: how many that were.
fn fill_lane(connection: &mut Connection) -> u32 {
    (0..)
        .find(|number| match connection.try_send(&(number, null())) {
            Ok(()) => false,
            Err(SendError::WouldBlock) => true,
            Err(error) => panic!("{error}"),
        })
        .unwrap()
}

#[test]
fn descriptors_and_handles_come_along() {
    fn write(mut connection: Connection) {
        let (name, file, mut other): (String, Descriptor, Connection) = connection.recv().unwrap();
        File::from(file.0).write_all(name.as_bytes()).unwrap();
        other.send(&"done").unwrap();
        assert!(matches!(connection.recv::<u8>(), Err(RecvError::Disconnected)));
    }
    let (mut here, there) = duplex().unwrap();
    let child = start(write, there);
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

#[test]
fn the_ends_of_pipes_and_queues_arrive_as_what_they_were() {
    type Ends = (Writer, Reader, mpmc::Sender<u32>, mpmc::Sender<u32>, spsc::Receiver<u64>);
    fn work(mut connection: Connection) {
        let (mut writer, mut reader, sender, other, mut receiver): Ends = connection.recv().unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        writer.write_all(text.to_uppercase().as_bytes()).unwrap();
        sender.send(1).unwrap();
        other.send(receiver.recv().unwrap() as u32).unwrap();
    }
    let (mut here, there) = duplex().unwrap();
    let child = start(work, there);
    let ((mut to, reader), (writer, mut from)) = (pipe().unwrap(), pipe().unwrap());
    let (sender, numbers) = mpmc::channel::<u32>(4).unwrap();
    let (mut long, receiver) = spsc::channel::<u64>(4).unwrap();
    here.send(&(writer, reader, sender.clone(), sender, receiver)).unwrap();
    to.write_all(b"text").unwrap();
    drop(to);
    long.send(2).unwrap();
    let mut text = String::new();
    from.read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), numbers.recv(), numbers.recv()), ("TEXT", Ok(1), Ok(2)));
    child.join().unwrap();
    assert!(numbers.recv().is_err());
}

#[test]
fn each_file_comes_with_the_message_that_it_was_sent_in() {
    // In the ring as a whole, and in parts; some with none, some with several.
    let (mut here, mut there) = duplex_with_capacity(1 << 10).unwrap();
    let sending = std::thread::spawn(move || {
        for number in 0..50_usize {
            let files: Vec<_> = (0..number % 4).map(|index| file(&format!("{number}.{index}"))).collect();
            here.send(&(number, vec![1_u8; number % 3 * 700], files)).unwrap();
        }
    });
    for number in 0..50_usize {
        let (told, filler, files): (usize, Vec<u8>, Vec<Descriptor>) = there.recv().unwrap();
        assert_eq!((told, filler.len(), files.len()), (number, number % 3 * 700, number % 4));
        for (index, file) in files.into_iter().enumerate() {
            assert_eq!(text(file), format!("{number}.{index}"));
        }
    }
    sending.join().unwrap();
}

#[test]
fn each_file_comes_with_its_message_though_one_behind_it_was_given_up_while_both_were_taken_in() {
    let (mut here, mut there) = duplex_with_capacity(256).unwrap();
    while there.try_send_bytes(&[0; 8]).is_ok() {}
    // It takes in one message, and not more, so that there is never room for a longer one.
    here.set_limit(8);
    let fails = |there: &mut Connection| {
        assert!(matches!(there.send_bytes_timeout(&[0; 60], MOMENT), Err(SendError::Timeout)));
    };
    here.send(&("first", file("first"))).unwrap();
    let long = (file("given up"), vec![0_u8; 1_000]);
    assert!(matches!(here.send_timeout(&long, MOMENT), Err(SendError::Timeout)));
    // What has come of it is taken in; then there is room for what follows, and that is taken in, too.
    fails(&mut there);
    here.send(&("second", file("second"))).unwrap();
    fails(&mut there);
    for name in ["first", "second"] {
        let (told, file): (String, Descriptor) = there.recv_timeout(LONG).unwrap();
        assert_eq!((told.as_str(), text(file).as_str()), (name, name));
    }
}

#[test]
fn as_many_descriptors_go_into_a_message_as_the_kernel_takes_and_one_more_is_refused() {
    let (mut here, mut there) = duplex().unwrap();
    let files: Vec<_> = (0..254).map(|_| null()).collect();
    for _ in 0..3 {
        here.send(&&files[..253]).unwrap();
        assert_eq!(there.recv::<Vec<Descriptor>>().unwrap().len(), 253);
        assert!(matches!(here.send(&files), Err(SendError::Handle(Error::NotTransferable(_)))));
        assert!(matches!(here.try_send(&files), Err(SendError::Handle(Error::NotTransferable(_)))));
    }
    here.send(&"fine").unwrap();
    assert_eq!(there.recv::<String>().unwrap(), "fine");
}

#[test]
fn too_many_descriptors_under_way_are_no_room_and_the_sender_is_woken_when_there_is() {
    let (mut here, mut there) = duplex().unwrap();
    let count = fill_lane(&mut here);
    assert!(matches!(here.send_timeout(&(count, null()), MOMENT), Err(SendError::Timeout)));
    // Those without any pass.
    here.try_send_bytes(b"none").unwrap();
    let sending = sound_asleep_in(move || {
        here.send(&(count, null())).unwrap();
        here
    });
    for number in 0..count {
        assert_eq!(there.recv::<(u32, Descriptor)>().unwrap().0, number);
    }
    assert_eq!(there.recv_bytes().unwrap(), b"none");
    assert_eq!(there.recv::<(u32, Descriptor)>().unwrap().0, count);
    sending.join().unwrap();
}

/// The receiver makes room once, and its sender is to see that.
#[test]
fn a_sender_with_too_many_descriptors_under_way_needs_only_one_message_to_be_received() {
    let (mut here, mut there) = duplex().unwrap();
    let mut count = fill_lane(&mut here);
    let mut next = 0;
    for _ in 0..200 {
        let sending = std::thread::spawn(move || {
            here.send(&(count, null())).unwrap();
            here
        });
        assert_eq!(there.recv::<(u32, Descriptor)>().unwrap().0, next);
        here = sending.join().unwrap();
        (count, next) = (count + 1, next + 1);
    }
}

#[test]
fn two_that_send_more_descriptors_to_each_other_than_can_be_under_way_before_they_receive_both_come_through() {
    fn cross((mut connection, count): (Connection, u32)) {
        (0..count).for_each(|number| connection.send(&(number, null())).unwrap());
        (0..count).for_each(|number| assert_eq!(connection.recv::<(u32, Descriptor)>().unwrap().0, number));
    }
    // What is taken in meanwhile is a message's worth, of 253.
    let (mut full, _there) = duplex().unwrap();
    let count = fill_lane(&mut full) + 200;
    let (here, there) = duplex().unwrap();
    let child = start(cross, (there, count));
    cross((here, count));
    child.join().unwrap();
}

#[test]
fn thousands_of_messages_with_descriptors_go_to_and_fro_between_processes() {
    fn back(mut connection: Connection) {
        while let Ok(message) = connection.recv::<(u32, Vec<Descriptor>)>() {
            connection.send(&message).unwrap();
        }
    }
    let (mut here, there) = duplex_with_capacity(1 << 12).unwrap();
    let child = start(back, there);
    let (mut sent, mut received) = (0, 0);
    while received < 5_000 {
        let files: Vec<_> = (0..sent % 3).map(|_| null()).collect();
        if sent < 5_000 && sent - received < 100 {
            here.send(&(sent, files)).unwrap();
            sent += 1;
        } else {
            let (number, files): (u32, Vec<Descriptor>) = here.recv().unwrap();
            assert_eq!((number, files.len() as u32), (received, number % 3));
            received += 1;
        }
    }
    drop(here);
    child.join().unwrap();
}

/// Runs `work` twice, in a process of its own: the second time must leave no more descriptors than the first.
fn leaves_none_open(work: fn()) {
    work();
    let before = open();
    work();
    assert_eq!(open(), before);
}

#[test]
fn descriptors_that_nobody_wants_are_closed() {
    fn work() {
        let (mut here, mut there) = duplex_with_capacity(256).unwrap();
        let ends = open();
        let closed = || assert_eq!(open(), ends);
        // Received as bytes, in each way.
        for length in [1, 200] {
            for _ in 0..3 {
                here.try_send(&(null(), null(), vec![0_u8; length])).unwrap();
                there.recv_bytes().unwrap();
                here.try_send(&(null(), null(), vec![0_u8; length])).unwrap();
                there.recv_bytes_into(&mut [0; 300]).unwrap();
            }
        }
        closed();
        // By values that have no place for them, or cannot be had from these bytes.
        here.send(&(7_u8, null())).unwrap();
        assert_eq!(there.recv::<u8>().unwrap(), 7);
        here.send(&(null(), 7_u8)).unwrap();
        assert!(matches!(there.recv::<(Descriptor, String)>(), Err(RecvError::Decode(_))));
        closed();
        // With a message that was not sent.
        while here.try_send_bytes(&[]).is_ok() {}
        assert!(matches!(here.try_send(&null()), Err(SendError::WouldBlock)));
        assert!(matches!(here.send_timeout(&null(), MOMENT), Err(SendError::Timeout)));
        while there.try_recv_bytes().is_ok() {}
        closed();
        // With one that was given up half-way.
        for _ in 0..3 {
            let long = (null(), vec![0_u8; 1_000]);
            assert!(matches!(here.send_timeout(&long, MOMENT), Err(SendError::Timeout)));
            assert!(matches!(there.try_recv_bytes(), Err(RecvError::WouldBlock)));
            here.send_bytes(b"next").unwrap();
            assert_eq!(there.recv_bytes().unwrap(), b"next");
        }
        closed();
        // And still under way when the ends go.
        here.send(&null()).unwrap();
        assert!(matches!(here.send_timeout(&(null(), vec![0_u8; 1_000]), MOMENT), Err(SendError::Timeout)));
    }
    alone(|()| leaves_none_open(work));
}

#[test]
fn handles_leave_nothing_open_in_either_process() {
    fn back(mut connection: Connection) {
        let mut before = None;
        while let Ok(message) = connection.recv::<(Connection, Reader, Writer, mpmc::Sender<u8>)>() {
            let (mut other, ..) = message;
            other.send(&7_u8).unwrap();
            drop(other);
            let now = open();
            assert_eq!(*before.get_or_insert(now), now);
        }
    }
    alone(|()| {
        let (mut here, there) = duplex().unwrap();
        let child = start(back, there);
        let mut pass = || {
            let (mut one, other) = duplex().unwrap();
            let ((writer, _read), (_write, reader)) = (pipe().unwrap(), pipe().unwrap());
            let (sender, _receiver) = mpmc::channel::<u8>(1).unwrap();
            here.send(&(other, reader, writer, sender)).unwrap();
            assert_eq!(one.recv::<u8>().unwrap(), 7);
            assert!(matches!(one.recv::<u8>(), Err(RecvError::Disconnected)));
        };
        pass();
        let before = open();
        (0..20).for_each(|_| pass());
        assert_eq!(open(), before);
        drop(here);
        child.join().unwrap();
    });
}

#[test]
fn a_receiver_that_may_not_have_more_descriptors_is_told_and_receives_what_follows() {
    fn limited(_: ()) {
        let (mut here, mut there) = duplex().unwrap();
        let files: Vec<_> = (0..20).map(|_| null()).collect();
        here.send(&("too many", &files)).unwrap();
        here.send(&("too many as bytes", &files)).unwrap();
        here.send(&("one", &files[..1])).unwrap();
        here.send(&"none").unwrap();
        drop(files);
        let spare: Vec<_> = (0..5).map(|_| null()).collect();
        let limit = libc::rlimit { rlim_cur: open() as u64 - 1, rlim_max: 4096 };
        // SAFETY: it reads the structure that it is given.
        #[allow(unsafe_code, reason = "a system call")]
        let outcome = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
        assert_eq!(outcome, 0);
        drop(spare);
        assert!(matches!(there.recv::<(String, Vec<Descriptor>)>(), Err(RecvError::Descriptors(_))));
        assert!(matches!(there.recv_bytes(), Err(RecvError::Descriptors(_))));
        let (told, files): (String, Vec<Descriptor>) = there.recv().unwrap();
        assert_eq!((told.as_str(), files.len()), ("one", 1));
        assert_eq!(there.recv::<String>().unwrap(), "none");
        // And one that may not have more to send.
        let files = [null(), null(), null()];
        assert!(matches!(here.send(&files), Err(SendError::Handle(Error::System { .. }))));
        here.send(&"fine").unwrap();
        assert_eq!(there.recv::<String>().unwrap(), "fine");
    }
    alone(limited);
}

#[test]
fn a_handle_that_cannot_be_sent_stays_where_it_is() {
    let (mut here, mut there) = duplex().unwrap();
    let (mut one, other) = shmkit_pipe::private_duplex(256).unwrap();
    assert!(matches!(here.send(&other), Err(SendError::Handle(Error::NotTransferable(_)))));
    one.send_bytes(b"still there").unwrap();
    let mut other = other;
    assert_eq!(other.recv_bytes().unwrap(), b"still there");
    here.send(&"fine").unwrap();
    assert_eq!(there.recv::<String>().unwrap(), "fine");
}

#[test]
fn handles_that_arrive_as_something_else_are_an_error_and_the_next_message_comes() {
    let (mut here, mut there) = duplex().unwrap();
    let (writer, _reader) = pipe().unwrap();
    here.send(&writer).unwrap();
    here.send(&"next").unwrap();
    assert!(matches!(there.recv::<spsc::Receiver<u8>>(), Err(RecvError::Handle(Error::WrongObject { .. }))));
    assert_eq!(there.recv::<String>().unwrap(), "next");
    // Bytes that pretend to be a handle.
    here.send_bytes(&[0; 12]).unwrap();
    assert!(matches!(there.recv::<Connection>(), Err(RecvError::Handle(_))));
    here.send_bytes(&[9]).unwrap();
    assert!(matches!(there.recv::<Descriptor>(), Err(RecvError::Handle(_))));
    here.send(&"next").unwrap();
    assert_eq!(there.recv::<String>().unwrap(), "next");
}

#[test]
fn an_end_that_is_sent_to_itself_is_gone_or_refused_and_nobody_hangs() {
    let (mut here, there) = duplex().unwrap();
    let mut there = there;
    match here.send(&there) {
        Ok(()) => {
            // Nobody can receive it any more.
            assert!(matches!(there.recv_bytes(), Err(RecvError::Moved)));
            assert!(matches!(here.recv_bytes_timeout(MOMENT), Err(RecvError::Timeout | RecvError::Disconnected)));
        }
        Err(error) => {
            assert!(matches!(error, SendError::Handle(Error::NotTransferable(_))), "{error}");
            there.send_bytes(b"fine").unwrap();
            assert_eq!(here.recv_bytes().unwrap(), b"fine");
        }
    }
    assert!(!here.poll(Duration::ZERO));
}
