//! Runs a function in a new process.
//!
//! ```
//! # shmkit_process::init(); // Needed only without the feature `hook`.
//! use shmkit_process::{JoinError, spawn};
//!
//! fn divide((a, b): (u32, u32)) -> u32 {
//!     a / b
//! }
//!
//! let six = spawn(divide, (42, 7))?;
//! let none = spawn(divide, (42, 0))?;
//!
//! assert_eq!(six.join()?, 6);
//! match none.join() {
//!     Err(JoinError::Panicked { message, location }) => {
//!         assert_eq!(message, "attempt to divide by zero");
//!         assert!(location.is_some()); // The file, line and column of `a / b`.
//!     }
//!     other => panic!("{other:?}"),
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How it works
//!
//! [`spawn`] executes the running program once more, and the new process calls the function instead of `main`. It
//! is not a fork: nothing is shared with the parent but the program's code, standard input, output and error, and what
//! is passed as arguments. Threads, locks and memory of the parent do not exist there, statics have their first
//! value. Arguments and result travel by serde; handles to shared memory among them bring their memory along.
//!
//! # What is guaranteed
//!
//! * A join always ends when the child does, however it ends, and says how: result, panic, exit code, signal.
//! * A result that was sent is received, even if the child is killed right after.
//! * Neither side ever waits for the other to read. Arguments and results of any size go through sealed memory.
//! * A child that does not come up is an error with a deadline, never a hang, and a program that is not prepared for
//!   children starts one and not endlessly many.
//! * Children get no descriptor of this crate but their own, and a parent is left with none, nor with a zombie.
//!
//! # Before `main`, or in it
//!
//! With the feature `hook`, which is on by default, nothing has to be done: a child calls its function from the list of
//! initialisers that the C library runs ahead of `main`. This works in tests and doctests as well. Its limits:
//! initialisers of other libraries may not have run yet (collections of the `ctor` or `inventory` kind may be
//! empty), the thread has no name, a stack overflow is a plain SIGSEGV, and no coverage is recorded. And no
//! initialiser may start a thread that uses the environment, since the child removes its mark from it.
//!
//! Where that matters, turn the feature off and call [`init`] at the top of `main`.
//!
//! # Limits
//!
//! * Linux 5.4 or later, with `/proc` mounted.
//! * The function must be part of the program's executable, not of a shared library it loads.
//! * A program that ignores SIGCHLD, or waits for any child at once, takes away the exit status of these children, and
//!   one that ends immediately can fail to be spawned.
//! * Programs that run with more privileges than their caller cannot have children of this kind: a child's mark in
//!   the environment is not believed there.
//! * Descriptors that the program itself made inheritable are inherited, as by any process it starts.
#![deny(unsafe_code)]

mod builder;
mod child;
mod entry;
mod error;
mod handle;
mod image;
mod launch;
mod lifeline;
mod memory;
mod panics;
mod watch;
mod wire;

pub use builder::{Builder, spawn};
pub use entry::{CallError, Remote};
pub use error::{JoinError, Refusal, SpawnError, StartFailure};
pub use handle::JoinHandle;

/// Becomes a child, if this process was started as one.
///
/// Call it first thing in `main`, before any thread is started, if the feature `hook` is off. In a child it does not
/// return: it calls the function and exits. In any other process, and with the feature on, it does nothing and costs
/// a look at the environment.
///
/// A program that forgets it runs its `main` in the child as well. There [`spawn`] refuses with
/// [`SpawnError::NestedStart`], and the parent's join fails with [`JoinError::NeverStarted`].
pub fn init() {
    child::become_child_if_marked(child::Moment::InMain);
}
