use crate::{Bare, explore, with};
use shmkit_sync::{Array, RwLock};

#[test]
fn no_reader_is_in_beside_a_writer() {
    explore(3, || {
        let lock = RwLock::private(0_u32).unwrap();
        let bare = Bare::new();
        let theirs = bare.clone();
        let thread = with(as_another_peer!(lock: RwLock), move |lock| {
            let guard = lock.read().unwrap();
            assert_eq!(u64::from(*guard), theirs.get());
        });
        let mut guard = lock.write().unwrap();
        *guard += 1;
        bare.add(1);
        drop(guard);
        let _other = thread.join().unwrap();
    });
}

/// Nobody sleeps here, so nothing orders the two but the counts and the word.
#[test]
fn of_a_reader_and_a_writer_who_only_try_one_sees_the_other() {
    explore(4, || {
        let lock = RwLock::private(0_u32).unwrap();
        let bare = Bare::new();
        let theirs = bare.clone();
        let thread = with(as_another_peer!(lock: RwLock), move |lock| {
            if let Ok(guard) = lock.try_read() {
                assert_eq!(u64::from(*guard), theirs.get());
            }
        });
        if let Ok(mut guard) = lock.try_write() {
            *guard += 1;
            bare.add(1);
        }
        let _other = thread.join().unwrap();
        // Whoever turned the other away has left nothing behind.
        assert_eq!(u64::from(*lock.try_write().unwrap()), bare.get());
    });
}

#[test]
fn writers_exclude_each_other() {
    explore(3, || {
        let lock = RwLock::private(0_u32).unwrap();
        let bare = Bare::new();
        let add = |lock: &RwLock<u32>, bare: &Bare| {
            let mut guard = lock.write().unwrap();
            *guard += 1;
            bare.add(1);
        };
        let theirs = bare.clone();
        let thread = with(as_another_peer!(lock: RwLock), move |lock| add(lock, &theirs));
        add(&lock, &bare);
        let _other = thread.join().unwrap();
        assert_eq!((*lock.read().unwrap(), bare.get()), (2, 2));
    });
}

#[test]
fn the_last_reader_to_leave_lets_a_waiting_writer_in() {
    explore(2, || {
        let lock = RwLock::private(0_u32).unwrap();
        let bare = Bare::new();
        let writes = bare.clone();
        let writer = with(as_another_peer!(lock: RwLock), move |lock| {
            let mut guard = lock.write().unwrap();
            *guard += 1;
            writes.add(1);
        });
        let reads = bare.clone();
        let read = |lock: &RwLock<u32>, bare: &Bare| assert_eq!(u64::from(*lock.read().unwrap()), bare.get());
        let reader = with(as_another_peer!(lock: RwLock), move |lock| read(lock, &reads));
        {
            let guard = lock.read().unwrap();
            assert_eq!(u64::from(*guard), bare.get());
        }
        let _others = (writer.join().unwrap(), reader.join().unwrap());
        assert_eq!(*lock.read().unwrap(), 1);
    });
}

#[test]
fn a_writer_that_leaves_lets_readers_and_another_writer_in() {
    explore(2, || {
        let lock = RwLock::private(0_u32).unwrap();
        let others = [as_another_peer!(lock: RwLock), as_another_peer!(lock: RwLock)];
        let mut guard = lock.write().unwrap();
        let [reads, writes] = others;
        let reader = with(reads, |lock| assert!([1, 2].contains(&*lock.read().unwrap())));
        let writer = with(writes, |lock| *lock.write().unwrap() += 1);
        *guard += 1;
        drop(guard);
        let _others = (reader.join().unwrap(), writer.join().unwrap());
        assert_eq!(*lock.read().unwrap(), 2);
    });
}

#[test]
fn readers_of_an_array_see_all_of_a_change() {
    explore(3, || {
        let array = Array::<u64>::private(2).unwrap();
        let thread = with(as_another_peer!(array: Array), |array| {
            let guard = array.read().unwrap();
            assert_eq!(guard.get(0), guard.get(1));
        });
        let mut guard = array.write().unwrap();
        guard.set(0, 7);
        guard.set(1, 7);
        drop(guard);
        let _other = thread.join().unwrap();
    });
}
