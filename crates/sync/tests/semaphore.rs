//! The semaphore, seen from outside: among threads and processes, and when one of them is killed.
#![cfg(not(loom))]

mod asleep;
mod company;

use asleep::{asleep_in, await_sleep_of};
use company::{buried, kill, start, stay};
use shmkit_process::spawn;
use shmkit_segment::primitive::{AtomicU64, Ordering};
use shmkit_segment::{At, Configuration, Mapped, Memory, Object, Options, PeerId, Plan, Role, Segment, kind, transfer};
use shmkit_sync::{AcquireError, AcquireTimeoutError, Error, Event, Select, Semaphore, TryAcquireError};
use std::thread::{self, yield_now};
use std::time::{Duration, Instant};

const MOMENT: Duration = Duration::from_millis(2);

/// A number that processes share.
struct Number(Mapped<AtomicU64>);

impl Object for Number {
    const KIND: u32 = kind(b"TEST");
    type Parts = At<AtomicU64>;

    fn payload() -> std::alloc::Layout {
        std::alloc::Layout::new::<u64>()
    }

    fn plan(_: &Configuration, plan: &mut Plan) -> Result<At<AtomicU64>, Error> {
        plan.one()
    }

    fn attach(memory: &Memory, parts: &At<AtomicU64>) -> Self {
        Self(memory.one(*parts))
    }

    fn sweep(&self, _: PeerId, _: PeerId) {}

    fn wake_all(&self) {}
}

impl Number {
    fn shared() -> Role<Number> {
        Options::new().anonymous::<Number>([0; 8]).unwrap().role(0)
    }

    fn of(role: &Role<Number>) -> &AtomicU64 {
        let segment: &Segment<Number> = role.segment();
        &segment.object().0
    }
}

/// Goes in and out; says how many there were inside at most.
fn come_and_go((semaphore, inside, rounds): (Semaphore, Role<Number>, u32)) -> u64 {
    let inside = Number::of(&inside);
    let visit = |_| {
        let _permit = semaphore.acquire().unwrap();
        let found = inside.fetch_add(1, Ordering::Relaxed);
        yield_now();
        inside.fetch_sub(1, Ordering::Relaxed);
        found + 1
    };
    (0..rounds).map(visit).max().unwrap()
}

/// Checks that handles cannot be serialised for another process, and that the reason is told.
fn refused(serialise: impl FnOnce() -> postcard::Result<Vec<u8>>) {
    let (bytes, descriptors) = transfer::sending(serialise);
    assert!(bytes.is_err());
    assert!(matches!(descriptors, Err(Error::NotTransferable(_))));
}

#[test]
fn no_more_processes_than_there_are_permits_are_inside() {
    for permits in [1, 2, 3] {
        let semaphore = Semaphore::new(permits).unwrap();
        let inside = Number::shared();
        let children: Vec<_> =
            (0..4).map(|_| spawn(come_and_go, (semaphore.clone(), inside.clone(), 2_000)).unwrap()).collect();
        for child in children {
            assert!(child.join().unwrap() <= permits as u64);
        }
        assert_eq!(semaphore.available(), permits);
    }
}

#[test]
fn no_more_threads_than_there_are_permits_are_inside() {
    for permits in [1, 2, 3] {
        let semaphore = Semaphore::private(permits).unwrap();
        let inside = Number::shared();
        let threads: Vec<_> = (0..4)
            .map(|_| (semaphore.clone(), inside.clone(), 2_000))
            .map(|arguments| thread::spawn(move || come_and_go(arguments)))
            .collect();
        for thread in threads {
            assert!(thread.join().unwrap() <= permits as u64);
        }
        assert_eq!(semaphore.available(), permits);
    }
}

#[test]
fn one_permit_is_a_lock() {
    fn count((lock, number): (Semaphore, Role<Number>)) {
        let number = Number::of(&number);
        for _ in 0..5_000 {
            let _permit = lock.acquire().unwrap();
            let seen = number.load(Ordering::Relaxed);
            number.store(seen + 1, Ordering::Relaxed);
        }
    }
    let lock = Semaphore::new(1).unwrap();
    let number = Number::shared();
    let children: Vec<_> = (0..4).map(|_| spawn(count, (lock.clone(), number.clone())).unwrap()).collect();
    children.into_iter().for_each(|child| child.join().unwrap());
    assert_eq!(Number::of(&number).load(Ordering::Relaxed), 20_000);
}

#[test]
fn permits_are_taken_until_there_are_none_and_come_back_on_drop() {
    for make in [Semaphore::new, Semaphore::private] {
        let semaphore = make(3).unwrap();
        assert_eq!((semaphore.permits_total(), semaphore.available()), (3, 3));
        for _ in 0..3 {
            let mut permits: Vec<_> = (0..3).map(|_| semaphore.try_acquire().unwrap()).collect();
            assert_eq!(semaphore.available(), 0);
            assert_eq!(semaphore.try_acquire().err(), Some(TryAcquireError::Unavailable));
            drop(permits.remove(1));
            assert_eq!(semaphore.available(), 1);
            permits.push(semaphore.acquire().unwrap());
            assert_eq!(semaphore.try_acquire().err(), Some(TryAcquireError::Unavailable));
        }
        assert_eq!(semaphore.available(), 3);
    }
}

#[test]
fn clones_and_handles_that_were_passed_on_share_the_permits() {
    let semaphore = Semaphore::new(2).unwrap();
    let (bytes, descriptors) = transfer::sending(|| postcard::to_stdvec(&semaphore).unwrap());
    let elsewhere: Semaphore = transfer::receiving(descriptors.unwrap(), || postcard::from_bytes(&bytes).unwrap()).0;
    let clone = semaphore.clone();
    let first = clone.acquire().unwrap();
    let second = elsewhere.acquire().unwrap();
    assert!(semaphore.try_acquire().is_err() && clone.try_acquire().is_err() && elsewhere.try_acquire().is_err());
    drop(first);
    assert!(elsewhere.try_acquire().is_ok());
    drop(second);
    drop(elsewhere);
    assert_eq!((clone.permits_total(), clone.available()), (2, 2));
}

#[test]
fn waiting_for_a_permit_ends_in_time() {
    let semaphore = Semaphore::private(1).unwrap();
    let _permit = semaphore.acquire().unwrap();
    let start = Instant::now();
    assert_eq!(semaphore.acquire_timeout(MOMENT).err(), Some(AcquireTimeoutError::Timeout));
    assert!(start.elapsed() >= MOMENT);
    let deadline = Instant::now() + MOMENT;
    assert_eq!(semaphore.acquire_deadline(deadline).err(), Some(AcquireTimeoutError::Timeout));
    assert!(Instant::now() >= deadline);
    assert_eq!(semaphore.acquire_deadline(start).err(), Some(AcquireTimeoutError::Timeout));
}

#[test]
fn a_permit_that_is_free_is_had_even_if_the_time_is_up() {
    let semaphore = Semaphore::private(1).unwrap();
    assert!(semaphore.acquire_deadline(Instant::now()).is_ok());
    assert!(semaphore.acquire_timeout(Duration::ZERO).is_ok());
    assert!(semaphore.acquire_timeout(Duration::MAX).is_ok());
}

#[test]
fn those_that_sleep_get_the_permits_that_come_back() {
    for _ in 0..50 {
        let semaphore = Semaphore::private(2).unwrap();
        let permits = [semaphore.acquire().unwrap(), semaphore.acquire().unwrap()];
        let sleepers =
            [(); 4].map(|()| semaphore.clone()).map(|semaphore| asleep_in(move || drop(semaphore.acquire().unwrap())));
        drop(permits);
        sleepers.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

#[test]
fn processes_that_sleep_get_the_permits_that_come_back() {
    fn say_so_and_acquire((here, semaphore): (Semaphore, Semaphore)) {
        // The permit of the first says that this process is here; it holds it until it has had one of the other.
        let _here = here.acquire().unwrap();
        drop(semaphore.acquire().unwrap());
    }
    let semaphore = Semaphore::new(1).unwrap();
    let here = Semaphore::new(4).unwrap();
    let permit = semaphore.acquire().unwrap();
    let children = [(); 4].map(|()| spawn(say_so_and_acquire, (here.clone(), semaphore.clone())).unwrap());
    while here.available() > 0 {
        yield_now();
    }
    children.iter().for_each(|child| await_sleep_of(child.pid()));
    drop(permit);
    children.into_iter().for_each(|child| child.join().unwrap());
}

/// Takes a permit and does not give it back.
fn hold((semaphore, never): (Semaphore, Semaphore)) {
    let _permit = semaphore.acquire().unwrap();
    drop(never.acquire().unwrap());
}

#[test]
fn a_process_that_exits_with_a_permit_gives_it_back() {
    let semaphore = Semaphore::new(1).unwrap();
    let child =
        spawn(|semaphore: Semaphore| std::mem::forget(semaphore.acquire().unwrap()), semaphore.clone()).unwrap();
    child.join().unwrap();
    while semaphore.acquire_timeout(MOMENT).is_err() {}
}

#[test]
#[cfg_attr(feature = "portable", ignore = "it kills, and this backend is not kill-safe")]
fn the_permit_of_a_killed_process_comes_back_to_one_that_waits_for_a_time() {
    let semaphore = Semaphore::new(1).unwrap();
    let never = Semaphore::new(1).unwrap();
    let _held = never.acquire().unwrap();
    let child = spawn(hold, (semaphore.clone(), never.clone())).unwrap();
    while semaphore.available() > 0 {
        yield_now();
    }
    assert!(semaphore.acquire_timeout(MOMENT).is_err());
    child.kill().unwrap();
    assert!(child.join().is_err());
    // Each of these looks after the others when it has slept in vain.
    while semaphore.acquire_timeout(MOMENT).is_err() {}
    assert_eq!(semaphore.available(), 1);
}

#[test]
#[cfg_attr(feature = "portable", ignore = "it kills, and this backend is not kill-safe")]
fn all_that_sleep_get_the_permits_of_a_killed_process_whoever_notices() {
    fn hold_all((semaphore, never): (Semaphore, Semaphore)) {
        let _permits = [semaphore.acquire().unwrap(), semaphore.acquire().unwrap(), semaphore.acquire().unwrap()];
        drop(never.acquire().unwrap());
    }
    let semaphore = Semaphore::new(3).unwrap();
    let never = Semaphore::new(1).unwrap();
    let _held = never.acquire().unwrap();
    let child = spawn(hold_all, (semaphore.clone(), never.clone())).unwrap();
    while semaphore.available() > 0 {
        yield_now();
    }
    let sleepers =
        [(); 4].map(|()| semaphore.clone()).map(|semaphore| asleep_in(move || drop(semaphore.acquire().unwrap())));
    child.kill().unwrap();
    assert!(child.join().is_err());
    while semaphore.acquire_timeout(MOMENT).is_err() {}
    sleepers.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(semaphore.available(), 3);
}

#[test]
fn numbers_of_permits_that_cannot_be_are_errors() {
    for permits in [0, 65_537, usize::MAX] {
        for make in [Semaphore::new, Semaphore::private] {
            assert!(matches!(make(permits), Err(Error::Geometry(_))), "{permits}");
        }
    }
    let semaphore = Semaphore::private(65_536).unwrap();
    assert_eq!((semaphore.permits_total(), semaphore.available()), (65_536, 65_536));
}

#[test]
fn private_semaphores_and_ordinary_serialisers_are_refused() {
    let semaphore = Semaphore::private(1).unwrap();
    refused(|| postcard::to_stdvec(&semaphore));
    assert!(postcard::to_stdvec(&Semaphore::new(1).unwrap()).is_err());
    assert!(semaphore.try_acquire().is_ok());
}

/// How many there are inside at most while several permits are taken at a time.
fn come_and_go_in_groups((semaphore, inside, rounds): (Semaphore, Role<Number>, usize)) -> u64 {
    let inside = Number::of(&inside);
    let visit = |round: usize| {
        let count = 1 + round % semaphore.permits_total();
        let permits = semaphore.acquire_many(count).unwrap();
        assert_eq!(permits.count(), count);
        let found = inside.fetch_add(count as u64, Ordering::Relaxed);
        yield_now();
        inside.fetch_sub(count as u64, Ordering::Relaxed);
        found + count as u64
    };
    (0..rounds).map(visit).max().unwrap()
}

#[test]
fn processes_that_take_several_permits_at_a_time_share_them_without_a_deadlock() {
    let semaphore = Semaphore::new(3).unwrap();
    let inside = Number::shared();
    let groups: Vec<_> =
        (0..3).map(|_| spawn(come_and_go_in_groups, (semaphore.clone(), inside.clone(), 1_000)).unwrap()).collect();
    let single = spawn(come_and_go, (semaphore.clone(), inside.clone(), 1_000)).unwrap();
    assert!(groups.into_iter().all(|child| child.join().unwrap() <= 3));
    assert!(single.join().unwrap() <= 3);
    assert_eq!(semaphore.available(), 3);
}

#[test]
fn several_permits_are_had_all_or_none_and_come_back_together() {
    for make in [Semaphore::new, Semaphore::private] {
        let semaphore = make(4).unwrap();
        let three = semaphore.try_acquire_many(3).unwrap();
        assert_eq!((three.count(), semaphore.available()), (3, 1));
        assert_eq!(semaphore.try_acquire_many(2).err(), Some(TryAcquireError::Unavailable));
        assert_eq!(semaphore.acquire_many_timeout(2, MOMENT).err(), Some(AcquireTimeoutError::Timeout));
        assert_eq!(semaphore.acquire_many_deadline(2, Instant::now()).err(), Some(AcquireTimeoutError::Timeout));
        // Who got too few kept none.
        assert_eq!(semaphore.available(), 1);
        assert_eq!(semaphore.acquire_many(0).unwrap().count(), 0);
        drop(three);
        assert_eq!(semaphore.acquire_many_timeout(4, Duration::ZERO).unwrap().count(), 4);
        assert_eq!(semaphore.acquire_many_deadline(4, Instant::now()).unwrap().count(), 4);
        assert_eq!(semaphore.available(), 4);
    }
}

#[test]
fn more_permits_than_there_are_is_an_error_at_once() {
    for make in [Semaphore::new, Semaphore::private] {
        let semaphore = make(2).unwrap();
        for count in [3, usize::MAX] {
            assert_eq!(semaphore.try_acquire_many(count).err(), Some(TryAcquireError::TooMany { limit: 2 }));
            assert_eq!(semaphore.acquire_many(count).err(), Some(AcquireError::TooMany { limit: 2 }));
            let outcome = semaphore.acquire_many_timeout(count, Duration::MAX);
            assert_eq!(outcome.err(), Some(AcquireTimeoutError::TooMany { limit: 2 }));
        }
        assert_eq!(semaphore.available(), 2);
    }
}

#[test]
fn those_that_sleep_for_one_and_those_that_sleep_for_several_do_not_strand_each_other() {
    for _ in 0..50 {
        let semaphore = Semaphore::private(3).unwrap();
        let permits = semaphore.acquire_many(3).unwrap();
        let sleepers = [1, 3, 2, 1].map(|count| (semaphore.clone(), count)).map(|(semaphore, count)| {
            asleep_in(move || match count {
                1 => drop(semaphore.acquire().unwrap()),
                _ => drop(semaphore.acquire_many(count).unwrap()),
            })
        });
        drop(permits);
        sleepers.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(semaphore.available(), 3);
    }
}

#[test]
#[cfg_attr(feature = "portable", ignore = "it kills, and this backend is not kill-safe")]
fn several_permits_of_a_killed_process_come_back_to_one_that_sleeps_for_all() {
    fn hold_two((semaphore, here): (Semaphore, Event)) {
        let _permits = semaphore.acquire_many(2).unwrap();
        stay(&here);
    }
    let (semaphore, here) = (Semaphore::new(3).unwrap(), Event::new().unwrap());
    let child = start(hold_two, (semaphore.clone(), here.clone()));
    here.wait().unwrap();
    assert_eq!(semaphore.available(), 1);
    let sleeper = asleep_in({
        let semaphore = semaphore.clone();
        move || semaphore.acquire_many(3).unwrap().count()
    });
    kill(child);
    buried(semaphore.segment(), 1);
    assert_eq!((sleeper.join().unwrap(), semaphore.available()), (3, 3));
}

#[test]
fn a_permit_can_be_waited_for_beside_others() {
    let semaphores = [Semaphore::new(1).unwrap(), Semaphore::private(2).unwrap()];
    let mut select: Select = semaphores.iter().map(Semaphore::watch).collect();
    let first = semaphores[0].acquire().unwrap();
    assert_eq!(select.wait(), 1);
    let both = semaphores[1].acquire_many(2).unwrap();
    assert_eq!((select.try_wait(), select.wait_timeout(MOMENT)), (None, None));
    drop(first);
    assert_eq!(select.wait(), 0);
    let first = semaphores[0].acquire().unwrap();
    let sleeper = asleep_in(move || select.wait());
    drop(both);
    assert_eq!(sleeper.join().unwrap(), 1);
    drop(first);
}

#[cfg(feature = "async")]
mod futures {
    use super::*;
    use std::task::{Context, Poll, Waker};

    #[test]
    fn tasks_and_processes_share_the_permits() {
        let semaphore = Semaphore::new(2).unwrap();
        let inside = Number::shared();
        let child = spawn(come_and_go_in_groups, (semaphore.clone(), inside.clone(), 500)).unwrap();
        smol::block_on(async {
            for count in (0..500).map(|round| 1 + round % 2) {
                let permits = semaphore.acquire_many_async(count).await.unwrap();
                assert!(Number::of(&inside).load(Ordering::Relaxed) as usize + permits.count() <= 2);
                drop(permits);
                drop(semaphore.acquire_async().await.unwrap());
            }
        });
        assert!(child.join().unwrap() <= 2);
        assert_eq!(semaphore.available(), 2);
    }

    #[test]
    fn a_future_that_is_dropped_has_taken_nothing_and_passes_its_call_on() {
        for make in [Semaphore::new, Semaphore::private] {
            let semaphore = make(2).unwrap();
            let both = semaphore.acquire_many(2).unwrap();
            let mut context = Context::from_waker(Waker::noop());
            let mut one = Box::pin(semaphore.acquire_async());
            let mut many = Box::pin(semaphore.acquire_many_async(2));
            assert!(matches!(one.as_mut().poll(&mut context), Poll::Pending));
            assert!(matches!(many.as_mut().poll(&mut context), Poll::Pending));
            let sleepers = [1, 2].map(|count| (semaphore.clone(), count)).map(|(semaphore, count)| {
                asleep_in(move || match count {
                    1 => semaphore.acquire().map(drop),
                    _ => semaphore.acquire_many(count).map(drop),
                })
            });
            drop(both);
            drop((one, many));
            assert_eq!(sleepers.map(|thread| thread.join().unwrap()), [Ok(()), Ok(())]);
            assert_eq!(smol::block_on(semaphore.acquire_many_async(3)).err(), Some(AcquireError::TooMany { limit: 2 }));
            assert_eq!(semaphore.available(), 2);
        }
    }
}
