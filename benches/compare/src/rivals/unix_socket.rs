//! A stream socket between two processes, which meet by a name that leaves no file: the standard library's, and tokio's of the same.

use super::Awaiting;
use super::pipe::{read_value, write_value};
use crate::peers::async_trip::AsyncDuplex;
use crate::peers::backoff::until;
use crate::peers::processes::Ticket;
use crate::peers::trip::Duplex;
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

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

impl Ticket for Awaiting<Side> {
    type End = tokio::net::UnixStream;

    fn open(self) -> Result<Self::End> {
        let stream = self.0.open()?;
        stream.set_nonblocking(true)?;
        Ok(tokio::net::UnixStream::from_std(stream)?)
    }
}

impl AsyncDuplex for tokio::net::UnixStream {
    async fn send(&mut self, value: u64) {
        self.write_all(&value.to_ne_bytes()).await.expect("the other side lives");
    }

    async fn receive(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.read_exact(&mut bytes).await.expect("the other side lives");
        u64::from_ne_bytes(bytes)
    }
}
