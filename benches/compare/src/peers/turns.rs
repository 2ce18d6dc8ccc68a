//! Taking turns: peers add to one number, each time under a lock or with the only permit, until it has reached a limit.
//!
//! They do so as often as they get the lock, so that all contend until the end, whoever is favoured. A number that a lock does not hold itself is read and
//! written by two accesses; if two peers were ever let in at once, an addition would be lost, and in the end they would have made more turns than the
//! number says. With one peer, it is the price of a lock that nobody contends for.

use super::flow::Flow;
use super::gate::Gate;
use super::now;
use super::processes::{Ticket, finish, start};
use anyhow::{Result, anyhow, ensure};
use serde::{Deserialize, Serialize};

/// A number, and what lets one at a time change it.
pub trait Guarded {
    /// Takes the lock, adds one to the number unless it has reached `limit`, and gives the lock back: whether one was added.
    ///
    /// Always inlined: else some would be called and others not, and the registers that a call saves cost as much as half a lock, whose exchange waits for them to be stored.
    fn add_one(&mut self, limit: u64) -> bool;
}

/// One peer's share of the work.
#[derive(Serialize, Deserialize)]
struct Work<E> {
    gate: Gate,
    end: E,
    limit: u64,
}

/// What one peer did.
#[derive(Serialize, Deserialize)]
struct Part {
    start: u64,
    end: u64,
    turns: u64,
}

/// Has processes take `limit` turns in all.
pub fn processes<T: Ticket<End: Guarded>>(ends: Vec<T>, limit: u64) -> Result<Flow> {
    let gate = Gate::new(ends.len())?;
    let work = ends.into_iter().map(|end| Work { gate: gate.clone(), end, limit });
    let peers: Result<Vec<_>> = work.map(|work| start(|work| take_turns(open(work)), work)).collect();
    add_up(&finish(peers?)?, limit)
}

/// Has threads of this process take `limit` turns in all.
pub fn threads<T: Guarded + Send>(ends: Vec<T>, limit: u64) -> Result<Flow> {
    let gate = Gate::new(ends.len())?;
    let parts: Result<Vec<Part>> = std::thread::scope(|scope| {
        let work = ends.into_iter().map(|end| Work { gate: gate.clone(), end, limit });
        let peers: Vec<_> = work.map(|work| scope.spawn(|| take_turns(work))).collect();
        peers.into_iter().map(|peer| peer.join().map_err(|_| anyhow!("a peer panicked"))).collect()
    });
    add_up(&parts?, limit)
}

fn open<T: Ticket>(work: Work<T>) -> Work<T::End> {
    let Work { gate, end, limit } = work;
    let end = end.open().unwrap_or_else(|error| panic!("a peer cannot open its end: {error:#}"));
    Work { gate, end, limit }
}

fn take_turns<E: Guarded>(mut work: Work<E>) -> Part {
    work.gate.pass();
    let start = now();
    let mut turns = 0;
    while work.end.add_one(work.limit) {
        turns += 1;
    }
    Part { start, end: now(), turns }
}

/// Checks that no turn was lost.
fn add_up(parts: &[Part], limit: u64) -> Result<Flow> {
    let turns: u64 = parts.iter().map(|part| part.turns).sum();
    ensure!(turns == limit, "the number says {limit} turns, and {turns} were taken: two peers were let in at once");
    Ok(Flow::new(turns, parts.iter().map(|part| [part.start, part.end])))
}

#[cfg(test)]
mod tests {
    use super::{Guarded, threads};
    use crate::peers::shared::Shared;
    use crate::rivals::number::{Number, add_one};
    use std::sync::Arc;
    use std::sync::Barrier;

    /// Lets two in at once, the first time.
    struct Careless {
        number: Shared<Number>,
        together: Arc<Barrier>,
        is_first: bool,
    }

    impl Guarded for Careless {
        fn add_one(&mut self, limit: u64) -> bool {
            if std::mem::take(&mut self.is_first) {
                let found = self.number.value();
                self.together.wait();
                self.number.set(found + 1);
                self.together.wait();
                return true;
            }
            add_one(&self.number, limit)
        }
    }

    #[test]
    fn a_lock_that_lets_two_in_at_once_is_found_out() {
        let (number, together) = (Shared::<Number>::new().unwrap(), Arc::new(Barrier::new(2)));
        let end = || Careless { number: number.clone(), together: together.clone(), is_first: true };
        let error = threads(vec![end(), end()], 1).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("2 were taken"), "{error}");
    }
}
