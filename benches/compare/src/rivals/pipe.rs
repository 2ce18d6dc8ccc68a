//! pipe(2): every message is a write of its own, as it has to be if it is to be there at once.
//!
//! A receiver that only wants throughput reads what is there into a buffer, as `BufReader` does. Blocks of bytes are written and read as they are.

use crate::peers::flow::{Inlet, Outlet};
use crate::peers::processes::Ticket;
use crate::peers::shared::Inherited;
use crate::peers::trip::Duplex;
use anyhow::Result;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::ops::Range;
use std::os::fd::OwnedFd;

/// A pipe of this process, for its children: it must outlive their start.
pub struct Pipe(OwnedFd, OwnedFd);

#[derive(Serialize, Deserialize)]
pub struct WriteEnd(Inherited);

#[derive(Serialize, Deserialize)]
pub struct ReadEnd(Inherited);

impl Pipe {
    pub fn new() -> Result<Self> {
        let (reader, writer) = pipe_with(PipeFlags::empty())?;
        Ok(Self(reader, writer))
    }

    /// One that holds so many bytes: 1 MiB at most, unless the administrator has said otherwise.
    pub fn of_size(bytes: usize) -> Result<Self> {
        let pipe = Self::new()?;
        fcntl_setpipe_size(&pipe.1, bytes)?;
        Ok(pipe)
    }

    pub fn write_end(&self) -> WriteEnd {
        WriteEnd(Inherited::of(&self.1))
    }

    pub fn read_end(&self) -> ReadEnd {
        ReadEnd(Inherited::of(&self.0))
    }
}

impl Ticket for WriteEnd {
    type End = File;

    fn open(self) -> Result<File> {
        Ok(self.0.open(File::options().write(true))?)
    }
}

impl Ticket for ReadEnd {
    type End = BufReader<File>;

    fn open(self) -> Result<BufReader<File>> {
        Ok(BufReader::new(Unbuffered(self).open()?))
    }
}

/// Reads without a buffer of its own.
#[derive(Serialize, Deserialize)]
pub struct Unbuffered(pub ReadEnd);

impl Ticket for Unbuffered {
    type End = File;

    fn open(self) -> Result<File> {
        Ok(self.0.0.open(File::options().read(true))?)
    }
}

impl Outlet for File {
    fn send_all(&mut self, values: Range<u64>) {
        for value in values {
            write_value(self, value);
        }
    }
}

impl Inlet for BufReader<File> {
    fn receive(&mut self, count: u64, mut take: impl FnMut(u64)) {
        for _ in 0..count {
            take(read_value(self));
        }
    }
}

/// Two pipes, one for each direction.
#[derive(Serialize, Deserialize)]
pub struct Both(pub WriteEnd, pub Unbuffered);

/// Their opened ends.
pub struct Opened(File, File);

impl Ticket for Both {
    type End = Opened;

    fn open(self) -> Result<Opened> {
        Ok(Opened(self.0.open()?, self.1.open()?))
    }
}

impl Duplex for Opened {
    fn send(&mut self, value: u64) {
        write_value(&mut self.0, value);
    }

    fn receive(&mut self) -> u64 {
        read_value(&mut self.1)
    }
}

/// Eight bytes, with one system call where the stream is not buffered.
pub fn write_value(stream: &mut impl Write, value: u64) {
    stream.write_all(&value.to_ne_bytes()).expect("the other side lives");
}

/// See [`write_value`].
pub fn read_value(stream: &mut impl Read) -> u64 {
    let mut bytes = [0; 8];
    stream.read_exact(&mut bytes).expect("the other side lives");
    u64::from_ne_bytes(bytes)
}
