//! Handles on their way to another process, which is this one.

use serde::{Serialize, de::DeserializeOwned};
use shmkit_segment::transfer;

/// What a child gets that is handed `end`, here in this process. If there is but one such end, `end` is of no more use.
pub(crate) fn hand_over<E: Serialize + DeserializeOwned>(end: &E) -> E {
    let (bytes, descriptors) = transfer::sending(|| postcard::to_stdvec(end).unwrap());
    transfer::receiving(descriptors.unwrap(), || postcard::from_bytes(&bytes).unwrap()).0
}
