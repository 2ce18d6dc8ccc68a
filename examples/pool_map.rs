//! Maps a function over a pool of four worker processes. The results come in the order of the arguments.
//!
//! ```text
//! [1, 4, 9, 16, 25]
//! ```

use shmkit::pool::Pool;
use std::error::Error;

fn square(x: u64) -> u64 {
    x * x
}

fn main() -> Result<(), Box<dyn Error>> {
    let pool = Pool::new(4)?;
    // Each task has a result of its own; collecting them stops at the first that failed.
    let squares: Vec<u64> = pool.map(square, [1, 2, 3, 4, 5]).collect::<Result<_, _>>()?;
    println!("{squares:?}");
    Ok(())
    // The pool is dropped here, and its workers end.
}
