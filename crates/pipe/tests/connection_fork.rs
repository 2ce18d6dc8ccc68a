//! A child made by `fork` has no part in its parent's connections: its end says that it is another process's, and what it tries does not reach anybody.
#![cfg(not(any(loom, feature = "portable")))]

#[path = "../../segment/tests/forked/mod.rs"]
mod forked;
#[path = "../../segment/tests/harness/mod.rs"]
mod harness;

use forked::{end_after, fork};
use harness::alone;
use shmkit_pipe::{Connection, Descriptor, RecvError, SendError, duplex_with_capacity};
use shmkit_segment::transfer;
use std::cell::RefCell;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(1000);

fn null() -> Descriptor {
    std::fs::File::open("/dev/null").unwrap().into()
}

/// All that one can try with an end that is not one's own.
fn is_refused(connection: &mut Connection) {
    let far = Instant::now() + LONG;
    let mut buffer = [0; 100];
    for _ in 0..3 {
        let sent = [
            connection.send_bytes(b"lost"),
            connection.try_send_bytes(b"lost"),
            connection.send_bytes_timeout(&[0; 1_000], LONG),
            connection.send_bytes_deadline(&[0; 1_000], far),
            connection.send(&"lost"),
            connection.try_send(&"lost"),
            connection.send_timeout(&(null(), 7), LONG),
            connection.send_deadline(&"lost", far),
        ];
        for result in sent {
            assert!(matches!(result, Err(SendError::Forked)), "{result:?}");
        }
        let received = [
            connection.recv_bytes().err(),
            connection.try_recv_bytes().err(),
            connection.recv_bytes_timeout(LONG).err(),
            connection.recv_bytes_deadline(far).err(),
            connection.recv_bytes_into(&mut buffer).err(),
            connection.try_recv_bytes_into(&mut buffer).err(),
            connection.recv_bytes_into_timeout(&mut buffer, LONG).err(),
            connection.recv_bytes_into_deadline(&mut buffer, far).err(),
            connection.recv::<String>().err(),
            connection.try_recv::<String>().err(),
            connection.recv_timeout::<String>(LONG).err(),
            connection.recv_deadline::<String>(far).err(),
        ];
        for error in received {
            assert!(matches!(error, Some(RecvError::Forked)), "{error:?}");
        }
        assert!(connection.poll(LONG));
    }
    let (bytes, descriptors) = transfer::sending(|| postcard::to_stdvec(connection));
    assert!(bytes.is_err() && descriptors.is_err());
}

#[test]
fn the_ends_of_a_connection_belong_to_the_parent() {
    alone(|()| {
        end_after(100);
        type Prepare = fn(&mut Connection, &mut Connection);
        let states: [Prepare; 4] = [
            |_, _| {},
            |here, _| here.send(&(1_u8, null())).unwrap(),
            |here, _| while here.try_send_bytes(&[]).is_ok() {},
            // In the middle of a long one, at either end.
            |here, there| {
                let short = Duration::from_millis(1);
                assert!(matches!(here.send_bytes_timeout(&[1; 1_000], short), Err(SendError::Timeout)));
                assert!(matches!(there.try_recv_bytes(), Err(RecvError::WouldBlock)));
            },
        ];
        for prepare in states {
            let (mut here, mut there) = duplex_with_capacity(256).unwrap();
            prepare(&mut here, &mut there);
            let ends = RefCell::new(Some((here, there)));
            fork(|| {
                let (mut here, mut there) = ends.take().unwrap();
                is_refused(&mut here);
                is_refused(&mut there);
            })
            .join();
            let (mut here, mut there) = ends.take().unwrap();
            while there.try_recv_bytes().is_ok() {}
            here.send_bytes(b"still here").unwrap();
            assert_eq!(there.recv_bytes().unwrap(), b"still here");
            drop(here);
            assert!(matches!(there.recv_bytes(), Err(RecvError::Disconnected)));
        }
    });
}
