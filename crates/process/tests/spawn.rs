//! `spawn` and `join`, seen from outside: results, and every other way in which a child can end.
#![cfg(feature = "hook")]

mod rendezvous;

use rendezvous::{Rendezvous, stay};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use shmkit_process::{Builder, JoinError, JoinHandle, Refusal, SpawnError, StartFailure, spawn};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

#[test]
fn the_result_of_a_function_is_returned() {
    fn square(x: u64) -> u64 {
        x * x
    }
    assert_eq!(spawn(square, 12).unwrap().join().unwrap(), 144);
}

#[test]
fn a_closure_that_captures_nothing_is_a_function_too() {
    let child = spawn(|(a, b): (String, Vec<i32>)| format!("{a}{b:?}"), ("x".into(), vec![1, -2])).unwrap();
    assert_eq!(child.join().unwrap(), "x[1, -2]");
}

#[test]
fn a_generic_function_is_called_with_its_types() {
    fn name<T: 'static>(_: ()) -> String {
        std::any::type_name::<T>().into()
    }
    let first = spawn(name::<u8>, ()).unwrap();
    let second = spawn(name::<Vec<char>>, ()).unwrap();
    assert_eq!(first.join().unwrap(), "u8");
    assert_eq!(second.join().unwrap(), std::any::type_name::<Vec<char>>());
}

#[test]
fn the_function_runs_in_another_process_whose_number_the_handle_knows() {
    let child = spawn(|()| std::process::id(), ()).unwrap();
    let pid = child.pid();
    assert_ne!(pid, std::process::id());
    assert_eq!(child.join().unwrap(), pid);
}

#[test]
fn a_panic_arrives_with_its_message_and_location() {
    let line = line!() + 1;
    let child = spawn(|n: u32| assert!(n == 0, "no {n} please"), 7).unwrap();
    let Err(JoinError::Panicked { message, location }) = child.join() else { panic!() };
    assert_eq!(message, "no 7 please");
    assert!(location.unwrap().starts_with(&format!("{}:{line}:", file!())));
}

#[test]
fn a_panic_message_of_any_size_arrives() {
    let child = spawn::<_, ()>(|()| std::panic::resume_unwind(Box::new("x".repeat(1_000_000))), ()).unwrap();
    let Err(JoinError::Panicked { message, .. }) = child.join() else { panic!() };
    assert!(message.len() == 1_000_000);
}

#[test]
fn a_panic_that_is_only_resumed_does_not_borrow_an_earlier_location() {
    let child = spawn::<_, ()>(
        |()| {
            let _ = std::panic::catch_unwind(|| panic!("caught"));
            std::panic::resume_unwind(Box::new("resumed"))
        },
        (),
    );
    let Err(JoinError::Panicked { message, location }) = child.unwrap().join() else { panic!() };
    assert_eq!((message.as_str(), location), ("resumed", None));
}

#[test]
fn a_panic_of_another_thread_of_the_child_is_its_own_affair() {
    let child = spawn(|()| std::thread::spawn(|| panic!("in a thread")).join().is_err(), ()).unwrap();
    assert!(child.join().unwrap());
}

#[test]
fn exit_in_the_function_is_seen_with_its_code() {
    let child = spawn::<_, ()>(|code: i32| std::process::exit(code), 3).unwrap();
    let Err(JoinError::Exited { status }) = child.join() else { panic!() };
    assert_eq!((status.code(), status.signal()), (Some(3), None));
}

#[test]
fn an_abort_of_the_function_is_seen_as_its_signal() {
    let child = spawn::<_, ()>(|()| std::process::abort(), ()).unwrap();
    let Err(JoinError::Exited { status }) = child.join() else { panic!() };
    assert_eq!(status.signal(), Some(6));
}

#[test]
fn a_killed_child_is_seen_as_killed() {
    let rendezvous = Rendezvous::new();
    let child = spawn(stay, rendezvous.place()).unwrap();
    let met = rendezvous.meet();
    assert!(child.is_alive());
    assert_eq!(met.pid, child.pid());
    child.kill().unwrap();
    met.await_death();
    let Err(JoinError::Exited { status }) = child.join() else { panic!() };
    assert_eq!(status.signal(), Some(9));
}

#[test]
fn terminate_ends_a_child_by_its_default_action() {
    let rendezvous = Rendezvous::new();
    let child = spawn(stay, rendezvous.place()).unwrap();
    let _met = rendezvous.meet();
    child.terminate().unwrap();
    let Err(JoinError::Exited { status }) = child.join() else { panic!() };
    assert_eq!(status.signal(), Some(15));
}

#[test]
fn a_child_killed_at_any_moment_after_its_start_ends_the_join() {
    for _ in 0..50 {
        let child = spawn(|()| "done".to_owned(), ()).unwrap();
        child.kill().unwrap();
        match child.join() {
            Ok(result) => assert_eq!(result, "done"),
            Err(JoinError::Exited { status }) => assert_eq!(status.signal(), Some(9)),
            Err(JoinError::NeverStarted(StartFailure::Ended { status })) => {
                assert_eq!(status.unwrap().signal(), Some(9));
            }
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn waiting_without_or_with_a_limit_gives_nothing_while_the_child_runs() {
    let rendezvous = Rendezvous::new();
    let mut child = spawn(stay, rendezvous.place()).unwrap();
    let met = rendezvous.meet();
    assert!(child.try_join().is_none());
    assert!(child.join_timeout(Duration::from_millis(1)).is_none());
    assert!(child.join_deadline(Instant::now()).is_none());
    drop(met);
    child.join_timeout(Duration::MAX).unwrap().unwrap();
    assert!(!child.is_alive());
    assert!(matches!(child.try_join(), Some(Err(JoinError::AlreadyJoined))));
    child.kill().unwrap();
}

#[test]
fn the_descriptor_of_a_handle_is_ready_when_the_child_has_ended() {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let rendezvous = Rendezvous::new();
    let mut child = spawn(stay, rendezvous.place()).unwrap();
    let met = rendezvous.meet();
    let ready = |child: &JoinHandle<()>, limit: Option<&Timespec>| {
        poll(&mut [PollFd::new(&child.as_fd(), PollFlags::IN)], limit).unwrap()
    };
    assert_eq!(ready(&child, Some(&Timespec::default())), 0);
    drop(met);
    assert_eq!(ready(&child, None), 1);
    child.try_join().expect("it has ended").unwrap();
}

#[test]
fn arguments_and_results_of_64_mib_travel() {
    let text = "0123456789abcdef".repeat(4 << 20);
    let child = spawn(|text: String| text, text.clone()).unwrap();
    assert!(child.join().unwrap() == text);
}

#[test]
fn a_child_starts_a_child() {
    fn depth(n: u32) -> u32 {
        if n == 0 { 0 } else { 1 + spawn(depth, n - 1).unwrap().join().unwrap() }
    }
    assert_eq!(spawn(depth, 3).unwrap().join().unwrap(), 3);
}

#[test]
fn two_hundred_children_run_at_once() {
    let rendezvous = Rendezvous::new();
    let count = |(place, n): (PathBuf, u64)| {
        stay(place);
        n
    };
    let children: Vec<_> = (0..200).map(|n| spawn(count, (rendezvous.place(), n)).unwrap()).collect();
    let met: Vec<_> = (0..200).map(|_| rendezvous.meet()).collect();
    drop(met);
    let sum: u64 = children.into_iter().map(|child| child.join().unwrap()).sum();
    assert_eq!(sum, 199 * 200 / 2);
}

#[test]
fn many_threads_spawn_at_once() {
    std::thread::scope(|scope| {
        for thread in 0..8_u32 {
            scope.spawn(move || {
                for n in 0..10 {
                    assert_eq!(spawn(|(a, b)| a * 100 + b, (thread, n)).unwrap().join().unwrap(), thread * 100 + n);
                }
            });
        }
    });
}

/// Encodes to nothing, or fails, as it is told.
#[derive(Debug)]
struct Awkward(bool);

impl Serialize for Awkward {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 { Err(serde::ser::Error::custom("no")) } else { serializer.serialize_unit() }
    }
}

impl<'de> Deserialize<'de> for Awkward {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("never"))
    }
}

#[test]
fn arguments_and_results_that_cannot_be_encoded_or_decoded_are_errors() {
    assert!(matches!(spawn(|_: Awkward| (), Awkward(true)), Err(SpawnError::Encode(_))));
    let child = spawn(|_: Awkward| (), Awkward(false)).unwrap();
    assert!(matches!(child.join(), Err(JoinError::NeverStarted(StartFailure::Refused(Refusal::Arguments(_))))));
    let child = spawn(|()| Awkward(true), ()).unwrap();
    assert!(matches!(child.join(), Err(JoinError::ResultNotEncodable { .. })));
    let child = spawn(|()| Awkward(false), ()).unwrap();
    assert!(matches!(child.join(), Err(JoinError::ResultNotDecodable(_))));
}

#[test]
fn the_name_and_the_variables_given_are_the_childs() {
    let look = |()| {
        let comm = std::fs::read_to_string("/proc/self/comm").unwrap();
        (std::env::args().collect::<Vec<_>>(), comm, std::env::var("A_B").ok(), std::env::var_os("SHMKIT_CHILD"))
    };
    let child = Builder::new().name("a-worker-with-a-long-name").env("A_B", "1").env("A_B", "2=3").spawn(look, ());
    let (args, comm, variable, mark) = child.unwrap().join().unwrap();
    assert_eq!(args, ["a-worker-with-a-long-name"]);
    assert_eq!(comm, "a-worker-with-a\n");
    assert_eq!(variable.as_deref(), Some("2=3"));
    assert_eq!(mark, None);
    let (args, ..) = spawn(look, ()).unwrap().join().unwrap();
    assert_eq!(args, [std::env::args().next().unwrap()]);
}

#[test]
fn names_and_variables_that_no_process_can_have_are_refused() {
    let builders = [
        Builder::new().name("a\0b"),
        Builder::new().env("", "x"),
        Builder::new().env("A=B", "x"),
        Builder::new().env("A\0", "x"),
        Builder::new().env("A", "x\0"),
        Builder::new().env("SHMKIT_CHILD", "3:4"),
    ];
    for builder in builders {
        assert!(matches!(builder.spawn(|()| (), ()), Err(SpawnError::Invalid { .. })), "{builder:?}");
    }
}

#[test]
fn a_write_to_a_closed_pipe_is_an_error_in_a_child_and_not_its_death() {
    let write = |()| {
        let (reader, mut writer) = std::io::pipe().unwrap();
        drop(reader);
        std::io::Write::write(&mut writer, b"x").unwrap_err().kind() == std::io::ErrorKind::BrokenPipe
    };
    assert!(spawn(write, ()).unwrap().join().unwrap());
}

#[test]
fn a_child_has_no_signal_blocked_even_if_the_spawning_thread_has() {
    let blocked = |()| {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        status.lines().find_map(|line| line.strip_prefix("SigBlk:\t")).unwrap().to_owned()
    };
    block_sigusr1_in_this_thread();
    assert_eq!(blocked(()), "0000000000000200");
    assert_eq!(spawn(blocked, ()).unwrap().join().unwrap(), "0000000000000000");
}

#[allow(unsafe_code)]
fn block_sigusr1_in_this_thread() {
    let mut set = std::mem::MaybeUninit::uninit();
    // SAFETY: the pointer is to writable memory of the right type.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: the set was initialised by the call above, as for the next call.
    unsafe { libc::sigaddset(set.as_mut_ptr(), libc::SIGUSR1) };
    // SAFETY: a set to read, and none to write.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut()) };
}

#[test]
fn a_mark_that_was_left_over_makes_no_child_and_spawn_refuses() {
    let nested = |()| {
        // This child's only thread: nobody else reads the environment.
        set_var("SHMKIT_CHILD", "77:1");
        shmkit_process::init();
        let refused = matches!(spawn(|()| (), ()), Err(SpawnError::NestedStart));
        let program = std::env::current_exe().unwrap();
        let main_ran = std::process::Command::new(program).arg("--list").output().unwrap();
        (refused, main_ran.status.success() && String::from_utf8_lossy(&main_ran.stdout).contains("left_over"))
    };
    assert_eq!(spawn(nested, ()).unwrap().join().unwrap(), (true, true));
}

#[allow(unsafe_code)]
fn set_var(key: &str, value: &str) {
    // SAFETY: called by a process with one thread.
    unsafe { std::env::set_var(key, value) };
}

#[test]
#[allow(unsafe_code)]
fn a_function_of_a_shared_library_is_refused() {
    unsafe extern "C" {
        fn getpid() -> i32;
    }
    // SAFETY: both are thin pointers to code. The function is not called by this type.
    let foreign = unsafe { std::mem::transmute::<*mut std::ffi::c_void, fn(u8) -> u8>(libc_address(c"getpid")) };
    // Keeps the linker from dropping the library.
    // SAFETY: takes nothing and has no conditions.
    assert!(unsafe { getpid() } > 0);
    assert!(matches!(spawn(foreign, 1), Err(SpawnError::FunctionOutsideImage)));
}

/// The address of a function in the C library itself, not in this program's table of calls into it.
#[allow(unsafe_code)]
fn libc_address(name: &std::ffi::CStr) -> *mut std::ffi::c_void {
    // SAFETY: a C string, and a handle that stands for the libraries after this image.
    let address = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
    assert!(!address.is_null());
    address
}
