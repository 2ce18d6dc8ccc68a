//! A library that knows `Read` and `Write` only compresses a large file in one process and decompresses it in another, with a pipe in between.
//!
//! ```text
//! $ cargo run --release --example stream_file
//! sent: 153621402 bytes of 2 files, as gzip
//! received: 153621402 bytes in 1.55 s, 99 MB/s
//! checksum: 5cee5d35 of what was sent and of what was received
//! ```
//!
//! `GzEncoder` is given the writing end as it would be given a file, a socket, or the standard input of a child; `GzDecoder` the reading end, whose bytes it takes where they lie, since that is
//! `BufRead` too. When the encoder is done it gives the writer back, which is dropped, and that is the end of the stream.
//!
//! A stream also ends if its writer is killed. gzip knows the difference, as a format with a length or a trailer does: the decoder fails with `UnexpectedEof`. If the *reader* is killed, the encoder
//! fails with `BrokenPipe` within about 50 ms.
//!
//! With `--direct` nothing is compressed, and the bytes are in neither program's hands: the kernel reads the file into the shared memory (`copy_from`), and writes it from there (`copy_to`). That
//! such a stream was not cut off has to be seen from something else; here, from the checksum.
//!
//! The files that are named as arguments are sent one behind the other, as by `cat`. If none are, it is files of the Rust toolchain that built this program: those in the directory `lib` of
//! `rustc --print sysroot`, from the smallest on until they are 100 MB.
//!
//! ```sh
//! cargo run --release --example stream_file -- --direct large.iso --to copy.iso
//! ```

use clap::Parser;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use flate2::{Compression, Crc};
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use shmkit::pipe::{Descriptor, Reader, Writer, pipe};
use shmkit::process::spawn;
use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

type Failure = Box<dyn Error>;

/// How many bytes, and their CRC-32.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Sum {
    bytes: u64,
    checksum: u32,
}

/// Of all that there is to read.
fn sum(mut source: impl Read) -> io::Result<Sum> {
    let mut crc = Crc::new();
    let mut buffer = vec![0; 1 << 16];
    let mut bytes = 0;
    loop {
        match source.read(&mut buffer)? {
            0 => return Ok(Sum { bytes, checksum: crc.sum() }),
            count => {
                crc.update(&buffer[..count]);
                bytes += count as u64;
            }
        }
    }
}

fn send_compressed(paths: &[PathBuf], writer: Writer, progress: &ProgressBar) -> io::Result<()> {
    let mut encoder = GzEncoder::new(writer, Compression::fast());
    for path in paths {
        io::copy(&mut progress.wrap_read(File::open(path)?), &mut encoder)?;
    }
    encoder.finish().map(drop)
}

fn send_direct(paths: &[PathBuf], mut writer: Writer, progress: &ProgressBar) -> io::Result<()> {
    for path in paths {
        let file = File::open(path)?;
        // As much at a time as makes a smooth bar. 0 is the end of the file.
        loop {
            match writer.copy_from(&file, 1 << 20)? {
                0 => break,
                count => progress.inc(count),
            }
        }
    }
    Ok(())
}

/// In a process of its own: what comes out of the pipe into the file. How long it took from the first byte on, and what is in the file then.
fn receive((mut reader, target, is_direct): (Reader, Descriptor, bool)) -> Result<(f64, Sum), String> {
    let mut file = File::from(target.0);
    let mut take_all = || -> io::Result<(f64, Sum)> {
        reader.fill_buf()?;
        let start = Instant::now();
        if is_direct {
            reader.copy_to(&file, u64::MAX)?;
        } else {
            let mut buffered = BufWriter::with_capacity(1 << 16, &file);
            io::copy(&mut GzDecoder::new(&mut reader), &mut buffered)?;
            buffered.flush()?;
        }
        let seconds = start.elapsed().as_secs_f64();
        file.rewind()?;
        Ok((seconds, sum(&file)?))
    };
    take_all().map_err(|error| error.to_string())
}

/// Some 100 MB of files that are there wherever this is built.
fn files_of_the_toolchain() -> Result<Vec<PathBuf>, Failure> {
    let output = Command::new("rustc").args(["--print", "sysroot"]).output()?;
    let library = Path::new(std::str::from_utf8(&output.stdout)?.trim_end()).join("lib");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(library)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            files.push((entry.metadata()?.len(), entry.path()));
        }
    }
    files.sort();
    let mut total = 0;
    let enough = files.into_iter().take_while(|(length, _)| {
        let is_wanted = total < 100_000_000;
        total += length;
        is_wanted
    });
    Ok(enough.map(|(_, path)| path).collect())
}

fn main() -> Result<(), Failure> {
    let Arguments { direct, to, mut files } = Arguments::parse();
    if files.is_empty() {
        files = files_of_the_toolchain().map_err(|error| format!("name a file, as there is no toolchain: {error}"))?;
    }
    let mut total = 0;
    for path in &files {
        total += path.metadata().map_err(|error| format!("{}: {error}", path.display()))?.len();
    }
    let target = match to {
        Some(path) => File::options().read(true).write(true).create(true).truncate(true).open(path)?,
        None => tempfile::tempfile()?,
    };

    let (writer, reader) = pipe()?;
    // The reading end and the open file move into the other process.
    let receiver = spawn(receive, (reader, target.into(), direct))?;
    let style = "{wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}"; // on a terminal only
    let progress = ProgressBar::new(total).with_style(ProgressStyle::with_template(style)?);
    let outcome =
        if direct { send_direct(&files, writer, &progress) } else { send_compressed(&files, writer, &progress) };
    progress.finish_and_clear();
    // If the other side has failed, that is the reason and not the pipe that broke.
    let (seconds, received) = receiver.join()??;
    outcome?;

    let how = if direct { "as they are" } else { "as gzip" };
    println!("sent: {total} bytes of {} files, {how}", files.len());
    println!("received: {} bytes in {seconds:.2} s, {:.0} MB/s", received.bytes, received.bytes as f64 / seconds / 1e6);
    let mut sources: Box<dyn Read> = Box::new(io::empty());
    for path in &files {
        sources = Box::new(sources.chain(File::open(path)?));
    }
    let sent = sum(sources)?;
    if sent != received {
        return Err(format!("checksum: {:08x} was sent, {:08x} was received", sent.checksum, received.checksum).into());
    }
    println!("checksum: {:08x} of what was sent and of what was received", sent.checksum);
    Ok(())
}

/// Streams files from one process to another, which decompresses them.
#[derive(Parser)]
struct Arguments {
    /// Without compression, and without a copy in either program.
    #[arg(long)]
    direct: bool,
    /// Where the other process writes what it receives; otherwise, a temporary file.
    #[arg(long, value_name = "PATH")]
    to: Option<PathBuf>,
    /// What is sent; otherwise, files of the toolchain.
    files: Vec<PathBuf>,
}
