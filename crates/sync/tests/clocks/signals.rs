//! Waits that are interrupted by signals, again and again: the kernel ends each sleep, as the handler was not installed to restart system calls.

use crate::asleep::asleep_in;
use crate::company::{LONG, MOMENT};
use crate::harness::alone;
use shmkit_sync::{
    AcquireTimeoutError, Barrier, BarrierError, Condvar, CountingSemaphore, Event, LockTimeoutError, Mutex, OnceLock,
    RwLock, Select, Semaphore, WaitTimeoutError, Wakeup,
};
use std::os::unix::thread::JoinHandleExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{JoinHandle, yield_now};
use std::time::{Duration, Instant};

/// How often the handler has run.
static HANDLED: AtomicU64 = AtomicU64::new(0);

extern "C" fn count(_signal: libc::c_int) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

fn catch_signals() {
    // SAFETY: all zero is an action without flags: no SA_RESTART.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = count as *const () as usize;
    // SAFETY: the handler does nothing that a handler must not do.
    let outcome = unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) };
    assert_eq!(outcome, 0);
}

/// Interrupts a thread so many times, unless it ends before.
fn interrupt<R>(thread: &JoinHandle<R>, times: u64) {
    for _ in 0..times {
        if thread.is_finished() {
            return;
        }
        let before = HANDLED.load(Ordering::Relaxed);
        // SAFETY: it has not been joined.
        let outcome = unsafe { libc::pthread_kill(thread.as_pthread_t(), libc::SIGUSR1) };
        assert!(outcome == 0 || outcome == libc::ESRCH);
        // Two that are pending would be one.
        while HANDLED.load(Ordering::Relaxed) == before && !thread.is_finished() {
            yield_now();
        }
    }
}

const TIMES: u64 = 200;
/// More than there is time for.
const ALL_THE_TIME: u64 = 1_000_000;

/// Something to wait for, which does not come: true if the time was up.
type Wait = Box<dyn FnOnce(Duration) -> bool + Send>;

#[test]
fn signals_end_no_wait_before_its_time() {
    alone(|()| {
        catch_signals();
        let (mutex, lock, semaphore) = (Mutex::new(0).unwrap(), RwLock::new(0).unwrap(), Semaphore::new(2).unwrap());
        let _held = (mutex.lock().unwrap(), lock.read().unwrap(), semaphore.acquire_many(2).unwrap());
        let written = RwLock::new(0).unwrap();
        let _writer = written.write().unwrap();
        let (free, changed) = (Mutex::new(0).unwrap(), Condvar::new().unwrap());
        let (counting, barrier) = (CountingSemaphore::new(3).unwrap(), Barrier::new(2).unwrap());
        let (event, once) = (Event::new().unwrap(), OnceLock::<u64>::new().unwrap());
        let mut select: Select = [event.watch(), counting.watch()].into_iter().collect();
        let (mutex, lock, semaphore, written) = (mutex.clone(), lock.clone(), semaphore.clone(), written.clone());
        let several = semaphore.clone();
        let waits: Vec<Wait> = vec![
            Box::new(move |limit| matches!(mutex.lock_timeout(limit), Err(LockTimeoutError::Timeout))),
            Box::new(move |limit| matches!(lock.write_timeout(limit), Err(LockTimeoutError::Timeout))),
            Box::new(move |limit| matches!(written.read_timeout(limit), Err(LockTimeoutError::Timeout))),
            Box::new(move |limit| semaphore.acquire_timeout(limit).err() == Some(AcquireTimeoutError::Timeout)),
            Box::new(move |limit| several.acquire_many_timeout(2, limit).err() == Some(AcquireTimeoutError::Timeout)),
            Box::new(move |limit| counting.acquire_timeout(limit) == Err(AcquireTimeoutError::Timeout)),
            Box::new(move |limit| event.wait_timeout(limit) == Err(WaitTimeoutError::Timeout)),
            Box::new(move |limit| once.wait_timeout(limit) == Err(WaitTimeoutError::Timeout)),
            Box::new(move |limit| barrier.wait_timeout(limit) == Err(BarrierError::Timeout)),
            Box::new(move |limit| select.wait_timeout(limit).is_none()),
            Box::new(move |limit| changed.wait_timeout(free.lock().unwrap(), limit).unwrap().1 == Wakeup::TimedOut),
        ];
        for wait in waits {
            let limit = 5 * MOMENT;
            let thread = asleep_in(move || {
                let start = Instant::now();
                (wait(limit), start.elapsed() >= limit)
            });
            interrupt(&thread, ALL_THE_TIME);
            assert_eq!(thread.join().unwrap(), (true, true));
        }
        assert!(HANDLED.load(Ordering::Relaxed) > 0);
    });
}

/// Waits in a thread that is interrupted; what it waits for comes in the midst of that.
fn gets_it<R: Send + 'static>(wait: impl FnOnce() -> R + Send + 'static, bring: impl FnOnce()) -> R {
    let before = HANDLED.load(Ordering::Relaxed);
    let thread = asleep_in(wait);
    interrupt(&thread, TIMES);
    assert!(!thread.is_finished() && HANDLED.load(Ordering::Relaxed) >= before + TIMES);
    bring();
    interrupt(&thread, TIMES);
    thread.join().unwrap()
}

#[test]
fn who_is_interrupted_all_the_time_gets_what_it_waits_for() {
    alone(|()| {
        catch_signals();
        for limit in [Duration::MAX, LONG] {
            let mutex = Mutex::new(0).unwrap();
            let guard = mutex.lock().unwrap();
            let waiter = mutex.clone();
            gets_it(move || *waiter.lock_timeout(limit).unwrap() += 1, || drop(guard));
            assert_eq!(*mutex.lock().unwrap(), 1);

            let lock = RwLock::new(0).unwrap();
            let (guard, waiter) = (lock.read().unwrap(), lock.clone());
            gets_it(move || *waiter.write_timeout(limit).unwrap() += 1, || drop(guard));
            let (guard, waiter) = (lock.write().unwrap(), lock.clone());
            assert_eq!(gets_it(move || *waiter.read_timeout(limit).unwrap(), || drop(guard)), 1);

            let semaphore = Semaphore::new(2).unwrap();
            let (permits, waiter) = (semaphore.acquire_many(2).unwrap(), semaphore.clone());
            gets_it(move || drop(waiter.acquire_timeout(limit).unwrap()), || drop(permits));
            let (permit, waiter) = (semaphore.acquire().unwrap(), semaphore.clone());
            gets_it(move || drop(waiter.acquire_many_timeout(2, limit).unwrap()), || drop(permit));
            assert_eq!(semaphore.available(), 2);

            let counting = CountingSemaphore::new(1).unwrap();
            let waiter = counting.clone();
            gets_it(move || waiter.acquire_timeout(limit).unwrap(), || counting.post().unwrap());

            let event = Event::new().unwrap();
            let waiter = event.clone();
            let bring = || {
                event.set();
                event.clear();
            };
            gets_it(move || waiter.wait_timeout(limit).unwrap(), bring);
            let mut select: Select = [event.watch(), counting.watch()].into_iter().collect();
            assert_eq!(gets_it(move || select.wait_timeout(limit), || counting.post().unwrap()), Some(1));

            let changed = Condvar::new().unwrap();
            let pair = (mutex.clone(), changed.clone());
            let wakeup = gets_it(
                move || pair.1.wait_timeout(pair.0.lock().unwrap(), limit).unwrap().1,
                // Nobody else was notified before, by a signal.
                || assert_eq!(changed.notify_all(), 1),
            );
            assert_eq!(wakeup, Wakeup::Notified);

            let barrier = Barrier::new(2).unwrap();
            let waiter = barrier.clone();
            let index = gets_it(move || waiter.wait_timeout(limit), || assert_eq!(barrier.wait(), Ok(1)));
            assert_eq!(index, Ok(0));
        }
    });
}
