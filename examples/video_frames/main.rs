//! One process draws the frames of a film, several others look at them, and no frame is ever copied.
//!
//! ```text
//! $ cargo run --release --example video_frames -- --kill-a-consumer
//! killed: consumer 1, process 4713, over frame 600
//! again: frame 600, to consumer 0, after process 4713
//! frames: 1200, of 8294400 bytes
//! seconds: 1.402, with the start of the processes
//! frames per second: 856
//! GB per second that one copy of each would have moved: 7.1
//! bytes copied between processes: 0; what travels is a reference of 8 bytes
//! consumer 0: 497 frames
//! consumer 1: 202 frames
//! consumer 2: 501 frames
//! seen: all frames
//! ```
//!
//! The queue has eight buffers. The producer draws a frame in one of them, every pixel of it; a consumer looks at every pixel in the same
//! place, and its acknowledgement makes the buffer free for another frame. That nothing was copied is looked up and not only
//! said: with each frame goes the place where it was drawn, and a consumer counts the bytes of those that it got in another place.
//!
//! A consumer that is killed has not acknowledged its frame, so that is delivered again, to another one. `--save frame.ppm` keeps one to look at.

mod film;
mod place;

use clap::Parser;
use film::Film;
use indicatif::ProgressBar;
use place::place;
use serde::{Deserialize, Serialize};
use shmkit::process::{Builder, JoinError};
use shmkit::queue::buffer::{self, Receiver, Sender};
use std::error::Error;
use std::path::PathBuf;
use std::thread;
use std::time::Instant;

/// Ahead of the pixels: the frame's number, and the [`place`] where it was drawn.
type Header = [u64; 3];
const HEADER: usize = size_of::<Header>();

fn produce((film, count, frames): (Film, u64, Sender)) -> Result<(), String> {
    for frame in 0..count {
        // Waits while all buffers are in use; fails when every consumer is gone.
        let mut loan = frames.loan(HEADER + film.bytes()).map_err(|error| error.to_string())?;
        let [file, offset] = place(&loan).ok_or("the system does not tell where shared memory is")?;
        let (header, pixels) = loan.split_at_mut(HEADER);
        header.as_chunks_mut().0.copy_from_slice(&[frame, file, offset].map(u64::to_le_bytes));
        film.draw(frame, pixels);
        loan.send().map_err(|error| error.to_string())?;
    }
    Ok(())
}

#[derive(Serialize, Deserialize)]
struct Consumer {
    number: usize,
    film: Film,
    frames: Receiver,
    reports: Sender,
    /// The first to have this frame is to be killed over it.
    fatal: Option<u64>,
    /// Which frame to write to which file.
    save: Option<(u64, PathBuf)>,
}

/// What the consumers tell the parent.
#[derive(Serialize, Deserialize)]
enum Report {
    /// A consumer has looked at half of a frame, and waits to be killed.
    Halfway {
        consumer: usize,
        frame: u64,
    },
    Seen {
        consumer: usize,
        frame: u64,
        copied: u64,
        previous_holder: Option<u32>,
    },
}

fn consume(Consumer { number: consumer, film, frames, reports, fatal, save }: Consumer) -> Result<(), String> {
    let report = |report| reports.send_value(&report).map_err(|error| error.to_string());
    for lease in frames.iter() {
        let (header, pixels) = lease.split_at(HEADER);
        let [frame, drawn @ ..]: Header = std::array::from_fn(|word| u64::from_le_bytes(header.as_chunks().0[word]));
        if fatal == Some(frame) && lease.deliveries() == 1 && film.is_right(frame, &pixels[..pixels.len() / 2]) {
            report(Report::Halfway { consumer, frame })?;
            loop {
                thread::park();
            }
        }
        if pixels.len() != film.bytes() || !film.is_right(frame, pixels) {
            return Err(format!("frame {frame} is not what was drawn"));
        }
        if let Some((_, path)) = save.as_ref().filter(|(number, _)| *number == frame) {
            film.save(pixels, path).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        let copied = if place(&lease) == Some(drawn) { 0 } else { lease.len() as u64 };
        report(Report::Seen { consumer, frame, copied, previous_holder: lease.previous_holder() })?;
        lease.ack();
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { width, height, frames: count, consumers, kill_a_consumer, save } = Arguments::parse();
    if kill_a_consumer && consumers < 2 {
        return Err("with a single consumer, nobody would be left to see the frames".into());
    }
    let film = Film { width: width as usize, height: height as usize };
    let begin = Instant::now();
    let (frames, looks) = buffer::channel((8, HEADER + film.bytes()))?;
    let (reports, heard) = buffer::channel((64, 64))?;
    let (fatal, save) = (kill_a_consumer.then_some(count / 2), save.map(|path| (count / 2, path)));
    let process = Builder::new().die_with_parent(true);
    let consumer = |number| {
        let (frames, reports, save) = (looks.clone(), reports.clone(), save.clone());
        process.spawn(consume, Consumer { number, film, frames, reports, fatal, save })
    };
    let children = (0..consumers as usize).map(consumer).collect::<Result<Vec<_>, _>>()?;
    let producer = process.spawn(produce, (film, count, frames))?;
    // Only the children are to have these ends, so that what they wait for ends with them.
    drop((looks, reports));

    let progress = ProgressBar::new(count);
    let (mut seen, mut shares) = (vec![false; count as usize], vec![0; children.len()]);
    let (mut bytes_copied, mut seconds, mut victim) = (0, 0.0, None);
    for lease in heard.iter() {
        match lease.value()? {
            Report::Halfway { consumer, frame } => {
                victim = Some(consumer);
                children[consumer].kill()?;
                let process = children[consumer].pid();
                progress.suspend(|| println!("killed: consumer {consumer}, process {process}, over frame {frame}"));
            }
            Report::Seen { consumer, frame, copied, previous_holder } => {
                if let Some(process) = previous_holder {
                    progress
                        .suspend(|| println!("again: frame {frame}, to consumer {consumer}, after process {process}"));
                }
                seen[frame as usize] = true;
                shares[consumer] += 1;
                bytes_copied += copied;
                seconds = begin.elapsed().as_secs_f64();
                progress.inc(1);
            }
        }
        lease.ack();
    }
    progress.finish_and_clear();
    for (number, child) in children.into_iter().enumerate() {
        match child.join() {
            Err(JoinError::Exited { .. }) if victim == Some(number) => {}
            outcome => outcome??,
        }
    }
    producer.join()??;
    if let Some(frame) = seen.iter().position(|seen| !seen) {
        return Err(format!("nobody saw frame {frame}").into());
    }

    println!("frames: {count}, of {} bytes", film.bytes());
    println!("seconds: {seconds:.3}, with the start of the processes");
    println!("frames per second: {:.0}", count as f64 / seconds);
    println!(
        "GB per second that one copy of each would have moved: {:.1}",
        (film.bytes() as u64 * count) as f64 / seconds / 1e9
    );
    println!("bytes copied between processes: {bytes_copied}; what travels is a reference of 8 bytes");
    for (number, share) in shares.iter().enumerate() {
        println!("consumer {number}: {share} frames");
    }
    println!("seen: all frames");
    Ok(())
}

/// One process draws frames, others look at them in place.
#[derive(Parser)]
struct Arguments {
    /// Pixels in a row.
    #[arg(long, default_value_t = 1920, value_parser = clap::value_parser!(u32).range(1..=16384))]
    width: u32,
    /// Rows of pixels.
    #[arg(long, default_value_t = 1080, value_parser = clap::value_parser!(u32).range(1..=16384))]
    height: u32,
    /// How many frames.
    #[arg(long, default_value_t = 1200, value_parser = clap::value_parser!(u64).range(1..=u64::from(u32::MAX)))]
    frames: u64,
    /// How many processes look at them.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=64))]
    consumers: u32,
    /// Kill the consumer that has the frame in the middle of the film, when it has looked at half of it.
    #[arg(long)]
    kill_a_consumer: bool,
    /// Write the frame in the middle of the film to a file, as a PPM picture: by a consumer that looks at it.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
}
