//! Handles on their way to another process.
//!
//! A handle serialises as a reference to its segment, and the segment's descriptors travel beside the bytes. Within
//! [`sending`], the handle's serialiser finds where to put them; within [`receiving`], its deserialiser finds them again.
//! Outside of both it gets an error, because bytes alone cannot carry a handle. [`send`](crate::send) and [`recv`](crate::recv) do all of it over a Unix socket.
//!
//! The receiver is entered as a peer of the segment, and its roles are counted, *before* it exists: from then on it is alive for as
//! long as the `life` descriptor is open anywhere, in the sender, on its way in a socket, or in the receiver. If it never arrives
//! (the program cannot be started, the receiver is killed, the message is dropped unread) the lock falls, and the place is reaped.
//! Hence "the queue has no senders" can never be seen in between.
//!
//! Several handles of one segment share one attachment on the other side, as they did on this one.

use crate::role::{ROLES, Role};
use crate::segment::Size;
use crate::{Error, Object, PeerId, Segment};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::any::Any;
use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::LocalKey;

/// Who is at the other end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// A process that runs this same program.
    #[default]
    Family,
    /// Any program. Handles must be of objects that are [hardened](Object::HARDENED).
    Stranger,
}

const HARDENED_ONLY: Error = Error::NotTransferable(
    "this handle gives references into shared memory, so it can be shared only with processes that run this same program, \
     as an argument or a result of a spawned function",
);

const NOT_SENDING: Error = Error::NotTransferable(
    "a handle can only be serialised as an argument or a result of a spawned function or as part of a message, not by an ordinary serialiser",
);
const NOT_RECEIVING: Error = Error::NotTransferable(
    "a handle can only be deserialised as an argument or a result of a spawned function or as part of a message",
);
const MISSING: Error = Error::Corrupt("a handle arrived without its descriptors");

#[derive(Default)]
struct Outgoing {
    reach: Reach,
    descriptors: Vec<OwnedFd>,
    /// Why a handle could not be serialised: serialisers keep little of what they are told.
    failure: Option<Error>,
    /// The segment, kept so that no other one gets its address meanwhile, the receiver's place in it, and the first of its two descriptors.
    segments: Vec<(Arc<dyn Any + Send + Sync>, PeerId, u32)>,
}

#[derive(Default)]
struct Incoming {
    reach: Reach,
    descriptors: Vec<Option<OwnedFd>>,
    failure: Option<Error>,
    /// Segments opened so far, by the first of their descriptors.
    segments: Vec<(u32, Arc<dyn Any + Send + Sync>)>,
}

thread_local! {
    static OUTGOING: RefCell<Option<Outgoing>> = const { RefCell::new(None) };
    static INCOMING: RefCell<Option<Incoming>> = const { RefCell::new(None) };
}

/// What a thread is sending or receiving, for as long as this lives: also if the user's code in between panics.
struct Scope<T: 'static> {
    cell: &'static LocalKey<RefCell<Option<T>>>,
    outer: Option<T>,
}

impl<T: Default> Scope<T> {
    fn enter(cell: &'static LocalKey<RefCell<Option<T>>>, inner: T) -> Self {
        Self { cell, outer: cell.replace(Some(inner)) }
    }

    fn leave(self) -> T {
        self.cell.take().unwrap_or_default()
    }
}

impl<T> Drop for Scope<T> {
    fn drop(&mut self) {
        self.cell.set(self.outer.take());
    }
}

/// Runs `serialise`, in which handles may be serialised, and returns the descriptors that must travel with its result, in order.
///
/// They are for a process that runs this same program. If they are dropped instead of sent, the receiver counts as dead.
///
/// # Errors
/// The first reason for which a handle could not be serialised, beside what the serialiser made of it.
pub fn sending<R>(serialise: impl FnOnce() -> R) -> (R, Result<Vec<OwnedFd>, Error>) {
    sending_to(Reach::Family, serialise)
}

/// As [`sending`], for whoever is at the other end.
///
/// # Errors
/// As [`sending`].
pub fn sending_to<R>(reach: Reach, serialise: impl FnOnce() -> R) -> (R, Result<Vec<OwnedFd>, Error>) {
    let scope = Scope::enter(&OUTGOING, Outgoing { reach, ..Outgoing::default() });
    let result = serialise();
    let outgoing = scope.leave();
    (result, outgoing.failure.map_or(Ok(outgoing.descriptors), Err))
}

/// Runs `deserialise`, in which handles that were serialised within [`sending`] come back to life from `descriptors`.
///
/// They must come from a process that runs this same program.
///
/// # Errors
/// The first reason for which a handle could not be brought back, beside what the deserialiser made of it.
pub fn receiving<R>(descriptors: Vec<OwnedFd>, deserialise: impl FnOnce() -> R) -> (R, Result<(), Error>) {
    receiving_from(Reach::Family, descriptors, deserialise)
}

/// As [`receiving`], from whoever is at the other end.
///
/// # Errors
/// As [`receiving`].
pub fn receiving_from<R>(
    reach: Reach,
    descriptors: Vec<OwnedFd>,
    deserialise: impl FnOnce() -> R,
) -> (R, Result<(), Error>) {
    let descriptors = descriptors.into_iter().map(Some).collect();
    let scope = Scope::enter(&INCOMING, Incoming { reach, descriptors, ..Incoming::default() });
    let result = deserialise();
    (result, scope.leave().failure.map_or(Ok(()), Err))
}

/// What a role is in bytes: the first of its segment's two descriptors, the receiver's place, the role.
type Reference = (u32, u16, u8);

fn enclose<O: Object>(role: &Role<O>) -> Result<Reference, Error> {
    OUTGOING.with_borrow_mut(|outgoing| {
        let outgoing = outgoing.as_mut().ok_or(NOT_SENDING)?;
        if role.segment().is_defunct() {
            return Err(Error::Forked);
        }
        if role.is_moved() {
            return Err(Error::NotTransferable("this handle has already been moved to another process"));
        }
        if outgoing.reach == Reach::Stranger && !O::HARDENED {
            return Err(HARDENED_ONLY);
        }
        let segment = role.segment();
        let address = Arc::as_ptr(segment).addr();
        let known = outgoing.segments.iter().find(|known| Arc::as_ptr(&known.0).addr() == address);
        let (peer, first) = match known {
            Some(&(_, peer, first)) => (peer, first),
            None => {
                let (peer, data, life) = segment.invite()?;
                let first = outgoing.descriptors.len() as u32;
                outgoing.descriptors.extend([data, life]);
                outgoing.segments.push((segment.clone(), peer, first));
                (peer, first)
            }
        };
        segment.enroll(role.number(), peer);
        Ok((first, peer.0, role.number() as u8))
    })
}

fn open<O: Object>((first, peer, role): Reference) -> Result<Role<O>, Error> {
    if usize::from(role) >= ROLES {
        return Err(Error::Corrupt("a handle arrived with a role that does not exist"));
    }
    INCOMING.with_borrow_mut(|incoming| {
        let incoming = incoming.as_mut().ok_or(NOT_RECEIVING)?;
        let size = match incoming.reach {
            Reach::Family => Size::Trusted,
            Reach::Stranger if O::HARDENED => Size::Sealed,
            Reach::Stranger => return Err(HARDENED_ONLY),
        };
        let known = incoming.segments.iter().find(|known| known.0 == first);
        let segment = match known {
            Some((_, segment)) => Arc::clone(segment)
                .downcast::<Segment<O>>()
                .map_err(|_| Error::Corrupt("two handles disagree about what their segment holds"))?,
            None => {
                let mut take =
                    |index: u32| incoming.descriptors.get_mut(index as usize).and_then(Option::take).ok_or(MISSING);
                let (data, life) = (take(first)?, take(first.checked_add(1).ok_or(MISSING)?)?);
                let segment = Segment::<O>::adopt(data, life, peer, size)?;
                incoming.segments.push((first, segment.clone()));
                segment
            }
        };
        Ok(Role::counted(segment, role.into()))
    })
}

/// What a serialiser is told when a handle made of others cannot be sent because of `error`, which [`sending`] keeps and gives.
pub fn refused<S: Serializer>(error: Error) -> S::Error {
    let told = S::Error::custom(&error);
    OUTGOING.with_borrow_mut(|outgoing| {
        if let Some(outgoing) = outgoing {
            outgoing.failure.get_or_insert(error);
        }
    });
    told
}

/// What the deserialiser is told of `error`, which [`receiving`] keeps.
fn not_received<'de, D: Deserializer<'de>>(error: Error) -> D::Error {
    let told = D::Error::custom(&error);
    INCOMING.with_borrow_mut(|incoming| {
        if let Some(incoming) = incoming {
            incoming.failure.get_or_insert(error);
        }
    });
    told
}

impl<O: Object> Serialize for Role<O> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        enclose(self).map_err(|error| refused::<S>(error))?.serialize(serializer)
    }
}

impl<'de, O: Object> Deserialize<'de> for Role<O> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        open(Reference::deserialize(deserializer)?).map_err(|error| not_received::<D>(error))
    }
}

/// An open file, pipe or socket that can be an argument or a result of a spawned function, or part of a message. It is duplicated: the one left behind stays open.
///
/// Serialising it is an error wherever serialising a handle is one.
#[derive(Debug)]
pub struct Descriptor(pub OwnedFd);

impl<T: Into<OwnedFd>> From<T> for Descriptor {
    fn from(descriptor: T) -> Self {
        Self(descriptor.into())
    }
}

impl Serialize for Descriptor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let place = OUTGOING.with_borrow_mut(|outgoing| {
            let outgoing = outgoing.as_mut().ok_or(NOT_SENDING)?;
            outgoing.descriptors.push(crate::sys::duplicate(&self.0)?);
            Ok(outgoing.descriptors.len() as u32 - 1)
        });
        place.map_err(|error| refused::<S>(error))?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Descriptor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let place = u32::deserialize(deserializer)?;
        let descriptor = INCOMING.with_borrow_mut(|incoming| {
            let incoming = incoming.as_mut().ok_or(NOT_RECEIVING)?;
            incoming.descriptors.get_mut(place as usize).and_then(Option::take).ok_or(MISSING)
        });
        descriptor.map(Self).map_err(|error| not_received::<D>(error))
    }
}
