//! `Pool::map` while nothing goes wrong in the workers: order, laziness, sizes, and several who use one pool.
#![cfg(feature = "hook")]

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use shmkit_pool::{Pool, PoolError, TaskError};
use shmkit_queue::mpmc;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How many tasks a pool of up to four workers has under way at most.
const WINDOW: u64 = 16;

fn double(x: u64) -> u64 {
    x * 2
}

/// Checks that a pool does what it is for.
fn works(pool: &Pool) {
    let results: Result<Vec<_>, _> = pool.map(double, 0..100).collect();
    assert!(results.unwrap().into_iter().eq((0..100).map(double)));
}

#[test]
fn results_come_in_the_order_of_the_arguments() {
    // The first of each four takes longest.
    fn slow(x: u64) -> u64 {
        let work = if x.is_multiple_of(4) { 200_000 } else { 10 };
        std::hint::black_box((0..work).fold(0, |a: u64, b| a ^ std::hint::black_box(b)));
        x
    }
    for workers in [1, 2, 4] {
        let pool = Pool::new(workers).unwrap();
        let results: Result<Vec<_>, _> = pool.map(slow, 0..200).collect();
        assert!(results.unwrap().into_iter().eq(0..200));
    }
}

#[test]
fn functions_closures_and_generic_functions_are_called_with_all_kinds_of_values() {
    fn name<T: 'static>(_: ()) -> String {
        std::any::type_name::<T>().to_owned()
    }
    let pool = Pool::new(2).unwrap();
    works(&pool);
    let joined = pool.map(|(a, b): (String, Vec<i32>)| format!("{a}{b:?}"), [("x".to_owned(), vec![1, -2])]);
    assert_eq!(joined.map(Result::unwrap).collect::<Vec<_>>(), ["x[1, -2]"]);
    assert_eq!(pool.map(name::<u8>, [()]).next().unwrap().unwrap(), "u8");
    assert_eq!(pool.map(name::<Option<i8>>, [()]).next().unwrap().unwrap(), std::any::type_name::<Option<i8>>());
    let nothing: Vec<_> = pool.map(|()| (), [(); 5]).map(Result::unwrap).collect();
    assert_eq!(nothing.len(), 5);
    // A result that is an error itself is a result.
    let halves: Vec<_> = pool
        .map(|x: u32| if x.is_multiple_of(2) { Ok(x / 2) } else { Err("odd".to_owned()) }, [4, 5])
        .map(Result::unwrap)
        .collect();
    assert_eq!(halves, [Ok(2), Err("odd".to_owned())]);
}

#[test]
fn tasks_run_in_the_workers() {
    let pool = Pool::new(3).unwrap();
    let workers = BTreeSet::from_iter(pool.worker_pids());
    assert_eq!(workers.len(), 3);
    let ran: BTreeSet<u32> = pool.map(|()| std::process::id(), [(); 500]).map(Result::unwrap).collect();
    assert!(!ran.is_empty() && ran.is_subset(&workers) && !ran.contains(&std::process::id()));
}

#[test]
fn no_input_gives_no_result() {
    let pool = Pool::new(1).unwrap();
    assert!(pool.map(double, []).next().is_none());
    works(&pool);
}

#[test]
fn a_pool_that_is_not_used_ends() {
    drop(Pool::new(3).unwrap());
}

#[test]
fn arguments_are_taken_as_results_are_asked_for() {
    let pool = Pool::new(2).unwrap();
    let taken = Cell::new(0);
    let mut map = pool.map(double, (0_u64..).inspect(|_| taken.set(taken.get() + 1)));
    assert_eq!(taken.get(), 0);
    for x in 0..1000 {
        assert_eq!(map.next().unwrap().unwrap(), double(x));
        assert!(taken.get() <= x + WINDOW, "{} arguments were taken for {x} results", taken.get());
    }
}

#[test]
fn the_size_hint_counts_what_is_under_way() {
    let pool = Pool::new(1).unwrap();
    let mut map = pool.map(double, 0..40_u64);
    for left in (0..=40).rev() {
        assert_eq!(map.size_hint(), (left, Some(left)));
        assert_eq!(map.next().is_some(), left > 0);
    }
    assert!(map.next().is_none());
    assert_eq!(pool.map(double, 0..).size_hint(), (usize::MAX, None));
}

#[test]
fn a_hundred_thousand_small_tasks_are_done() {
    let pool = Pool::new(2).unwrap();
    let mut expected = (0..100_000).map(double);
    for result in pool.map(double, 0..100_000) {
        assert_eq!(Some(result.unwrap()), expected.next());
    }
    assert_eq!(expected.next(), None);
}

#[test]
fn results_of_sixteen_mebibytes_arrive_whole() {
    fn large(seed: u8) -> String {
        char::from(b'a' + seed).to_string().repeat(16 << 20)
    }
    let pool = Pool::new(2).unwrap();
    let mut seeds = 0..3;
    for result in pool.map(large, 0..3) {
        assert!(result.unwrap() == large(seeds.next().unwrap()));
    }
    assert!(seeds.is_empty());
    works(&pool);
}

#[test]
fn results_of_every_length_around_a_piece_arrive_whole() {
    let pool = Pool::builder().workers(2).task_limit(64).build().unwrap();
    let bytes = |length: usize| (0..length).map(|at| (at * 7 + length) as u8).collect::<Vec<_>>();
    // Pieces are of at least a kibibyte.
    let lengths = || (0..20).chain(1000..1050).chain(2030..2060).chain([10_000]);
    let results =
        pool.map(|length: usize| (0..length).map(|at| (at * 7 + length) as u8).collect::<Vec<_>>(), lengths());
    assert!(results.map(Result::unwrap).eq(lengths().map(bytes)));
}

#[test]
fn an_argument_that_is_too_large_is_an_error_and_the_others_go_on() {
    let pool = Pool::builder().workers(2).task_limit(1000).build().unwrap();
    // Two bytes say how long it is.
    let lengths = [0, 998, 999, 5, 100_000, 998];
    let results = pool.map(|bytes: Vec<u8>| bytes.len(), lengths.map(|length| vec![1; length]));
    for (length, result) in lengths.into_iter().zip(results) {
        match result {
            Ok(found) => assert!(found == length && length <= 998),
            Err(TaskError::ArgumentTooLarge { length: found, limit }) => {
                assert!(length > 998 && found > length && limit == 1000, "{found} {limit}");
            }
            Err(other) => panic!("{other}"),
        }
    }
    works(&pool);
}

#[test]
fn an_argument_of_the_largest_size_is_counted_without_what_surrounds_it() {
    let pool = Pool::builder().workers(1).task_limit(8).build().unwrap();
    let lengths = pool.map(|text: String| text.len(), ["1234567", "12345678"].map(str::to_owned));
    let lengths: Vec<_> = lengths.collect();
    assert!(matches!(lengths[0], Ok(7)), "{lengths:?}");
    assert!(matches!(lengths[1], Err(TaskError::ArgumentTooLarge { length: 9, limit: 8 })), "{lengths:?}");
}

#[test]
fn several_threads_map_over_one_pool() {
    let pool = Pool::new(2).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let pool = &pool;
            scope.spawn(move || {
                let input = (0..2000).map(|x| (thread, x));
                let results = pool.map(|(a, b): (u64, u64)| a * 10_000 + b, input);
                assert!(results.map(Result::unwrap).eq((0..2000).map(|x| thread * 10_000 + x)));
            });
        }
    });
}

#[test]
fn several_threads_get_large_results_from_one_pool() {
    let pool = Pool::new(2).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            let pool = &pool;
            scope.spawn(move || {
                let results = pool.map(|(seed, length): (u8, usize)| vec![seed; length], [(thread, 1 << 20); 4]);
                assert!(results.map(Result::unwrap).eq([(); 4].map(|()| vec![thread; 1 << 20])));
            });
        }
    });
}

#[test]
fn one_thread_takes_from_several_maps_in_turn() {
    let pool = Pool::new(2).unwrap();
    let mut maps = [0, 1, 2].map(|n| pool.map(|(a, b): (u64, u64)| a * 1000 + b, (0..300).map(move |x| (n, x))));
    for x in 0..300 {
        for (n, map) in maps.iter_mut().enumerate() {
            assert_eq!(map.next().unwrap().unwrap(), n as u64 * 1000 + x);
        }
    }
    assert!(maps.iter_mut().all(|map| map.next().is_none()));
}

#[test]
fn a_task_makes_a_pool_of_its_own() {
    fn sum(n: u64) -> u64 {
        let pool = Pool::new(2).unwrap();
        pool.map(double, 0..n).map(Result::unwrap).sum()
    }
    let pool = Pool::new(2).unwrap();
    let sums: Vec<_> = pool.map(sum, [0, 10, 20, 30]).map(Result::unwrap).collect();
    assert_eq!(sums, [0, 90, 380, 870]);
}

#[test]
fn a_map_that_is_dropped_early_leaves_the_pool_usable() {
    let pool = Pool::new(2).unwrap();
    for taken in 0..30 {
        assert!(pool.map(double, 0..1000).take(taken).map(Result::unwrap).eq((0..taken as u64).map(double)));
        works(&pool);
    }
    // With results that fill the queue, and nobody to take them.
    drop(pool.map(|length: usize| vec![1_u8; length], [4 << 20; 10]).next());
    works(&pool);
}

#[test]
fn a_pool_ends_with_tasks_under_way_and_results_that_nobody_takes() {
    for taken in [1, 3] {
        let pool = Pool::new(2).unwrap();
        let mut map = pool.map(|length: usize| vec![1_u8; length], [4 << 20; 16]);
        (0..taken).for_each(|_| assert_eq!(map.next().unwrap().unwrap().len(), 4 << 20));
    }
}

#[test]
fn an_input_that_panics_leaves_the_pool_usable() {
    let pool = Pool::new(2).unwrap();
    for good in [0, 1, 5, 40] {
        let got = Cell::new(0);
        let input = (0..).inspect(|&x| assert!(x < good, "that was the last one"));
        let map = || pool.map(double, input).for_each(|result| got.set(got.get() + result.map(|_| 1).unwrap()));
        assert!(catch_unwind(AssertUnwindSafe(map)).is_err());
        assert!(got.get() <= good);
        works(&pool);
    }
}

#[test]
fn a_map_whose_input_panicked_still_gives_the_results_that_were_under_way() {
    let pool = Pool::new(2).unwrap();
    let mut calls = 0_u64;
    let input = std::iter::from_fn(|| {
        calls += 1;
        assert!(calls != 4, "once");
        (calls < 8).then_some(calls)
    });
    let mut map = pool.map(double, input);
    assert!(catch_unwind(AssertUnwindSafe(|| map.next())).is_err());
    assert_eq!(map.map(Result::unwrap).collect::<Vec<_>>(), [2, 4, 6, 10, 12, 14]);
}

#[test]
fn an_input_that_pauses_is_asked_again() {
    // Not fused: the results that are under way when it pauses still come, in order.
    let pool = Pool::new(1).unwrap();
    let mut calls = 0_u64;
    let mut map = pool.map(
        double,
        std::iter::from_fn(|| {
            calls += 1;
            (!calls.is_multiple_of(3) && calls < 6).then_some(calls)
        }),
    );
    let results: Vec<_> = std::iter::from_fn(|| map.next()).map(Result::unwrap).collect();
    assert_eq!(results, [2, 4, 8, 10]);
}

#[test]
fn a_handle_is_no_argument_and_no_result_of_a_task() {
    let pool = Pool::new(1).unwrap();
    let (sender, _receiver) = mpmc::channel::<u64>(1).unwrap();
    let sent = pool.map(|_: mpmc::Sender<u64>| (), [sender]).next().unwrap();
    assert!(matches!(sent, Err(TaskError::Argument(_))), "{sent:?}");
    let returned = pool.map(|()| mpmc::channel::<u64>(1).unwrap().0, [()]).next().unwrap();
    assert!(matches!(returned, Err(TaskError::Result(_))));
    works(&pool);
}

/// Encodes to nothing, or fails, as it is told; is never decoded.
#[derive(Debug)]
struct Awkward(bool);

impl Serialize for Awkward {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 { Err(serde::ser::Error::custom("cannot be encoded")) } else { serializer.serialize_unit() }
    }
}

impl<'de> Deserialize<'de> for Awkward {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("cannot be decoded"))
    }
}

#[test]
fn arguments_and_results_that_cannot_be_encoded_or_decoded_are_errors_of_their_task() {
    let pool = Pool::new(2).unwrap();
    let arguments: Vec<_> = pool.map(|_: Awkward| (), [Awkward(true), Awkward(false), Awkward(true)]).collect();
    assert!(arguments.iter().all(|outcome| matches!(outcome, Err(TaskError::Argument(_)))), "{arguments:?}");
    let results: Vec<_> = pool.map(|fails: bool| Awkward(fails), [true, false, true]).collect();
    assert!(results.iter().all(|outcome| matches!(outcome, Err(TaskError::Result(_)))), "{results:?}");
    let mixed: Vec<_> = pool
        .map(|fails: bool| if fails { Err(Awkward(true)) } else { Ok(7) }, [false, true, false])
        .map(|outcome| outcome.map(Result::unwrap))
        .collect();
    assert!(matches!(mixed[..], [Ok(7), Err(TaskError::Result(_)), Ok(7)]), "{mixed:?}");
    works(&pool);
}

#[test]
fn numbers_of_workers_and_limits_that_cannot_be_are_errors() {
    assert!(matches!(Pool::new(0), Err(PoolError::Workers { workers: 0, limit: 1024 })));
    assert!(matches!(Pool::new(1025), Err(PoolError::Workers { workers: 1025, limit: 1024 })));
    assert!(matches!(Pool::new(usize::MAX), Err(PoolError::Workers { .. })));
    for limit in [usize::MAX, usize::MAX / 2, 1 << 40] {
        assert!(matches!(Pool::builder().workers(1).task_limit(limit).build(), Err(PoolError::Memory(_))), "{limit}");
    }
}

#[test]
fn a_pool_without_room_for_arguments_runs_tasks_that_need_none() {
    let pool = Pool::builder().workers(1).task_limit(0).build().unwrap();
    let results: Vec<_> = pool.map(|()| 7, [(); 3]).map(Result::unwrap).collect();
    assert_eq!(results, [7, 7, 7]);
    let too_large = pool.map(double, [1]).next().unwrap();
    assert!(matches!(too_large, Err(TaskError::ArgumentTooLarge { length: 1, limit: 0 })), "{too_large:?}");
}
