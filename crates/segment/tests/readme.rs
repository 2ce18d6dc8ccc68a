//! The example of the README: it runs, and is what stands here between the marks.
#![cfg(not(loom))]

#[rustfmt::skip]
mod example {
// -----
use shmkit_segment::primitive::{AtomicU64, Ordering};
use shmkit_segment::{At, Configuration, Error, Mapped, Memory, Object, Options, PeerId, Plan, kind};
use std::alloc::Layout;

struct Counter(Mapped<AtomicU64>); // a number that all peers add to

impl Object for Counter {
    const KIND: u32 = kind(b"CNTR");
    const HARDENED: bool = true; // whatever others write into it is a number
    type Parts = At<AtomicU64>;

    fn payload() -> Layout { Layout::new::<u64>() }
    fn plan(_: &Configuration, plan: &mut Plan) -> Result<At<AtomicU64>, Error> { plan.one() }
    fn attach(memory: &Memory, parts: &At<AtomicU64>) -> Self { Self(memory.one(*parts)) }
    fn sweep(&self, _dead: PeerId, _reaper: PeerId) {} // an addition is never half done
    fn wake_all(&self) {}                              // and nobody waits
}

pub(super) fn main() -> Result<(), Error> {
    let segment = Options::new().anonymous::<Counter>([0; 8])?;
    let same = segment.join()?; // a second peer, here in the same process
    segment.object().0.fetch_add(2, Ordering::Relaxed);
    assert_eq!(same.object().0.load(Ordering::Relaxed), 2);
    assert!(segment.peers().iter().all(|peer| peer.is_alive() && peer.pid() == std::process::id()));
    Ok(())
}
// -----
}

#[test]
fn the_example_of_the_readme_runs_and_is_this_one() {
    let example =
        include_str!("readme.rs").split("// -----\n").nth(1).unwrap().replace("pub(super) fn main", "fn main");
    assert!(include_str!("../README.md").contains(&format!("```rust\n{example}```\n")));
    example::main().unwrap();
}
