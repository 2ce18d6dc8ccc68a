use crate::{Bare, explore, with};
use shmkit_sync::Event;

#[test]
fn an_event_that_is_set_wakes_who_waits_and_publishes_what_was_done() {
    explore(4, || {
        let event = Event::private().unwrap();
        let bare = Bare::new();
        let theirs = bare.clone();
        let thread = with(as_another_peer!(event: Event), move |event| {
            event.wait().unwrap();
            assert_eq!(theirs.get(), 1);
        });
        bare.set(1);
        event.set();
        let _other = thread.join().unwrap();
    });
}

#[test]
fn an_event_wakes_all_who_wait() {
    explore(2, || {
        let event = Event::private().unwrap();
        let threads = [(); 2].map(|()| with(event.clone(), |event| event.wait().unwrap()));
        event.set();
        let _others = threads.map(|thread| thread.join().unwrap());
    });
}

/// Whoever has announced that it waits has looked at the event before.
#[test]
fn who_waits_for_an_event_goes_on_even_if_it_is_cleared_at_once() {
    explore(4, || {
        let event = Event::private().unwrap();
        let thread = with(as_another_peer!(event: Event), |event| event.wait().unwrap());
        let is_awaited = event.watch().event().is_awaited();
        event.set();
        if is_awaited {
            event.clear();
        }
        let _other = thread.join().unwrap();
        assert_eq!(event.is_set(), !is_awaited);
    });
}
