//! How many instructions each operation of the queues, of the locks and of the pipes executes, with a limit for each: what `ci/instructions` runs under callgrind.
//!
//! `instructions --list` prints, for each operation, its name, how many calls to make, and its limit. `instructions NAME CALLS` makes so many calls of
//! one operation, and the same preparations whatever their number; so a run of 2 N calls executes, beyond a run of N, N times what one call does
//! and nothing else. Without arguments, or with those of `cargo bench`, it calls every operation a few times, to show that they work.

#[path = "sync/operations.rs"]
mod locks;
#[path = "queue/operations.rs"]
mod operations;
#[path = "pipe/operations.rs"]
mod pipes;
mod repeat;

use operations::Measure;
use repeat::Repeat;
use std::env;
use std::fmt::Display;
use std::hint::black_box;
use std::process::ExitCode;

/// Calls that a count is taken over, where the size of a queue does not say otherwise. A multiple of all that happens now and then: every 16th message, and
/// each time round a queue of 1024.
const CALLS: usize = 1024;

/// The most instructions that a call of an operation may take: what it takes today, and about 15 % for other compilers. (rustc 1.95
/// and a nightly 1.97 differ by 1 %, and the same compiler by up to 20 % with the number of codegen units, which `ci/instructions` therefore sets.)
/// Less than half of its limit is an error too: what takes so much less than it did is either not done any more or deserves a lower limit.
const LIMITS: &[(&str, u64)] = &[
    ("nothing, the loop alone", 5),
    ("spsc try_send and try_recv, peers 1", 150),
    ("spsc try_send and try_recv, peers 8", 150),
    ("spsc try_send and try_recv, peers 64", 150),
    ("spsc send and recv", 150),
    ("spsc try_send_slice and try_recv_slice, 8", 310),
    ("spsc try_send_slice and try_recv_slice, 32", 400),
    ("spsc try_send_slice and try_recv_slice, 256", 1300),
    ("spsc try_send", 28),
    ("spsc try_recv", 35),
    ("spsc try_send_slice, 32", 155),
    ("spsc try_recv_slice, 32", 190),
    ("spsc try_send, full", 110),
    ("spsc try_recv, empty", 110),
    ("spsc reserve and commit, lease and ack, 1", 150),
    ("spsc reserve and commit, 32", 515),
    ("spsc lease and ack, 32", 195),
    ("spsc claim and leave the sender, places 1", 290),
    ("spsc claim and leave the sender, places 64", 725),
    ("mpmc try_send and try_recv, peers 1", 185),
    ("mpmc try_send and try_recv, peers 8", 185),
    ("mpmc try_send and try_recv, peers 64", 185),
    ("mpmc send and recv", 190),
    ("mpmc try_send_slice and try_recv_slice, 8", 1000),
    ("mpmc try_send_slice and try_recv_slice, 32", 2300),
    ("mpmc try_send_slice and try_recv_slice, 256", 18000),
    ("mpmc try_send", 81),
    ("mpmc try_recv", 110),
    ("mpmc try_send_slice, 32", 980),
    ("mpmc try_recv_slice, 32", 1350),
    ("mpmc try_send, full", 101),
    ("mpmc try_recv, empty", 160),
    ("mpmc send, recv_task and done", 250),
    ("mpmc join, empty, capacity 1024", 11000),
    ("mpmc len, half full", 69),
    ("mpmc is_empty, half full", 50),
    ("mpmc is_full, half full", 43),
    ("mpmc statistics, half full, capacity 1024", 27500),
    ("mpmc clone and drop a sender", 175),
    ("mpmc clone and drop a receiver", 175),
    ("buffer loan and send, recv and ack, 64 B", 480),
    ("buffer loan and send, recv and ack, 1 MiB", 475),
    ("buffer loan and send, 8 B", 285),
    ("buffer recv and ack, 8 B", 170),
    ("buffer try_loan, full, 16383 that wait", 525),
    ("buffer recv and nack, 8 B", 500),
    ("buffer send_value and value, a number and a string", 800),
    ("buffer statistics, 1024 buffers", 6600),
    ("select over 3 mpmc queues, one ready", 680),
    ("semaphore acquire and release, peers 1", 73),
    ("semaphore acquire and release, peers 8", 73),
    ("semaphore acquire and release, peers 64", 73),
    ("semaphore acquire and release, the last of 64", 73),
    ("semaphore acquire_many and release, 8 of 64", 1050),
    ("semaphore try_acquire, no permit", 55),
    ("counting semaphore post and acquire", 73),
    ("counting semaphore post_many and acquire_many, 8", 86),
    ("mutex lock, change and unlock, peers 1", 76),
    ("mutex lock, change and unlock, peers 8", 76),
    ("mutex lock, change and unlock, peers 64", 76),
    ("mutex lock, look and unlock", 66),
    ("mutex lock, change and unlock, 256 B", 370),
    ("mutex try_lock, locked", 37),
    ("rw lock read and unlock, peers 1", 75),
    ("rw lock read and unlock, peers 8", 75),
    ("rw lock read and unlock, peers 64", 75),
    ("rw lock write and unlock, places 1", 105),
    ("rw lock write and unlock, places 64", 615),
    ("rw lock read and unlock, 256 B", 205),
    ("array read, get and unlock", 113),
    ("array write, set and unlock", 600),
    ("array read, get 64 times and unlock", 2100),
    ("array read, read_slice and unlock, 64", 460),
    ("event is_set", 14),
    ("event set and clear", 50),
    ("event count notify, nobody asleep", 9),
    ("condvar notify_one, nobody waits", 58),
    ("barrier wait, alone", 120),
    ("once lock get", 17),
    ("shared fetch_add", 14),
    ("pipe write and read, 8 B, peers 1", 435),
    ("pipe write and read, 64 B, peers 1", 450),
    ("pipe write and read, 64 B, peers 8", 450),
    ("pipe write and read, 64 B, peers 64", 450),
    ("pipe write and read, 4 KiB, peers 1", 2425),
    ("pipe write and read, 64 KiB, peers 1", 32100),
    ("pipe try_read, empty", 155),
    ("pipe try_write, full", 160),
    ("pipe reserve and commit, fill_buf and consume, 64 B", 290),
    ("pipe reserve and commit, fill_buf and consume, 16 KiB", 295),
    ("connection send_bytes and recv_bytes_into, 0 B, peers 1", 595),
    ("connection send_bytes and recv_bytes_into, 64 B, peers 1", 690),
    ("connection send_bytes and recv_bytes_into, 64 B, peers 8", 690),
    ("connection send_bytes and recv_bytes_into, 64 B, peers 64", 690),
    ("connection send_bytes and recv_bytes_into, 4 KiB, peers 1", 2680),
    ("connection send_bytes and recv_bytes, 64 B", 945),
    ("connection try_recv_bytes_into, empty", 140),
    ("connection send and recv, a struct of three numbers", 1815),
];

/// None for an operation that has no limit yet, so that its count can be seen; which is then above it.
fn limit(name: &str) -> u64 {
    LIMITS.iter().find(|(limited, _)| *limited == name).map_or(0, |(_, limit)| *limit)
}

/// What to do with the operations.
enum Task {
    List,
    Call { name: String, calls: usize },
    Try,
}

struct Instructions {
    task: Task,
    met: Vec<String>,
}

impl Repeat for Instructions {
    fn repeat<S, R>(&mut self, name: impl Display, state: impl Fn() -> S, call: impl FnMut(&mut S) -> R) {
        self.stretch(name, 2 * CALLS, state, |_| (), call);
    }
}

impl Measure for Instructions {
    fn stretch<S, R>(
        &mut self,
        name: impl Display,
        most: usize,
        state: impl Fn() -> S,
        mut prepare: impl FnMut(&mut S),
        mut call: impl FnMut(&mut S) -> R,
    ) {
        let name = name.to_string();
        let calls = match &self.task {
            Task::List => {
                println!("{name}\t{}\t{}", most / 2, limit(&name));
                0
            }
            Task::Call { name: wanted, calls } if *wanted == name => *calls,
            Task::Call { .. } => 0,
            Task::Try => 3,
        };
        self.met.push(name);
        if calls > 0 {
            assert!(calls <= most, "the queue is too small for so many calls");
            let mut state = state();
            prepare(&mut state);
            for _ in 0..calls {
                black_box(call(black_box(&mut state)));
            }
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let task = match arguments.as_slice() {
        [list] if list == "--list" => Task::List,
        [name, calls] if !name.starts_with("--") && !calls.starts_with("--") => {
            Task::Call { name: name.clone(), calls: calls.parse().expect("the second argument is a number") }
        }
        _ => Task::Try,
    };
    let mut instructions = Instructions { task, met: Vec::new() };
    operations::all(&mut instructions);
    locks::all(&mut instructions);
    pipes::all(&mut instructions);
    let met = instructions.met;
    if let Task::Call { name, .. } = &instructions.task
        && !met.contains(name)
    {
        eprintln!("no operation is called \"{name}\"");
        return ExitCode::FAILURE;
    }
    if let Some((name, _)) = LIMITS.iter().find(|(name, _)| !met.iter().any(|met| met == name)) {
        eprintln!("there is a limit for \"{name}\", and no such operation");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
