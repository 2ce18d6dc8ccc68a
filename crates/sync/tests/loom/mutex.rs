use crate::{Bare, explore, with};
use shmkit_sync::{Mutex, TryLockError};

#[test]
fn a_mutex_is_held_by_one_at_a_time_who_sees_what_all_before_did() {
    explore(3, || {
        let mutex = Mutex::private(0_u32).unwrap();
        let bare = Bare::new();
        let add = |mutex: &Mutex<u32>, bare: &Bare| {
            let mut guard = mutex.lock().unwrap();
            *guard += 1;
            bare.add(1);
        };
        let (other, theirs) = (as_another_peer!(mutex: Mutex), bare.clone());
        let thread = with(other, move |mutex| add(mutex, &theirs));
        add(&mutex, &bare);
        let _other = thread.join().unwrap();
        assert_eq!((*mutex.lock().unwrap(), bare.get()), (2, 2));
    });
}

#[test]
fn threads_of_one_peer_exclude_each_other_too() {
    explore(3, || {
        let mutex = Mutex::private(0_u32).unwrap();
        let thread = with(mutex.clone(), |mutex| *mutex.lock().unwrap() += 1);
        *mutex.lock().unwrap() += 1;
        let _other = thread.join().unwrap();
        assert_eq!(*mutex.lock().unwrap(), 2);
    });
}

#[test]
fn who_only_tries_for_a_mutex_sees_a_whole_value() {
    explore(3, || {
        let mutex = Mutex::private([0_u32; 2]).unwrap();
        let thread = with(as_another_peer!(mutex: Mutex), |mutex| {
            for _ in 0..2 {
                mutex.lock().unwrap().iter_mut().for_each(|half| *half += 1);
            }
        });
        for _ in 0..2 {
            match mutex.try_lock() {
                Ok(guard) => assert!(guard[0] == guard[1] && guard[0] <= 2),
                Err(error) => assert!(matches!(error, TryLockError::Locked)),
            }
        }
        let _other = thread.join().unwrap();
        assert_eq!(*mutex.lock().unwrap(), [2, 2]);
    });
}

/// Each of the two may sleep beside the other, and the one that is woken may find the mutex taken.
#[test]
fn all_who_wait_for_a_mutex_get_it() {
    explore(2, || {
        let mutex = Mutex::private(0_u32).unwrap();
        let others = [as_another_peer!(mutex: Mutex), as_another_peer!(mutex: Mutex)];
        let mut guard = mutex.lock().unwrap();
        let threads = others.map(|other| with(other, |mutex| *mutex.lock().unwrap() += 1));
        *guard += 1;
        drop(guard);
        let _others = threads.map(|thread| thread.join().unwrap());
        assert_eq!(*mutex.lock().unwrap(), 3);
    });
}
