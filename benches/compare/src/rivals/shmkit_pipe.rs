//! shmkit's pipe: its bytes written and read where they lie, and round trips over two of them. Otherwise it is a `Write` and a `Read`, which sleep.

use super::pipe::{read_value, write_value};
use super::{Blocking, Polling};
use crate::peers::backoff::until_soon;
use crate::peers::trip::Duplex;
use serde::{Deserialize, Serialize};
use shmkit::pipe::{Reader, Writer};
use std::io::{BufRead, ErrorKind, Read, Result, Write};

/// An end whose user works in the ring.
#[derive(Serialize, Deserialize)]
pub struct InRing<T>(pub T);

/// What is written, or read, at a time, so that the other side can go on meanwhile.
const PART: usize = 16 << 10;

impl Write for InRing<Writer> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        let mut room = self.0.reserve(bytes.len().min(PART))?;
        let count = room.len();
        room.copy_from_slice(&bytes[..count]);
        room.commit(count);
        Ok(count)
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Read for InRing<Reader> {
    fn read(&mut self, bytes: &mut [u8]) -> Result<usize> {
        let there = self.0.fill_buf()?;
        let count = there.len().min(bytes.len()).min(PART);
        bytes[..count].copy_from_slice(&there[..count]);
        self.0.consume(count);
        Ok(count)
    }
}

/// What an attempt came to, of whose eight bytes all or none are there: `None` if it is worth another.
fn done(outcome: Result<usize>) -> Option<()> {
    match outcome {
        Ok(count) => {
            assert!(count == size_of::<u64>(), "{count} bytes of a value are there");
            Some(())
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(error) => panic!("the other side is gone: {error}"),
    }
}

impl Duplex for Polling<Writer, Reader> {
    fn send(&mut self, value: u64) {
        until_soon(|| done(self.0.try_write(&value.to_ne_bytes())));
    }

    fn receive(&mut self) -> u64 {
        let mut bytes = [0; 8];
        until_soon(|| done(self.1.try_read(&mut bytes)));
        u64::from_ne_bytes(bytes)
    }
}

impl Duplex for Blocking<(Writer, Reader)> {
    fn send(&mut self, value: u64) {
        write_value(&mut self.0.0, value);
    }

    fn receive(&mut self) -> u64 {
        read_value(&mut self.0.1)
    }
}
