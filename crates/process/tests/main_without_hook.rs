//! A program with a `main` of its own and the feature `hook` off: with a call of `init`, and without.
//!
//! Run it by `cargo test -p shmkit-process --no-default-features`; with the hook there is nothing to test here.

#[cfg(feature = "hook")]
fn main() {
    println!("skipped: the feature `hook` is on");
}

#[cfg(not(feature = "hook"))]
fn main() {
    tests::main();
}

#[cfg(not(feature = "hook"))]
mod rendezvous;

#[cfg(not(feature = "hook"))]
mod tests {
    use super::rendezvous::{self, Rendezvous};
    use shmkit_process::{Builder, JoinError, Refusal, SpawnError, StartFailure, init, spawn};
    use std::time::Duration;

    /// Tells a child how its `main` is to go wrong.
    const MODE: &str = "TEST_MODE";

    pub(crate) fn main() {
        match std::env::var(MODE).as_deref() {
            Ok("forgets init") => match spawn(|()| (), ()) {
                Err(SpawnError::NestedStart) => std::process::exit(42),
                other => panic!("{other:?}"),
            },
            Ok("forgets init and stays") => {
                rendezvous::stay(std::env::var_os("PLACE").unwrap().into());
            }
            Ok("calls init late") => {
                let _other = std::thread::spawn(std::thread::park);
                init();
            }
            _ => {
                init();
                a_program_that_calls_init_has_children();
                a_program_that_forgets_init_starts_one_process_and_no_more();
                a_program_that_forgets_init_and_goes_on_is_killed();
                a_program_that_calls_init_with_threads_running_is_told();
                println!("4 tests passed");
            }
        }
    }

    fn a_program_that_calls_init_has_children() {
        let child = spawn(|x: u32| spawn(|x: u32| x + 1, x).unwrap().join().unwrap() + 1, 40).unwrap();
        assert_eq!(child.join().unwrap(), 42);
        assert!(matches!(spawn::<_, ()>(|()| panic!("x"), ()).unwrap().join(), Err(JoinError::Panicked { .. })));
    }

    fn a_program_that_forgets_init_starts_one_process_and_no_more() {
        let child = Builder::new().env(MODE, "forgets init").spawn(|()| (), ()).unwrap();
        match child.join() {
            Err(JoinError::NeverStarted(StartFailure::Ended { status: Some(status) })) => {
                assert_eq!(status.code(), Some(42));
            }
            other => panic!("{other:?}"),
        }
    }

    fn a_program_that_forgets_init_and_goes_on_is_killed() {
        let rendezvous = Rendezvous::new();
        let builder = Builder::new().env(MODE, "forgets init and stays").env("PLACE", rendezvous.place());
        let child = builder.startup_timeout(Duration::from_millis(100)).spawn(|()| (), ()).unwrap();
        let met = rendezvous.meet();
        match child.join() {
            Err(JoinError::NeverStarted(StartFailure::TimedOut { allowed })) => {
                assert_eq!(allowed, Duration::from_millis(100));
            }
            other => panic!("{other:?}"),
        }
        met.await_death();
    }

    fn a_program_that_calls_init_with_threads_running_is_told() {
        let child = Builder::new().env(MODE, "calls init late").spawn(|()| (), ()).unwrap();
        let refused = child.join();
        assert!(
            matches!(refused, Err(JoinError::NeverStarted(StartFailure::Refused(Refusal::ThreadsRunning)))),
            "{refused:?}"
        );
    }
}
