//! What a process asks the kernel for while it waits, seen by tracing it: sleeps whose length is relative, or which end at a point of the monotonic clock. So it is nothing to
//! anybody who waits when the real-time clock is set.

use crate::company::MOMENT;
use crate::harness::alone;
use shmkit_sync::{Barrier, Condvar, CountingSemaphore, Event, Mutex, OnceLock, RwLock, Select, Semaphore};

/// A system call: its number and its arguments.
type Call = (i64, [u64; 6]);

/// Runs `work` again and again in a fork of this process, which has one thread, and says what it called, once that is `enough`.
fn calls(work: fn(), enough: impl Fn(&[Call]) -> bool) -> Vec<Call> {
    // SAFETY: the fork does what `work` does, and ends; there is no other thread whose locks it could need.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        // SAFETY: no memory is involved, here and below.
        let traced = unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0_usize, 0_usize) } == 0;
        // SAFETY: as above.
        unsafe { libc::raise(libc::SIGSTOP) };
        let failed = !traced
            || std::panic::catch_unwind(|| {
                loop {
                    work()
                }
            })
            .is_err();
        // SAFETY: ends this process, without what was registered to run at the exit of the one that was forked.
        unsafe { libc::_exit(i32::from(failed)) };
    }
    let wait = || {
        let mut status = -1;
        // SAFETY: `status` is an integer of this closure's own.
        let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
        assert_eq!(waited, pid);
        status
    };
    assert!(libc::WIFSTOPPED(wait()), "the fork cannot be traced");
    let options = (libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_EXITKILL) as usize;
    // SAFETY: no memory is involved.
    let outcome = unsafe { libc::ptrace(libc::PTRACE_SETOPTIONS, pid, 0_usize, options) };
    assert_eq!(outcome, 0);
    let mut calls = Vec::new();
    loop {
        // SAFETY: no memory is involved.
        let outcome = unsafe { libc::ptrace(libc::PTRACE_SYSCALL, pid, 0_usize, 0_usize) };
        assert_eq!(outcome, 0);
        let status = wait();
        assert!(libc::WIFSTOPPED(status), "the fork has failed: its message is above");
        // No signal is on its way: there are only stops at calls.
        assert_eq!(libc::WSTOPSIG(status), libc::SIGTRAP | 0x80);
        calls.extend(entered(pid));
        if enough(&calls) {
            // SAFETY: no memory is involved.
            unsafe { libc::kill(pid, libc::SIGKILL) };
            while !libc::WIFSIGNALED(wait()) {}
            return calls;
        }
    }
}

/// The call that a traced process is about to enter; `None` if it comes back from one.
fn entered(pid: libc::pid_t) -> Option<Call> {
    // SAFETY: all zero is such a structure.
    let mut info: libc::ptrace_syscall_info = unsafe { std::mem::zeroed() };
    let length = size_of_val(&info);
    // SAFETY: the kernel writes at most `length` bytes to `info`.
    let written = unsafe { libc::ptrace(libc::PTRACE_GET_SYSCALL_INFO, pid, length, &raw mut info) };
    assert!(written > 0, "Linux 5.3 or later");
    if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
        return None;
    }
    // SAFETY: by what `op` says, it is this variant.
    let entry = unsafe { info.u.entry };
    Some((entry.nr as i64, entry.args))
}

/// Each way of waiting, for a time that runs out.
fn wait_in_vain() {
    let (mutex, lock, semaphore) = (Mutex::new(0).unwrap(), RwLock::new(0).unwrap(), Semaphore::new(1).unwrap());
    let held = (mutex.lock().unwrap(), lock.read().unwrap(), semaphore.acquire().unwrap());
    assert!(mutex.lock_timeout(MOMENT).is_err() && lock.write_timeout(MOMENT).is_err());
    assert!(semaphore.acquire_timeout(MOMENT).is_err() && semaphore.acquire_many_timeout(1, MOMENT).is_err());
    drop(held);
    let _writer = lock.write().unwrap();
    assert!(lock.read_deadline(std::time::Instant::now() + MOMENT).is_err());
    let (event, counting) = (Event::new().unwrap(), CountingSemaphore::new(1).unwrap());
    assert!(event.wait_timeout(MOMENT).is_err() && counting.acquire_timeout(MOMENT).is_err());
    assert!(OnceLock::<u64>::new().unwrap().wait_timeout(MOMENT).is_err());
    assert!(Barrier::new(2).unwrap().wait_timeout(MOMENT).is_err());
    assert!(Condvar::new().unwrap().wait_timeout(mutex.lock().unwrap(), MOMENT).is_ok());
    let mut select: Select = [event.watch(), counting.watch()].into_iter().collect();
    assert_eq!(select.wait_timeout(MOMENT), None);
}

/// The ways of waiting in [`wait_in_vain`] that sleep on one word.
const ON_ONE_WORD: usize = 10;

fn is_plain_wait(call: &Call) -> bool {
    call.0 == libc::SYS_futex && call.1[1] as i32 & libc::FUTEX_CMD_MASK == libc::FUTEX_WAIT
}

/// Whether each way has been seen to sleep, several times over. (On a busy machine the time can be up before anybody sleeps.)
fn is_enough(calls: &[Call]) -> bool {
    let of_several = calls.iter().filter(|call| call.0 == libc::SYS_futex_waitv).count();
    of_several >= 3 && calls.iter().filter(|call| is_plain_wait(call)).count() >= 3 * ON_ONE_WORD
}

#[test]
fn no_sleep_depends_on_the_real_time_clock() {
    alone(|()| {
        let calls = calls(wait_in_vain, is_enough);
        let of = |number: i64| calls.iter().filter(move |call| call.0 == number).map(|call| call.1);
        // The second argument: what to do, and with which clock. A plain wait has a length and not an end.
        let futexes: Vec<_> = of(libc::SYS_futex).map(|arguments| arguments[1] as i32).collect();
        assert!(futexes.iter().all(|operation| operation & libc::FUTEX_CLOCK_REALTIME == 0), "{futexes:x?}");
        // Those that take a point in time are not of this toolkit; by default it is one of the monotonic clock. Locks that inherit priorities know no other than the real-time clock.
        let known = [libc::FUTEX_WAIT, libc::FUTEX_WAKE, libc::FUTEX_WAIT_BITSET, libc::FUTEX_WAKE_BITSET];
        assert!(futexes.iter().all(|operation| known.contains(&(operation & libc::FUTEX_CMD_MASK))), "{futexes:x?}");
        // The fifth argument is the clock. Before Linux 5.16 there is no such call, and short sleeps take its place.
        let on_several: Vec<_> = of(libc::SYS_futex_waitv).map(|arguments| arguments[4] as libc::clockid_t).collect();
        assert!(on_several.iter().all(|clock| *clock == libc::CLOCK_MONOTONIC));
        let until_a_point = |arguments: &[u64; 6]| arguments[1] as i32 & libc::TIMER_ABSTIME != 0;
        let sleeps = of(libc::SYS_clock_nanosleep).filter(until_a_point);
        assert!(sleeps.into_iter().all(|arguments| arguments[0] as libc::clockid_t == libc::CLOCK_MONOTONIC));
    });
}
