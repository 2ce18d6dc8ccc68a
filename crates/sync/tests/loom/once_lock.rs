use crate::{Bare, explore, with};
use shmkit_sync::OnceLock;

#[test]
fn of_two_who_need_a_value_one_makes_it() {
    explore(4, || {
        let once = OnceLock::private().unwrap();
        let made = Bare::new();
        let make = |once: &OnceLock<u32>, made: &Bare, value| {
            let got = once.get_or_init(|| {
                made.add(1);
                value
            });
            (got.unwrap(), made.get())
        };
        let theirs = made.clone();
        let thread = with(as_another_peer!(once: OnceLock), move |once| make(once, &theirs, 8));
        let mine = make(&once, &made, 7);
        let (theirs, _other) = thread.join().unwrap();
        assert!(mine == theirs && [(7, 1), (8, 1)].contains(&mine), "{mine:?} {theirs:?}");
        assert_eq!(once.get(), Some(mine.0));
    });
}

#[test]
fn all_who_wait_for_a_value_get_it_and_what_its_maker_did() {
    explore(2, || {
        let once = OnceLock::private().unwrap();
        let bare = Bare::new();
        let threads = [(); 2].map(|()| {
            let bare = bare.clone();
            with(once.clone(), move |once: &OnceLock<u32>| (once.wait().unwrap(), bare.get()))
        });
        bare.set(1);
        once.set(7).unwrap();
        for thread in threads {
            let (got, _other) = thread.join().unwrap();
            assert_eq!(got, (7, 1));
        }
    });
}

#[test]
fn the_turn_of_one_who_fails_to_make_a_value_is_the_next_ones() {
    explore(4, || {
        let once = OnceLock::private().unwrap();
        let thread = with(as_another_peer!(once: OnceLock), |once: &OnceLock<u32>| {
            once.get_or_try_init(|| Err("out of luck")).unwrap()
        });
        let mine = once.get_or_init(|| 7).unwrap();
        let (theirs, _other) = thread.join().unwrap();
        assert!(mine == 7 && [Ok(7), Err("out of luck")].contains(&theirs), "{theirs:?}");
    });
}
