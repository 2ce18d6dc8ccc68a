//! Runs functions in processes of their own and learns how each of them ended.
//!
//! ```text
//! square: returned 144
//! leave: ended with exit status: 3
//! divide: panicked at examples/process.rs:31:5: attempt to divide by zero
//! ```
//!
//! The usual text of the panic appears on standard error as well: the child writes it.

use shmkit::process::{JoinError, spawn};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    // All three run at the same time. A function takes one argument: anything that serde can encode.
    let square = spawn(square, 12)?;
    let leave = spawn(leave, 3)?;
    let divide = spawn(divide, (42, 0))?;

    println!("square: {}", describe(square.join()));
    println!("leave: {}", describe(leave.join()));
    println!("divide: {}", describe(divide.join()));
    Ok(())
}

fn square(x: u32) -> u32 {
    x * x
}

fn divide((a, b): (u32, u32)) -> u32 {
    a / b
}

/// Ends its process without returning, as a function deep in some library may.
fn leave(code: i32) -> u32 {
    std::process::exit(code)
}

/// A join always ends when the process does, and says how that was.
fn describe(outcome: Result<u32, JoinError>) -> String {
    match outcome {
        Ok(value) => format!("returned {value}"),
        Err(JoinError::Panicked { message, location }) => {
            format!("panicked at {}: {message}", location.as_deref().unwrap_or("an unknown place"))
        }
        // The number that was given to `exit`, or the signal that killed it.
        Err(JoinError::Exited { status }) => format!("ended with {status}"),
        Err(other) => other.to_string(),
    }
}
