//! What a pool makes of tasks that fail, and of workers that die: each costs its own task, and nothing is left behind.
#![cfg(feature = "hook")]

use rustix::process::{Pid, Signal, kill_process};
use shmkit_pool::{Pool, TaskError};
use shmkit_process::spawn;
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{ScopedJoinHandle, yield_now};
use tempfile::TempDir;

fn kill(pid: u32) {
    kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::KILL).unwrap();
}

fn kill_myself() {
    kill(std::process::id());
}

fn double(x: u64) -> u64 {
    x * 2
}

/// Checks that a pool does what it is for.
fn works(pool: &Pool) {
    let results: Result<Vec<_>, _> = pool.map(double, 0..100).collect();
    assert!(results.unwrap().into_iter().eq((0..100).map(double)));
}

/// Waits until the pool has `count` workers, none of which is one of `dead`; gives them.
fn await_workers(pool: &Pool, count: usize, dead: &[u32]) -> Vec<u32> {
    loop {
        let pids = pool.worker_pids();
        if pids.len() == count && pids.iter().all(|pid| !dead.contains(pid)) {
            return pids;
        }
        yield_now();
    }
}

/// Where tasks report that they have begun.
struct Meeting {
    listener: UnixListener,
    directory: TempDir,
}

impl Meeting {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("socket")).unwrap();
        Self { listener, directory }
    }

    fn place(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    /// The process of the next task that has begun, and the connection that lets it go on when it is dropped.
    fn meet(&self) -> (u32, UnixStream) {
        let mut stream = self.listener.accept().unwrap().0;
        let mut pid = [0; 4];
        stream.read_exact(&mut pid).unwrap();
        (u32::from_ne_bytes(pid), stream)
    }
}

/// Reports that a task has begun, and waits until it is let go.
fn arrive(place: &Path) {
    let mut stream = UnixStream::connect(place).unwrap();
    stream.write_all(&std::process::id().to_ne_bytes()).unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
}

/// Runs tasks of which each third ends its worker in the way that `end` names, and says how those ended.
fn ends_of(end: &str) -> Vec<ExitStatus> {
    fn task((x, end): (u64, String)) -> u64 {
        match end.as_str() {
            _ if x % 3 != 1 => {}
            "exit" => std::process::exit(3),
            "success" => std::process::exit(0),
            "abort" => std::process::abort(),
            "kill" => kill_myself(),
            other => panic!("{other}"),
        }
        x * 2
    }
    let pool = Pool::new(3).unwrap();
    let mut dead = BTreeSet::new();
    let mut statuses = Vec::new();
    for (x, result) in (0..24).zip(pool.map(task, (0..24).map(|x| (x, end.to_owned())))) {
        match result {
            Ok(value) => assert!(value == x * 2 && x % 3 != 1),
            Err(TaskError::WorkerDied { pid, status }) => {
                assert_eq!(x % 3, 1);
                assert!(dead.insert(pid), "{pid} died twice");
                statuses.push(status.expect("it was this process's child"));
            }
            Err(other) => panic!("{x}: {other}"),
        }
    }
    assert_eq!(statuses.len(), 8);
    // Replaced, as many as before.
    await_workers(&pool, 3, &Vec::from_iter(dead));
    works(&pool);
    statuses
}

#[test]
fn a_task_that_exits_costs_itself_alone_and_its_code_is_told() {
    assert!(ends_of("exit").iter().all(|status| status.code() == Some(3)));
}

#[test]
fn a_task_that_exits_in_peace_has_no_result_either() {
    assert!(ends_of("success").iter().all(|status| status.code() == Some(0)));
}

#[test]
fn a_task_that_aborts_costs_itself_alone_and_its_signal_is_told() {
    assert!(ends_of("abort").iter().all(|status| status.signal() == Some(6)));
}

#[test]
fn a_task_that_is_killed_costs_itself_alone_and_its_signal_is_told() {
    assert!(ends_of("kill").iter().all(|status| status.signal() == Some(9)));
}

#[test]
fn a_task_that_panics_costs_itself_alone_and_its_message_and_place_are_told() {
    const LINE: u32 = line!() + 2;
    fn picky(x: u64) -> u64 {
        assert!(x % 3 != 1, "no {x} please");
        x * 2
    }
    let pool = Pool::new(2).unwrap();
    let workers = pool.worker_pids();
    for (x, result) in (0..30).zip(pool.map(picky, 0..30)) {
        match result {
            Ok(value) => assert_eq!(value, x * 2),
            Err(TaskError::Panicked { message, location }) => {
                assert_eq!(message, format!("no {x} please"));
                let location = location.unwrap();
                assert!(location.starts_with(&format!("{}:{LINE}:", file!())), "{location}");
            }
            Err(other) => panic!("{other}"),
        }
    }
    // The workers go on.
    assert_eq!(pool.worker_pids(), workers);
}

#[test]
fn a_panic_message_of_any_length_is_told() {
    let pool = Pool::new(1).unwrap();
    let outcome = pool.map(|n: usize| -> () { resume_unwind(Box::new("x".repeat(n))) }, [1_000_000]).next();
    let Some(Err(TaskError::Panicked { message, .. })) = outcome else { panic!() };
    assert!(message == "x".repeat(1_000_000));
}

#[test]
fn the_death_of_a_worker_that_another_process_kills_costs_its_task_alone() {
    let meeting = Meeting::new();
    let pool = Pool::new(2).unwrap();
    let before = pool.worker_pids();
    // One task stays and is killed over; the others are done by the other worker.
    let task = |(place, x): (Option<PathBuf>, u64)| {
        place.as_deref().into_iter().for_each(arrive);
        x
    };
    let input = (0..20).map(|x| ((x == 5).then(|| meeting.place()), x));
    let mut map = pool.map(task, input);
    let mut results: Vec<_> = map.by_ref().take(5).collect();
    let (pid, connection) = meeting.meet();
    kill(pid);
    results.extend(map);
    drop(connection);
    for (x, result) in (0..20).zip(results) {
        match result {
            Ok(value) => assert_eq!(value, x),
            Err(TaskError::WorkerDied { pid: dead, status }) => {
                assert_eq!((x, dead, status.and_then(|status| status.signal())), (5, pid, Some(9)));
            }
            Err(other) => panic!("{other}"),
        }
    }
    let after = await_workers(&pool, 2, &[pid]);
    assert_eq!(after.iter().filter(|pid| before.contains(pid)).count(), 1);
    works(&pool);
}

#[test]
fn all_workers_killed_over_their_tasks_cost_these_tasks_alone() {
    const WORKERS: usize = 3;
    for _ in 0..3 {
        let meeting = Meeting::new();
        let pool = Pool::new(WORKERS).unwrap();
        let before = pool.worker_pids();
        let task = |(place, x): (Option<PathBuf>, u64)| {
            place.as_deref().into_iter().for_each(arrive);
            x
        };
        let input = (0..30).map(|x| ((x < WORKERS as u64).then(|| meeting.place()), x));
        let results: Vec<_> = std::thread::scope(|scope| {
            let mapping = scope.spawn(|| pool.map(task, input).collect());
            let met: Vec<_> = (0..WORKERS).map(|_| meeting.meet()).collect();
            met.iter().for_each(|&(pid, _)| kill(pid));
            mapping.join().unwrap()
        });
        let mut dead = Vec::new();
        for (x, result) in (0..30).zip(results) {
            match result {
                Ok(value) => assert!(value == x && x >= WORKERS as u64),
                Err(TaskError::WorkerDied { pid, status }) => {
                    assert!(x < WORKERS as u64);
                    assert_eq!(status.and_then(|status| status.signal()), Some(9));
                    dead.push(pid);
                }
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(BTreeSet::from_iter(&dead), BTreeSet::from_iter(&before));
        await_workers(&pool, WORKERS, &dead);
        works(&pool);
    }
}

#[test]
fn workers_killed_while_they_have_nothing_to_do_cost_nothing() {
    let pool = Pool::new(2).unwrap();
    for round in 0..10 {
        works(&pool);
        let before = pool.worker_pids();
        before.iter().take(1 + round % 2).for_each(|&pid| kill(pid));
        works(&pool);
        await_workers(&pool, 2, &before[..1 + round % 2]);
    }
}

#[test]
fn workers_killed_before_their_first_task_cost_nothing() {
    for _ in 0..5 {
        let pool = Pool::new(2).unwrap();
        let before = pool.worker_pids();
        before.iter().for_each(|&pid| kill(pid));
        works(&pool);
        await_workers(&pool, 2, &before);
    }
}

/// Killed from outside before it has come up, a worker says nothing about the program, and the next one is started.
#[test]
fn workers_killed_again_and_again_before_they_come_up_do_not_end_the_pool() {
    let pool = Pool::new(2).unwrap();
    let mut killed = vec![pool.map(|()| std::process::id(), [()]).next().unwrap().unwrap()];
    while killed.len() < 100 {
        for pid in pool.worker_pids().into_iter().filter(|pid| !killed.contains(pid)).collect::<Vec<_>>() {
            // It may have ended and been replaced meanwhile.
            let _ = kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::KILL);
            killed.push(pid);
        }
        yield_now();
    }
    works(&pool);
}

#[test]
fn a_pool_ends_when_its_workers_have_just_been_killed() {
    for _ in 0..10 {
        let pool = Pool::new(3).unwrap();
        pool.worker_pids().into_iter().for_each(kill);
    }
}

#[test]
fn a_pool_ends_though_a_task_of_it_that_nobody_waits_for_kills_its_worker() {
    let pool = Pool::new(2).unwrap();
    drop(
        pool.map(
            |x: u64| {
                if x > 0 {
                    kill_myself()
                }
            },
            0..10,
        )
        .next(),
    );
}

/// Dies as often as it finds no file of the next number, and says how often it has begun.
fn die_at_first((directory, deaths): (PathBuf, u32)) -> u32 {
    let begun = (0..).find(|n| File::create_new(directory.join(n.to_string())).is_ok()).unwrap();
    if begun < deaths {
        kill_myself();
    }
    begun + 1
}

#[test]
fn a_task_whose_worker_died_is_begun_again_as_often_as_the_retries_say() {
    for (retries, deaths) in [(0, 0), (1, 0), (1, 1), (3, 3), (0, 1), (1, 2), (2, 9)] {
        let directory = tempfile::tempdir().unwrap();
        let pool = Pool::builder().workers(2).retries(retries).build().unwrap();
        let outcome = pool.map(die_at_first, [(directory.path().to_owned(), deaths)]).next().unwrap();
        if deaths <= retries {
            assert_eq!(outcome.unwrap(), deaths + 1);
        } else {
            let Err(TaskError::WorkerDied { status, .. }) = outcome else { panic!("{outcome:?}") };
            assert_eq!(status.and_then(|status| status.signal()), Some(9));
        }
        assert_eq!(fs::read_dir(&directory).unwrap().count() as u32, deaths.min(retries) + 1);
        works(&pool);
    }
}

#[test]
fn a_task_that_panics_is_not_begun_again() {
    fn note_and_panic(file: PathBuf) {
        OpenOptions::new().create(true).append(true).open(file).unwrap().write_all(b"x").unwrap();
        panic!("after all");
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("notes");
    let pool = Pool::builder().workers(1).retries(3).build().unwrap();
    let outcome = pool.map(note_and_panic, [file.clone()]).next();
    assert!(matches!(outcome, Some(Err(TaskError::Panicked { .. }))));
    assert_eq!(fs::read(&file).unwrap(), b"x");
}

#[test]
fn large_results_arrive_whole_though_workers_die_in_between() {
    let task = |x: u64| {
        if x % 4 == 1 {
            kill_myself();
        }
        vec![x as u8; 1 << 20]
    };
    let pool = Pool::new(2).unwrap();
    for (x, result) in (0..20).zip(pool.map(task, 0..20)) {
        match result {
            Ok(bytes) => assert!(x % 4 != 1 && bytes == vec![x as u8; 1 << 20]),
            Err(TaskError::WorkerDied { .. }) => assert_eq!(x % 4, 1),
            Err(other) => panic!("{other}"),
        }
    }
}

/// Doubles, and says who did it.
fn double_and_sign(x: u64) -> (u64, u32) {
    (x * 2, std::process::id())
}

/// Kills workers that have come up, while `mapping` runs and tells by `seen` who did its last task; gives their number.
fn kill_while<R>(mapping: &ScopedJoinHandle<'_, R>, pool: &Pool, seen: &AtomicU32) -> usize {
    let mut dead = vec![0];
    while !mapping.is_finished() && dead.len() <= 60 {
        let pid = seen.load(Ordering::Relaxed);
        if !dead.contains(&pid) && pool.worker_pids().contains(&pid) {
            kill(pid);
            dead.push(pid);
        }
        yield_now();
    }
    dead.len() - 1
}

#[test]
fn every_task_has_its_result_while_workers_are_killed_at_any_moment_and_retries_allow_for_it() {
    let pool = Pool::builder().workers(2).retries(100).build().unwrap();
    let seen = AtomicU32::new(0);
    std::thread::scope(|scope| {
        let mapping = scope.spawn(|| {
            let mut expected = (0..20_000).map(double);
            for result in pool.map(double_and_sign, 0..20_000) {
                let (value, pid) = result.unwrap();
                seen.store(pid, Ordering::Relaxed);
                assert_eq!(Some(value), expected.next());
            }
            assert_eq!(expected.next(), None);
        });
        kill_while(&mapping, &pool, &seen);
        mapping.join().unwrap();
    });
    works(&pool);
}

#[test]
fn no_more_tasks_are_lost_than_workers_while_workers_are_killed_at_any_moment() {
    let pool = Pool::new(2).unwrap();
    let seen = AtomicU32::new(0);
    std::thread::scope(|scope| {
        let mapping = scope.spawn(|| {
            let lost = |(x, result): (u64, Result<(u64, u32), TaskError>)| match result {
                Ok((value, pid)) => {
                    seen.store(pid, Ordering::Relaxed);
                    assert_eq!(value, double(x));
                    false
                }
                Err(TaskError::WorkerDied { status, .. }) => {
                    assert_eq!(status.and_then(|status| status.signal()), Some(9));
                    true
                }
                Err(other) => panic!("{other}"),
            };
            (0..20_000).zip(pool.map(double_and_sign, 0..20_000)).map(lost).filter(|&lost| lost).count()
        });
        let dead = kill_while(&mapping, &pool, &seen);
        assert!(mapping.join().unwrap() <= dead);
    });
    works(&pool);
}

#[test]
fn workers_end_when_the_process_of_their_pool_is_killed() {
    fn make_a_pool_and_stay(place: PathBuf) {
        let pool = Pool::new(3).unwrap();
        // A worker each, and none of them comes back.
        pool.map(|place: PathBuf| arrive(&place), [(); 3].map(|()| place.clone())).for_each(drop);
    }
    let meeting = Meeting::new();
    let child = spawn(make_a_pool_and_stay, meeting.place()).unwrap();
    let workers = [(); 3].map(|()| meeting.meet().1);
    child.kill().unwrap();
    assert!(child.join().is_err());
    for mut worker in workers {
        // The end of the stream is the end of the process that held the other end.
        assert_eq!(worker.read(&mut [0]).unwrap_or(0), 0);
    }
}

/// The children of this process, and its open descriptors but for the one used to find out.
fn possessions() -> (Vec<String>, BTreeSet<(String, PathBuf)>) {
    let tasks = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    // A thread may just have ended.
    let children = tasks.filter_map(|task| fs::read_to_string(task.join("children")).ok()).collect::<String>();
    let descriptors = fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap());
    let named = descriptors.filter_map(|entry| {
        let target = fs::read_link(entry.path()).ok()?;
        (!target.starts_with("/proc")).then(|| (entry.file_name().into_string().unwrap(), target))
    });
    (children.split_whitespace().map(str::to_owned).collect(), named.collect())
}

#[test]
fn a_pool_that_is_gone_has_left_no_process_and_no_descriptor() {
    // In a process of its own, where no other test makes either.
    let compare = |()| {
        let use_a_pool = |killing: bool| {
            let pool = Pool::new(3).unwrap();
            assert!(possessions().0.len() >= 3);
            works(&pool);
            if killing {
                let outcomes: Vec<_> = pool
                    .map(
                        |x: u64| {
                            if x.is_multiple_of(2) {
                                kill_myself()
                            }
                        },
                        0..8,
                    )
                    .collect();
                assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 4);
                pool.worker_pids().into_iter().for_each(kill);
            }
            drop(pool.map(double, 0..1000).next());
        };
        // What all pools share is made with the first.
        use_a_pool(false);
        let before = possessions();
        (0..10).for_each(|round| use_a_pool(round % 2 == 1));
        (before, possessions())
    };
    let (before, after) = spawn(compare, ()).unwrap().join().unwrap();
    assert!(before.0.is_empty());
    assert_eq!(before, after);
}

#[test]
fn a_pool_is_dropped_while_its_thread_panics() {
    let unwinding = std::panic::catch_unwind(|| {
        let pool = Pool::new(2).unwrap();
        let _map = pool.map(double, 0..100).next();
        panic!("with a pool");
    });
    assert!(unwinding.is_err());
}
