//! The second kill in a queue of buffers: whoever recovers from a death is killed too, at every site, and so is who goes on beside the dead.

use super::{Act, Buffers, COUNT, Death};
use crate::harness::{Orders, at_every_site, came_through};
use crate::queues::number;
use crate::traffic::VICTIMS;
use shmkit::prelude::*;
use shmkit::segment::crash;

/// Two messages that wait, of which a receiver takes the first, from the last cell of the ring.
fn queue() -> Buffers {
    Buffers::new(2 * COUNT as u64 - 1, 2)
}

/// The messages of that queue, the first and the second.
const FIRST: u64 = 2 * COUNT as u64;
const SECOND: u64 = FIRST + 1;

/// A receiver dies when it has taken a message: at once, when it is about to move the head, and when it has.
fn deaths_with_a_message() -> [(&'static str, Death); 3] {
    let find = |operation, nth| Death::find(queue, Act::TryRecv, operation, nth);
    let about_to = find("fetch_max", 1);
    let after = Death { at: about_to.at + 1, ..find("fetch_max", 1) };
    [
        ("a receiver that has taken", find("compare_exchange won", 1)),
        ("a receiver about to move the head", about_to),
        ("a receiver that has moved the head", after),
    ]
}

/// Whoever has died is reaped at every site of that, and then once more. What the dead had comes, if it was a message.
pub(crate) fn reapers() {
    let find = |act, operation, nth| Death::find(queue, act, operation, nth);
    let [(_, holder), ..] = deaths_with_a_message();
    let beside_holder = move || holder.happen().0;
    let deaths = [
        // It has the buffer, and nothing in it.
        ("a buffer sender that owns a buffer", find(Act::TrySend, "compare_exchange won", 1), vec![FIRST, SECOND]),
        // READY, and in no cell yet.
        ("a buffer sender about to publish", find(Act::TrySend, "compare_exchange", 2), vec![FIRST, SECOND, VICTIMS]),
        (
            "a buffer sender that has published",
            find(Act::TrySend, "compare_exchange won", 2),
            vec![FIRST, SECOND, VICTIMS],
        ),
        ("a buffer receiver that has taken", find(Act::TryRecv, "compare_exchange won", 1), vec![SECOND, FIRST]),
        ("a buffer receiver that gives back", find(Act::Nack, "fetch_add", 1), vec![SECOND, FIRST]),
        // It has put the message of another one into its own name.
        ("a reaper of a buffer receiver", Death::find(beside_holder, Act::Reap, "fetch_add", 1), vec![SECOND, FIRST]),
    ];
    for (name, death, expected) in deaths {
        at_every_site(&format!("reaper of {name}"), |orders| {
            let (mut buffers, _) = death.happen();
            let done = came_through(buffers.spawn(orders, Act::Reap));
            buffers.receiver.segment().reap_dead();
            assert_eq!(buffers.receiver.segment().peer_count(), 1);
            assert_eq!(buffers.drain(), expected, "after {name} and its reaper");
            assert!(!buffers.pass_rounds(), "every buffer is back");
            done
        });
    }
}

/// How a victim notes that it has received a message.
const RECEIVED: u64 = 1_000_000;

fn go_round((orders, sender, receiver): (Orders, buffer::Sender, buffer::Receiver)) {
    let mut ledger = orders.arm();
    for item in VICTIMS..VICTIMS + COUNT as u64 {
        sender.try_send(&item.to_le_bytes()).expect("a buffer is free");
        ledger.note(item);
        let lease = receiver.try_recv().expect("one was sent");
        ledger.note(RECEIVED + number(&lease));
        lease.ack();
    }
    crash::disarm();
}

/// A receiver has died with a message, and nobody has noticed. Others send and receive, and overwrite the cell from which it took; one of
/// them dies too, at every site of that.
pub(crate) fn those_who_go_on_beside_the_dead() {
    for (name, death) in deaths_with_a_message() {
        at_every_site(&format!("buffer user beside {name}"), |orders| {
            let (mut buffers, _) = death.happen();
            let handles = (orders.clone(), buffers.sender.clone(), buffers.receiver.clone());
            let done = came_through(spawn(go_round, handles).unwrap());
            buffers.receiver.segment().reap_dead();
            let rest = buffers.drain();
            let (received, sent): (Vec<u64>, Vec<u64>) = orders.ledger().into_iter().partition(|&item| item > RECEIVED);
            let received: Vec<u64> = received.into_iter().map(|item| item - RECEIVED).collect();
            let in_order: Vec<u64> = [SECOND].into_iter().chain(VICTIMS..VICTIMS + COUNT as u64).collect();
            assert!(in_order.starts_with(&received), "out of order: {received:?}");
            let times = |list: &[u64], item| list.iter().filter(|&&other| other == item).count();
            assert_eq!(times(&rest, FIRST), 1, "what the dead had comes once: {rest:?}");
            for item in in_order {
                let (noted, came) = (times(&received, item), times(&rest, item));
                // Noted before it was acknowledged; sent before that was noted.
                let is_last = received.last() == Some(&item);
                let is_known = item == SECOND || sent.contains(&item);
                assert!(
                    noted + came == 1 || noted + came == 2 && is_last || !is_known && came == 0,
                    "{item}: {rest:?}"
                );
            }
            assert!(!done || rest.len() == 2, "{rest:?}");
            assert!(!buffers.pass_rounds(), "every buffer is back");
            done
        });
    }
}
