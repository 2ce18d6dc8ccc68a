//! What the ends of pipes have in common: each exists once, and goes to another process as a whole.

use shmkit_segment::{Object, Role};
use std::io;

/// Whether the end is this process's.
#[inline]
pub(crate) fn check<O: Object>(role: &Role<O>) -> io::Result<()> {
    if role.is_moved() { Err(not_ours(role)) } else { Ok(()) }
}

#[cold]
fn not_ours<O: Object>(role: &Role<O>) -> io::Error {
    io::Error::other(if role.segment().is_defunct() {
        "this process was forked from the one that has this end of the pipe: start processes with `spawn`"
    } else {
        "this end of the pipe has been moved to another process, or shut down"
    })
}

/// The end of a pipe as an argument, a result or a part of a message.
macro_rules! end {
    ($name:ident, $role:ident) => {
        impl<T: Trust> $name<T> {
            /// The segment that the pipe lives in.
            #[must_use]
            pub fn segment(&self) -> &Arc<Segment<Pipe<T>>> {
                self.role.segment()
            }
        }

        impl<T: Trust> std::fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), " of a pipe in {} bytes"), self.segment().length())
            }
        }

        impl<T: Trust> serde::Serialize for $name<T> {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let done = self.role.serialize(serializer)?;
                // From now on it belongs to the receiver of the bytes.
                self.role.give_away();
                Ok(done)
            }
        }

        impl<'de, T: Trust> serde::Deserialize<'de> for $name<T> {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let role: Role<Pipe<T>> = Role::deserialize(deserializer)?;
                match role.number() {
                    $role => Self::of(role).map_err(serde::de::Error::custom),
                    _ => Err(serde::de::Error::custom(Error::Corrupt("the other end of a pipe arrived"))),
                }
            }
        }
    };
}
pub(crate) use end;
