//! shmkit's connection: messages one way, with calls that sleep, and round trips, polled as well.

use super::Blocking;
use super::copied::{Copied, read, write};
use crate::peers::backoff::until_soon;
use crate::peers::flow::{Inlet, Outlet};
use crate::peers::trip::Duplex;
use serde::{Deserialize, Serialize};
use shmkit::pipe::{Connection, RecvError, SendError};
use std::ops::Range;

const ALIVE: &str = "the other side lives";

impl Outlet for Copied<Connection> {
    fn send_all(&mut self, values: Range<u64>) {
        let mut message = self.buffer();
        for value in values {
            write(&mut message, value);
            self.end.send_bytes(&message).expect(ALIVE);
        }
    }
}

impl Inlet for Copied<Connection> {
    fn receive(&mut self, count: u64, mut take: impl FnMut(u64)) {
        let mut buffer = self.buffer();
        for _ in 0..count {
            let length = self.end.recv_bytes_into(&mut buffer).expect(ALIVE);
            take(read(&buffer[..length], self.length));
        }
    }
}

/// Has each message in memory of its own.
#[derive(Serialize, Deserialize)]
pub struct Allocating(pub Copied<Connection>);

impl Inlet for Allocating {
    fn receive(&mut self, count: u64, mut take: impl FnMut(u64)) {
        for _ in 0..count {
            let message = self.0.end.recv_bytes().expect(ALIVE);
            take(read(&message, self.0.length));
        }
    }
}

/// Polls.
impl Duplex for Connection {
    fn send(&mut self, value: u64) {
        until_soon(|| match self.try_send_bytes(&value.to_ne_bytes()) {
            Ok(()) => Some(()),
            Err(SendError::WouldBlock) => None,
            Err(error) => panic!("the other side is gone: {error}"),
        });
    }

    fn receive(&mut self) -> u64 {
        let mut bytes = [0; 8];
        let length = until_soon(|| match self.try_recv_bytes_into(&mut bytes) {
            Err(RecvError::WouldBlock) => None,
            outcome => Some(outcome.expect(ALIVE)),
        });
        assert!(length == bytes.len(), "{length} bytes came");
        u64::from_ne_bytes(bytes)
    }
}

impl Duplex for Blocking<Connection> {
    fn send(&mut self, value: u64) {
        self.0.send_bytes(&value.to_ne_bytes()).expect(ALIVE);
    }

    fn receive(&mut self) -> u64 {
        let mut bytes = [0; 8];
        let length = self.0.recv_bytes_into(&mut bytes).expect(ALIVE);
        assert!(length == bytes.len(), "{length} bytes came");
        u64::from_ne_bytes(bytes)
    }
}
