//! The event count between threads: who is woken, and when a wait ends.
#![cfg(not(loom))]

mod asleep;

use asleep::asleep_in;
use shmkit_sync::{Deadline, EventCount};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self};
use std::time::{Duration, Instant};

/// Items to be taken, and an event count for those who wait for one.
#[derive(Default)]
struct Shelf {
    items: AtomicU32,
    closed: AtomicBool,
    changed: EventCount,
}

impl Shelf {
    fn put(&self) {
        self.items.fetch_add(1, Ordering::Release);
        self.changed.notify_one();
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.changed.notify_all();
    }

    /// True if an item was taken, false if there are none and will not be.
    fn try_take(&self) -> Option<bool> {
        let closed = self.closed.load(Ordering::Acquire);
        let taken = self.items.fetch_update(Ordering::AcqRel, Ordering::Acquire, |items| items.checked_sub(1));
        match taken {
            Ok(_) => Some(true),
            Err(_) => closed.then_some(false),
        }
    }

    fn take(&self) -> bool {
        let more = || self.items.load(Ordering::Acquire) > 0 || self.closed.load(Ordering::Acquire);
        self.changed.wait_until(Deadline::NEVER, || self.try_take(), more, || {}).unwrap()
    }
}

#[test]
fn a_condition_that_holds_already_is_not_waited_for() {
    let event = EventCount::default();
    let idle = Cell::new(0);
    let more = || panic!("nobody slept");
    assert_eq!(event.wait_until(Deadline::NEVER, || Some(7), more, || idle.set(idle.get() + 1)), Some(7));
    assert_eq!(idle.get(), 0);
}

#[test]
fn notifying_when_nobody_waits_is_not_remembered_and_does_no_harm() {
    let event = EventCount::default();
    event.notify_one();
    event.notify_all();
    event.rouse();
    let past = Deadline::from(Instant::now());
    assert_eq!(event.wait_until(past, || None::<()>, || false, || {}), None);
}

#[test]
fn each_notification_of_one_lets_one_of_several_sleepers_through() {
    let shelf = Arc::new(Shelf::default());
    let (say, hear) = mpsc::channel();
    let sleepers = [0, 1, 2, 3].map(|number| {
        let (shelf, say) = (Arc::clone(&shelf), say.clone());
        asleep_in(move || {
            assert!(shelf.take());
            say.send(number).unwrap();
        })
    });
    let mut through = Vec::new();
    for _ in &sleepers {
        shelf.put();
        through.push(hear.recv().unwrap());
        assert!(hear.try_recv().is_err());
    }
    sleepers.into_iter().for_each(|thread| thread.join().unwrap());
    through.sort_unstable();
    assert_eq!(through, [0, 1, 2, 3]);
}

#[test]
fn as_many_sleepers_as_there_are_notifications_at_once_come_through() {
    for _ in 0..50 {
        let shelf = Arc::new(Shelf::default());
        let sleepers = [(); 4].map(|()| Arc::clone(&shelf)).map(|shelf| asleep_in(move || shelf.take()));
        sleepers.iter().for_each(|_| shelf.put());
        assert!(sleepers.map(|thread| thread.join().unwrap()).iter().all(|&taken| taken));
    }
}

#[test]
fn a_notification_of_all_lets_all_sleepers_through() {
    for _ in 0..50 {
        let shelf = Arc::new(Shelf::default());
        let sleepers = [(); 4].map(|()| Arc::clone(&shelf)).map(|shelf| asleep_in(move || shelf.take()));
        shelf.close();
        assert!(sleepers.map(|thread| thread.join().unwrap()).iter().all(|&taken| !taken));
    }
}

#[test]
fn all_sleepers_come_through_if_a_notification_of_all_follows_one_of_one() {
    for _ in 0..50 {
        let shelf = Arc::new(Shelf::default());
        let sleepers = [(); 4].map(|()| Arc::clone(&shelf)).map(|shelf| asleep_in(move || shelf.take()));
        shelf.put();
        shelf.close();
        assert_eq!(sleepers.map(|thread| thread.join().unwrap()).iter().filter(|&&taken| taken).count(), 1);
    }
}

#[test]
fn rousing_makes_all_sleepers_look_again() {
    let shelf = Arc::new(Shelf::default());
    let sleepers = [(); 4].map(|()| Arc::clone(&shelf)).map(|shelf| asleep_in(move || shelf.take()));
    // As a process does that is killed before it notifies.
    shelf.closed.store(true, Ordering::Release);
    shelf.changed.rouse();
    assert!(sleepers.map(|thread| thread.join().unwrap()).iter().all(|&taken| !taken));
}

#[test]
fn no_notification_is_lost_between_threads_that_put_and_take_all_the_time() {
    const EACH: u32 = 20_000;
    let shelf = Arc::new(Shelf::default());
    let taking: Vec<_> = (0..3)
        .map(|_| Arc::clone(&shelf))
        .map(|shelf| thread::spawn(move || std::iter::repeat_with(|| shelf.take()).take_while(|&taken| taken).count()))
        .collect();
    let putting: Vec<_> = (0..3)
        .map(|_| Arc::clone(&shelf))
        .map(|shelf| thread::spawn(move || (0..EACH).for_each(|_| shelf.put())))
        .collect();
    putting.into_iter().for_each(|thread| thread.join().unwrap());
    shelf.close();
    assert_eq!(taking.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>(), 3 * EACH as usize);
}

#[test]
fn two_threads_take_turns() {
    let turn = Arc::new((AtomicU32::new(0), EventCount::default()));
    let play = |turn: Arc<(AtomicU32, EventCount)>, parity: u32| {
        for round in 0..10_000 {
            let mine = || (turn.0.load(Ordering::Acquire) == round * 2 + parity).then_some(());
            turn.1.wait_until(Deadline::NEVER, mine, || false, || {}).unwrap();
            turn.0.store(round * 2 + parity + 1, Ordering::Release);
            turn.1.notify_one();
        }
    };
    let other = thread::spawn({
        let turn = Arc::clone(&turn);
        move || play(turn, 1)
    });
    play(Arc::clone(&turn), 0);
    other.join().unwrap();
    assert_eq!(turn.0.load(Ordering::Relaxed), 20_000);
}

#[test]
fn a_wait_ends_at_its_deadline_and_not_before() {
    let event = EventCount::default();
    let timeout = Duration::from_millis(2);
    let start = Instant::now();
    assert_eq!(event.wait_until(Deadline::after(timeout), || None::<()>, || false, || {}), None);
    assert!(start.elapsed() >= timeout);
}

#[test]
fn a_condition_that_comes_true_unannounced_is_seen_when_the_time_is_up() {
    let event = EventCount::default();
    let deadline = Instant::now() + Duration::from_millis(2);
    let attempt = || (Instant::now() >= deadline).then_some(7);
    assert_eq!(event.wait_until(deadline.into(), attempt, || false, || {}), Some(7));
}

#[test]
fn a_wait_whose_deadline_has_passed_still_tries() {
    let event = EventCount::default();
    let past = Deadline::from(Instant::now());
    let tried = Cell::new(0);
    let attempt = || {
        tried.set(tried.get() + 1);
        None::<()>
    };
    assert_eq!(event.wait_until(past, attempt, || false, || {}), None);
    assert!(tried.get() >= 1);
    assert_eq!(event.wait_until(past, || Some(7), || false, || {}), Some(7));
}

#[test]
fn who_waits_in_vain_is_asked_to_look_after_the_others() {
    let event = EventCount::default();
    let idle = Cell::new(false);
    // The look-around makes the condition true, as recovering from a death does. A wait that came to sleep too late has none.
    let wait = || {
        let timeout = Deadline::after(Duration::from_millis(2));
        event.wait_until(timeout, || idle.get().then_some(7), || false, || idle.set(true))
    };
    while wait().is_none() {}
    assert!(idle.get());
}

#[test]
fn deadlines_know_what_is_left() {
    assert_eq!(Deadline::NEVER.remaining(), None);
    assert_eq!(Deadline::after(Duration::MAX), Deadline::NEVER);
    assert_eq!(Deadline::from(Instant::now()).remaining(), Some(Duration::ZERO));
    let hour = Duration::from_secs(3600);
    assert!(Deadline::after(hour).remaining().unwrap() <= hour);
}
