//! A stream socket between two processes, which meet by a name that leaves no file.

use super::pipe::{read_value, write_value};
use crate::peers::backoff::until;
use crate::peers::processes::Ticket;
use crate::peers::trip::Duplex;
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::atomic::{AtomicU32, Ordering};

/// Names must not meet those of the round before.
static SERIAL: AtomicU32 = AtomicU32::new(0);

/// One side of a connection.
#[derive(Serialize, Deserialize)]
pub struct Side {
    name: String,
    listens: bool,
}

/// Both sides of a new connection.
pub fn pair() -> [Side; 2] {
    let name = format!("compare-{}-{}", std::process::id(), SERIAL.fetch_add(1, Ordering::Relaxed));
    [false, true].map(|listens| Side { name: name.clone(), listens })
}

impl Ticket for Side {
    type End = UnixStream;

    fn open(self) -> Result<UnixStream> {
        let address = SocketAddr::from_abstract_name(&self.name)?;
        if self.listens {
            return Ok(UnixListener::bind_addr(&address)?.accept()?.0);
        }
        // Until the other side listens.
        Ok(until(|| UnixStream::connect_addr(&address).ok()))
    }
}

impl Duplex for UnixStream {
    fn send(&mut self, value: u64) {
        write_value(self, value);
    }

    fn receive(&mut self) -> u64 {
        read_value(self)
    }
}
