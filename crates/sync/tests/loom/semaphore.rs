use crate::{Bare, at_most, explore, with};
use shmkit_sync::{CountingSemaphore, Semaphore};

#[test]
fn a_permit_is_held_by_one_at_a_time_and_publishes_what_its_holder_did() {
    explore(3, || {
        let semaphore = Semaphore::private(1).unwrap();
        let bare = Bare::new();
        let add = |semaphore: &Semaphore, bare: &Bare| {
            let _permit = semaphore.acquire().unwrap();
            bare.add(1);
        };
        let theirs = bare.clone();
        let thread = with(as_another_peer!(semaphore: Semaphore), move |semaphore| add(semaphore, &theirs));
        add(&semaphore, &bare);
        let _other = thread.join().unwrap();
        assert_eq!(bare.get(), 2);
    });
}

#[test]
fn who_has_all_permits_is_alone() {
    explore(3, || {
        let semaphore = Semaphore::private(2).unwrap();
        let bare = Bare::new();
        let theirs = bare.clone();
        let thread = with(as_another_peer!(semaphore: Semaphore), move |semaphore| {
            let _permit = semaphore.acquire().unwrap();
            theirs.add(1);
        });
        {
            let _permits = semaphore.acquire_many(2).unwrap();
            bare.add(1);
        }
        let _other = thread.join().unwrap();
        assert_eq!((bare.get(), semaphore.available()), (2, 2));
    });
}

/// Each may have one, find too few left for it, and give that back.
#[test]
fn two_who_want_all_permits_get_them_in_turn() {
    explore(at_most(3), || {
        let semaphore = Semaphore::private(2).unwrap();
        let bare = Bare::new();
        let add = |semaphore: &Semaphore, bare: &Bare| {
            let _permits = semaphore.acquire_many(2).unwrap();
            bare.add(1);
        };
        let theirs = bare.clone();
        let thread = with(as_another_peer!(semaphore: Semaphore), move |semaphore| add(semaphore, &theirs));
        add(&semaphore, &bare);
        let _other = thread.join().unwrap();
        assert_eq!((bare.get(), semaphore.available()), (2, 2));
    });
}

/// The one that wants two takes a permit, and gives it back, as the other one is held for as long as the third waits.
#[test]
fn who_has_seen_a_permit_taken_that_is_given_back_gets_it() {
    explore(2, || {
        let semaphore = Semaphore::private(2).unwrap();
        let several =
            with(as_another_peer!(semaphore: Semaphore), |semaphore| drop(semaphore.acquire_many(2).unwrap()));
        let permit = semaphore.acquire().unwrap();
        let single = with(as_another_peer!(semaphore: Semaphore), |semaphore| drop(semaphore.acquire().unwrap()));
        let _single = single.join().unwrap();
        drop(permit);
        let _several = several.join().unwrap();
        assert_eq!(semaphore.available(), 2);
    });
}

#[test]
fn who_acquires_what_was_posted_sees_what_the_poster_did() {
    explore(4, || {
        let semaphore = CountingSemaphore::private(2).unwrap();
        let bare = Bare::new();
        let theirs = bare.clone();
        let thread = with(as_another_peer!(semaphore: CountingSemaphore), move |semaphore| {
            semaphore.acquire().unwrap();
            assert_eq!(theirs.get(), 1);
        });
        bare.set(1);
        semaphore.post().unwrap();
        let _other = thread.join().unwrap();
        assert_eq!(semaphore.available(), 0);
    });
}

#[test]
fn no_post_is_lost_between_one_who_wants_one_and_one_who_wants_two() {
    explore(2, || {
        let semaphore = CountingSemaphore::private(3).unwrap();
        let one = with(semaphore.clone(), |semaphore| semaphore.acquire().unwrap());
        let two = with(semaphore.clone(), |semaphore| semaphore.acquire_many(2).unwrap());
        semaphore.post().unwrap();
        semaphore.post_many(2).unwrap();
        let _others = (one.join().unwrap(), two.join().unwrap());
        assert_eq!(semaphore.available(), 0);
    });
}

#[test]
fn several_permits_posted_at_once_wake_all_whom_they_are_enough_for() {
    explore(2, || {
        let semaphore = CountingSemaphore::private(2).unwrap();
        let threads = [(); 2].map(|()| with(semaphore.clone(), |semaphore| semaphore.acquire().unwrap()));
        semaphore.post_many(2).unwrap();
        let _others = threads.map(|thread| thread.join().unwrap());
        assert_eq!(semaphore.available(), 0);
    });
}
