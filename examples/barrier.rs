//! Four processes play Conway's game of life in lock-step, each with a band of the world of its own.
//!
//! ```text
//! $ cargo run --example barrier -- --kill-one
//! killed: process 2, pid 4713, at generation 600, when it had written half of its rows
//! broken: the barrier, as 3 other processes were told
//! mended: a new process 2, pid 4719, begins at generation 600
//! +------------------------------------------------+
//! |                         ▄                      |
//! |             ▄▄      ▄▄▀ ▀         ▄▄           |
//! | ▄▄        ▄▀   ▀▄   ██            ▀▀           |
//! | ▀▀        █   ▀ █▀    ▀ █                      |
//! |            ▀▄▄ ▀                               |
//! |                        ▀▄▄                     |
//! |                        ▀▀                      |
//! |                                                |
//! |                                                |
//! |                               ▀▄█              |
//! |                                ▀               |
//! |                                                |
//! |                                      █▀▄       |
//! |                                        █▄      |
//! |                                                |
//! |                                                |
//! +------------------------------------------------+
//! generation: 1200
//! alive: 53 cells
//! ```
//!
//! That is Gosper's gun, which fires a glider every 30 generations, and a device in the corner that eats it. One band that lags a
//! generation behind, and it would fall to pieces.
//!
//! There are two worlds, and a generation is computed from one into the other. Each process reads its rows and those beside them, writes its
//! own, and waits at the barrier until all have done so: whoever has passed it may read what the others have written, and write over what they
//! have read.
//!
//! A process that is killed will never come, so its death breaks the barrier. The others get `BarrierError::Broken`, and the world from which
//! they computed is as it was: they begin the generation once more as soon as somebody has taken the dead one's place.

use clap::Parser;
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use shmkit::process::{Builder, JoinHandle};
use shmkit::segment::primitive::{AtomicU64, Ordering};
use shmkit::sync::{Array, Barrier, BarrierError, CountingSemaphore, Event, Shared};
use std::error::Error;
use std::ops::Range;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

const WIDTH: usize = 48;
const HEIGHT: usize = 32;

/// Where each of these is: column, row, and its cells.
const SEED: [(usize, usize, &[&str]); 2] = [(1, 1, &GUN), (38, 24, &EATER)];

const GUN: [&str; 9] = [
    "........................#...........",
    "......................#.#...........",
    "............##......##............##",
    "...........#...#....##............##",
    "##........#.....#...##..............",
    "##........#...#.##....#.#...........",
    "..........#.....#.......#...........",
    "...........#...#....................",
    "............##......................",
];
const EATER: [&str; 4] = ["##..", "#.#.", "..#.", "..##"];

/// What all have, and what becomes of it when one dies.
#[derive(Clone, Serialize, Deserialize)]
struct World {
    /// Two worlds, one after the other: even generations are in the first, odd ones in the second. A byte is a cell, 1 if it is alive.
    cells: Array<u8>,
    barrier: Barrier,
    /// The generation that all have come to.
    generation: Shared<AtomicU64>,
    /// Set by the process that is to be killed.
    dying: Event,
    /// How many have found the barrier broken.
    told: CountingSemaphore,
    /// Set when there is a new process, and the barrier is whole again.
    mended: Event,
}

#[derive(Serialize, Deserialize)]
struct Band {
    world: World,
    rows: Range<usize>,
    end: u64,
    /// At which generation this process is to be killed.
    fatal: Option<u64>,
}

fn live(Band { world, rows, end, fatal }: Band) -> Result<(), String> {
    let mut generation = world.generation.load(Ordering::Relaxed);
    // The rows that its own depend on.
    let seen = rows.start.saturating_sub(1)..HEIGHT.min(rows.end + 1);
    let mut before = vec![0; seen.len() * WIDTH];
    while generation < end {
        let [from, to] = [generation, generation + 1].map(|generation| (generation % 2) as usize * HEIGHT);
        world.cells.read().map_err(text)?.read_slice((from + seen.start) * WIDTH, &mut before);
        let after = next(&before, rows.start - seen.start..rows.end - seen.start);
        let write = |cells: &[u8]| {
            world.cells.write().map_err(text)?.write_slice((to + rows.start) * WIDTH, cells);
            Ok::<_, String>(())
        };
        if fatal == Some(generation) {
            write(&after[..after.len() / 2])?;
            world.dying.set();
            loop {
                thread::park();
            }
        }
        write(&after)?;
        // The last one to come says so before anybody goes on.
        match world.barrier.wait_with(|| world.generation.store(generation + 1, Ordering::Relaxed)) {
            Ok(_) => generation += 1,
            Err(BarrierError::Broken) if !world.mended.is_set() => {
                world.told.post().map_err(text)?;
                world.mended.wait().map_err(text)?;
            }
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(())
}

/// The next generation of some of these rows. Beyond the edge of the world nothing lives.
fn next(before: &[u8], rows: Range<usize>) -> Vec<u8> {
    let rule = |row: usize, column: usize| {
        let rows = row.saturating_sub(1)..(before.len() / WIDTH).min(row + 2);
        let columns = column.saturating_sub(1)..WIDTH.min(column + 2);
        let around: u8 = rows.flat_map(|row| &before[row * WIDTH..][columns.clone()]).sum();
        let is_alive = before[row * WIDTH + column] == 1;
        // It counts itself.
        u8::from(around == 3 || around == 4 && is_alive)
    };
    rows.flat_map(|row| (0..WIDTH).map(move |column| rule(row, column))).collect()
}

fn text(error: impl Error) -> String {
    error.to_string()
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("barrier: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(Arguments { processes, generations: end, kill_one }: &Arguments) -> Result<(), Box<dyn Error>> {
    if *kill_one && *processes < 2 {
        return Err("with a single process, nobody would be left to be told".into());
    }
    let world = World {
        cells: Array::new(2 * HEIGHT * WIDTH)?,
        barrier: Barrier::new(*processes)?,
        generation: Shared::new()?,
        dying: Event::new()?,
        told: CountingSemaphore::new(*processes)?,
        mended: Event::new()?,
    };
    world.cells.write().map_err(text)?.write_slice(0, &seed());

    let start = |process: usize, fatal| {
        let rows = process * HEIGHT / processes..(process + 1) * HEIGHT / processes;
        // The handles go along; each process has the same world.
        Builder::new().die_with_parent(true).spawn(live, Band { world: world.clone(), rows, end: *end, fatal })
    };
    let victim = kill_one.then_some(processes / 2);
    let fatal = |process| (victim == Some(process)).then_some(end / 2);
    let mut children = (0..*processes).map(|process| start(process, fatal(process))).collect::<Result<Vec<_>, _>>()?;
    let progress = ProgressBar::new(*end);

    if let Some(victim) = victim {
        while world.dying.wait_timeout(WHILE).is_err() {
            all_alive(&children)?;
            progress.set_position(world.generation.load(Ordering::Relaxed));
        }
        let (dead, generation) = (children.swap_remove(victim), world.generation.load(Ordering::Relaxed));
        let pid = dead.pid();
        dead.kill()?;
        progress.suspend(|| {
            println!(
                "killed: process {victim}, pid {pid}, at generation {generation}, when it had written half of its rows"
            );
        });
        // It cannot have returned anything.
        let _ = dead.join();

        let others = processes - 1;
        while world.told.acquire_many_timeout(others, WHILE).is_err() {
            all_alive(&children)?;
        }
        progress.suspend(|| println!("broken: the barrier, as {others} other processes were told"));
        // All who might come to it are waiting for this.
        world.barrier.reset();
        let successor = start(victim, None)?;
        progress.suspend(|| {
            println!("mended: a new process {victim}, pid {}, begins at generation {generation}", successor.pid());
        });
        children.push(successor);
        world.mended.set();
    }

    for mut child in children {
        let outcome = loop {
            match child.join_timeout(WHILE) {
                Some(outcome) => break outcome,
                None => progress.set_position(world.generation.load(Ordering::Relaxed)),
            }
        };
        outcome??;
    }
    progress.finish_and_clear();
    let mut cells = vec![0; HEIGHT * WIDTH];
    world.cells.read().map_err(text)?.read_slice((end % 2) as usize * HEIGHT * WIDTH, &mut cells);
    print!("{}", picture(&cells));
    println!("generation: {}", world.generation.load(Ordering::Relaxed));
    println!("alive: {} cells", cells.iter().filter(|cell| **cell == 1).count());
    Ok(())
}

/// How long to wait before looking at something else.
const WHILE: Duration = Duration::from_millis(100);

fn all_alive(children: &[JoinHandle<Result<(), String>>]) -> Result<(), &'static str> {
    match children.iter().all(JoinHandle::is_alive) {
        true => Ok(()),
        false => Err("a process has ended too early: somebody else may have killed it"),
    }
}

fn seed() -> Vec<u8> {
    let mut cells = vec![0; HEIGHT * WIDTH];
    for (column, row, figure) in SEED {
        for (line, text) in figure.iter().enumerate() {
            for (target, cell) in cells[(row + line) * WIDTH + column..].iter_mut().zip(text.bytes()) {
                *target = u8::from(cell == b'#');
            }
        }
    }
    cells
}

/// Two rows of cells in each line.
fn picture(cells: &[u8]) -> String {
    let edge = format!("+{}+\n", "-".repeat(WIDTH));
    let line = |rows: &[u8]| {
        let (upper, lower) = rows.split_at(WIDTH);
        let both = upper.iter().zip(lower).map(|pair| match pair {
            (0, 0) => ' ',
            (_, 0) => '▀',
            (0, _) => '▄',
            _ => '█',
        });
        format!("|{}|\n", both.collect::<String>())
    };
    edge.clone() + &cells.chunks(2 * WIDTH).map(line).collect::<String>() + &edge
}

/// Several processes play the game of life in lock-step.
#[derive(Parser)]
struct Arguments {
    /// How many processes share the rows of the world.
    #[arg(long, default_value_t = 4, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=HEIGHT as u64))]
    processes: usize,
    /// How many generations.
    #[arg(long, default_value_t = 1200, value_parser = clap::value_parser!(u64).range(1..))]
    generations: u64,
    /// Kill one of them in the middle of a generation, and let another one take its place.
    #[arg(long)]
    kill_one: bool,
}
