//! The ways into each thing of this crate besides handing it over: by a name, over a Unix socket, and in an embedder's memory; and what a death leaves to those who come later.
#![cfg(not(any(loom, feature = "portable")))]

mod arena;
mod company;
#[path = "../../segment/tests/harness/mod.rs"]
mod harness;

use arena::Arena;
use company::{MOMENT, even_if_died, kill, start, stay};
use harness::{Name, alone, unique};
use shmkit_segment::primitive::{AtomicU64, Ordering};
use shmkit_segment::{Configuration, Error, Object, Options, Segment, recv, send};
use shmkit_sync::{
    Array, ArrayObject, Barrier, BarrierObject, Cells, Condvar, CondvarObject, CountingSemaphore,
    CountingSemaphoreObject, Event, EventObject, LockError, Mutex, MutexObject, OnceLock, OnceLockObject, RwLock,
    RwLockObject, Semaphore, SemaphoreObject, Shared, SharedSlice, TryLockError,
};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::Arc;

/// Where several things are, each found by its number.
trait Place {
    fn at<O: Object>(&self, number: usize, configuration: Configuration) -> Arc<Segment<O>>;
}

/// One of each.
struct All {
    mutex: Mutex<[u64; 3]>,
    changed: Condvar,
    lock: RwLock<[u64; 3]>,
    array: Array<u16>,
    event: Event,
    barrier: Barrier,
    once: OnceLock<u64>,
    semaphore: Semaphore,
    counting: CountingSemaphore,
    value: Shared<AtomicU64>,
    slice: SharedSlice<AtomicU64>,
}

const COUNT: usize = 11;
const NONE: Configuration = [0; 8];
const ROUNDS: u64 = 200;

impl All {
    fn of(place: &impl Place) -> Self {
        Self {
            mutex: Mutex::of(&place.at::<MutexObject<[u64; 3]>>(0, NONE)),
            changed: Condvar::of(&place.at::<CondvarObject>(1, NONE)),
            lock: RwLock::of(&place.at::<RwLockObject<[u64; 3]>>(2, NONE)),
            array: Array::of(&place.at(3, ArrayObject::<u16>::configuration(5))),
            event: Event::of(&place.at::<EventObject>(4, NONE)),
            barrier: Barrier::of(&place.at(5, BarrierObject::configuration(3))),
            once: OnceLock::of(&place.at::<OnceLockObject<u64>>(6, NONE)),
            semaphore: Semaphore::of(&place.at(7, SemaphoreObject::configuration(1))),
            counting: CountingSemaphore::of(&place.at(8, CountingSemaphoreObject::configuration(1_000))),
            value: Shared::of(&place.at(9, Cells::<AtomicU64>::configuration(1))),
            slice: SharedSlice::of(&place.at(10, Cells::<AtomicU64>::configuration(3))),
        }
    }

    /// What each of three does, who are in step; the permit and the locks keep the numbers whole. Begins when the event is set.
    fn use_all(&self, me: usize) {
        self.event.wait().unwrap();
        for round in 0..ROUNDS {
            self.mutex.lock().unwrap().iter_mut().for_each(|part| *part += 1);
            self.lock.write().unwrap()[1] += 1;
            let mut writer = self.array.write().unwrap();
            let next = writer.get(2) + 1;
            writer.set(2, next);
            drop(writer);
            let permit = self.semaphore.acquire().unwrap();
            let seen = self.value.load(Ordering::Relaxed);
            self.value.store(seen + 1, Ordering::Relaxed);
            drop(permit);
            self.slice[me].fetch_add(1, Ordering::Relaxed);
            self.counting.post().unwrap();
            self.barrier.wait().unwrap();
            assert_eq!(self.lock.read().unwrap()[1], 3 * (round + 1));
            self.barrier.wait().unwrap();
        }
        assert!(self.once.get_or_init(|| me as u64 + 1).unwrap() > 0);
        // The turn of each comes by number.
        let turn = self.changed.wait_while(self.mutex.lock().unwrap(), |parts| parts[0] != 3 * ROUNDS + me as u64);
        turn.unwrap()[0] += 1;
        self.changed.notify_all();
    }

    fn check(&self) {
        assert_eq!(*self.mutex.lock().unwrap(), [3 * ROUNDS + 3, 3 * ROUNDS, 3 * ROUNDS]);
        assert_eq!(self.array.read().unwrap().to_vec(), [0, 0, 3 * ROUNDS as u16, 0, 0]);
        assert_eq!(self.value.load(Ordering::Relaxed), 3 * ROUNDS);
        assert!(self.slice.iter().all(|count| count.load(Ordering::Relaxed) == ROUNDS));
        self.counting.acquire_many(3 * ROUNDS as usize).unwrap();
        assert_eq!((self.counting.available(), self.semaphore.available()), (0, 1));
        assert!(self.once.get().is_some() && !self.barrier.is_broken());
    }
}

/// Under names that begin in the same way.
struct ByName(String);

impl Place for ByName {
    fn at<O: Object>(&self, number: usize, configuration: Configuration) -> Arc<Segment<O>> {
        Options::new().name(format!("{}-{number}", self.0)).open_or_create(configuration).unwrap()
    }
}

/// Names whose files are gone at the end.
fn names() -> (String, Vec<Name>) {
    let prefix = unique();
    let names = (0..COUNT).map(|number| Name::of(format!("{prefix}-{number}"), "shmkit-")).collect();
    (prefix, names)
}

#[test]
fn processes_meet_by_a_name_in_each_of_them_and_find_what_was_left_there() {
    fn by_name((name, me): (String, usize)) {
        All::of(&ByName(name)).use_all(me);
    }
    alone(|()| {
        let (prefix, _names) = names();
        let all = All::of(&ByName(prefix.clone()));
        let children = [1, 2].map(|me| start(by_name, (prefix.clone(), me)));
        all.event.set();
        all.use_all(0);
        children.into_iter().for_each(|child| child.join().unwrap());
        drop(all);
        // Nobody is there any more, but all that they have left is.
        let all = All::of(&ByName(prefix));
        assert!(all.event.is_set());
        all.check();
    });
}

#[test]
fn who_comes_by_a_name_learns_what_died_there_before() {
    fn hold((name, here): (String, Event)) {
        let all = All::of(&ByName(name));
        let mut mutex = all.mutex.lock().unwrap();
        *mutex = [7; 3];
        let mut lock = all.lock.write().unwrap();
        *lock = [7; 3];
        let mut array = all.array.write().unwrap();
        array.set(0, 7);
        let _permit = all.semaphore.acquire().unwrap();
        all.once
            .get_or_init(|| {
                stay(&here);
                7
            })
            .unwrap();
    }
    alone(|()| {
        let (prefix, _names) = names();
        let here = Event::new().unwrap();
        let child = start(hold, (prefix.clone(), here.clone()));
        here.wait().unwrap();
        kill(child);
        let all = All::of(&ByName(prefix));
        assert!(matches!(all.mutex.try_lock(), Err(TryLockError::OwnerDied(guard)) if *guard == [0; 3]));
        assert!(matches!(all.lock.try_read(), Err(TryLockError::OwnerDied(guard)) if *guard == [0; 3]));
        assert!(matches!(all.array.try_read(), Err(TryLockError::OwnerDied(guard)) if guard.get(0) == 7));
        assert_eq!((all.semaphore.available(), all.once.set(8)), (1, Ok(8)));
        // A process has died that was to come.
        assert!(all.barrier.is_broken());
        even_if_died(all.mutex.lock()).make_consistent();
        assert!(all.mutex.try_lock().is_ok());
    });
}

#[test]
fn what_is_something_else_or_of_another_type_or_size_is_not_opened() {
    alone(|()| {
        let (mutex, semaphore, array) = (Name::new(), Name::new(), Name::new());
        let _mutex = Options::new().name(&mutex.0).create::<MutexObject<u64>>(NONE).unwrap();
        let named = Options::new().name(&mutex.0);
        assert!(named.open::<MutexObject<u64>>().is_ok());
        assert!(named.open::<MutexObject<u32>>().is_err() && named.open::<MutexObject<[u64; 2]>>().is_err());
        assert!(named.open::<RwLockObject<u64>>().is_err() && named.open::<OnceLockObject<u64>>().is_err());
        assert!(named.open_or_create::<EventObject>(NONE).is_err());

        let named = Options::new().name(&semaphore.0);
        let _semaphore = named.create::<SemaphoreObject>(SemaphoreObject::configuration(2)).unwrap();
        assert!(named.open_or_create::<SemaphoreObject>(SemaphoreObject::configuration(3)).is_err());
        assert!(named.open::<CountingSemaphoreObject>().is_err());
        assert!(named.open_or_create::<SemaphoreObject>(SemaphoreObject::configuration(2)).is_ok());

        let named = Options::new().name(&array.0);
        let too_short = named.create::<ArrayObject<u16>>(ArrayObject::<u16>::configuration(0));
        assert!(matches!(too_short, Err(Error::Geometry(_))) && !array.path().exists());
        let _array = named.create::<ArrayObject<u16>>(ArrayObject::<u16>::configuration(3)).unwrap();
        assert!(named.open::<ArrayObject<u32>>().is_err());
        assert!(named.open_or_create::<ArrayObject<u16>>(ArrayObject::<u16>::configuration(4)).is_err());
    });
}

#[test]
fn handles_go_to_other_processes_over_unix_sockets() {
    type Sent = (Mutex<[u64; 3]>, Condvar, Semaphore);
    fn connect(name: String) {
        let socket = UnixStream::connect_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap();
        let (mutex, changed, semaphore): Sent = recv(&socket).unwrap();
        let _permit = semaphore.acquire().unwrap();
        let mut guard = changed.wait_while(mutex.lock().unwrap(), |parts| parts[0] == 0).unwrap();
        guard[1] += 1;
    }
    alone(|()| {
        let name = unique();
        let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let children = [(); 2].map(|()| start(connect, name.clone()));
        let all = (Mutex::new([0_u64; 3]).unwrap(), Condvar::new().unwrap(), Semaphore::new(2).unwrap());
        for _ in &children {
            send(&listener.accept().unwrap().0, &all).unwrap();
        }
        while all.2.available() > 0 {
            std::thread::yield_now();
        }
        all.0.lock().unwrap()[0] = 1;
        all.1.notify_all();
        children.into_iter().for_each(|child| child.join().unwrap());
        assert_eq!((*all.0.lock().unwrap(), all.2.available()), ([1, 2, 0], 2));
    });
}

impl Place for Arena {
    fn at<O: Object>(&self, number: usize, configuration: Configuration) -> Arc<Segment<O>> {
        self.part(number, configuration)
    }
}

#[test]
fn processes_meet_in_an_embedders_memory_in_each_of_them() {
    fn by_place((file, me): (String, usize)) {
        All::of(&Arena::at(file)).use_all(me);
    }
    alone(|()| {
        let (_memory, file) = arena::create();
        let all = All::of(&Arena::at(file.clone()));
        let children = [1, 2].map(|me| start(by_place, (file.clone(), me)));
        all.event.set();
        all.use_all(0);
        children.into_iter().for_each(|child| child.join().unwrap());
        all.check();
    });
}

#[test]
fn a_death_in_an_embedders_memory_is_noticed_as_anywhere() {
    fn hold((file, here): (String, Event)) {
        let all = All::of(&Arena::at(file));
        let mut guard = all.mutex.lock().unwrap();
        *guard = [7; 3];
        let _permit = all.semaphore.acquire().unwrap();
        stay(&here);
    }
    alone(|()| {
        let (_memory, file) = arena::create();
        let all = All::of(&Arena::at(file.clone()));
        let here = Event::new().unwrap();
        let child = start(hold, (file, here.clone()));
        here.wait().unwrap();
        assert_eq!(all.semaphore.available(), 0);
        kill(child);
        while all.semaphore.acquire_timeout(MOMENT).is_err() {}
        while all.mutex.segment().peer_count() > 1 {
            all.mutex.segment().reap_dead();
        }
        assert!(matches!(all.mutex.lock(), Err(LockError::OwnerDied(guard)) if *guard == [0; 3]));
    });
}
