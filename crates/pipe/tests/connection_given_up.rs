//! Messages that are longer than the ring, and come to a stop half-way: their receiver gets all of one or nothing of it.
#![cfg(not(any(loom, feature = "portable")))]

#[path = "../../sync/tests/asleep/mod.rs"]
mod asleep;
#[path = "../../sync/tests/company/mod.rs"]
mod company;
mod content;

use asleep::asleep_in;
use company::{LONG, MOMENT, await_stop_of, buried, kill, signal, start, stay};
use shmkit_pipe::{Connection, Descriptor, Error, RecvError, SendError, duplex_with_capacity};
use shmkit_segment::transfer;
use shmkit_sync::{Event, Select};
use std::time::Instant;

const LENGTH: usize = 10_000;

fn long() -> Vec<u8> {
    content::bytes(1, LENGTH)
}

fn null() -> Descriptor {
    std::fs::File::open("/dev/null").unwrap().into()
}

/// Begins a long message, and gives it up when the ring is full.
fn give_up(connection: &mut Connection) {
    assert!(matches!(connection.send_bytes_timeout(&long(), MOMENT), Err(SendError::Timeout)));
}

#[test]
fn a_message_that_was_given_up_is_dropped_and_the_next_one_comes_whole() {
    // The next one in the ring as a whole, and in parts; with the first one received up to where it ends, and not at all.
    for (length, is_looked_at) in [(0, false), (20, false), (20, true), (100, true), (LENGTH, true), (LENGTH, false)] {
        let (mut here, mut there) = duplex_with_capacity(256).unwrap();
        for turn in 0..20_u8 {
            here.send_bytes(&[turn]).unwrap();
            give_up(&mut here);
            assert_eq!(there.recv_bytes().unwrap(), [turn]);
            if is_looked_at {
                assert!(matches!(there.try_recv_bytes(), Err(RecvError::WouldBlock)));
                assert!(!there.poll(MOMENT));
            }
            let next = content::bytes(u64::from(turn), length);
            let receiving = std::thread::spawn(move || (there.recv_bytes().unwrap(), there));
            here.send_bytes(&next).unwrap();
            let (message, back) = receiving.join().unwrap();
            assert!(message == next);
            there = back;
        }
        assert!(matches!(there.try_recv_bytes(), Err(RecvError::WouldBlock)));
    }
}

#[test]
fn all_that_the_ring_holds_can_be_sent_at_once_after_a_message_that_was_given_up() {
    let (mut here, mut there) = duplex_with_capacity(256).unwrap();
    let longest = content::bytes(3, 248);
    for _ in 0..20 {
        give_up(&mut here);
        assert!(matches!(here.try_send_bytes(&longest), Err(SendError::WouldBlock)));
        assert!(matches!(there.try_recv_bytes(), Err(RecvError::WouldBlock)));
        // The mark of the one that was given up may need room of its own first.
        if here.try_send_bytes(&longest).is_err() {
            assert!(matches!(there.try_recv_bytes(), Err(RecvError::WouldBlock)));
            here.try_send_bytes(&longest).unwrap();
        }
        assert_eq!(there.try_recv_bytes().unwrap(), longest);
    }
}

#[test]
fn several_are_given_up_one_after_the_other() {
    let (mut here, mut there) = duplex_with_capacity(256).unwrap();
    for turn in 0..20 {
        give_up(&mut here);
        give_up(&mut here);
        assert!(matches!(there.try_recv_bytes(), Err(RecvError::WouldBlock)));
        give_up(&mut here);
        while matches!(here.try_send_bytes(&[turn]), Err(SendError::WouldBlock)) {
            assert!(matches!(there.try_recv_bytes(), Err(RecvError::WouldBlock)));
        }
        assert_eq!(there.recv_bytes().unwrap(), [turn]);
    }
}

#[test]
fn a_sender_gives_up_in_time_though_its_receiver_is_stopped_and_what_follows_comes_whole() {
    fn receive((mut connection, here): (Connection, Event)) -> Vec<Vec<u8>> {
        here.set();
        std::iter::from_fn(|| connection.recv_bytes().ok()).collect()
    }
    let (mut connection, there) = duplex_with_capacity(256).unwrap();
    let here = Event::new().unwrap();
    let child = start(receive, (there, here.clone()));
    here.wait().unwrap();
    connection.send_bytes(b"before").unwrap();
    signal(child.pid(), libc::SIGSTOP);
    await_stop_of(child.pid());
    let deadline = Instant::now() + MOMENT;
    assert!(matches!(connection.send_bytes_deadline(&long(), deadline), Err(SendError::Timeout)));
    assert!(Instant::now() >= deadline);
    give_up(&mut connection);
    signal(child.pid(), libc::SIGCONT);
    connection.send_bytes(&long()).unwrap();
    connection.send_bytes(b"after").unwrap();
    drop(connection);
    assert!(child.join().unwrap() == [b"before".to_vec(), long(), b"after".to_vec()]);
}

#[test]
fn a_receiver_whose_time_is_up_in_the_middle_goes_on_later() {
    fn send(mut connection: Connection) {
        connection.send_bytes(&long()).unwrap();
        connection.send_bytes(b"next").unwrap();
    }
    let (mut connection, there) = duplex_with_capacity(256).unwrap();
    let child = start(send, there);
    // Once it has begun, it is stopped with a ring full of parts at most.
    let mut select = Select::new();
    select.add(connection.watch());
    select.wait();
    signal(child.pid(), libc::SIGSTOP);
    await_stop_of(child.pid());
    let mut buffer = vec![0; LENGTH];
    for _ in 0..3 {
        let errors = [
            connection.try_recv_bytes_into(&mut buffer).err(),
            connection.recv_bytes_into_timeout(&mut buffer, MOMENT).err(),
            connection.recv_bytes_deadline(Instant::now()).err(),
        ];
        assert!(matches!(errors, [Some(RecvError::WouldBlock), Some(RecvError::Timeout), Some(RecvError::Timeout)]));
        assert!(!connection.poll(MOMENT));
    }
    signal(child.pid(), libc::SIGCONT);
    assert_eq!(connection.recv_bytes_into(&mut buffer).unwrap(), LENGTH);
    assert!(buffer == long());
    assert_eq!(connection.recv_bytes().unwrap(), b"next");
    child.join().unwrap();
}

#[test]
fn what_a_sender_that_was_killed_half_way_had_sent_is_dropped() {
    fn send((mut connection, here): (Connection, Event)) {
        connection.send_bytes(b"whole").unwrap();
        give_up(&mut connection);
        stay(&here);
    }
    for is_looked_at in [false, true] {
        let (mut connection, there) = duplex_with_capacity(256).unwrap();
        let here = Event::new().unwrap();
        let child = start(send, (there, here.clone()));
        here.wait().unwrap();
        if is_looked_at {
            assert_eq!(connection.recv_bytes().unwrap(), b"whole");
            assert!(matches!(connection.try_recv_bytes(), Err(RecvError::WouldBlock)));
        }
        kill(child);
        buried(connection.segment(), 1);
        if !is_looked_at {
            assert_eq!(connection.recv_bytes().unwrap(), b"whole");
        }
        for _ in 0..3 {
            assert!(matches!(connection.recv_bytes(), Err(RecvError::Disconnected)));
        }
    }
}

#[test]
fn who_waits_for_the_rest_of_a_message_is_told_that_its_sender_was_killed() {
    fn send(mut connection: Connection) {
        loop {
            connection.send_bytes(&vec![1; 1 << 18]).unwrap();
        }
    }
    for turn in 0..10 {
        let (mut connection, there) = duplex_with_capacity(1 << 10).unwrap();
        let segment = connection.segment().clone();
        let child = start(send, there);
        for _ in 0..turn % 3 {
            assert_eq!(connection.recv_bytes().unwrap().len(), 1 << 18);
        }
        let receiving = std::thread::spawn(move || {
            loop {
                match connection.recv_bytes() {
                    Ok(message) => assert!(message == vec![1; 1 << 18]),
                    Err(error) => return error,
                }
            }
        });
        child.kill().unwrap();
        let _killed = child.join();
        while segment.reap_dead() == 0 && !receiving.is_finished() {
            std::thread::yield_now();
        }
        assert!(matches!(receiving.join().unwrap(), RecvError::Disconnected));
    }
}

#[test]
fn a_receiver_that_is_killed_half_way_disconnects_who_sends() {
    fn receive((mut connection, here): (Connection, Event)) {
        assert!(matches!(connection.recv_bytes_timeout(MOMENT), Err(RecvError::Timeout)));
        stay(&here);
    }
    let (mut connection, there) = duplex_with_capacity(256).unwrap();
    let (here, segment) = (Event::new().unwrap(), connection.segment().clone());
    let child = start(receive, (there, here.clone()));
    let sending = asleep_in(move || connection.send_bytes(&vec![0; 1 << 20]).unwrap_err());
    here.wait().unwrap();
    kill(child);
    while segment.reap_dead() == 0 && !sending.is_finished() {
        std::thread::yield_now();
    }
    assert!(matches!(sending.join().unwrap(), SendError::Disconnected));
}

fn echo(mut connection: Connection) {
    while let Ok(message) = connection.recv_bytes() {
        connection.send_bytes(&message).unwrap();
    }
}

#[test]
fn an_end_that_has_given_a_message_up_can_be_passed_on_and_its_successor_is_understood() {
    fn send(mut connection: Connection) {
        connection.send_bytes(b"from another process").unwrap();
        echo(connection);
    }
    for is_looked_at in [false, true] {
        let (mut here, mut there) = duplex_with_capacity(256).unwrap();
        give_up(&mut there);
        if is_looked_at {
            assert!(matches!(here.try_recv_bytes(), Err(RecvError::WouldBlock)));
        }
        let child = start(send, there);
        assert_eq!(here.recv_bytes().unwrap(), b"from another process");
        here.send_bytes(&long()).unwrap();
        assert!(here.recv_bytes().unwrap() == long());
        drop(here);
        child.join().unwrap();
    }
}

#[test]
fn an_end_that_has_taken_messages_in_stays_where_it_is_until_they_are_received() {
    // A message that came while it waited for room, and one of which a part has come.
    let in_part: fn(&mut Connection, &mut Connection) = |here, there| {
        give_up(here);
        assert!(matches!(there.try_recv_bytes(), Err(RecvError::WouldBlock)));
        while here.try_send_bytes(b"next").is_err() {}
    };
    let taken_in: fn(&mut Connection, &mut Connection) = |here, there| {
        here.send_bytes(b"next").unwrap();
        while there.try_send_bytes(&[]).is_ok() {}
        assert!(matches!(there.send_bytes_timeout(&[], MOMENT), Err(SendError::Timeout)));
        while here.try_recv_bytes().is_ok() {}
    };
    for prepare in [in_part, taken_in] {
        let (mut here, mut there) = duplex_with_capacity(256).unwrap();
        prepare(&mut here, &mut there);
        let (bytes, descriptors) = transfer::sending(|| postcard::to_stdvec(&there));
        assert!(bytes.is_err() && matches!(descriptors, Err(Error::NotTransferable(_))));
        let (mut over, mut to) = duplex_with_capacity(256).unwrap();
        assert!(matches!(over.send(&there), Err(SendError::Handle(Error::NotTransferable(_)))));
        there.send_bytes(b"still usable").unwrap();
        assert_eq!(here.recv_bytes().unwrap(), b"still usable");
        assert_eq!(there.recv_bytes().unwrap(), b"next");
        over.send(&there).unwrap();
        let mut moved: Connection = to.recv().unwrap();
        here.send_bytes(b"moved").unwrap();
        assert_eq!(moved.recv_bytes().unwrap(), b"moved");
    }
}

#[test]
fn an_end_goes_from_child_to_child_while_the_other_one_is_in_use() {
    /// Answers ten messages, and passes it on.
    fn answer(mut control: Connection) {
        while let Ok(mut connection) = control.recv::<Connection>() {
            for _ in 0..10 {
                let message = connection.recv_bytes().unwrap();
                connection.send_bytes(&message).unwrap();
            }
            control.send(&connection).unwrap();
        }
    }
    let (here, mut there) = duplex_with_capacity(256).unwrap();
    let asking = std::thread::spawn(move || {
        let mut here = here;
        for number in 0..200_u64 {
            // Others are half-way there when the end moves.
            here.send_bytes(&content::bytes(number, 50)).unwrap();
            let length = 50 + number as usize * 13 % 500;
            assert_eq!(here.recv_bytes().unwrap(), content::bytes(number, 50));
            here.send_bytes(&content::bytes(number, length)).unwrap();
            assert_eq!(here.recv_bytes_timeout(LONG).unwrap(), content::bytes(number, length));
        }
    });
    let mut children: Vec<_> = (0..2)
        .map(|_| {
            let (control, theirs) = duplex_with_capacity(1 << 10).unwrap();
            (start(answer, theirs), control)
        })
        .collect();
    for turn in 0..40 {
        let control = &mut children[turn % 2].1;
        control.send(&there).unwrap();
        there = control.recv().unwrap();
    }
    asking.join().unwrap();
    for (child, control) in children {
        drop(control);
        child.join().unwrap();
    }
}

#[test]
fn descriptors_of_messages_that_were_given_up_do_not_come_with_others() {
    let (mut here, mut there) = duplex_with_capacity(256).unwrap();
    for turn in 0..50_u32 {
        for count in [1, 3] {
            let files: Vec<_> = (0..count).map(|_| null()).collect();
            let long = (files, vec![0_u8; LENGTH]);
            assert!(matches!(here.send_timeout(&long, MOMENT), Err(SendError::Timeout)));
            assert!(matches!(there.try_recv_bytes(), Err(RecvError::WouldBlock)));
        }
        here.send(&(turn, [null(), null()])).unwrap();
        assert_eq!(there.recv::<(u32, [Descriptor; 2])>().unwrap().0, turn);
    }
}
