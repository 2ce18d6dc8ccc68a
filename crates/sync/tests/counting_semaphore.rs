//! The semaphore that some post to and others acquire from, seen from outside; and that nothing comes back by itself when somebody dies.
#![cfg(not(loom))]

mod asleep;
mod company;

use asleep::{asleep_in, await_sleep_of};
use company::{LONG, MOMENT, buried, kill, passed_on, refused, start, stay};
use shmkit_segment::primitive::{AtomicU64, Ordering};
use shmkit_sync::{
    AcquireError, AcquireTimeoutError, CountingSemaphore, Error, Event, PostError, Select, Shared, TryAcquireError,
};
use std::thread;
use std::time::{Duration, Instant};

const MOST: usize = u32::MAX as usize;

fn each_kind(limit: usize) -> [CountingSemaphore; 2] {
    [CountingSemaphore::new(limit).unwrap(), CountingSemaphore::private(limit).unwrap()]
}

#[test]
fn what_was_posted_can_be_acquired_once() {
    for semaphore in each_kind(4) {
        assert_eq!((semaphore.limit(), semaphore.available()), (4, 0));
        assert_eq!(semaphore.try_acquire(), Err(TryAcquireError::Unavailable));
        semaphore.post_many(3).unwrap();
        semaphore.post_many(0).unwrap();
        assert_eq!(semaphore.available(), 3);
        assert_eq!((semaphore.try_acquire(), semaphore.acquire()), (Ok(()), Ok(())));
        assert_eq!(semaphore.try_acquire_many(2), Err(TryAcquireError::Unavailable));
        assert_eq!((semaphore.acquire_many(1), semaphore.acquire_many(0)), (Ok(()), Ok(())));
        assert_eq!(semaphore.available(), 0);
    }
}

#[test]
fn posting_more_than_the_bound_is_an_error_and_posts_nothing() {
    for limit in [1, 3, MOST] {
        for semaphore in each_kind(limit) {
            let overflow = Err(PostError::Overflow { limit });
            semaphore.post_many(limit).unwrap();
            assert_eq!(
                (semaphore.post(), semaphore.post_many(1), semaphore.post_many(usize::MAX)),
                (overflow, overflow, overflow)
            );
            assert_eq!(semaphore.available(), limit);
            semaphore.acquire().unwrap();
            // All of them or none.
            assert_eq!(semaphore.post_many(2), overflow);
            assert_eq!(semaphore.available(), limit - 1);
            assert_eq!((semaphore.post(), semaphore.post()), (Ok(()), overflow));
        }
    }
}

#[test]
fn more_than_there_can_ever_be_are_an_error_at_once() {
    for semaphore in each_kind(3) {
        for count in [4, MOST + 1, usize::MAX] {
            assert_eq!(semaphore.try_acquire_many(count), Err(TryAcquireError::TooMany { limit: 3 }));
            assert_eq!(semaphore.acquire_many(count), Err(AcquireError::TooMany { limit: 3 }));
            let too_many = Err(AcquireTimeoutError::TooMany { limit: 3 });
            assert_eq!(semaphore.acquire_many_timeout(count, LONG), too_many);
            assert_eq!(semaphore.acquire_many_deadline(count, Instant::now() + LONG), too_many);
        }
    }
}

#[test]
fn bounds_that_cannot_be_are_errors() {
    for limit in [0, MOST + 1, usize::MAX] {
        assert!(matches!(CountingSemaphore::new(limit), Err(Error::Geometry(_))), "{limit}");
        assert!(matches!(CountingSemaphore::private(limit), Err(Error::Geometry(_))), "{limit}");
    }
}

#[test]
fn waiting_ends_in_time_and_not_before_and_takes_nothing() {
    for semaphore in each_kind(3) {
        semaphore.post().unwrap();
        let late = Err(AcquireTimeoutError::Timeout);
        let start = Instant::now();
        assert_eq!(semaphore.acquire_many_timeout(2, MOMENT), late);
        assert!(start.elapsed() >= MOMENT);
        assert_eq!(semaphore.acquire_many_deadline(2, start), late);
        semaphore.acquire().unwrap();
        let deadline = Instant::now() + MOMENT;
        assert_eq!(semaphore.acquire_deadline(deadline), late);
        assert!(Instant::now() >= deadline);
        assert_eq!(semaphore.acquire_timeout(Duration::ZERO), late);
    }
}

#[test]
fn permits_that_are_there_are_had_even_if_the_time_is_up() {
    for semaphore in each_kind(9) {
        semaphore.post_many(9).unwrap();
        let past = Instant::now();
        assert_eq!((semaphore.acquire_deadline(past), semaphore.acquire_many_deadline(2, past)), (Ok(()), Ok(())));
        assert_eq!(semaphore.acquire_timeout(Duration::ZERO), Ok(()));
        assert_eq!(semaphore.acquire_many_timeout(2, Duration::ZERO), Ok(()));
        assert_eq!(semaphore.acquire_many_timeout(3, Duration::MAX), Ok(()));
        assert_eq!(semaphore.available(), 0);
    }
}

#[test]
fn processes_acquire_as_many_as_are_posted_and_see_what_was_written_before() {
    const EACH: u64 = 3_000;
    fn post((semaphore, posted): (CountingSemaphore, Shared<AtomicU64>)) {
        for number in 0..EACH {
            posted.fetch_add(1, Ordering::Relaxed);
            // The bound holds the posters up: there is nobody to wait for but the others.
            while semaphore.post_many(1 + (number % 2) as usize).is_err() {
                thread::yield_now();
            }
        }
    }
    fn acquire((semaphore, posted, acquired): (CountingSemaphore, Shared<AtomicU64>, Shared<AtomicU64>)) {
        for number in 0..EACH {
            semaphore.acquire_many(1 + (number % 2) as usize).unwrap();
            let before = acquired.fetch_add(1, Ordering::Relaxed);
            // Twice as many permits as posts at most.
            assert!(2 * posted.load(Ordering::Relaxed) > before);
        }
    }
    let semaphore = CountingSemaphore::new(8).unwrap();
    let (posted, acquired) = (Shared::<AtomicU64>::new().unwrap(), Shared::<AtomicU64>::new().unwrap());
    let children: Vec<_> = (0..2)
        .flat_map(|_| {
            let acquirer = start(acquire, (semaphore.clone(), posted.clone(), acquired.clone()));
            [acquirer, start(post, (semaphore.clone(), posted.clone()))]
        })
        .collect();
    children.into_iter().for_each(|child| child.join().unwrap());
    assert_eq!((acquired.load(Ordering::Relaxed), semaphore.available()), (2 * EACH, 0));
}

#[test]
fn those_that_sleep_get_what_is_posted_whether_they_want_one_or_several() {
    for semaphore in each_kind(16) {
        for round in 0..25 {
            let sleepers = [1, 3, 1, 2].map(|count| (semaphore.clone(), count)).map(|(semaphore, count)| {
                asleep_in(move || match count {
                    1 => semaphore.acquire().unwrap(),
                    _ => semaphore.acquire_many(count).unwrap(),
                })
            });
            match round % 3 {
                0 => (0..7).for_each(|_| semaphore.post().unwrap()),
                1 => semaphore.post_many(7).unwrap(),
                _ => [4, 3].into_iter().for_each(|count| semaphore.post_many(count).unwrap()),
            }
            sleepers.into_iter().for_each(|thread| thread.join().unwrap());
            assert_eq!(semaphore.available(), 0);
        }
    }
}

fn arrive_and_acquire((semaphore, here): (CountingSemaphore, Event)) {
    here.set();
    semaphore.acquire().unwrap();
}

#[test]
fn a_process_that_sleeps_gets_what_is_posted() {
    let (semaphore, here) = (CountingSemaphore::new(1).unwrap(), Event::new().unwrap());
    let child = start(arrive_and_acquire, (semaphore.clone(), here.clone()));
    here.wait().unwrap();
    await_sleep_of(child.pid());
    semaphore.post().unwrap();
    child.join().unwrap();
    assert_eq!(semaphore.available(), 0);
}

#[test]
#[cfg_attr(feature = "portable", ignore = "it kills, and this backend is not kill-safe")]
fn what_a_killed_process_has_posted_stays_and_what_it_has_acquired_is_gone() {
    let (semaphore, here) = (CountingSemaphore::new(10).unwrap(), Event::new().unwrap());
    semaphore.post_many(2).unwrap();
    let post_and_acquire = |(semaphore, here): (CountingSemaphore, Event)| {
        semaphore.acquire_many(2).unwrap();
        semaphore.post_many(5).unwrap();
        semaphore.acquire().unwrap();
        stay(&here);
    };
    let child = start(post_and_acquire, (semaphore.clone(), here.clone()));
    here.wait().unwrap();
    kill(child);
    buried(semaphore.segment(), 1);
    assert_eq!(semaphore.available(), 4);
    assert_eq!((semaphore.acquire_many(4), semaphore.available()), (Ok(()), 0));
}

#[test]
#[cfg_attr(feature = "portable", ignore = "it kills, and this backend is not kill-safe")]
fn a_killed_waiter_takes_nobodys_wake_up_along() {
    for kills_first in [true, false] {
        let (semaphore, here) = (CountingSemaphore::new(3).unwrap(), Event::new().unwrap());
        let victim = start(arrive_and_acquire, (semaphore.clone(), here.clone()));
        here.wait().unwrap();
        await_sleep_of(victim.pid());
        let sleeper = asleep_in({
            let semaphore = semaphore.clone();
            move || semaphore.acquire()
        });
        if kills_first {
            kill(victim);
            semaphore.post().unwrap();
        } else {
            victim.kill().unwrap();
            // It may still take one of them, and no more.
            semaphore.post_many(2).unwrap();
            assert!(victim.join().is_err());
        }
        buried(semaphore.segment(), 1);
        assert_eq!(sleeper.join().unwrap(), Ok(()));
    }
}

#[test]
fn permits_can_be_waited_for_beside_others() {
    let semaphores = each_kind(2);
    let mut select: Select = semaphores.iter().map(CountingSemaphore::watch).collect();
    assert_eq!(select.wait_timeout(MOMENT), None);
    for (number, semaphore) in semaphores.iter().enumerate() {
        semaphore.post().unwrap();
        assert_eq!(select.wait(), number);
        semaphore.try_acquire().unwrap();
        assert_eq!(select.try_wait(), None);
    }
    let sleeper = asleep_in(move || select.wait());
    semaphores[1].post().unwrap();
    assert_eq!(sleeper.join().unwrap(), 1);
}

#[test]
fn clones_and_handles_that_were_passed_on_are_the_same_semaphore() {
    let semaphore = CountingSemaphore::new(3).unwrap();
    let (clone, elsewhere) = (semaphore.clone(), passed_on(&semaphore));
    clone.post().unwrap();
    elsewhere.post().unwrap();
    assert_eq!((semaphore.acquire_many(2), elsewhere.available(), elsewhere.limit()), (Ok(()), 0, 3));
}

#[test]
fn private_semaphores_and_ordinary_serialisers_are_refused() {
    let [shared, private] = each_kind(1);
    refused(&private, &shared);
}

#[cfg(feature = "async")]
mod futures {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    #[test]
    fn tasks_acquire_what_a_process_posts() {
        let semaphore = CountingSemaphore::new(100).unwrap();
        let post = |semaphore: CountingSemaphore| (0..100).for_each(|_| semaphore.post().unwrap());
        let child = start(post, semaphore.clone());
        smol::block_on(async {
            for _ in 0..25 {
                semaphore.acquire_async().await.unwrap();
                semaphore.acquire_many_async(3).await.unwrap();
            }
            assert_eq!(semaphore.acquire_many_async(101).await, Err(AcquireError::TooMany { limit: 100 }));
        });
        child.join().unwrap();
        assert_eq!(semaphore.available(), 0);
    }

    #[test]
    fn a_future_that_is_dropped_has_taken_nothing_and_passes_its_call_on() {
        for semaphore in each_kind(4) {
            let mut context = Context::from_waker(Waker::noop());
            let mut first = Box::pin(semaphore.acquire_async());
            assert_eq!(first.as_mut().poll(&mut context), Poll::Pending);
            let mut many = Box::pin(semaphore.acquire_many_async(2));
            assert_eq!(many.as_mut().poll(&mut context), Poll::Pending);
            let sleeper = asleep_in({
                let semaphore = semaphore.clone();
                move || semaphore.acquire()
            });
            semaphore.post().unwrap();
            drop((first, many));
            assert_eq!(sleeper.join().unwrap(), Ok(()));
            let mut again = pin!(semaphore.acquire_async());
            assert_eq!(again.as_mut().poll(&mut context), Poll::Pending);
            semaphore.post().unwrap();
            assert_eq!(again.as_mut().poll(&mut context), Poll::Ready(Ok(())));
        }
    }
}
