//! A holder of permits killed at every site.

use crate::harness::{Orders, at_every_site, came_through};
use shmkit::prelude::*;
use shmkit::segment::crash;

fn hold((orders, semaphore): (Orders, Semaphore)) {
    orders.arm();
    for _ in 0..2 {
        let first = semaphore.acquire().unwrap();
        let second = semaphore.acquire().unwrap();
        drop((first, second));
    }
    drop(semaphore);
    crash::disarm();
}

pub(crate) fn permits_come_back_and_do_not_multiply() {
    at_every_site("semaphore holder", |orders| {
        let semaphore = Semaphore::new(2).unwrap();
        let victim = spawn(hold, (orders.clone(), semaphore.clone())).unwrap();
        let done = came_through(victim);
        let permits = [semaphore.acquire().unwrap(), semaphore.acquire().unwrap()];
        assert!(semaphore.try_acquire().is_err());
        drop(permits);
        assert_eq!(semaphore.available(), 2);
        done
    });
}

/// One permit that this process hands over, so that the victim sleeps for it.
pub(crate) fn a_waiter_that_dies_strands_nobody() {
    at_every_site("semaphore waiter", |orders| {
        let semaphore = Semaphore::new(2).unwrap();
        let held = [semaphore.acquire().unwrap(), semaphore.acquire().unwrap()];
        let victim = spawn(hold, (orders.clone(), semaphore.clone())).unwrap();
        let other = semaphore.clone();
        let waiter = std::thread::spawn(move || drop(other.acquire().unwrap()));
        drop(held);
        waiter.join().unwrap();
        let done = came_through(victim);
        drop([semaphore.acquire().unwrap(), semaphore.acquire().unwrap()]);
        done
    });
}
