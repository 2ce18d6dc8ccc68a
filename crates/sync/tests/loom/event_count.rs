use crate::explore;
use loom::thread;
use shmkit_segment::primitive::{AtomicU32, Ordering};
use shmkit_sync::{Deadline, EventCount};
use std::sync::Arc;

/// Items to be taken, and an event count for those who wait for one.
#[derive(Default)]
struct Shelf {
    items: AtomicU32,
    filled: EventCount,
}

impl Shelf {
    fn put(&self) {
        self.items.fetch_add(1, Ordering::Release);
        self.filled.notify_one();
    }

    fn try_take(&self) -> Option<()> {
        let items = self.items.load(Ordering::Acquire);
        if items == 0 {
            return None;
        }
        self.items.compare_exchange(items, items - 1, Ordering::AcqRel, Ordering::Relaxed).ok().map(drop)
    }

    fn take(&self) {
        let more = || self.items.load(Ordering::Acquire) > 0;
        // A failed exchange is no reason to sleep: somebody else changed the count, look again.
        let attempt = || loop {
            match self.try_take() {
                None if more() => {}
                outcome => return outcome,
            }
        };
        self.filled.wait_until(Deadline::NEVER, attempt, more, || {});
    }
}

#[test]
fn one_waiter_sees_one_event() {
    explore(4, || {
        let shelf = Arc::new(Shelf::default());
        let other = Arc::clone(&shelf);
        let waiter = thread::spawn(move || other.take());
        shelf.put();
        waiter.join().unwrap();
    });
}

#[test]
fn two_waiters_get_what_two_notifiers_bring() {
    explore(2, || {
        let shelf = Arc::new(Shelf::default());
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let shelf = Arc::clone(&shelf);
                thread::spawn(move || shelf.take())
            })
            .collect();
        let other = Arc::clone(&shelf);
        let notifier = thread::spawn(move || other.put());
        shelf.put();
        notifier.join().unwrap();
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn a_lasting_condition_wakes_all() {
    explore(2, || {
        let state = Arc::new((AtomicU32::new(0), EventCount::default()));
        let waiters: Vec<_> = (0..2)
            .map(|_| {
                let state = Arc::clone(&state);
                thread::spawn(move || {
                    let open = || (state.0.load(Ordering::Acquire) == 1).then_some(());
                    state.1.wait_until(Deadline::NEVER, open, || false, || {});
                })
            })
            .collect();
        state.0.store(1, Ordering::Release);
        state.1.notify_all();
        for waiter in waiters {
            waiter.join().unwrap();
        }
    });
}
