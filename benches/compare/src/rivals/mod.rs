//! Every contender's ends, each used as its documentation tells its users to.

pub mod channels;
pub mod copied;
pub mod glibc;
pub mod iceoryx;
pub mod in_place;
pub mod ipc_bytes;
pub mod ipc_channel;
pub mod limits;
pub mod memcpy;
pub mod number;
pub mod pipe;
pub mod raw_sync;
pub mod rings;
pub mod seqpacket;
pub mod shmkit;
pub mod shmkit_async;
pub mod shmkit_batch;
pub mod shmkit_buffer;
pub mod shmkit_connection;
pub mod shmkit_locks;
pub mod shmkit_pipe;
pub mod shmkit_sizes;
pub mod thread_locks;
pub mod tokio_mpsc;
pub mod unix_socket;
pub mod vyukov;

use serde::{Deserialize, Serialize};

/// Sends or receives with the calls that sleep when they have to, where there are others as well.
#[derive(Serialize, Deserialize)]
pub struct Blocking<T>(pub T);

/// Sends and receives by futures, where it can be done otherwise as well.
#[derive(Serialize, Deserialize)]
pub struct Awaiting<T>(pub T);

/// Sends or receives whole batches at a time, where that can be done one by one as well.
#[derive(Serialize, Deserialize)]
pub struct Batches<T>(pub T);

/// Polls without giving the processor away, for round trips.
#[derive(Serialize, Deserialize)]
pub struct Polling<S, R>(pub S, pub R);
