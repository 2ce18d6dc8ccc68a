use crate::{Bare, at_most, explore, with};
use shmkit_sync::{Barrier, BarrierError};

/// Each does something before the barrier that all the others see behind it, in two generations.
#[test]
fn who_passes_a_barrier_sees_what_the_other_did_before_it() {
    explore(at_most(3), || {
        let barrier = Barrier::private(2).unwrap();
        let bare: [_; 2] = std::array::from_fn(|_| Bare::new());
        let work = |barrier: &Barrier, bare: [Bare; 2], me: usize| {
            for generation in 1..=2 {
                bare[me].set(generation);
                let index = barrier.wait().unwrap();
                assert_eq!(bare[1 - me].get(), generation);
                // So that nobody changes what the other has not read yet.
                let again = barrier.wait().unwrap();
                assert!(index < 2 && again < 2);
            }
        };
        let theirs = bare.clone();
        let thread = with(as_another_peer!(barrier: Barrier), move |barrier| work(barrier, theirs, 1));
        work(&barrier, bare, 0);
        let _other = thread.join().unwrap();
        assert_eq!((barrier.waiting(), barrier.is_broken()), (0, false));
    });
}

#[test]
fn three_pass_a_barrier_together_and_each_has_an_index_of_its_own() {
    explore(at_most(2), || {
        let barrier = Barrier::private(3).unwrap();
        let bare: [_; 3] = std::array::from_fn(|_| Bare::new());
        let work = |barrier: &Barrier, bare: &[Bare; 3], me: usize| {
            bare[me].set(1);
            let index = barrier.wait().unwrap();
            assert!(bare.iter().all(|bare| bare.get() == 1));
            index
        };
        let threads = [1, 2].map(|me| {
            let bare = bare.clone();
            with(barrier.clone(), move |barrier| work(barrier, &bare, me))
        });
        let mine = work(&barrier, &bare, 0);
        let [one, two] = threads.map(|thread| thread.join().unwrap());
        let mut indices = [mine, one.0, two.0];
        indices.sort_unstable();
        assert_eq!(indices, [0, 1, 2]);
    });
}

#[test]
fn three_pass_a_barrier_twice() {
    explore(1, || {
        let barrier = Barrier::private(3).unwrap();
        let work = |barrier: &Barrier| {
            for _ in 0..2 {
                barrier.wait().unwrap();
            }
        };
        let threads = [(); 2].map(|()| with(barrier.clone(), move |barrier| work(barrier)));
        work(&barrier);
        let _others = threads.map(|thread| thread.join().unwrap());
    });
}

#[test]
fn what_the_last_one_does_is_done_before_anybody_goes_on() {
    explore(3, || {
        let barrier = Barrier::private(2).unwrap();
        let bare = Bare::new();
        let work = |barrier: &Barrier, bare: &Bare| {
            barrier.wait_with(|| bare.add(1)).unwrap();
            assert_eq!(bare.get(), 1);
        };
        let theirs = bare.clone();
        let thread = with(as_another_peer!(barrier: Barrier), move |barrier| work(barrier, &theirs));
        work(&barrier, &bare);
        let _other = thread.join().unwrap();
    });
}

#[test]
fn a_barrier_is_passed_by_both_or_broken_for_both() {
    explore(2, || {
        let barrier = Barrier::private(2).unwrap();
        let thread = with(barrier.clone(), Barrier::wait);
        let aborter = with(as_another_peer!(barrier: Barrier), Barrier::abort);
        let mine = barrier.wait();
        let (theirs, _other) = thread.join().unwrap();
        let _aborter = aborter.join().unwrap();
        assert!(
            mine.is_ok() && theirs.is_ok() || (mine, theirs) == (Err(BarrierError::Broken), Err(BarrierError::Broken)),
            "{mine:?} {theirs:?}"
        );
        assert!(barrier.is_broken());
    });
}
