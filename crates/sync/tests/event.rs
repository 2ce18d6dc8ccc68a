//! The event, seen from outside: who goes on when it is set, among threads, processes and futures.
#![cfg(not(loom))]

mod asleep;
mod company;

use asleep::{asleep_in, await_sleep_of};
use company::{LONG, MOMENT, buried, kill, passed_on, refused, start, stay};
use shmkit_segment::primitive::{AtomicU64, Ordering};
use shmkit_sync::{CountingSemaphore, Event, Select, Shared, WaitTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

fn each_kind() -> [Event; 2] {
    [Event::new().unwrap(), Event::private().unwrap()]
}

#[test]
fn it_stays_set_until_it_is_cleared() {
    for event in each_kind() {
        for _ in 0..3 {
            assert!(!event.is_set());
            // Once or more often is the same.
            event.set();
            event.set();
            for _ in 0..3 {
                assert!(event.is_set());
                event.wait().unwrap();
            }
            event.clear();
            event.clear();
            assert_eq!(event.wait_timeout(Duration::ZERO), Err(WaitTimeoutError::Timeout));
        }
    }
}

#[test]
fn waiting_ends_in_time_and_not_before() {
    for event in each_kind() {
        let start = Instant::now();
        assert_eq!(event.wait_timeout(MOMENT), Err(WaitTimeoutError::Timeout));
        assert!(start.elapsed() >= MOMENT);
        let deadline = Instant::now() + MOMENT;
        assert_eq!(event.wait_deadline(deadline), Err(WaitTimeoutError::Timeout));
        assert!(Instant::now() >= deadline);
        assert_eq!(event.wait_deadline(start), Err(WaitTimeoutError::Timeout));
    }
}

#[test]
fn one_that_is_set_is_seen_even_if_the_time_is_up() {
    for event in each_kind() {
        let past = Instant::now();
        event.set();
        assert_eq!(event.wait_deadline(past), Ok(()));
        for limit in [Duration::ZERO, MOMENT, LONG, Duration::MAX] {
            assert_eq!(event.wait_timeout(limit), Ok(()));
        }
    }
}

#[test]
fn all_threads_that_sleep_go_on_even_if_it_is_cleared_at_once() {
    for event in each_kind() {
        for _ in 0..50 {
            let sleepers = [None, Some(LONG), None, Some(Duration::MAX)].map(|limit| {
                let event = event.clone();
                asleep_in(move || match limit {
                    None => event.wait().is_ok(),
                    Some(limit) => event.wait_timeout(limit).is_ok(),
                })
            });
            event.set();
            event.clear();
            assert!(sleepers.map(|thread| thread.join().unwrap()).iter().all(|&went| went));
        }
    }
}

#[test]
fn all_processes_that_sleep_go_on_even_if_it_is_cleared_at_once() {
    fn arrive_and_wait((arrived, event): (CountingSemaphore, Event)) {
        arrived.post().unwrap();
        event.wait().unwrap();
    }
    let (arrived, event) = (CountingSemaphore::new(4).unwrap(), Event::new().unwrap());
    let children = [(); 4].map(|()| start(arrive_and_wait, (arrived.clone(), event.clone())));
    arrived.acquire_many(4).unwrap();
    // Asleep in the wait: nothing else blocks in there.
    children.iter().for_each(|child| await_sleep_of(child.pid()));
    event.set();
    event.clear();
    children.into_iter().for_each(|child| child.join().unwrap());
}

#[test]
fn who_sees_it_set_sees_what_was_written_before() {
    const ROUNDS: u64 = 2_000;
    fn answer((asked, answered, number): (Event, Event, Shared<AtomicU64>)) {
        for round in 0..ROUNDS {
            asked.wait().unwrap();
            asked.clear();
            assert_eq!(number.load(Ordering::Relaxed), 2 * round + 1);
            number.store(2 * round + 2, Ordering::Relaxed);
            answered.set();
        }
    }
    let (asked, answered) = (Event::new().unwrap(), Event::new().unwrap());
    let number = Shared::<AtomicU64>::new().unwrap();
    let child = start(answer, (asked.clone(), answered.clone(), number.clone()));
    for round in 0..ROUNDS {
        number.store(2 * round + 1, Ordering::Relaxed);
        asked.set();
        answered.wait().unwrap();
        answered.clear();
        assert_eq!(number.load(Ordering::Relaxed), 2 * round + 2);
    }
    child.join().unwrap();
}

#[test]
fn it_can_be_waited_for_beside_others() {
    let events = each_kind();
    let mut select: Select = events.iter().map(Event::watch).collect();
    assert_eq!((select.try_wait(), select.wait_timeout(MOMENT)), (None, None));
    for (number, event) in events.iter().enumerate() {
        event.set();
        // It takes nothing: the event is set until somebody clears it.
        assert_eq!((select.wait(), select.wait(), select.try_wait()), (number, number, Some(number)));
        event.clear();
        assert_eq!(select.try_wait(), None);
    }
    let sleepers = [(); 2]
        .map(|()| events.each_ref().map(Event::watch))
        .map(|watches| asleep_in(move || watches.into_iter().collect::<Select>().wait()));
    events[1].set();
    // It lasts, so all who wait are named it.
    assert_eq!(sleepers.map(|thread| thread.join().unwrap()), [1, 1]);
}

#[test]
#[cfg_attr(feature = "portable", ignore = "it kills, and this backend is not kill-safe")]
fn what_a_killed_process_has_set_is_set_and_killed_waiters_take_nobodys_wake_up_along() {
    let (event, here) = (Event::new().unwrap(), Event::new().unwrap());
    let set_and_stay = |(event, here): (Event, Event)| {
        event.set();
        stay(&here);
    };
    let child = start(set_and_stay, (event.clone(), here.clone()));
    here.wait().unwrap();
    kill(child);
    buried(event.segment(), 1);
    assert!(event.is_set());
    event.clear();

    here.clear();
    let arrive_and_wait = |(event, here): (Event, Event)| {
        here.set();
        event.wait().unwrap();
    };
    let victim = start(arrive_and_wait, (event.clone(), here.clone()));
    here.wait().unwrap();
    await_sleep_of(victim.pid());
    let sleepers = [(); 3].map(|()| event.clone()).map(|event| asleep_in(move || event.wait().is_ok()));
    victim.kill().unwrap();
    event.set();
    drop(victim.join());
    assert!(sleepers.map(|thread| thread.join().unwrap()).iter().all(|&went| went));
}

#[test]
#[cfg_attr(feature = "portable", ignore = "it kills, and this backend is not kill-safe")]
fn a_death_sets_nothing() {
    let (event, here) = (Event::new().unwrap(), Event::new().unwrap());
    let child = start(|(here, _event): (Event, Event)| stay(&here), (here.clone(), event.clone()));
    here.wait().unwrap();
    let sleeper = asleep_in({
        let event = event.clone();
        move || event.wait_timeout(LONG)
    });
    kill(child);
    buried(event.segment(), 1);
    assert_eq!(event.wait_timeout(MOMENT), Err(WaitTimeoutError::Timeout));
    assert!(!event.is_set() && !sleeper.is_finished());
    event.set();
    assert_eq!(sleeper.join().unwrap(), Ok(()));
}

#[test]
fn clones_and_handles_that_were_passed_on_are_the_same_event() {
    let event = Event::new().unwrap();
    for other in [event.clone(), passed_on(&event)] {
        other.set();
        assert!(event.is_set());
        event.clear();
        assert!(!other.is_set());
        let sleeper = {
            let event = event.clone();
            thread::spawn(move || event.wait())
        };
        other.set();
        assert_eq!(sleeper.join().unwrap(), Ok(()));
        event.clear();
    }
}

#[test]
fn private_events_and_ordinary_serialisers_are_refused() {
    let [shared, private] = each_kind();
    refused(&private, &shared);
}

#[cfg(feature = "async")]
mod futures {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    #[test]
    fn tasks_go_on_when_a_process_sets_it() {
        let events = [(); 3].map(|()| Event::new().unwrap());
        let set_in_turn = |(first, second, third): (Event, Event, Event)| {
            for event in [first, second, third] {
                event.set();
            }
        };
        let [first, second, third] = events.clone();
        let waiting = thread::spawn(move || {
            smol::block_on(async {
                for event in events.iter().rev() {
                    event.wait_async().await.unwrap();
                }
            });
        });
        start(set_in_turn, (first, second, third)).join().unwrap();
        waiting.join().unwrap();
    }

    #[test]
    fn all_tasks_that_wait_go_on_and_one_that_was_dropped_strands_nobody() {
        for event in each_kind() {
            let threads =
                [(); 3].map(|()| event.clone()).map(|event| asleep_in(move || smol::block_on(event.wait_async())));
            {
                let mut dropped = pin!(event.wait_async());
                assert_eq!(dropped.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending);
            }
            event.set();
            assert!(threads.map(|thread| thread.join().unwrap()).iter().all(Result::is_ok));
            assert_eq!(smol::block_on(event.wait_async()), Ok(()));
        }
    }
}
